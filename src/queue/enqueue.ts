/** `--enqueue`: the tracks that a command would take go into the queue instead, for workers on any machine. */
import { randomUUID } from 'node:crypto'
import { fromKnex, type PgBoss } from 'pg-boss'
import type { Flags } from '../cli/flags.ts'
import { longName } from '../cli/flags.ts'
import type { Context } from '../context.ts'
import { formatCount, plural } from '../core/units.ts'
import { requireCodeForS3 } from '../db/application-code.ts'
import { requireSchema } from '../db/require-schema.ts'
import { type Track, trackPages } from '../db/tracks.ts'
import { ExitCode, UsageError } from '../errors.ts'
import { keepHeapLevel } from '../heap.ts'
import { selectedChoices, type TrackChoice } from '../runs/track-run.ts'
import { addToBatch, cancelledBatches, continueBatch, createBatch, refreshBatch } from './batches.ts'
import { type JobData, openBoss } from './boss.ts'
import { commandOf, deadLetters, type JobKind } from './names.ts'

const pageSize = 500
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

interface EnqueueRequest {
  readonly kind: JobKind
  /** What the command takes; a track that passes several is queued once. */
  readonly choices: readonly TrackChoice[]
  /** Those of these tracks that are to be queued; undefined: all. */
  readonly wanted?: (tracks: readonly Track[]) => Promise<readonly Track[]>
  /** Of the command, as far as they say how a track is to be treated: plain data. */
  readonly options: Readonly<Record<string, unknown>>
  readonly limit: number | undefined
  /** A row of `analysis_jobs` that the application made; undefined: a new one. */
  readonly job: string | undefined
}

/**
 * Queues tracks, each with its entry for `analysis_jobs` in one transaction. What is queued or in work already stays
 * as it is; what had been given up is taken up again.
 *
 * @throws UsageError if `job` is not a row of `analysis_jobs`
 */
export async function enqueueTracks(context: Context, request: EnqueueRequest): Promise<ExitCode> {
  const { kind, choices, wanted = async page => page, options, limit, job } = request
  const database = await context.database()
  await requireSchema(database, 'adoption.code_updated_at')
  if (kind !== 'analyze') await requireCodeForS3(database)
  const { knex } = database
  if (job !== undefined) {
    const row = uuid.test(job) ? await knex('analysis_jobs').where({ id: job }).first('id') : undefined
    if (row === undefined)
      throw new UsageError(`--job: "${job}" is not a row of analysis_jobs`, { code: 'usage.flag' })
    if ((await cancelledBatches(knex, [job])).has(job.toLowerCase()))
      throw new UsageError(`--job: ${job} was cancelled`, {
        code: 'usage.flag',
        cure: 'Leave out --job: the tracks then get a row of their own.',
      })
  }
  keepHeapLevel()
  const boss = await openBoss(context, database, { supervise: false })
  const batch = job?.toLowerCase() ?? randomUUID()
  const totals = { queued: 0, already: 0 }
  try {
    const givenUp = await deadLettersOf(boss, kind)
    const since = context.now().toISOString()
    for (const { filter } of await selectedChoices(context, database, choices)) {
      const { signal } = context
      const pages = trackPages(knex, { filter, pageSize, signal, inOrder: limit !== undefined })
      for await (const page of pages) {
        if (context.stopping.aborted) break
        const left = limit === undefined ? page.length : limit - totals.queued
        const tracks = (await wanted(page)).slice(0, left).map(track => track.id)
        if (tracks.length === 0) continue
        const jobs = tracks.map(track => ({
          id: randomUUID(),
          singletonKey: track,
          data: { track, batch, since, options } satisfies JobData,
        }))
        const queued = await knex.transaction(async trx => {
          const db = fromKnex(trx)
          const ids = new Set((await boss.insert(kind, jobs, { db, returnId: true })) ?? [])
          const taken = jobs.filter(one => ids.has(one.id)).map(one => one.singletonKey)
          if (taken.length > 0) {
            if (job === undefined) await createBatch(trx, { id: batch, kind, options })
            else await continueBatch(trx, batch)
            await addToBatch(trx, { id: batch, kind }, taken)
          }
          const buried = taken.flatMap(track => givenUp.get(track) ?? [])
          if (buried.length > 0) await boss.deleteJob(deadLetters, buried, { db })
          return taken.length
        })
        totals.queued += queued
        totals.already += tracks.length - queued
        if (totals.queued === limit) break
      }
    }
    if (totals.queued > 0) await refreshBatch(knex, batch)
  } finally {
    await boss.stop({ graceful: false })
  }
  const { queued, already } = totals
  context.report.summary({
    lines: [
      queued === 0
        ? `Nothing to queue${already > 0 ? `: ${plural(already, 'track')} already queued` : ''}.`
        : `${plural(queued, 'track')} queued for \`${commandOf[kind]}\`${already > 0 ? `; ${formatCount(already)} were already queued` : ''}.`,
      ...(queued > 0 ? [`Counted by the row ${batch} of analysis_jobs.`] : []),
    ],
    next:
      queued > 0
        ? '`autodj worker` does the work, on any machine; `autodj status --queues` shows the progress'
        : undefined,
    fields: { kind, queued, already_queued: already, job_id: queued > 0 ? batch : null },
  })
  return context.stopExitCode() ?? ExitCode.ok
}

/** Jobs of that kind that were given up, by track. */
async function deadLettersOf(boss: PgBoss, kind: JobKind): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  const limit = 10_000
  for (let after: string | undefined; ; ) {
    const page = await boss.findJobs<JobData>(deadLetters, { queued: true, limit, ...(after && { after }) })
    for (const { id, sourceName, data } of page) {
      if (sourceName !== kind) continue
      const ids = found.get(data.track)
      if (ids) ids.push(id)
      else found.set(data.track, [id])
    }
    after = page.at(-1)?.id
    if (page.length < limit) return found
  }
}

/**
 * Refuses flags that say how a run works and not what becomes of a track: the worker has them itself.
 *
 * @throws UsageError for those of `names` that were given
 */
export function refuseWithEnqueue<F extends Flags>(
  flags: F,
  values: Readonly<Record<string, unknown>>,
  names: readonly (keyof F & string)[],
): void {
  const given = names.filter(name => {
    const value = values[name]
    return value !== flags[name]?.defaultValue && !(value === undefined)
  })
  if (given.length === 0) return
  throw new UsageError(
    `${given.map(name => longName(flags[name]!.spec)).join(', ')}: cannot be used with --enqueue, since the worker does the work`,
    { code: 'usage.flag', cure: 'Pass it to `autodj worker`, if it has it.' },
  )
}
