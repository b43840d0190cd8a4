/** What is known of each object: size, checksums, and when it was uploaded, verified and served. */
import type { Knex } from 'knex'
import { type BulkColumn, slices, unnest } from '../bulk.ts'
import { together } from '../together.ts'
import { holdable, storable } from '../values.ts'

/** What is known of an object. Undefined says nothing: the ledger keeps what it has. */
export interface ObjectRecord {
  bucket: string
  key: string
  /** Bytes. */
  size: number
  /** Lower-case hex. */
  sha256?: string | undefined
  /** Base64 of 4 bytes. */
  crc32?: string
  /** Base64 of 8 bytes. */
  crc64nvme?: string
  etag?: string
  versionId?: string
  contentType?: string | undefined
  uploadedAt?: Date
  verifiedAt?: Date
  servedAt?: Date
  localDeletedAt?: Date
  edge?: string
  cacheHit?: boolean
  latencyMs?: number
  /** Why the last check failed. Unlike the others it is always written: left out means that it did not fail. */
  lastError?: string
  runId?: string
}

const objectColumns: readonly BulkColumn<ObjectRecord>[] = [
  ['bucket', 'text', object => object.bucket],
  ['key', 'text', object => object.key],
  ['size', 'bigint', object => object.size],
  ['sha256', 'text', object => object.sha256],
  ['crc32', 'text', object => object.crc32],
  ['crc64nvme', 'text', object => object.crc64nvme],
  ['etag', 'text', object => object.etag],
  ['version_id', 'text', object => object.versionId],
  ['content_type', 'text', object => object.contentType],
  ['uploaded_at', 'timestamptz', object => object.uploadedAt],
  ['verified_at', 'timestamptz', object => object.verifiedAt],
  ['served_at', 'timestamptz', object => object.servedAt],
  ['local_deleted_at', 'timestamptz', object => object.localDeletedAt],
  ['edge', 'text', object => object.edge],
  ['cache_hit', 'bool', object => object.cacheHit],
  ['latency_ms', 'real', object => object.latencyMs],
  ['last_error', 'text', object => object.lastError && storable(object.lastError)],
  ['run_id', 'uuid', object => object.runId],
]

const objectUpdates = objectColumns
  .map(([name]) => name)
  .filter(name => name !== 'bucket' && name !== 'key')
  .map(name =>
    name === 'size' || name === 'last_error'
      ? `${name} = excluded.${name}`
      : `${name} = coalesce(excluded.${name}, o.${name})`,
  )
  .join(', ')

/** Writes what is known of objects over what was known before; of one key given twice the last counts. */
export async function upsertObjects(knex: Knex, objects: readonly ObjectRecord[]): Promise<void> {
  const latest = new Map(objects.map(object => [`${object.bucket}\0${object.key}`, object]))
  const names = objectColumns.map(([name]) => name).join(', ')
  for (const slice of slices([...latest.values()])) {
    const { sql, bindings } = unnest('u', objectColumns, slice)
    await knex.raw(
      `insert into autodj_ledger.objects as o (${names})
       select ${names} from ${sql} order by bucket collate "C", key collate "C"
       on conflict (bucket, key) do update set ${objectUpdates}`,
      bindings,
    )
  }
}

/** {@link upsertObjects} of one, together with others that are noted at the moment; of one key each adds what it knows. */
export const noteObject = together(async (knex, objects: readonly ObjectRecord[]): Promise<undefined[]> => {
  const known = new Map<string, ObjectRecord>()
  for (const object of objects) {
    const id = `${object.bucket}\0${object.key}`
    known.set(id, { ...known.get(id), ...object })
  }
  await upsertObjects(knex, [...known.values()])
  return []
})

/** A row of the ledger's objects: what is unknown is null. */
type ObjectRow = {
  [Field in keyof Required<ObjectRecord>]: Required<ObjectRecord>[Field] | null
} & { bucket: string; key: string; size: number }

const objectFactColumns = {
  bucket: 'o.bucket',
  key: 'o.key',
  size: 'o.size',
  sha256: 'o.sha256',
  crc32: 'o.crc32',
  crc64nvme: 'o.crc64nvme',
  etag: 'o.etag',
  versionId: 'o.version_id',
  contentType: 'o.content_type',
  uploadedAt: 'o.uploaded_at',
  verifiedAt: 'o.verified_at',
  servedAt: 'o.served_at',
  localDeletedAt: 'o.local_deleted_at',
  edge: 'o.edge',
  cacheHit: 'o.cache_hit',
  latencyMs: 'o.latency_ms',
  lastError: 'o.last_error',
  runId: 'o.run_id',
}

const toObjectRow = (row: Omit<ObjectRow, 'size'> & { size: string }): ObjectRow =>
  ({ ...row, size: Number(row.size) }) as ObjectRow

/** What the ledger knows of these keys, by key. */
export async function objectsByKey(
  knex: Knex,
  bucket: string,
  keys: readonly string[],
): Promise<Map<string, ObjectRow>> {
  const found = new Map<string, ObjectRow>()
  for (const slice of slices(holdable(keys))) {
    const rows = await knex('autodj_ledger.objects as o')
      .select(objectFactColumns)
      .where('o.bucket', bucket)
      .whereRaw('o.key = any(?::text[])', [[...slice]])
    for (const row of rows) found.set(row.key, toObjectRow(row))
  }
  return found
}
