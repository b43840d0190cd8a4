/**
 * Files that somebody names: a flag, a setting, a variable. Anything may have the name, so each is read up to a limit, and
 * a pipe or a device to which nobody writes is not waited for without end.
 */
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemErrorCode } from './errors.ts'

/** Settings, keys, certificates, prices: more than this is none of them, bytes. */
export const smallFile = 4 * 1024 ** 2
/** Lists of names, bytes. */
const largeFile = 256 * 1024 ** 2

/** How long a pipe may stay silent, milliseconds. */
const patience = { small: 10_000, large: 60_000 }
/** Between two looks at a silent pipe, milliseconds. */
const pause = 20
const chunkBytes = 64 * 1024

/** Why a file that could be opened is not read; `message` is a reason like a system's: `it has more than 4 MiB`. */
export class NamedFileError extends Error {}

const tooMuch = (most: number): NamedFileError =>
  new NamedFileError(`it has more than ${most / 1024 ** 2} MiB`)
const silent = (milliseconds: number): NamedFileError =>
  new NamedFileError(`nothing has come through it for ${milliseconds / 1_000} s`)
const unwritten = (): NamedFileError => new NamedFileError('it is a pipe to which nobody writes')

const flags = constants.O_RDONLY | constants.O_NONBLOCK

/**
 * The whole of a small file.
 *
 * @throws NamedFileError, or the file system's error
 */
export function readNamedFile(file: string, most = smallFile): Buffer {
  const descriptor = openSync(file, flags)
  try {
    const whole = new Collected(most)
    for (let waited = 0; ; ) {
      let bytes: number
      try {
        bytes = readSync(descriptor, whole.room)
      } catch (error) {
        if (systemErrorCode(error) !== 'EAGAIN') throw error
        if (waited >= patience.small) throw silent(patience.small)
        whole.isAwaited = true
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause)
        waited += pause
        continue
      }
      if (bytes === 0) break
      waited = 0
      whole.add(bytes)
    }
    if (whole.isUnwritten && fstatSync(descriptor).isFIFO()) throw unwritten()
    return whole.content
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Opens what must be a file: a pipe of that name, of whoever may write there, would be waited for without end.
 *
 * @throws NamedFileError for what is no file; the file system's error, `EISDIR` for a folder
 */
export async function openItself(file: string, how: number, mode?: number): Promise<FileHandle> {
  const handle = await open(file, how | constants.O_NONBLOCK, mode)
  const stats = await handle.stat()
  if (stats.isFile()) return handle
  await handle.close()
  // As whoever reads one is told.
  if (stats.isDirectory()) throw Object.assign(new Error(`${file} is a folder`), { code: 'EISDIR' })
  throw new NamedFileError('it is not a file')
}

/**
 * The whole of a file that may be large, or slow to come.
 *
 * @throws NamedFileError, or the file system's error
 */
export async function readNamedList(file: string, most = largeFile): Promise<Buffer> {
  await using handle = await open(file, flags)
  return await readOpen(handle, most)
}

/** A pipe that nobody reads would be waited for without end by whoever opens it to write. @throws `ENXIO` */
export function refuseUnreadPipe(file: string): void {
  if (statSync(file, { throwIfNoEntry: false })?.isFIFO())
    closeSync(openSync(file, constants.O_WRONLY | constants.O_NONBLOCK))
}

/** What is left of an open file. @throws NamedFileError, or the file system's error */
export async function readOpen(handle: FileHandle, most: number): Promise<Buffer> {
  const whole = new Collected(most)
  for (let waited = 0; ; ) {
    let bytesRead: number
    try {
      ;({ bytesRead } = await handle.read(whole.room))
    } catch (error) {
      if (systemErrorCode(error) !== 'EAGAIN') throw error
      if (waited >= patience.large) throw silent(patience.large)
      whole.isAwaited = true
      await sleep(pause)
      waited += pause
      continue
    }
    if (bytesRead === 0) break
    waited = 0
    whole.add(bytesRead)
  }
  if (whole.isUnwritten && (await handle.stat()).isFIFO()) throw unwritten()
  return whole.content
}

/** Of a stream, up to a limit. @throws NamedFileError */
export async function readNamedStream(
  stream: AsyncIterable<Uint8Array | string>,
  most = largeFile,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    chunks.push(Buffer.from(chunk as Uint8Array))
    bytes += chunks.at(-1)?.length ?? 0
    if (bytes > most) throw tooMuch(most)
  }
  return Buffer.concat(chunks)
}

/**
 * The lines of an open file, from its start, without their ends; what follows the last end is one more.
 *
 * @param most bytes a line may have
 * @throws NamedFileError for a longer one; the file system's error
 */
export async function* linesOf(handle: FileHandle, most: number): AsyncGenerator<Buffer> {
  let rest: Buffer[] = []
  let restBytes = 0
  for (let position = 0; ; ) {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, position)
    if (bytesRead === 0) break
    position += bytesRead
    let start = 0
    for (let end = buffer.indexOf(10); end >= 0 && end < bytesRead; end = buffer.indexOf(10, start)) {
      const tail = buffer.subarray(start, end)
      yield rest.length === 0 ? tail : Buffer.concat([...rest, tail])
      rest = []
      restBytes = 0
      start = end + 1
    }
    if (start < bytesRead) rest.push(buffer.subarray(start, bytesRead))
    restBytes += bytesRead - start
    if (restBytes > most) throw new NamedFileError(`it has a line of more than ${most / 1024 ** 2} MiB`)
  }
  if (rest.length > 0) yield Buffer.concat(rest)
}

/** What has been read so far, and room for more. */
class Collected {
  isAwaited = false
  readonly #most: number
  readonly #chunks: Buffer[] = []
  #bytes = 0
  room = Buffer.allocUnsafe(chunkBytes)

  constructor(most: number) {
    this.#most = most
  }

  add(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#most) throw tooMuch(this.#most)
    this.#chunks.push(this.room.subarray(0, bytes))
    this.room = Buffer.allocUnsafe(chunkBytes)
  }

  /** Nothing came, and nobody was waited for. */
  get isUnwritten(): boolean {
    return this.#bytes === 0 && !this.isAwaited
  }

  get content(): Buffer {
    return Buffer.concat(this.#chunks)
  }
}
