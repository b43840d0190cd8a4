/** What a worker says at its end, and with which code it ends. */
import { formatCount, formatDuration, plural } from '../core/units.ts'
import { ExitCode } from '../errors.ts'
import { jobKinds } from '../queue/names.ts'
import type { WorkerTotals } from './worker.ts'

/** @param seconds that it worked */
export function summariseWorker({ done, retried, givenUp, interrupted }: WorkerTotals, seconds: number) {
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

interface WorkerEnd {
  /** the exit code of what told it to stop */
  readonly stopped: ExitCode | undefined
  /** what was in hand came to its end */
  readonly drained: boolean
  /** jobs given up, of one that was to end with its jobs */
  readonly givenUp: number
}

/** For a program that runs until it is stopped, being stopped is the normal end. */
export function exitCodeOf({ stopped, drained, givenUp }: WorkerEnd): ExitCode {
  if (!drained) return stopped ?? ExitCode.temporary
  if (stopped === ExitCode.timeBudget) return stopped
  return givenUp > 0 ? ExitCode.someFailed : ExitCode.ok
}
