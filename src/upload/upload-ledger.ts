/** Multipart uploads in the ledger, so that another run can continue where this one stops. */

import type { Database } from '../db/database.ts'
import {
  adoptUpload,
  forgetUpload,
  openUploads,
  type PartRecord,
  recordParts,
  recordUpload,
  runsAlive,
  type UploadRecord,
} from '../db/ledger.ts'
import { libraryOf } from '../db/library.ts'
import type { ObjectStore } from '../storage/store.ts'

/** Parts confirmed by the server are written so often, milliseconds. */
const partsInterval = 500

/** What is kept of multipart uploads, so that another run can continue them. */
export class UploadLedger {
  readonly #database: Database
  readonly #store: ObjectStore
  readonly #runId: string
  readonly #parts = new Map<string, PartRecord[]>()
  #library: Promise<string | undefined> | undefined
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(database: Database, store: ObjectStore, runId: string) {
    this.#database = database
    this.#store = store
    this.#runId = runId
  }

  /** What objects of this library carry; undefined if the database does not say. */
  library(): Promise<string | undefined> {
    this.#library ??= libraryOf(this.#database.knex)
    return this.#library
  }

  /** Uploads of that key that no other live run owns, with their confirmed parts. */
  async resumable(key: string): Promise<(UploadRecord & { parts: PartRecord[] })[]> {
    const { knex } = this.#database
    const uploads = await openUploads(knex, { bucket: this.#store.bucket, key })
    const known = new Set(uploads.map(one => one.uploadId))
    const owners = uploads.map(({ runId }) => runId)
    const alive = await runsAlive(knex, owners)
    const free = uploads.filter(({ runId }) => runId === this.#runId || !alive.has(runId))
    // Begun, and killed before it was written down: the server knows it, the ledger does not.
    for await (const page of this.#store.listUploads({ prefix: key })) {
      for (const one of page) {
        if (one.key !== key || known.has(one.uploadId) || alive.size > 0) continue
        await this.#store.abortUpload(key, one.uploadId)
      }
    }
    return free
  }

  /** This run continues an upload that another began. */
  async resumed(uploadId: string): Promise<void> {
    await adoptUpload(this.#database.knex, uploadId, this.#runId)
  }

  async begun(upload: Omit<UploadRecord, 'bucket' | 'runId'>): Promise<void> {
    await recordUpload(this.#database.knex, { ...upload, bucket: this.#store.bucket, runId: this.#runId })
  }

  confirmed(uploadId: string, part: PartRecord): void {
    const parts = this.#parts.get(uploadId)
    if (parts) parts.push(part)
    else this.#parts.set(uploadId, [part])
    this.#timer ??= setTimeout(() => void this.#write().catch(() => {}), partsInterval)
  }

  async ended(uploadId: string): Promise<void> {
    this.#parts.delete(uploadId)
    await this.#writing.catch(() => {})
    await forgetUpload(this.#database.knex, uploadId)
  }

  /** Aborts what runs that are dead left behind and nobody went on with: the file is gone, or is another by now. */
  async sweep(): Promise<void> {
    const { knex } = this.#database
    const uploads = await openUploads(knex, { bucket: this.#store.bucket })
    const owners = uploads.map(({ runId }) => runId)
    const alive = await runsAlive(knex, owners)
    for (const { key, uploadId, runId } of uploads) {
      if (runId === this.#runId || alive.has(runId)) continue
      await this.#store.abortUpload(key, uploadId)
      await forgetUpload(knex, uploadId)
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#write().catch(() => {})
  }

  /** What the ledger knows of parts only spares work: the server's own list is what counts. */
  #write(): Promise<void> {
    this.#timer = undefined
    const batches = [...this.#parts]
    this.#parts.clear()
    this.#writing = this.#writing
      .catch(() => {})
      .then(async () => {
        for (const [uploadId, parts] of batches) await recordParts(this.#database.knex, uploadId, parts)
      })
    return this.#writing
  }
}
