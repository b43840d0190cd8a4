import { expect, test } from 'vitest'
import { unownedOf } from '../../../src/audio-files/without-audio.ts'

const [computed, declared, recorded] = ['ca', 'de', 'ec'].map(two => two.repeat(32)) as [
  string,
  string,
  string,
]
const ofStore = { sha256: Buffer.from(computed, 'hex').toString('base64') }

test.each<[string, Parameters<typeof unownedOf>[0], string | undefined, string | undefined]>([
  ['what the store computed', { metadata: { sha256: declared }, checksums: ofStore }, recorded, computed],
  ['else what its uploader said', { metadata: { sha256: declared }, checksums: {} }, recorded, declared],
  ['in whatever case', { metadata: { sha256: declared.toUpperCase() }, checksums: {} }, undefined, declared],
  ['else what the ledger has', { metadata: {}, checksums: {} }, recorded, recorded],
  ['of one that is gone, too', undefined, recorded, recorded],
  ['and nothing where nobody knows', { metadata: {}, checksums: {} }, undefined, undefined],
])('the SHA-256 of an object that no row names is %s', (_, head, known, expected) => {
  expect(unownedOf(head, known, 'audio/a.flac')).toEqual({ key: 'audio/a.flac', sha256: expected })
})

test('its track and its library are what it says', () => {
  const metadata = { 'track-id': 't', library: 'l' }
  expect(unownedOf({ metadata, checksums: {} }, null, 'k')).toEqual({ key: 'k', trackId: 't', library: 'l' })
})
