import { expect, test } from 'vitest'
import {
  damagedKey,
  keyBeforeQuarantine,
  keyBeforeRemoval,
  stagingPrefix,
} from '../../../src/core/prefixes.ts'

test('what is on its way lies below the prefix of all keys, hidden', () => {
  expect(stagingPrefix('audio/')).toBe('audio/.incoming/')
  expect(stagingPrefix('')).toBe('.incoming/')
})

test.each([
  ['quarantine/0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d/audio/a.mp3', 'audio/a.mp3'],
  ['quarantine/0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d/audio/a\nb.mp3', 'audio/a\nb.mp3'],
  ['quarantine/0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d/', undefined],
  ['quarantine/2024/old.mp3', undefined],
  ['audio/quarantine/0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d/audio/a.mp3', undefined],
])('%j was %j', (key, before) => {
  expect(keyBeforeRemoval(key)).toBe(before)
})

test('what was set aside as damaged is no removal, and was there all the same', () => {
  const aside = damagedKey('audio/a.mp3')
  expect(aside).toBe('quarantine/damaged/audio/a.mp3')
  expect([keyBeforeRemoval(aside), keyBeforeQuarantine(aside)]).toEqual([undefined, 'audio/a.mp3'])
  expect(keyBeforeQuarantine('quarantine/0b4c8d1e-5f60-4a7b-8c9d-0e1f2a3b4c5d/audio/a.mp3')).toBe(
    'audio/a.mp3',
  )
  expect(keyBeforeQuarantine('quarantine/mine/audio/a.mp3')).toBeUndefined()
})
