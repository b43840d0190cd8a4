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
 * and is under a licence of its own. Complaints go to stderr, a line each; exit code 1 if nothing could be decoded.
 */
import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import { decoder, type GaplessBoxes, gapless, type RawOptions } from '@audio/decode-aac'

const chunkBytes = 64 * 1024
/** Samples of a frame, before spectral band replication. */
const frameSamples = 1024
/** An index takes about 8 bytes a frame: 64 MiB are days. */
const largestIndex = 64 * 2 ** 20
/** Frames after which a stream has shown whether it replicates its spectrum. */
const framesToTell = 8

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

/** Frames without what a container puts around them, and what the decoder must know to take them. */
interface Stream {
  readonly options: RawOptions
  /** that the container declares; a bare stream of HE-AAC does not tell mono from parametric stereo */
  readonly channels: number | undefined
  readonly frames: () => AsyncGenerator<Uint8Array[]>
}

const rates = [
  96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350,
]

/** Object types of ISO/IEC 14496-3: AAC with spectral band replication, and that with parametric stereo. */
const sbr = 5
const parametricStereo = 29

/** What AAC's configuration (14496-3, 1.6.2.1) begins with. */
function readConfig(config: Uint8Array) {
  const word = (config[0]! << 8) | config[1]!
  return { type: word >> 11, rate: rates[(word >> 7) & 15], channels: (word >> 3) & 15 }
}

/**
 * The configuration with a word on replication: whether there is some. Where nothing is said of it the decoder takes
 * any stream of a low rate for half of one, and parametric stereo, which it refuses, is one of the mono stream below.
 */
function explicitConfig(config: Uint8Array, isReplicated: boolean): Uint8Array {
  const { type, rate, channels } = readConfig(config)
  if (type === parametricStereo) {
    const mono = config.slice()
    mono[0] = (sbr << 3) | (mono[0]! & 7)
    return mono
  }
  // An extension behind its first two bytes (1.6.5.1) says so already; of long rates and layouts of its own none is made.
  const said = config.length >= 4 && ((config[2]! << 8) | config[3]!) >> 5 === syncExtension
  if (said || type > 4 || rate === undefined || channels === 0) return config
  const doubled = rates.indexOf(2 * rate)
  const extension = isReplicated && doubled !== -1 ? 0x80 | (doubled << 3) : 0
  return Uint8Array.of(
    config[0]!,
    config[1]!,
    syncExtension >> 3,
    ((syncExtension & 7) << 5) | sbr,
    extension,
  )
}
const syncExtension = 0x2b7

/** Boxes of MP4 that are read, wherever they lie in a track; a box of several kinds may hold others behind `skip` bytes. */
const within: Readonly<Record<string, number>> = {
  moov: 0,
  trak: 0,
  mdia: 0,
  minf: 0,
  stbl: 0,
  edts: 0,
  udta: 0,
  meta: 4,
  wave: 0,
  stsd: 8,
}

/** Calls `visit` with the name and content of every box. */
function visitBoxes(
  bytes: Buffer,
  from: number,
  to: number,
  visit: (type: string, content: Buffer) => void,
): void {
  for (let at = from; at + 8 <= to; ) {
    let length = bytes.readUInt32BE(at)
    if (length === 0) length = to - at
    if (length < 8 || at + length > to) return
    const type = bytes.toString('latin1', at + 4, at + 8)
    visit(type, bytes.subarray(at + 8, at + length))
    // Descriptions of sound: QuickTime has longer ones.
    const version = type === 'mp4a' || type === 'alac' ? (bytes[at + 17] ?? 0) : 0
    const skip =
      type === 'mp4a' || (type === 'alac' && length > 36) ? 28 + (version === 1 ? 16 : 0) : within[type]
    if (skip !== undefined) visitBoxes(bytes, at + 8 + skip, at + length, visit)
    at += length
  }
}

type Track = { [Name in keyof GaplessBoxes | 'stsz' | 'stco' | 'co64' | 'stsc']?: Buffer } & {
  channels?: number
}

/** The configuration in an `esds` box (14496-1, 7.2.6); undefined if it is no AAC. */
function configOf(esds: Buffer): Buffer | undefined {
  let at = 4
  let length = 0
  /** Enters a descriptor. @returns false if there is another */
  const enter = (tag: number): boolean => {
    if (esds[at] !== tag) return false
    length = 0
    do length = length * 128 + ((esds[++at] ?? 0) & 0x7f)
    while ((esds[at] ?? 0) & 0x80)
    at++
    return true
  }
  if (!enter(3)) return undefined
  const flags = esds[at + 2] ?? 0
  at += 3 + (flags & 0x80 ? 2 : 0) + (flags & 0x40 ? 1 + (esds[at + 3] ?? 0) : 0) + (flags & 0x20 ? 2 : 0)
  if (!enter(4)) return undefined
  at += 13
  if (!enter(5)) return undefined
  const config = esds.subarray(at, at + length)
  return config.length >= 2 ? config : undefined
}

/** The first track of AAC or Apple Lossless. */
function readIndex(index: Buffer): { track: Track; movie: GaplessBoxes } | undefined {
  const tracks: Track[] = []
  const movie: GaplessBoxes = {}
  visitBoxes(index, 0, index.length, (type, content) => {
    const track = tracks.at(-1)
    if (type === 'trak') tracks.push({})
    else if (type === 'mvhd') movie.mvhd = content
    else if (type === 'ilst') movie.ilst = content
    else if (!track) return
    else if (type === 'mp4a') track.channels ??= content.readUInt16BE(16)
    else if (type === 'esds') track.asc ??= configOf(content)!
    // The description and the configuration in it have one name.
    else if (type === 'alac' && content.length <= 28 + 8) track.alac ??= content
    else if (['mdhd', 'elst', 'stts', 'stsz', 'stco', 'co64', 'stsc'].includes(type))
      track[type as 'stts'] ??= content
  })
  // Of a fragmented file the tables are there, and empty.
  const track = tracks.find(
    one => (one.asc ?? one.alac) && (one.stsz?.readUInt32BE(8) ?? 0) > 0 && (one.stco ?? one.co64),
  )
  return track && { track, movie }
}

/** Frames of a track (14496-12, 8.6 and 8.7), as many together as make a chunk. */
async function* framesOfTrack(file: FileHandle, size: number, track: Track): AsyncGenerator<Uint8Array[]> {
  const sizes = track.stsz!
  const offsets = track.stco ?? track.co64!
  const wide = track.stco === undefined
  const runs = track.stsc ?? Buffer.alloc(8)
  const each = sizes.readUInt32BE(4)
  const count = each > 0 ? sizes.readUInt32BE(8) : Math.min(sizes.readUInt32BE(8), (sizes.length - 12) >> 2)
  const chunks = Math.min(offsets.readUInt32BE(4), Math.floor((offsets.length - 8) / (wide ? 8 : 4)))
  const runCount = Math.min(runs.readUInt32BE(4), Math.floor((runs.length - 8) / 12))
  let run = 0
  for (let chunk = 0, frame = 0; chunk < chunks && frame < count; chunk++) {
    while (run + 1 < runCount && runs.readUInt32BE(8 + 12 * (run + 1)) <= chunk + 1) run++
    const end = Math.min(count, frame + (runCount > 0 ? runs.readUInt32BE(12 + 12 * run) : 1))
    let at = wide ? Number(offsets.readBigUInt64BE(8 + 8 * chunk)) : offsets.readUInt32BE(8 + 4 * chunk)
    while (frame < end) {
      const lengths: number[] = []
      let total = 0
      while (frame < end && total < chunkBytes) {
        const length = each > 0 ? each : sizes.readUInt32BE(12 + 4 * frame)
        if (at + total + length > size) break
        lengths.push(length)
        total += length
        frame++
      }
      if (lengths.length === 0) return
      const bytes = await read(file, at, total)
      at += total
      let place = 0
      yield lengths.map(length => {
        place += length
        return bytes.subarray(place - length, place)
      })
    }
  }
}

/** Bytes of the frame whose ADTS header (14496-3, 1.A.2.2) is here; 0 if there is none. */
function adtsLength(bytes: Buffer, at: number): number {
  if (bytes[at] !== 0xff || (bytes[at + 1]! & 0xf6) !== 0xf0) return 0
  const length = ((bytes[at + 3]! & 3) << 11) | (bytes[at + 4]! << 3) | (bytes[at + 5]! >> 5)
  if (length < 9) return 0
  // Where the next one should be.
  const next = at + length
  return next + 2 > bytes.length || (bytes[next] === 0xff && (bytes[next + 1]! & 0xf6) === 0xf0) ? length : 0
}

/** What all headers of a bare stream have in common: object type, rate, channels. */
const fixedPart = (bytes: Buffer, at: number): number =>
  ((bytes[at + 2]! & 0xfd) << 8) | (bytes[at + 3]! & 0xc0)

async function* framesOfStream(file: FileHandle, start: number, end: number): AsyncGenerator<Uint8Array[]> {
  let left = Buffer.alloc(0)
  let fixed: number | undefined
  for (let from = start; from < end; from += chunkBytes) {
    const bytes = Buffer.concat([left, await read(file, from, Math.min(chunkBytes, end - from))])
    const frames: Uint8Array[] = []
    let at = 0
    while (at + 7 <= bytes.length) {
      const length = adtsLength(bytes, at)
      if (length === 0) {
        at++
        continue
      }
      if (at + length > bytes.length) break
      fixed ??= fixedPart(bytes, at)
      if (fixedPart(bytes, at) !== fixed) {
        if (frames.length > 0) yield frames
        process.stderr.write(formatChanges)
        return
      }
      frames.push(bytes.subarray(at + (bytes[at + 1]! & 1 ? 7 : 9), at + length))
      at += length
    }
    left = bytes.subarray(at)
    if (frames.length > 0) yield frames
  }
}
const formatChanges = 'the format changes in mid-stream; the rest was skipped\n'

/** The configuration of a bare stream, by its first header. */
async function configOfStream(file: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const bytes = await read(file, start, Math.min(16 * chunkBytes, end - start))
  for (let at = 0; at + 7 <= bytes.length; at++) {
    if (adtsLength(bytes, at) === 0) continue
    const word = bytes.readUInt16BE(at + 2)
    return Uint8Array.of(
      (((word >> 14) + 1) << 3) | ((word >> 11) & 7),
      ((word >> 3) & 0x80) | ((word >> 3) & 0x38),
    )
  }
  throw new Error('it holds no frame of AAC')
}

/** Where a top-level box is, bytes; undefined if there is none. */
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

async function openStream(file: FileHandle, start: number, end: number): Promise<Stream> {
  const moov = await findBox(file, end, 'moov')
  if (!moov) {
    const asc = await configOfStream(file, start, end)
    return { options: { asc }, channels: undefined, frames: () => framesOfStream(file, start, end) }
  }
  if (moov.length > largestIndex) throw new Error(`the index has ${moov.length} bytes`)
  const found = readIndex(await read(file, moov.start, moov.length))
  if (!found) throw new Error('No AAC or Apple Lossless in it')
  const { track, movie } = found
  const { asc, alac, channels } = track
  const window = gapless({ ...track, ...movie })
  return {
    options: { ...(asc ? { asc } : { alac: alac! }), ...(window ? { gapless: window } : {}) },
    channels: asc && readConfig(asc).type === parametricStereo ? 2 : channels,
    frames: () => framesOfTrack(file, end, track),
  }
}

/** Whether AAC replicates its spectrum: that makes its rate twice that of its configuration, said or not. */
async function isReplicated({ options: { asc }, frames }: Stream): Promise<boolean> {
  const { rate } = readConfig(asc!)
  const probing = await decoder({ asc: explicitConfig(asc!, false) })
  let left = framesToTell
  for await (const batch of frames()) {
    const some = batch.slice(0, left)
    left -= some.length
    const { sampleRate } = probing.decode(some)
    if (sampleRate === 2 * rate!) return true
    if (left === 0) break
  }
  return false
}

/** Channels of WAVE, by their place in AAC and Apple Lossless, of layouts that the package leaves as they are. */
const alacToWave: Readonly<Record<number, readonly number[]>> = {
  3: [1, 2, 0],
  4: [1, 2, 0, 3],
  5: [1, 2, 0, 3, 4],
  6: [1, 2, 0, 5, 3, 4],
  7: [1, 2, 0, 6, 3, 4, 5],
  8: [3, 4, 0, 7, 5, 6, 1, 2],
}
/** Configuration 7 has a second pair in front, by the standard; encoders mean sides by it, and FFmpeg takes it so. */
const aac71 = [1, 2, 0, 7, 5, 6, 3, 4]

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
  const stream = await openStream(file, start, end ?? (await file.stat()).size)
  const { asc } = stream.options
  const replicated = asc !== undefined && (await isReplicated(stream))
  const decoding = await decoder({
    ...stream.options,
    ...(asc ? { asc: explicitConfig(asc, replicated) } : {}),
  })
  let format: { channels: number; sampleRate: number } | undefined
  for await (const frames of stream.frames()) {
    const { channelData, sampleRate, errors } = decoding.decode(frames) as ReturnType<
      typeof decoding.decode
    > & {
      errors?: number
    }
    // FAAD2 always withholds the first frame, which counts as one.
    for (let i = format ? 0 : 1; i < (errors ?? 0); i++)
      process.stderr.write('a frame could not be decoded\n')
    const length = channelData[0]?.length ?? 0
    if (length === 0) continue
    const count = channelData.length
    const layout = asc ? readConfig(asc).channels : 0
    // Where the file itself says which channel is which, nobody here can tell.
    if (asc && count > 2 && layout === 0) throw new Error('AAC init failed (a layout of its own)')
    const order = !asc ? alacToWave[count] : layout === 7 && count === 8 ? aac71 : undefined
    const channels = order ? order.map(place => channelData[place]!) : channelData
    // The decoder leaves parametric stereo mono. It is as loud as two channels, and so FFmpeg takes any HE-AAC of one.
    if (replicated && count === 1 && stream.channels !== 1) channels.push(channels[0]!)
    if (!format) {
      format = { channels: channels.length, sampleRate }
      process.stdout.write(waveHeader(format.channels, sampleRate))
      // What it withholds of AAC is a player's first frame, unless the container says how much to leave out.
      if (asc && !((stream.options.gapless?.start ?? 0) > 0))
        process.stdout.write(new Uint8Array(4 * format.channels * frameSamples * (replicated ? 2 : 1)))
    }
    if (channels.length < format.channels || sampleRate !== format.sampleRate) {
      process.stderr.write(formatChanges)
      break
    }
    const samples = new Float32Array(length * format.channels)
    for (let c = 0; c < format.channels; c++) {
      const channel = channels[c]!
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
