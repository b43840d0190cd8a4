import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { LockedError } from '../errors.ts'
import { type BulkColumn, slices, unnest } from './bulk.ts'
import { type ChangeOutcome, changeTracks, type PlannedTrack } from './tracks.ts'

/* ── Runs ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

/** How long a run is believed alive after its last heartbeat, in s, and how often it gives one, in ms. */
export const LEASE_SECONDS = 120
export const HEARTBEAT_MS = 30_000

export type RunState = 'running' | 'done' | 'failed' | 'interrupted' | 'abandoned'

export interface NewRun {
  id: string
  command: string
  /** Flags as given; never a secret. */
  args: Record<string, unknown>
  host: string
  pid: number
  version: string
}

export interface Run extends NewRun {
  startedAt: Date
  heartbeatAt: Date
  leaseUntil: Date
  finishedAt: Date | null
  state: RunState
  exitCode: number | null
  summary: Record<string, unknown> | null
}

const seconds = (knex: Knex, count: number): Knex.Raw => knex.raw('now() + make_interval(secs => ?)', [count])

/** Records a run. Runs whose lease ran out without an end are marked abandoned, and their claims dropped. */
export async function startRun(knex: Knex, run: NewRun, leaseSeconds = LEASE_SECONDS): Promise<void> {
  await knex.transaction(async trx => {
    const { rows } = await trx.raw<{ rows: { id: string }[] }>(
      `update autodj.runs set state = 'abandoned'
       where id in (select id from autodj.runs where state = 'running' and lease_until < now()
                    order by id for update skip locked)
       returning id`,
    )
    if (rows.length > 0) {
      const dead = rows.map(({ id }) => id)
      await trx.raw('delete from autodj.claims where run_id = any(?::uuid[])', [dead])
    }
    await trx('autodj.runs').insert({
      id: run.id,
      command: run.command,
      args: JSON.stringify(run.args),
      host: run.host,
      pid: run.pid,
      version: run.version,
      lease_until: seconds(trx, leaseSeconds),
    })
  })
}

/**
 * Prolongs the run's lease, and that of the named leases it holds.
 *
 * @returns false when another run has declared it dead meanwhile: stop claiming, its claims may be someone else's
 */
export async function heartbeat(knex: Knex, runId: string, leaseSeconds = LEASE_SECONDS): Promise<boolean> {
  return knex.transaction(async trx => {
    const alive = await trx('autodj.runs')
      .where({ id: runId, state: 'running' })
      .update({ heartbeat_at: trx.raw('now()'), lease_until: seconds(trx, leaseSeconds) })
    await trx('autodj.leases')
      .where({ run_id: runId })
      .update({ heartbeat_at: trx.raw('now()'), expires_at: seconds(trx, leaseSeconds) })
    return alive === 1
  })
}

/** Ends a run: its state, its claims gone, its named leases free. */
export async function finishRun(
  knex: Knex,
  runId: string,
  end: {
    state: Exclude<RunState, 'running' | 'abandoned'>
    exitCode: number
    summary: Record<string, unknown>
  },
): Promise<void> {
  await knex.transaction(async trx => {
    await trx('autodj.runs')
      .where({ id: runId })
      .update({
        state: end.state,
        exit_code: end.exitCode,
        summary: JSON.stringify(end.summary),
        finished_at: trx.raw('now()'),
        lease_until: trx.raw('now()'),
      })
    await trx('autodj.claims').where({ run_id: runId }).del()
    await trx('autodj.leases').where({ run_id: runId }).del()
  })
}

/** The newest runs, of one command or of all. */
export async function recentRuns(
  knex: Knex,
  { command, limit }: { command?: string; limit: number },
): Promise<Run[]> {
  const query = knex('autodj.runs').select({
    id: 'id',
    command: 'command',
    args: 'args',
    host: 'host',
    pid: 'pid',
    version: 'version',
    startedAt: 'started_at',
    heartbeatAt: 'heartbeat_at',
    leaseUntil: 'lease_until',
    finishedAt: 'finished_at',
    state: 'state',
    exitCode: 'exit_code',
    summary: 'summary',
  })
  if (command !== undefined) query.where({ command })
  return query.orderBy('started_at', 'desc').limit(limit)
}

/**
 * Declares dead the runs of this machine whose process is gone, and frees their claims and locks without waiting for
 * their leases.
 *
 * @param machine.host as their `host` was recorded
 */
export async function abandonDeadRuns(
  knex: Knex,
  machine: { host: string; isAlive: (pid: number) => boolean },
): Promise<void> {
  const running = (await knex('autodj.runs')
    .select('id', 'pid')
    .where({ state: 'running', host: machine.host })) as { id: string; pid: number }[]
  const dead = running.filter(run => !machine.isAlive(run.pid)).map(run => run.id)
  if (dead.length === 0) return
  await knex.transaction(async trx => {
    await trx.raw(
      `update autodj.runs set state = 'abandoned', lease_until = now()
       where id = any(?::uuid[]) and state = 'running'`,
      [dead],
    )
    await trx.raw('delete from autodj.claims where run_id = any(?::uuid[])', [dead])
    await trx.raw('delete from autodj.leases where run_id = any(?::uuid[])', [dead])
  })
}

/** Those of these runs that are alive: running, their lease not run out. */
export async function runsAlive(knex: Knex, runIds: readonly string[]): Promise<Set<string>> {
  if (runIds.length === 0) return new Set()
  const rows = (await knex('autodj.runs')
    .select('id')
    .whereRaw('id = any(?::uuid[])', [[...new Set(runIds)]])
    .where({ state: 'running' })
    .whereRaw('lease_until > now()')) as { id: string }[]
  return new Set(rows.map(run => run.id))
}

/** Gives up the claims of a run on these tracks, or on all. */
export async function releaseClaims(
  knex: Knex,
  claim: { kind: string; runId: string; trackIds?: readonly string[] },
): Promise<void> {
  const query = knex('autodj.claims').where({ kind: claim.kind, run_id: claim.runId })
  if (claim.trackIds !== undefined) query.whereRaw('track_id = any(?::uuid[])', [[...claim.trackIds]])
  await query.del()
}

/* ── Leases ───────────────────────────────────────────────────────────────────────────────────────────────────── */

/**
 * Takes the named lock for a run, or prolongs it where the run holds it already. A lock that ran out is taken over.
 *
 * @throws LockedError that names the holder's command, host and pid, and since when
 */
export async function acquireLease(
  knex: Knex,
  lease: { name: string; runId: string; host: string; pid: number },
  leaseSeconds = LEASE_SECONDS,
): Promise<void> {
  const { rows } = await knex.raw<{ rows: { run_id: string }[] }>(
    `insert into autodj.leases as l (name, run_id, host, pid, expires_at)
     values (?, ?, ?, ?, now() + make_interval(secs => ?))
     on conflict (name) do update set
       run_id = excluded.run_id, host = excluded.host, pid = excluded.pid, heartbeat_at = now(),
       acquired_at = case when l.run_id = excluded.run_id then l.acquired_at else now() end,
       expires_at = excluded.expires_at
       where l.expires_at < now() or l.run_id = excluded.run_id
     returning run_id`,
    [lease.name, lease.runId, lease.host, lease.pid, leaseSeconds],
  )
  if (rows.length > 0) return
  const holder = (await knex('autodj.leases as l')
    .join('autodj.runs as r', 'r.id', 'l.run_id')
    .where('l.name', lease.name)
    .first({
      command: 'r.command',
      host: 'l.host',
      pid: 'l.pid',
      since: 'l.acquired_at',
      seen: 'l.heartbeat_at',
      expires: 'l.expires_at',
      age: knex.raw('extract(epoch from now() - l.acquired_at)::float8'),
    })) as
    | { command: string; host: string; pid: number; since: Date; seen: Date; expires: Date; age: number }
    | undefined
  // Given up between the two statements.
  if (holder === undefined) return acquireLease(knex, lease, leaseSeconds)
  throw new LockedError(
    `${lease.name} is locked by ${holder.command} (pid ${holder.pid} on ${holder.host}) since ${holder.since.toISOString()}, ` +
      `${Math.round(holder.age)} s; last seen ${holder.seen.toISOString()}`,
    {
      cure: `wait for it; if it is dead, the lock runs out by itself at ${holder.expires.toISOString()}`,
      details: {
        name: lease.name,
        command: holder.command,
        host: holder.host,
        pid: holder.pid,
        since: holder.since,
      },
    },
  )
}

/** Gives the named lock back. Nothing happens where the run does not hold it. */
export async function releaseLease(knex: Knex, name: string, runId: string): Promise<void> {
  await knex('autodj.leases').where({ name, run_id: runId }).del()
}

/* ── Items ────────────────────────────────────────────────────────────────────────────────────────────────────── */

export interface FailedItem {
  command: string
  /** Track id, key or path. */
  subject: string
  trackId: string | null
  state: 'failed' | 'skipped'
  errorCode: string
  error: string
  cure: string | null
  runId: string
}

export interface ItemRow extends Omit<FailedItem, 'runId'> {
  runId: string | null
  attempts: number
  firstFailedAt: Date
  updatedAt: Date
}

/** B-tree entries end at 2,704 bytes; a longer text is cut and made unique by its hash. */
const INDEXABLE_BYTES = 2_600

function indexable(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= INDEXABLE_BYTES) return text
  const hash = createHash('sha256').update(bytes).digest('hex')
  return `${bytes.subarray(0, INDEXABLE_BYTES - 70).toString('utf8')}…${hash}`
}

/** PostgreSQL's text knows no NUL, and an error message may quote anything. */
const storable = (text: string): string => text.replaceAll('\0', '\\0')

const ITEM: readonly BulkColumn<FailedItem>[] = [
  ['command', 'text', item => item.command],
  ['subject', 'text', item => indexable(storable(item.subject))],
  ['track_id', 'uuid', item => item.trackId],
  ['state', 'text', item => item.state],
  ['error_code', 'text', item => item.errorCode],
  ['error', 'text', item => storable(item.error)],
  ['cure', 'text', item => item.cure],
  ['run_id', 'uuid', item => item.runId],
]

/** Records what failed or was skipped; a repeated failure counts one more attempt. */
export async function recordItems(knex: Knex, items: readonly FailedItem[]): Promise<void> {
  // One row for a subject: a statement may touch a row only once. The last word counts.
  const latest = new Map(items.map(item => [`${item.command}\0${item.subject}`, item]))
  const names = ITEM.map(([name]) => name).join(', ')
  for (const slice of slices([...latest.values()])) {
    const { sql, bindings } = unnest('u', ITEM, slice)
    await knex.raw(
      `insert into autodj.items as i (${names}) select ${names} from ${sql} order by command, subject
       on conflict (command, subject) do update set
         track_id = excluded.track_id, state = excluded.state, attempts = i.attempts + 1,
         error_code = excluded.error_code, error = excluded.error, cure = excluded.cure,
         updated_at = now(), run_id = excluded.run_id`,
      bindings,
    )
  }
}

/** Forgets failures of these subjects: they succeeded, or are gone. */
export async function clearItems(knex: Knex, command: string, subjects: readonly string[]): Promise<void> {
  for (const slice of slices(subjects)) {
    await knex('autodj.items')
      .where({ command })
      .whereRaw('subject = any(?::text[])', [slice.map(subject => indexable(storable(subject)))])
      .del()
  }
}

/** A page of failed and skipped items of a command, after `afterSubject`, in the order of their subjects. */
export async function itemPage(
  knex: Knex,
  page: { command: string; afterSubject?: string; limit: number; state?: 'failed' | 'skipped' },
): Promise<ItemRow[]> {
  const query = knex('autodj.items')
    .select({
      command: 'command',
      subject: 'subject',
      trackId: 'track_id',
      state: 'state',
      attempts: 'attempts',
      errorCode: 'error_code',
      error: 'error',
      cure: 'cure',
      firstFailedAt: 'first_failed_at',
      updatedAt: 'updated_at',
      runId: 'run_id',
    })
    .where({ command: page.command })
    .where('subject', '>', page.afterSubject ?? '')
  if (page.state !== undefined) query.where({ state: page.state })
  return query.orderBy('subject').limit(page.limit)
}

/* ── Objects ──────────────────────────────────────────────────────────────────────────────────────────────────── */

/** What is known of an object. Undefined says nothing: the ledger keeps what it has. */
export interface ObjectRecord {
  bucket: string
  key: string
  /** Bytes. */
  size: number
  /** Lower-case hex. */
  sha256?: string
  /** Base64 of 4 bytes. */
  crc32?: string
  /** Base64 of 8 bytes. */
  crc64nvme?: string
  etag?: string
  versionId?: string
  contentType?: string
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

const OBJECT: readonly BulkColumn<ObjectRecord>[] = [
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

const OBJECT_UPDATES = OBJECT.map(([name]) => name)
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
  const names = OBJECT.map(([name]) => name).join(', ')
  for (const slice of slices([...latest.values()])) {
    const { sql, bindings } = unnest('u', OBJECT, slice)
    await knex.raw(
      `insert into autodj.objects as o (${names})
       select ${names} from ${sql} order by bucket collate "C", key collate "C"
       on conflict (bucket, key) do update set ${OBJECT_UPDATES}`,
      bindings,
    )
  }
}

/** A row of the ledger's objects: what is unknown is null. */
export type ObjectRow = {
  [Field in keyof Required<ObjectRecord>]: Required<ObjectRecord>[Field] | null
} & { bucket: string; key: string; size: number }

const OBJECT_COLUMNS = {
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

/** A page of a bucket's objects after `afterKey`, in byte order of their keys, as S3 lists them. */
export async function objectPage(
  knex: Knex,
  page: { bucket: string; prefix?: string; afterKey?: string; limit: number },
): Promise<ObjectRow[]> {
  const query = knex('autodj.objects as o')
    .select(OBJECT_COLUMNS)
    .where('o.bucket', page.bucket)
    .where('o.key', '>', page.afterKey ?? '')
  if (page.prefix) query.where('o.key', '>=', page.prefix).whereRaw('starts_with(o.key, ?)', [page.prefix])
  return (await query.orderBy('o.key').limit(page.limit)).map(toObjectRow)
}

/** What the ledger knows of these keys, by key. */
export async function objectsByKey(
  knex: Knex,
  bucket: string,
  keys: readonly string[],
): Promise<Map<string, ObjectRow>> {
  const found = new Map<string, ObjectRow>()
  for (const slice of slices(keys)) {
    const rows = await knex('autodj.objects as o')
      .select(OBJECT_COLUMNS)
      .where('o.bucket', bucket)
      .whereRaw('o.key = any(?::text[])', [[...slice]])
    for (const row of rows) found.set(row.key, toObjectRow(row))
  }
  return found
}

/** Objects of a bucket by the SHA-256 of their content: where the same bytes are already. */
export async function objectsBySha256(
  knex: Knex,
  bucket: string,
  hashes: readonly string[],
): Promise<Map<string, ObjectRow>> {
  const found = new Map<string, ObjectRow>()
  for (const slice of slices(hashes)) {
    const rows = await knex('autodj.objects as o')
      .select(OBJECT_COLUMNS)
      .where('o.bucket', bucket)
      .whereRaw('o.sha256 = any(?::text[])', [[...slice]])
      .orderBy('o.key', 'desc')
    for (const row of rows) found.set(row.sha256, toObjectRow(row))
  }
  return found
}

/* ── The upload's commit ──────────────────────────────────────────────────────────────────────────────────────── */

/** A track whose object is in the bucket, its checksum confirmed by the server. */
export interface UploadedTrack {
  planned: PlannedTrack
  object: ObjectRecord
}

/**
 * Commits a batch of uploads in one transaction: the tracks (`s3_object_key`, `file_source` S3, `file_size`;
 * `file_path` stays), the objects, the failures of these tracks forgotten, their claims released.
 *
 * A track whose row changed since it was planned is left alone (`changed`), one whose row is gone (`deleted`) leaves
 * its object an orphan; both objects are in the ledger, where reconcile finds them.
 *
 * @returns the outcome for each track id
 */
export async function markUploaded(
  knex: Knex,
  batch: { command: string; kind: string; runId: string; tracks: readonly UploadedTrack[] },
): Promise<Map<string, ChangeOutcome>> {
  return knex.transaction(async trx => {
    const outcomes = await changeTracks(
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
    const ids = [...outcomes.keys()]
    const done = ids.filter(id => outcomes.get(id) === 'done')
    await clearItems(trx, batch.command, done)
    await releaseClaims(trx, { kind: batch.kind, runId: batch.runId, trackIds: ids })
    return outcomes
  })
}

/* ── Multipart uploads ────────────────────────────────────────────────────────────────────────────────────────── */

export interface UploadRecord {
  bucket: string
  key: string
  uploadId: string
  /** Relative to the audio root. */
  path: string
  /** Null where the file system's number does not fit 63 bits. */
  inode: bigint | null
  /** Nanoseconds since 1970. */
  mtimeNs: bigint
  /** Bytes. */
  size: number
  /** Hex; null where not known. */
  sha256: string | null
  /** Bytes. */
  partSize: number
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

/** A 63-bit integer for a bigint column; null where it does not fit, as inode numbers of some file systems. */
const int8 = (value: bigint | null): string | null =>
  value === null || value >= 2n ** 63n || value < -(2n ** 63n) ? null : value.toString()

/** Records a multipart upload that S3 has just begun. */
export async function recordUpload(knex: Knex, upload: UploadRecord): Promise<void> {
  await knex('autodj.uploads').insert({
    bucket: upload.bucket,
    key: upload.key,
    upload_id: upload.uploadId,
    path: storable(upload.path),
    inode: int8(upload.inode),
    mtime_ns: int8(upload.mtimeNs),
    size: upload.size,
    sha256: upload.sha256,
    part_size: upload.partSize,
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
      `insert into autodj.parts (upload_id, part_number, size, crc32, etag)
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
  const query = knex('autodj.uploads').where({ bucket })
  if (key !== undefined) query.where({ key })
  const uploads = await query.orderBy('created_at').orderBy('upload_id')
  const parts = await knex('autodj.parts')
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
  await knex('autodj.uploads').where({ upload_id: uploadId }).update({ run_id: runId })
}

/** Forgets a multipart upload, completed or aborted. */
export async function forgetUpload(knex: Knex, uploadId: string): Promise<void> {
  await knex.transaction(async trx => {
    await trx('autodj.parts').where({ upload_id: uploadId }).del()
    await trx('autodj.uploads').where({ upload_id: uploadId }).del()
  })
}

/* ── Hashes of local files ────────────────────────────────────────────────────────────────────────────────────── */

/** A local file as it was when it was hashed. It holds while size, mtime, inode and device are the same. */
export interface HashedFile {
  /** Relative to the audio root, `/` between its parts. */
  path: string
  /** Bytes. */
  size: number
  /** Nanoseconds since 1970. */
  mtimeNs: bigint
  /** Null where the number does not fit 63 bits. */
  inode: bigint | null
  device: bigint | null
  /** Lower-case hex. */
  sha256: string
  /** Base64 of 4 bytes. */
  crc32: string
}

const FILE: readonly BulkColumn<HashedFile>[] = [
  ['path', 'text', file => file.path],
  ['size', 'bigint', file => file.size],
  ['mtime_ns', 'bigint', file => int8(file.mtimeNs)],
  ['inode', 'bigint', file => int8(file.inode)],
  ['device', 'bigint', file => int8(file.device)],
  ['sha256', 'text', file => file.sha256],
  ['crc32', 'text', file => file.crc32],
]

/** Remembers hashes. A path too long for the index is left out: it is a cache, that file is just read again. */
export async function rememberFiles(knex: Knex, files: readonly HashedFile[]): Promise<void> {
  const latest = new Map(
    files.filter(file => Buffer.byteLength(file.path) <= INDEXABLE_BYTES).map(file => [file.path, file]),
  )
  const names = FILE.map(([name]) => name).join(', ')
  for (const slice of slices([...latest.values()])) {
    const { sql, bindings } = unnest('u', FILE, slice)
    await knex.raw(
      `insert into autodj.files (${names}) select ${names} from ${sql} order by path collate "C"
       on conflict (path) do update set
         size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode, device = excluded.device,
         sha256 = excluded.sha256, crc32 = excluded.crc32, hashed_at = now()`,
      bindings,
    )
  }
}

/** Hashes remembered for these paths. Compare size, mtime, inode and device before trusting one. */
export async function rememberedFiles(
  knex: Knex,
  paths: readonly string[],
): Promise<Map<string, HashedFile>> {
  const found = new Map<string, HashedFile>()
  for (const slice of slices(paths)) {
    const rows = await knex('autodj.files').whereRaw('path = any(?::text[])', [[...slice]])
    for (const row of rows) {
      found.set(row.path, {
        path: row.path,
        size: Number(row.size),
        mtimeNs: BigInt(row.mtime_ns),
        inode: row.inode === null ? null : BigInt(row.inode),
        device: row.device === null ? null : BigInt(row.device),
        sha256: row.sha256,
        crc32: row.crc32,
      })
    }
  }
  return found
}
