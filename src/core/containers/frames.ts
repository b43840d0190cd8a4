/**
 * Streams of frames without a container: MPEG audio (ISO/IEC 11172-3, 13818-3), AAC in ADTS (14496-3, 1.A.2), AC-3 and
 * E-AC-3 (ETSI TS 102 366, 4.3 and E.1), DTS (ETSI TS 102 114, 5.3).
 */
import { ascii, type ByteSource, uint } from './bytes.ts'

interface Frame {
  /** bytes, header included */
  readonly length: number
  /** What every frame of one stream has in common. */
  readonly kind: string
  readonly coding: 'mp1' | 'mp2' | 'mp3' | 'adts' | 'ac3' | 'eac3' | 'dts'
  /** Hz */
  readonly sampleRate: number
  readonly channels: number
  /** a channel; 0 for a frame that adds to the one before it */
  readonly samples: number
}

/** kbit/s by MPEG version (1, or 2 and 2.5) and layer; index 0 is "free format", which nothing plays reliably. */
const bitrates: Readonly<Record<string, readonly number[]>> = {
  '1/1': [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
  '1/2': [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
  '1/3': [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  '2/1': [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
  '2/2': [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
  '2/3': [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
const sampleRates = [44_100, 48_000, 32_000]
const adtsRates = [
  96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350,
]

/** The frame whose header these bytes hold; undefined if they are none. */
export function frameAt(bytes: Uint8Array, at: number): Frame | undefined {
  switch (bytes[at]) {
    case 0xff:
      return mpegFrame(bytes, at)
    case 0x0b:
      return bytes[at + 1] === 0x77 ? dolbyFrame(bytes, at) : undefined
    case 0x7f:
    case 0xfe:
    case 0x64:
      return dtsFrame(bytes, at)
    default:
      return undefined
  }
}

function mpegFrame(bytes: Uint8Array, at: number): Frame | undefined {
  if (at + 4 > bytes.length) return undefined
  const b = bytes[at + 1]!
  const c = bytes[at + 2]!
  const d = bytes[at + 3]!
  if ((b & 0xe0) !== 0xe0) return undefined
  if ((b & 0xf6) === 0xf0) {
    if (at + 7 > bytes.length) return undefined
    const length = ((d & 0x03) << 11) | (bytes[at + 4]! << 3) | (bytes[at + 5]! >> 5)
    const rate = (c >> 2) & 0x0f
    if (rate > 12 || length < 7) return undefined
    const layout = ((c & 1) << 2) | (d >> 6)
    return {
      length,
      kind: `adts ${b} ${c & 0xfd}`,
      coding: 'adts',
      sampleRate: adtsRates[rate]!,
      channels: layout === 7 ? 8 : layout,
      samples: 1024 * (1 + (bytes[at + 6]! & 3)),
    }
  }
  const version = (b >> 3) & 3
  const layer = 4 - ((b >> 1) & 3)
  const rateIndex = (c >> 2) & 3
  const bitrateIndex = c >> 4
  if (version === 1 || layer === 4 || rateIndex === 3 || bitrateIndex === 15 || bitrateIndex === 0)
    return undefined
  if ((d & 3) === 2) return undefined // reserved emphasis
  const sampleRate = sampleRates[rateIndex]! / (version === 3 ? 1 : version === 2 ? 2 : 4)
  const bitrate = bitrates[`${version === 3 ? 1 : 2}/${layer}`]![bitrateIndex]! * 1000
  const padding = (c >> 1) & 1
  const half = layer === 3 && version !== 3
  return {
    length:
      layer === 1
        ? (Math.floor((12 * bitrate) / sampleRate) + padding) * 4
        : Math.floor(((half ? 72 : 144) * bitrate) / sampleRate) + padding,
    kind: `mpeg ${version} ${layer} ${rateIndex}`,
    coding: `mp${layer as 1 | 2 | 3}`,
    sampleRate,
    channels: d >> 6 === 3 ? 1 : 2,
    samples: layer === 1 ? 384 : half ? 576 : 1152,
  }
}

const dolbyRates = [48_000, 44_100, 32_000]
const ac3Bitrates = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640]
const dolbyChannels = [2, 1, 2, 3, 3, 4, 4, 5]

function dolbyFrame(bytes: Uint8Array, at: number): Frame | undefined {
  if (at + 7 > bytes.length) return undefined
  const version = bytes[at + 5]! >> 3
  const code = bytes[at + 4]!
  if (version <= 10) {
    const sampleRate = dolbyRates[code >> 6]
    const bitrate = ac3Bitrates[(code & 0x3f) >> 1]
    if (sampleRate === undefined || bitrate === undefined) return undefined
    const words = Math.floor((bitrate * 96_000) / sampleRate) + (sampleRate === 44_100 ? code & 1 : 0)
    const channels = dolbyChannels[bytes[at + 6]! >> 5]!
    return { length: 2 * words, kind: `ac3 ${code >> 6}`, coding: 'ac3', sampleRate, channels, samples: 1536 }
  }
  if (version > 16) return undefined
  const length = 2 * (1 + (((bytes[at + 2]! & 7) << 8) | bytes[at + 3]!))
  const half = code >> 6 === 3
  const sampleRate = half ? (dolbyRates[(code >> 4) & 3] ?? 0) / 2 : dolbyRates[code >> 6]!
  if (sampleRate === 0 || length < 8) return undefined
  const isFirst = bytes[at + 2]! >> 6 !== 1 && ((bytes[at + 2]! >> 3) & 7) === 0
  const blocks = half ? 6 : [1, 2, 3, 6][(code >> 4) & 3]!
  return {
    length,
    kind: `eac3 ${sampleRate}`,
    coding: 'eac3',
    sampleRate,
    channels: dolbyChannels[(code >> 1) & 7]! + (code & 1),
    samples: isFirst ? 256 * blocks : 0,
  }
}

const dtsRates = [0, 8000, 16_000, 32_000, 0, 0, 11_025, 22_050, 44_100, 0, 0, 12_000, 24_000, 48_000, 0, 0]
const dtsChannels = [1, 2, 2, 2, 2, 3, 3, 4, 4, 5, 6, 6, 6, 7, 8, 8]

function dtsFrame(bytes: Uint8Array, at: number): Frame | undefined {
  if (at + 12 > bytes.length) return undefined
  const sync = uint(bytes, at, 4)
  if (sync === 0x64582025) {
    // An extension (DTS-HD) of the frame before it.
    const wide = (bytes[at + 5]! >> 5) & 1
    const length = wide
      ? ((uint(bytes, at + 6, 4) >>> 5) & 0xfffff) + 1
      : ((uint(bytes, at + 6, 3) >>> 5) & 0xffff) + 1
    return { length, kind: 'dts', coding: 'dts', sampleRate: 48_000, channels: 2, samples: 0 }
  }
  if (sync !== 0x7ffe8001 && sync !== 0xfe7f0180) return undefined
  const swap = sync === 0xfe7f0180 ? 1 : 0
  const byte = (n: number): number => bytes[at + (n ^ swap)]!
  const samples = ((((byte(4) & 1) << 6) | (byte(5) >> 2)) + 1) * 32
  const length = (((byte(5) & 3) << 12) | (byte(6) << 4) | (byte(7) >> 4)) + 1
  const layout = ((byte(7) & 15) << 2) | (byte(8) >> 6)
  const sampleRate = dtsRates[(byte(8) >> 2) & 15]!
  if (length < 96 || samples < 192 || sampleRate === 0) return undefined
  return { length, kind: 'dts', coding: 'dts', sampleRate, channels: dtsChannels[layout] ?? 8, samples }
}

/**
 * The stream these bytes begin with, when at least `frames` frames of one kind follow each other. Where the bytes
 * are the `whole` file, fewer will do: the chain has to end with the file then.
 */
export function frameChain(bytes: Uint8Array, whole: boolean, frames: number): Frame | undefined {
  const first = frameAt(bytes, 0)
  if (!first) return undefined
  let at = 0
  for (let seen = 0; seen < frames; seen++) {
    const frame = frameAt(bytes, at)
    if (frame?.kind !== first.kind) return undefined
    at += frame.length
    // one ID3v1 or APE tag, or nothing, may follow the last frame of a file
    if (whole && seen > 0 && at >= bytes.length) break
    if (whole && at === bytes.length) break
  }
  return first
}

interface FrameCount {
  /** Seconds of all frames. */
  readonly duration: number
  /** Offset behind the last whole frame, bytes. */
  readonly end: number
  /** Bytes that the last frame, which is not counted, lacks; 0 if the stream ends between two frames. */
  readonly missing: number
}

/** Bytes of the stream that are looked at together. */
const chunk = 256 * 1024

/**
 * Goes through a stream frame by frame. What lies between two frames is stepped over; frames of another kind than the
 * first are taken for such rubble unless two follow each other.
 *
 * @param start offset of the first frame
 * @param end where trailing tags begin, or the file ends
 */
export async function countFrames(file: ByteSource, start: number, end: number): Promise<FrameCount> {
  let duration = 0
  let at = start
  let last = start
  let missing = 0
  let kind: string | undefined
  while (at < end) {
    const bytes = await file.read(at, Math.min(chunk, end - at))
    if (bytes.length === 0) break
    const isLast = at + bytes.length >= end
    let position = 0
    let insync = true
    for (;;) {
      if (!insync) {
        position = bytes.indexOf(0xff, position)
        if (position === -1) {
          position = bytes.length
          break
        }
      }
      const frame = position + 7 <= bytes.length || isLast ? frameAt(bytes, position) : undefined
      if (!frame) {
        if (position + 8 > bytes.length) {
          if (isLast) position = bytes.length
          break
        }
        insync = false
        position++
        continue
      }
      const next = position + frame.length
      if (next > bytes.length) {
        if (!isLast) break
        if (frame.kind === kind && insync) missing = next - bytes.length
        position = bytes.length
        break
      }
      // Out of step, or of another kind: only with a second one behind it, or with the end.
      if (!insync || frame.kind !== kind) {
        if (next + 7 > bytes.length && !isLast) break
        const following = next < bytes.length ? frameAt(bytes, next) : undefined
        const isStream =
          kind === undefined ||
          (following ? following.kind === frame.kind : next === bytes.length && isLast && frame.kind === kind)
        if (!isStream) {
          insync = false
          position++
          continue
        }
      }
      kind = frame.kind
      insync = true
      duration += frame.samples / frame.sampleRate
      position = next
      last = at + next
    }
    // Never stand still: a frame is shorter than a chunk.
    at += Math.max(position, isLast ? bytes.length : 1)
  }
  return { duration, end: last, missing }
}

/** How many frames, and bytes, the first frame of an MPEG stream says there are (Xing, Info, VBRI). */
interface FrameTotals {
  /** samples a channel, the frame that says so not counted */
  readonly samples: number
  /** from the first frame on; undefined if it does not say */
  readonly bytes: number | undefined
}

export function frameTotals(bytes: Uint8Array): FrameTotals | undefined {
  const frame = frameAt(bytes, 0)
  if (frame?.coding !== 'mp3') return undefined
  const side = frame.samples === 1152 ? (frame.channels === 1 ? 17 : 32) : frame.channels === 1 ? 9 : 17
  // LAME and others put it behind the side information, some 2 bytes further, where a checksum is.
  for (const at of [4 + side, 6 + side]) {
    const name = ascii(bytes, at, 4)
    if (name !== 'Xing' && name !== 'Info') continue
    const flags = uint(bytes, at + 4, 4)
    const frames = flags & 1 ? uint(bytes, at + 8, 4) : 0
    if (frames === 0) return undefined
    const length = flags & 2 ? uint(bytes, at + (flags & 1 ? 12 : 8), 4) : 0
    return { samples: frames * frame.samples, bytes: length > 0 ? length : undefined }
  }
  if (ascii(bytes, 36, 4) === 'VBRI') {
    const frames = uint(bytes, 50, 4)
    const length = uint(bytes, 46, 4)
    if (frames > 0) return { samples: frames * frame.samples, bytes: length > 0 ? length : undefined }
  }
  return undefined
}
