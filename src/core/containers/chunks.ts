/** Containers of chunks: RIFF/WAVE, RF64, Wave64, AIFF, AIFF-C, AU, CAF, DSF, DSDIFF. */
import { ascii, type ByteSource, uint } from './bytes.ts'
import { type Chunk, mostParts, type PcmLayout, type Sound } from './sound.ts'

/** The sizes that writers of streams leave in a header: none, or the largest, less what they count of the header. */
const isUnknown = (size: number): boolean =>
  size === 0 || (size >= 0xffff_ff00 && size <= 0xffff_ffff) || (size >= 0x7fff_ff00 && size <= 0x7fff_ffff)

interface Walk {
  /** bytes of a chunk's name and of its size */
  readonly name: number
  readonly width: 4 | 8
  readonly little: boolean
  /** Chunks begin at multiples of it. */
  readonly align: number
  /** Whether the size counts the chunk's head. */
  readonly inclusive: boolean
}

const riff: Walk = { name: 4, width: 4, little: true, align: 2, inclusive: false }
const iff: Walk = { ...riff, little: false }
const wideIff: Walk = { ...iff, width: 8 }
const caf: Walk = { ...wideIff, align: 1 }
const w64: Walk = { name: 16, width: 8, little: true, align: 8, inclusive: true }

/** As a chunk stands in the file: `size` is what it claims. */
interface Found extends Chunk {
  readonly size: number
}

async function* walk(file: ByteSource, from: number, to: number, how: Walk): AsyncGenerator<Found> {
  const head = how.name + how.width
  for (let at = from, part = 0; at + head <= to && part < mostParts; part++) {
    const bytes = (await file.read(at, head)).slice()
    if (bytes.length < head) return
    const claimed = uint(bytes, how.name, how.width, how.little)
    const size = how.inclusive ? Math.max(0, claimed - head) : claimed
    yield { id: ascii(bytes, 0, 4), start: at + head, end: Math.min(at + head + size, to), size }
    const next = head + size
    at += Math.ceil(next / how.align) * how.align
  }
}

/** What remains of the sound where its chunk claims more than the file holds, or does not know. */
function extent(
  { start, size }: Found,
  end: number,
  unknown: (size: number) => boolean = isUnknown,
): { end: number; promised: number | undefined; cut?: string } {
  if (unknown(size)) return { end, promised: undefined }
  if (start + size <= end) return { end: start + size, promised: size }
  return { end, promised: size, cut: `the file ends ${start + size - end} bytes before its samples do` }
}

interface Format {
  readonly coding: string
  readonly sampleRate: number
  readonly channels: number
  /** bytes of a block of samples, of all channels */
  readonly block: number
  /** samples a channel in it */
  readonly blockSamples: number
  readonly layout: PcmLayout | undefined
}

const sampleSizes = new Set([1, 2, 3, 4, 8])

function layoutOf(
  encoding: PcmLayout['encoding'],
  bytes: number,
  little: boolean,
  channels: number,
  sampleRate: number,
): PcmLayout | undefined {
  if (!sampleSizes.has(bytes) || channels < 1 || sampleRate <= 0) return undefined
  if (encoding === 'float' ? bytes < 4 : bytes === 8) return undefined
  return { encoding, bytes: bytes as PcmLayout['bytes'], little, channels, sampleRate }
}

/** The `fmt ` chunk (RIFF MCI, 1994; WAVE_FORMAT_EXTENSIBLE). */
function waveFormat(bytes: Uint8Array, little: boolean): Format {
  const number = (at: number, length: number): number => uint(bytes, at, length, little)
  const tag = number(0, 2) === 0xfffe && bytes.length >= 26 ? number(24, 2) : number(0, 2)
  const channels = number(2, 2)
  const sampleRate = number(4, 4)
  const block = number(12, 2)
  const bits = number(14, 2)
  const bytesPerSample = block % channels === 0 ? block / channels : Math.ceil(bits / 8)
  const layout =
    tag === 1
      ? layoutOf(bytesPerSample === 1 ? 'unsigned' : 'signed', bytesPerSample, little, channels, sampleRate)
      : tag === 3
        ? layoutOf('float', bytesPerSample, little, channels, sampleRate)
        : tag === 6 || tag === 7
          ? layoutOf(tag === 6 ? 'alaw' : 'ulaw', 1, little, channels, sampleRate)
          : undefined
  const packed = bytes.length >= 20 ? number(18, 2) : 0
  return {
    coding: layout ? 'pcm' : `wave 0x${tag.toString(16)}`,
    sampleRate,
    channels,
    block,
    blockSamples: layout ? 1 : [2, 0x11, 0x31, 0x42].includes(tag) ? packed : 0,
    layout,
  }
}

/** What is known once a format and the place of the samples are. */
function described(
  format: Format | undefined,
  data: { start: number; end: number; promised: number | undefined; cut?: string } | undefined,
  container: { start: number; end: number },
  samples?: number,
): Sound {
  const whole = { start: container.start, end: container.end }
  if (!format)
    return {
      ...whole,
      unusable: data ? 'it does not say what format its samples have' : 'it has no samples',
    }
  const { coding, sampleRate, channels, block, blockSamples, layout } = format
  const about = { ...whole, coding, sampleRate, channels }
  if (!data) return { ...about, unusable: 'it has no samples' }
  const bytes = data.promised ?? data.end - data.start
  const counted = samples ?? Math.floor(bytes / block) * blockSamples
  return {
    ...about,
    duration: counted / sampleRate,
    cut: data.cut,
    pcm: layout && { layout, start: data.start, end: data.end },
  }
}

/** WAVE, RIFX, RF64, BW64 (EBU Tech 3306; ITU-R BS.2088). Chunks behind the samples are read as well. */
export async function readWave(file: ByteSource, start: number, end: number): Promise<Sound> {
  const form = ascii(await file.read(start, 4), 0, 4)
  const how = form === 'RIFX' ? iff : riff
  const wide = form === 'RF64' || form === 'BW64'
  let format: Format | undefined
  let data: (ReturnType<typeof extent> & { start: number }) | undefined
  let samples: number | undefined
  let wideSize: number | undefined
  const texts: Chunk[] = []
  for await (const chunk of walk(file, start + 12, end, how)) {
    if (chunk.id === 'ds64') {
      wideSize = uint(await file.read(chunk.start + 8, 8), 0, 8, true)
    } else if (chunk.id === 'fmt ') {
      format = waveFormat((await file.read(chunk.start, Math.min(chunk.size, 40))).slice(), how.little)
    } else if (chunk.id === 'fact' && format && !format.layout) {
      samples = uint(await file.read(chunk.start, 4), 0, 4, how.little) || undefined
    } else if (chunk.id === 'data') {
      const isWide = wide && wideSize !== undefined && chunk.size === 0xffff_ffff
      const size = isWide ? (wideSize as number) : chunk.size
      // A stream of which nobody wrote the size: all that follows is sound.
      const unknown = !isWide && isUnknown(size) && chunk.start + size !== end
      data ??= { start: chunk.start, ...extent({ ...chunk, size }, end, () => unknown) }
      if (data.end >= end) break
      if (isWide) {
        for await (const behind of walk(file, data.end + (data.end & 1), end, how)) addText(texts, behind)
        break
      }
    } else addText(texts, chunk)
  }
  const sound = { ...described(format, data, { start, end }, samples), texts }
  if (!sound.pcm) return sound
  const coding = await disguised(file, sound.pcm.start, sound.pcm.end)
  if (coding === undefined) return sound
  const unusable = coding === 'wavpack3' ? 'it is packed by a WavPack before version 4' : undefined
  return { ...sound, coding, pcm: undefined, unusable }
}

/** Enough for three bursts of the longest kind. */
const bursts = 65_536
/** What begins a burst of another coding, as samples of 16 bits: IEC 61937-1, 6.1; ETSI TS 102 114, of 16 and 14 bits. */
const syncWords = [
  [[0x72, 0xf8, 0x1f, 0x4e], 'iec61937'],
  [[0xfe, 0x7f, 0x01, 0x80], 'dts'],
  [[0x7f, 0xfe, 0x80, 0x01], 'dts'],
  [[0xff, 0x1f, 0x00, 0xe8], 'dts'],
] as const

/** Another coding that is called plain samples, so that players of CDs and old programs pass it on: it would be noise. */
async function disguised(file: ByteSource, start: number, end: number): Promise<string | undefined> {
  const bytes = Buffer.from(await file.read(start, Math.min(bursts, end - start)))
  if (ascii(bytes, 0, 4) === 'wvpk') return 'wavpack3'
  for (const [word, coding] of syncWords) {
    const sync = Buffer.from(word)
    const places: number[] = []
    for (let at = bytes.indexOf(sync); at !== -1 && places.length < 3; at = bytes.indexOf(sync, at + 1))
      places.push(at)
    const [first, second, third] = places
    if (third! - second! === second! - first!) return coding
  }
  return undefined
}

const textChunks = new Set(['LIST', 'id3 ', 'ID3 ', 'NAME', 'AUTH', 'ANNO', '(c) ', 'info', 'DIIN', 'COMT'])
function addText(texts: Chunk[], { id, start, end }: Chunk): void {
  if (textChunks.has(id) && texts.length < 64) texts.push({ id, start, end })
}

/** Sony's Wave64. */
export async function readWave64(file: ByteSource, start: number, end: number): Promise<Sound> {
  let format: Format | undefined
  let data: (ReturnType<typeof extent> & { start: number }) | undefined
  for await (const chunk of walk(file, start + 40, end, w64)) {
    if (chunk.id === 'fmt ')
      format = waveFormat((await file.read(chunk.start, Math.min(chunk.size, 40))).slice(), true)
    else if (chunk.id === 'data') {
      data = { start: chunk.start, ...extent(chunk, end, size => size === 0 || size > 2 ** 62) }
      break
    }
  }
  return described(format, data, { start, end })
}

/** 80-bit floats of SANE. */
function extended(bytes: Uint8Array, at: number): number {
  const exponent = uint(bytes, at, 2) & 0x7fff
  return uint(bytes, at + 2, 8) * 2 ** (exponent - 16_383 - 63)
}

/** Audio Interchange File Format 1.3 and AIFF-C (draft of 1991). */
export async function readAiff(file: ByteSource, start: number, end: number): Promise<Sound> {
  let format: Format | undefined
  let samples: number | undefined
  let data: (ReturnType<typeof extent> & { start: number }) | undefined
  const texts: Chunk[] = []
  for await (const chunk of walk(file, start + 12, end, iff)) {
    if (chunk.id === 'COMM') {
      const bytes = (await file.read(chunk.start, Math.min(chunk.size, 22))).slice()
      if (bytes.length < 18) continue
      const channels = uint(bytes, 0, 2)
      const bits = uint(bytes, 6, 2)
      const rate = extended(bytes, 8)
      const sampleRate = Number.isFinite(rate) && rate < 2 ** 31 ? Math.round(rate) : 0
      const type = bytes.length >= 22 ? ascii(bytes, 18, 4) : 'NONE'
      const width = Math.ceil(bits / 8)
      const layout = ((): PcmLayout | undefined => {
        switch (type) {
          case 'NONE':
          case 'twos':
          case 'in24':
          case 'in32':
            return layoutOf('signed', width, false, channels, sampleRate)
          case 'sowt':
          case '42ni':
          case '23ni':
            return layoutOf('signed', width, true, channels, sampleRate)
          case 'raw ':
            return layoutOf('unsigned', width, false, channels, sampleRate)
          case 'fl32':
          case 'FL32':
            return layoutOf('float', 4, false, channels, sampleRate)
          case 'fl64':
          case 'FL64':
            return layoutOf('float', 8, false, channels, sampleRate)
          case 'alaw':
          case 'ALAW':
            return layoutOf('alaw', 1, false, channels, sampleRate)
          case 'ulaw':
          case 'ULAW':
            return layoutOf('ulaw', 1, false, channels, sampleRate)
          default:
            return undefined
        }
      })()
      format = {
        coding: layout ? 'pcm' : type.trim(),
        sampleRate,
        channels,
        block: layout ? layout.bytes * channels : 0,
        blockSamples: layout ? 1 : 0,
        layout,
      }
      // IMA's blocks of 64 samples are counted where samples should be.
      if (!layout) samples = uint(bytes, 2, 4) * (type === 'ima4' ? 64 : 1) || undefined
    } else if (chunk.id === 'SSND') {
      const offset = uint(await file.read(chunk.start, 4), 0, 4)
      const from = Math.min(chunk.start + 8 + offset, end)
      const range = extent(chunk, end, size => size <= 8 || isUnknown(size))
      data ??= {
        ...range,
        start: from,
        promised: range.promised === undefined ? undefined : Math.max(0, range.promised - 8 - offset),
      }
    } else addText(texts, chunk)
  }
  return { ...described(format, data, { start, end }, samples), texts }
}

/** Sun's and NeXT's AU (`audio/basic` with a header). */
export async function readAu(file: ByteSource, start: number, end: number): Promise<Sound> {
  const bytes = (await file.read(start, 24)).slice()
  const begin = start + uint(bytes, 4, 4)
  const size = uint(bytes, 8, 4)
  const code = uint(bytes, 12, 4)
  const sampleRate = uint(bytes, 16, 4)
  const channels = uint(bytes, 20, 4)
  const encoding = ({ 1: 'ulaw', 6: 'float', 7: 'float', 27: 'alaw' } as const)[code] ?? 'signed'
  const width = ({ 1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1 } as const)[code] ?? 0
  const layout = layoutOf(encoding, width, false, channels, sampleRate)
  const format: Format = {
    coding: layout ? 'pcm' : `au ${code}`,
    sampleRate,
    channels,
    block: width * channels,
    blockSamples: layout ? 1 : 0,
    layout,
  }
  const range = extent({ id: '', start: begin, end, size }, end)
  return {
    ...described(format, { start: begin, ...range }, { start, end }),
    texts: begin > start + 24 ? [{ id: 'annotation', start: start + 24, end: Math.min(begin, end) }] : [],
  }
}

/** Apple's Core Audio Format, 1.0. */
export async function readCaf(file: ByteSource, start: number, end: number): Promise<Sound> {
  let format: Format | undefined
  let packetFrames = 0
  let samples: number | undefined
  let data: (ReturnType<typeof extent> & { start: number }) | undefined
  const texts: Chunk[] = []
  for await (const chunk of walk(file, start + 8, end, caf)) {
    const bytes = (await file.read(chunk.start, Math.min(chunk.size, 32))).slice()
    if (chunk.id === 'desc' && bytes.length === 32) {
      const view = new DataView(bytes.buffer, bytes.byteOffset)
      const sampleRate = Math.round(view.getFloat64(0))
      const type = ascii(bytes, 8, 4)
      const flags = uint(bytes, 12, 4)
      const channels = uint(bytes, 24, 4)
      const block = uint(bytes, 16, 4)
      packetFrames = uint(bytes, 20, 4)
      const width = block / channels
      const layout =
        type === 'lpcm'
          ? layoutOf(flags & 1 ? 'float' : 'signed', width, (flags & 2) !== 0, channels, sampleRate)
          : type === 'alaw' || type === 'ulaw'
            ? layoutOf(type, 1, false, channels, sampleRate)
            : undefined
      format = {
        coding: layout ? 'pcm' : type.trim(),
        sampleRate,
        channels,
        block,
        blockSamples: packetFrames,
        layout,
      }
    } else if (chunk.id === 'pakt' && bytes.length >= 24) {
      const valid = uint(bytes, 8, 8)
      samples = valid > 0 && valid < 2 ** 53 ? valid : uint(bytes, 0, 8) * packetFrames || undefined
    } else if (chunk.id === 'data') {
      const range = extent(chunk, end, size => size > 2 ** 62 || size < 4)
      data = {
        ...range,
        start: chunk.start + 4,
        promised: range.promised === undefined ? undefined : range.promised - 4,
      }
    } else addText(texts, chunk)
  }
  return { ...described(format, data, { start, end }, samples), texts }
}

/** Sony's DSF 1.01; its ID3 tag is at the end. */
export async function readDsf(file: ByteSource, start: number, end: number): Promise<Sound> {
  const bytes = await file.read(start, 92)
  const tag = uint(bytes, 20, 8, true)
  const channels = uint(bytes, 52, 4, true)
  const sampleRate = uint(bytes, 56, 4, true)
  const samples = uint(bytes, 64, 8, true)
  const dataSize = uint(bytes, 84, 8, true)
  const missing = start + 80 + dataSize - end
  return {
    start,
    end,
    coding: 'dsd',
    channels,
    sampleRate,
    duration: samples / sampleRate,
    cut: missing > 0 ? `the file ends ${missing} bytes before its samples do` : undefined,
    texts: tag > 0 && start + tag < end ? [{ id: 'ID3 ', start: start + tag, end }] : [],
  }
}

/** Philips' DSDIFF 1.5. */
export async function readDsdiff(file: ByteSource, start: number, end: number): Promise<Sound> {
  let sampleRate = 0
  let channels = 0
  let duration: number | undefined
  let cut: string | undefined
  const texts: Chunk[] = []
  for await (const chunk of walk(file, start + 16, end, wideIff)) {
    if (chunk.id === 'PROP') {
      for await (const property of walk(file, chunk.start + 4, chunk.end, wideIff)) {
        const bytes = (await file.read(property.start, 4)).slice()
        if (property.id === 'FS  ') sampleRate = uint(bytes, 0, 4)
        else if (property.id === 'CHNL') channels = uint(bytes, 0, 2)
        else addText(texts, property)
      }
    } else if (chunk.id === 'DSD ' || chunk.id === 'DST ') {
      if (chunk.id === 'DSD ') duration = (chunk.size * 8) / channels / sampleRate
      else {
        for await (const frame of walk(file, chunk.start, chunk.end, wideIff)) {
          const bytes = (await file.read(frame.start, 6)).slice()
          if (frame.id === 'FRTE') duration = uint(bytes, 0, 4) / (uint(bytes, 4, 2) || 75)
          break
        }
      }
      if (chunk.start + chunk.size > end)
        cut = `the file ends ${chunk.start + chunk.size - end} bytes before its samples do`
    } else if (chunk.id === 'DIIN') {
      for await (const info of walk(file, chunk.start, chunk.end, wideIff))
        texts.push({ id: info.id, start: info.start, end: info.end })
    } else addText(texts, chunk)
  }
  return {
    start,
    end,
    coding: 'dsd',
    channels,
    sampleRate,
    duration,
    cut,
    texts,
  }
}
