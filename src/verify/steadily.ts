/** A body that must keep coming: one that drips would be waited for without end. */

interface Pace {
  /** ms, besides what the bytes take at the least rate */
  deadlineMs?: number
  /** bytes a second, on average */
  leastRate?: number
  signal: AbortSignal
}

/**
 * The chunks of a body, as long as they come at the least rate on average.
 * @throws Error when they do not, or the reason of the signal as soon as it is aborted; the body is closed then
 */
export async function* steadily(
  body: AsyncIterable<Uint8Array>,
  { deadlineMs = 30_000, leastRate = 2_048, signal }: Pace,
): AsyncGenerator<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]()
  const startedAt = performance.now()
  let length = 0
  let give: (error: unknown) => void = () => {}
  const givenUp = new Promise<never>((_, reject) => {
    give = reject
  })
  givenUp.catch(() => {})
  const abandon = () => give(signal.reason)
  signal.addEventListener('abort', abandon)
  try {
    for (;;) {
      signal.throwIfAborted()
      const left = startedAt + deadlineMs + (length / leastRate) * 1_000 - performance.now()
      const timer = setTimeout(
        () => give(new Error(`only ${length} bytes arrived in time`)),
        Math.max(0, Math.ceil(left)),
      )
      const next = await Promise.race([iterator.next(), givenUp]).finally(() => clearTimeout(timer))
      if (next.done) return
      length += next.value.byteLength
      yield next.value
    }
  } finally {
    signal.removeEventListener('abort', abandon)
    // Not awaited: a body whose next chunk does not come does not end either.
    iterator.return?.().catch(() => {})
  }
}
