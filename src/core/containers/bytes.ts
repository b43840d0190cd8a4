/** Random access to a file's bytes, and numbers out of them. */

export interface ByteSource {
  /** bytes */
  readonly size: number
  /** `length` bytes from `offset`, fewer only where the file ends. The answer is valid until the next call. */
  read(offset: number, length: number): Promise<Uint8Array>
}

export function sourceOf(bytes: Uint8Array): ByteSource {
  return { size: bytes.length, read: async (offset, length) => bytes.subarray(offset, offset + length) }
}

/** The same file, read in windows: for readers that go from one small header to the next. */
export function inWindows(file: ByteSource, window = 65_536): ByteSource {
  let start = 0
  let bytes: Uint8Array = new Uint8Array()
  return {
    size: file.size,
    async read(offset, length) {
      if (length > window) return file.read(offset, length)
      if (offset < start || offset + length > start + bytes.length) {
        if (offset >= start && start + bytes.length >= file.size) return bytes.subarray(offset - start)
        bytes = (await file.read(offset, window)).slice()
        start = offset
      }
      return bytes.subarray(offset - start, offset - start + length)
    },
  }
}

/** Bytes as Latin-1: signatures and names of chunks. */
export function ascii(bytes: Uint8Array, at: number, length: number): string {
  let text = ''
  for (let i = at; i < Math.min(at + length, bytes.length); i++) text += String.fromCharCode(bytes[i]!)
  return text
}

/** Missing bytes count as zeros. */
export function uint(bytes: Uint8Array, at: number, length: number, little = false): number {
  let value = 0
  for (let i = 0; i < length; i++) value = value * 256 + (bytes[little ? at + length - 1 - i : at + i] ?? 0)
  return value
}
