/**
 * A decoder of FLAC (RFC 9639), native or in Ogg, of every depth from 4 to 32 bits. The packages from npm decode depths
 * other than 8, 16, 24 and 32 to noise, write to stderr and lose their place in damaged files
 * (docs/decisions/0060-audio-decoders.md). A frame counts if its checksum is right; if one is not, the next header
 * whose own checksum is right is looked for.
 */

import type { ByteSource } from '../core/containers/bytes.ts'
import {
  type FlacHeader,
  flacBlocks,
  flacHeaderAt,
  longestFlacHeader,
  type StreamInfo,
  streamInfo,
} from '../core/containers/flac.ts'
import { oggPages } from '../core/containers/ogg.ts'
import type { Sound } from '../core/containers/sound.ts'

export interface FlacFrame {
  readonly sampleRate: number
  /** Whole numbers within the depth, a channel each; valid until the next frame. */
  readonly channels: readonly Float64Array[]
  /** samples a channel */
  readonly length: number
  /** bits a sample */
  readonly depth: number
}

const crc16 = Uint16Array.from({ length: 256 }, (_, i) => {
  let crc = i << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x8005 : crc << 1
  return crc
})

/** Thrown where the bytes run out in the middle of a frame: it goes on in those that have not come. */
class OutOfBytes extends Error {}
/** Thrown for what no encoder writes. */
class Invalid extends Error {}

class BitReader {
  bytes: Uint8Array = new Uint8Array()
  end = 0
  /** the next byte that is taken */
  at = 0
  /** bits taken and not yet given, lowest first out of `value` */
  #value = 0
  #count = 0

  start(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes
    this.at = at
    this.end = end
    this.#value = 0
    this.#count = 0
  }

  /** 0 to 24 bits */
  bits(length: number): number {
    while (this.#count < length) {
      if (this.at >= this.end) throw new OutOfBytes()
      this.#value = ((this.#value << 8) | this.bytes[this.at++]!) & 0x7fff_ffff
      this.#count += 8
    }
    this.#count -= length
    return (this.#value >>> this.#count) & ((1 << length) - 1)
  }

  /** A number with a sign, of up to 33 bits. */
  signed(length: number): number {
    if (length === 0) return 0
    if (length <= 24) {
      const value = this.bits(length)
      return value >= 1 << (length - 1) ? value - 2 ** length : value
    }
    const high = this.bits(length - 16)
    const value = high * 65_536 + this.bits(16)
    return value >= 2 ** (length - 1) ? value - 2 ** length : value
  }

  /** Zeros before the next one. */
  unary(): number {
    let zeros = 0
    for (;;) {
      if (this.#count === 0) {
        if (this.at >= this.end) throw new OutOfBytes()
        this.#value = this.bytes[this.at++]!
        this.#count = 8
      }
      const rest = this.#value & ((1 << this.#count) - 1)
      if (rest !== 0) {
        const leading = Math.clz32(rest) - (32 - this.#count)
        this.#count -= leading + 1
        return zeros + leading
      }
      zeros += this.#count
      this.#count = 0
    }
  }

  /** Residuals of one Rice partition. */
  rice(out: Float64Array, from: number, to: number, parameter: number): void {
    const { bytes, end } = this
    let at = this.at
    let value = this.#value
    let count = this.#count
    for (let i = from; i < to; i++) {
      let quotient = 0
      for (;;) {
        if (count === 0) {
          if (at >= end) throw new OutOfBytes()
          value = bytes[at++]!
          count = 8
        }
        const rest = value & ((1 << count) - 1)
        if (rest !== 0) {
          const leading = Math.clz32(rest) - (32 - count)
          count -= leading + 1
          quotient += leading
          break
        }
        quotient += count
        count = 0
      }
      let low = 0
      let wanted = parameter
      if (wanted > 16) {
        // Two steps: `value` holds 31 bits at most.
        const first = wanted - 16
        while (count < first) {
          if (at >= end) throw new OutOfBytes()
          value = ((value << 8) | bytes[at++]!) & 0x7fff_ffff
          count += 8
        }
        count -= first
        low = (value >>> count) & ((1 << first) - 1)
        wanted = 16
      }
      while (count < wanted) {
        if (at >= end) throw new OutOfBytes()
        value = ((value << 8) | bytes[at++]!) & 0x7fff_ffff
        count += 8
      }
      count -= wanted
      low = low * 2 ** wanted + ((value >>> count) & ((1 << wanted) - 1))
      const folded = quotient * 2 ** parameter + low
      out[i] = folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2
    }
    this.at = at
    this.#value = value
    this.#count = count
  }
}

/** Decodes the subframes (9.2) and brings the channels back. @returns the place behind the frame's checksum */
function decodeFrame(reader: BitReader, header: FlacHeader, out: Float64Array[]): number {
  const { length, assignment, channels, depth } = header
  for (let c = 0; c < channels; c++) {
    const isSide =
      (assignment === 8 && c === 1) || (assignment === 9 && c === 0) || (assignment === 10 && c === 1)
    decodeSubframe(reader, out[c]!, length, depth + (isSide ? 1 : 0))
  }
  const a = out[0]!
  const b = out[1]!
  if (assignment === 8) for (let i = 0; i < length; i++) b[i] = a[i]! - b[i]!
  else if (assignment === 9) for (let i = 0; i < length; i++) a[i] = a[i]! + b[i]!
  else if (assignment === 10)
    for (let i = 0; i < length; i++) {
      const side = b[i]!
      const sum = 2 * a[i]! + (side % 2 === 0 ? 0 : 1)
      a[i] = (sum + side) / 2
      b[i] = (sum - side) / 2
    }
  return reader.at + 2
}

const fixed = [[], [1], [2, -1], [3, -3, 1], [4, -6, 4, -1]] as const

function decodeSubframe(reader: BitReader, out: Float64Array, length: number, fullDepth: number): void {
  if (reader.bits(1) !== 0) throw new Invalid()
  const type = reader.bits(6)
  const wasted = reader.bits(1) === 1 ? reader.unary() + 1 : 0
  const depth = fullDepth - wasted
  if (depth < 1) throw new Invalid()
  if (type === 0) out.fill(reader.signed(depth), 0, length)
  else if (type === 1) for (let i = 0; i < length; i++) out[i] = reader.signed(depth)
  else if (type >= 8 && type <= 12) {
    const order = type - 8
    for (let i = 0; i < Math.min(order, length); i++) out[i] = reader.signed(depth)
    residual(reader, out, length, order)
    predict(out, length, fixed[order]!, 0)
  } else if (type >= 32) {
    const order = type - 31
    for (let i = 0; i < Math.min(order, length); i++) out[i] = reader.signed(depth)
    const precision = reader.bits(4) + 1
    const shift = reader.signed(5)
    if (precision === 16 || shift < 0) throw new Invalid()
    const coefficients: number[] = []
    for (let i = 0; i < order; i++) coefficients.push(reader.signed(precision))
    residual(reader, out, length, order)
    predict(out, length, coefficients, shift)
  } else throw new Invalid()
  if (wasted > 0) for (let i = 0; i < length; i++) out[i] = out[i]! * 2 ** wasted
}

/** The coded residual (9.2.7), put where the samples will be. */
function residual(reader: BitReader, out: Float64Array, length: number, order: number): void {
  const method = reader.bits(2)
  if (method > 1) throw new Invalid()
  const width = method === 0 ? 4 : 5
  const partitions = 1 << reader.bits(4)
  const each = length / partitions
  if (!Number.isInteger(each) || each < order) throw new Invalid()
  for (let p = 0, at = order; p < partitions; p++) {
    const end = (p + 1) * each
    const parameter = reader.bits(width)
    if (parameter === (1 << width) - 1) {
      const raw = reader.bits(5)
      for (; at < end; at++) out[at] = reader.signed(raw)
    } else reader.rice(out, at, end, parameter)
    at = end
  }
}

/** Adds the prediction to the residual. Doubles hold every sum exactly: 33 bits, 15 of coefficients, 32 of them. */
function predict(out: Float64Array, length: number, coefficients: readonly number[], shift: number): void {
  const order = coefficients.length
  if (order === 0) return
  const taps = Float64Array.from(coefficients)
  const scale = 2 ** -shift
  for (let i = order; i < length; i++) {
    let sum = 0
    for (let k = 0, j = i - 1; k < order; k++, j--) sum += taps[k]! * out[j]!
    out[i] = out[i]! + Math.floor(sum * scale)
  }
}

/** Bytes that a frame may take before it is taken for damage: a verbatim one of 65,535 samples in 8 channels of 33 bits. */
const longestFrame = 2_200_000

/** Takes a stream in pieces, gives its frames as they become whole. */
export class FlacDecoder {
  /** Stretches between two frames that could not be decoded; what stands before the first or behind the last is none. */
  errors = 0
  #info: StreamInfo
  #bytes: Uint8Array = new Uint8Array()
  #reader = new BitReader()
  #planes: Float64Array[] = []
  #isLost = true
  #hasFrame = false

  /** @param info what STREAMINFO says, for frames that refer to it */
  constructor(info: StreamInfo) {
    this.#info = info
  }

  /**
   * @param isLast no more will come
   * @returns whole frames; each is valid until the next is asked for
   */
  *push(piece: Uint8Array, isLast = false): Generator<FlacFrame> {
    const bytes = new Uint8Array(this.#bytes.length + piece.length)
    bytes.set(this.#bytes)
    bytes.set(piece, this.#bytes.length)
    const end = bytes.length
    let at = 0
    while (at < end) {
      // A header is judged when all of it is there.
      if (!isLast && end - at < longestFlacHeader) break
      const header = flacHeaderAt(bytes, at, end, this.#info)
      if (!header) {
        const next = bytes.indexOf(0xff, at + 1)
        this.#isLost = true
        at = next === -1 ? end : next
        continue
      }
      while (this.#planes.length < header.channels || (this.#planes[0]?.length ?? 0) < header.length)
        this.#planes = Array.from(
          { length: Math.max(header.channels, this.#planes.length) },
          () => new Float64Array(Math.max(header.length, 4608)),
        )
      this.#reader.start(bytes, at + header.size, end)
      try {
        const behind = decodeFrame(this.#reader, header, this.#planes)
        if (behind > end) throw new OutOfBytes()
        let crc = 0
        for (let i = at; i < behind - 2; i++) crc = ((crc << 8) ^ crc16[(crc >> 8) ^ bytes[i]!]!) & 0xffff
        if (crc !== ((bytes[behind - 2]! << 8) | bytes[behind - 1]!)) throw new Invalid()
        if (this.#isLost && this.#hasFrame) this.errors++
        this.#isLost = false
        this.#hasFrame = true
        at = behind
        const { sampleRate, depth, length, channels } = header
        yield { sampleRate, depth, length, channels: this.#planes.slice(0, channels) }
      } catch (error) {
        if (error instanceof OutOfBytes && !isLast && end - at < longestFrame) break
        if (!(error instanceof Invalid || error instanceof OutOfBytes)) throw error
        this.#isLost = true
        const next = bytes.indexOf(0xff, at + 1)
        at = next === -1 ? end : next
      }
    }
    this.#bytes = bytes.slice(at)
  }
}

const pieceBytes = 64 * 1024

interface FlacStream {
  readonly info: StreamInfo
  readonly pieces: AsyncIterable<{ readonly bytes: Uint8Array; readonly isLast: boolean }>
}

/** The stream in a file; undefined if nothing describes it. */
export async function flacStream(
  file: ByteSource,
  { start, end }: Pick<Sound, 'start' | 'end'>,
  isOgg: boolean,
): Promise<FlacStream | undefined> {
  if (isOgg) {
    const head = await file.read(start, 256)
    const at = Buffer.from(head).indexOf('\x7fFLAC', 0, 'latin1')
    return at === -1 ? undefined : { info: streamInfo(head, at + 17), pieces: oggPieces(file, start, end) }
  }
  // If a block's length is wrong, the first frame is looked for from there on.
  const { blocks, frames } = await flacBlocks(file, start, end)
  const block = blocks.find(({ type }) => type === 0)
  if (!block) return undefined
  const info = streamInfo(await file.read(block.start, 34), 0)
  return { info, pieces: plainPieces(file, frames, end) }
}

async function* plainPieces(file: ByteSource, start: number, end: number) {
  for (let at = start; at < end; at += pieceBytes)
    yield { bytes: await file.read(at, Math.min(pieceBytes, end - at)), isLast: at + pieceBytes >= end }
}

/** Bodies of pages, without those of headers, which have no granule. */
async function* oggPieces(file: ByteSource, start: number, end: number) {
  for await (const page of oggPages(file, start, end)) {
    if (page.isFirst || page.granule === 0) continue
    const to = Math.min(page.end, end)
    yield { bytes: await file.read(page.body, to - page.body), isLast: false }
  }
  yield { bytes: new Uint8Array(), isLast: true }
}
