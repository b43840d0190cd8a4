import { expect, test } from 'vitest'
import { isPartOfLibrary, mayBeArchived } from '../../../src/reconcile/listing.ts'

test.each<[string, number, string, boolean]>([
  ['audio/a.mp3', 5, 'quarantine/', true],
  ['quarantine/a.mp3', 5, 'quarantine/', false],
  ['audio/quarantine/', 5, 'quarantine/', true],
  ['quarantine/a.mp3', 5, '', true],
  // What consoles make of a folder.
  ['audio/', 0, 'quarantine/', false],
  ['audio/', 5, 'quarantine/', true],
  ['audio/empty.mp3', 0, 'quarantine/', true],
  ['audio/', 0, '', false],
])('%j of %i bytes, quarantine at %j: part of the library %j', (key, size, except, expected) => {
  expect(isPartOfLibrary({ key, size }, except)).toBe(expected)
})

test.each<[string | undefined, number, boolean]>([
  [undefined, 1_000, false],
  ['STANDARD', 1_000, false],
  ['GLACIER_IR', 1_000, false],
  ['GLACIER', 0, true],
  ['DEEP_ARCHIVE', 0, true],
  ['INTELLIGENT_TIERING', 89, false],
  ['INTELLIGENT_TIERING', 91, true],
])('an object of %j, written %i days ago, may be archived: %j', (storageClass, days, expected) => {
  expect(mayBeArchived(storageClass, Date.now() - days * 86_400_000)).toBe(expected)
})
