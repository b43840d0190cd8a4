/** `autodj worker`: takes jobs from the queue until it is told to stop, then finishes what is in hand. */
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobWithMetadata } from 'pg-boss'
import { requireFiles } from '../audio-files/mounted.ts'
import { folderExists } from '../audio-files/source.ts'
import type { Context } from '../context.ts'
import { formatCount, formatDuration, plural } from '../core/units.ts'
import { requireCodeForS3 } from '../db/application-code.ts'
import type { Database } from '../db/database.ts'
import { requireSchema } from '../db/require-schema.ts'
import { ExitCode, SafetyLimitError, UsageError } from '../errors.ts'
import { heartbeatRefreshSeconds, type JobData, openBoss } from '../queue/boss.ts'
import { countJobs, isEmpty } from '../queue/counts.ts'
import { type JobKind, jobKinds } from '../queue/names.ts'
import { type Lease, recordRun } from '../runs/recorded-run.ts'
import { makeTempFolder, sweepTempFolders } from '../runs/temp-folders.ts'
import type { WorkerFlags } from './flags.ts'
import type { Workplace } from './handlers.ts'
import { Worker, type WorkerTotals } from './worker.ts'

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
  const concurrency = await chooseWork(context, database, flags)
  if (concurrency.fetch + concurrency.upload > 0) await requireCodeForS3(database)
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
      const summary = summarise(worker.totals, (performance.now() - startedAt) / 1_000)
      report.summary(summary)
      if (worker.failure) throw worker.failure
      run.lost.throwIfAborted()
      return { exitCode: exitCodeOf(context, drained, worker.totals, flags), summary: summary.fields }
    },
    lease,
  )
}

/**
 * How many jobs of each kind, after a look at what they need.
 *
 * @throws UsageError if that is not there; SafetyLimitError where the audio folder looks unmounted, and what needs it
 *   was asked for, or nothing else is left to do
 */
async function chooseWork(
  context: Context,
  database: Database,
  flags: WorkerFlags,
): Promise<Record<JobKind, number>> {
  const { config, report, signal } = context
  const concurrency: Record<JobKind, number> = {
    fetch: flags.fetch ?? 4,
    upload: flags.upload ?? 8,
    analyze: flags.analyze ?? 2 * availableParallelism(),
  }
  if (jobKinds.every(kind => concurrency[kind] === 0)) {
    throw new UsageError('--fetch, --upload and --analyze are all 0: there is nothing to do', {
      code: 'usage.flag',
    })
  }
  if (concurrency.upload > 0 && !(await folderExists(config.audioRoot))) {
    const problem = `the audio folder ${config.audioRoot} is not there`
    if (flags.upload !== undefined) {
      throw new UsageError(`${problem}: this machine cannot upload`, {
        code: 'config.audio-root',
        cure: 'Mount it, set AUDIO_STORAGE_PATH to where the audio is, or pass --upload 0.',
      })
    }
    report.warn(`${problem}: uploads are left to other machines`)
    concurrency.upload = 0
  }
  if (concurrency.fetch + concurrency.upload > 0 && (await folderExists(config.audioRoot))) {
    try {
      await requireFiles(database, config.audioFolder, { force: flags.force, living: true })
    } catch (error) {
      if (!(error instanceof SafetyLimitError)) throw error
      // Every job would find its file gone, and fetch set its row UNAVAILABLE.
      if ((flags.fetch ?? 0) + (flags.upload ?? 0) > 0 || concurrency.analyze === 0) throw error
      report.warn(`${error.message}: fetching and uploads are left to other machines`)
      concurrency.fetch = 0
      concurrency.upload = 0
    }
  }
  if (concurrency.fetch + concurrency.upload > 0 || config.s3.bucket !== undefined) {
    const { fetch, upload, analyze } = concurrency
    const store = await context.store({ maxSockets: 8 + upload + 4 * fetch + 4 * analyze })
    await store.checkBucket(signal)
  }
  return concurrency
}

function exitCodeOf(context: Context, drained: boolean, totals: WorkerTotals, flags: WorkerFlags): ExitCode {
  const stopped = context.stopExitCode()
  if (!drained) return stopped ?? ExitCode.temporary
  // For a program that runs until it is stopped, being stopped is the normal end.
  if (stopped === ExitCode.timeBudget) return stopped
  return flags.untilEmpty && totals.givenUp > 0 ? ExitCode.someFailed : ExitCode.ok
}

function summarise({ done, retried, givenUp, interrupted }: WorkerTotals, seconds: number) {
  const all = done.fetch + done.upload + done.analyze
  const kinds = jobKinds.filter(kind => done[kind] > 0).map(kind => `${formatCount(done[kind])} ${kind}`)
  return {
    lines: [
      `${plural(all, 'job')} done in ${formatDuration(seconds * 1_000)}${kinds.length > 0 ? ` (${kinds.join(', ')})` : ''}.`,
      ...(retried > 0 ? [`${plural(retried, 'attempt')} failed and went back into the queue.`] : []),
      ...(interrupted > 0 ? [`${plural(interrupted, 'job')} put back for the next worker.`] : []),
      ...(givenUp > 0
        ? [`${plural(givenUp, 'job')} given up; see above, or the ledger, for the reasons.`]
        : []),
    ],
    next: givenUp > 0 ? '`autodj status --queues`' : undefined,
    fields: {
      done: all,
      by_kind: done,
      attempts_failed: retried,
      put_back: interrupted,
      given_up: givenUp,
      seconds,
    },
  }
}

/** Runs `work` again and again, never twice at a time; what goes wrong is for the next time. */
function repeat(
  milliseconds: number,
  work: () => Promise<void>,
  report: Context['report'],
): { stop(): Promise<void> } {
  const ending = new AbortController()
  const running = (async () => {
    while (!ending.signal.aborted) {
      await sleep(milliseconds, undefined, { signal: ending.signal }).catch(() => undefined)
      if (ending.signal.aborted) return
      await work().catch(error => report.detail(`maintenance: ${error}`))
    }
  })()
  return {
    async stop() {
      ending.abort()
      await running
    },
  }
}
