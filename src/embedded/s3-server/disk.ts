/**
 * What the server knows, in memory, and how it outlives the process: object bytes in files of their own
 * (`blobs/3f/2a1c`, named by a counter, never by key), everything else as one JSON line per change in
 * `changes.ndjson`.
 *
 * A line of the log is the commit. A line goes out in one write before the answer does, so whatever was answered
 * survives kill -9 (not a power cut: nothing is fsynced). Bytes written before a line that never came are swept at
 * the next start; a torn last line is cut off. At a start the log is rewritten when most of it is history.
 * One server per directory.
 */
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  unlink,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Algorithm, ChecksumType } from './checksums.ts'
import { SortedKeys } from './keys.ts'

/** A run of bytes of a blob. Objects share blobs (a copy, a completed upload's parts): blobs never change. */
export type Segment = readonly [blob: number, offset: number, length: number]

export interface Checksum {
  algorithm: Algorithm
  /** base64, with `-N` when composite */
  value: string
  type: ChecksumType
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
  /** sizes of the parts of a multipart object */
  parts?: number[]
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
  checksumType?: ChecksumType
  parts: Map<number, Part>
}

type StoredUpload = Omit<Upload, 'parts'>

type Change =
  | { do: 'bucket'; name: string; region: string; created: number }
  | { do: 'drop-bucket'; name: string }
  | { do: 'versioning'; bucket: string; status: Versioning }
  | { do: 'document'; bucket: string; name: string; body: string | null }
  | { do: 'put'; bucket: string; key: string; version: Version; upload?: string }
  | { do: 'remove'; bucket: string; key: string; version: string }
  | { do: 'tags'; bucket: string; key: string; version: string; tags: Record<string, string> }
  | { do: 'upload'; upload: StoredUpload }
  | { do: 'part'; upload: string; part: Part }
  | { do: 'abort'; upload: string }

/** What a completed upload became, remembered so that a repeated Complete gets the same answer. */
interface Completed {
  bucket: string
  key: string
  version: Version
}

const rememberedCompletions = 1000
const writeBatch = 1 << 20

export class Disk {
  readonly buckets = new Map<string, Bucket>()
  readonly uploads = new Map<string, Upload>()
  readonly completed = new Map<string, Completed>()
  readonly #dir: string
  #log: number
  #nextBlob = 1
  readonly #folders = new Set<number>()
  /** Versions, parts and running readers that need a blob. */
  readonly #uses = new Map<number, number>()
  #replaying = true
  #unlinking = 0
  #idle: (() => void) | undefined

  /** Reads the state in `dir`, which is made when it is not there. */
  constructor(dir: string) {
    this.#dir = dir
    mkdirSync(join(dir, 'blobs'), { recursive: true })
    const path = join(dir, 'changes.ndjson')
    this.#log = openSync(path, 'a+')
    const lines = this.#replay()
    this.#replaying = false
    this.#sweep()
    let live = 0
    for (const _ of this.#snapshot()) live++
    if (lines > 1000 && lines > 2 * live) this.#compact(path)
  }

  async close(): Promise<void> {
    closeSync(this.#log)
    if (this.#unlinking > 0) {
      await new Promise<void>(resolve => {
        this.#idle = resolve
      })
    }
  }

  /** Makes a change lasting, then real. Returns once it is in the log. */
  commit(change: Change): void {
    writeSync(this.#log, `${JSON.stringify(change)}\n`)
    this.#apply(change)
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
        if (!this.#replaying) this.#unlink(blob)
      }
    }
  }

  /** Gives up blobs that no change refers to. */
  drop(segments: readonly Segment[]): void {
    this.hold(segments)
    this.release(segments)
  }

  path(blob: number): string {
    return join(this.#dir, 'blobs', (blob >>> 10).toString(16), (blob & 1023).toString(16))
  }

  #newBlob(): number {
    const blob = this.#nextBlob++
    const folder = blob >>> 10
    if (!this.#folders.has(folder)) {
      mkdirSync(join(this.#dir, 'blobs', folder.toString(16)), { recursive: true })
      this.#folders.add(folder)
    }
    return blob
  }

  /** Stores a small body at once: three quick system calls are cheaper than a round through the thread pool. */
  writeSmall(body: Buffer): Segment[] {
    if (body.length === 0) return []
    const blob = this.#newBlob()
    const fd = openSync(this.path(blob), 'w')
    try {
      for (let done = 0; done < body.length; ) done += writeSync(fd, body, done)
    } finally {
      closeSync(fd)
    }
    return [[blob, 0, body.length]]
  }

  async startBlob(): Promise<BlobWriter> {
    const blob = this.#newBlob()
    return new BlobWriter(blob, this.path(blob), await open(this.path(blob), 'w'))
  }

  /** A small run of bytes, read at once. */
  readSmall(segments: readonly Segment[], size: number): Buffer {
    const out = Buffer.allocUnsafe(size)
    let at = 0
    for (const [blob, offset, length] of segments) {
      const fd = openSync(this.path(blob), 'r')
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
      const file = await open(this.path(blob), 'r')
      try {
        for (let done = 0; done < length; ) {
          const piece = Buffer.allocUnsafeSlow(Math.min(writeBatch, length - done))
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

  #apply(change: Change): void {
    switch (change.do) {
      case 'bucket':
        this.buckets.set(change.name, {
          name: change.name,
          region: change.region,
          created: change.created,
          versioning: undefined,
          documents: new Map(),
          entries: new SortedKeys(),
          writers: new Map(),
        })
        return
      case 'drop-bucket':
        for (const upload of this.uploads.values()) {
          if (upload.bucket === change.name) this.#apply({ do: 'abort', upload: upload.id })
        }
        this.buckets.delete(change.name)
        return
      case 'versioning':
        this.#bucket(change.bucket).versioning = change.status
        return
      case 'document': {
        const { documents } = this.#bucket(change.bucket)
        if (change.body === null) documents.delete(change.name)
        else documents.set(change.name, change.body)
        return
      }
      case 'put': {
        const bucket = this.#bucket(change.bucket)
        const { version } = change
        this.hold(version.segments)
        let entry = bucket.entries.get(change.key)
        if (!entry) {
          entry = { key: change.key, versions: [] }
          bucket.entries.add(entry)
        }
        if (version.id === 'null') this.#dropVersion(entry, 'null')
        entry.versions.unshift(version)
        if (change.upload !== undefined) {
          this.#forgetUpload(change.upload)
          this.completed.set(change.upload, { bucket: change.bucket, key: change.key, version })
          if (this.completed.size > rememberedCompletions) {
            this.completed.delete(this.completed.keys().next().value!)
          }
        }
        return
      }
      case 'remove': {
        const bucket = this.#bucket(change.bucket)
        const entry = bucket.entries.get(change.key)
        if (!entry) return
        this.#dropVersion(entry, change.version)
        if (entry.versions.length === 0) bucket.entries.remove(change.key)
        return
      }
      case 'tags': {
        const entry = this.#bucket(change.bucket).entries.get(change.key)
        const version = entry?.versions.find(v => v.id === change.version)
        if (version) version.tags = change.tags
        return
      }
      case 'upload':
        this.uploads.set(change.upload.id, { ...change.upload, parts: new Map() })
        return
      case 'part': {
        const upload = this.uploads.get(change.upload)
        if (!upload) return
        this.hold(change.part.segments)
        const before = upload.parts.get(change.part.number)
        upload.parts.set(change.part.number, change.part)
        if (before) this.release(before.segments)
        return
      }
      case 'abort':
        this.#forgetUpload(change.upload)
    }
  }

  #bucket(name: string): Bucket {
    const bucket = this.buckets.get(name)
    if (!bucket) throw new Error(`the log names a bucket that is not there: ${name}`)
    return bucket
  }

  #dropVersion(entry: Entry, id: string): void {
    const at = entry.versions.findIndex(v => v.id === id)
    if (at === -1) return
    const [gone] = entry.versions.splice(at, 1)
    this.release(gone!.segments)
  }

  #forgetUpload(id: string): void {
    const upload = this.uploads.get(id)
    if (!upload) return
    this.uploads.delete(id)
    for (const part of upload.parts.values()) this.release(part.segments)
  }

  #unlink(blob: number): void {
    this.#unlinking++
    unlink(this.path(blob), () => {
      if (--this.#unlinking === 0) this.#idle?.()
    })
  }

  /** @returns lines read */
  #replay(): number {
    const chunk = Buffer.allocUnsafeSlow(4 << 20)
    let pending = Buffer.alloc(0)
    let position = 0
    let lines = 0
    for (;;) {
      const n = readSync(this.#log, chunk, 0, chunk.length, position + pending.length)
      if (n === 0) break
      const text = pending.length > 0 ? Buffer.concat([pending, chunk.subarray(0, n)]) : chunk.subarray(0, n)
      let from = 0
      for (let to = text.indexOf(10, from); to !== -1; to = text.indexOf(10, from)) {
        this.#apply(JSON.parse(text.toString('utf8', from, to)))
        lines++
        from = to + 1
      }
      position += from
      pending = Buffer.from(text.subarray(from))
    }
    if (pending.length > 0) ftruncateSync(this.#log, position)
    return lines
  }

  /** Removes blobs nothing refers to; afterwards the counter is past every blob there is. */
  #sweep(): void {
    const root = join(this.#dir, 'blobs')
    for (const folder of readdirSync(root)) {
      const high = Number.parseInt(folder, 16)
      this.#folders.add(high)
      for (const name of readdirSync(join(root, folder))) {
        const blob = high * 1024 + Number.parseInt(name, 16)
        if (blob >= this.#nextBlob) this.#nextBlob = blob + 1
        if (!this.#uses.has(blob)) unlinkSync(join(root, folder, name))
      }
    }
  }

  *#snapshot(): Generator<Change> {
    for (const { name, region, created, versioning, documents, entries } of this.buckets.values()) {
      yield { do: 'bucket', name, region, created }
      if (versioning) yield { do: 'versioning', bucket: name, status: versioning }
      for (const [document, body] of documents) yield { do: 'document', bucket: name, name: document, body }
      for (const { key, versions } of entries.values()) {
        for (let i = versions.length; i-- > 0; ) yield { do: 'put', bucket: name, key, version: versions[i]! }
      }
    }
    for (const { parts, ...upload } of this.uploads.values()) {
      yield { do: 'upload', upload }
      for (const part of parts.values()) yield { do: 'part', upload: upload.id, part }
    }
  }

  #compact(path: string): void {
    const fresh = `${path}.new`
    const fd = openSync(fresh, 'w')
    let batch = ''
    for (const change of this.#snapshot()) {
      batch += `${JSON.stringify(change)}\n`
      if (batch.length > writeBatch) {
        writeSync(fd, batch)
        batch = ''
      }
    }
    writeSync(fd, batch)
    closeSync(fd)
    renameSync(fresh, path)
    closeSync(this.#log)
    this.#log = openSync(path, 'a')
  }
}

/** A body on its way to disk: slices gather to 1 MiB and are written by the thread pool while the next ones hash. */
export class BlobWriter {
  readonly #blob: number
  readonly #path: string
  readonly #file: FileHandle
  #batch: Buffer[] = []
  #batchBytes = 0
  #size = 0
  #position = 0
  #writing: Promise<void> = Promise.resolve()
  #queued = 0

  constructor(blob: number, path: string, file: FileHandle) {
    this.#blob = blob
    this.#path = path
    this.#file = file
  }

  /** @returns a promise to wait for before giving more, when too much is waiting already */
  write(slice: Buffer): Promise<void> | undefined {
    this.#batch.push(slice)
    this.#batchBytes += slice.length
    this.#size += slice.length
    if (this.#batchBytes < writeBatch) return undefined
    this.#flush()
    return this.#queued >= 3 ? this.#writing : undefined
  }

  #flush(): void {
    const batch = this.#batch
    const at = this.#position
    this.#position += this.#batchBytes
    this.#batch = []
    this.#batchBytes = 0
    if (batch.length === 0) return
    this.#queued++
    this.#writing = this.#writing.then(async () => {
      let rest = batch
      let position = at
      while (rest.length > 0) {
        const { bytesWritten } = await this.#file.writev(rest, position)
        position += bytesWritten
        let skip = bytesWritten
        let i = 0
        while (i < rest.length && skip >= rest[i]!.length) skip -= rest[i++]!.length
        rest = rest.slice(i)
        if (skip > 0) rest[0] = rest[0]!.subarray(skip)
      }
      this.#queued--
    })
    // The failure is met where the promise is awaited; until then it must not count as unhandled.
    this.#writing.catch(() => {})
  }

  async finish(): Promise<Segment[]> {
    this.#flush()
    await this.#writing
    await this.#file.close()
    return [[this.#blob, 0, this.#size]]
  }

  /** Closes and removes what was written. */
  async discard(): Promise<void> {
    await this.#writing.catch(() => {})
    await this.#file.close().catch(() => {})
    await new Promise<void>(resolve => unlink(this.#path, () => resolve()))
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
