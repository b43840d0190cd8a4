import type { Knex } from 'knex'
import { expect, test } from 'vitest'
import { areOfOtherLibraries, unownedOf } from '../../../src/audio-files/without-audio.ts'
import type { ObjectStore } from '../../../src/storage/store.ts'
import { sha256 } from '../../support/sums.ts'

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

test('of another library is what says so, unless the ledger knew it; where the database has no name nothing is', async () => {
  const others = (identity: string | undefined, objects: { key: string; library?: string }[]) => {
    const raw = async () => {
      if (identity === undefined) throw new Error('no right to ask')
      return { rows: [{ identity }] }
    }
    const place = { knex: { raw } as unknown as Knex, store: { bucket: 'b' } as ObjectStore }
    return areOfOtherLibraries(place, objects, new Map([['known', {}]]))
  }
  const own = sha256(Buffer.from('this one')).slice(0, 16)
  const objects = [
    { key: 'a', library: own },
    { key: 'b', library: 'other' },
    { key: 'c' },
    { key: 'known', library: 'other' },
  ]
  expect(await others('this one', objects)).toEqual([false, true, false, false])
  expect(await others(undefined, objects)).toEqual([false, false, false, false])
})
