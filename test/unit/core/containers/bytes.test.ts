import { expect, test } from 'vitest'
import { inWindows } from '../../../../src/core/containers/bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

const bytes = Buffer.from(Array.from({ length: 50 }, (_, i) => i))

test('in windows, a file reads as it is, wherever one looks next', async () => {
  const windowed = inWindows(fileOf(bytes), 16)
  for (let first = 0; first <= 52; first += 3)
    for (let offset = 0; offset <= 52; offset++)
      for (const length of [0, 1, 4, 15, 16, 17, 60]) {
        await windowed.read(first, 5)
        expect(Buffer.from(await windowed.read(offset, length))).toEqual(
          bytes.subarray(offset, offset + length),
        )
      }
})

test('what lies in a window is read once, and what is longer by itself', async () => {
  const reads: [number, number][] = []
  const file = {
    size: bytes.length,
    read: async (offset: number, length: number) => {
      reads.push([offset, length])
      return bytes.subarray(offset, offset + length)
    },
  }
  const windowed = inWindows(file, 16)
  for (const [offset, length] of [
    [10, 4],
    [10, 16],
    [22, 4],
    [23, 4],
    [9, 1],
    [40, 4],
    [48, 9],
    [2, 17],
    [41, 1],
  ] as const)
    await windowed.read(offset, length)
  expect(reads).toEqual([
    [10, 16],
    [23, 16],
    [9, 16],
    [40, 16],
    [2, 17],
  ])
})
