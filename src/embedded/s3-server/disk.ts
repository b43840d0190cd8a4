/**
 * What the server knows, in memory for as long as it runs; the bytes of objects in files of their own, named by a
 * counter, never by key.
 */
import { once } from 'node:events'
import {
  closeSync,
  createWriteStream,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  type WriteStream,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import type { Algorithm } from './checksums.ts'
import { SortedKeys } from './keys.ts'

/** A run of bytes of a blob. Objects share blobs (a copy, a completed upload's parts): blobs never change. */
export type Segment = readonly [blob: number, offset: number, length: number]

/** Of the whole object: those that are made of checksums of parts are not kept here. */
export interface Checksum {
  algorithm: Algorithm
  /** base64 */
  value: string
}

export interface Version {
  id: string
  /** ms since the epoch, whole seconds */
  time: number
  deleteMarker?: true
  size: number
  /** without quotes */
  etag: string
  /** response headers stored with the object: content-type, cache-control, ..., x-amz-storage-class */
  headers: Record<string, string>
  /** without `x-amz-meta-` */
  meta: Record<string, string>
  tags?: Record<string, string>
  checksum?: Checksum
  segments: Segment[]
}

export interface Entry {
  readonly key: string
  /** newest first; never empty while it is in the bucket */
  versions: Version[]
}

type Versioning = 'Enabled' | 'Suspended' | undefined

export interface Bucket {
  readonly name: string
  readonly region: string
  readonly created: number
  versioning: Versioning
  /** sub-resources stored as the documents they came as */
  documents: Map<string, string>
  entries: SortedKeys<Entry>
  /** Conditional writes under way, by key: a delete that gets in between makes them answer 409. */
  writers: Map<string, Set<{ disturbed: boolean }>>
}

export interface Part {
  number: number
  size: number
  etag: string
  time: number
  checksum?: Checksum
  segments: Segment[]
}

export interface Upload {
  id: string
  bucket: string
  key: string
  started: number
  headers: Record<string, string>
  meta: Record<string, string>
  tags?: Record<string, string>
  algorithm?: Algorithm
  parts: Map<number, Part>
}

/** What a completed upload became, remembered so that a repeated Complete gets the same answer. */
interface Completed {
  bucket: string
  key: string
  version: Version
}

const rememberedCompletions = 1000
/** Bytes that are read at a time. */
const pieceSize = 1 << 20

export class Disk {
  readonly buckets = new Map<string, Bucket>()
  readonly uploads = new Map<string, Upload>()
  readonly completed = new Map<string, Completed>()
  readonly #dir: string
  #nextBlob = 1
  /** Versions, parts and running readers that need a blob. */
  readonly #uses = new Map<number, number>()

  /** @param dir for the bytes; made when it is not there */
  constructor(dir: string) {
    this.#dir = dir
    mkdirSync(dir, { recursive: true })
  }

  addBucket(name: string, region: string, created: number): Bucket {
    const bucket: Bucket = {
      name,
      region,
      created,
      versioning: undefined,
      documents: new Map(),
      entries: new SortedKeys(),
      writers: new Map(),
    }
    this.buckets.set(name, bucket)
    return bucket
  }

  dropBucket(name: string): void {
    for (const upload of this.uploads.values()) if (upload.bucket === name) this.forgetUpload(upload.id)
    this.buckets.delete(name)
  }

  /** Makes a version the newest of its key. @param upload what it was until now */
  put(bucket: Bucket, key: string, version: Version, upload?: Upload): void {
    this.hold(version.segments)
    let entry = bucket.entries.get(key)
    if (!entry) {
      entry = { key, versions: [] }
      bucket.entries.add(entry)
    }
    if (version.id === 'null') this.#dropVersion(entry, 'null')
    entry.versions.unshift(version)
    if (!upload) return
    this.forgetUpload(upload.id)
    this.completed.set(upload.id, { bucket: bucket.name, key, version })
    if (this.completed.size > rememberedCompletions)
      this.completed.delete(this.completed.keys().next().value!)
  }

  remove(bucket: Bucket, key: string, version: string): void {
    const entry = bucket.entries.get(key)
    if (!entry) return
    this.#dropVersion(entry, version)
    if (entry.versions.length === 0) bucket.entries.remove(key)
  }

  #dropVersion(entry: Entry, id: string): void {
    const at = entry.versions.findIndex(v => v.id === id)
    if (at === -1) return
    const [gone] = entry.versions.splice(at, 1)
    this.release(gone!.segments)
  }

  addPart(upload: Upload, part: Part): void {
    this.hold(part.segments)
    const before = upload.parts.get(part.number)
    upload.parts.set(part.number, part)
    if (before) this.release(before.segments)
  }

  forgetUpload(id: string): void {
    const upload = this.uploads.get(id)
    if (!upload) return
    this.uploads.delete(id)
    for (const part of upload.parts.values()) this.release(part.segments)
  }

  /** Keeps the blobs until {@link release}, whatever happens to the objects. */
  hold(segments: readonly Segment[]): void {
    for (const [blob] of segments) this.#uses.set(blob, (this.#uses.get(blob) ?? 0) + 1)
  }

  release(segments: readonly Segment[]): void {
    for (const [blob] of segments) {
      const uses = (this.#uses.get(blob) ?? 0) - 1
      if (uses > 0) this.#uses.set(blob, uses)
      else {
        this.#uses.delete(blob)
        rmSync(this.#path(blob), { force: true })
      }
    }
  }

  /** Gives up blobs that nothing refers to. */
  drop(segments: readonly Segment[]): void {
    this.hold(segments)
    this.release(segments)
  }

  #path(blob: number): string {
    return join(this.#dir, String(blob))
  }

  /** Stores a small body at once: quick system calls are cheaper than a round through the thread pool. */
  writeSmall(body: Buffer): Segment[] {
    if (body.length === 0) return []
    const blob = this.#nextBlob++
    writeFileSync(this.#path(blob), body)
    return [[blob, 0, body.length]]
  }

  startBlob(): BlobWriter {
    const blob = this.#nextBlob++
    return new BlobWriter(blob, this.#path(blob))
  }

  /** A small run of bytes, read at once. */
  readSmall(segments: readonly Segment[], size: number): Buffer {
    const out = Buffer.allocUnsafe(size)
    let at = 0
    for (const [blob, offset, length] of segments) {
      const fd = openSync(this.#path(blob), 'r')
      try {
        for (let done = 0; done < length; ) {
          const n = readSync(fd, out, at + done, length - done, offset + done)
          if (n === 0) throw new Error(`blob ${blob} is shorter than its segment`)
          done += n
        }
      } finally {
        closeSync(fd)
      }
      at += length
    }
    return out
  }

  /** The bytes of the segments in pieces of up to 1 MiB, each a buffer of its own. The caller holds the segments. */
  async *read(segments: readonly Segment[]): AsyncGenerator<Buffer> {
    for (const [blob, offset, length] of segments) {
      const file = await open(this.#path(blob), 'r')
      try {
        for (let done = 0; done < length; ) {
          const piece = Buffer.allocUnsafeSlow(Math.min(pieceSize, length - done))
          const { bytesRead } = await file.read(piece, 0, piece.length, offset + done)
          if (bytesRead === 0) throw new Error(`blob ${blob} is shorter than its segment`)
          done += bytesRead
          yield bytesRead === piece.length ? piece : piece.subarray(0, bytesRead)
        }
      } finally {
        await file.close()
      }
    }
  }
}

/** A body on its way to disk, written by the thread pool while the next bytes are hashed. */
class BlobWriter {
  readonly #blob: number
  readonly #path: string
  readonly #file: WriteStream
  readonly #closed: Promise<void>
  #size = 0

  constructor(blob: number, path: string) {
    this.#blob = blob
    this.#path = path
    this.#file = createWriteStream(path, { highWaterMark: 3 * pieceSize })
    this.#closed = finished(this.#file)
    // The failure is met where the promise is awaited; until then it must not count as unhandled.
    this.#closed.catch(() => {})
  }

  /** @returns a promise to wait for before giving more, when too much is waiting already */
  write(slice: Buffer): Promise<unknown> | undefined {
    this.#size += slice.length
    return this.#file.write(slice) ? undefined : once(this.#file, 'drain')
  }

  async finish(): Promise<Segment[]> {
    this.#file.end()
    await this.#closed
    return [[this.#blob, 0, this.#size]]
  }

  /** Closes and removes what was written. */
  async discard(): Promise<void> {
    this.#file.destroy()
    await this.#closed.catch(() => {})
    rmSync(this.#path, { force: true })
  }
}

/** The part of the segments between two offsets; `end` exclusive, bytes. */
export function sliceSegments(segments: readonly Segment[], start: number, end: number): Segment[] {
  const out: Segment[] = []
  let at = 0
  for (const [blob, offset, length] of segments) {
    const from = Math.max(start, at)
    const to = Math.min(end, at + length)
    if (from < to) out.push([blob, offset + from - at, to - from])
    at += length
    if (at >= end) break
  }
  return out
}
