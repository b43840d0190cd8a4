import fc from 'fast-check'
import { expect, it } from 'vitest'
import { bytesFrom, sortByKey } from '../../../src/external-sort/key-order.ts'

/** Entries one after the other, as the sorter keeps them. */
function written(keys: readonly Uint8Array[]): { bytes: Buffer; entries: Uint32Array } {
  const pieces: Buffer[] = []
  const entries: number[] = []
  let at = 0
  for (const key of keys) {
    const header = Buffer.alloc(8)
    header.writeUInt32LE(key.length, 0)
    header.writeUInt32LE(2, 4)
    entries.push(at)
    pieces.push(header, Buffer.from(key), Buffer.from('vv'))
    at += 8 + key.length + 2
  }
  return { bytes: Buffer.concat(pieces), entries: Uint32Array.from(entries) }
}

const keyAt = (bytes: Buffer, entry: number): string =>
  bytes.subarray(entry + 8, entry + 8 + bytes.readUInt32LE(entry)).toString('hex')

it('sorts by bytes, a beginning before what goes on', () => {
  const byte = fc.constantFrom(0, 0, 1, 0x61, 0xff)
  const common = fc.constantFrom('', 'audio/', 'audio/The ')
  fc.assert(
    fc.property(common, fc.array(fc.array(byte, { maxLength: 12 }), { maxLength: 200 }), (start, ends) => {
      const keys = ends.map(end => Buffer.concat([Buffer.from(start), Buffer.from(end)]))
      const { bytes, entries } = written(keys)
      const before = [...entries]
      sortByKey(bytes, entries)
      expect([...entries].sort((a, b) => a - b)).toEqual(before)
      expect([...entries].map(entry => keyAt(bytes, entry))).toEqual(
        keys.toSorted(Buffer.compare).map(key => key.toString('hex')),
      )
    }),
  )
})

it.each([
  ['the same key many times', () => 'a'],
  ['keys that NUL follows', (index: number) => `a${'\0'.repeat(index % 40)}`],
  ['groups within groups', (index: number) => `${index % 3}same${index % 7}long beginning${index % 11}`],
])('%s', (_, keyOf) => {
  const keys = Array.from({ length: 500 }, (__, index) => Buffer.from(keyOf(index)))
  const { bytes, entries } = written(keys)
  sortByKey(bytes, entries)
  expect([...entries].map(entry => keyAt(bytes, entry))).toEqual(
    keys.toSorted(Buffer.compare).map(key => key.toString('hex')),
  )
})

it('a number of bytes ends with zeros where the key ends', () => {
  const { bytes } = written([Buffer.from('abcd')])
  expect(bytesFrom(bytes, 0, 1, 2)).toBe(0x6263)
  expect(bytesFrom(bytes, 0, 2, 4)).toBe(0x63640000)
  expect(bytesFrom(bytes, 0, 9, 2)).toBe(0)
})
