/** One object back to a local file: downloaded beside its place, its checksum compared, and only then renamed. */

import { createHash } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { type AudioFolder, isOutside, readStoredPath } from '../core/audio-path.ts'
import { draftPrefix } from '../core/prefixes.ts'
import { systemErrorCode } from '../errors.ts'
import type { ObjectHead, ObjectStore } from '../storage/store.ts'

export interface RestoreTarget {
  key: string
  /** where the file goes, absolute */
  file: string
  /** SHA-256 the ledger knows of the object, hex */
  sha256?: string
}

export type RestoreOutcome =
  | { state: 'restored' | 'there-already'; head: ObjectHead }
  | { state: 'failed'; code: string; reason: string; cure: string }

/** What the bytes of an object must come to; undefined where nothing is known. */
interface Expected {
  algorithm: 'sha256' | 'crc32' | 'md5'
  value: string
}

/**
 * Downloads an object. A file that is there already is kept: when it has the same content all is well, else the object
 * is not restored, since nothing is ever overwritten.
 *
 * @throws StoreError, and system errors such as ENOSPC, which concern more than this one object
 */
export async function restoreObject(
  store: ObjectStore,
  { key, file, sha256 }: RestoreTarget,
  signal: AbortSignal,
): Promise<RestoreOutcome> {
  const head = await store.head(key, { signal })
  if (head === undefined) {
    return fail('object.missing', 'the object is not in the bucket', '`autodj reconcile` finds where it went')
  }
  const expected = expectedOf(head, sha256)
  if (expected === undefined) {
    return fail(
      'restore.no-checksum',
      'neither the ledger nor the store knows a checksum of it',
      'download it by other means, and compare it yourself',
    )
  }
  const existing = await sumOfFile(file, expected.algorithm)
  if (existing !== undefined) {
    if (existing === expected.value) return { state: 'there-already', head }
    return fail(
      'file.exists',
      `another file is at ${file}`,
      'move it away, or restore with --to into another folder',
    )
  }
  const content = await store.get(key, { ifMatch: head.etag, signal })
  if (content === undefined) return fail('object.missing', 'the object went meanwhile', 'run it again')

  await mkdir(path.dirname(file), { recursive: true })
  // Of a name that the next run gives it too: it takes the place of what a kill has left.
  const id = createHash('sha256').update(`${key}\0${file}`).digest('hex').slice(0, 16)
  const draft = path.join(path.dirname(file), draftPrefix + id)
  const handle = await open(draft, 'w', 0o644)
  try {
    const sum = new Sum(expected.algorithm)
    let size = 0
    for await (const chunk of content.body) {
      sum.update(chunk)
      for (let offset = 0; offset < chunk.length; ) {
        offset += (await handle.write(chunk, offset, chunk.length - offset)).bytesWritten
      }
      size += chunk.length
    }
    if (size !== head.size || sum.value() !== expected.value) {
      return fail(
        'restore.corrupt',
        'what arrived does not have the checksum',
        'run it again; `autodj reconcile --deep` tells whether the object itself is damaged',
      )
    }
    await handle.sync()
    await handle.close()
    await rename(draft, file)
    await syncFolder(path.dirname(file))
    return { state: 'restored', head }
  } finally {
    await handle.close().catch(() => {})
    await rm(draft, { force: true })
  }
}

/** Makes a rename last through a power cut: the row, and then the object's removal, rest on it. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  try {
    await handle?.sync()
  } catch {
    // Some file systems, and Windows, cannot.
  } finally {
    await handle?.close()
  }
}

/**
 * Where a track's file goes: where the row says it was, else a path made from the key.
 *
 * @returns undefined where that would lead out of the folder
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

function fail(code: string, reason: string, cure: string): RestoreOutcome {
  return { state: 'failed', code, reason, cure }
}

/** The strongest checksum known of the whole object; MD5 only where the ETag is one. */
function expectedOf(head: ObjectHead, proved: string | undefined): Expected | undefined {
  const server = head.checksums.sha256 && Buffer.from(head.checksums.sha256, 'base64').toString('hex')
  const sha256 = proved ?? server ?? head.metadata['sha256']
  if (sha256 !== undefined && /^[0-9a-f]{64}$/.test(sha256)) return { algorithm: 'sha256', value: sha256 }
  if (head.checksums.crc32 !== undefined) return { algorithm: 'crc32', value: head.checksums.crc32 }
  return /^[0-9a-f]{32}$/.test(head.etag) ? { algorithm: 'md5', value: head.etag } : undefined
}

class Sum {
  private readonly hash: ReturnType<typeof createHash> | undefined
  private crc = 0

  constructor(algorithm: Expected['algorithm']) {
    this.hash = algorithm === 'crc32' ? undefined : createHash(algorithm)
  }

  update(bytes: Uint8Array): void {
    if (this.hash === undefined) this.crc = crc32(bytes, this.crc)
    else this.hash.update(bytes)
  }

  value(): string {
    if (this.hash !== undefined) return this.hash.digest('hex')
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(this.crc)
    return bytes.toString('base64')
  }
}

async function sumOfFile(file: string, algorithm: Expected['algorithm']): Promise<string | undefined> {
  try {
    const handle = await open(file, 'r')
    try {
      const sum = new Sum(algorithm)
      for await (const chunk of handle.createReadStream({ autoClose: false, highWaterMark: 1 << 20 }))
        sum.update(chunk)
      return sum.value()
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined
    throw error
  }
}
