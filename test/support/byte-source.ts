import type { ByteSource } from '../../src/core/containers/bytes.ts'

/**
 * Bytes as a file gives them: an answer is overwritten by the next call, and nothing is read from before the beginning,
 * or more than `most` bytes at a time.
 */
export function fileOf(bytes: Uint8Array, most = 5 * 2 ** 20): ByteSource {
  let last = new Uint8Array()
  return {
    size: bytes.length,
    read: async (offset, length) => {
      if (!(offset >= 0 && length >= 0 && length <= most))
        throw new RangeError(`reads ${length} bytes from ${offset} on`)
      last.fill(0xaa)
      last = Uint8Array.from(bytes.subarray(offset, offset + length))
      return last
    },
  }
}
