import { setTimeout as sleep } from 'node:timers/promises'
import { fullJitter } from '../core/retry.ts'
import { StoreError } from './store.ts'

/**
 * Sends a request up to `attempts` times, with growing pauses, while its failure is one that may pass.
 *
 * @throws the last failure; AbortError in a pause
 */
export async function persistently<T>(
  signal: AbortSignal | undefined,
  attempts: number,
  send: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send()
    } catch (thrown) {
      if (!(thrown instanceof StoreError) || !thrown.retryable || attempt >= attempts) throw thrown
      await sleep(fullJitter(attempt, Math.random(), { base: 200, cap: 5_000 }), undefined, { signal })
    }
  }
}
