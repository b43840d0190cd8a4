/**
 * Decoding behind one port: the `ffmpeg` on the PATH where there is one, otherwise WebAssembly decoders from npm.
 * Either hands out planar float PCM in windows as it comes, so a set of three hours needs no more memory than a
 * jingle. The licences of the decoders are in docs/decisions/0060-audio-decoders.md.
 */
import { createReadStream } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { LARGEST_SAMPLE } from '../core/audio/soundness.ts'
import { FatalError, toError } from '../errors.ts'
import { type Container, inspect } from './container.ts'
import { gated, type PcmFormat, type PcmSink, WINDOW } from './pcm.ts'
import { canRun, waveFrom } from './wave-child.ts'

export interface DamageReport {
  /** Seconds of audio that came out. */
  readonly decodedDuration: number
  /** Seconds the container promises, where it does. */
  readonly containerDuration: number | undefined
  /** One sentence for each thing that is wrong; empty for a sound file. */
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
  new FatalError(`no audio could be decoded: ${why}`, {
    code: 'audio.undecodable',
    cure: 'replace the file by a sound copy',
    details: { path },
  })

const unsupported = (path: string, what: string): FatalError =>
  new FatalError(`${what} needs ffmpeg`, {
    code: 'audio.unsupported',
    cure: 'install ffmpeg and see that it is on the PATH',
    details: { path },
  })

/** Encoders pad a frame or two at either end; more than this missing is damage, seconds. */
const SLACK = 0.25

/** What begins a problem that makes an analysis one of less than the track. */
const DAMAGE = /^(truncated|garbled)/

/** The sentence about what is missing from the sound or wrong in it; undefined for a file that is merely untidy. */
export const damageOf = ({ problems }: DamageReport): string | undefined =>
  problems.find(problem => DAMAGE.test(problem))

function damageReport(
  { cut, duration: promised }: Container,
  decodedDuration: number,
  silenced: number,
  complaints: readonly string[],
): DamageReport {
  const short = promised !== undefined && decodedDuration < promised - Math.max(SLACK, promised * 0.002)
  const share =
    promised === undefined
      ? `${decodedDuration.toFixed(1)} s could be decoded`
      : `${decodedDuration.toFixed(1)} s of ${promised.toFixed(1)} s could be decoded`
  const problems = [...complaints]
  if (silenced > 0)
    problems.unshift(
      `garbled: it decodes to noise over ${LARGEST_SAMPLE} times full scale; ${silenced.toFixed(2)} s there were taken for silence`,
    )
  if (cut !== undefined) problems.unshift(`truncated: ${cut}; ${share}`)
  else if (short) problems.unshift(`truncated or damaged: ${share}`)
  return { decodedDuration, containerDuration: promised, problems }
}

/** Collects samples into windows of at most WINDOW. */
function windows(sink: PcmSink, channels: number): (planes: readonly Float32Array[], length: number) => void {
  return (planes, length) => {
    for (let from = 0; from < length; from += WINDOW) {
      const to = Math.min(length, from + WINDOW)
      sink.push(
        planes.slice(0, channels).map(plane => plane.subarray(from, to)),
        to - from,
      )
    }
  }
}

/**
 * Demuxers ffmpeg may use. What it must not do is take a text file for a playlist and fetch what that names.
 */
const DEMUXERS = [
  'aac',
  'ac3',
  'aiff',
  'alac',
  'amr',
  'ape',
  'asf',
  'au',
  'caf',
  'dsf',
  'dts',
  'eac3',
  'flac',
  'matroska',
  'matroska,webm',
  'mov',
  'mov,mp4,m4a,3gp,3g2,mj2',
  'mp3',
  'mpc',
  'mpc8',
  'ogg',
  'tak',
  'tta',
  'w64',
  'wav',
  'wv',
]

/** The decoder that runs `command` (a path, or a name on the PATH) as a child process. */
export function ffmpegDecoder(command = 'ffmpeg'): Decoder {
  return {
    name: 'ffmpeg',
    decode: async (path, sink, { signal }) => {
      signal?.throwIfAborted()
      const container = await inspect(path)
      const decoded = await fromProgram(
        { command, args: ffmpegArguments(path), path, expected: container.duration },
        container,
        sink,
        signal,
      )
      if (!('nothing' in decoded)) return { ...decoded, decoder: 'ffmpeg' }
      // It says so of xHE-AAC, for one, which it knows since 7.1; and of some garbled headers.
      if (/not implemented|Decoder .*not found/.test(decoded.nothing))
        throw new FatalError(`this ffmpeg does not know ${container.codec || 'what is in it'}`, {
          code: 'audio.unsupported',
          cure: 'install a newer ffmpeg; where that fails too, replace the file by a sound copy',
          details: { path },
        })
      throw undecodable(path, decoded.nothing)
    },
  }
}

const ffmpegArguments = (path: string): string[] => [
  ...['-nostdin', '-hide_banner', '-v', 'error', '-threads', '1'],
  ...['-protocol_whitelist', 'file,pipe', '-format_whitelist', DEMUXERS.join(',')],
  ...['-i', `file:${path}`, '-map', '0:a:0', '-vn', '-sn', '-dn'],
  // Not flushed packet by packet: a third of the writes.
  ...['-c:a', 'pcm_f32le', '-threads', '1', '-flush_packets', '0', '-f', 'wav', 'pipe:1'],
]

async function fromProgram(
  source: Parameters<typeof waveFrom>[0],
  container: Container,
  sink: PcmSink,
  signal: AbortSignal | undefined,
): Promise<Omit<Decoded, 'decoder'> | { readonly nothing: string }> {
  const gate = gated(sink)
  const { format, samples, errors } = await waveFrom(source, gate, signal)
  if (!format || samples === 0) return { nothing: errors.first || 'it holds no samples' }
  const { count, first } = errors
  const found = count > 0 ? [`${count} decoding error${count > 1 ? 's' : ''}, the first: ${first}`] : []
  const report = damageReport(container, samples / format.sampleRate, gate.silenced(), found)
  return { ...report, format, container }
}

/** What the packages @audio/decode-* have in common. */
interface PackageDecoder {
  decode: (chunk: Uint8Array) => { channelData: Float32Array[]; sampleRate: number }
  flush?: () => { channelData: Float32Array[]; sampleRate: number }
  free?: () => void
}

type Loader = () => Promise<PackageDecoder>

/** The package that decodes this; undefined where there is none. */
function loaderFor({ kind, codec }: Container): { load: Loader; vorbisOrder: boolean } | undefined {
  const as = (load: () => Promise<{ decoder: () => unknown }>, vorbisOrder = false) => ({
    load: async () => (await (await load()).decoder()) as PackageDecoder,
    vorbisOrder,
  })
  if (kind === 'flac' || (kind === 'ogg' && /flac/i.test(codec)))
    return as(() => import('@audio/decode-flac'))
  if (kind === 'mpeg') return as(() => import('@audio/decode-mp3'))
  if (kind === 'ogg' && /opus/i.test(codec)) return as(() => import('@audio/decode-opus'), true)
  if (kind === 'ogg' && /vorbis/i.test(codec)) return as(() => import('@audio/decode-vorbis'), true)
  if (kind === 'wav') return as(() => import('@audio/decode-wav'))
  if (kind === 'aiff') return as(() => import('@audio/decode-aiff'))
  return undefined
}

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
  const source = { command: process.execPath, args: [aacProgram, path], path, expected: container.duration }
  const decoded = await fromProgram(source, container, sink, signal)
  if (!('nothing' in decoded)) return { ...decoded, decoder: 'npm' }
  // Of AAC it knows the main, low complexity and long term prediction profiles, with and without SBR.
  if (/AAC init failed/.test(decoded.nothing)) throw unsupported(path, 'this form of AAC')
  if (/No AAC/.test(decoded.nothing)) throw unsupported(path, `${container.codec || 'this codec'} in MP4`)
  throw undecodable(path, decoded.nothing)
}

/** Vorbis and Opus order 3 to 8 channels otherwise than WAVE (Vorbis I specification, 4.3.9). */
const VORBIS_TO_WAVE: Record<number, readonly number[]> = {
  3: [0, 2, 1],
  5: [0, 2, 1, 3, 4],
  6: [0, 2, 1, 5, 3, 4],
  7: [0, 2, 1, 6, 5, 3, 4],
  8: [0, 2, 1, 7, 5, 6, 3, 4],
}

const CHUNK = 64 * 1024

/** More than the longest header of a FLAC frame (RFC 9639, 9.1). */
const FLAC_HEADER = 20

/**
 * Cuts a FLAC stream so that no frame header is split: what looks like the beginning of one near the end of a piece
 * goes to the next. @audio/decode-flac 1.3.5 overlooks a header that is split, and keeps one frame more to itself from
 * there on, which nothing gets out of it at the end.
 */
async function* betweenFlacHeaders(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let kept: Buffer = Buffer.alloc(0)
  for await (const piece of pieces) {
    const bytes = kept.length > 0 ? Buffer.concat([kept, piece]) : piece
    let cut = bytes.length
    for (let at = Math.max(0, bytes.length - FLAC_HEADER); at < bytes.length; at++)
      if (bytes[at] === 0xff && (at + 1 === bytes.length || (bytes[at + 1]! & 0xfe) === 0xf8)) {
        cut = at
        break
      }
    kept = bytes.subarray(cut)
    if (cut > 0) yield bytes.subarray(0, cut)
  }
  if (kept.length > 0) yield kept
}

/** The decoders from npm: MP3, FLAC, AAC, Apple Lossless, Ogg Vorbis, Ogg Opus, WAVE and AIFF. */
export function npmDecoder(): Decoder {
  return {
    name: 'npm',
    decode: async (path, sink, { signal }) => {
      signal?.throwIfAborted()
      const container = await inspect(path)
      if (container.kind === 'mp4' || container.kind === 'adts')
        return decodeAac(path, container, sink, signal)
      const loader = loaderFor(container)
      if (!loader) throw unsupported(path, `${container.codec || 'sound'} in ${container.kind}`)
      const decoder = await loader.load()
      const gate = gated(sink)
      let format: PcmFormat | undefined
      let deliver: ReturnType<typeof windows> = () => {}
      let samples = 0
      const problems: string[] = []
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
          if (problems.length === 0)
            problems.push('the format changes within the stream; the rest was left out')
          return
        }
        const order = loader.vorbisOrder ? VORBIS_TO_WAVE[format.channels] : undefined
        deliver(order ? order.map(channel => channelData[channel]!) : channelData, length)
        samples += length
      }
      let broken: Error | undefined
      try {
        const stream = createReadStream(path, { highWaterMark: CHUNK, signal }) as AsyncIterable<Buffer>
        for await (const chunk of container.kind === 'flac' ? betweenFlacHeaders(stream) : stream) {
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
      if (broken?.message === 'Not a WAV file') throw unsupported(path, 'this form of WAVE (RF64)')
      if (!format || samples === 0) throw undecodable(path, broken?.message ?? 'it holds no samples')
      if (broken) problems.push(`decoding stopped: ${broken.message}`)
      const report = damageReport(container, samples / format.sampleRate, gate.silenced(), problems)
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
