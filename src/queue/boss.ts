/**
 * The queue of background jobs: pg-boss on the library's own database, in a schema of its own, where Alembic does not
 * look. What a job does, and what it finds done already, is the ledger's business and not the queue's.
 */
import type { PGlite } from '@electric-sql/pglite'
import type { Knex } from 'knex'
import { fromKnex, fromPglite, type JobWithMetadata, PgBoss } from 'pg-boss'
import type { Context } from '../context.ts'
import { printable } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { AppError, FatalError, toError } from '../errors.ts'
import { deadLetters, type JobKind, jobKinds, jobSchema } from './names.ts'

/** What is to be done with one track. */
export interface JobData {
  readonly track: string
  /** Row of `analysis_jobs` that counts it. */
  readonly batch: string
  /** When it was queued, ISO 8601: an analysis after that is the one that was asked for. */
  readonly since: string
  readonly options: Readonly<Record<string, unknown>>
}

const day = 24 * 3_600

/**
 * A worker that is killed stops its heartbeat: 30 s later at most 15 s pass until a live worker notices, then at most
 * 10 s of back-off and 2 s until someone asks for work: under a minute.
 */
const heartbeatSeconds = 30
const superviseSeconds = 15

/** Failures are tried again after about 5, 10, 20 … seconds, for some twenty minutes in all. */
const queueOptions = {
  // A track is queued or in work once at most.
  policy: 'exclusive',
  deadLetter: deadLetters,
  retryLimit: 8,
  retryDelay: 5,
  retryBackoff: true,
  retryDelayMax: 600,
  heartbeatSeconds,
  // A large file over a slow line is not a reason to begin again; the heartbeat tells the living from the dead.
  expireInSeconds: day,
  retentionSeconds: 90 * day,
  deleteAfterSeconds: day,
} as const

/** How often a worker refreshes the heartbeat of what it has in hand, seconds. */
export const heartbeatRefreshSeconds = 10

/**
 * Starts pg-boss and makes schema and queues if they are missing. On PostgreSQL it has a few connections of its own,
 * so that heartbeats never wait behind the work; on PGlite it takes turns with everything else on the only one.
 *
 * Whoever opens it stops it.
 *
 * @param options.supervise also looks after jobs whose worker died, for workers
 * @throws FatalError if the database does not let it make its schema
 */
export async function openBoss(
  { config, report }: Pick<Context, 'config' | 'report'>,
  database: Database,
  { supervise }: { supervise: boolean },
): Promise<PgBoss> {
  const boss = new PgBoss({
    schema: jobSchema,
    schedule: false,
    supervise,
    superviseIntervalSeconds: superviseSeconds,
    monitorIntervalSeconds: superviseSeconds,
    registerInstance: supervise,
    openTelemetry: { enabled: false },
    ...(database.dialect === 'pglite'
      ? { db: fromPglite(takingTurns(database.knex)), backend: 'pglite' as const }
      : { connectionString: config.database.url, max: 4, application_name: 'autodj queue' }),
  })
  const complaint = onceAWhile(message => report.warn(message))
  boss.on('error', error => complaint(`queue: ${printable(error.message)}; trying again`))
  boss.on('warning', ({ message }) => report.detail(`queue: ${message}`))
  try {
    await boss.start()
    await boss.createQueue(deadLetters, { retentionSeconds: 90 * day, deleteAfterSeconds: day })
    for (const kind of jobKinds) await boss.createQueue(kind, queueOptions)
  } catch (thrown) {
    await boss.stop({ graceful: false }).catch(() => undefined)
    if (thrown instanceof AppError) throw thrown
    throw new FatalError(`the queue cannot be opened: ${printable(toError(thrown).message)}`, {
      code: 'queue.open',
      cure: `Let the user of DATABASE_URL own the schema ${jobSchema}, or create it (grant create on the database).`,
      cause: thrown,
    })
  }
  return boss
}

/**
 * Gives back a job that was taken and not tried to its end, so that it costs no retry: not given up even where this was
 * its last one. All or nothing; nothing happens if the job is someone else's by now.
 */
export async function putBack(
  boss: PgBoss,
  { knex }: Pick<Database, 'knex'>,
  kind: JobKind,
  { id, retryCount, retryLimit }: Pick<JobWithMetadata, 'id' | 'retryCount' | 'retryLimit'>,
): Promise<void> {
  await knex.transaction(async trx => {
    const db = fromKnex(trx)
    await boss.cancel(kind, { id, retryCount }, { db })
    // A job that was no longer this worker's is not cancelled now, and stays as it is.
    await boss.resume(kind, id, { db })
    // Whoever takes it next counts one more attempt: it may have one more.
    await boss.update(kind, undefined, { id, retryLimit: retryLimit + 1, db })
  })
}

/** What pg-boss wants of a PGlite, each call with the one connection to itself: never inside someone's transaction. */
function takingTurns(knex: Knex): Pick<PGlite, 'query' | 'exec'> {
  const client = knex.client as {
    acquireConnection(): Promise<PGlite>
    releaseConnection(connection: PGlite): Promise<void>
  }
  async function alone<T>(work: (pglite: PGlite) => Promise<T>): Promise<T> {
    const pglite = await client.acquireConnection()
    try {
      return await work(pglite)
    } finally {
      await client.releaseConnection(pglite)
    }
  }
  return {
    query: (text, values, options) => alone(pglite => pglite.query(text, values, options)),
    exec: (text, options) =>
      alone(async pglite => {
        try {
          return await pglite.exec(text, options)
        } catch (error) {
          // A block that failed in its middle must not leave its transaction to whoever comes next.
          await pglite.exec('rollback').catch(() => undefined)
          throw error
        }
      }),
  }
}

/** Says the same thing once in half a minute: a database that is away is asked by every worker, all the time. */
function onceAWhile(say: (message: string) => void): (message: string) => void {
  const said = new Map<string, number>()
  return message => {
    const now = performance.now()
    if (now - (said.get(message) ?? Number.NEGATIVE_INFINITY) < 30_000) return
    said.set(message, now)
    say(message)
  }
}
