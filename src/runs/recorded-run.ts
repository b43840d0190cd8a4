/** A run in the ledger: begun, kept alive by heartbeats, and ended with what became of it. */
import { randomUUID } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import packageJson from '../../package.json' with { type: 'json' }
import type { Context } from '../context.ts'
import type { Database } from '../db/database.ts'
import { AppError, ExitCode, systemRefusal, TemporaryError, toError } from '../errors.ts'

export interface RecordedRun {
  readonly id: string
  /**
   * aborted when another run declared this one dead: its claims may be someone else's by now. The reason is the error
   * with which the run has to end: `lost.throwIfAborted()`
   */
  readonly lost: AbortSignal
  /** aborted when nothing new is to be begun: a signal, the time budget, `lost`, or {@link halt} */
  readonly stopping: AbortSignal
  /** Ends the run from within: what is in flight is finished, nothing new is begun. */
  halt(reason: Error): void
}

/** How long a run is believed alive after its last sign of life, and how often it gives one. */
export interface Lease {
  readonly seconds: number
  /** milliseconds */
  readonly heartbeat: number
}

/**
 * Runs `work` as a run of the ledger. Runs of this machine whose process is gone are declared dead first, so that
 * their claims and locks are free at once; those of other machines are free when their lease runs out.
 *
 * @param work gives the exit code and the summary that the ledger keeps
 * @param lease default two minutes, renewed every half
 */
export async function recordRun(
  context: Context,
  { knex }: Database,
  work: (run: RecordedRun) => Promise<{ exitCode: ExitCode; summary: Record<string, unknown> }>,
  lease?: Lease,
): Promise<ExitCode> {
  const ledger = await import('../db/ledger.ts')
  const { abandonDeadRuns, finishRun, heartbeat, startRun } = ledger
  const { seconds, heartbeat: interval } = lease ?? {
    seconds: ledger.defaultLeaseSeconds,
    heartbeat: ledger.heartbeatMs,
  }
  const id = randomUUID()
  const host = machineName()
  await abandonDeadRuns(knex, { host, isAlive: isProcessAlive })
  await startRun(
    knex,
    {
      id,
      command: context.invocation.command,
      args: { argv: context.invocation.args },
      host,
      pid: process.pid,
      version: packageJson.version,
    },
    seconds,
  )
  const lost = new AbortController()
  const halted = new AbortController()
  const timer = setInterval(() => {
    heartbeat(knex, id, seconds).then(
      alive => {
        if (!alive) lost.abort(declaredDead())
      },
      error => context.report.detail(`heartbeat: ${error}`),
    )
  }, interval)
  timer.unref()
  let end: { exitCode: ExitCode; summary: Record<string, unknown> } | undefined
  let failure: Error | undefined
  try {
    end = await work({
      id,
      lost: lost.signal,
      stopping: AbortSignal.any([context.stopping, context.signal, lost.signal, halted.signal]),
      halt: reason => halted.abort(reason),
    })
    return end.exitCode
  } catch (thrown) {
    failure = toError(thrown)
    throw thrown
  } finally {
    clearInterval(timer)
    const told = failure instanceof AppError ? failure : failure && systemRefusal(failure)
    const exitCode = end?.exitCode ?? context.stopExitCode() ?? told?.exitCode ?? ExitCode.fatal
    const interrupted = exitCode === ExitCode.sigint || exitCode === ExitCode.sigterm
    await finishRun(knex, id, {
      state: interrupted ? 'interrupted' : exitCode === ExitCode.ok ? 'done' : 'failed',
      exitCode,
      summary: end?.summary ?? {},
    }).catch(error => context.report.detail(`the end of the run could not be recorded: ${error}`))
  }
}

function declaredDead(): TemporaryError {
  return new TemporaryError('another run declared this one dead because its heartbeat was late', {
    code: 'run.lost',
  })
}

/**
 * This machine, for telling whether a process id means anything here: the host name, and on Linux the namespace
 * that process ids belong to, since containers may share a name.
 */
export function machineName(): string {
  try {
    return `${hostname()} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return hostname()
  }
}

/** Whether there is a process of that id on this machine. */
export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it is there, and someone else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
