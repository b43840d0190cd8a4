/** Ogg (RFC 3533) with Vorbis, Opus (RFC 7845), FLAC (RFC 9639, 10.1) or Speex; chains of such streams, too. */
import { ascii, type ByteSource, uint } from './bytes.ts'
import type { Sound } from './sound.ts'

/** The longest page: 27 bytes, 255 segments of 255 bytes. */
const longestPage = 27 + 255 + 255 * 255

interface Page {
  readonly at: number
  /** exclusive */
  readonly end: number
  readonly serial: number
  readonly isFirst: boolean
  readonly continued: boolean
  /** samples since the stream's beginning; undefined if no packet ends */
  readonly granule: number | undefined
  /** bytes of each segment */
  readonly segments: Uint8Array
  readonly body: number
}

/** The page that begins here; undefined if none does. */
async function pageAt(file: ByteSource, at: number): Promise<Page | undefined> {
  const head = (await file.read(at, 27 + 255)).slice()
  if (ascii(head, 0, 4) !== 'OggS' || head[4] !== 0) return undefined
  const segments = head.subarray(27, 27 + head[26]!)
  if (segments.length < head[26]!) return undefined
  const body = at + 27 + segments.length
  const granule = uint(head, 6, 8, true)
  return {
    at,
    end: segments.reduce((sum, length) => sum + length, body),
    serial: uint(head, 14, 4, true),
    isFirst: (head[5]! & 2) !== 0,
    continued: (head[5]! & 1) !== 0,
    granule: granule >= 2 ** 63 ? undefined : granule,
    segments,
    body,
  }
}

/** Pages one behind another; rubble between them is stepped over. */
export async function* oggPages(file: ByteSource, start: number, end: number): AsyncGenerator<Page> {
  for (let at = start; at + 27 <= end; ) {
    const page = await pageAt(file, at)
    if (page) {
      yield page
      at = page.end
      continue
    }
    const bytes = await file.read(at + 1, Math.min(65_536, end - at - 1))
    let next = -1
    for (let i = bytes.indexOf(0x4f); i !== -1; i = bytes.indexOf(0x4f, i + 1))
      if (ascii(bytes, i, 4) === 'OggS') {
        next = i
        break
      }
    at += next === -1 ? Math.max(1, bytes.length - 3) : 1 + next
  }
}

interface Stream {
  readonly serial: number
  readonly coding: 'vorbis' | 'opus' | 'flac' | 'speex'
  /** of the granules, Hz */
  readonly clock: number
  readonly sampleRate: number
  readonly channels: number
  /** samples that a player leaves out at the beginning */
  readonly skip: number
  /** more samples than any packet holds */
  readonly longest: number
}

function identify(packet: Uint8Array, serial: number): Stream | undefined {
  if (ascii(packet, 0, 7) === '\x01vorbis') {
    const sampleRate = uint(packet, 12, 4, true)
    const longest = 2 ** ((packet[28] ?? 0xd0) >> 4)
    return {
      serial,
      coding: 'vorbis',
      clock: sampleRate,
      sampleRate,
      channels: packet[11] ?? 0,
      skip: 0,
      longest,
    }
  }
  if (ascii(packet, 0, 8) === 'OpusHead') {
    const skip = uint(packet, 10, 2, true)
    return {
      serial,
      coding: 'opus',
      clock: 48_000,
      sampleRate: 48_000,
      channels: packet[9] ?? 0,
      skip,
      longest: 5760,
    }
  }
  if (ascii(packet, 0, 5) === '\x7fFLAC') {
    // STREAMINFO behind the mapping's 13 bytes and the block's head
    const sampleRate = uint(packet, 27, 3) >> 4
    const channels = 1 + (((packet[29] ?? 0) >> 1) & 7)
    const longest = uint(packet, 19, 2)
    return { serial, coding: 'flac', clock: sampleRate, sampleRate, channels, skip: 0, longest }
  }
  if (ascii(packet, 0, 8) === 'Speex   ') {
    const sampleRate = uint(packet, 36, 4, true)
    const longest = uint(packet, 56, 4, true) * Math.max(1, uint(packet, 64, 4, true))
    return {
      serial,
      coding: 'speex',
      clock: sampleRate,
      sampleRate,
      channels: uint(packet, 48, 4, true),
      skip: 0,
      longest,
    }
  }
  return undefined
}

/** The streams that begin at a place: each has a page of its own there, before any other page (RFC 3533, 4). */
async function beginnings(
  file: ByteSource,
  start: number,
  end: number,
): Promise<{ streams: Stream[]; serials: Set<number>; body: number }> {
  const streams: Stream[] = []
  const serials = new Set<number>()
  let body = start
  for await (const page of oggPages(file, start, end)) {
    if (!page.isFirst) break
    serials.add(page.serial)
    const packet = await file.read(page.body, Math.min(page.end - page.body, 128))
    const stream = identify(packet, page.serial)
    if (stream) streams.push(stream)
    body = page.end
  }
  return { streams, serials, body }
}

/** Where the granules of a stream begin: 0, but for what was cut out of a longer one or taken from a broadcast. */
async function origin(file: ByteSource, stream: Stream, body: number, end: number): Promise<number> {
  let packets = 0
  for await (const page of oggPages(file, body, Math.min(end, body + 16 * 2 ** 20))) {
    if (page.serial !== stream.serial) continue
    packets += page.segments.reduce((count, length) => count + (length < 255 ? 1 : 0), 0)
    if (!page.granule) continue
    // So many packets hold no more than this; what the first granule is beyond that was before.
    const most = Math.max(1, packets) * Math.max(1, stream.longest)
    return page.granule > most + stream.clock ? page.granule - most : 0
  }
  return 0
}

/** The last granule of a stream whose last page ends at `end`, or of any of `serials`. */
async function lastGranule(
  file: ByteSource,
  start: number,
  end: number,
  serial: number,
): Promise<{ granule: number | undefined; page: Page | undefined }> {
  for (let window = 2 * longestPage; ; window *= 8) {
    const from = Math.max(start, end - window)
    let granule: number | undefined
    let last: Page | undefined
    for await (const page of oggPages(file, from, end)) {
      last = page
      if (page.serial === serial && page.granule !== undefined && page.end <= end) granule = page.granule
    }
    if (granule !== undefined || from === start) return { granule, page: last }
  }
}

export async function readOgg(file: ByteSource, start: number, end: number): Promise<Sound> {
  const whole = { start, end }
  const first = await beginnings(file, start, end)
  const stream = first.streams[0]
  if (!stream) return { ...whole, unusable: 'it has no audio stream' }
  const tail = await lastGranule(file, start, end, stream.serial)
  const about = {
    ...whole,
    coding: stream.coding,
    channels: stream.channels,
    sampleRate: stream.sampleRate,
    // What is left of a page that is cut may well be no page at all.
    cut: tail.page && tail.page.end > end ? 'the file ends within its last page' : undefined,
  }
  // The last page belongs to none of the streams at the beginning: others follow them.
  const chained = tail.page !== undefined && !first.serials.has(tail.page.serial)
  if (!chained) {
    return {
      ...about,
      duration: secondsOf(stream, tail.granule, await origin(file, stream, first.body, end)),
    }
  }
  let duration = 0
  let current: Stream | undefined
  let granule: number | undefined
  let from = 0
  /** Other streams of the same link begin before any has gone on. */
  let beginning = false
  for await (const page of oggPages(file, start, end)) {
    if (page.isFirst && !beginning) {
      const packet = await file.read(page.body, Math.min(page.end - page.body, 128))
      const next = identify(packet, page.serial)
      if (!next) continue
      if (current) duration += secondsOf(current, granule, from)
      current = next
      granule = undefined
      beginning = true
    } else if (!page.isFirst) {
      beginning = false
      if (page.serial !== current?.serial || !page.granule || page.end > end) continue
      if (granule === undefined) from = await origin(file, current, page.at, page.end)
      granule = page.granule
    }
  }
  if (current) duration += secondsOf(current, granule, from)
  return { ...about, duration }
}

function secondsOf(stream: Stream, granule: number | undefined, from: number): number {
  if (granule === undefined || stream.clock <= 0) return 0
  return Math.max(0, granule - from - (from > 0 ? 0 : stream.skip)) / stream.clock
}

/**
 * The second packet of the first stream of sound: its comments.
 *
 * @param most bytes of it that are read, or a page more
 * @returns undefined if it cannot be had
 */
export async function oggComments(
  file: ByteSource,
  start: number,
  end: number,
  most: number,
): Promise<{ coding: Stream['coding']; packet: Uint8Array; isWhole: boolean } | undefined> {
  const { streams, body } = await beginnings(file, start, end)
  const stream = streams[0]
  if (!stream) return undefined
  const parts: Uint8Array[] = []
  let length = 0
  let isWhole = false
  for await (const page of oggPages(file, body, end)) {
    if (page.serial !== stream.serial) continue
    let size = 0
    for (const segment of page.segments) {
      size += segment
      if (segment < 255) {
        isWhole = true
        break
      }
    }
    parts.push((await file.read(page.body, size)).slice())
    length += size
    if (isWhole || length > most) break
  }
  const packet = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    packet.set(part, at)
    at += part.length
  }
  return { coding: stream.coding, packet: packet.subarray(0, at), isWhole }
}

/** Packets of comments that say nothing, by the beginning of such a packet. */
const noComments: Readonly<Record<string, readonly number[]>> = {
  OpusTags: [...Buffer.from('OpusTags'), 0, 0, 0, 0, 0, 0, 0, 0],
  '\x03vorbis': [...Buffer.from('\x03vorbis'), 0, 0, 0, 0, 0, 0, 0, 0, 1],
}

/**
 * The pages as they lie in the file, but for comments, which are left empty: covers of any size lie in them, and decoders
 * gather whole packets before they look at one. Checksums of the pages that are made anew are zero.
 */
export async function* oggWithoutComments(
  file: ByteSource,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  /** Streams whose second packet has not ended; what stands for it. */
  const pending = new Map<number, readonly number[] | undefined>()
  for await (const page of oggPages(file, start, end)) {
    if (page.isFirst) pending.set(page.serial, undefined)
    else if (pending.has(page.serial)) {
      const opening = ascii(await file.read(page.body, 8), 0, 8)
      const known = Object.entries(noComments).find(([name]) => opening.startsWith(name))?.[1]
      const empty = pending.get(page.serial) ?? known
      pending.set(page.serial, empty)
      const last = page.segments.findIndex(length => length < 255)
      if (last !== -1) pending.delete(page.serial)
      if (empty) {
        if (last === -1) continue
        yield await pageWith(file, page, end, empty, last + 1)
        continue
      }
    }
    yield (await file.read(page.at, Math.min(page.end, end) - page.at)).slice()
  }
}

/** A page whose first segments make way for a short packet. */
async function pageWith(
  file: ByteSource,
  page: Page,
  end: number,
  packet: readonly number[],
  dropped: number,
): Promise<Uint8Array> {
  const rest = page.segments.subarray(dropped)
  const from = page.segments.subarray(0, dropped).reduce((sum, length) => sum + length, page.body)
  const head = (await file.read(page.at, 26)).slice()
  head[5]! &= ~1
  head.fill(0, 22)
  const body = (await file.read(from, Math.max(0, Math.min(page.end, end) - from))).slice()
  return Uint8Array.from([...head, rest.length + 1, packet.length, ...rest, ...packet, ...body])
}
