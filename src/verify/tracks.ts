/** Which tracks are verified, read in keyset pages, and what became of them, written to the ledger. */
import type { Knex } from 'knex'
import { clearItems, type ObjectRecord, recordItems, upsertObjects } from '../db/ledger.ts'
import { FIRST_ID } from '../db/tracks.ts'
import { UsageError } from '../errors.ts'
import type { TrackResult, VerifyTrack } from './track-result.ts'

export const verifyCommand = 'verify'

/** How tracks are chosen. */
export type Selection =
  | { kind: 'all' }
  /** so many, at random */
  | { kind: 'sample'; count: number }
  /** uploaded, or their rows changed, since then */
  | { kind: 'since'; since: Date }
  /** those due today, so that all are proved every `periodMs`; see {@link rollingShare} */
  | { kind: 'rolling'; periodMs: number }
  /** those not seen through the CDN since they were uploaded */
  | { kind: 'unproved' }
  /** those whose last verification failed */
  | { kind: 'failed' }

const dayMs = 86_400_000
const pageSize = 1_000

/**
 * How many tracks one daily run of a rolling verification takes, those longest unproved first: a day's share, or all
 * that would otherwise be older than the period before the next run (days were missed). With one run a day none is
 * ever unproved for longer than the period.
 */
export function rollingShare(total: number, overdue: number, periodMs: number): number {
  const days = Math.max(1, Math.floor(periodMs / dayMs))
  return Math.min(total, Math.max(Math.ceil(total / days), overdue))
}

/** A row with `file_source` S3; rows without a source count when they have a key. */
const inS3 = `(t.file_source = 'S3' or (t.file_source is null and t.s3_object_key is not null))`
const columns = `t.id, t.s3_object_key as key, coalesce(o.size, t.file_size)::float8 as size, o.etag, o.sha256`
const source = `tracks t left join autodj_ledger.objects o
  on o.bucket = ? and o.key = t.s3_object_key collate "C"`
/** Never served sorts first. */
const servedAt = `coalesce(o.served_at, '-infinity')`

/** Tracks to verify, how many there are, and the pages that bring them. */
export async function selectTracks(
  knex: Knex,
  bucket: string,
  selection: Selection,
  {
    now,
    limit = Number.MAX_SAFE_INTEGER,
    selected,
  }: { now: Date; limit?: number; selected?: readonly string[] },
): Promise<{ total: number; tracks: AsyncGenerator<VerifyTrack> }> {
  if (selected !== undefined) {
    const { condition, bindings } = conditionOf(selection)
    return byId(knex, bucket, `${condition} and t.id = any(?::uuid[])`, [...bindings, [...selected]], limit)
  }
  switch (selection.kind) {
    case 'all':
    case 'since':
    case 'unproved':
    case 'failed': {
      const { condition, bindings } = conditionOf(selection)
      return byId(knex, bucket, condition, bindings, limit)
    }
    case 'sample':
      return sample(knex, bucket, Math.min(selection.count, limit))
    case 'rolling':
      return rolling(knex, bucket, selection.periodMs, now, limit)
  }
}

/** @throws UsageError for a choice that is one of numbers, of which no names can be taken */
function conditionOf(selection: Selection): { condition: string; bindings: readonly unknown[] } {
  switch (selection.kind) {
    case 'all':
      return { condition: '', bindings: [] }
    case 'since':
      return {
        condition: 'and greatest(o.uploaded_at, t.updated_at, t.created_at) >= ?',
        bindings: [selection.since],
      }
    case 'unproved':
      return { condition: 'and (o.served_at is null or o.served_at < o.uploaded_at)', bindings: [] }
    case 'failed':
      return {
        condition: `and exists (select 1 from autodj_ledger.items i where i.command = '${verifyCommand}' and i.subject = t.id::text)`,
        bindings: [],
      }
    default:
      throw new UsageError(
        `--${selection.kind} takes its share of all tracks: give no --include, --artist or the like with it`,
        {
          code: 'usage.flag',
        },
      )
  }
}

async function count(
  knex: Knex,
  bucket: string,
  condition: string,
  bindings: readonly unknown[],
): Promise<number> {
  const { rows } = await knex.raw<{ rows: { count: number }[] }>(
    `select count(*)::float8 as count from ${source} where ${inS3} ${condition}`,
    [bucket, ...bindings] as Knex.RawBinding[],
  )
  return rows[0]!.count
}

async function byId(
  knex: Knex,
  bucket: string,
  condition: string,
  bindings: readonly unknown[],
  limit: number,
): Promise<{ total: number; tracks: AsyncGenerator<VerifyTrack> }> {
  async function* tracks(): AsyncGenerator<VerifyTrack> {
    let afterId = FIRST_ID
    for (let left = limit; left > 0; ) {
      const { rows } = await knex.raw<{ rows: VerifyTrack[] }>(
        `select ${columns} from ${source} where ${inS3} ${condition} and t.id > ? order by t.id limit ?`,
        [bucket, ...bindings, afterId, Math.min(pageSize, left)] as Knex.RawBinding[],
      )
      yield* rows
      if (rows.length < pageSize) return
      left -= rows.length
      afterId = rows.at(-1)!.id
    }
  }
  return { total: Math.min(limit, await count(knex, bucket, condition, bindings)), tracks: tracks() }
}

async function sample(
  knex: Knex,
  bucket: string,
  size: number,
): Promise<{ total: number; tracks: AsyncGenerator<VerifyTrack> }> {
  const { rows } = await knex.raw<{ rows: { id: string }[] }>(
    `select t.id from tracks t where ${inS3} order by random() limit ?`,
    [size],
  )
  const ids = rows.map(({ id }) => id)
  async function* tracks(): AsyncGenerator<VerifyTrack> {
    for (let from = 0; from < ids.length; from += pageSize) {
      const page = await knex.raw<{ rows: VerifyTrack[] }>(
        `select ${columns} from ${source} where t.id = any(?::uuid[])`,
        [bucket, ids.slice(from, from + pageSize)],
      )
      yield* page.rows
    }
  }
  return { total: ids.length, tracks: tracks() }
}

async function rolling(
  knex: Knex,
  bucket: string,
  periodMs: number,
  now: Date,
  limit: number,
): Promise<{ total: number; tracks: AsyncGenerator<VerifyTrack> }> {
  const due = new Date(now.getTime() - periodMs + dayMs)
  const overdue = await count(knex, bucket, 'and coalesce(o.served_at, o.uploaded_at, ?) < ?', [now, due])
  const total = Math.min(limit, rollingShare(await count(knex, bucket, '', []), overdue, periodMs))
  async function* tracks(): AsyncGenerator<VerifyTrack> {
    let after: { at: string; id: string } = { at: '-infinity', id: FIRST_ID }
    for (let left = total; left > 0; ) {
      // What this run proves meanwhile is younger than `now`: it never comes up a second time.
      const { rows } = await knex.raw<{ rows: (VerifyTrack & { at: string })[] }>(
        `select ${columns}, ${servedAt}::text as at from ${source}
         where ${inS3} and ${servedAt} < ? and (${servedAt}, t.id) > (?::timestamptz, ?::uuid)
         order by ${servedAt}, t.id limit ?`,
        [bucket, now, after.at, after.id, Math.min(pageSize, left)] as Knex.RawBinding[],
      )
      for (const { at, ...track } of rows) {
        after = { at, id: track.id }
        yield track
      }
      if (rows.length < Math.min(pageSize, left)) return
      left -= rows.length
    }
  }
  return { total, tracks: tracks() }
}

/** Writes a batch: the objects' proof or fault, and the tracks that failed or no longer do. */
export async function recordResults(
  knex: Knex,
  bucket: string,
  runId: string,
  results: readonly TrackResult[],
  now: Date,
): Promise<void> {
  const objects: ObjectRecord[] = []
  for (const { track, served, findings, edge, cacheHit, latencyMs, size } of results) {
    const known = track.size ?? size
    if (track.key === null || known === undefined) continue
    const failure = served ? undefined : findings[0]
    objects.push({
      bucket,
      key: track.key,
      size: known,
      edge,
      cacheHit,
      latencyMs,
      runId,
      ...(failure === undefined ? { servedAt: now } : { lastError: `${failure.cause}: ${failure.title}` }),
    })
  }
  await knex.transaction(async trx => {
    await upsertObjects(trx, objects)
    await clearItems(
      trx,
      verifyCommand,
      results.filter(({ served }) => served).map(({ track }) => track.id),
    )
    await recordItems(
      trx,
      results.flatMap(({ track, served, findings: [failure] }) =>
        served || failure === undefined
          ? []
          : [
              {
                command: verifyCommand,
                subject: track.id,
                trackId: track.id,
                state: 'failed' as const,
                errorCode: `verify.${failure.cause}`,
                error: `${track.key ?? 'no key'}: ${failure.title} (${failure.evidence.join('; ')})`,
                cure: failure.cure,
                runId,
              },
            ],
      ),
    )
  })
}
