/** docs/reliability.md says what happens in each fault: every row of its tables is a test, and the other way round. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'

const root = path.join(import.meta.dirname, '../..')
const faults = readFileSync(path.join(root, 'docs/reliability.md'), 'utf8')
  .split('\n')
  .flatMap(line => /^\| (.+?) \| .* \|$/.exec(line)?.[1] ?? [])
  .filter(cell => cell !== 'fault' && !/^-+$/.test(cell))

/** Titles of the tests in a file. */
const titlesIn = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^\s*(?:test|it)\(\s*(['"`])((?:\\.|(?!\1).)+)\1/gm)].map(
    ([, , title = '']) => title.replace(/\\(.)/g, '$1'),
  )

const tests = readdirSync(path.join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts'))
  .map(file => path.join(root, 'test', file))

test('no fault stands in the tables twice', () => {
  expect(faults.filter((fault, at) => faults.indexOf(fault) !== at)).toEqual([])
})

test('every fault in the tables is a test of that name', () => {
  const titles = new Set(tests.flatMap(titlesIn))
  expect(faults.filter(fault => !titles.has(fault))).toEqual([])
})

test('every test of test/contract/safety.ts is in the tables', () => {
  const titles = titlesIn(path.join(root, 'test/contract/safety.ts'))
  expect(titles.length).toBeGreaterThan(30)
  expect(titles.filter(title => !faults.includes(title))).toEqual([])
})
