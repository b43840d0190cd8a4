/**
 * Decoding behind one port: the `ffmpeg` on the PATH if there is one, otherwise WebAssembly decoders from npm.
 * Either hands out planar float PCM in windows as it comes, so a set of three hours needs no more memory than a
 * jingle. The licences of the decoders are in docs/decisions/0060-audio-decoders.md.
 */
import { open } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { largestSample } from '../core/audio/soundness.ts'
import { type ByteSource, inWindows } from '../core/containers/bytes.ts'
import { oggWithoutComments } from '../core/containers/ogg.ts'
import type { AudioContainer } from '../core/content-type.ts'
import { FatalError, toError } from '../errors.ts'
import { type Container, inspect } from './container.ts'
import { byteSource } from './description.ts'
import { FlacDecoder, type FlacFrame, flacStream } from './flac.ts'
import { gated, type PcmFormat, type PcmSink, windowSamples } from './pcm.ts'
import { decodePcm } from './pcm-file.ts'
import { canRun, waveFrom } from './wave-child.ts'

interface DamageReport {
  /** Seconds of audio that came out. */
  readonly decodedDuration: number
  /** What of the sound is missing or garbled, a sentence; undefined for a file all of whose sound is there. */
  readonly damage: string | undefined
  /** The damage, and whatever else is untidy in the file; a sentence each. */
  readonly problems: readonly string[]
}

export interface Decoded extends DamageReport {
  readonly format: PcmFormat
  readonly container: Container
  readonly decoder: Decoder['name']
}

export interface Decoder {
  readonly name: 'ffmpeg' | 'npm'
  /**
   * Decodes the first audio stream of a file into the sink.
   * @throws FatalError with code `audio.empty`, `audio.unknown`, `audio.unsupported` or `audio.undecodable`;
   * TemporaryError `audio.unreadable` where the file cannot be read; the signal's reason when it is aborted.
   */
  readonly decode: (path: string, sink: PcmSink, options: { signal?: AbortSignal }) => Promise<Decoded>
}

const undecodable = (path: string, why: string): FatalError =>
  new FatalError(`no audio could be decoded: ${why}`, { code: 'audio.undecodable', details: { path } })

const unsupported = (path: string, what: string): FatalError =>
  new FatalError(`${what} needs ffmpeg`, { code: 'audio.unsupported', details: { path } })

/** Encoders pad a frame or two at either end; more than this missing is damage, seconds. */
const slackSeconds = 0.25
/** Of codings that count every sample. */
const exactSlack = 0.001
/** Less sound than this in what is left, as a part of the whole, is not a track. */
const leastSound = 0.1

/** What a decoder complained of while it decoded. */
interface Complaints {
  readonly count: number
  readonly first: string
  /** Of the sound itself, not of what stands around it. */
  readonly garbled: { readonly count: number; readonly first: string }
}

const noComplaints: Complaints = { count: 0, first: '', garbled: { count: 0, first: '' } }

/**
 * The one judgement of damage, of `analyze` and of `--check`: sound that is missing, or garbled. Complaints about other
 * things, covers, tags, bytes between two frames, are problems at most.
 *
 * @throws FatalError `audio.undecodable` if next to nothing of what was decoded is sound
 */
function damageReport(
  path: string,
  { cut, kind, codec, duration: promised }: Container,
  decodedDuration: number,
  silenced: number,
  { count, first, garbled }: Complaints,
  remarks: readonly string[] = [],
): DamageReport {
  if (silenced > 0 && decodedDuration - silenced <= leastSound * decodedDuration)
    throw undecodable(path, `it decodes to noise over ${largestSample} times full scale`)
  const slack = codec === 'flac' ? exactSlack : Math.max(slackSeconds, (promised ?? 0) * 0.002)
  const short = promised !== undefined && decodedDuration < promised - slack
  const share =
    promised === undefined
      ? `${decodedDuration.toFixed(1)} s could be decoded`
      : `${decodedDuration.toFixed(1)} s of ${promised.toFixed(1)} s could be decoded`
  const found: string[] = []
  // An MP4 file says how long its sound is; what is cut off behind it is none.
  const isCut = cut !== undefined && (short || promised === undefined || kind !== 'mp4')
  if (isCut) found.push(`truncated: ${cut}; ${share}`)
  else if (short) found.push(`truncated or damaged: ${share}`)
  if (silenced > 0)
    found.push(
      `garbled: it decodes to noise over ${largestSample} times full scale; ${silenced.toFixed(2)} s there were taken for silence`,
    )
  if (garbled.count > 0)
    found.push(
      `garbled: ${garbled.count} decoding error${garbled.count > 1 ? 's' : ''}, the first: ${garbled.first}`,
    )
  const harmless = count - garbled.count
  return {
    decodedDuration,
    damage: found[0],
    problems: [
      ...found,
      ...(harmless > 0 && found.length === 0
        ? [
            `${harmless} decoder warning${harmless > 1 ? 's' : ''} without an effect on the sound, the first: ${first}`,
          ]
        : []),
      ...remarks,
    ],
  }
}

/** Collects samples into windows of at most WINDOW. */
function windows(sink: PcmSink, channels: number): (planes: readonly Float32Array[], length: number) => void {
  return (planes, length) => {
    for (let from = 0; from < length; from += windowSamples) {
      const to = Math.min(length, from + windowSamples)
      sink.push(
        planes.slice(0, channels).map(plane => plane.subarray(from, to)),
        to - from,
      )
    }
  }
}

/** The demuxer of each container. What ffmpeg must not do is take a text for a playlist and fetch what that names. */
const demuxers: Readonly<Record<AudioContainer, string>> = {
  mpeg: 'mp3',
  adts: 'aac',
  flac: 'flac',
  mp4: 'mov',
  ogg: 'ogg',
  wav: 'wav',
  aiff: 'aiff',
  asf: 'asf',
  matroska: 'matroska',
  webm: 'matroska',
  ape: 'ape',
  wavpack: 'wv',
  musepack: 'mpc',
  dsf: 'dsf',
  dff: 'iff',
  caf: 'caf',
  au: 'au',
  amr: 'amr',
  w64: 'w64',
  tta: 'tta',
  tak: 'tak',
  ac3: 'ac3',
  eac3: 'eac3',
  dts: 'dts',
}

/** Those whose checksums ffmpeg looks at only when told to. MPEG audio has some, too, which encoders often get wrong. */
const withChecksums = new Set<AudioContainer>(['flac', 'wavpack', 'tta', 'tak', 'ape'])

/** Both of its versions have demuxers. */
const demuxerOf = ({ kind, codec }: Container): string => (codec === 'musepack8' ? 'mpc8' : demuxers[kind])

/** The decoder that runs `command` (a path, or a name on the PATH) as a child process. */
export function ffmpegDecoder(command = 'ffmpeg'): Decoder {
  return {
    name: 'ffmpeg',
    decode: async (path, sink, { signal }) => {
      signal?.throwIfAborted()
      const container = await inspect(path)
      if (container.sound.pcm) return { ...(await fromPcm(path, container, sink, signal)), decoder: 'ffmpeg' }
      const decoded = await fromProgram(
        { command, args: ffmpegArguments(path, container), path, expected: container.duration },
        container,
        sink,
        signal,
      )
      if (!('nothing' in decoded)) return { ...decoded, decoder: 'ffmpeg' }
      // Some of what it refuses is sound: Ogg Vorbis whose headers come twice, and FLAC of 32 bits before version 6.
      try {
        return await npmDecoder().decode(path, sink, { ...(signal && { signal }) })
      } catch (error) {
        if (!(error instanceof FatalError && error.code.startsWith('audio.un'))) throw error
      }
      // It says so of xHE-AAC, for one, which it knows since 7.1; and of some garbled headers.
      if (/not implemented|Decoder .*not found|Unknown input format/.test(decoded.nothing))
        throw new FatalError(`this ffmpeg does not know ${codecName(container) || 'what is in it'}`, {
          code: 'audio.unsupported',
          cure: 'Install a newer ffmpeg; if that fails too, replace the file with an intact copy.',
          details: { path },
        })
      throw undecodable(path, decoded.nothing)
    },
  }
}

/**
 * The sound alone is shown to ffmpeg, and as what it is: it goes by a file's name as well, and takes tags behind the
 * sound for frames. Its header is bare: metadata in it would have to be read past.
 */
const ffmpegArguments = (path: string, container: Container): string[] => {
  const { sound, size } = container
  const input =
    sound.start > 0 || sound.end < size
      ? `subfile,,start,${sound.start},end,${sound.end},,:file:${path}`
      : `file:${path}`
  return [
    ...['-nostdin', '-hide_banner', '-v', 'error', '-threads', '1'],
    ...(withChecksums.has(container.kind) ? ['-err_detect', 'crccheck'] : []),
    ...['-protocol_whitelist', 'file,pipe,subfile', '-f', demuxerOf(container)],
    ...['-i', input, '-map', '0:a:0', '-vn', '-sn', '-dn', '-map_metadata', '-1', '-map_chapters', '-1'],
    // Not flushed packet by packet: a third of the writes.
    ...[
      '-c:a',
      'pcm_f32le',
      '-threads',
      '1',
      '-flush_packets',
      '0',
      '-fflags',
      '+bitexact',
      '-f',
      'wav',
      'pipe:1',
    ],
  ]
}

/** Decoders of sound that tell of what they could not decode, and Ogg, whose pages have checksums. */
const ofSound =
  /^\[(mp[123](float)?|aac|alac|flac|vorbis|opus|ac3|eac3|dca|wma\w+|ape|wavpack|tta|tak|mpc[78]|amr\w+|speex|truehd|ogg|a frame)/
/** Decoders of covers, and of films. */
const ofPictures =
  /^\[(mjpeg|png|apng|gif|bmp|tiff|webp|h26[345]|hevc|mpeg\w*video|mpeg4|vp[89]|av1|libdav1d|theora)\b/
/** What they say of bytes between two frames, which are not sound. */
const ofRubble =
  /Header missing|Invalid data found|picture|mimetype|\[vorbis\] Overread|Failed to (read|parse)|invalid new backstep|could not (seek|find)|Could not|invalid pts|Estimating|Application provided|timestamps|non monotonically/i

async function fromProgram(
  source: Parameters<typeof waveFrom>[0],
  container: Container,
  sink: PcmSink,
  signal: AbortSignal | undefined,
): Promise<Omit<Decoded, 'decoder'> | { readonly nothing: string }> {
  const gate = gated(sink)
  const isGarbled = (line: string): boolean => ofSound.test(line) && !ofRubble.test(line)
  const { format, samples, errors } = await waveFrom({ ...source, isGarbled }, gate, signal)
  if (!format || samples === 0) {
    const { first } = errors.garbled.count > 0 || ofPictures.test(errors.first) ? errors.garbled : errors
    return { nothing: first || 'it holds no samples' }
  }
  const report = damageReport(source.path, container, samples / format.sampleRate, gate.silenced(), errors)
  return { ...report, format, container }
}

/** Samples that are not compressed need no decoder, whichever there is. */
async function fromPcm(
  path: string,
  container: Container,
  sink: PcmSink,
  signal: AbortSignal | undefined,
): Promise<Omit<Decoded, 'decoder'>> {
  const pcm = container.sound.pcm!
  const gate = gated(sink)
  await using file = await open(path)
  const samples = await decodePcm(file, pcm, gate, container.duration, signal)
  if (samples === 0) throw undecodable(path, 'it holds no samples')
  const { sampleRate, channels } = pcm.layout
  const report = damageReport(path, container, samples / sampleRate, gate.silenced(), noComplaints)
  return { ...report, format: { sampleRate, channels }, container }
}

/** FLAC, native or in Ogg. */
async function fromFlac(
  path: string,
  container: Container,
  sink: PcmSink,
  signal: AbortSignal | undefined,
): Promise<Omit<Decoded, 'decoder'>> {
  await using file = await open(path)
  const source = await byteSource(file)
  const stream = await flacStream(source, container.sound, container.kind === 'ogg')
  if (!stream) throw undecodable(path, 'it has no description of its stream (STREAMINFO)')
  const decoder = new FlacDecoder(stream.info)
  const gate = gated(sink)
  let format: PcmFormat | undefined
  let planes: Float32Array[] = []
  let filled = 0
  let samples = 0
  const remarks: string[] = []
  const deliver = (): void => {
    if (filled === 0) return
    gate.push(filled === windowSamples ? planes : planes.map(plane => plane.subarray(0, filled)), filled)
    samples += filled
    filled = 0
  }
  const take = ({ sampleRate, channels, length, depth }: FlacFrame): void => {
    if (!format) {
      format = { sampleRate, channels: channels.length }
      planes = channels.map(() => new Float32Array(windowSamples))
      gate.start(format, container.duration)
    }
    if (sampleRate !== format.sampleRate || channels.length !== format.channels) {
      if (remarks.length === 0) remarks.push('the format changes in mid-stream; the rest was skipped')
      return
    }
    const scale = 2 ** (1 - depth)
    for (let from = 0; from < length; ) {
      const count = Math.min(windowSamples - filled, length - from)
      for (const [c, plane] of planes.entries()) {
        const channel = channels[c]!
        for (let i = 0; i < count; i++) plane[filled + i] = channel[from + i]! * scale
      }
      filled += count
      from += count
      if (filled === windowSamples) deliver()
    }
  }
  for await (const { bytes, isLast } of stream.pieces) {
    signal?.throwIfAborted()
    for (const frame of decoder.push(bytes, isLast)) take(frame)
  }
  deliver()
  if (!format || samples === 0) throw undecodable(path, 'it holds no samples')
  const garbled = { count: decoder.errors, first: 'frames with a wrong checksum, or garbage between them' }
  const report = damageReport(
    path,
    container,
    samples / format.sampleRate,
    gate.silenced(),
    { count: decoder.errors, first: garbled.first, garbled },
    remarks,
  )
  return { ...report, format, container }
}

/** What the packages @audio/decode-* have in common. */
interface PackageDecoder {
  decode: (chunk: Uint8Array) => { channelData: Float32Array[]; sampleRate: number }
  flush?: () => { channelData: Float32Array[]; sampleRate: number }
  free?: () => void
}

type Loader = () => Promise<PackageDecoder>

/** The package that decodes this; undefined if there is none. */
function loaderFor({ kind, codec }: Container): { load: Loader; vorbisOrder: boolean } | undefined {
  const as = (load: () => Promise<{ decoder: () => unknown }>, vorbisOrder = false) => ({
    load: async () => (await (await load()).decoder()) as PackageDecoder,
    vorbisOrder,
  })
  if (kind === 'mpeg') return as(() => import('@audio/decode-mp3'))
  if (kind === 'ogg' && codec === 'opus') return as(() => import('@audio/decode-opus'), true)
  if (kind === 'ogg' && codec === 'vorbis') return as(() => import('@audio/decode-vorbis'), true)
  // ADPCM: plain samples are read here.
  if (kind === 'wav' && codec.startsWith('wave 0x')) return as(() => import('@audio/decode-wav'))
  return undefined
}

/** A container's coding, as people know it. */
const codecName = ({ codec }: Container): string =>
  ({
    aac: 'AAC',
    alac: 'Apple Lossless',
    mp3: 'MP3',
    ac3: 'AC-3',
    eac3: 'E-AC-3',
    dts: 'DTS',
    dsd: 'DSD',
    iec61937: 'a stream for a digital output (IEC 61937)',
  })[codec] ?? codec

/** A program of its own, because of its licence (docs/decisions/0060-audio-decoders.md). */
const aacProgram = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './aac-program.ts' : './aac-program.js', import.meta.url),
)

async function decodeAac(
  path: string,
  container: Container,
  sink: PcmSink,
  signal: AbortSignal | undefined,
): Promise<Decoded> {
  const { start, end } = container.sound
  const source = {
    command: process.execPath,
    args: [aacProgram, path, `${start}`, `${end}`],
    path,
    expected: container.duration,
  }
  const decoded = await fromProgram(source, container, sink, signal)
  if (!('nothing' in decoded)) return { ...decoded, decoder: 'npm' }
  // Of AAC it knows the main, low complexity and long term prediction profiles, with and without SBR.
  if (/AAC init/.test(decoded.nothing)) throw unsupported(path, 'this form of AAC')
  if (/No AAC/.test(decoded.nothing))
    throw unsupported(path, `${codecName(container) || 'this codec'} in MP4`)
  throw undecodable(path, decoded.nothing)
}

/** Vorbis and Opus order 3 to 8 channels otherwise than WAVE (Vorbis I specification, 4.3.9). */
const vorbisToWave: Record<number, readonly number[]> = {
  3: [0, 2, 1],
  5: [0, 2, 1, 3, 4],
  6: [0, 2, 1, 5, 3, 4],
  7: [0, 2, 1, 6, 5, 3, 4],
  8: [0, 2, 1, 7, 5, 6, 3, 4],
}

const chunkBytes = 64 * 1024

/** What a package is given of a file, some 64 KiB at a time. */
async function* pieces(
  file: ByteSource,
  { kind, sound: { start, end } }: Container,
): AsyncGenerator<Uint8Array> {
  if (kind !== 'ogg') {
    for (let at = start; at < end; at += chunkBytes) yield await file.read(at, Math.min(chunkBytes, end - at))
    return
  }
  let pages: Uint8Array[] = []
  let length = 0
  for await (const page of oggWithoutComments(inWindows(file), start, end)) {
    pages.push(page)
    length += page.length
    if (length < chunkBytes) continue
    yield Buffer.concat(pages)
    pages = []
    length = 0
  }
  yield Buffer.concat(pages)
}

/** What a decoder threw, fit for a user: its own words are of pointers and tables. */
function clauseOf(error: Error): string {
  const isOwn = error.name === 'Error' && error.message.length <= 120 && /^[\w ,.:'()-]+$/.test(error.message)
  return isOwn ? error.message : 'the decoder cannot make sense of its data'
}

/** The decoders from npm: MP3, AAC, Apple Lossless, Ogg Vorbis, Ogg Opus; FLAC and plain samples are decoded here. */
export function npmDecoder(): Decoder {
  return {
    name: 'npm',
    decode: async (path, sink, { signal }) => {
      signal?.throwIfAborted()
      const container = await inspect(path)
      const { kind, codec, sound } = container
      if (sound.pcm) return { ...(await fromPcm(path, container, sink, signal)), decoder: 'npm' }
      if (kind === 'flac' || (kind === 'ogg' && codec === 'flac'))
        return { ...(await fromFlac(path, container, sink, signal)), decoder: 'npm' }
      if (kind === 'mp4' || kind === 'adts') return decodeAac(path, container, sink, signal)
      const loader = loaderFor(container)
      if (!loader) throw unsupported(path, `${codecName(container) || 'sound'} in ${kind}`)
      const decoder = await loader.load()
      const gate = gated(sink)
      let format: PcmFormat | undefined
      let deliver: ReturnType<typeof windows> = () => {}
      let samples = 0
      const remarks: string[] = []
      const take = ({ channelData, sampleRate }: ReturnType<PackageDecoder['decode']>): void => {
        const length = channelData[0]?.length ?? 0
        if (length === 0) return
        if (!format) {
          // The MP3 decoder gives a mono file twice; R 128 would measure that 3 dB louder.
          const channels = container.channels === 1 ? 1 : channelData.length
          format = { sampleRate, channels }
          deliver = windows(gate, channels)
          gate.start(format, container.duration)
        }
        if (channelData.length < format.channels || sampleRate !== format.sampleRate) {
          if (remarks.length === 0) remarks.push('the format changes in mid-stream; the rest was skipped')
          return
        }
        const order = loader.vorbisOrder ? vorbisToWave[format.channels] : undefined
        deliver(order ? order.map(channel => channelData[channel]!) : channelData, length)
        samples += length
      }
      let broken: Error | undefined
      try {
        await using file = await open(path)
        for await (const chunk of pieces(await byteSource(file), container)) {
          signal?.throwIfAborted()
          // Only what the decoder throws is damage; what the sink throws is not.
          let output: ReturnType<PackageDecoder['decode']>
          try {
            output = decoder.decode(chunk)
          } catch (error) {
            broken = toError(error)
            break
          }
          take(output)
        }
        if (!broken && decoder.flush) {
          let output: ReturnType<PackageDecoder['decode']> | undefined
          try {
            output = decoder.flush()
          } catch (error) {
            broken = toError(error)
          }
          if (output) take(output)
        }
      } catch (error) {
        signal?.throwIfAborted()
        throw error
      } finally {
        decoder.free?.()
      }
      signal?.throwIfAborted()
      if (broken && /^Unsupported/.test(broken.message))
        throw unsupported(path, `${codecName(container)} in ${kind}`)
      if (!format || samples === 0) throw undecodable(path, broken ? clauseOf(broken) : 'it holds no samples')
      const garbled = broken
        ? { count: 1, first: `decoding stopped: ${clauseOf(broken)}` }
        : noComplaints.garbled
      const report = damageReport(
        path,
        container,
        samples / format.sampleRate,
        gate.silenced(),
        { ...garbled, garbled },
        remarks,
      )
      return { ...report, format, container, decoder: 'npm' }
    },
  }
}

/** ffmpeg where it runs, the decoders from npm otherwise. */
export async function chooseDecoder(command = 'ffmpeg'): Promise<Decoder> {
  return (await canRun(command, ['-version'])) ? ffmpegDecoder(command) : npmDecoder()
}

/** Decodes a file to nowhere and says what is wrong with it. Throws as `Decoder.decode` does. */
export function checkFile(
  decoder: Decoder,
  path: string,
  options: { signal?: AbortSignal } = {},
): Promise<Decoded> {
  return decoder.decode(path, { start: () => {}, push: () => {} }, options)
}
