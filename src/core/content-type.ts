/**
 * What a file is, told from its bytes; its name has no say. `file-type` recognises the formats that a fixed
 * signature gives away. Containers that hold pictures, sound or films alike (MP4, Matroska, Ogg, ASF, RIFF, IFF) and
 * bare MPEG and AAC streams, whose only signature is eleven set bits, are looked into here.
 */

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

export interface AudioType {
  /** As browsers and players want it; `video/*` for a film with sound. Without parameters. */
  contentType: string
  /** lower case, without the dot */
  extension: string
  container: AudioContainer
}

/** Random access to a file's bytes. */
export interface ByteSource {
  /** bytes */
  readonly size: number
  /** `length` bytes from `offset`, fewer only where the file ends. The answer is valid until the next call. */
  read(offset: number, length: number): Promise<Uint8Array>
}

/** Enough for every signature, and for two frames of the longest kind (ADTS, 8,191 bytes). */
const HEAD_SIZE = 16_384
/** How far behind an ID3 tag, or in a stream without a head, the first frame of MPEG audio is looked for. */
const SCAN_SIZE = 65_536
/** Reads before a file counts as nonsense: a hostile one could nest a million boxes. */
const MAX_READS = 4096

/**
 * Recognises sound by its bytes. A film counts when it has a sound track. Reads a few kilobytes, wherever they are:
 * behind an ID3 tag of any size, or at an MP4 index at the end of the file.
 *
 * @param source the whole file, or random access to it
 * @returns undefined for everything that is not sound, an empty file included
 * @throws only what `source.read` throws
 */
export async function detectAudio(source: Uint8Array | ByteSource): Promise<AudioType | undefined> {
  const file = limited(source instanceof Uint8Array ? sourceOf(source) : source)
  let start = 0
  let tagged = false
  for (let tags = 0; tags < 16; tags++) {
    const length = id3Length(await file.read(start, 10))
    if (length === 0) break
    tagged = true
    start += length
  }
  // A file cut off inside its tag was MPEG audio in practice: it is a track, though a damaged one.
  if (tagged && start >= file.size) return mpegAudio(3)

  const head = (await file.read(start, HEAD_SIZE)).slice()
  if (head.length === 0) return undefined
  const container = await lookInside(file, head, start)
  if (container !== 'unknown') return container
  const stream = bareStream(head, file.size - start <= head.length, 2)
  if (stream) return stream
  const known = await bySignature(head)
  if (known !== 'unknown') return known
  // Zeros or rubble before the first frame. A longer chain of frames is asked for, as chance has more tries.
  const rubble = await file.read(start, SCAN_SIZE)
  for (let at = rubble.indexOf(0xff); at !== -1; at = rubble.indexOf(0xff, at + 1)) {
    const found = bareStream(rubble.subarray(at), false, 4)
    if (found) return found
  }
  return undefined
}

function sourceOf(bytes: Uint8Array): ByteSource {
  return { size: bytes.length, read: async (offset, length) => bytes.subarray(offset, offset + length) }
}

/** The same file, at its end after `MAX_READS`. */
function limited(file: ByteSource): ByteSource {
  let reads = 0
  return {
    size: file.size,
    read: async (offset, length) => (reads++ < MAX_READS ? file.read(offset, length) : new Uint8Array()),
  }
}

/** Length of the ID3v2 tag these bytes begin with, in bytes, its header and footer included; 0 for none. */
function id3Length(bytes: Uint8Array): number {
  if (bytes.length < 10 || ascii(bytes, 0, 3) !== 'ID3' || bytes[3]! > 4 || bytes[4]! === 0xff) return 0
  let size = 0
  for (let i = 6; i < 10; i++) {
    if (bytes[i]! > 0x7f) return 0
    size = size * 128 + bytes[i]!
  }
  return size + (bytes[5]! & 0x10 ? 20 : 10)
}

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
      return SIGNATURES['flac']
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
      if (head.length < 24 || uint32(head, 4) < 24 || uint32(head, 12) > 27) return undefined
      return { contentType: 'audio/basic', extension: 'au', container: 'au' }
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
const SIGNATURES: Readonly<Record<string, AudioType>> = {
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
const WEAK = new Set(['mp1', 'mp2', 'mp3', 'aac'])

/** A text may begin "MAC address", "MP+" or "DSD": what must follow these signatures is looked at, too. */
const LOOK_AGAIN: Readonly<Record<string, (head: Uint8Array) => boolean>> = {
  ape: head => head[5] !== undefined && head[5] >= 0x0c && head[5] <= 0x10, // version, 3,xxx to 4,xxx
  mpc: head => ascii(head, 0, 4) === 'MPCK' || ((head[3] ?? 0) & 0x0f) === 7,
  dsf: head => head[4] === 28 && head[5] === 0,
}

async function bySignature(head: Uint8Array): Promise<AudioType | undefined | 'unknown'> {
  // Loaded when first needed: most commands never look into a file.
  const { fileTypeFromBuffer } = await import('file-type')
  const result = await fileTypeFromBuffer(head).catch(() => undefined)
  if (!result || WEAK.has(result.ext)) return 'unknown'
  return LOOK_AGAIN[result.ext]?.(head) === false ? undefined : SIGNATURES[result.ext]
}

// MPEG audio (ISO/IEC 11172-3, 13818-3) and AAC in ADTS (ISO/IEC 14496-3, 1.A.2)

interface Frame {
  /** bytes, header included */
  length: number
  /** What every frame of one stream has in common. */
  kind: string
  type: AudioType
}

/** kbit/s by MPEG version (1, or 2 and 2.5) and layer; index 0 is "free format", which nothing plays reliably. */
const BITRATES: Readonly<Record<string, readonly number[]>> = {
  '1/1': [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
  '1/2': [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
  '1/3': [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  '2/1': [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
  '2/2': [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
  '2/3': [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
const SAMPLE_RATES = [44_100, 48_000, 32_000]

function mpegAudio(layer: number): AudioType {
  return { contentType: 'audio/mpeg', extension: `mp${layer}`, container: 'mpeg' }
}

function frameAt(bytes: Uint8Array, at: number): Frame | undefined {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = bytes.subarray(at, at + 6)
  if (a !== 0xff || (b & 0xe0) !== 0xe0) return undefined
  if ((b & 0xf6) === 0xf0) {
    const length = ((d & 0x03) << 11) | (e << 3) | (f >> 5)
    const rate = (c >> 2) & 0x0f
    if (rate > 12 || length < 7) return undefined
    return {
      length,
      kind: `adts ${b} ${c & 0xfd}`,
      type: { contentType: 'audio/aac', extension: 'aac', container: 'adts' },
    }
  }
  const version = (b >> 3) & 3
  const layer = 4 - ((b >> 1) & 3)
  const rateIndex = (c >> 2) & 3
  const bitrateIndex = c >> 4
  if (version === 1 || layer === 4 || rateIndex === 3 || bitrateIndex === 15 || bitrateIndex === 0)
    return undefined
  if ((d & 3) === 2) return undefined // reserved emphasis
  const sampleRate = SAMPLE_RATES[rateIndex]! / (version === 3 ? 1 : version === 2 ? 2 : 4)
  const bitrate = BITRATES[`${version === 3 ? 1 : 2}/${layer}`]![bitrateIndex]! * 1000
  const padding = (c >> 1) & 1
  const length =
    layer === 1
      ? (Math.floor((12 * bitrate) / sampleRate) + padding) * 4
      : Math.floor(((layer === 3 && version !== 3 ? 72 : 144) * bitrate) / sampleRate) + padding
  return { length, kind: `mpeg ${version} ${layer} ${rateIndex}`, type: mpegAudio(layer) }
}

/**
 * The stream these bytes begin with, when at least `frames` frames of one kind follow each other. Where the bytes
 * are the `whole` file, fewer will do: the chain has to end with the file then.
 */
function bareStream(bytes: Uint8Array, whole: boolean, frames: number): AudioType | undefined {
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
  return first.type
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

interface Box {
  type: string
  /** of the content */
  start: number
  /** exclusive; never beyond the box around it */
  end: number
}

async function* boxes(file: ByteSource, start: number, end: number): AsyncGenerator<Box> {
  for (let at = start; at + 8 <= end; ) {
    const header = (await file.read(at, 16)).slice()
    if (header.length < 8) return
    let size = uint32(header, 0)
    let headerSize = 8
    if (size === 1) {
      if (header.length < 16) return
      size = uint32(header, 8) * 2 ** 32 + uint32(header, 12)
      headerSize = 16
    } else if (size === 0) {
      size = end - at
    }
    if (size < headerSize) return
    yield { type: ascii(header, 4, 4), start: at + headerSize, end: Math.min(at + size, end) }
    at += size
  }
}

/** Codecs of still pictures: covers and chapter images, not films. */
const STILLS = new Set(['jpeg', 'mjpa', 'mjpb', 'png ', 'gif ', 'tiff'])

async function mp4(file: ByteSource, start: number): Promise<AudioType | undefined> {
  const brand = ascii(await file.read(start + 8, 4), 0, 4)
  const audioBrand = /^(M4A|M4B|M4P|F4A|F4B)/.test(brand)
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
      if (handler === 'vide' && !STILLS.has(codec)) video = true
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

async function mp4Track(file: ByteSource, track: Box): Promise<{ handler: string; codec: string }> {
  let handler = ''
  let codec = ''
  const pending = [track]
  for (let box = pending.pop(); box; box = pending.pop()) {
    for await (const inner of boxes(file, box.start, box.end)) {
      if (['mdia', 'minf', 'stbl'].includes(inner.type)) pending.push(inner)
      // QuickTime has a second hdlr in minf, of the data handler
      else if (inner.type === 'hdlr' && box.type === 'mdia') {
        handler = ascii(await file.read(inner.start + 8, 4), 0, 4)
      } else if (inner.type === 'stsd') codec = ascii(await file.read(inner.start + 12, 4), 0, 4)
    }
  }
  return { handler, codec }
}

// Matroska and WebM: EBML (RFC 8794, RFC 9559)

const EBML = {
  head: 0x1a45dfa3,
  docType: 0x4282,
  segment: 0x18538067,
  tracks: 0x1654ae6b,
  entry: 0xae,
  trackType: 0x83,
  cluster: 0x1f43b675,
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
  if (at + length > bytes.length) return undefined
  let value = keepMarker ? first : first & (0xff >> length)
  let ones = (first & (0xff >> length)) === 0xff >> length
  for (let i = 1; i < length; i++) {
    value = value * 256 + bytes[at + i]!
    ones &&= bytes[at + i] === 0xff
  }
  return { value: !keepMarker && ones ? Number.POSITIVE_INFINITY : value, length }
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
    yield { id: id.value, start: content, end: content + size.value }
    at = content + size.value
  }
}

async function matroska(file: ByteSource, start: number): Promise<AudioType | undefined> {
  let docType = ''
  let sound = false
  let video = false
  for await (const top of elements(file, start, file.size)) {
    const end = Math.min(top.end, file.size)
    if (top.id === EBML.head) {
      for await (const element of elements(file, top.start, end)) {
        if (element.id === EBML.docType) {
          const length = Math.min(element.end - element.start, 16)
          docType = ascii(await file.read(element.start, length), 0, length).replace(/\0+$/, '')
        }
      }
    } else if (top.id === EBML.segment) {
      for await (const element of elements(file, top.start, end)) {
        // Tracks come before the clusters they describe, and a cluster of unknown size cannot be stepped over.
        if (element.id === EBML.cluster && element.end === Number.POSITIVE_INFINITY) break
        if (element.id !== EBML.tracks) continue
        for await (const entry of elements(file, element.start, Math.min(element.end, file.size))) {
          if (entry.id !== EBML.entry) continue
          for await (const field of elements(file, entry.start, Math.min(entry.end, file.size))) {
            if (field.id !== EBML.trackType) continue
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

const ASF_STREAM_PROPERTIES = '\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\x00\xc0\x0c\x20\x53\x65'
const ASF_HEADER_EXTENSION = '\xb5\x03\xbf\x5f\x2e\xa9\xcf\x11\x8e\xe3\x00\xc0\x0c\x20\x53\x65'
const ASF_AUDIO = '\x40\x9e\x69\xf8\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b'
const ASF_VIDEO = '\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b'

async function asf(file: ByteSource, start: number): Promise<AudioType | undefined> {
  const head = (await file.read(start, 30)).slice()
  if (head.length < 30) return undefined
  let sound = false
  let video = false
  const end = Math.min(start + uint64le(head, 16), file.size)
  const walk = async (from: number, to: number, inner: boolean): Promise<void> => {
    for (let at = from; at + 24 <= to; ) {
      const object = (await file.read(at, 70)).slice()
      const id = ascii(object, 0, 16)
      const size = object.length < 24 ? 0 : uint64le(object, 16)
      if (size < 24) return
      if (id === ASF_STREAM_PROPERTIES) {
        sound ||= ascii(object, 24, 16) === ASF_AUDIO
        video ||= ascii(object, 24, 16) === ASF_VIDEO
      } else if (id === ASF_HEADER_EXTENSION && !inner) {
        await walk(at + 46, Math.min(at + size, to), true)
      }
      at += size
    }
  }
  await walk(start + 30, end, false)
  if (!sound) return undefined
  return video
    ? { contentType: 'video/x-ms-wmv', extension: 'wmv', container: 'asf' }
    : { contentType: 'audio/x-ms-wma', extension: 'wma', container: 'asf' }
}

function ascii(bytes: Uint8Array, at: number, length: number): string {
  let text = ''
  for (let i = at; i < Math.min(at + length, bytes.length); i++) text += String.fromCharCode(bytes[i]!)
  return text
}

function uint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
}

function uint64le(bytes: Uint8Array, at: number): number {
  let value = 0
  for (let i = 7; i >= 0; i--) value = value * 256 + bytes[at + i]!
  return value
}
