/**
 * Decoding behind one port: the `ffmpeg` on the PATH where there is one, otherwise WebAssembly decoders from npm.
 * Either hands out planar float PCM in windows as it comes, so a set of three hours needs no more memory than a
 * jingle. The licences of the decoders are in docs/decisions/0060-audio-decoders.md.
 */
import { spawn } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { parseFile } from 'music-metadata'
import { LARGEST_SAMPLE, soundGate } from '../core/audio/soundness.ts'
import { FatalError, systemErrorCode, TemporaryError, toError } from '../errors.ts'

/** Samples a channel in a window, at most. */
export const WINDOW = 16_384

export interface PcmFormat {
  /** Hz, as in the file. */
  readonly sampleRate: number
  /** In WAVE order: L R C LFE Ls Rs. */
  readonly channels: number
}

/** Takes decoded PCM. Arrays are reused: copy what is to be kept. */
export interface PcmSink {
  readonly start: (format: PcmFormat) => void
  readonly push: (channels: readonly Float32Array[], length: number) => void
}

/** What the container says of itself, before anything is decoded. */
export interface Container {
  /** As in `MPEG`, `FLAC`, `Ogg`. */
  readonly container: string
  /** As in `MPEG 1 Layer 3`, `FLAC`, `Vorbis I`. */
  readonly codec: string
  readonly channels: number | undefined
  /** Seconds; undefined where the container does not say. */
  readonly duration: number | undefined
  /** Tempo tag (ID3 TBPM, Vorbis BPM, MP4 tmpo), beats per minute. */
  readonly tagBpm: number | undefined
}

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

/** What the container says; reads headers and tags only. */
export async function inspect(path: string): Promise<Container> {
  const size = await stat(path).then(
    ({ size }) => size,
    (error: unknown) => {
      throw new TemporaryError(
        `the file cannot be read (${systemErrorCode(error) ?? toError(error).message})`,
        {
          code: 'audio.unreadable',
          cure: 'check the path and its permissions',
          details: { path },
          cause: error,
        },
      )
    },
  )
  if (size === 0)
    throw new FatalError('the file is empty', {
      code: 'audio.empty',
      cure: 'replace the file by a sound copy',
      details: { path },
    })
  try {
    const { format, common } = await parseFile(path, { duration: false, skipCovers: true })
    if (!format.container && !format.codec) throw new Error('no container')
    // An MPEG stream without a Xing or VBRI header is measured by its size and first frame: no promise to hold it to.
    const promised = format.container !== 'MPEG' || (await hasFrameCount(path))
    const bpm = common.bpm
    return {
      container: format.container ?? 'unknown',
      codec: format.codec ?? 'unknown',
      channels: format.numberOfChannels,
      duration: promised ? format.duration : undefined,
      tagBpm: bpm !== undefined && bpm > 0 && Number.isFinite(bpm) ? bpm : undefined,
    }
  } catch (error) {
    throw new FatalError('this is no audio file that is known here', {
      code: 'audio.unknown',
      cure: 'replace the file; its content is not what its name says',
      details: { path },
      cause: error,
    })
  }
}

async function readAt(path: string, position: number, length: number): Promise<Buffer> {
  await using file = await open(path)
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await file.read(buffer, 0, length, position)
  return buffer.subarray(0, bytesRead)
}

/** Whether an MPEG stream's first frame states how many follow (Xing, Info or VBRI). */
async function hasFrameCount(path: string): Promise<boolean> {
  const head = await readAt(path, 0, 10)
  const tagged = head.toString('latin1', 0, 3) === 'ID3'
  const tag = tagged
    ? 10 + ((head[6]! & 127) << 21) + ((head[7]! & 127) << 14) + ((head[8]! & 127) << 7) + (head[9]! & 127)
    : 0
  return /Xing|Info|VBRI/.test((await readAt(path, tag, 2048)).toString('latin1'))
}

/** Whether an Ogg file's last page says that the stream ends there (RFC 3533, header type flag 4). */
async function oggEnds(path: string): Promise<boolean> {
  const { size } = await stat(path)
  const length = Math.min(size, 66_000)
  const tail = await readAt(path, size - length, length)
  const page = tail.lastIndexOf('OggS')
  if (page < 0 || page + 27 > tail.length) return false
  const segments = tail[page + 26]!
  let end = page + 27 + segments
  for (let i = 0; i < segments; i++) end += tail[page + 27 + i] ?? 256
  return (tail[page + 5]! & 4) !== 0 && end <= tail.length
}

/** Encoders pad a frame or two at either end; more than this missing is damage. */
const SLACK = 0.25

async function damage(
  path: string,
  container: Container,
  decodedDuration: number,
  found: readonly string[],
): Promise<DamageReport> {
  const problems = [...found]
  const promised = container.duration
  if (promised !== undefined && decodedDuration < promised - Math.max(SLACK, promised * 0.002))
    problems.unshift(
      `truncated or damaged: ${decodedDuration.toFixed(1)} s of ${promised.toFixed(1)} s could be decoded`,
    )
  else if (container.container === 'Ogg' && !(await oggEnds(path)))
    problems.unshift(`truncated: the stream ends without its last page after ${decodedDuration.toFixed(1)} s`)
  return { decodedDuration, containerDuration: promised, problems }
}

/** The sink behind a gate that silences what is no sound, and what is to be said of that, if anything. */
function gated(sink: PcmSink): { sink: PcmSink; problems: () => string[] } {
  const gate = soundGate()
  let rate = 1
  return {
    sink: {
      start: format => {
        rate = format.sampleRate
        sink.start(format)
      },
      push: (channels, length) => {
        gate.pass(channels, length)
        sink.push(channels, length)
      },
    },
    problems: () =>
      gate.silenced() > 0
        ? [
            `garbled: it decodes to noise over ${LARGEST_SAMPLE} times full scale; ${(gate.silenced() / rate).toFixed(2)} s there were taken for silence`,
          ]
        : [],
  }
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
      const gate = gated(sink)
      const { format, samples, errors } = await runFfmpeg(command, path, gate.sink, signal)
      const found = gate.problems()
      if (errors.count > 0)
        found.push(`${errors.count} decoding error${errors.count > 1 ? 's' : ''}, the first: ${errors.first}`)
      const report = await damage(path, container, samples / format.sampleRate, found)
      return { ...report, format, container, decoder: 'ffmpeg' }
    },
  }
}

interface Ffmpeg {
  readonly format: PcmFormat
  readonly samples: number
  readonly errors: { count: number; first: string }
}

function runFfmpeg(
  command: string,
  path: string,
  sink: PcmSink,
  signal: AbortSignal | undefined,
): Promise<Ffmpeg> {
  const args = [
    '-nostdin',
    '-hide_banner',
    '-v',
    'error',
    '-threads',
    '1',
    '-protocol_whitelist',
    'file,pipe',
    '-format_whitelist',
    DEMUXERS.join(','),
    '-i',
    `file:${path}`,
    '-map',
    '0:a:0',
    '-vn',
    '-sn',
    '-dn',
    '-c:a',
    'pcm_f32le',
    '-threads',
    '1',
    '-f',
    'wav',
    'pipe:1',
  ]
  return new Promise<Ffmpeg>((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true })
    const errors = { count: 0, first: '' }
    let failure: Error | undefined
    const fail = (error: unknown): void => {
      failure ??= toError(error)
      child.kill('SIGKILL')
    }
    const onAbort = (): void => fail(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })

    let rest = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!.slice(-2000)
      for (const line of lines) {
        // "[mp3float @ 0x55d0c8] Header missing": the address says nothing.
        const message = line
          .replace(/ @ 0x[0-9a-f]+/, '')
          .replace(`file:${path}`, 'file')
          .trim()
        if (message === '') continue
        errors.count++
        errors.first ||= message
      }
    })

    let header = Buffer.alloc(0)
    let format: PcmFormat | undefined
    let samples = 0
    let planes: Float32Array[] = []
    /** A window of interleaved samples being filled; as bytes, since chunks end anywhere. */
    let interleaved = new Float32Array(0)
    let bytes = new Uint8Array(0)
    let filled = 0
    const deliver = (): void => {
      const { channels } = format!
      const length = Math.floor(filled / (4 * channels))
      if (length === 0) return
      const from = interleaved
      for (let c = 0; c < channels; c++) {
        const plane = planes[c]!
        for (let i = 0, k = c; i < length; i++, k += channels) plane[i] = from[k]!
      }
      sink.push(length === WINDOW ? planes : planes.map(plane => plane.subarray(0, length)), length)
      samples += length
      filled = 0
    }
    const take = (chunk: Buffer): void => {
      let at = 0
      while (at < chunk.length) {
        const count = Math.min(bytes.length - filled, chunk.length - at)
        bytes.set(chunk.subarray(at, at + count), filled)
        filled += count
        at += count
        if (filled === bytes.length) deliver()
      }
    }
    child.stdout.on('data', (chunk: Buffer) => {
      if (failure) return
      try {
        if (format) return take(chunk)
        header = Buffer.concat([header, chunk])
        const parsed = wavHeader(header)
        if (!parsed) return
        format = parsed.format
        planes = Array.from({ length: format.channels }, () => new Float32Array(WINDOW))
        interleaved = new Float32Array(WINDOW * format.channels)
        bytes = new Uint8Array(interleaved.buffer)
        sink.start(format)
        take(header.subarray(parsed.data))
      } catch (error) {
        fail(error)
      }
    })
    child.on('error', error => {
      failure ??=
        systemErrorCode(error) === 'ENOENT'
          ? new FatalError('ffmpeg was not found', {
              code: 'audio.decoder-missing',
              cure: 'install ffmpeg, or leave it out and let the decoders from npm do the work',
            })
          : error
    })
    child.on('close', () => {
      signal?.removeEventListener('abort', onAbort)
      try {
        if (format && !failure) deliver()
      } catch (error) {
        failure = toError(error)
      }
      if (failure) reject(failure)
      else if (!format || samples === 0) reject(undecodable(path, errors.first || 'ffmpeg gave no samples'))
      else resolve({ format, samples, errors })
    })
  })
}

/** Format of a WAVE stream of float samples and where its data begins; undefined until enough has arrived. */
function wavHeader(head: Buffer): { format: PcmFormat; data: number } | undefined {
  let at = 12
  let format: PcmFormat | undefined
  while (at + 8 <= head.length) {
    const id = head.toString('latin1', at, at + 4)
    if (id === 'data') return format && { format, data: at + 8 }
    const size = head.readUInt32LE(at + 4)
    if (id === 'fmt ' && at + 16 <= head.length)
      format = { channels: head.readUInt16LE(at + 10), sampleRate: head.readUInt32LE(at + 12) }
    at += 8 + size + (size & 1)
  }
  return undefined
}

/** What the packages @audio/decode-* have in common. */
interface PackageDecoder {
  decode: (chunk: Uint8Array) => { channelData: Float32Array[]; sampleRate: number }
  flush?: () => { channelData: Float32Array[]; sampleRate: number }
  free?: () => void
}

type Loader = () => Promise<PackageDecoder>

/** The npm decoder of a container and codec as music-metadata names them; undefined where there is none. */
function loaderFor({ container, codec }: Container): { load: Loader; vorbisOrder: boolean } | undefined {
  const as = (load: () => Promise<{ decoder: () => unknown }>, vorbisOrder = false) => ({
    load: async () => (await (await load()).decoder()) as PackageDecoder,
    vorbisOrder,
  })
  if (/^FLAC$/i.test(codec) && container === 'FLAC') return as(() => import('@audio/decode-flac'))
  if (container === 'MPEG' && /layer 3/i.test(codec)) return as(() => import('@audio/decode-mp3'))
  if (container === 'Ogg' && /opus/i.test(codec)) return as(() => import('@audio/decode-opus'), true)
  if (container === 'Ogg' && /vorbis/i.test(codec)) return as(() => import('@audio/decode-vorbis'), true)
  if (container === 'WAVE') return as(() => import('@audio/decode-wav'))
  if (/^AIFF/.test(container)) return as(() => import('@audio/decode-aiff'))
  return undefined
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

/** The decoders from npm: MP3, FLAC, Ogg Vorbis, Ogg Opus, WAVE and AIFF. */
export function npmDecoder(): Decoder {
  return {
    name: 'npm',
    decode: async (path, sink, { signal }) => {
      signal?.throwIfAborted()
      const container = await inspect(path)
      const loader = loaderFor(container)
      if (!loader)
        throw new FatalError(`${container.codec} in ${container.container} needs ffmpeg`, {
          code: 'audio.unsupported',
          cure: 'install ffmpeg and see that it is on the PATH',
          details: { path },
        })
      const decoder = await loader.load()
      let format: PcmFormat | undefined
      let deliver: ReturnType<typeof windows> = () => {}
      let samples = 0
      const gate = gated(sink)
      const problems: string[] = []
      const take = ({ channelData, sampleRate }: ReturnType<PackageDecoder['decode']>): void => {
        const length = channelData[0]?.length ?? 0
        if (length === 0) return
        if (!format) {
          // The MP3 decoder gives a mono file twice; R 128 would measure that 3 dB louder.
          const channels = container.channels === 1 ? 1 : channelData.length
          format = { sampleRate, channels }
          deliver = windows(gate.sink, channels)
          gate.sink.start(format)
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
        for await (const chunk of createReadStream(path, { highWaterMark: CHUNK, signal })) {
          // Only what the decoder throws is damage; what the sink throws is not.
          let output: ReturnType<PackageDecoder['decode']>
          try {
            output = decoder.decode(chunk as Buffer)
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
      if (!format || samples === 0) throw undecodable(path, broken?.message ?? 'it holds no samples')
      problems.push(...gate.problems())
      if (broken) problems.push(`decoding stopped: ${broken.message}`)
      const report = await damage(path, container, samples / format.sampleRate, problems)
      return { ...report, format, container, decoder: 'npm' }
    },
  }
}

/** ffmpeg where it runs, the decoders from npm otherwise. */
export async function chooseDecoder(command = 'ffmpeg'): Promise<Decoder> {
  const runs = await new Promise<boolean>(resolve => {
    const child = spawn(command, ['-version'], { stdio: 'ignore', windowsHide: true })
    child.on('error', () => resolve(false))
    child.on('close', code => resolve(code === 0))
  })
  return runs ? ffmpegDecoder(command) : npmDecoder()
}

/** Decodes a file to nowhere and says what is wrong with it. Throws as `Decoder.decode` does. */
export function checkFile(
  decoder: Decoder,
  path: string,
  options: { signal?: AbortSignal } = {},
): Promise<Decoded> {
  return decoder.decode(path, { start: () => {}, push: () => {} }, options)
}
