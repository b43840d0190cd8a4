/** Housekeeping beside the work. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Reporter } from '../report/reporter.ts'

/**
 * Runs `work` again and again, never twice at a time; what goes wrong is for the next time.
 *
 * @returns how to end it: resolves once what is under way has ended
 */
export function repeat(
  milliseconds: number,
  work: () => Promise<void>,
  report: Pick<Reporter, 'detail'>,
): { stop(): Promise<void> } {
  const ending = new AbortController()
  const { signal } = ending
  const running = (async () => {
    for (;;) {
      await sleep(milliseconds, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
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
