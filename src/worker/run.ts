/** `autodj worker`: takes jobs from the queue until it is told to stop, then finishes what is in hand. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobWithMetadata } from 'pg-boss'
import type { Context } from '../context.ts'
import { formatDuration } from '../core/units.ts'
import { requireSchema } from '../db/require-schema.ts'
import type { ExitCode } from '../errors.ts'
import { heartbeatRefreshSeconds, type JobData, openBoss } from '../queue/boss.ts'
import { countJobs, isEmpty } from '../queue/counts.ts'
import { jobKinds } from '../queue/names.ts'
import { type Lease, recordRun } from '../runs/recorded-run.ts'
import { makeTempFolder, sweepTempFolders } from '../runs/temp-folders.ts'
import type { WorkerFlags } from './flags.ts'
import type { Workplace } from './handlers.ts'
import { repeat } from './repeat.ts'
import { chooseSeats } from './seats.ts'
import { exitCodeOf, summariseWorker } from './summary.ts'
import { Worker } from './worker.ts'

/** Shorter than that of a command: a killed worker's tracks are to be free again when its jobs come back. */
const lease: Lease = { seconds: 45, heartbeat: 10_000 }
const pollingSeconds = 2
const maintenanceInterval = 15_000

/**
 * @throws UsageError if what its jobs need is not configured; what ends a worker from within: credentials that are
 *   gone, an outage longer than `--max-outage`
 */
export async function runWorker(context: Context, flags: WorkerFlags): Promise<ExitCode> {
  const { report } = context
  const database = await context.database()
  await requireSchema(database, 'adoption.code_updated_at')
  const concurrency = await chooseSeats(context, database, flags)
  context.limitDuration(flags.maxDuration)
  return recordRun(
    context,
    database,
    async run => {
      const drainLimit = new AbortController()
      const { stopping } = run
      const forced = AbortSignal.any([context.signal, drainLimit.signal])
      await sweepTempFolders()
      const temp = await makeTempFolder(run.id)
      const place: Workplace = {
        context: { ...context, stopping, signal: forced },
        database,
        run,
        settings: { ...flags, concurrency },
        tempFolder: temp.path,
      }
      const boss = await openBoss(context, database, { supervise: true })
      const worker = new Worker(place, boss)
      const maintenance = repeat(maintenanceInterval, () => worker.maintain(), report)
      const startedAt = performance.now()
      let drained = true
      try {
        for (const kind of jobKinds) {
          for (let seat = 0; seat < concurrency[kind]; seat++) {
            const id: string = await boss.work(
              kind,
              {
                includeMetadata: true,
                perJobResults: true,
                pollingIntervalSeconds: pollingSeconds,
                heartbeatRefreshSeconds,
              },
              async (jobs: JobWithMetadata<JobData>[]) => {
                const results = await Promise.all(jobs.map(job => worker.perform(kind, job)))
                // If there was one there may be more: the next poll is at once.
                if (!stopping.aborted) boss.notifyWorker(id)
                return results
              },
            )
          }
        }
        const seats = jobKinds.map(kind => `${concurrency[kind]} ${kind}`).join(', ')
        report.data(`Working (${seats} at a time)`, { message_type: 'status', state: 'working', concurrency })
        if (flags.untilEmpty) {
          const kinds = jobKinds.filter(kind => concurrency[kind] > 0)
          while (!stopping.aborted && !isEmpty(await countJobs(database.knex), kinds)) {
            await sleep(500, undefined, { signal: stopping }).catch(() => undefined)
          }
        } else if (!stopping.aborted) await once(stopping, 'abort')
      } finally {
        const limit = setTimeout(() => {
          report.warn(`still at work after ${formatDuration(flags.drainTimeout)}: stopping at once`)
          drainLimit.abort(new Error('the time to finish is used up'))
        }, flags.drainTimeout)
        // Its own timeout would fail jobs whose work continues; ours makes the work end.
        await boss.stop({ graceful: true, timeout: flags.drainTimeout + 60_000 })
        clearTimeout(limit)
        drained = !forced.aborted
        await maintenance.stop()
        await worker.close().catch(error => report.detail(`while closing: ${error}`))
        await temp.remove()
      }
      const summary = summariseWorker(worker.totals, (performance.now() - startedAt) / 1_000)
      report.summary(summary)
      if (worker.failure) throw worker.failure
      run.lost.throwIfAborted()
      const { givenUp } = worker.totals
      const exitCode = exitCodeOf({
        stopped: context.stopExitCode(),
        drained,
        givenUp: flags.untilEmpty ? givenUp : 0,
      })
      return { exitCode, summary: summary.fields }
    },
    lease,
  )
}
