/** A local audio file as HTTP serves it. Opened by the same rules as for an upload: never outside the audio folder. */
import path from 'node:path'
import { Readable } from 'node:stream'
import { openRoot, openSource, type Source } from '../audio-files/source.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import { type AudioType, detectAudio } from '../core/content-type.ts'

export interface ServedFile {
  /** bytes */
  readonly size: number
  readonly etag: string
  readonly lastModified: Date
  readonly contentType: string
  /** without the dot, from the content; from the name if the content is unknown */
  readonly extension: string
  /** The bytes from `start` to `end`, inclusive; closes the file when it ends, however it ends. */
  stream(start: number, end: number): Readable
  close(): Promise<void>
}

type ServedType = Pick<AudioType, 'contentType' | 'extension'>

/** Bytes read at a time: a few milliseconds of disk, and memory that a thousand listeners can afford. */
const chunkSize = 128 * 1024
/** Types remembered; a type is looked for anew when size, time or inode of the file change. */
const maxTypes = 10_000

/**
 * Milliseconds in which a reader has to take a chunk: 2 KiB a second. A player at rest asks again from where it was; one
 * that reads a byte now and then would hold file and connection for as long as it likes.
 */
const slowestChunk = 60_000

/**
 * @returns how to open a track's file; it throws LocalFileError if there is none to serve
 * @param options.slowestChunkMs for tests
 */
export function createFileOpener(
  audioFolder: AudioFolder,
  { slowestChunkMs = slowestChunk }: { slowestChunkMs?: number } = {},
): (filePath: string) => Promise<ServedFile> {
  const types = new Map<string, ServedType>()

  return async filePath => {
    // Resolved each time: the folder may be a mount that comes and goes.
    const root = await openRoot(audioFolder.root)
    const source = await openSource(filePath, audioFolder, root)
    try {
      const identity = `${source.device}-${source.inode}-${source.size}-${source.mtimeNs}`
      const type = types.get(identity) ?? (await typeOf(source))
      if (types.size >= maxTypes) types.delete(types.keys().next().value as string)
      types.set(identity, type)
      return {
        size: source.size,
        etag: `"${source.size.toString(16)}-${source.mtimeNs.toString(16)}-${source.inode.toString(16)}"`,
        lastModified: new Date(Number(source.mtimeNs / 1_000_000n)),
        contentType: type.contentType,
        extension: type.extension,
        stream: (start, end) => streamOf(source, start, end, slowestChunkMs),
        close: () => source.close(),
      }
    } catch (error) {
      await source.close()
      throw error
    }
  }
}

/** Ends, with its file, when a chunk is not taken in time. */
function streamOf(source: Source, start: number, end: number, slowestChunkMs: number): Readable {
  const stream = Readable.from(read(source, start, end, waiting), { objectMode: false, highWaterMark: 1 })
  let timer: NodeJS.Timeout | undefined
  function waiting(isWaiting: boolean): void {
    clearTimeout(timer)
    if (isWaiting) timer = setTimeout(() => stream.destroy(), slowestChunkMs).unref()
  }
  return stream
}

/** @param waiting told when a chunk lies ready, and when it was taken */
async function* read(
  source: Source,
  start: number,
  end: number,
  waiting: (isWaiting: boolean) => void,
): AsyncGenerator<Buffer> {
  try {
    for (let at = start; at <= end; at += chunkSize) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(chunkSize, end + 1 - at))
      await source.read(chunk, at)
      waiting(true)
      yield chunk
      waiting(false)
    }
  } finally {
    waiting(false)
    await source.close()
  }
}

async function typeOf(source: Source): Promise<ServedType> {
  const detected = await detectAudio({
    size: source.size,
    read: async (offset, length) => {
      const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, source.size - offset)))
      await source.read(bytes, offset)
      return bytes
    },
  })
  if (detected) return detected
  const named = path.extname(source.relative).slice(1).toLowerCase()
  return {
    contentType: 'application/octet-stream',
    extension: /^[a-z0-9]{1,8}$/.test(named) ? named : 'bin',
  }
}
