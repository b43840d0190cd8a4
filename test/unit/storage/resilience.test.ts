import { describe, expect, test, vi } from 'vitest'
import { CongestionControl } from '../../../src/core/storage/congestion.ts'
import { TemporaryError } from '../../../src/errors.ts'
import { isHalting, Resilience, RunHalted } from '../../../src/storage/resilience.ts'
import { StoreError, type StoreErrorKind } from '../../../src/storage/store.ts'

describe('retries', () => {
  const control = () => new CongestionControl({ initial: 8, min: 1, max: 64, window: 1_000 }, 0)
  const silent = { warn: vi.fn(), note: vi.fn(), detail: vi.fn() }

  /** Fails with these kinds, one after the other, then succeeds. */
  function failing(...kinds: StoreErrorKind[]) {
    const calls = { count: 0 }
    return {
      calls,
      request: async () => {
        const kind = kinds[calls.count++]
        if (kind) throw new StoreError(kind, kind)
        return 'done'
      },
    }
  }

  function resilience(options: Partial<ConstructorParameters<typeof Resilience>[0]> = {}) {
    return new Resilience({
      probe: async () => {},
      control: control(),
      report: silent,
      maxOutage: 60_000,
      signal: new AbortController().signal,
      random: () => 0,
      ...options,
    })
  }

  test('what no other track will be spared ends the run', () => {
    for (const kind of [
      'credentials',
      'no-credentials',
      'expired-token',
      'no-bucket',
      'wrong-region',
      'clock-skew',
    ])
      expect([kind, isHalting(new StoreError(kind as StoreErrorKind, ''))]).toEqual([kind, true])
    for (const kind of ['denied', 'missing', 'network', 'throttled', 'precondition'])
      expect([kind, isHalting(new StoreError(kind as StoreErrorKind, ''))]).toEqual([kind, false])
    expect(isHalting(new RunHalted(new Error('x')))).toBe(true)
    expect(isHalting(new Error('x'))).toBe(false)
  })

  test('an outage that ends with a refusal of the credentials ends the run at once, by that', async () => {
    let probes = 0
    const one = resilience({
      probe: async () => {
        probes++
        throw new StoreError('credentials', 'refused')
      },
    })
    const halted = one.run(failing(...Array(50).fill('unavailable')).request)
    await expect(halted).rejects.toMatchObject({ cause: { kind: 'credentials' } })
    expect(probes).toBe(1)
    await expect(one.run(async () => 'next')).rejects.toBeInstanceOf(RunHalted)
  })

  test('what may pass is tried again', async () => {
    const { request, calls } = failing('bad-digest', 'conflict', 'network')
    expect(await resilience().run(request)).toBe('done')
    expect(calls.count).toBe(4)
  })

  test.each(['denied', 'exists', 'invalid'] as const)('%s is not', async kind => {
    const { request, calls } = failing(kind)
    await expect(resilience().run(request)).rejects.toMatchObject({ kind })
    expect(calls.count).toBe(1)
  })

  test('SlowDown halves the concurrency', async () => {
    const slowed = control()
    await resilience({ control: slowed, now: () => 1 }).run(failing('throttled').request)
    expect([slowed.limit, slowed.halvings]).toEqual([4, 1])
  })

  test.each([
    ['throttled', undefined, 4],
    ['network', undefined, 4],
    ['timeout', undefined, 4],
    ['unavailable', 503, 4],
    // A failure of the store's own says nothing of how many it takes.
    ['unavailable', 500, 8],
    ['bad-digest', undefined, 8],
    ['conflict', 409, 8],
  ] as const)('%s (status %s): %i at a time from then on', async (kind, status, left) => {
    const limit = control()
    let isFirst = true
    await resilience({ control: limit, now: () => 1 }).run(async () => {
      if (!isFirst) return
      isFirst = false
      throw new StoreError(kind, kind, { ...(status !== undefined && { status }) })
    })
    expect(limit.limit).toBe(left)
  })

  test('many that fail at once, while others succeed, were too many: fewer at a time, and no outage', async () => {
    const limit = control()
    const one = resilience({ control: limit, now: () => 1 })
    const outcomes = Array.from({ length: 40 }, (_, index) =>
      one.run(index % 4 === 0 ? async () => 'done' : failing('network').request),
    )
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(['done']))
    expect([one.outages, one.retries, limit.limit]).toEqual([0, 30, 4])
  })

  test('an outage makes it fewer at a time once, however long it lasts', async () => {
    const limit = control()
    const clock = { now: 0 }
    let isAway = true
    const one = resilience({
      control: limit,
      now: () => clock.now,
      probe: async () => {
        isAway = false
      },
    })
    const all = Promise.withResolvers<void>()
    let begun = 0
    const request = async () => {
      if (!isAway) return
      // The second attempts are under way together: the outage is found by the first of them that fails.
      if (++begun === 40) all.resolve()
      const turns = begun - 20
      if (turns > 0) await all.promise
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
      // What still fails once it is known is of another window.
      if (one.outages > 0) clock.now += 2_000
      throw new StoreError('network', 'refused')
    }
    await Promise.all(Array.from({ length: 20 }, () => one.run(request)))
    expect([one.outages, limit.limit, limit.halvings]).toEqual([1, 4, 1])
    expect(clock.now).toBeGreaterThan(2_000)
  })

  test('one request that keeps failing while others succeed is given up', async () => {
    const one = resilience()
    const outcome = one.run(async () => {
      await one.run(async () => 'others succeed')
      throw new StoreError('timeout', 'stalled')
    })
    await expect(outcome).rejects.toMatchObject({ kind: 'timeout' })
    expect(one.outages).toBe(0)
  })

  test('an outage: everything waits, one probe asks, all go on', async () => {
    let away = true
    let probes = 0
    const one = resilience({
      probe: async () => {
        if (++probes === 3) away = false
        if (away) throw new StoreError('network', 'refused')
      },
    })
    let sent = 0
    const requests = Array.from({ length: 20 }, () =>
      one.run(async () => {
        sent++
        if (away) throw new StoreError('network', 'refused')
        return 'done'
      }),
    )
    expect(new Set(await Promise.all(requests))).toEqual(new Set(['done']))
    expect(one.outages).toBe(1)
    expect(probes).toBe(3)
    expect(sent).toBeLessThanOrEqual(60)
  })

  test('an outage longer than allowed halts the run for all, as temporary', async () => {
    const one = resilience({
      probe: async () => {
        throw new StoreError('unavailable', 'still away')
      },
      maxOutage: 300,
    })
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, () => one.run(failing(...Array(50).fill('unavailable')).request)),
    )
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(RunHalted) })
    }
    await expect(one.run(async () => 'late')).rejects.toMatchObject({ cause: expect.any(TemporaryError) })
  })

  test('that the store is away is said once it has answered nothing to a question of its own', async () => {
    const report = { ...silent, warn: vi.fn(), note: vi.fn() }
    let probes = 0
    const one = resilience({
      report,
      probe: async () => {
        expect(report.warn).toHaveBeenCalledTimes(probes++ === 0 ? 0 : 1)
        if (probes < 3) throw new StoreError('network', 'refused')
      },
    })
    await Promise.all(Array.from({ length: 5 }, () => one.run(failing('network', 'network').request)))
    expect([probes, one.absences]).toEqual([3, 1])
    expect(report.warn.mock.calls).toEqual([
      [expect.stringMatching(/^S3 cannot be reached/), expect.anything()],
    ])
    expect(report.note.mock.calls).toEqual([[expect.stringMatching(/^S3 is back after/)]])
  })

  test('a store that is asked and keeps silent is said to be away before it answers', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const told = Promise.withResolvers<void>()
      const report = { ...silent, warn: vi.fn(() => told.resolve()), note: vi.fn() }
      const asked = Promise.withResolvers<void>()
      const one = resilience({
        report,
        probe: () => {
          asked.resolve()
          return told.promise
        },
      })
      const all = Promise.all(Array.from({ length: 5 }, () => one.run(failing('timeout', 'timeout').request)))
      await asked.promise
      await vi.advanceTimersByTimeAsync(1_900)
      expect(report.warn).not.toHaveBeenCalled()
      await vi.advanceTimersByTimeAsync(200)
      await all
      expect([report.warn.mock.calls.length, report.note.mock.calls.length]).toEqual([1, 1])
    } finally {
      vi.useRealTimers()
    }
  })

  test('and one that has answered is not, whatever comes of it later', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const report = { ...silent, warn: vi.fn(), note: vi.fn() }
      const one = resilience({ report })
      await Promise.all(Array.from({ length: 5 }, () => one.run(failing('timeout', 'timeout').request)))
      await vi.advanceTimersByTimeAsync(60_000)
      expect([report.warn.mock.calls, one.absences]).toEqual([[], 0])
    } finally {
      vi.useRealTimers()
    }
  })

  test('without any time for outages the store is asked once all the same', async () => {
    const one = resilience({ maxOutage: 0 })
    expect(await one.run(failing(...Array(5).fill('network')).request)).toBe('done')
  })

  test.each(['credentials', 'no-bucket', 'expired-token', 'wrong-region', 'clock-skew'] as const)(
    '%s halts the run at once',
    async kind => {
      const one = resilience()
      await expect(one.run(failing(kind).request)).rejects.toBeInstanceOf(RunHalted)
      await expect(one.run(async () => 'next')).rejects.toBeInstanceOf(RunHalted)
    },
  )

  const always = async (kind: StoreErrorKind): Promise<never> => {
    throw new StoreError(kind, kind)
  }

  test.each(['network', 'timeout', 'unavailable'] as const)(
    '%s of one request alone, while the store answers the probe: its own failure, and no outage for ever',
    async kind => {
      const report = { ...silent, warn: vi.fn(), note: vi.fn() }
      const one = resilience({ report })
      let sent = 0
      const alone = one.run(() => {
        sent++
        return always(kind)
      })
      await expect(alone).rejects.toMatchObject({
        kind,
        code: `store.${kind}`,
        message: expect.stringMatching(/although S3 answers/),
        cure: expect.stringMatching(/Run it again/),
      })
      // Three times the store is asked, and each time it is there.
      expect([sent, one.outages, one.absences]).toEqual([16, 3, 0])
      expect([report.warn.mock.calls, report.note.mock.calls]).toEqual([[], []])
      expect(await one.run(async () => 'the run goes on')).toBe('the run goes on')
    },
  )

  test('what succeeds at last, after the store was found to be back three times, succeeds', async () => {
    expect(await resilience().run(failing(...Array(15).fill('network')).request)).toBe('done')
  })

  test('what fails otherwise after an outage is given up as ever', async () => {
    const kinds = [...Array(5).fill('network'), ...Array(100).fill('throttled')] as StoreErrorKind[]
    const { request, calls } = failing(...kinds)
    await expect(resilience().run(request)).rejects.toMatchObject({ kind: 'throttled' })
    expect(calls.count).toBe(5 + 8)
  })

  test('one of many that fails for ever fails alone', async () => {
    const one = resilience()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        one.run(index === 7 ? () => always('network') : async () => index),
      ),
    )
    expect(outcomes.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([7])
  })

  test('those that wait out outages that others find are not counted as failing alone', async () => {
    const one = resilience()
    let waits = 0
    // Each outage is found by five others, while this one is on its way.
    const outage = async () => {
      await Promise.all(
        Array.from({ length: 5 }, () => one.run(failing('network', 'network').request)).map(other =>
          other.catch(() => {}),
        ),
      )
    }
    const patient = one.run(async () => {
      if (++waits > 4) return 'done'
      void outage()
      while (one.outages < waits) await new Promise(setImmediate)
      return always('network')
    })
    expect(await patient).toBe('done')
  })

  describe('told to stop', () => {
    const awayForEver = () => always('unavailable')

    test('what waits for the store ends at once, and nothing waits from then on', async () => {
      const stopping = new AbortController()
      const probed = Promise.withResolvers<void>()
      const one = resilience({
        stopping: stopping.signal,
        maxOutage: 3_600_000,
        probe: () => {
          probed.resolve()
          return awayForEver()
        },
      })
      const waiting = Array.from({ length: 8 }, () => one.run(awayForEver))
      const settled = Promise.allSettled(waiting)
      await probed.promise
      stopping.abort('sigterm')
      for (const outcome of await settled)
        expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'AbortError' } })
      await expect(one.run(async () => 'next')).rejects.toMatchObject({ name: 'AbortError' })
    })

    test('a probe that hangs is given up', async () => {
      const stopping = new AbortController()
      const probed = Promise.withResolvers<void>()
      const one = resilience({
        stopping: stopping.signal,
        probe: signal => {
          probed.resolve()
          return new Promise((_, reject) =>
            signal.addEventListener('abort', () => reject(new StoreError('aborted', 'aborted'))),
          )
        },
      })
      const waiting = Promise.allSettled(Array.from({ length: 5 }, () => one.run(awayForEver)))
      await probed.promise
      stopping.abort('sigterm')
      expect((await waiting).map(({ status }) => status)).toEqual(Array(5).fill('rejected'))
    })

    test('what is being asked is finished, and what belongs to it is asked for', async () => {
      const stopping = new AbortController()
      const one = resilience({ stopping: stopping.signal })
      const answer = Promise.withResolvers<string>()
      const asked = one.run(() => answer.promise)
      stopping.abort('sigterm')
      answer.resolve('done')
      expect(await asked).toBe('done')
      expect(await one.run(async () => 'its proof')).toBe('its proof')
    })
  })
})
