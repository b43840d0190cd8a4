/** One reader for all containers: where the sound lies in a file, how long it is, what is missing. */
import type { AudioLocation } from '../content-type.ts'
import { surroundings } from './around.ts'
import { ascii, type ByteSource, inWindows, uint } from './bytes.ts'
import { readAiff, readAu, readCaf, readDsdiff, readDsf, readWave, readWave64 } from './chunks.ts'
import { readFlac } from './flac.ts'
import { countFrames, frameAt, frameTotals } from './frames.ts'
import { readMp4 } from './mp4.ts'
import { readOgg } from './ogg.ts'
import type { Sound } from './sound.ts'

/**
 * Reads headers; streams of frames that do not say how many there are, chained Ogg and WavPack of unknown length are
 * gone through. Of ASF and Matroska it finds the bounds only.
 *
 * @param location what `locateAudio` found
 * @throws only what `file.read` throws
 */
export async function readSound(file: ByteSource, location: AudioLocation): Promise<Sound> {
  const sound = await readContainer(file, location)
  return {
    ...sound,
    sampleRate: known(sound.sampleRate),
    channels: known(sound.channels),
    duration: known(sound.duration),
  }
}

/** What is not said is zero in a header, and no number at all once it has been divided by. */
const known = (value = 0): number | undefined =>
  value > 0 && value < Number.POSITIVE_INFINITY ? value : undefined

async function readContainer(file: ByteSource, { container, start }: AudioLocation): Promise<Sound> {
  const windowed = inWindows(file)
  const { end: tail, start: behindTags } = await surroundings(file)
  const end = Math.max(start, tail < start ? file.size : tail)
  if (start >= file.size || behindTags >= file.size)
    return { start: file.size, end: file.size, unusable: 'the file ends within its tag, before any sound' }
  switch (container) {
    case 'mpeg':
    case 'adts':
    case 'ac3':
    case 'eac3':
    case 'dts':
      return readFrames(file, start, end, container)
    case 'flac':
      return readFlac(windowed, start, end)
    case 'ogg':
      return readOgg(windowed, start, end)
    case 'mp4':
      return readMp4(windowed, start, end)
    case 'wav':
      return readWave(windowed, start, end)
    case 'w64':
      return readWave64(windowed, start, end)
    case 'aiff':
      return readAiff(windowed, start, end)
    case 'au':
      return readAu(windowed, start, end)
    case 'caf':
      return readCaf(windowed, start, end)
    case 'dsf':
      return readDsf(windowed, start, file.size)
    case 'dff':
      return readDsdiff(windowed, start, end)
    case 'wavpack':
      return readWavPack(windowed, start, end)
    case 'tta':
      return readTta(windowed, start, end)
    case 'tak':
      return readTak(windowed, start, end)
    case 'amr':
      return readAmr(windowed, start, end)
    case 'ape':
      return readMonkeys(windowed, start, end)
    case 'musepack':
      return readMusepack(windowed, start, end)
    default:
      return { start, end }
  }
}

/** Bytes by which a stream may exceed what its first frame says before it counts as several, one behind another. */
const margin = 65_536
/** Bytes by which what a first frame says may be wrong: some writers count a tag behind the stream. */
const totalSlack = 4096
/** Bytes a second below which what a first frame says is chance, or of a file of which little is left: 4 kbit/s. */
const lowestRate = 500

async function readFrames(file: ByteSource, start: number, end: number, container: string): Promise<Sound> {
  const head = (await file.read(start, 256)).slice()
  const frame = frameAt(head, 0)
  if (!frame) return { start, end }
  const { sampleRate, channels, coding } = frame
  const about = { start, sampleRate, channels, coding }
  const totals = container === 'mpeg' ? frameTotals(head) : undefined
  const plausible = totals !== undefined && (end - start) / (totals.samples / sampleRate) >= lowestRate
  if (plausible && (totals.bytes === undefined || start + totals.bytes + margin > end))
    return {
      ...about,
      end,
      duration: totals.samples / sampleRate,
      cut:
        start + (totals.bytes ?? 0) > end + totalSlack
          ? `the file ends ${start + (totals.bytes ?? 0) - end} bytes before its frames do`
          : undefined,
    }
  const counted = await countFrames(file, start, end)
  const { duration, missing } = counted
  return {
    ...about,
    end: missing > 0 ? end : counted.end,
    duration,
    cut: missing > 0 ? `the file ends ${missing} bytes before its last frame does` : undefined,
  }
}

const wavpackRates = [
  6000, 8000, 9600, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000,
  192_000,
]

/** WavPack 4 and 5 ("WavPack Binary File / Block Format", 2020). */
async function readWavPack(file: ByteSource, start: number, end: number): Promise<Sound> {
  const head = (await file.read(start, 32)).slice()
  const flags = uint(head, 24, 4, true)
  const usual = wavpackRates[(flags >>> 23) & 15]
  const isDsd = flags >>> 31 === 1
  const own = usual === undefined || isDsd ? await wavPackRate(file, start, end) : { shift: 0 }
  const sampleRate = (usual ?? own.rate ?? 0) * 2 ** (own.shift & 15)
  let samples =
    uint(head, 12, 4, true) === 0xffff_ffff ? 0 : uint(head, 12, 4, true) + head[11]! * (2 ** 32 - 1)
  let cut: string | undefined
  if (samples === 0) {
    for (let at = start; at < end; ) {
      const block = (await file.read(at, 32)).slice()
      if (ascii(block, 0, 4) !== 'wvpk') break
      // Of a block for each pair of channels, the first is marked.
      if (uint(block, 24, 4, true) & 0x800) samples += uint(block, 20, 4, true)
      const next = at + 8 + uint(block, 4, 4, true)
      if (next > end) cut = `the file ends ${next - end} bytes before its last block does`
      at = next
    }
  }
  return {
    start,
    end,
    coding: 'wavpack',
    sampleRate,
    channels: flags & 4 ? 1 : undefined,
    duration: samples / sampleRate,
    cut,
  }
}

/** What a block's own entries say: the rate, if it is none of the usual, and by how much it is shifted for DSD. */
async function wavPackRate(
  file: ByteSource,
  start: number,
  end: number,
): Promise<{ rate?: number; shift: number }> {
  const found: { rate?: number; shift: number } = { shift: 0 }
  const length = Math.min(8 + uint(await file.read(start + 4, 4), 0, 4, true), end - start, 65_536)
  const block = await file.read(start, length)
  for (let at = 32; at + 2 <= block.length; ) {
    const id = block[at]!
    const wide = (id & 0x80) !== 0
    const size = 2 * (wide ? uint(block, at + 1, 3, true) : block[at + 1]!)
    at += wide ? 4 : 2
    if ((id & 0x3f) === 0x27) found.rate = uint(block, at, 3, true)
    if ((id & 0x3f) === 0x0e) found.shift = block[at] ?? 0
    at += size
  }
  return found
}

async function readTta(file: ByteSource, start: number, end: number): Promise<Sound> {
  const bytes = (await file.read(start, 22)).slice()
  const sampleRate = uint(bytes, 10, 4, true)
  const samples = uint(bytes, 14, 4, true)
  return {
    start,
    end,
    coding: 'tta',
    sampleRate,
    channels: uint(bytes, 6, 2, true),
    duration: samples / sampleRate,
  }
}

/** The stream's description in TAK's first block: fields of bits, lowest first. */
async function readTak(file: ByteSource, start: number, end: number): Promise<Sound> {
  const bytes = (await file.read(start, 32)).slice()
  if (((bytes[4] ?? 0) & 0x7f) !== 1) return { start, end, coding: 'tak' }
  const bits = (from: number, length: number): number => {
    let value = 0
    for (let i = length - 1; i >= 0; i--)
      value = value * 2 + (((bytes[8 + ((from + i) >> 3)] ?? 0) >> ((from + i) & 7)) & 1)
    return value
  }
  // codec 6, profile 4, frame size 4, samples 35, data type 3, rate 18, bits 5, channels 4
  const samples = bits(14, 35)
  const sampleRate = bits(52, 18) + 6000
  return {
    start,
    end,
    coding: 'tak',
    sampleRate,
    channels: bits(75, 4) + 1,
    duration: samples / sampleRate,
  }
}

/** Bytes of a frame of 20 ms, its head included, by mode (RFC 4867, 5.3). */
const amr = [13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1]
const amrWide = [18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1]

async function readAmr(file: ByteSource, start: number, end: number): Promise<Sound> {
  const isWide = ascii(await file.read(start, 9), 0, 9) === '#!AMR-WB\n'
  const sizes = isWide ? amrWide : amr
  let at = start + (isWide ? 9 : 6)
  let frames = 0
  let cut: string | undefined
  while (at < end) {
    const head = (await file.read(at, 1))[0]
    if (head === undefined) break
    const next = at + sizes[(head >> 3) & 15]!
    if (next > end) {
      cut = `the file ends ${next - end} bytes before its last frame does`
      break
    }
    frames++
    at = next
  }
  return {
    start,
    end,
    coding: isWide ? 'amr_wb' : 'amr_nb',
    sampleRate: isWide ? 16_000 : 8000,
    channels: 1,
    duration: frames / 50,
    cut,
  }
}

/** Monkey's Audio: the descriptor and header of 3.98, or the header before that. */
async function readMonkeys(file: ByteSource, start: number, end: number): Promise<Sound> {
  const bytes = (await file.read(start, 128)).slice()
  const number = (at: number, length: number): number => uint(bytes, at, length, true)
  const version = number(4, 2)
  let blocks: number
  let frames: number
  let last: number
  let sampleRate: number
  let channels: number
  if (version >= 3980) {
    const at = number(8, 4)
    blocks = number(at + 4, 4)
    last = number(at + 8, 4)
    frames = number(at + 12, 4)
    channels = number(at + 18, 2)
    sampleRate = number(at + 20, 4)
  } else {
    channels = number(10, 2)
    sampleRate = number(12, 4)
    frames = number(24, 4)
    last = number(28, 4)
    const isLong = version >= 3900 || (version >= 3800 && number(6, 2) === 4000)
    blocks = version >= 3950 ? 73_728 * 4 : isLong ? 73_728 : 9216
  }
  const samples = (frames - 1) * blocks + last
  return {
    start,
    end,
    coding: 'ape',
    sampleRate,
    channels,
    duration: samples / sampleRate,
  }
}

const musepackRates = [44_100, 48_000, 37_800, 32_000]

/** Musepack: stream version 7 (frames of 1,152 samples) and 8 (packets; `SH` is the stream's header). */
async function readMusepack(file: ByteSource, start: number, end: number): Promise<Sound> {
  const bytes = (await file.read(start, 64)).slice()
  const about = { start, end, coding: 'musepack', channels: 2 }
  if (ascii(bytes, 0, 3) === 'MP+') {
    const sampleRate = musepackRates[(uint(bytes, 8, 4, true) >>> 16) & 3]!
    const last = (uint(bytes, 20, 4, true) >>> 20) & 0x7ff
    const samples = uint(bytes, 4, 4, true) * 1152 - (last > 0 ? 1152 - Math.min(last, 1152) : 576)
    return { ...about, sampleRate, duration: samples / sampleRate }
  }
  let at = 4
  const varying = (): number => {
    let value = 0
    for (let more = true; more && at < bytes.length; at++) {
      value = value * 128 + (bytes[at]! & 0x7f)
      more = (bytes[at]! & 0x80) !== 0
    }
    return value
  }
  if (ascii(bytes, at, 2) !== 'SH') return { ...about, coding: 'musepack8' }
  at += 2
  varying()
  at += 5
  const samples = varying() - varying()
  const sampleRate = musepackRates[(bytes[at] ?? 0) >> 5] ?? 44_100
  const channels = ((bytes[at + 1] ?? 0) >> 4) + 1
  return {
    ...about,
    coding: 'musepack8',
    channels,
    sampleRate,
    duration: samples / sampleRate,
  }
}
