import { describe, expect, test } from 'vitest'
import { CongestionControl, type CongestionOptions } from '../../../../src/core/storage/congestion.ts'

const options: CongestionOptions = { initial: 8, min: 1, max: 64, window: 1_000 }
/** What a request counts for besides its bytes. */
const weight = 64 * 1024

/** A store that moves `rate(limit)` weights a second, as one limit's worth of requests, or `ended` of them. */
class Drive {
  now = 0
  readonly control: CongestionControl

  constructor(changes: Partial<CongestionOptions> = {}) {
    this.control = new CongestionControl({ ...options, ...changes }, 0)
  }

  /** @returns the limit after each window */
  windows(
    count: number,
    rate: (limit: number) => number,
    { length = 1_000, ended = (limit: number) => limit } = {},
  ): number[] {
    return Array.from({ length: count }, () => {
      const requests = ended(this.control.limit)
      const bytes = (weight * rate(this.control.limit) * length) / 1_000 / requests - weight
      this.now += length
      for (let index = 0; index < requests; index++) this.control.succeeded(bytes, this.now)
      return this.control.limit
    })
  }
}

describe('congestion control', () => {
  test('doubles while that brings throughput, up to the maximum, and not beyond', () => {
    const drive = new Drive()
    expect(drive.windows(6, limit => limit * 100)).toEqual([16, 32, 64, 64, 64, 64])
    expect(drive.control.peak).toBe(64)
    drive.control.throttled(60_000)
    expect([drive.control.limit, drive.control.peak, drive.control.halvings]).toEqual([32, 64, 1])
  })

  test('goes back from a doubling that brought less than a quarter', () => {
    for (const [second, limit] of [
      [1_250, 32],
      [1_249, 8],
    ] as const) {
      const drive = new Drive()
      drive.windows(1, () => 1_000)
      expect(drive.control.limit).toBe(16)
      drive.windows(1, () => second)
      expect(drive.control.limit).toBe(limit)
    }
  })

  test('then adds a quarter every sixteen windows, and keeps what brings five per cent', () => {
    const drive = new Drive()
    // A doubling in the first window, taken back in the second, rest, an addition, taken back, rest …
    expect(drive.windows(40, () => 1_000)).toEqual([
      16,
      ...Array(17).fill(8),
      10,
      ...Array(17).fill(8),
      10,
      ...Array(3).fill(8),
    ])
    for (const [gained, limits] of [
      [1_050, [10, 13]],
      [1_049, [10, 8]],
    ] as const) {
      const one = new Drive()
      one.windows(18, () => 1_000)
      expect([...one.windows(1, () => 1_000), ...one.windows(1, () => gained)]).toEqual(limits)
    }
  })

  test('finds what a store can take and stays there', () => {
    const drive = new Drive({ initial: 16, max: 256 })
    drive.windows(300, limit => Math.min(limit, 39) * 100)
    expect(drive.control.limit).toBe(40)
  })

  test('it is the rate that has to grow, not what a longer window moved', () => {
    const longer = new Drive()
    longer.windows(1, () => 1_000)
    longer.windows(1, () => 1_000, { length: 4_000 })
    expect(longer.control.limit).toBe(8)
    const shorter = new Drive()
    shorter.windows(1, () => 1_000, { length: 4_000 })
    shorter.windows(1, () => 2_000)
    expect(shorter.control.limit).toBe(32)
  })

  test('a small file is some work, too', () => {
    const control = new CongestionControl(options, 0)
    for (let request = 1; request <= 8; request++) control.succeeded(0, 1_000)
    for (let request = 1; request <= 16; request++) control.succeeded(0, 2_000)
    expect(control.limit).toBe(32)
  })

  test('decides nothing before a window is over and each place has had its turn', () => {
    const { control } = new Drive()
    for (let now = 0; now < 1_000; now += 10) control.succeeded(1_000, now)
    expect(control.limit).toBe(8)
    control.succeeded(1_000, 1_000)
    expect(control.limit).toBe(16)
    for (let request = 1; request < 16; request++) control.succeeded(1_000_000, 3_000)
    expect(control.limit).toBe(16)
    control.succeeded(1_000_000, 3_000)
    expect(control.limit).toBe(32)
  })

  test('begins no more where the program itself is what bounds, and looks again', () => {
    let share = 0.91
    const drive = new Drive({ busy: () => share })
    expect(drive.windows(3, limit => limit * 100)).toEqual([8, 8, 8])
    share = 0.9
    expect(drive.windows(4, limit => limit * 100)).toEqual([8, 8, 16, 32])
    // What was on trial is kept, as it brought something.
    share = 0.91
    expect(drive.windows(5, limit => limit * 100)).toEqual([32, 32, 32, 32, 32])
    share = 0
    expect(drive.windows(1, limit => limit * 100)).toEqual([64])
  })

  test('begins, and stays, between its ends', () => {
    expect(new Drive({ initial: 100 }).control.limit).toBe(64)
    expect(new Drive({ initial: 0, min: 2 }).control.limit).toBe(2)
    const fixed = new Drive({ initial: 5, max: 5 })
    expect(fixed.windows(20, () => 1_000)).toEqual(Array(20).fill(5))
  })

  test('halves on SlowDown, once a window, never below the minimum', () => {
    const { control } = new Drive()
    for (let count = 0; count < 10; count++) control.throttled(500)
    expect([control.limit, control.halvings]).toEqual([4, 1])
    control.throttled(1_499)
    expect(control.halvings).toBe(1)
    control.throttled(1_500)
    expect([control.limit, control.halvings]).toEqual([2, 2])
    for (let now = 3_000; now < 12_000; now += 1_000) control.throttled(now)
    expect(control.limit).toBe(1)
  })

  test('after SlowDown a window begins anew, and it grows by small steps only, after a rest', () => {
    const drive = new Drive()
    for (let request = 1; request <= 7; request++) drive.control.succeeded(1_000, 900)
    drive.control.throttled(900)
    // Of the old window nothing counts.
    drive.control.succeeded(1_000, 1_000)
    expect(drive.control.limit).toBe(4)
    drive.now = 900
    expect(drive.windows(18, limit => limit * 100)).toEqual([...Array(16).fill(4), 5, 6])
  })
})
