/**
 * Of the checksums that S3 knows those that are asked for here, as running hashes, and the arithmetic that joins CRCs of
 * parts into the CRC of the whole.
 *
 * CRC-64/NVME: polynomial 0xAD93D23594C93659 reflected (NVM Express NVM Command Set 1.0, figure "64b CRC Polynomials").
 * Joining follows zlib's `crc32_combine` of 2018: advancing a CRC over n zero bytes is a multiplication by x^(8n) modulo
 * the polynomial, done by square and multiply.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

export const algorithms = ['CRC32', 'CRC64NVME', 'SHA256'] as const
export type Algorithm = (typeof algorithms)[number]

export const checksumHeader = (algorithm: Algorithm): string => `x-amz-checksum-${algorithm.toLowerCase()}`

/** Bytes of the decoded value of each algorithm. */
export const checksumBytes: Record<Algorithm, number> = {
  CRC32: 4,
  CRC64NVME: 8,
  SHA256: 32,
}

/** A running checksum; `digest` gives the base64 of the big-endian bytes, as S3 spells it. */
export interface RunningChecksum {
  update(data: Uint8Array): void
  digest(): string
}

const crc64Polynomial = 0x9a6c9329ac4bc9b5n
/** As two halves of 32 bits each: 64-bit integers in JavaScript are too slow for a byte loop. */
const crc64Table = { lo: new Int32Array(256), hi: new Int32Array(256) }
for (let n = 0; n < 256; n++) {
  let c = BigInt(n)
  for (let bit = 0; bit < 8; bit++) c = c & 1n ? (c >> 1n) ^ crc64Polynomial : c >> 1n
  crc64Table.lo[n] = Number(c & 0xffffffffn)
  crc64Table.hi[n] = Number(c >> 32n)
}

class RunningCrc64 implements RunningChecksum {
  #lo = -1
  #hi = -1

  update(data: Uint8Array): void {
    let [lo, hi] = [this.#lo, this.#hi]
    for (const byte of data) {
      const n = (lo ^ byte) & 0xff
      lo = ((lo >>> 8) | (hi << 24)) ^ crc64Table.lo[n]!
      hi = (hi >>> 8) ^ crc64Table.hi[n]!
    }
    this.#lo = lo
    this.#hi = hi
  }

  digest(): string {
    const out = Buffer.allocUnsafe(8)
    out.writeUInt32BE(~this.#hi >>> 0, 0)
    out.writeUInt32BE(~this.#lo >>> 0, 4)
    return out.toString('base64')
  }
}

class RunningCrc32 implements RunningChecksum {
  #crc = 0

  update(data: Uint8Array): void {
    this.#crc = crc32(data, this.#crc)
  }

  digest(): string {
    const out = Buffer.allocUnsafe(4)
    out.writeUInt32BE(this.#crc, 0)
    return out.toString('base64')
  }
}

class RunningSha256 implements RunningChecksum {
  readonly #hash = createHash('sha256')

  update(data: Uint8Array): void {
    this.#hash.update(data)
  }

  digest(): string {
    return this.#hash.digest('base64')
  }
}

export function startChecksum(algorithm: Algorithm): RunningChecksum {
  switch (algorithm) {
    case 'CRC32':
      return new RunningCrc32()
    case 'CRC64NVME':
      return new RunningCrc64()
    case 'SHA256':
      return new RunningSha256()
  }
}

export function checksumOf(algorithm: Algorithm, data: Uint8Array): string {
  const running = startChecksum(algorithm)
  running.update(data)
  return running.digest()
}

const polynomials = {
  CRC32: { polynomial: 0xedb88320n, bits: 32n },
  CRC64NVME: { polynomial: crc64Polynomial, bits: 64n },
} as const

type CrcAlgorithm = keyof typeof polynomials

export const isCrc = (algorithm: Algorithm): algorithm is CrcAlgorithm => algorithm in polynomials

/** a(x) * b(x) modulo the polynomial, coefficients reflected: the top bit is x^0. */
function multiply(a: bigint, b: bigint, polynomial: bigint, bits: bigint): bigint {
  let product = 0n
  for (let mask = 1n << (bits - 1n); mask !== 0n; mask >>= 1n) {
    if (a & mask) product ^= b
    b = b & 1n ? (b >> 1n) ^ polynomial : b >> 1n
  }
  return product
}

/** CRC of the concatenation of parts, from their CRCs (base64) and sizes (bytes), without reading them again. */
export function joinCrcs(algorithm: CrcAlgorithm, parts: { checksum: string; size: number }[]): string {
  const { polynomial, bits } = polynomials[algorithm]
  const advances = new Map<number, bigint>()
  const advance = (size: number) => {
    let result = advances.get(size)
    if (result === undefined) {
      result = 1n << (bits - 1n)
      let square = 1n << (bits - 2n)
      for (let n = BigInt(size) * 8n; n > 0n; n >>= 1n) {
        if (n & 1n) result = multiply(square, result, polynomial, bits)
        square = multiply(square, square, polynomial, bits)
      }
      advances.set(size, result)
    }
    return result
  }
  let crc = 0n
  for (const part of parts) {
    const next = BigInt(`0x${Buffer.from(part.checksum, 'base64').toString('hex')}`)
    crc = multiply(advance(part.size), crc, polynomial, bits) ^ next
  }
  return Buffer.from(crc.toString(16).padStart(Number(bits) / 4, '0'), 'hex').toString('base64')
}
