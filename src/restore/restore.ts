/** One object back to a local file: downloaded beside its place, its checksum compared, and only then given its name. */

import { createHash, randomBytes } from 'node:crypto'
import { closeSync } from 'node:fs'
import { constants, lstat, mkdir, open, realpath } from 'node:fs/promises'
import { userInfo } from 'node:os'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { type FileContent, hashOfFile, holdsContent } from '../audio-files/content-proof.ts'
import type { Download, Downloader, DownloaderOptions, Draft } from '../audio-files/downloader.ts'
import type { Readers } from '../audio-files/readers.ts'
import { localFileError } from '../audio-files/source.ts'
import { type AudioFolder, isOutside, readStoredPath } from '../core/audio-path.ts'
import { encodeCrc32 } from '../core/crc32.ts'
import { draftPrefix } from '../core/prefixes.ts'
import { type ErrorCode, usualCure } from '../error-codes.ts'
import {
  ExitCode,
  FatalError,
  ItemError,
  systemErrorCode,
  systemErrorReason,
  systemRefusal,
  toError,
} from '../errors.ts'
import { announceEffects, moveIfFree, removeIfThere, syncFolder, writeWhole } from '../file-effects.ts'
import { openInTurn } from '../open-files.ts'
import type { Requests } from '../storage/requests.ts'
import { archiveCure } from '../storage/s3-errors.ts'
import { type ObjectHead, type ObjectStore, StoreError } from '../storage/store.ts'

interface RestoreTarget {
  key: string
  /** where the file goes, absolute */
  file: string
  /** SHA-256 the ledger knows of the object, hex */
  sha256?: string | undefined
  /** bytes it is thought to have */
  size?: number | undefined
}

export type RestoreOutcome =
  | { state: 'restored' | 'there-already'; head: ObjectHead }
  | { state: 'failed'; code: ErrorCode; reason: string; cure: string }

/** What the bytes of an object must come to; undefined if nothing is known. */
interface Expected {
  algorithm: 'sha256' | 'crc32' | 'md5'
  value: string
}

/** What restoring objects takes, and what it has in hand: one for a batch of them. */
export class RestoreBatch {
  readonly #store: ObjectStore
  readonly #downloader: Downloader
  /** what all files must lie below, absolute: no link may lead out of it */
  readonly #root: string
  readonly #threads: Readers
  /** a download has its turn; what is on the disk already no longer counts */
  readonly #requests: Pick<Requests, 'inTurn'>
  readonly #signal: AbortSignal
  /** real paths of folders, made and looked at once */
  readonly #folders = new Map<string, Promise<string>>()
  readonly #touched = new Set<string>()

  constructor(
    store: ObjectStore,
    downloader: Downloader,
    root: string,
    {
      threads,
      requests,
      signal,
    }: Pick<DownloaderOptions, 'threads' | 'signal'> & { readonly requests: Pick<Requests, 'inTurn'> },
  ) {
    this.#threads = threads
    this.#requests = requests
    this.#store = store
    this.#downloader = downloader
    this.#root = root
    this.#signal = signal
  }

  /**
   * Downloads an object beside its place, compares its checksum, and only then gives it its name, if nothing has that
   * name: nothing is ever overwritten. A file that is there, with the same content, is as good. Its content is on the
   * disk then; its name, once {@link sync} is through.
   *
   * @throws StoreError, and system errors such as ENOSPC, which concern more than this one object
   */
  async restore(target: RestoreTarget): Promise<RestoreOutcome> {
    try {
      const folder = await this.#folder(path.dirname(target.file))
      const place = path.join(folder, path.basename(target.file))
      if (await this.#threads.isFree(place)) return await this.#download(target, place)
      const head = await this.#store.head(target.key, { signal: this.#signal })
      return head === undefined ? missing() : await this.#compare(head, target, place)
    } catch (error) {
      if (error instanceof ItemError) return fail(error.code, error.message, error.cure)
      if (error instanceof StoreError && error.kind === 'archived') return archived(undefined)
      throw error
    }
  }

  /** Makes the names of all files so far last through a power cut: rows, and then removals of objects, rest on them. */
  async sync(): Promise<void> {
    const folders = [...this.#touched]
    this.#touched.clear()
    await Promise.all(folders.map(syncFolder))
  }

  #folder(wanted: string): Promise<string> {
    const known = this.#folders.get(wanted)
    if (known !== undefined) return known
    const made = makeFolder(wanted, this.#root)
    this.#folders.set(wanted, made)
    made.catch(() => this.#folders.delete(wanted))
    return made
  }

  /** What became of an object in whose place there is something. @throws ItemError if it is another file */
  async #compare(head: ObjectHead, { sha256 }: RestoreTarget, place: string): Promise<RestoreOutcome> {
    if (head.archive !== undefined) return archived(head.archive)
    const real = await realIfThere(place)
    if (real !== undefined && leadsOut(real, await realpath(this.#root))) throw outside(place, this.#root)
    const content = real === undefined ? undefined : await contentAt(real)
    // By the measure of all who let go of a file or an object because the other is there.
    const isSame =
      content !== undefined &&
      (sha256 === undefined || content.sha256 === sha256) &&
      (await holdsContent(this.#store, head, content, this.#signal)) === 'same'
    if (isSame) return { state: 'there-already', head }
    throw taken(place)
  }

  async #download(target: RestoreTarget, place: string): Promise<RestoreOutcome> {
    const { key, sha256 } = target
    // Of a name that the next run gives it too: it takes the place of what a kill has left.
    const id = createHash('sha256').update(`${key}\0${place}`).digest('hex').slice(0, 16)
    const draft = path.join(path.dirname(place), draftPrefix + id)
    const file: Draft = { path: draft }
    let isOurs = true
    try {
      const got = await this.#requests.inTurn(() => this.#fill(file, target))
      if (got === undefined) return missing()
      const { head } = got
      const expected = expectedOf(head, sha256)
      if (expected === undefined) return unproved()
      if ((await sumOf(got, draft, expected.algorithm)) !== expected.value) {
        return fail('restore.corrupt', 'the download does not match the checksum')
      }
      // Someone may have been faster: the application, or another row that leads to the same file.
      const end = await this.#finish(file, place)
      if (end === 'taken') return await this.#compare(head, target, place)
      if (end === 'unsure') {
        this.#touched.add(path.dirname(place))
        const compared = await this.#compare(head, target, place)
        return compared.state === 'failed' ? compared : { state: 'restored', head }
      }
      isOurs = false
      if (end === 'another')
        return fail('file.changed', 'another process has replaced it while it was written')
      this.#touched.add(path.dirname(place))
      return { state: 'restored', head }
    } finally {
      if (file.descriptor !== undefined) closeSync(file.descriptor)
      if (isOurs) await removeIfThere(draft)
    }
  }

  async #fill(file: Draft, { key, sha256, size }: RestoreTarget): Promise<Download | undefined> {
    await announceEffects({ kind: 'write', path: file.path })
    return this.#downloader.fill(key, file, { size, sha256: isSha256(sha256) ? sha256 : undefined })
  }

  /** Onto the disk, then as {@link moveIfFree} does it, in a thread, and only of the file that was written. */
  async #finish(file: Draft, place: string): Promise<'moved' | 'taken' | 'unsure' | 'another'> {
    const { path: draft, descriptor } = file
    await announceEffects(
      { kind: 'sync', path: draft },
      { kind: 'link', path: draft, to: place },
      { kind: 'unlink', path: draft },
    )
    // Theirs to close.
    file.descriptor = undefined
    const end = await this.#threads.finish(draft, place, descriptor!)
    if (end !== 'no-links') return end
    return (await moveIfFree(draft, place)) ? 'moved' : 'taken'
  }
}

/** The sum of what came; its CRC-32 was computed, as no SHA-256 was expected. */
async function sumOf(got: Download, file: string, algorithm: Expected['algorithm']): Promise<string> {
  if (algorithm === 'sha256') return got.sha256
  if (algorithm === 'md5') return hashOfFile('md5', file)
  return encodeCrc32(got.crc32 as number)
}

function missing(): RestoreOutcome {
  return fail('object.missing', 'the object is not in the bucket')
}

function unproved(): RestoreOutcome {
  return fail('restore.no-checksum', 'neither the ledger nor the store has a checksum for it')
}

function archived(state: ObjectHead['archive']): RestoreOutcome {
  const restoring = state === 'restoring' ? ', from which being restored' : ''
  return fail('object.archived', `the object is in an archive storage class${restoring}`, archiveCure)
}

/**
 * Makes a folder below `root`.
 *
 * @returns its real path
 * @throws ItemError if a link leads out of `root`, or something that is no folder is in the way
 */
async function makeFolder(wanted: string, root: string): Promise<string> {
  await mkdir(root, { recursive: true })
  const realRoot = await realpath(root)
  // What already exists may be a link: looked at before anything is made behind it.
  let there = wanted
  for (; there !== root; there = path.dirname(there)) {
    const real = await realIfThere(there)
    if (real === undefined) continue
    if (leadsOut(real, realRoot)) throw outside(there, root)
    break
  }
  await announceEffects({ kind: 'mkdir', path: wanted })
  try {
    await mkdir(wanted, { recursive: true })
  } catch (error) {
    if (!['ENOTDIR', 'EEXIST', 'ELOOP'].includes(systemErrorCode(error) ?? '')) throw error
    throw new ItemError('file.exists', `something that is not a folder is in the way of ${wanted}`)
  }
  const real = await realpath(wanted)
  if (leadsOut(real, realRoot)) throw outside(wanted, root)
  return real
}

/** Undefined if nothing is there; a link that leads nowhere is something. */
async function realIfThere(target: string): Promise<string | undefined> {
  try {
    return await realpath(target)
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) throw error
    const link = await lstat(target).catch(() => undefined)
    // Where it leads is unknown before something is there.
    return link?.isSymbolicLink() ? path.resolve('/') : undefined
  }
}

const leadsOut = (real: string, realRoot: string): boolean => {
  const relative = path.relative(realRoot, real)
  return relative !== '' && isOutside(relative)
}

function outside(where: string, root: string): ItemError {
  return new ItemError(
    'file.refused',
    `${where} is a link that points out of ${root}`,
    'Replace the link with a folder, or restore with --to into another folder.',
  )
}

function taken(file: string): ItemError {
  return new ItemError('file.exists', `another file is at ${file}`)
}

/**
 * A folder that cannot be written to is one error, not one for every track.
 *
 * @throws FatalError, and what a full disk throws
 */
export async function requireWritable(folder: string): Promise<void> {
  const probe = path.join(folder, `${draftPrefix}${randomBytes(8).toString('hex')}`)
  try {
    await mkdir(folder, { recursive: true })
    const handle = await openInTurn(() => open(probe, 'wx', 0o644))
    try {
      await writeWhole({ handle, path: probe }, 'x')
    } finally {
      await handle.close().finally(() => removeIfThere(probe))
    }
  } catch (error) {
    const refusal = systemRefusal(toError(error), folder)
    if (refusal?.exitCode === ExitCode.temporary || refusal?.code === 'system.disk') throw refusal
    throw new FatalError(`cannot write to ${folder}: ${systemErrorReason(error)}`, {
      code: 'restore.unwritable',
      cure: `Make the folder writable for ${userInfo().username}, or restore with --to into another folder.`,
      cause: error,
    })
  }
}

/**
 * Where a track's file goes: where the row says it was, else a path made from the key.
 *
 * @returns undefined if that would lead out of the folder
 */
export function restorePath(
  track: { filePath: string | null; s3ObjectKey: string },
  { folder, audioFolder, keyPrefix }: { folder: string; audioFolder: AudioFolder; keyPrefix: string },
): string | undefined {
  const wanted =
    track.filePath === null ? pathOfKey(track.s3ObjectKey, keyPrefix) : pathOfRow(track.filePath, audioFolder)
  if (wanted === undefined || wanted.includes('\0')) return undefined
  const file = path.resolve(folder, wanted)
  const relative = path.relative(folder, file)
  return relative === '' || isOutside(relative) ? undefined : file
}

function pathOfRow(filePath: string, audioFolder: AudioFolder): string | undefined {
  const stored = readStoredPath(filePath, audioFolder)
  return stored.ok ? stored.readings[0].relative : undefined
}

/** A key without its prefix, as a relative path: the application makes keys with empty parts (`audio//_d6b906c6.mp3`). */
function pathOfKey(key: string, keyPrefix: string): string {
  const below = key.startsWith(keyPrefix) ? key.slice(keyPrefix.length) : key
  return below
    .split('/')
    .map(part => part || '_')
    .join('/')
}

function fail(code: ErrorCode, reason: string, cure = usualCure(code)): RestoreOutcome {
  return { state: 'failed', code, reason, cure }
}

const isSha256 = (text: string | undefined): text is string =>
  text !== undefined && /^[0-9a-f]{64}$/.test(text)

/** The strongest checksum known of the whole object; MD5 only where the ETag is one. */
function expectedOf(head: ObjectHead, proved: string | undefined): Expected | undefined {
  const server = head.checksums.sha256 && Buffer.from(head.checksums.sha256, 'base64').toString('hex')
  const sha256 = proved ?? server ?? head.metadata['sha256']
  if (isSha256(sha256)) return { algorithm: 'sha256', value: sha256 }
  if (head.checksums.crc32 !== undefined) return { algorithm: 'crc32', value: head.checksums.crc32 }
  return /^[0-9a-f]{32}$/.test(head.etag) ? { algorithm: 'md5', value: head.etag } : undefined
}

/** What is at a path; undefined if that is no file. */
async function contentAt(file: string): Promise<Required<FileContent> | undefined> {
  return readWhole(file).catch((error: unknown) => {
    throw localFileError(error, file)
  })
}

async function readWhole(file: string): Promise<Required<FileContent> | undefined> {
  const handle = await openInTurn(() => open(file, constants.O_RDONLY | constants.O_NONBLOCK))
  try {
    if (!(await handle.stat()).isFile()) return undefined
    const hash = createHash('sha256')
    let [size, crc] = [0, 0]
    for await (const chunk of handle.createReadStream({ autoClose: false, highWaterMark: 1 << 20 })) {
      hash.update(chunk)
      crc = crc32(chunk, crc)
      size += chunk.length
    }
    return { size, sha256: hash.digest('hex'), crc32: encodeCrc32(crc) }
  } finally {
    await handle.close()
  }
}
