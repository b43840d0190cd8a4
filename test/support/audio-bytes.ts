/** Audio files made up byte by byte, small, and broken where a test wants it. Nothing recorded, nothing licensed. */

export const latin = (text: string): Buffer => Buffer.from(text, 'latin1')
export const be = (value: number, length: number): Buffer => {
  const bytes = Buffer.alloc(length)
  for (let i = length - 1, rest = value; i >= 0; i--, rest = Math.floor(rest / 256)) bytes[i] = rest % 256
  return bytes
}
export const le = (value: number, length: number): Buffer => Buffer.from(be(value, length)).reverse()
const syncsafe = (value: number): Buffer =>
  Buffer.from([(value >> 21) & 127, (value >> 14) & 127, (value >> 7) & 127, value & 127])

/** Silent frames of MPEG-1 Layer III, 44.1 kHz, joint stereo or mono: 1,152 samples each, 26.12 ms. */
export function mp3Frames(count: number, { kbps = 128, mono = false } = {}): Buffer {
  const index = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320].indexOf(kbps)
  const frame = Buffer.alloc(Math.floor((144 * kbps * 1000) / 44_100))
  frame.set([0xff, 0xfb, index << 4, mono ? 0xc0 : 0x40])
  return Buffer.concat(Array.from({ length: count }, () => frame))
}
/** seconds of so many of those frames */
export const mp3Seconds = (count: number): number => (count * 1152) / 44_100

/** An ID3v2 frame; `text` as bytes, its encoding's included. */
interface Id3Frame {
  readonly id: string
  readonly content: Buffer
  /** of 2.4: plain, as iTunes writes them */
  readonly plain?: boolean
  readonly flags?: number
}
export const utf8 = (text: string): Buffer => Buffer.concat([Buffer.from([3]), Buffer.from(text)])
export const latin1 = (text: string): Buffer => Buffer.concat([Buffer.from([0]), latin(text)])
export const utf16 = (text: string): Buffer =>
  Buffer.concat([Buffer.from([1, 0xff, 0xfe]), Buffer.from(text, 'utf16le')])

export function id3v2(
  version: 2 | 3 | 4,
  frames: readonly Id3Frame[],
  {
    padding = 0,
    size,
    flags = 0,
    more = Buffer.alloc(padding),
  }: { padding?: number; size?: number; flags?: number; more?: Buffer } = {},
): Buffer {
  const body = Buffer.concat([
    ...frames.map(({ id, content, plain, flags: frameFlags = 0 }) =>
      version === 2
        ? Buffer.concat([latin(id), be(content.length, 3), content])
        : Buffer.concat([
            latin(id),
            version === 4 && !plain ? syncsafe(content.length) : be(content.length, 4),
            be(frameFlags, 2),
            content,
          ]),
    ),
    more,
  ])
  return Buffer.concat([latin('ID3'), Buffer.from([version, 0, flags]), syncsafe(size ?? body.length), body])
}

export function id3v1(title: Buffer, artist: Buffer, album: Buffer = Buffer.alloc(0)): Buffer {
  const tag = Buffer.alloc(128)
  tag.write('TAG', 'latin1')
  title.copy(tag, 3, 0, 30)
  artist.copy(tag, 33, 0, 30)
  album.copy(tag, 63, 0, 30)
  return tag
}

const chunk = (id: string, content: Buffer, little: boolean, size = content.length): Buffer =>
  Buffer.concat([latin(id), little ? le(size, 4) : be(size, 4), content, Buffer.alloc(content.length & 1)])
export const riffChunk = (id: string, content: Buffer, size?: number): Buffer =>
  chunk(id, content, true, size)
export const iffChunk = (id: string, content: Buffer, size?: number): Buffer =>
  chunk(id, content, false, size)

/** With a length of eight bytes, as CAF and DSDIFF have it. */
export const wideChunk = (id: string, content: Buffer, size = content.length): Buffer =>
  Buffer.concat([latin(id), be(size, 8), content])
/** DSDIFF's begin at even places. */
export const evenChunk = (id: string, content: Buffer, size?: number): Buffer =>
  Buffer.concat([wideChunk(id, content, size), Buffer.alloc(content.length & 1)])

/** RIFF INFO, texts as bytes. */
export const riffInfo = (texts: Readonly<Record<string, Buffer>>): Buffer =>
  riffChunk(
    'LIST',
    Buffer.concat([
      latin('INFO'),
      ...Object.entries(texts).map(([id, text]) => riffChunk(id, Buffer.concat([text, Buffer.alloc(1)]))),
    ]),
  )

interface WaveOptions {
  readonly form?: 'RIFF' | 'RIFX' | 'RF64'
  /** 1 integers, 3 floats */
  readonly format?: number
  readonly channels?: number
  readonly sampleRate?: number
  readonly bits?: number
  readonly before?: Buffer
  readonly behind?: Buffer
  /** what the chunk of samples claims, where it is not its length */
  readonly claimed?: number
}

export function wave(data: Buffer, options: WaveOptions = {}): Buffer {
  const { form = 'RIFF', format = 1, channels = 1, sampleRate = 8000, bits = 16 } = options
  const number = form === 'RIFX' ? be : le
  const block = (channels * bits) / 8
  const fmt = Buffer.concat([
    number(format, 2),
    number(channels, 2),
    number(sampleRate, 4),
    number(sampleRate * block, 4),
    number(block, 2),
    number(bits, 2),
  ])
  const little = form !== 'RIFX'
  const wide = form === 'RF64'
  const body = Buffer.concat([
    latin('WAVE'),
    ...(wide ? [chunk('ds64', Buffer.concat([le(0, 8), le(data.length, 8), le(0, 8), le(0, 4)]), true)] : []),
    chunk('fmt ', fmt, little),
    options.before ?? Buffer.alloc(0),
    chunk('data', data, little, wide ? 0xffff_ffff : (options.claimed ?? data.length)),
    options.behind ?? Buffer.alloc(0),
  ])
  return Buffer.concat([latin(form), wide ? le(0xffff_ffff, 4) : number(body.length, 4), body])
}

interface AiffOptions {
  readonly channels?: number
  readonly sampleRate?: number
  readonly bits?: number
  /** of AIFF-C */
  readonly compression?: string
  readonly before?: Buffer
  readonly behind?: Buffer
}

/** An 80-bit float, of a whole number. */
function extended(value: number): Buffer {
  const exponent = Math.floor(Math.log2(value))
  return Buffer.concat([be(exponent + 16_383, 2), be(value * 2 ** (31 - exponent), 4), be(0, 4)])
}

export function aiff(data: Buffer, options: AiffOptions = {}): Buffer {
  const { channels = 1, sampleRate = 8000, bits = 16, compression } = options
  const frames = data.length / (channels * Math.ceil(bits / 8))
  const common = Buffer.concat([
    be(channels, 2),
    be(frames, 4),
    be(bits, 2),
    extended(sampleRate),
    ...(compression ? [latin(compression), Buffer.alloc(2)] : []),
  ])
  const body = Buffer.concat([
    latin(compression ? 'AIFC' : 'AIFF'),
    iffChunk('COMM', common),
    options.before ?? Buffer.alloc(0),
    iffChunk('SSND', Buffer.concat([Buffer.alloc(8), data])),
    options.behind ?? Buffer.alloc(0),
  ])
  return Buffer.concat([latin('FORM'), be(body.length, 4), body])
}

interface CafOptions {
  readonly type?: string
  readonly flags?: number
  readonly channels?: number
  readonly bits?: number
  /** what the chunk `info` holds */
  readonly texts?: Buffer
  /** what the chunk of samples claims, where it is not its length */
  readonly claimed?: number | undefined
}

/** The chunk of CAF that says what its samples are, at 8 kHz. */
export const cafFormat = (type: string, ...numbers: readonly number[]): Buffer =>
  wideChunk(
    'desc',
    Buffer.concat([be(0x40bf_4000, 4), be(0, 4), latin(type), ...numbers.map(number => be(number, 4))]),
  )
export const cafOf = (...chunks: readonly Buffer[]): Buffer =>
  Buffer.concat([latin('caff\0\x01\0\0'), ...chunks])

export function caf(data: Buffer, options: CafOptions = {}): Buffer {
  const { type = 'lpcm', flags = 0, channels = 1, bits = 16, texts, claimed } = options
  return cafOf(
    cafFormat(type, flags, (channels * bits) / 8, 1, channels, bits),
    texts === undefined ? Buffer.alloc(0) : wideChunk('info', texts),
    wideChunk('data', Buffer.concat([be(0, 4), data]), claimed),
  )
}

interface AuOptions {
  /** 3 integers of 16 bits */
  readonly code?: number
  readonly channels?: number
  readonly annotation?: Buffer
  /** where it is not their length */
  readonly claimed?: number
}

/** AU at 8 kHz. */
export function au(data: Buffer, options: AuOptions = {}): Buffer {
  const { code = 3, channels = 1, annotation = Buffer.alloc(0), claimed = data.length } = options
  const numbers = [24 + annotation.length, claimed, code, 8000, channels]
  return Buffer.concat([latin('.snd'), ...numbers.map(number => be(number, 4)), annotation, data])
}

const guid = (id: string): Buffer =>
  Buffer.concat([latin(id), Buffer.from('f3acd3118cd100c04f8edb8a', 'hex')])
export const w64Chunk = (id: string, content: Buffer, size = content.length + 24): Buffer =>
  Buffer.concat([guid(id), le(size, 8), content, Buffer.alloc((8 - (content.length % 8)) % 8)])
export const w64 = (...chunks: readonly Buffer[]): Buffer =>
  Buffer.concat([
    latin('riff'),
    Buffer.from('2e91cf11a5d628db04c10000', 'hex'),
    le(0, 8),
    guid('wave'),
    ...chunks,
  ])

export const dsdiff = (...chunks: readonly Buffer[]): Buffer =>
  Buffer.concat([latin('FRM8'), be(0, 8), latin('DSD '), ...chunks])
/** DSDIFF's properties, behind the rate of DSD. */
export const dsdiffFormat = (...chunks: readonly Buffer[]): Buffer =>
  evenChunk('PROP', Buffer.concat([latin('SND '), evenChunk('FS  ', be(2_822_400, 4)), ...chunks]))

/** An item of an APE tag. */
export const apeItem = (name: string, value: Buffer, flags = 0): Buffer =>
  Buffer.concat([le(value.length, 4), le(flags, 4), latin(`${name}\0`), value])
/** An APE tag with header and footer. */
export function apeTag(...items: readonly Buffer[]): Buffer {
  const body = Buffer.concat(items)
  const mark = (flags: number): Buffer =>
    Buffer.concat([
      latin('APETAGEX'),
      ...[2000, body.length + 32, items.length, flags].map(number => le(number, 4)),
      Buffer.alloc(8),
    ])
  return Buffer.concat([mark(0xa000_0000), body, mark(0x8000_0000)])
}

/** A list of `NAME=text`. */
export function vorbisComments(texts: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat([
    le(4, 4),
    latin('test'),
    le(texts.length, 4),
    ...texts.map(text => {
      const bytes = typeof text === 'string' ? Buffer.from(text) : text
      return Buffer.concat([le(bytes.length, 4), bytes])
    }),
  ])
}

const oggCrc = Uint32Array.from({ length: 256 }, (_, i) => {
  let crc = i << 24
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000_0000 ? (crc << 1) ^ 0x04c1_1db7 : crc << 1
  return crc
})

/** One page with whole packets. @param flags 2 the first of its stream, 4 the last */
export function oggPage(
  serial: number,
  sequence: number,
  granule: number,
  packets: readonly Buffer[],
  flags = 0,
): Buffer {
  const segments = packets.flatMap(packet => [
    ...new Array<number>(Math.floor(packet.length / 255)).fill(255),
    packet.length % 255,
  ])
  return pageOf(serial, sequence, granule, segments, Buffer.concat(packets), flags)
}

/** The pages, as many as it takes, of one packet without sound. */
export function oggPacket(serial: number, sequence: number, packet: Buffer): Buffer {
  const most = 255 * 255
  const pages: Buffer[] = []
  for (let at = 0; at <= packet.length; at += most) {
    const part = packet.subarray(at, at + most)
    const segments = new Array<number>(Math.floor(part.length / 255)).fill(255)
    const isLast = part.length < most
    if (isLast) segments.push(part.length % 255)
    const granule = isLast ? 0 : -1
    pages.push(pageOf(serial, sequence + at / most, granule, segments, part, at > 0 ? 1 : 0))
  }
  return Buffer.concat(pages)
}

function pageOf(
  serial: number,
  sequence: number,
  granule: number,
  segments: readonly number[],
  body: Buffer,
  flags: number,
): Buffer {
  const page = Buffer.concat([
    latin('OggS'),
    Buffer.from([0, flags]),
    granule < 0 ? Buffer.alloc(8, 255) : le(granule, 8),
    le(serial, 4),
    le(sequence, 4),
    le(0, 4),
    Buffer.from([segments.length, ...segments]),
    body,
  ])
  let crc = 0
  for (const byte of page) crc = ((crc << 8) ^ oggCrc[((crc >>> 24) ^ byte) & 255]!) >>> 0
  page.writeUInt32LE(crc, 22)
  return page
}

/** The first packet of Opus (RFC 7845, 5.1): 312 samples are left out at the start. */
export const opusHead = (channels: number): Buffer =>
  Buffer.concat([
    latin('OpusHead'),
    Buffer.from([1, channels]),
    le(312, 2),
    le(48_000, 4),
    le(0, 2),
    Buffer.from([0]),
  ])

/** Opus without sound worth the name: packets of 20 ms, coded as silence. */
export function opusStream(
  serial: number,
  packets: number,
  comments: readonly string[] = [],
  ends = true,
): Buffer {
  const head = opusHead(1)
  const tags = Buffer.concat([latin('OpusTags'), vorbisComments(comments)])
  // CELT, fullband, 20 ms, mono, one frame of silence
  const packet = Buffer.from([0xf8, 0xff, 0xfe])
  const pages = [oggPage(serial, 0, 0, [head], 2), oggPage(serial, 1, 0, [tags])]
  for (let done = 0, sequence = 2; done < packets; sequence++) {
    const count = Math.min(50, packets - done)
    done += count
    pages.push(
      oggPage(
        serial,
        sequence,
        done * 960,
        Array.from({ length: count }, () => packet),
        ends && done === packets ? 4 : 0,
      ),
    )
  }
  return Buffer.concat(pages)
}

export const box = (type: string, ...content: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(content)
  return Buffer.concat([be(body.length + 8, 4), latin(type), body])
}

/** The index of an MP4 file with one sound track of 8 kHz, and iTunes' tags. */
export function moov(seconds: number, tags: Readonly<Record<string, string>> = {}): Buffer {
  const handler = (type: string): Buffer => box('hdlr', be(0, 8), latin(type), be(0, 13))
  const items = Object.entries(tags).map(([id, text]) =>
    box(id, box('data', be(1, 4), be(0, 4), Buffer.from(text))),
  )
  return box(
    'moov',
    box(
      'mvhd',
      be(0, 12),
      be(1000, 4),
      be(seconds * 1000, 4),
      be(0x10000, 4),
      be(0x100, 2),
      be(0, 70),
      be(2, 4),
    ),
    box(
      'trak',
      box('tkhd', be(0, 12), be(1, 4), be(0, 4), be(seconds * 1000, 4), be(0, 60)),
      box(
        'mdia',
        box('mdhd', be(0, 12), be(8000, 4), be(seconds * 8000, 4), be(0, 4)),
        handler('soun'),
        box(
          'minf',
          box(
            'stbl',
            box(
              'stsd',
              be(0, 4),
              be(1, 4),
              box('mp4a', be(0, 6), be(1, 2), be(0, 8), be(1, 2), be(16, 2), be(0, 4), be(8000, 2), be(0, 2)),
            ),
            box('stts', be(0, 8)),
            box('stsc', be(0, 8)),
            box('stsz', be(0, 12)),
            box('stco', be(0, 8)),
          ),
        ),
      ),
    ),
    box('udta', box('meta', be(0, 4), handler('mdir'), box('ilst', ...items))),
  )
}
export const ftyp = box('ftyp', latin('M4A '), be(0, 4), latin('M4A mp42'))

/** A FLAC file of verbatim frames: any depth of 4 to 32 bits. */
interface FlacOptions {
  readonly bits?: number
  readonly channels?: number
  readonly sampleRate?: number
  readonly blockSize?: number
  /** metadata blocks behind STREAMINFO: type and content */
  readonly blocks?: readonly (readonly [type: number, content: Buffer])[]
  /** what STREAMINFO says, where it is not their number */
  readonly total?: number
}

class Bits {
  readonly bytes: number[] = []
  #bit = 0
  put(value: number, length: number): void {
    for (let i = length - 1; i >= 0; i--) {
      if (this.#bit === 0) this.bytes.push(0)
      const one = Math.floor(value / 2 ** i) & 1
      this.bytes[this.bytes.length - 1]! |= one << (7 - this.#bit)
      this.#bit = (this.#bit + 1) & 7
    }
  }
  align(): void {
    this.#bit = 0
  }
}

function crcOf(bytes: readonly number[], polynomial: number, width: 8 | 16): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << (width - 8)
    for (let bit = 0; bit < 8; bit++)
      crc = (crc & (1 << (width - 1)) ? (crc << 1) ^ polynomial : crc << 1) & (2 ** width - 1)
  }
  return crc
}

/** @param samples of each channel, whole numbers within the depth */
export function flacFrames(samples: readonly (readonly number[])[], options: FlacOptions = {}): Buffer {
  const { bits = 16, blockSize = 4096 } = options
  const length = samples[0]!.length
  const frames: Buffer[] = []
  for (let from = 0, number = 0; from < length; from += blockSize, number++) {
    const count = Math.min(blockSize, length - from)
    const out = new Bits()
    out.put(0b1111_1111_1111_1000, 16)
    out.put(7, 4) // 16 bits of block size at the end of the header
    out.put(0, 4) // rate as in STREAMINFO
    out.put(samples.length - 1, 4)
    out.put(0, 3) // depth as in STREAMINFO
    out.put(0, 1)
    out.put(number < 128 ? number : 0xc0 | (number >> 6), 8)
    if (number >= 128) out.put(0x80 | (number & 63), 8)
    out.put(count - 1, 16)
    out.put(crcOf(out.bytes, 0x07, 8), 8)
    for (const channel of samples) {
      out.put(0b0000_0010, 8) // verbatim
      for (let i = from; i < from + count; i++)
        out.put(channel[i]! < 0 ? channel[i]! + 2 ** bits : channel[i]!, bits)
    }
    out.align()
    const crc = crcOf(out.bytes, 0x8005, 16)
    frames.push(Buffer.from([...out.bytes, crc >> 8, crc & 255]))
  }
  return Buffer.concat(frames)
}

export function flac(samples: readonly (readonly number[])[], options: FlacOptions = {}): Buffer {
  const { bits = 16, sampleRate = 8000, blockSize = 4096, blocks = [] } = options
  const info = new Bits()
  info.put(blockSize, 16)
  info.put(blockSize, 16)
  info.put(0, 48)
  info.put(sampleRate, 20)
  info.put(samples.length - 1, 3)
  info.put(bits - 1, 5)
  info.put(options.total ?? samples[0]!.length, 36)
  const all = [[0, Buffer.concat([Buffer.from(info.bytes), Buffer.alloc(16)])] as const, ...blocks]
  return Buffer.concat([
    latin('fLaC'),
    ...all.map(([type, content], i) =>
      Buffer.concat([Buffer.from([type | (i === all.length - 1 ? 128 : 0)]), be(content.length, 3), content]),
    ),
    flacFrames(samples, options),
  ])
}

/** A tone, as whole numbers of a depth. */
export const tone = (samples: number, bits: number, level = 0.5): number[] =>
  Array.from({ length: samples }, (_, i) =>
    Math.round(level * (2 ** (bits - 1) - 1) * Math.sin((2 * Math.PI * 440 * i) / 8000)),
  )
