import { describe, expect, test } from 'vitest'
import { BufferPool } from '../../../src/audio-files/buffer-pool.ts'

const KiB = 1024

describe('buffers under a budget', () => {
  test('waits, first come first served, and grants as room is given back', async () => {
    const pool = new BufferPool(256 * KiB)
    const first = await pool.lease(128 * KiB)
    const second = await pool.lease(128 * KiB)
    const order: string[] = []
    const third = pool.lease(128 * KiB).then(lease => {
      order.push('third')
      return lease
    })
    const fourth = pool.lease(64 * KiB).then(lease => {
      order.push('fourth')
      return lease
    })
    await new Promise(setImmediate)
    expect(order).toEqual([])
    first.release()
    first.release()
    await third
    expect(order).toEqual(['third'])
    second.release()
    await fourth
    expect(order).toEqual(['third', 'fourth'])
    expect(pool.allocated).toBeLessThanOrEqual(256 * KiB)
  })

  test('uses buffers again, and lets those of another size go when room is needed', async () => {
    const pool = new BufferPool(192 * KiB)
    const first = await pool.lease(120 * KiB)
    const memory = first.bytes.buffer
    first.release()
    const again = await pool.lease(100 * KiB)
    expect(again.bytes.buffer === memory).toBe(true)
    again.release()
    ;(await pool.lease(192 * KiB)).release()
    expect(pool.allocated).toBe(192 * KiB)
  })

  test('one buffer over the budget is lent, alone', async () => {
    const pool = new BufferPool(64 * KiB)
    const large = await pool.lease(1024 * KiB)
    expect(large.bytes.length).toBe(1024 * KiB)
    let granted = false
    const waiting = pool.lease(1).then(lease => {
      granted = true
      return lease
    })
    await new Promise(setImmediate)
    expect(granted).toBe(false)
    large.release()
    ;(await waiting).release()
  })

  test('an aborted wait leaves the queue', async () => {
    const pool = new BufferPool(64 * KiB)
    const held = await pool.lease(64 * KiB)
    const controller = new AbortController()
    const waiting = pool.lease(64 * KiB, controller.signal)
    const next = pool.lease(64 * KiB)
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    held.release()
    ;(await next).release()
  })
})
