import { expect, test } from 'vitest'
import { grouped, memberOf, nul } from '../../../../src/core/reconcile/records.ts'
import { memorySorter } from '../../../support/memory-records.ts'

test('a sort key is group, rank and name', () => {
  expect(memberOf(`g${nul}anam${nul}e`, 'v')).toEqual({
    group: 'g',
    rank: 'a',
    name: `nam${nul}e`,
    value: 'v',
  })
  expect(memberOf(`${nul}b`, '')).toEqual({ group: '', rank: 'b', name: '', value: '' })
})

async function groups(keys: readonly string[], batch: number, most?: number): Promise<string[][]> {
  const sorter = memorySorter(batch)
  for (const key of keys) await sorter.add(key.replace(' ', nul), key)
  const batches = await Array.fromAsync(grouped(sorter, most))
  expect(batches.every(one => one.length > 0)).toBe(true)
  for (const { group, members } of batches.flat())
    expect(members.every(member => member.group === group)).toBe(true)
  return batches.flat().map(({ members }) => members.map(({ value }) => value))
}

test.each([1, 2, 3, 10])('groups are whole, whatever the batches: %i', async batch => {
  expect(await groups([], batch)).toEqual([])
  expect(await groups(['b a1', 'a a2', 'b b1', 'a a1', 'c a1'], batch)).toEqual([
    ['a a1', 'a a2'],
    ['b a1', 'b b1'],
    ['c a1'],
  ])
  expect(await groups(['a a1', 'a a2', 'a a3', 'b a1'], batch, 2)).toEqual([['a a1', 'a a2'], ['b a1']])
})
