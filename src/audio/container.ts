/** What an audio file says of itself before anything is decoded, and whether all of it is there. */
import { type FileHandle, open } from 'node:fs/promises'
import { parseFile } from 'music-metadata'
import { type AudioContainer, detectAudio } from '../core/content-type.ts'
import { FatalError, systemErrorCode, TemporaryError, toError } from '../errors.ts'

export interface Container {
  /** By the file's bytes, not its name. */
  readonly kind: AudioContainer
  /** As in `MPEG 1 Layer 3`, `FLAC`, `Vorbis I`; empty where the headers are too damaged to say. */
  readonly codec: string
  readonly channels: number | undefined
  /** Seconds that the container promises; undefined where it does not. */
  readonly duration: number | undefined
  /** Tempo tag (ID3 TBPM, Vorbis BPM, MP4 tmpo), beats per minute. */
  readonly tagBpm: number | undefined
  /** Why the file cannot be whole, whatever of it can be decoded: its last part ends beyond the end of the file. */
  readonly cut: string | undefined
}

/**
 * Reads headers and tags only.
 *
 * @throws FatalError `audio.empty`, `audio.unknown`, or `audio.undecodable` for an MP4 file without its index;
 *   TemporaryError `audio.unreadable` where the file cannot be read
 */
export async function inspect(path: string): Promise<Container> {
  let file: FileHandle
  let size: number
  try {
    file = await open(path)
    const stat = await file.stat()
    size = stat.size
    if (!stat.isFile()) {
      await file.close()
      throw new Error('not a regular file')
    }
  } catch (error) {
    throw new TemporaryError(
      `the file cannot be read (${systemErrorCode(error) ?? toError(error).message})`,
      {
        code: 'audio.unreadable',
        cure: 'check the path and its permissions',
        details: { path },
        cause: error,
      },
    )
  }
  try {
    if (size === 0)
      throw new FatalError('the file is empty', {
        code: 'audio.empty',
        cure: 'replace the file by a sound copy',
        details: { path },
      })
    const read = async (position: number, length: number): Promise<Buffer> => {
      const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(length, size - position)))
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
      return buffer.subarray(0, bytesRead)
    }
    const type = await detectAudio({ size, read })
    if (!type)
      throw new FatalError('this is no audio file that is known here', {
        code: 'audio.unknown',
        cure: 'replace the file; its content is not what its name says',
        details: { path },
      })
    const kind = type.container
    const promise = await promiseOf(kind, read, size)
    if (promise.unusable !== undefined)
      throw new FatalError(`no audio could be decoded: ${promise.unusable}`, {
        code: 'audio.undecodable',
        cure: 'replace the file by a sound copy',
        details: { path },
      })
    // It gives up on files that are cut short, which can be decoded all the same.
    const { format, common } = await parseFile(path, { duration: false, skipCovers: true }).catch(() => ({
      format: undefined,
      common: undefined,
    }))
    const bpm = common?.bpm
    const duration = promise.duration ?? format?.duration
    const promised =
      !promise.unpromised && duration !== undefined && Number.isFinite(duration) && duration > 0
    return {
      kind,
      codec: format?.codec ?? '',
      channels: format?.numberOfChannels,
      duration: promised ? duration : undefined,
      tagBpm: bpm !== undefined && bpm > 0 && Number.isFinite(bpm) ? bpm : undefined,
      cut: promise.cut,
    }
  } finally {
    await file.close()
  }
}

type Read = (position: number, length: number) => Promise<Buffer>

interface Promised {
  /** Seconds, where this container's own reader finds out more than the library does. */
  readonly duration?: number
  /** The library's duration is a guess from the file's size: nothing to hold the audio to. */
  readonly unpromised?: boolean
  readonly cut?: string
  readonly unusable?: string
}

async function promiseOf(kind: AudioContainer, read: Read, size: number): Promise<Promised> {
  if (kind === 'mpeg') return { unpromised: !(await hasFrameCount(read)) }
  if (kind === 'adts') return { unpromised: true }
  if (kind === 'ogg')
    return (await oggEnds(read, size)) ? {} : { cut: 'the stream ends without its last page' }
  if (kind === 'wav' || kind === 'aiff') return chunked(read, size)
  return kind === 'mp4' ? boxed(read, size) : {}
}

/** Whether an MPEG stream's first frame states how many follow (Xing, Info or VBRI). */
async function hasFrameCount(read: Read): Promise<boolean> {
  const head = await read(0, 10)
  const tagged = head.length === 10 && head.toString('latin1', 0, 3) === 'ID3'
  const tag = tagged
    ? 10 + ((head[6]! & 127) << 21) + ((head[7]! & 127) << 14) + ((head[8]! & 127) << 7) + (head[9]! & 127)
    : 0
  return /Xing|Info|VBRI/.test((await read(tag, 2048)).toString('latin1'))
}

/** Whether an Ogg file's last page says that the stream ends there (RFC 3533, header type flag 4). */
async function oggEnds(read: Read, size: number): Promise<boolean> {
  const length = Math.min(size, 66_000)
  const tail = await read(size - length, length)
  const page = tail.lastIndexOf('OggS')
  if (page < 0 || page + 27 > tail.length) return false
  const segments = tail[page + 26]!
  let end = page + 27 + segments
  for (let i = 0; i < segments; i++) end += tail[page + 27 + i] ?? 256
  return (tail[page + 5]! & 4) !== 0 && end <= tail.length
}

/** How many chunks or boxes are looked at: a hostile file could hold millions. */
const MOST_PARTS = 4096

/**
 * WAVE and AIFF: whether the chunk of samples ends within the file, and how long it was to be. RF64 and streams
 * (sizes of 0 or all ones) promise nothing.
 */
async function chunked(read: Read, size: number): Promise<Promised> {
  const form = await read(0, 12)
  const big = form.toString('latin1', 0, 4) === 'FORM' || form.toString('latin1', 0, 4) === 'RIFX'
  let bytesPerSecond = 0
  let at = 12
  for (let part = 0; part < MOST_PARTS && at + 8 <= size; part++) {
    const head = await read(at, 24)
    if (head.length < 8) break
    const id = head.toString('latin1', 0, 4)
    const length = big ? head.readUInt32BE(4) : head.readUInt32LE(4)
    if (id === 'fmt ' && head.length >= 20)
      bytesPerSecond = big ? head.readUInt32BE(16) : head.readUInt32LE(16)
    if (id === 'data' || id === 'SSND') {
      if (length === 0 || length === 0xffff_ffff || at + 8 + length <= size) return {}
      const missing = at + 8 + length - size
      return {
        cut: `the file ends ${missing} bytes before its samples do`,
        ...(bytesPerSecond > 0 && { duration: length / bytesPerSecond }),
      }
    }
    at += 8 + length + (length & 1)
  }
  return {}
}

/** MP4: whether the last of its boxes ends within the file, and whether the index is there that all decoding wants. */
async function boxed(read: Read, size: number): Promise<Promised> {
  let indexed = false
  let duration: number | undefined
  let at = 0
  for (let part = 0; part < MOST_PARTS && at + 8 <= size; part++) {
    const head = await read(at, 16)
    if (head.length < 8) break
    const type = head.toString('latin1', 4, 8)
    let length = head.readUInt32BE(0)
    if (length === 1 && head.length === 16) length = Number(head.readBigUInt64BE(8))
    if (length === 0) length = size - at
    if (length < 8) break
    if (type === 'moov' && at + length <= size) {
      indexed = true
      duration = await movieDuration(read, at + 8, at + length)
    }
    if (at + length > size) {
      const cut = `the file ends ${at + length - size} bytes before its last part does`
      return indexed
        ? { cut, ...(duration !== undefined && { duration }) }
        : { unusable: 'the file is truncated before its index (moov), which comes last' }
    }
    at += length
  }
  return indexed ? {} : { unusable: 'its index (moov) is missing' }
}

/** Seconds, from the `mvhd` box within these bounds (ISO/IEC 14496-12, 8.2.2). */
async function movieDuration(read: Read, from: number, to: number): Promise<number | undefined> {
  for (let at = from, part = 0; at + 8 <= to && part < MOST_PARTS; part++) {
    const head = await read(at, 44)
    const length = head.length >= 8 ? head.readUInt32BE(0) : 0
    if (length < 8) return undefined
    if (head.toString('latin1', 4, 8) === 'mvhd' && head.length === 44) {
      const wide = head[8] === 1
      const scale = head.readUInt32BE(wide ? 28 : 20)
      const ticks = wide ? Number(head.readBigUInt64BE(32)) : head.readUInt32BE(24)
      return scale > 0 && ticks > 0 ? ticks / scale : undefined
    }
    at += length
  }
  return undefined
}
