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

const day = 86_400_000
test.each<[string | undefined, number, boolean]>([
  [undefined, 0, false],
  ['STANDARD', 0, false],
  ['GLACIER_IR', 0, false],
  ['GLACIER', Date.now(), true],
  ['DEEP_ARCHIVE', Date.now(), true],
  ['INTELLIGENT_TIERING', Date.now() - 89 * day, false],
  ['INTELLIGENT_TIERING', Date.now() - 91 * day, true],
])('an object of %j, written at %i, may be archived: %j', (storageClass, at, expected) => {
  expect(mayBeArchived(storageClass, at)).toBe(expected)
})
