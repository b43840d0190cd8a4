/** Checks as values: a list in the order in which things break, each with what it found and what to do about it. */
import { AppError, toError } from '../errors.ts'

export type CheckState = 'ok' | 'warning' | 'failure' | 'skipped'

/** What a check says. `cause` is one line: what was found, or what is wrong. */
export interface Verdict {
  state: CheckState
  cause: string
  /** one line: what to do about it; of warnings and failures */
  cure?: string
}

export interface CheckResult extends Verdict {
  name: string
  /** ms */
  took: number
}

export interface Check {
  /** `bucket`, `clock`: stable, part of the `--json` contract */
  readonly name: string
  /** checks that must have passed (a warning passes); otherwise this one is skipped, naming the first that did not */
  readonly needs?: readonly string[]
  /** ms after which it counts as failed; default 5,000 */
  readonly timeoutMs?: number
  /** What it throws is a failure too: an AppError brings its cure along. */
  run(signal: AbortSignal): Promise<Verdict>
}

export const ok = (cause: string): Verdict => ({ state: 'ok', cause })
export const warning = (cause: string, cure: string): Verdict => ({ state: 'warning', cause, cure })
export const failure = (cause: string, cure: string): Verdict => ({ state: 'failure', cause, cure })
export const skipped = (cause: string): Verdict => ({ state: 'skipped', cause })

const defaultTimeoutMs = 5_000

/** How long anything is waited for. */
export interface Limits {
  /** ms to a connection */
  connectMs: number
  /** ms to an answer */
  idleMs: number
  /** what the time limits of checks are multiplied by */
  patience: number
}

/**
 * The limits for whoever waits this long for an answer. A setup that does not answer in seconds is as broken as one
 * that refuses, unless somebody knows that his link is slow.
 *
 * @param timeoutMs ms; default 5,000
 */
export const limitsOf = (timeoutMs = defaultTimeoutMs): Limits => ({
  connectMs: Math.round(timeoutMs * 0.6),
  idleMs: timeoutMs,
  patience: timeoutMs / defaultTimeoutMs,
})

/**
 * Runs the checks in order, one at a time, and yields each result as it comes. Never throws for what a check does.
 *
 * @param patience what their time limits are multiplied by
 */
export async function* runChecks(
  checks: readonly Check[],
  signal: AbortSignal,
  patience = 1,
): AsyncGenerator<CheckResult> {
  const states = new Map<string, CheckState>()
  for (const check of checks) {
    signal.throwIfAborted()
    const startedAt = performance.now()
    const unmet = check.needs?.find(name => states.get(name) === 'failure' || states.get(name) === 'skipped')
    const verdict =
      unmet === undefined ? await runCheck(check, signal, patience) : skipped(`needs "${unmet}"`)
    states.set(check.name, verdict.state)
    yield { name: check.name, ...verdict, took: performance.now() - startedAt }
  }
}

async function runCheck(check: Check, signal: AbortSignal, patience: number): Promise<Verdict> {
  const timeoutMs = (check.timeoutMs ?? defaultTimeoutMs) * patience
  const timeout = AbortSignal.timeout(timeoutMs)
  const both = AbortSignal.any([signal, timeout])
  // Not every effect below heeds a signal (a database connection, DNS): the wait ends in any case.
  const gaveUp = new Promise<never>((_, reject) => {
    both.addEventListener('abort', () => reject(toError(both.reason)), { once: true })
  })
  gaveUp.catch(() => {})
  try {
    return await Promise.race([check.run(both), gaveUp])
  } catch (thrown) {
    signal.throwIfAborted()
    if (timeout.aborted) {
      return failure(
        `no answer within ${timeoutMs / 1_000} s`,
        'Check host name, network and firewall between here and there; on a slow link, give it longer (--timeout 30s).',
      )
    }
    const error = toError(thrown)
    return failure(
      error.message,
      error instanceof AppError ? error.cure : 'See the message; --verbose shows more.',
    )
  }
}
