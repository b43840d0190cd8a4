/** Each guard that `npm run test:guards` takes out, and each line of an equivalent mutant, stands in its file: an old list proves nothing. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import equivalents from '../mutation/equivalent.json' with { type: 'json' }
import { guards } from '../mutation/guards.ts'

const root = path.join(import.meta.dirname, '../..')

test.for(guards)('$name', ({ file, guard, instead, tests }) => {
  expect(readFileSync(path.join(root, file), 'utf8').split(guard)).toHaveLength(2)
  expect(instead).not.toBe(guard)
  for (const one of tests) expect(existsSync(path.join(root, one))).toBe(true)
})

test.for<{ file: string; line: string }>(equivalents)('$file: $line', ({ file, line }) => {
  const lines = readFileSync(path.join(root, file), 'utf8').split('\n')
  expect(lines.map(one => one.trim())).toContain(line)
})

test('no two have one name', () => {
  expect(new Set(guards.map(({ name }) => name)).size).toBe(guards.length)
})
