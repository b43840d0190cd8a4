/** The commit of what was uploaded, and multipart uploads that are under way. */
import type { Knex } from 'knex'
import { type BulkColumn, slices, unnest } from '../bulk.ts'
import { type ChangeOutcome, changeUnlockedTracks, type PlannedTrack } from '../tracks.ts'
import { int8, int8Time, storable } from '../values.ts'
import { type ObjectRecord, upsertObjects } from './objects.ts'

/** A track whose object is in the bucket, its checksum confirmed by the server. */
export interface UploadedTrack {
  planned: PlannedTrack
  object: ObjectRecord
}

/**
 * Writes a batch of uploads in one transaction: the tracks (`s3_object_key`, `file_source` S3, `file_size`;
 * `file_path` stays) and the objects.
 *
 * A track whose row changed since it was planned is left alone (`changed`), one whose row is gone (`deleted`) leaves
 * its object an orphan; both objects are in the ledger, where reconcile finds them. So does one that another
 * transaction has locked (`locked`): it may be committed later.
 *
 * @returns the outcome for each track id
 */
export async function markUploaded(
  knex: Knex,
  batch: { runId: string; tracks: readonly UploadedTrack[] },
): Promise<Map<string, ChangeOutcome | 'locked'>> {
  return knex.transaction(async trx => {
    const outcomes = await changeUnlockedTracks(
      trx,
      batch.tracks.map(({ planned, object }) => ({
        planned,
        fileSource: 'S3',
        fileSize: object.size,
        s3ObjectKey: object.key,
      })),
    )
    await upsertObjects(
      trx,
      batch.tracks.map(({ object }) => ({ ...object, runId: batch.runId })),
    )
    return outcomes
  })
}

export interface UploadRecord {
  bucket: string
  key: string
  uploadId: string
  /** Relative to the audio folder. */
  path: string
  /** Null if the file system's number does not fit 63 bits. */
  inode: bigint | null
  /** Nanoseconds since 1970. */
  mtimeNs: bigint
  /** Bytes. */
  size: number
  /** Hex; null if not known. */
  sha256: string | null
  /** Bytes. */
  partSize: number
  /** What the object will be stored with, JSON; null if not known. */
  headers: string | null
  runId: string | null
}

export interface PartRecord {
  /** 1 to 10,000. */
  partNumber: number
  size: number
  /** Base64 of 4 bytes. */
  crc32: string
  etag: string
}

/** Records a multipart upload that S3 has just begun. */
export async function recordUpload(knex: Knex, upload: UploadRecord): Promise<void> {
  await knex('autodj_ledger.uploads').insert({
    bucket: upload.bucket,
    key: upload.key,
    upload_id: upload.uploadId,
    path: storable(upload.path),
    inode: int8(upload.inode),
    mtime_ns: int8Time(upload.mtimeNs),
    size: upload.size,
    sha256: upload.sha256,
    part_size: upload.partSize,
    headers: upload.headers,
    run_id: upload.runId,
  })
}

/** Records parts that S3 has confirmed. A part sent again replaces the one before. */
export async function recordParts(knex: Knex, uploadId: string, parts: readonly PartRecord[]): Promise<void> {
  const columns: readonly BulkColumn<PartRecord>[] = [
    ['part_number', 'integer', part => part.partNumber],
    ['size', 'bigint', part => part.size],
    ['crc32', 'text', part => part.crc32],
    ['etag', 'text', part => part.etag],
  ]
  for (const slice of slices(parts)) {
    const { sql, bindings } = unnest('u', columns, slice)
    await knex.raw(
      `insert into autodj_ledger.parts (upload_id, part_number, size, crc32, etag)
       select ?::text, part_number, size, crc32, etag from ${sql}
       on conflict (upload_id, part_number) do update set
         size = excluded.size, crc32 = excluded.crc32, etag = excluded.etag`,
      [uploadId, ...bindings],
    )
  }
}

/** Open multipart uploads to a key (or, without one, to the whole bucket), oldest first, with their parts in order. */
export async function openUploads(
  knex: Knex,
  { bucket, key }: { bucket: string; key?: string },
): Promise<(UploadRecord & { createdAt: Date; parts: PartRecord[] })[]> {
  const query = knex('autodj_ledger.uploads').where({ bucket })
  if (key !== undefined) query.where({ key })
  const uploads = await query.orderBy('created_at').orderBy('upload_id')
  if (uploads.length === 0) return []
  const parts = await knex('autodj_ledger.parts')
    .whereRaw('upload_id = any(?::text[])', [uploads.map(upload => upload.upload_id)])
    .orderBy('part_number')
  const byUpload = Map.groupBy(parts, part => part.upload_id as string)
  return uploads.map(row => ({
    bucket: row.bucket,
    key: row.key,
    uploadId: row.upload_id,
    path: row.path,
    inode: row.inode === null ? null : BigInt(row.inode),
    mtimeNs: BigInt(row.mtime_ns),
    size: Number(row.size),
    sha256: row.sha256,
    partSize: Number(row.part_size),
    headers: row.headers,
    runId: row.run_id,
    createdAt: row.created_at,
    parts: (byUpload.get(row.upload_id) ?? []).map(part => ({
      partNumber: part.part_number,
      size: Number(part.size),
      crc32: part.crc32,
      etag: part.etag,
    })),
  }))
}

/** Makes a run the owner of a multipart upload that a dead one left. */
export async function adoptUpload(knex: Knex, uploadId: string, runId: string): Promise<void> {
  await knex('autodj_ledger.uploads').where({ upload_id: uploadId }).update({ run_id: runId })
}

/** Forgets a multipart upload, completed or aborted. */
export async function forgetUpload(knex: Knex, uploadId: string): Promise<void> {
  await knex.transaction(async trx => {
    await trx('autodj_ledger.parts').where({ upload_id: uploadId }).del()
    await trx('autodj_ledger.uploads').where({ upload_id: uploadId }).del()
  })
}
