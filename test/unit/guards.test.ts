/** Each guard that `npm run test:guards` takes out stands in its file, once: a list that is old proves nothing. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { guards } from '../mutation/guards.ts'

const root = path.join(import.meta.dirname, '../..')

test.for(guards)('$name', ({ file, guard, instead, tests }) => {
  expect(readFileSync(path.join(root, file), 'utf8').split(guard)).toHaveLength(2)
  expect(instead).not.toBe(guard)
  for (const one of tests) expect(existsSync(path.join(root, one))).toBe(true)
})

test('no two have one name', () => {
  expect(new Set(guards.map(({ name }) => name)).size).toBe(guards.length)
})
