/**
 * Many single look-ups as few queries, without a cache: what is asked for while a query runs goes into the next one.
 * No answer is ever older than its question, and under load a query carries dozens of them.
 */

interface BatchOptions<K, V> {
  /** Answers a batch of distinct keys; a key that it leaves out is answered `undefined`. */
  readonly load: (keys: readonly K[]) => Promise<ReadonlyMap<K, V>>
  /** batches on their way at a time */
  readonly maxInFlight: number
  /** keys in one batch */
  readonly maxBatch: number
}

/** @returns the look-up; it rejects when its batch does */
export function batched<K, V>({
  load,
  maxInFlight,
  maxBatch,
}: BatchOptions<K, V>): (key: K) => Promise<V | undefined> {
  interface Waiting {
    resolve(value: V | undefined): void
    reject(error: unknown): void
  }
  let waiting = new Map<K, Waiting[]>()
  let inFlight = 0
  let scheduled = false

  async function send(): Promise<void> {
    scheduled = false
    if (waiting.size === 0 || inFlight >= maxInFlight) return
    let batch = waiting
    if (batch.size > maxBatch) {
      const entries = [...batch]
      batch = new Map(entries.slice(0, maxBatch))
      waiting = new Map(entries.slice(maxBatch))
      schedule()
    } else waiting = new Map()
    inFlight++
    try {
      const found = await load([...batch.keys()])
      for (const [key, all] of batch) for (const one of all) one.resolve(found.get(key))
    } catch (error) {
      for (const all of batch.values()) for (const one of all) one.reject(error)
    } finally {
      inFlight--
      if (waiting.size > 0) schedule()
    }
  }

  /** After everything that has arrived by now has been read: one tick of the event loop brings many requests. */
  function schedule(): void {
    if (scheduled || inFlight >= maxInFlight) return
    scheduled = true
    setImmediate(send)
  }

  return key =>
    new Promise((resolve, reject) => {
      const others = waiting.get(key)
      if (others) others.push({ resolve, reject })
      else waiting.set(key, [{ resolve, reject }])
      schedule()
    })
}
