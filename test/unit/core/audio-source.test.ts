import { expect, test } from 'vitest'
import { audioSource } from '../../../src/core/audio-source.ts'

const object = { kind: 's3', key: 'k' }
const file = (source: string) => ({ kind: 'file', source, filePath: 'p' })
const none = { kind: 'none' }

test.each([
  // file_source, with both, with the key alone, with the path alone, with neither
  ['S3', object, object, none, none],
  ['LOCAL', file('local'), none, file('local'), none],
  ['YOUTUBE', file('youtube'), none, file('youtube'), none],
  ['UNAVAILABLE', none, none, none, none],
  [null, none, none, none, none],
] as const)('%s', (fileSource, both, key, path, neither) => {
  const found = (s3ObjectKey: string | null, filePath: string | null) =>
    audioSource({ fileSource, s3ObjectKey, filePath })
  expect(found('k', 'p')).toEqual(both)
  expect(found('k', null)).toEqual(key)
  expect(found(null, 'p')).toEqual(path)
  expect(found(null, null)).toEqual(neither)
  expect(found('', '')).toEqual(none)
})
