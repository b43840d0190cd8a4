import type { Knex } from 'knex'
import { describe, expect, test } from 'vitest'
import type { RowRefusal } from '../../../src/db/errors.ts'
import { LockedRows } from '../../../src/db/locked-rows.ts'

const holder = { name: 'psql', pid: 17, since: new Date(0) }
const knex = { raw: async () => ({ rows: [holder] }) } as unknown as Knex

/** Rows that are called by their ids. */
const writing = <R>(write: (part: readonly string[]) => Promise<readonly (R | 'locked')[]>) => ({
  idOf: (one: string) => one,
  write,
  refuse: (one: string, { reason }: RowRefusal) => `${one}: ${reason}` as R,
})

function lockedRows(options: { wait?: number; stopping?: AbortSignal } = {}) {
  const told: string[] = []
  const say = (text: string): void => void told.push(text)
  const rows = new LockedRows({
    knex,
    stopping: options.stopping ?? new AbortController().signal,
    report: { note: say, warn: say },
    wait: options.wait ?? 200,
  })
  return { rows, told }
}

describe('rows that another transaction has locked', () => {
  test('are come back to, they alone; each result is in its place', async () => {
    const { rows, told } = lockedRows()
    const batches: (readonly string[])[] = []
    const write = writing<string>(async part => {
      batches.push(part)
      return part.map(one =>
        (one === 'b' && batches.length < 3) || (one === 'd' && batches.length < 2) ? 'locked' : one,
      )
    })
    const ends = await rows.write(['a', 'b', 'c', 'd'], write)
    expect(ends).toEqual(['a', 'b', 'c', 'd'])
    expect(batches).toEqual([['a', 'b', 'c', 'd'], ['b', 'd'], ['b']])
    expect([...rows.stayed]).toEqual([])
    await rows.tell()
    expect(told).toEqual(['1 row locked by another transaction: waiting for up to 0.2s'])
  })

  test('are given up after a while, which all batches share, and told with who holds them', async () => {
    const { rows, told } = lockedRows({ wait: 60 })
    let asked = 0
    const locked = writing(async part => {
      asked++
      return part.map(() => 'locked' as const)
    })
    expect(await rows.write(['a', 'b'], locked)).toEqual(['locked', 'locked'])
    expect(asked).toBe(3)
    // Nothing is left to wait for.
    expect(await rows.write(['c'], locked)).toEqual(['locked'])
    expect(asked).toBe(4)
    expect([...rows.stayed]).toEqual(['a', 'b', 'c'])
    told.length = 0
    await rows.tell()
    expect(told).toEqual(['3 rows stayed locked by another transaction, psql (pid 17, since 00:00:00Z)'])
  })

  test('keep no others from being written, nor does one that the database refuses, now or later', async () => {
    const { rows } = lockedRows()
    let isLocked = true
    const write = writing<string>(async part => {
      if (part.includes('b')) throw Object.assign(new Error('no'), { code: '23514', severity: 'ERROR' })
      const ends = part.map(one => (one === 'c' && isLocked ? 'locked' : one))
      if (part.includes('c')) isLocked = false
      return ends
    })
    const refused = 'b: the database rejected the row: no'
    expect(await rows.write(['a', 'b', 'c', 'd'], write)).toEqual(['a', refused, 'c', 'd'])
    expect([...rows.stayed]).toEqual([])
  })

  test('are not waited for by a run that is told to stop', async () => {
    const stopping = new AbortController()
    const { rows } = lockedRows({ wait: 60_000, stopping: stopping.signal })
    let asked = 0
    const write = writing(async () => {
      asked++
      stopping.abort()
      return ['locked' as const]
    })
    const ends = await rows.write(['a'], write)
    expect([ends, asked]).toEqual([['locked'], 1])
  })
})
