/** FLAC's own framing (RFC 9639): metadata blocks, and the heads of frames. */
import { type ByteSource, uint } from './bytes.ts'
import type { Sound } from './sound.ts'

export interface FlacHeader {
  /** bytes, its checksum included */
  readonly size: number
  readonly length: number
  readonly sampleRate: number
  /** 0 to 7: that many and one independent channels; 8 left and side, 9 side and right, 10 mid and side */
  readonly assignment: number
  readonly channels: number
  readonly depth: number
  /** Of the frame, or, if block sizes vary, of its first sample. */
  readonly number: number
  readonly isVarying: boolean
}

export interface StreamInfo {
  readonly sampleRate: number
  /** bits a sample */
  readonly depth: number
}

const rates = [0, 88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000]
const depths = [0, 8, 12, 0, 16, 20, 24, 32]

const crc8 = Uint8Array.from({ length: 256 }, (_, i) => {
  let crc = i
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? (crc << 1) ^ 0x07 : crc << 1
  return crc
})

/** The most bytes that a header takes (9.1). */
export const longestFlacHeader = 16

/** The header at a place (9.1); undefined if there is none, or its checksum is wrong. */
export function flacHeaderAt(
  bytes: Uint8Array,
  at: number,
  end: number,
  info: StreamInfo,
): FlacHeader | undefined {
  if (bytes[at] !== 0xff || (bytes[at + 1]! & 0xfe) !== 0xf8 || at + 6 > end) return undefined
  const sizes = bytes[at + 2]!
  const rest = bytes[at + 3]!
  const assignment = rest >> 4
  const depthCode = (rest >> 1) & 7
  const rateCode = sizes & 15
  if (assignment > 10 || depthCode === 3 || rateCode === 15 || sizes >> 4 === 0 || rest & 1) return undefined
  let p = at + 4
  // The number of the frame or sample, coded as UTF-8 up to 36 bits.
  const lead = bytes[p++]!
  let more = 0
  for (let mask = 0x80; lead & mask && mask > 1; mask >>= 1) more++
  if (more === 1 || more === 7 + 1) return undefined
  let number = more === 0 ? lead : lead & (0x7f >> more)
  for (let i = 1; i < more; i++) number = number * 64 + (bytes[p++]! & 0x3f)
  const sizeCode = sizes >> 4
  let length = 0
  if (sizeCode === 1) length = 192
  else if (sizeCode <= 5) length = 576 << (sizeCode - 2)
  else if (sizeCode === 6) length = 1 + bytes[p++]!
  else if (sizeCode === 7) {
    length = 1 + ((bytes[p]! << 8) | bytes[p + 1]!)
    p += 2
  } else length = 256 << (sizeCode - 8)
  let sampleRate = rateCode === 0 ? info.sampleRate : (rates[rateCode] ?? 0)
  if (rateCode === 12) sampleRate = 1000 * bytes[p++]!
  else if (rateCode === 13 || rateCode === 14) {
    sampleRate = ((bytes[p]! << 8) | bytes[p + 1]!) * (rateCode === 14 ? 10 : 1)
    p += 2
  }
  if (p >= end) return undefined
  let crc = 0
  for (let i = at; i < p; i++) crc = crc8[crc ^ bytes[i]!]!
  if (crc !== bytes[p]) return undefined
  const depth = depthCode === 0 ? info.depth : depths[depthCode]!
  return {
    size: p + 1 - at,
    length,
    sampleRate,
    assignment,
    channels: assignment < 8 ? assignment + 1 : 2,
    depth,
    number,
    isVarying: (bytes[at + 1]! & 1) === 1,
  }
}

interface FlacBlock {
  readonly type: number
  /** of the content */
  readonly start: number
  readonly end: number
}

/**
 * The metadata blocks of a file, and where the first frame is, as far as their lengths are right.
 *
 * @param start where `fLaC` stands
 */
export async function flacBlocks(
  file: ByteSource,
  start: number,
  end: number,
): Promise<{ blocks: FlacBlock[]; frames: number; isBroken: boolean }> {
  const blocks: FlacBlock[] = []
  let at = start + 4
  while (blocks.length < 1024) {
    const head = (await file.read(at, 4)).slice()
    const type = head[0]! & 0x7f
    const next = at + 4 + uint(head, 1, 3)
    if (head.length < 4 || type === 127 || next > end) return { blocks, frames: at, isBroken: true }
    blocks.push({ type, start: at + 4, end: next })
    at = next
    if (head[0]! & 0x80) return { blocks, frames: at, isBroken: false }
  }
  return { blocks, frames: at, isBroken: true }
}

/** @param at where STREAMINFO's content begins (8.2) */
export const streamInfo = (bytes: Uint8Array, at: number): StreamInfo => ({
  sampleRate: uint(bytes, at + 10, 3) >> 4,
  depth: ((uint(bytes, at + 12, 2) >> 4) & 31) + 1,
})

/** Bytes at the end in which the last frame begins. */
const tail = 2 ** 20

export async function readFlac(file: ByteSource, start: number, end: number): Promise<Sound> {
  const { blocks } = await flacBlocks(file, start, end)
  const block = blocks.find(({ type }) => type === 0)
  if (!block) return { start, end, coding: 'flac' }
  const bytes = (await file.read(block.start, 34)).slice()
  const info = streamInfo(bytes, 0)
  const { sampleRate } = info
  const stated = (bytes[13]! & 15) * 2 ** 32 + uint(bytes, 14, 4)
  const samples = stated > 0 ? stated : await countedSamples(file, start, end, info, uint(bytes, 0, 2))
  return {
    start,
    end,
    coding: 'flac',
    sampleRate,
    channels: 1 + ((bytes[12]! >> 1) & 7),
    duration: samples / sampleRate,
  }
}

/** What an encoder that wrote a stream did not know: the last frame says where it stands. */
async function countedSamples(
  file: ByteSource,
  start: number,
  end: number,
  info: StreamInfo,
  blockSize: number,
): Promise<number> {
  const from = Math.max(start, end - tail)
  const bytes = (await file.read(from, end - from)).slice()
  for (let at = bytes.lastIndexOf(0xff); at > 0; at = bytes.lastIndexOf(0xff, at - 1)) {
    const header = flacHeaderAt(bytes, at, bytes.length, info)
    if (header?.sampleRate === info.sampleRate)
      return (header.isVarying ? header.number : header.number * blockSize) + header.length
  }
  return 0
}
