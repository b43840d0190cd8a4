/** Heads of frames by the tables of RFC 9639, 9.1. */
import { describe, expect, test } from 'vitest'
import { flacHeaderAt, streamInfo } from '../../../../src/core/containers/flac.ts'

const info = { sampleRate: 37_800, depth: 14 }

/** With its checksum: polynomial x^8 + x^2 + x + 1 (9.1.8). */
function header(hex: string): Buffer {
  const bytes = [...Buffer.from(hex.replaceAll(' ', ''), 'hex')]
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x80 ? 0x107 : 0)) & 0x1ff
  }
  return Buffer.from([...bytes, crc & 0xff])
}
const read = (hex: string, change = (bytes: Buffer) => bytes) => {
  const bytes = change(header(hex))
  return flacHeaderAt(bytes, 0, bytes.length, info)
}

test('what STREAMINFO says of its samples (8.2)', () => {
  // 44.1 kHz, 24 bits, two channels, behind three bytes
  const bytes = Buffer.concat([
    Buffer.alloc(3, 0x55),
    Buffer.alloc(10),
    Buffer.from('0ac4437000', 'hex'),
    Buffer.alloc(19),
  ])
  expect(streamInfo(bytes, 3)).toEqual({ sampleRate: 44_100, depth: 24 })
})
test('a head', () => {
  expect(read('ff f8 c9 18 00')).toEqual({
    size: 6,
    length: 4096,
    sampleRate: 44_100,
    assignment: 1,
    channels: 2,
    depth: 16,
    number: 0,
    isVarying: false,
  })
  expect(read('ff f9 c9 18 05')).toMatchObject({ number: 5, isVarying: true })
})

test.each([
  [1, 192],
  [2, 576],
  [3, 1152],
  [4, 2304],
  [5, 4608],
  [8, 256],
  [9, 512],
  [12, 4096],
  [15, 32_768],
])('block size %i: %i samples', (code, length) => {
  expect(read(`ff f8 ${code.toString(16)}9 18 00`)?.length).toBe(length)
})
test.each([
  ['ff f8 69 18 00 63', 100, 44_100, 7],
  ['ff f8 79 18 00 0f ff', 4096, 44_100, 8],
  ['ff f8 cc 18 00 30', 4096, 48_000, 7],
  ['ff f8 cd 18 00 ac 44', 4096, 44_100, 8],
  ['ff f8 ce 18 00 25 80', 4096, 96_000, 8],
  ['ff f8 7d 18 00 00 63 ac 44', 100, 44_100, 10],
  ['ff f8 6c 18 00 63 08', 100, 8000, 8],
])('what is too rare for a code: %s', (hex, length, sampleRate, size) => {
  expect(read(hex)).toMatchObject({ length, sampleRate, size })
})
test('sampling rates', () => {
  const rates = Array.from({ length: 12 }, (_, i) => read(`ff f8 c${i.toString(16)} 18 00`)?.sampleRate)
  expect(rates).toEqual([
    ...[37_800, 88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000],
  ])
})
test('channels', () => {
  const channels = Array.from({ length: 16 }, (_, i) => read(`ff f8 c9 ${i.toString(16)}8 00`)?.channels)
  expect(channels).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 2, 2, 2, ...Array(5).fill(undefined)])
})
test('bits a sample', () => {
  const depths = Array.from({ length: 8 }, (_, i) => read(`ff f8 c9 1${(2 * i).toString(16)} 00`)?.depth)
  expect(depths).toEqual([14, 8, 12, undefined, 16, 20, 24, 32])
})
test.each([
  ['7f', 127],
  ['c2 80', 128],
  ['df bf', 0x7ff],
  ['e0 a0 80', 0x800],
  ['f0 90 80 80', 0x1_0000],
  ['f8 88 80 80 80', 0x20_0000],
  ['fc 84 80 80 80 80', 0x400_0000],
  ['fe 82 80 80 80 80 80', 0x8000_0000],
  ['fe bf bf bf bf bf bf', 2 ** 36 - 1],
])('number %s: %i', (hex, number) => {
  expect(read(`ff f8 c9 18 ${hex}`)).toMatchObject({ number, size: 5 + hex.replaceAll(' ', '').length / 2 })
})

describe('none', () => {
  test.each([
    ['another first byte', 'fe f8 c9 18 00'],
    ['another second byte', 'ff fa c9 18 00'],
    ['a block size that is reserved', 'ff f8 09 18 00'],
    ['a sampling rate that is forbidden', 'ff f8 cf 18 00'],
    ['a depth that is reserved', 'ff f8 c9 16 00'],
    ['the last bit, which is reserved', 'ff f8 c9 19 00'],
    ['a number that begins in its middle', 'ff f8 c9 18 80'],
    ['a number too long', 'ff f8 c9 18 ff 80 80 80 80 80 80 80'],
  ])('%s', (_what, hex) => {
    expect(read(hex)).toBeUndefined()
  })
  test('a checksum that is wrong, or behind the end', () => {
    const bytes = header('ff f8 c9 18 00')
    expect(flacHeaderAt(bytes, 0, 5, info)).toBeUndefined()
    bytes[5]! ^= 1
    expect(flacHeaderAt(bytes, 0, 6, info)).toBeUndefined()
  })
})
