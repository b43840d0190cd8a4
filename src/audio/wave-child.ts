/** Decoders that are programs of their own: children that write a WAVE stream of 32-bit floats to their stdout. */
import { spawn } from 'node:child_process'
import { FatalError, systemErrorCode, toError } from '../errors.ts'
import { type PcmFormat, type PcmSink, windowSamples } from './pcm.ts'

interface Source {
  readonly command: string
  readonly args: readonly string[]
  /** The file that it decodes; complaints do not repeat it. */
  readonly path: string
  /** Seconds that the container promises. */
  readonly expected: number | undefined
  /** Whether a line of its complaints says that sound is garbled; all do by default. */
  readonly isGarbled?: (line: string) => boolean
}

interface ErrorLines {
  readonly count: number
  readonly first: string
}

interface WaveResult {
  /** Undefined if nothing came. */
  readonly format: PcmFormat | undefined
  /** Samples a channel. */
  readonly samples: number
  /** What the child complained of, and what of that is about the sound itself. */
  readonly errors: ErrorLines & { readonly garbled: ErrorLines }
}

/**
 * Runs the child and hands its samples to the sink in windows. What it exits with does not count: a damaged file is
 * decoded as far as it goes.
 *
 * @throws FatalError `audio.decoder-missing`; what the sink throws; the signal's reason. The child is gone then.
 */
export function waveFrom(
  { command, args, path, expected, isGarbled = () => true }: Source,
  sink: PcmSink,
  signal: AbortSignal | undefined,
): Promise<WaveResult> {
  return new Promise<WaveResult>((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true })
    const errors = { count: 0, first: '', garbled: { count: 0, first: '' } }
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
          .replace(/subfile,,start,\d+,end,\d+,,:/, '')
          .replace(`file:${path}`, 'file')
          .trim()
        if (message === '') continue
        for (const lines of isGarbled(message) ? [errors, errors.garbled] : [errors]) {
          lines.count++
          lines.first ||= message
        }
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
      // A variable of its own: the loop would look up the outer one for every sample.
      const from = interleaved
      for (let c = 0; c < channels; c++) {
        const plane = planes[c]!
        for (let i = 0, k = c; i < length; i++, k += channels) plane[i] = from[k]!
      }
      sink.push(length === windowSamples ? planes : planes.map(plane => plane.subarray(0, length)), length)
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
        if (format) {
          take(chunk)
          discard(chunk)
          return
        }
        header = Buffer.concat([header, chunk])
        const parsed = waveHeader(header)
        if (!parsed) {
          if (header.length <= longestHeader) return
          throw new FatalError(`the output of ${command} is not a WAVE stream`, {
            code: 'audio.undecodable',
            cure: 'Install another version of ffmpeg, or leave it out of the PATH.',
            details: { path },
          })
        }
        format = parsed.format
        planes = Array.from({ length: format.channels }, () => new Float32Array(windowSamples))
        interleaved = new Float32Array(windowSamples * format.channels)
        bytes = new Uint8Array(interleaved.buffer)
        sink.start(format, expected)
        take(header.subarray(parsed.data))
      } catch (error) {
        fail(error)
      }
    })
    child.on('error', error => {
      failure ??=
        systemErrorCode(error) === 'ENOENT'
          ? new FatalError(`${command} was not found`, { code: 'audio.decoder-missing' })
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
      else resolve({ format, samples, errors })
    })
  })
}

/**
 * Frees a chunk now. Left to the collector, which sees how little heap they take and not their 64 KiB each, hundreds of
 * them lie about, and the next is never in the cache.
 */
function discard({ buffer, byteLength }: Buffer): void {
  if (buffer.byteLength === byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0)
}

/** Bytes in which the samples must have begun. ffmpeg is told to write no metadata before them. */
const longestHeader = 2 ** 20

/** Format of a WAVE stream of float samples and where its data begins; undefined until enough has arrived. */
function waveHeader(head: Buffer): { format: PcmFormat; data: number } | undefined {
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

/** Whether a program is there and ends well with these arguments. */
export function canRun(command: string, args: readonly string[]): Promise<boolean> {
  return new Promise(resolve => {
    const child = spawn(command, args, { stdio: 'ignore', windowsHide: true })
    child.on('error', () => resolve(false))
    child.on('close', code => resolve(code === 0))
  })
}
