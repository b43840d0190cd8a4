/** Runs of autodj: who is alive, what each has claimed, and the named locks. */
import type { Knex } from 'knex'
import { LockedError } from '../../errors.ts'

/** How long a run is believed alive after its last heartbeat, in s, and how often it gives one, in ms. */
export const defaultLeaseSeconds = 120
export const heartbeatMs = 30_000

type RunState = 'running' | 'done' | 'failed' | 'interrupted' | 'abandoned'

interface NewRun {
  id: string
  command: string
  /** Flags as given; never a secret. */
  args: Record<string, unknown>
  host: string
  pid: number
  version: string
}

interface Run extends NewRun {
  startedAt: Date
  finishedAt: Date | null
  state: RunState
  exitCode: number | null
  summary: Record<string, unknown> | null
}

const seconds = (knex: Knex, count: number): Knex.Raw => knex.raw('now() + make_interval(secs => ?)', [count])

/** Records a run. Runs whose lease ran out without an end are marked abandoned, and their claims dropped. */
export async function startRun(knex: Knex, run: NewRun, leaseSeconds = defaultLeaseSeconds): Promise<void> {
  await knex.raw(
    `with dead as (
       update autodj_ledger.runs set state = 'abandoned'
       where id in (select id from autodj_ledger.runs where state = 'running' and lease_until < now()
                    order by id for update skip locked)
       returning id
     ), freed as (
       delete from autodj_ledger.claims where run_id in (select id from dead)
     )
     insert into autodj_ledger.runs (id, command, args, host, pid, version, lease_until)
     values (:id, :command, :args, :host, :pid, :version, now() + make_interval(secs => :leaseSeconds))`,
    { ...run, args: JSON.stringify(run.args), leaseSeconds },
  )
}

/**
 * Prolongs the run's lease, and that of the named leases it holds.
 *
 * @returns false when another run has declared it dead in the meantime: stop claiming, its claims may be someone else's
 */
export async function heartbeat(
  knex: Knex,
  runId: string,
  leaseSeconds = defaultLeaseSeconds,
): Promise<boolean> {
  return knex.transaction(async trx => {
    const alive = await trx('autodj_ledger.runs')
      .where({ id: runId, state: 'running' })
      .update({ heartbeat_at: trx.raw('now()'), lease_until: seconds(trx, leaseSeconds) })
    await trx('autodj_ledger.leases')
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
  const { state, exitCode } = end
  await knex.raw(
    `with claims as (delete from autodj_ledger.claims where run_id = :runId),
       leases as (delete from autodj_ledger.leases where run_id = :runId)
     update autodj_ledger.runs
     set state = :state, exit_code = :exitCode, summary = :summary, finished_at = now(), lease_until = now()
     where id = :runId`,
    { runId, state, exitCode, summary: JSON.stringify(end.summary) },
  )
}

/** The newest runs, of one command or of all. */
export async function recentRuns(
  knex: Knex,
  { command, limit }: { command?: string; limit: number },
): Promise<Run[]> {
  const query = knex('autodj_ledger.runs').select({
    id: 'id',
    command: 'command',
    args: 'args',
    host: 'host',
    pid: 'pid',
    version: 'version',
    startedAt: 'started_at',
    finishedAt: 'finished_at',
    state: 'state',
    exitCode: 'exit_code',
    summary: 'summary',
  })
  if (command !== undefined) query.where({ command })
  return query.orderBy('started_at', 'desc').limit(limit)
}

/** What the newest run of a command told, of those that told it: some come to nothing, or are cut short. */
export async function lastTold<T>(
  knex: Knex,
  command: string,
  read: (run: Run) => T | undefined,
): Promise<T | undefined> {
  for (const run of await recentRuns(knex, { command, limit: 20 })) {
    const told = read(run)
    if (told !== undefined) return told
  }
  return undefined
}

/** A number of its summary that the newest run of a command told, larger than 0. */
export function lastNumber(knex: Knex, command: string, field: string): Promise<number | undefined> {
  return lastTold(knex, command, ({ summary }) => Number(summary?.[field] ?? 0) || undefined)
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
  const running = (await knex('autodj_ledger.runs')
    .select('id', 'pid')
    .where({ state: 'running', host: machine.host })) as { id: string; pid: number }[]
  const dead = running.filter(run => !machine.isAlive(run.pid)).map(run => run.id)
  if (dead.length === 0) return
  await knex.transaction(async trx => {
    await trx.raw(
      `update autodj_ledger.runs set state = 'abandoned', lease_until = now()
       where id = any(?::uuid[]) and state = 'running'`,
      [dead],
    )
    await trx.raw('delete from autodj_ledger.claims where run_id = any(?::uuid[])', [dead])
    await trx.raw('delete from autodj_ledger.leases where run_id = any(?::uuid[])', [dead])
  })
}

/** Those of these runs that are alive: running, their lease not run out. What no run owns is of none. */
export async function runsAlive<Owner extends string | null | undefined>(
  knex: Knex,
  owners: readonly Owner[],
): Promise<ReadonlySet<Owner>> {
  const runIds = new Set(owners.flatMap(id => id ?? []))
  if (runIds.size === 0) return new Set()
  const rows = (await knex('autodj_ledger.runs')
    .select('id')
    .whereRaw('id = any(?::uuid[])', [[...runIds]])
    .where({ state: 'running' })
    .whereRaw('lease_until > now()')) as { id: Owner }[]
  return new Set(rows.map(run => run.id))
}

/** Gives up the claims of a run on these tracks, or on all. */
export async function releaseClaims(
  knex: Knex,
  claim: { kind: string; runId: string; trackIds?: readonly string[] },
): Promise<void> {
  const query = knex('autodj_ledger.claims').where({ kind: claim.kind, run_id: claim.runId })
  if (claim.trackIds !== undefined) query.whereRaw('track_id = any(?::uuid[])', [[...claim.trackIds]])
  await query.del()
}

/** The lock of whatever removes objects or files, or rests on files that another one might remove. */
const removalLease = 'removal'

/**
 * Takes the lock of removals for a run, once no single removal of another one is under way. It ends with the run.
 *
 * @throws LockedError naming the holder and its age
 */
export async function acquireRemovalLease(
  knex: Knex,
  holder: { runId: string; host: string; pid: number },
): Promise<void> {
  await knex.transaction(async trx => {
    // A single removal looks at hundreds of objects, which may take its time.
    await trx.raw('set local lock_timeout = 0')
    await trx.raw('select pg_advisory_xact_lock(hashtextextended(?, 0))', [
      `autodj_ledger.leases ${removalLease}`,
    ])
    await acquireLease(trx, { name: removalLease, ...holder })
  })
}

/**
 * Which other run holds the lock of removals, told by its command. If there is none, none takes it before the
 * transaction ends: for runs that remove one thing at a time, any number of them side by side.
 */
export async function removalHolder(trx: Knex, runId: string): Promise<string | undefined> {
  await trx.raw('select pg_advisory_xact_lock_shared(hashtextextended(?, 0))', [
    `autodj_ledger.leases ${removalLease}`,
  ])
  const holder = (await trx('autodj_ledger.leases as l')
    .leftJoin('autodj_ledger.runs as r', 'r.id', 'l.run_id')
    .where('l.name', removalLease)
    .whereNot('l.run_id', runId)
    .whereRaw('l.expires_at > now()')
    .first('r.command')) as { command: string | null } | undefined
  return holder && `\`${holder.command ?? 'another run'}\``
}

/**
 * Takes the named lock for a run, or prolongs it where the run holds it already. A lock that ran out is taken over.
 *
 * @throws LockedError that names the holder's command, host and pid, and since when
 */
export async function acquireLease(
  knex: Knex,
  lease: { name: string; runId: string; host: string; pid: number },
  leaseSeconds = defaultLeaseSeconds,
): Promise<void> {
  const { rows } = await knex.raw<{ rows: { run_id: string }[] }>(
    `insert into autodj_ledger.leases as l (name, run_id, host, pid, expires_at)
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
  const holder = (await knex('autodj_ledger.leases as l')
    .join('autodj_ledger.runs as r', 'r.id', 'l.run_id')
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
      cure: `Wait for it; if it is dead, the lock expires at ${holder.expires.toISOString()}.`,
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
