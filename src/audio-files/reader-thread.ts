/** The thread behind `readers.ts`. */

import { createHash, type Hash } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  write as fsWrite,
  fsync,
  linkSync,
  lstatSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { promisify } from 'node:util'
import { parentPort } from 'node:worker_threads'
import { crc32 } from 'node:zlib'
import type { AudioFolder } from '../core/audio-path.ts'
import { combineCrc32 } from '../core/crc32.ts'
import { noLinks, openDirect } from '../file-effects.ts'
import { openInTurn } from '../open-files.ts'
import type { ContentHash, SourceFile } from './source.ts'
import {
  blockingDisk,
  type FileIdentity,
  isSameFile,
  LocalFileError,
  type LocalFileProblem,
  openSource,
} from './source.ts'

interface SharedMemory {
  readonly buffer: SharedArrayBuffer
  readonly offset: number
  readonly length: number
}

/** What a reader does, by name. */
export interface ReaderTasks {
  load: {
    readonly request: {
      /** as in the row */
      readonly filePath: string
      readonly audioFolder: AudioFolder
      /** as `openRoot` gave it */
      readonly root: string
      readonly memory: SharedMemory | undefined
      readonly remembered: (ContentHash & FileIdentity) | undefined
    }
    readonly result: { readonly source: SourceFile; readonly content: ContentHash | undefined }
  }
  read: {
    readonly request: {
      readonly descriptor: number
      readonly memory: SharedMemory
      readonly offset: number
    } & Wanted
    readonly result: { readonly size: number; readonly crc32?: number; readonly sha256?: string }
  }
  write: {
    readonly request: {
      readonly file: WritableFile | NewFile
      readonly memory: SharedMemory
      readonly offset: number
    } & Wanted
    readonly result: {
      readonly crc32?: number
      readonly sha256?: string
      /** of a new file, open for reading and writing */
      readonly descriptor: number
    }
  }
  look: {
    readonly request: { readonly path: string }
    readonly result: { readonly isFree: boolean }
  }
  finish: {
    readonly request: { readonly from: string; readonly to: string; readonly descriptor: number }
    readonly result: { readonly end: 'moved' | 'taken' | 'no-links' | 'unsure' | 'another' }
  }
  digest: {
    /** `memory` is what comes next of the hash of that number; undefined: it is at its end */
    readonly request: { readonly hash: number; readonly memory: SharedMemory | undefined }
    /** hex, at the end */
    readonly result: { readonly sha256?: string }
  }
  hash: {
    readonly request: { readonly descriptor: number; readonly partSize: number }
    readonly result: ContentHash & {
      readonly size: number
      /** CRC-32 of each part, in order */
      readonly parts: readonly number[]
    }
  }
}

/** A file that is open for writing. */
export interface WritableFile {
  readonly descriptor: number
  /**
   * the same file opened with `O_DIRECT`, if there is such a thing: whole pages go to the disk from where they are,
   * instead of being copied into the system's cache first, which costs more than all else about receiving them
   */
  readonly direct?: number | undefined
}

/** A file that the writing makes; what an earlier run left of that name goes. */
export interface NewFile {
  readonly path: string
}

/** Which sums of what is read are to be computed. */
export interface Wanted {
  readonly crc32: boolean
  readonly sha256: boolean
}

export type ReaderRequest = {
  [K in keyof ReaderTasks]: {
    readonly id: number
    readonly kind: K
    readonly request: ReaderTasks[K]['request']
  }
}[keyof ReaderTasks]

export type ReaderReply =
  | { readonly id: number; readonly result: ReaderTasks[keyof ReaderTasks]['result'] }
  | {
      readonly id: number
      readonly error: {
        readonly problem?: LocalFileProblem
        readonly message: string
        readonly cure?: string
        readonly code?: string
      }
    }

/** Files smaller than this are not worth a second descriptor, bytes. */
const smallestDirect = 64 * 1024

/** Bytes read and hashed at a time: they fit the second-level cache, where the hashes find what was just read. */
const chunkSize = 256 * 1024

/** The sums asked for of what it is fed. */
class Sums {
  readonly #sha: Hash | undefined
  readonly #withCrc: boolean
  #crc = 0

  constructor(wanted: Wanted) {
    this.#sha = wanted.sha256 ? createHash('sha256') : undefined
    this.#withCrc = wanted.crc32
  }

  update(bytes: Buffer): void {
    this.#sha?.update(bytes)
    if (this.#withCrc) this.#crc = crc32(bytes, this.#crc)
  }

  get crc32(): number {
    return this.#crc
  }

  /** hex; to be taken once, after the last update. undefined: not asked for */
  sha256(): string | undefined {
    return this.#sha?.digest('hex')
  }
}

const bufferOf = ({ buffer, offset, length }: SharedMemory) => Buffer.from(buffer, offset, length)

async function load({ filePath, audioFolder, root, memory, remembered }: ReaderTasks['load']['request']) {
  const source = await openSource(filePath, audioFolder, root, blockingDisk)
  try {
    const { absolute, relative, size, mtimeNs, ctimeNs, inode, device } = source
    const file: SourceFile = { absolute, relative, size, mtimeNs, ctimeNs, inode, device }
    if (memory === undefined || size > memory.length) return { source: file, content: undefined }
    const bytes = bufferOf(memory).subarray(0, size)
    const known = remembered !== undefined && isSameFile(remembered, source) ? remembered : undefined
    const sums = new Sums({ crc32: true, sha256: known === undefined })
    for (let offset = 0; offset < size; offset += chunkSize) {
      const chunk = bytes.subarray(offset, offset + chunkSize)
      await source.read(chunk, offset)
      sums.update(chunk)
    }
    await source.assertUnchanged()
    const trusted = known?.crc32 === sums.crc32 ? known?.sha256 : undefined
    const sha256 = sums.sha256() ?? trusted ?? createHash('sha256').update(bytes).digest('hex')
    return { source: file, content: { sha256, crc32: sums.crc32 } }
  } finally {
    await source.close()
  }
}

function read({ descriptor, memory, offset, ...wanted }: ReaderTasks['read']['request']) {
  const bytes = bufferOf(memory)
  const sums = new Sums(wanted)
  let size = 0
  while (size < bytes.length) {
    const chunk = bytes.subarray(size, size + chunkSize)
    const count = readSync(descriptor, chunk, 0, chunk.length, offset + size)
    if (count === 0) break
    sums.update(chunk.subarray(0, count))
    size += count
  }
  return { size, crc32: wanted.crc32 ? sums.crc32 : undefined, sha256: sums.sha256() }
}

async function write({ file, memory, offset, ...wanted }: ReaderTasks['write']['request']) {
  const bytes = bufferOf(memory)
  const sums = new Sums(wanted)
  for (let size = 0; size < bytes.length; size += chunkSize)
    sums.update(bytes.subarray(size, size + chunkSize))
  const sum = { crc32: wanted.crc32 ? sums.crc32 : undefined, sha256: sums.sha256() }
  if (!('path' in file)) {
    await writeInto(file, bytes, offset)
    return { ...sum, descriptor: file.descriptor }
  }
  const descriptor = await openNew(file.path)
  try {
    const direct = bytes.length < smallestDirect ? undefined : openDirect(descriptor)
    try {
      await writeInto({ descriptor, direct }, bytes, offset)
    } finally {
      if (direct !== undefined) closeSync(direct)
    }
  } catch (error) {
    closeSync(descriptor)
    throw error
  }
  return { ...sum, descriptor }
}

async function openNew(file: string): Promise<number> {
  const openIt = (): Promise<number> => openInTurn(() => openSync(file, 'wx+', 0o644))
  try {
    return await openIt()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  unlinkSync(file)
  return openIt()
}

async function writeInto({ descriptor, direct }: WritableFile, bytes: Buffer, offset: number): Promise<void> {
  const written = direct === undefined || offset % page !== 0 ? 0 : await writePages(direct, bytes, offset)
  for (let done = written; done < bytes.length; )
    done += writeSync(descriptor, bytes, done, bytes.length - done, offset + done)
}

/** What direct writes are cut to, bytes: a multiple of any disk's blocks. */
const page = 4096

/**
 * Writes whole pages past the system's cache. The disk is waited for by another thread where that takes longer than
 * asking one: this one hashes in the meantime.
 *
 * @returns bytes written; the file system may refuse, or stop at any of them
 */
async function writePages(direct: number, bytes: Buffer, offset: number): Promise<number> {
  const whole = bytes.length - (bytes.length % page)
  let done = 0
  try {
    while (done < whole) {
      const count =
        whole - done < chunkSize
          ? writeSync(direct, bytes, done, whole - done, offset + done)
          : (await writeLater(direct, bytes, done, whole - done, offset + done)).bytesWritten
      done += count
      if (count === 0 || count % page !== 0) break
    }
  } catch (error) {
    // Memory or file that this disk cannot write from or to directly: the usual way can, or says what is wrong.
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
  }
  return done
}

const writeLater = promisify(fsWrite)
const syncLater = promisify(fsync)

/** Whether nothing at all has a name. */
function look({ path }: ReaderTasks['look']['request']) {
  try {
    return { isFree: lstatSync(path, { throwIfNoEntry: false }) === undefined }
  } catch {
    return { isFree: false }
  }
}

/** Has a file on the disk, gives it its last name, and closes it, whatever comes of that. */
async function finish(request: ReaderTasks['finish']['request']): Promise<ReaderTasks['finish']['result']> {
  try {
    await syncLater(request.descriptor)
    return move(request)
  } finally {
    closeSync(request.descriptor)
  }
}

/** The calls of the file system that giving a name needs. */
const namingDisk = {
  fstat: (descriptor: number) => fstatSync(descriptor, { bigint: true }),
  lstat: (name: string) => lstatSync(name, { bigint: true, throwIfNoEntry: false }),
  link: linkSync,
  unlink: unlinkSync,
}

/**
 * {@link moveIfFree} of a file that is open, as far as there are hard links.
 *
 * @returns `unsure`: the name is there, and only its content tells whose file it is: some file systems (many on FUSE)
 *   number every name by itself. The name before is there, too
 */
export function move(
  { from, to, descriptor }: ReaderTasks['finish']['request'],
  disk = namingDisk,
): ReaderTasks['finish']['result'] {
  const isOne = (a: ReturnType<typeof disk.lstat>, b: ReturnType<typeof disk.lstat>): boolean =>
    a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev
  const own = disk.fstat(descriptor)
  const isOwn = (name: string): boolean => isOne(disk.lstat(name), own)
  try {
    disk.link(from, to)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (code === 'EEXIST') return { end: 'taken' }
    if (code === 'ENOENT') return { end: 'another' }
    if (noLinks.has(code)) return { end: isOwn(from) ? 'no-links' : 'another' }
    throw error
  }
  if (!isOwn(to)) {
    if (isOwn(from)) return { end: 'unsure' }
    // A second name of what another process has put in the draft's place. Anything else there is nothing of ours.
    if (isOne(disk.lstat(from), disk.lstat(to))) disk.unlink(to)
    return { end: 'another' }
  }
  disk.unlink(from)
  return { end: 'moved' }
}

/** Hashes of what comes in pieces, by number. */
const hashes = new Map<number, Hash>()

function digest({ hash: id, memory }: ReaderTasks['digest']['request']) {
  const known = hashes.get(id) ?? createHash('sha256')
  if (memory === undefined) {
    hashes.delete(id)
    return { sha256: known.digest('hex') }
  }
  hashes.set(id, known)
  known.update(bufferOf(memory))
  return {}
}

let scratch: Buffer | undefined

function hash({ descriptor, partSize }: ReaderTasks['hash']['request']) {
  scratch ??= Buffer.allocUnsafeSlow(chunkSize)
  const sha = createHash('sha256')
  const parts: number[] = []
  let whole = 0
  let part = 0
  let filled = 0
  let size = 0
  const endPart = () => {
    parts.push(part)
    whole = combineCrc32(whole, part, filled)
    part = filled = 0
  }
  for (;;) {
    const count = readSync(descriptor, scratch, 0, Math.min(chunkSize, partSize - filled), size)
    if (count === 0) break
    const bytes = scratch.subarray(0, count)
    sha.update(bytes)
    part = crc32(bytes, part)
    filled += count
    size += count
    if (filled === partSize) endPart()
  }
  if (filled > 0) endPart()
  return { size, crc32: whole, parts, sha256: sha.digest('hex') }
}

async function answer(message: ReaderRequest): Promise<ReaderReply> {
  const { id } = message
  try {
    switch (message.kind) {
      case 'load':
        return { id, result: await load(message.request) }
      case 'read':
        return { id, result: read(message.request) }
      case 'write':
        return { id, result: await write(message.request) }
      case 'look':
        return { id, result: look(message.request) }
      case 'finish':
        return { id, result: await finish(message.request) }
      case 'digest':
        return { id, result: digest(message.request) }
      case 'hash':
        return { id, result: hash(message.request) }
    }
  } catch (error) {
    const { message: text, code } = error as NodeJS.ErrnoException
    if (error instanceof LocalFileError)
      return { id, error: { problem: error.problem, message: text, cure: error.cure } }
    return { id, error: { message: text, code } }
  }
}

/** Answers are sent together when they come so soon after each other, milliseconds. */
const patience = 1

/** What waits for the disk in other threads: what follows need not wait for it. */
const waiting: ReadonlySet<ReaderRequest['kind']> = new Set(['write', 'finish'])

let replies: ReaderReply[] = []
let since = 0

/** Sends what there is, at the end of the turn at the latest. */
function reply(one: ReaderReply): void {
  if (replies.length === 0) {
    since = performance.now()
    setImmediate(sendReplies)
  }
  replies.push(one)
  if (performance.now() - since >= patience) sendReplies()
}

function sendReplies(): void {
  if (replies.length > 0) parentPort?.postMessage(replies)
  replies = []
}

parentPort?.on('message', async (messages: readonly ReaderRequest[]) => {
  for (const message of messages) {
    const answered = answer(message).then(reply)
    if (!waiting.has(message.kind)) await answered
  }
})
