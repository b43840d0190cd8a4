/** MP4 and its kin (ISO/IEC 14496-12; QuickTime File Format). */
import { ascii, type ByteSource, uint } from './bytes.ts'
import { mostParts, type Sound } from './sound.ts'

export interface Box {
  readonly type: string
  /** where it begins */
  readonly head: number
  /** of the content */
  readonly start: number
  /** exclusive; never beyond the box around it */
  readonly end: number
  /** where it says that it ends */
  readonly claimedEnd: number
}

export async function* boxes(file: ByteSource, start: number, end: number): AsyncGenerator<Box> {
  for (let at = start, part = 0; at + 8 <= end && part < 16 * mostParts; part++) {
    const header = (await file.read(at, 16)).slice()
    if (header.length < 8) return
    let size = uint(header, 0, 4)
    let headerSize = 8
    if (size === 1) {
      if (header.length < 16) return
      size = uint(header, 8, 8)
      headerSize = 16
    } else if (size === 0) {
      size = end - at
    }
    if (size < headerSize) return
    yield {
      type: ascii(header, 4, 4),
      head: at,
      start: at + headerSize,
      end: Math.min(at + size, end),
      claimedEnd: at + size,
    }
    at += size
  }
}

interface Mp4Track {
  handler: string
  codec: string
  id: number
  /** ticks a second of the media */
  timescale: number
  /** ticks */
  duration: number
  /** ticks of the movie that the edit list plays; 0 without one */
  edited: number
  channels: number
  sampleRate: number
}

const inside = new Set(['mdia', 'minf', 'stbl', 'edts'])

export async function mp4Track(file: ByteSource, track: Box): Promise<Mp4Track> {
  const found: Mp4Track = {
    handler: '',
    codec: '',
    id: 0,
    timescale: 0,
    duration: 0,
    edited: 0,
    channels: 0,
    sampleRate: 0,
  }
  const pending = [track]
  for (let box = pending.pop(); box; box = pending.pop()) {
    for await (const inner of boxes(file, box.start, box.end)) {
      if (inside.has(inner.type)) pending.push(inner)
      // QuickTime has a second hdlr in minf, of the data handler
      else if (inner.type === 'hdlr' && box.type === 'mdia') {
        found.handler = ascii(await file.read(inner.start + 8, 4), 0, 4)
      } else if (inner.type === 'tkhd') {
        const bytes = await file.read(inner.start, 24)
        found.id = uint(bytes, bytes[0] === 1 ? 20 : 12, 4)
      } else if (inner.type === 'mdhd') {
        const bytes = await file.read(inner.start, 32)
        const wide = bytes[0] === 1
        found.timescale = uint(bytes, wide ? 20 : 12, 4)
        const ticks = uint(bytes, wide ? 24 : 16, wide ? 8 : 4)
        found.duration = ticks >= (wide ? 2 ** 63 : 0xffff_ffff) ? 0 : ticks
      } else if (inner.type === 'elst') {
        found.edited = await editedTicks(file, inner)
      } else if (inner.type === 'stsd') {
        const bytes = await file.read(inner.start, 44)
        found.codec = ascii(bytes, 12, 4)
        found.channels = uint(bytes, 32, 2)
        found.sampleRate = uint(bytes, 40, 2)
      }
    }
  }
  return found
}

/** What an edit list plays of its media; empty edits are pauses before it. */
async function editedTicks(file: ByteSource, box: Box): Promise<number> {
  const bytes = await file.read(box.start, Math.min(box.end - box.start, 8 + 20 * 64))
  const wide = bytes[0] === 1
  const count = Math.min(uint(bytes, 4, 4), 64)
  let ticks = 0
  for (let i = 0, at = 8; i < count && at + 12 <= bytes.length; i++, at += wide ? 20 : 12) {
    const start = wide ? uint(bytes, at + 8, 8) : uint(bytes, at + 4, 4)
    const isEmpty = start === (wide ? 2 ** 64 : 0xffff_ffff)
    if (!isEmpty) ticks += uint(bytes, at, wide ? 8 : 4)
  }
  return ticks
}

interface Movie {
  timescale: number
  fragmented: boolean
  /** ticks, of a fragmented movie, if it says so */
  fragments: number
  /** of a sample in fragments that do not say, by track */
  defaults: Map<number, number>
  sound: Mp4Track | undefined
}

async function readMovie(file: ByteSource, moov: Box): Promise<Movie> {
  const movie: Movie = {
    timescale: 0,
    fragmented: false,
    fragments: 0,
    defaults: new Map(),
    sound: undefined,
  }
  for await (const box of boxes(file, moov.start, moov.end)) {
    if (box.type === 'mvhd') {
      const bytes = await file.read(box.start, 24)
      movie.timescale = uint(bytes, bytes[0] === 1 ? 20 : 12, 4)
    } else if (box.type === 'mvex') {
      movie.fragmented = true
      for await (const inner of boxes(file, box.start, box.end)) {
        const bytes = await file.read(inner.start, 24)
        if (inner.type === 'mehd') movie.fragments = uint(bytes, 4, bytes[0] === 1 ? 8 : 4)
        if (inner.type === 'trex') movie.defaults.set(uint(bytes, 4, 4), uint(bytes, 12, 4))
      }
    } else if (box.type === 'trak' && !movie.sound) {
      const track = await mp4Track(file, box)
      if (track.handler === 'soun') movie.sound = track
    }
  }
  return movie
}

/** Ticks of one track in a fragment (8.8.4 to 8.8.8). */
async function fragmentTicks(file: ByteSource, moof: Box, track: number, otherwise: number): Promise<number> {
  let ticks = 0
  for await (const traf of boxes(file, moof.start, moof.end)) {
    if (traf.type !== 'traf') continue
    let isOurs = false
    let each = otherwise
    for await (const box of boxes(file, traf.start, traf.end)) {
      if (box.type === 'tfhd') {
        const bytes = await file.read(box.start, 24)
        const flags = uint(bytes, 1, 3)
        isOurs = uint(bytes, 4, 4) === track
        if (flags & 8) each = uint(bytes, 8 + (flags & 1 ? 8 : 0) + (flags & 2 ? 4 : 0), 4)
      } else if (box.type === 'trun' && isOurs) {
        const bytes = await file.read(box.start, Math.min(box.end - box.start, 2 ** 20))
        const flags = uint(bytes, 1, 3)
        const count = uint(bytes, 4, 4)
        const width = 4 * [0x100, 0x200, 0x400, 0x800].filter(flag => flags & flag).length
        let at = 8 + (flags & 1 ? 4 : 0) + (flags & 4 ? 4 : 0)
        if (!(flags & 0x100)) ticks += count * each
        else
          for (let i = 0; i < count && at + 4 <= bytes.length; i++, at += width) ticks += uint(bytes, at, 4)
      }
    }
  }
  return ticks
}

/** Names of sample descriptions (mp4ra.org) that differ from those of codings. */
const codings: Readonly<Record<string, string>> = {
  mp4a: 'aac',
  '.mp3': 'mp3',
  'ac-3': 'ac3',
  'ec-3': 'eac3',
  Opus: 'opus',
  fLaC: 'flac',
}

export async function readMp4(file: ByteSource, start: number, end: number): Promise<Sound> {
  const whole = { start, end }
  let movie: Movie | undefined
  let ticks = 0
  let cut: string | undefined
  for await (const box of boxes(file, start, end)) {
    const missing = box.claimedEnd - end
    // Other boxes hold no sound, and what is no box at all claims any length.
    if (missing > 0 && (box.type === 'mdat' || box.type === 'moof'))
      cut = `the file ends ${missing} bytes before its last part does`
    if (box.type === 'moov') movie ??= await readMovie(file, box)
    else if (box.type === 'moof' && movie?.sound && movie.fragments === 0)
      ticks += await fragmentTicks(file, box, movie.sound.id, movie.defaults.get(movie.sound.id) ?? 0)
  }
  if (!movie)
    return {
      ...whole,
      unusable: cut
        ? 'the file is truncated before its index (moov), which comes last'
        : 'its index (moov) is missing',
    }
  const { sound, timescale, fragmented, fragments } = movie
  if (!sound) return { ...whole, cut, unusable: 'its index (moov) is cut short, or has no audio track' }
  const media = (sound.duration + ticks) / sound.timescale
  /** seconds of the movie's own ticks, 0 if it does not say what they are */
  const seconds = (of: number): number => (timescale > 0 ? of / timescale : 0)
  return {
    ...whole,
    coding: codings[sound.codec] ?? sound.codec.trim().toLowerCase(),
    channels: sound.channels,
    sampleRate: sound.sampleRate,
    duration: fragmented
      ? seconds(fragments) || media
      : Math.min(seconds(sound.edited) || media, media || Number.POSITIVE_INFINITY),
    cut,
  }
}
