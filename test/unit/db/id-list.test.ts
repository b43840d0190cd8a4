import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { IdList, type PlacedId, PlacedIdList } from '../../../src/db/id-list.ts'

const left = async () => (await readdir(tmpdir())).filter(name => name.endsWith('.ids'))

test('ids come back in their order, in pages of the size asked for, from memory and from the disk', async () => {
  const size = fc.integer({ min: 1, max: 7 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.uuid(), { maxLength: 9 })),
      fc.nat(12),
      size,
      async (added, limit, most) => {
        const list = new IdList(limit)
        for (const ids of added) await list.add(ids)
        expect(list.length).toBe(added.flat().length)
        const pages = await Array.fromAsync(list.pages(most))
        expect(pages.flat()).toEqual(added.flat())
        for (const page of pages.slice(0, -1)) expect(page).toHaveLength(most)
      },
    ),
  )
})

test('more than a block of the file', async () => {
  const ids = Array.from(
    { length: 25_000 },
    (_, index) => `00000000-0000-0000-0000-${String(index).padStart(12, '0')}`,
  )
  const list = new IdList(10)
  await list.add(ids)
  expect((await Array.fromAsync(list.pages(3_000))).flat()).toEqual(ids)
})

test('leaves nothing behind, read to the end or not', async () => {
  const before = await left()
  const list = new IdList(1)
  await list.add(['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002'])
  expect(await left()).toEqual(before)
  for await (const _ of list.pages(1)) break
  expect(await left()).toEqual(before)
})

test('rows come back with their places, from memory and from the disk', async () => {
  const placed = fc.record({
    id: fc.uuid(),
    ctid: fc
      .tuple(fc.nat(2 ** 32 - 2), fc.integer({ min: 1, max: 65_535 }))
      .map(([block, item]) => `(${block},${item})`),
  })
  const rows = fc.array(placed, { maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(rows, fc.nat(12), async (added: PlacedId[], limit) => {
      const list = new PlacedIdList(limit)
      await list.add(added)
      expect((await Array.fromAsync(list.pages(7))).flat()).toEqual(added)
    }),
  )
})
