// SPDX-License-Identifier: GPL-2.0-or-later
/**
 * A program of its own: decodes AAC (MP4 or ADTS) and Apple Lossless (MP4) to a WAVE stream of 32-bit floats.
 *
 *     node aac-program.js FILE [START END] > out.wav
 *
 * START and END, bytes, are where a bare stream lies in the file, without tags before and behind it.
 *
 * autodj starts it as it starts ffmpeg, and speaks to it by arguments and pipes alone. That is what the licence of
 * @audio/decode-aac asks for (docs/decisions/0060-audio-decoders.md), and why this file imports nothing of autodj
 * and is under a licence of its own. Complaints go to stderr, a line each; exit code 1 where nothing could be decoded.
 */
import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import { decoder } from '@audio/decode-aac'

const CHUNK = 64 * 1024
/** Samples of a frame, before spectral band replication. */
const FRAME = 1024
/** An index takes about 8 bytes a frame: 64 MiB are days. */
const LARGEST_INDEX = 64 * 2 ** 20

async function read(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return buffer.subarray(0, done)
}

/** What the stream says of itself. */
interface Stream {
  /** Hz, of the core: spectral band replication doubles it */
  coreRate?: number
  /** that the container declares; a bare stream of HE-AAC does not tell mono from parametric stereo */
  channels?: number
  /** whether the container says how much of the beginning a player leaves out */
  trimmed?: boolean
}

const RATES = [
  96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350,
]

/** Object types of ISO/IEC 14496-3: AAC with spectral band replication, and that with parametric stereo. */
const SBR = 5
const PARAMETRIC_STEREO = 29

/** Whether an edit list (ISO/IEC 14496-12, 8.6.6) or iTunes' tag leaves out what the encoder put first. */
function isTrimmed(index: Buffer): boolean {
  const list = index.indexOf('elst', 0, 'latin1')
  if (list === -1) return index.includes('iTunSMPB', 0, 'latin1')
  const wide = index[list + 4] === 1
  const starts: number[] = []
  for (let i = 0, at = list + 12; i < index.readUInt32BE(list + 8) && at + 20 <= index.length; i++) {
    starts.push(wide ? Number(index.readBigInt64BE(at + 8)) : index.readInt32BE(at + 4))
    at += wide ? 20 : 12
  }
  // Empty edits begin before the sound. Of several others the decoder plays the whole.
  const media = starts.filter(start => start >= 0)
  return media.length === 1 && media[0]! > 0
}

/**
 * Reads the configuration of an index (ISO/IEC 14496-1, 7.2.6; 14496-3, 1.6.2.1), and makes that of parametric stereo,
 * which the decoder refuses, one of the mono stream below it.
 */
function readConfig(index: Buffer): Stream {
  const esds = index.indexOf('esds', 0, 'latin1')
  if (esds === -1) return {}
  let at = esds + 8
  /** Enters a descriptor. @returns false where there is another */
  const enter = (tag: number): boolean => {
    if (index[at] !== tag) return false
    do at++
    while ((index[at] ?? 0) & 0x80)
    at++
    return true
  }
  if (!enter(3)) return {}
  const flags = index[at + 2] ?? 0
  at += 3 + (flags & 0x80 ? 2 : 0) + (flags & 0x40 ? 1 + (index[at + 3] ?? 0) : 0) + (flags & 0x20 ? 2 : 0)
  if (!enter(4)) return {}
  at += 13
  if (!enter(5) || at + 2 > index.length) return {}
  const word = index.readUInt16BE(at)
  const type = word >> 11
  if (type === PARAMETRIC_STEREO) index[at] = (SBR << 3) | (index[at]! & 7)
  const entry = index.lastIndexOf('mp4a', esds, 'latin1')
  return {
    coreRate: RATES[(word >> 7) & 15],
    trimmed: isTrimmed(index),
    ...(type === PARAMETRIC_STEREO
      ? { channels: 2 }
      : entry > 0
        ? { channels: index.readUInt16BE(entry + 20) }
        : {}),
  }
}

/** The rate in the first header of a bare stream. */
function adtsRate(bytes: Buffer): number | undefined {
  for (let at = 0; at + 3 <= bytes.length; at++)
    if (bytes[at] === 0xff && (bytes[at + 1]! & 0xf6) === 0xf0) return RATES[(bytes[at + 2]! >> 2) & 15]
  return undefined
}

/** Where a top-level box is, bytes; undefined where there is none. */
async function findBox(file: FileHandle, size: number, wanted: string) {
  for (let at = 0; at + 8 <= size; ) {
    const head = await read(file, at, 16)
    if (head.length < 8) return undefined
    let length = head.readUInt32BE(0)
    if (length === 1 && head.length === 16) length = Number(head.readBigUInt64BE(8))
    if (length === 0) length = size - at
    if (length < 8) return undefined
    if (head.toString('latin1', 4, 8) === wanted) return { start: at, length: Math.min(length, size - at) }
    at += length
  }
  return undefined
}

/** Adds `shift` to every chunk offset of an index that points before `limit`. */
function moveOffsets(box: Buffer, from: number, to: number, shift: number, limit: number): void {
  for (let at = from; at + 8 <= to; ) {
    const length = box.readUInt32BE(at)
    const type = box.toString('latin1', at + 4, at + 8)
    if (length < 8 || at + length > to) return
    if (['trak', 'mdia', 'minf', 'stbl'].includes(type)) moveOffsets(box, at + 8, at + length, shift, limit)
    else if (type === 'stco' || type === 'co64') {
      const width = type === 'stco' ? 4 : 8
      const count = Math.min(box.readUInt32BE(at + 12), Math.floor((length - 16) / width))
      // The decoder reads the lower half of a 64-bit offset only.
      for (let entry = at + 16 + width - 4, i = 0; i < count; i++, entry += width) {
        const offset = box.readUInt32BE(entry)
        if (offset < limit) box.writeUInt32BE(offset + shift, entry)
      }
    }
    at += length
  }
}

/**
 * The file as the decoder wants it, in pieces: the index of an MP4 file ahead of the samples, as in a file made for
 * streaming. With the index last, as most encoders write it, the decoder would keep all that comes before.
 *
 * @param start of a bare stream
 * @param size where the file, or the stream, ends
 * @param stream is filled in before the first piece comes
 */
async function* pieces(
  file: FileHandle,
  start: number,
  size: number,
  stream: Stream,
): AsyncGenerator<Buffer> {
  const rest = async function* (from: number, to: number): AsyncGenerator<Buffer> {
    for (let at = from; at < to; at += CHUNK) {
      const piece = await read(file, at, Math.min(CHUNK, to - at))
      if (piece.length === 0) return
      yield piece
    }
  }
  const [type, moov, mdat] = [
    await findBox(file, size, 'ftyp'),
    await findBox(file, size, 'moov'),
    await findBox(file, size, 'mdat'),
  ]
  if (type?.start !== 0 || moov === undefined || mdat === undefined) {
    Object.assign(stream, { coreRate: adtsRate(await read(file, start, CHUNK)) })
    return yield* rest(start, size)
  }
  if (moov.length > LARGEST_INDEX) throw new Error(`the index has ${moov.length} bytes`)
  const index = await read(file, moov.start, moov.length)
  Object.assign(stream, readConfig(index))
  const head = type.length
  if (moov.start > mdat.start) moveOffsets(index, 8, index.length, moov.length, moov.start)
  // In one piece: the decoder looks at the samples once it has the whole index.
  yield Buffer.concat([
    await read(file, 0, head),
    ...(moov.start > mdat.start ? [] : [await read(file, head, moov.start - head)]),
    index,
  ])
  if (moov.start > mdat.start) yield* rest(head, moov.start)
  yield* rest(moov.start + moov.length, size)
}

function waveHeader(channels: number, sampleRate: number): Buffer {
  const header = Buffer.alloc(44)
  header.write('RIFF\xff\xff\xff\xffWAVEfmt ', 0, 'latin1')
  header.writeUInt32LE(16, 16)
  header.writeUInt16LE(3, 20)
  header.writeUInt16LE(channels, 22)
  header.writeUInt32LE(sampleRate, 24)
  header.writeUInt32LE(4 * channels * sampleRate, 28)
  header.writeUInt16LE(4 * channels, 32)
  header.writeUInt16LE(32, 34)
  header.write('data\xff\xff\xff\xff', 36, 'latin1')
  return header
}

async function main(path: string, start = 0, end?: number): Promise<void> {
  await using file = await open(path)
  const size = end ?? (await file.stat()).size
  const decoding = await decoder()
  let format: { channels: number; sampleRate: number } | undefined
  const stream: Stream = {}
  for await (const piece of pieces(file, start, size, stream)) {
    const { channelData, sampleRate, errors } = decoding.decode(piece) as ReturnType<
      typeof decoding.decode
    > & {
      errors?: number
    }
    // FAAD2 always withholds the first frame, which counts as one.
    for (let i = format ? 0 : 1; i < (errors ?? 0); i++)
      process.stderr.write('a frame could not be decoded\n')
    const length = channelData[0]?.length ?? 0
    if (length === 0) continue
    const replicated = stream.coreRate !== undefined && sampleRate === 2 * stream.coreRate
    // The decoder leaves parametric stereo mono. It is as loud as two channels, and so FFmpeg takes any HE-AAC of one.
    if (replicated && channelData.length === 1 && stream.channels !== 1) channelData.push(channelData[0]!)
    if (!format) {
      format = { channels: channelData.length, sampleRate }
      process.stdout.write(waveHeader(format.channels, sampleRate))
      // What it withholds of AAC is a player's first frame, unless the container says how much to leave out.
      if (stream.coreRate !== undefined && !stream.trimmed)
        process.stdout.write(new Uint8Array(4 * format.channels * FRAME * (replicated ? 2 : 1)))
    }
    if (channelData.length < format.channels || sampleRate !== format.sampleRate) {
      process.stderr.write('the format changes within the stream; the rest was left out\n')
      break
    }
    const samples = new Float32Array(length * format.channels)
    for (let c = 0; c < format.channels; c++) {
      const channel = channelData[c]!
      for (let i = 0, k = c; i < length; i++, k += format.channels) samples[k] = channel[i]!
    }
    if (!process.stdout.write(new Uint8Array(samples.buffer))) await once(process.stdout, 'drain')
  }
  if (!format) throw new Error('it holds no samples')
}

// Whoever reads may stop reading.
process.stdout.on('error', () => process.exit(1))
const [path, start, end] = process.argv.slice(2)
main(path!, Number(start ?? 0), end === undefined ? undefined : Number(end)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
