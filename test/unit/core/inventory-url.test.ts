import { expect, test } from 'vitest'
import { parseInventoryUrl } from '../../../src/core/inventory-url.ts'

test.each([
  [
    's3://logs/a/2026-01-01T00-00Z/manifest.json',
    { bucket: 'logs', key: 'a/2026-01-01T00-00Z/manifest.json' },
  ],
  ['s3://logs/a/music/all/', { bucket: 'logs', key: 'a/music/all/' }],
  ['s3://logs/manifest.json', { bucket: 'logs', key: 'manifest.json' }],
  ['s3://logs//', { bucket: 'logs', key: '/' }],
  ['s3://logs/', undefined],
  ['s3://logs/a', undefined],
  ['s3://logs/manifest.jsonx', undefined],
  ['s3://logs/manifestxjson', undefined],
  ['s3:///a/', undefined],
  ['xs3://logs/a/', undefined],
  ['https://logs/a/', undefined],
])('%s', (url, place) => {
  expect(parseInventoryUrl(url)).toEqual(place)
})
