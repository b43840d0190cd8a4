/** Which tracks are verified, read in keyset pages, and what became of them, written to the ledger. */
import type { Knex } from 'knex'
import { selectIds } from '../db/id-list.ts'
import { clearItems, type ObjectRecord, recordItems, upsertObjects } from '../db/ledger.ts'
import { firstId } from '../db/tracks.ts'
import { UsageError } from '../errors.ts'
import type { TrackResult, VerifyTrack } from './track-result.ts'

export const verifyCommand = 'verify'

/** How tracks are chosen. */
export type Selection =
  | { kind: 'all' }
  /** this many, at random */
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
/** Rows with what the ledger knows of their objects. @param on what joins the rows to what stands before them */
const source = (
  on?: string,
): string => `tracks t ${on === undefined ? '' : `on ${on}`} left join autodj_ledger.objects o
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
  if (selected === undefined && selection.kind === 'all') return everyTrack(knex, bucket, limit)
  const { sql, bindings } = await idsOf(knex, bucket, selection, { now, limit, selected })
  const ids = await selectIds(knex, sql, bindings)
  async function* tracks(): AsyncGenerator<VerifyTrack> {
    for await (const page of ids.pages(pageSize)) {
      const { rows } = await knex.raw<{ rows: VerifyTrack[] }>(
        `select ${columns} from unnest(?::uuid[]) with ordinality as wanted(id, place) join ${source('wanted.id = t.id')}
         where ${inS3} order by wanted.place`,
        [page, bucket],
      )
      yield* rows
    }
  }
  return { total: ids.length, tracks: tracks() }
}

/** The ids of the tracks that are to be verified, in the order in which they are. */
async function idsOf(
  knex: Knex,
  bucket: string,
  selection: Selection,
  { now, limit, selected }: { now: Date; limit: number; selected: readonly string[] | undefined },
): Promise<{ sql: string; bindings: readonly unknown[] }> {
  if (selected === undefined && selection.kind === 'sample') {
    return {
      sql: `select t.id from tracks t where ${inS3} order by random() limit ?`,
      bindings: [Math.min(selection.count, limit)],
    }
  }
  if (selected === undefined && selection.kind === 'rolling') {
    // What this run proves in the meantime does not come up a second time: the list is made before.
    const { periodMs } = selection
    const total = Math.min(limit, await dueToday(knex, bucket, periodMs, now))
    return {
      sql: `select t.id from ${source()} where ${inS3} and ${servedAt} < ? order by ${servedAt}, t.id limit ?`,
      bindings: [bucket, now, total],
    }
  }
  const { condition, bindings } = conditionOf(selection)
  const among = selected === undefined ? '' : 'and t.id = any(?::uuid[])'
  return {
    sql: `select t.id from ${source()} where ${inS3} ${condition} ${among} order by t.id limit ?`,
    bindings: [bucket, ...bindings, ...(selected === undefined ? [] : [[...selected]]), limit],
  }
}

/** How many tracks a rolling verification takes today. */
async function dueToday(knex: Knex, bucket: string, periodMs: number, now: Date): Promise<number> {
  const due = new Date(now.getTime() - periodMs + dayMs)
  const { rows } = await knex.raw<{ rows: { total: number; overdue: number }[] }>(
    `select count(*)::float8 as total,
       (count(*) filter (where coalesce(o.served_at, o.uploaded_at, ?) < ?))::float8 as overdue
     from ${source()} where ${inS3}`,
    [now, due, bucket],
  )
  const { total, overdue } = rows[0]!
  return rollingShare(total, overdue, periodMs)
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
        `--${selection.kind} takes its share of all tracks: do not combine it with --include, --artist or the like`,
        {
          code: 'usage.flag',
        },
      )
  }
}

/** All of them by id, in keyset pages: nothing is held of those that are still to come. */
async function everyTrack(
  knex: Knex,
  bucket: string,
  limit: number,
): Promise<{ total: number; tracks: AsyncGenerator<VerifyTrack> }> {
  const { rows } = await knex.raw<{ rows: { count: number }[] }>(
    `select count(*)::float8 as count from tracks t where ${inS3}`,
  )
  async function* tracks(): AsyncGenerator<VerifyTrack> {
    let afterId = firstId
    for (let left = limit; left > 0; ) {
      const page = await knex.raw<{ rows: VerifyTrack[] }>(
        `select ${columns} from ${source()} where ${inS3} and t.id > ? order by t.id limit ?`,
        [bucket, afterId, Math.min(pageSize, left)],
      )
      yield* page.rows
      if (page.rows.length < pageSize) return
      left -= page.rows.length
      afterId = page.rows.at(-1)!.id
    }
  }
  return { total: Math.min(limit, rows[0]!.count), tracks: tracks() }
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
