import { expect, test } from 'vitest'
import { matchesWildcards } from '../../../../src/core/bucket/wildcards.ts'

test.each([
  ['*', '', true],
  ['*', 'a/b\nc', true],
  ['a', 'a', true],
  ['a', 'ab', false],
  ['b', 'ab', false],
  ['a?c', 'abc', true],
  ['a?c', 'ac', false],
  ['a*c', 'ac', true],
  ['a*c', 'a/b/c', true],
  ['*.mp3', 'a.mp3', true],
  ['*.mp3', 'amp3', false],
  ['*.mp3', 'axmp3', false],
  ...[...'.+^{}$()|[]\\'].flatMap((sign): [string, string, boolean][] => [
    [`a${sign}b`, `a${sign}b`, true],
    [`a${sign}b`, 'aab', false],
    [`a${sign}b`, 'ab', false],
  ]),
] as [string, string, boolean][])('%s is %s: %s', (pattern, text, expected) => {
  expect(matchesWildcards(pattern, text)).toBe(expected)
})
