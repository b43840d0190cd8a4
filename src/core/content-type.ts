/**
 * What a file is, told from its bytes; its name has no say. `file-type` recognises the formats that a fixed
 * signature gives away. Containers that hold pictures, sound or films alike (MP4, Matroska, Ogg, ASF, RIFF, IFF) and
 * bare streams of frames (MPEG audio, AAC, AC-3, DTS), whose only signature is a few set bits, are looked into here.
 */
import { tagsBefore } from './containers/around.ts'
import { ascii, type ByteSource, sourceOf, uint } from './containers/bytes.ts'
import { frameChain } from './containers/frames.ts'
import { boxes, mp4Track } from './containers/mp4.ts'

export type AudioContainer =
  | 'mpeg'
  | 'adts'
  | 'flac'
  | 'mp4'
  | 'ogg'
  | 'wav'
  | 'aiff'
  | 'asf'
  | 'matroska'
  | 'webm'
  | 'ape'
  | 'wavpack'
  | 'musepack'
  | 'dsf'
  | 'dff'
  | 'caf'
  | 'au'
  | 'amr'
  | 'w64'
  | 'tta'
  | 'tak'
  | 'ac3'
  | 'eac3'
  | 'dts'

export interface AudioType {
  /** As browsers and players want it; `video/*` for a film with sound. Without parameters. */
  contentType: string
  /** lower case, without the dot */
  extension: string
  container: AudioContainer
}

/** Enough for every signature, and for two frames of the longest kind (ADTS, 8,191 bytes). */
const headSize = 16_384
/** How far behind rubble the first frame of a bare stream is looked for. */
const scanSize = 65_536
/** How far behind a tag whose length is wrong, or zeros: more than the largest cover that was ever embedded. */
const longScan = 64 * 2 ** 20
const scanStep = 2 ** 20
/** Reads before a file counts as nonsense: a hostile one could nest a million boxes. */
const maxReads = 4096

/** What a file is, and where in it that begins: behind ID3 tags and rubble. */
export interface AudioLocation extends AudioType {
  /** bytes from the beginning of the file */
  start: number
}

/**
 * Recognises sound by its bytes. A film counts when it has a sound track. Reads a few kilobytes, wherever they are:
 * behind an ID3 tag of any size, or at an MP4 index at the end of the file; more only behind a tag that is broken.
 *
 * @param source the whole file, or random access to it
 * @returns undefined for everything that is not sound, an empty file included
 * @throws only what `source.read` throws
 */
export async function detectAudio(source: Uint8Array | ByteSource): Promise<AudioType | undefined> {
  const found = await locateAudio(source)
  if (!found) return undefined
  const { start: _, ...type } = found
  return type
}

/** As {@link detectAudio}, with the place where the sound begins. */
export async function locateAudio(source: Uint8Array | ByteSource): Promise<AudioLocation | undefined> {
  const file = limited(source instanceof Uint8Array ? sourceOf(source) : source)
  const { tags, start } = await tagsBefore(file)
  const at = (type: AudioType | undefined, offset = start): AudioLocation | undefined =>
    type && { ...type, start: offset }
  // A file cut off inside its tag was MPEG audio in practice: it is a track, though a damaged one.
  if (tags.length > 0 && start >= file.size) return at(mpegAudio('mp3'))

  const head = (await file.read(start, headSize)).slice()
  if (head.length === 0) return undefined
  const container = await lookInside(file, head, start)
  if (container !== 'unknown') return at(container)
  const stream = bareStream(head, file.size - start <= head.length, 2)
  if (stream) return at(stream)
  const known = await bySignature(head)
  // What stands behind a tag that is too short is the rest of it, a picture for one.
  if (known !== 'unknown' && (known || tags.length === 0)) return at(known)
  const far = tags.length > 0 || head.every(byte => byte === 0)
  return lookBehindRubble(file, start, far ? longScan : scanSize)
}

/** Zeros, rubble, or the rest of a tag before the first frame: a longer chain is asked for, as chance has more tries. */
async function lookBehindRubble(
  file: ByteSource,
  start: number,
  most: number,
): Promise<AudioLocation | undefined> {
  const end = Math.min(file.size, start + most)
  // Windows overlap by what a chain of frames needs.
  for (let from = start; from < end; from += scanStep) {
    const bytes = (await file.read(from, Math.min(scanStep + headSize, end - from))).slice()
    const flac = indexOfFlac(bytes)
    for (let at = bytes.indexOf(0xff); at !== -1 && at < scanStep; at = bytes.indexOf(0xff, at + 1)) {
      if (flac !== -1 && flac < at) break
      const found = bareStream(bytes.subarray(at), false, 4)
      if (found) return { ...found, start: from + at }
    }
    if (flac !== -1) return { ...(signatures['flac'] as AudioType), start: from + flac }
  }
  return undefined
}

/** `fLaC` and the head of its first block (RFC 9639, 8.2): 34 bytes of STREAMINFO. */
function indexOfFlac(bytes: Uint8Array): number {
  for (let at = bytes.indexOf(0x66); at !== -1; at = bytes.indexOf(0x66, at + 1))
    if (/^fLaC[\0\x80]\0\0"$/.test(ascii(bytes, at, 8))) return at
  return -1
}

function mpegAudio(coding: 'mp1' | 'mp2' | 'mp3'): AudioType {
  return { contentType: 'audio/mpeg', extension: coding, container: 'mpeg' }
}

/** Types of bare streams, by what their frames are. */
const syncTypes = {
  ac3: { contentType: 'audio/ac3', extension: 'ac3', container: 'ac3' },
  eac3: { contentType: 'audio/eac3', extension: 'eac3', container: 'eac3' },
  dts: { contentType: 'audio/vnd.dts', extension: 'dts', container: 'dts' },
} as const satisfies Record<string, AudioType>

/** The stream that these bytes begin with: `frames` frames one behind another, fewer if that is the `whole` file. */
function bareStream(bytes: Uint8Array, whole: boolean, frames: number): AudioType | undefined {
  const frame = frameChain(bytes, whole, frames)
  if (!frame) return undefined
  switch (frame.coding) {
    case 'adts':
      return { contentType: 'audio/aac', extension: 'aac', container: 'adts' }
    case 'ac3':
    case 'eac3':
    case 'dts':
      return syncTypes[frame.coding]
    default:
      return mpegAudio(frame.coding)
  }
}

/** The same file, at its end after `maxReads`. */
function limited(file: ByteSource): ByteSource {
  let reads = 0
  return {
    size: file.size,
    read: async (offset, length) => (reads++ < maxReads ? file.read(offset, length) : new Uint8Array()),
  }
}

/** What the names of Wave64's chunks go on with (Sonic Foundry, 2003). */
const w64Riff = '\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0'

/** `unknown`: none of the containers this function knows. undefined: one of them, but without sound. */
async function lookInside(
  file: ByteSource,
  head: Uint8Array,
  start: number,
): Promise<AudioType | undefined | 'unknown'> {
  const tag = ascii(head, 0, 4)
  const form = ascii(head, 8, 4)
  switch (tag) {
    case 'fLaC':
      // Half of what a library holds: not worth loading and asking `file-type` for.
      return signatures['flac']
    case 'RIFF':
    case 'RIFX':
    case 'RF64':
    case 'BW64':
      return form === 'WAVE' ? { contentType: 'audio/wav', extension: 'wav', container: 'wav' } : undefined
    case 'FORM':
      if (form === 'AIFF') return { contentType: 'audio/aiff', extension: 'aiff', container: 'aiff' }
      if (form === 'AIFC') return { contentType: 'audio/aiff', extension: 'aifc', container: 'aiff' }
      return undefined
    case '.snd':
      if (head.length < 24 || uint(head, 4, 4) < 24 || uint(head, 12, 4) > 27) return undefined
      return { contentType: 'audio/basic', extension: 'au', container: 'au' }
    case 'TTA1':
    case 'TTA2':
      // Format, channels, bits, rate, samples: what a text that begins so does not hold.
      return uint(head, 4, 2, true) <= 3 && uint(head, 6, 2, true) <= 32 && head.length >= 22
        ? { contentType: 'audio/x-tta', extension: 'tta', container: 'tta' }
        : undefined
    case 'tBaK':
      return { contentType: 'audio/x-tak', extension: 'tak', container: 'tak' }
    case 'riff':
      return ascii(head, 4, 12) === w64Riff && ascii(head, 24, 4) === 'wave'
        ? { contentType: 'audio/x-w64', extension: 'w64', container: 'w64' }
        : undefined
    case 'OggS':
      return ogg(head)
    case '\x1aE\xdf\xa3':
      return matroska(file, start)
  }
  if (ascii(head, 4, 4) === 'ftyp') return mp4(file, start)
  if (ascii(head, 0, 10) === '\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9') return asf(file, start)
  return 'unknown'
}

/** Extensions of `file-type` that mean sound, and what is made of them. */
const signatures: Readonly<Record<string, AudioType>> = {
  flac: { contentType: 'audio/flac', extension: 'flac', container: 'flac' },
  ape: { contentType: 'audio/x-ape', extension: 'ape', container: 'ape' },
  wv: { contentType: 'audio/x-wavpack', extension: 'wv', container: 'wavpack' },
  mpc: { contentType: 'audio/x-musepack', extension: 'mpc', container: 'musepack' },
  dsf: { contentType: 'audio/x-dsf', extension: 'dsf', container: 'dsf' },
  dff: { contentType: 'audio/x-dff', extension: 'dff', container: 'dff' },
  caf: { contentType: 'audio/x-caf', extension: 'caf', container: 'caf' },
  amr: { contentType: 'audio/amr', extension: 'amr', container: 'amr' },
}
/** Verdicts of `file-type` that rest on a single frame header: judged by a chain of frames instead. */
const weak = new Set(['mp1', 'mp2', 'mp3', 'aac'])

/** A text may begin "MAC address", "MP+" or "DSD": what must follow these signatures is looked at, too. */
const lookAgain: Readonly<Record<string, (head: Uint8Array) => boolean>> = {
  ape: head => head[5] !== undefined && head[5] >= 0x0c && head[5] <= 0x10, // version, 3,xxx to 4,xxx
  mpc: head => ascii(head, 0, 4) === 'MPCK' || ((head[3] ?? 0) & 0x0f) === 7,
  dsf: head => head[4] === 28 && head[5] === 0,
}

async function bySignature(head: Uint8Array): Promise<AudioType | undefined | 'unknown'> {
  // Loaded when first needed: most commands never look into a file.
  const { fileTypeFromBuffer } = await import('file-type')
  const result = await fileTypeFromBuffer(head).catch(() => undefined)
  if (!result || weak.has(result.ext)) return 'unknown'
  return lookAgain[result.ext]?.(head) === false ? undefined : signatures[result.ext]
}

// Ogg (RFC 3533): every stream begins with a page of its own, all of them before any other page.

function ogg(head: Uint8Array): AudioType | undefined {
  let codec: string | undefined
  let video = false
  for (let at = 0; ascii(head, at, 4) === 'OggS' && (head[at + 5] ?? 0) & 0x02; ) {
    const segments = head[at + 26] ?? 0
    const body = at + 27 + segments
    if (ascii(head, body, 7) === '\x01vorbis') codec ??= 'ogg'
    else if (ascii(head, body, 8) === 'OpusHead') codec ??= 'opus'
    else if (ascii(head, body, 5) === '\x7fFLAC') codec ??= 'oga'
    else if (ascii(head, body, 5) === 'Speex') codec ??= 'spx'
    else if (
      ['\x80theora', '\x01video\0'].includes(ascii(head, body, 7)) ||
      ascii(head, body, 5) === 'BBCD\0'
    ) {
      video = true
    }
    at = body
    for (let i = 0; i < segments; i++) at += head[body - segments + i] ?? 0
  }
  if (!codec) return undefined
  return video
    ? { contentType: 'video/ogg', extension: 'ogv', container: 'ogg' }
    : { contentType: 'audio/ogg', extension: codec, container: 'ogg' }
}

// MP4 and its kin (ISO/IEC 14496-12)

/** Beginnings of brands (mp4ra.org) that stand for sound: music, audiobooks, protected music, Flash's. */
const audioBrands = new Set(['M4A', 'M4B', 'M4P', 'F4A', 'F4B'])
/** Codecs of still pictures: covers and chapter images, not films. */
const stills = new Set(['jpeg', 'mjpa', 'mjpb', 'png ', 'gif ', 'tiff'])

async function mp4(file: ByteSource, start: number): Promise<AudioType | undefined> {
  const brand = ascii(await file.read(start + 8, 4), 0, 4)
  const audioBrand = audioBrands.has(brand.slice(0, 3))
  let sound = false
  let video = false
  let index = false
  for await (const top of boxes(file, start, file.size)) {
    if (top.type !== 'moov') continue
    index = true
    for await (const track of boxes(file, top.start, top.end)) {
      if (track.type !== 'trak') continue
      const { handler, codec } = await mp4Track(file, track)
      if (handler === 'soun') sound = true
      if (handler === 'vide' && !stills.has(codec)) video = true
    }
    break
  }
  // Without its index a file is cut short, and the brand is all there is to go by.
  if (index ? !sound : !audioBrand) return undefined
  const kin = brand.startsWith('3g2') ? '3g2' : brand.startsWith('3g') ? '3gp' : undefined
  if (kin) {
    const subtype = kin === '3g2' ? '3gpp2' : '3gpp'
    return { contentType: `${video ? 'video' : 'audio'}/${subtype}`, extension: kin, container: 'mp4' }
  }
  if (video && !audioBrand) {
    return brand === 'qt  '
      ? { contentType: 'video/quicktime', extension: 'mov', container: 'mp4' }
      : { contentType: 'video/mp4', extension: 'mp4', container: 'mp4' }
  }
  return { contentType: 'audio/mp4', extension: brand.startsWith('M4B') ? 'm4b' : 'm4a', container: 'mp4' }
}

// Matroska and WebM: EBML (RFC 8794, RFC 9559)

const ebml = {
  head: 0x1a45dfa3,
  docType: 0x4282,
  segment: 0x18538067,
  tracks: 0x1654ae6b,
  entry: 0xae,
  trackType: 0x83,
}

/** A variable-size integer; `keepMarker` for element ids. Unknown sizes (all ones) are Infinity. */
function vint(
  bytes: Uint8Array,
  at: number,
  keepMarker: boolean,
): { value: number; length: number } | undefined {
  const first = bytes[at]
  if (!first) return undefined
  const length = Math.clz32(first) - 23
  const lead = keepMarker ? first : first & (0xff >> length)
  const value = lead * 256 ** (length - 1) + uint(bytes, at + 1, length - 1)
  return { value: value === 2 ** (7 * length) - 1 ? Number.POSITIVE_INFINITY : value, length }
}

async function* elements(
  file: ByteSource,
  start: number,
  end: number,
): AsyncGenerator<{ id: number; start: number; end: number }> {
  for (let at = start; at < end; ) {
    const header = (await file.read(at, 12)).slice()
    const id = vint(header, 0, true)
    const size = id && vint(header, id.length, false)
    if (!size) return
    const content = at + id.length + size.length
    const end = content + size.value
    yield { id: id.value, start: content, end }
    at = end
  }
}

async function matroska(file: ByteSource, start: number): Promise<AudioType | undefined> {
  let docType = ''
  let sound = false
  let video = false
  for await (const top of elements(file, start, file.size)) {
    const end = Math.min(top.end, file.size)
    if (top.id === ebml.head) {
      for await (const element of elements(file, top.start, end)) {
        if (element.id === ebml.docType) {
          const length = Math.min(element.end - element.start, 16)
          docType = ascii(await file.read(element.start, length), 0, length).replace(/\0.*/s, '')
        }
      }
    } else if (top.id === ebml.segment) {
      for await (const element of elements(file, top.start, end)) {
        // They come before the clusters they describe: one of unknown size cannot be stepped over.
        if (element.id !== ebml.tracks) continue
        for await (const entry of elements(file, element.start, Math.min(element.end, file.size))) {
          if (entry.id !== ebml.entry) continue
          for await (const field of elements(file, entry.start, Math.min(entry.end, file.size))) {
            if (field.id !== ebml.trackType) continue
            const type = (await file.read(field.start, 1))[0]
            if (type === 1) video = true
            if (type === 2) sound = true
          }
        }
        break
      }
      break
    }
  }
  if (!sound) return undefined
  if (docType === 'webm') {
    return { contentType: video ? 'video/webm' : 'audio/webm', extension: 'webm', container: 'webm' }
  }
  return video
    ? { contentType: 'video/matroska', extension: 'mkv', container: 'matroska' }
    : { contentType: 'audio/matroska', extension: 'mka', container: 'matroska' }
}

// ASF (Windows Media): the stream types are in the header object

const asfStreamProperties = '\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\x00\xc0\x0c\x20\x53\x65'
const asfHeaderExtension = '\xb5\x03\xbf\x5f\x2e\xa9\xcf\x11\x8e\xe3\x00\xc0\x0c\x20\x53\x65'
const asfExtendedStream = '\xcb\xa5\xe6\x14\x72\xc6\x32\x43\x83\x99\xa9\x69\x52\x06\x5b\x5a'
const asfAudio = '\x40\x9e\x69\xf8\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b'
const asfVideo = '\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b'

async function asf(file: ByteSource, start: number): Promise<AudioType | undefined> {
  const head = (await file.read(start, 30)).slice()
  if (head.length < 30) return undefined
  let sound = false
  let video = false
  const end = Math.min(start + uint(head, 16, 8, true), file.size)
  const walk = async (from: number, to: number): Promise<void> => {
    for (let at = from; at < to; ) {
      const object = (await file.read(at, 88)).slice()
      const id = ascii(object, 0, 16)
      const size = uint(object, 16, 8, true)
      if (size < 24) return
      if (id === asfStreamProperties) {
        sound ||= ascii(object, 24, 16) === asfAudio
        video ||= ascii(object, 24, 16) === asfVideo
      } else if (id === asfHeaderExtension) {
        await walk(at + 46, Math.min(at + size, to))
      } else if (id === asfExtendedStream) {
        // Of a stream that players of old are not to see, the properties stand here, behind its names and extensions.
        let inside = at + 88
        for (let names = uint(object, 84, 2, true); names > 0; names--)
          inside += 4 + uint(await file.read(inside, 4), 2, 2, true)
        for (let extensions = uint(object, 86, 2, true); extensions > 0; extensions--)
          inside += 22 + uint(await file.read(inside, 22), 18, 4, true)
        await walk(inside, Math.min(at + size, to))
      }
      at += size
    }
  }
  await walk(start + 30, end)
  if (!sound) return undefined
  return video
    ? { contentType: 'video/x-ms-wmv', extension: 'wmv', container: 'asf' }
    : { contentType: 'audio/x-ms-wma', extension: 'wma', container: 'asf' }
}
