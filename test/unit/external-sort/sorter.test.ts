import { readdir } from 'node:fs/promises'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { compareUtf8 } from '../../../src/core/utf8-order.ts'
import { ExternalSorter } from '../../../src/external-sort/sorter.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let folder: string
beforeAll(async () => {
  folder = temporaryFolder('sorter')
})

const text = fc.oneof(
  fc.string({
    unit: fc.constantFrom('a', 'b', '\\', '\t', '\n', '\r', '\u0000', 'é', '\uffff', '😀'),
    maxLength: 6,
  }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
)

async function sort(entries: [string, string][], options: ConstructorParameters<typeof ExternalSorter>[2]) {
  const sorter = new ExternalSorter(folder, 'test', options)
  for (const [key, value] of entries) await sorter.add(key, value)
  const sorted: (readonly [string, string])[] = []
  for await (const batch of sorter.sorted()) sorted.push(...batch)
  return sorted
}

describe('ExternalSorter', () => {
  it('sorts any text, in memory and over any number of runs', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(text, text), { maxLength: 300 }),
        fc.constantFrom(1, 200, 3_000, 1_000_000),
        async (entries, runBytes) => {
          const order = (a: readonly string[], b: readonly string[]): number =>
            a.join('\u0001') < b.join('\u0001') ? -1 : 1
          const sorted = await sort(entries, { runBytes })
          expect(sorted.map(([key]) => key)).toEqual(entries.map(([key]) => key).sort(compareUtf8))
          expect([...sorted].sort(order)).toEqual([...entries].sort(order))
        },
      ),
      { numRuns: 100 },
    )
  })

  it('sorts as UTF-8 does', async () => {
    const keys = ['\uffff', '😀', 'a', '\ue000']
    const sorted = await sort(
      keys.map(key => [key, '']),
      { runBytes: 60 },
    )
    expect(sorted.map(([key]) => key)).toEqual(['a', '\ue000', '\uffff', '😀'])
  })

  it('takes entries side by side while a run is being written', async () => {
    const sorter = new ExternalSorter(folder, 'side', { runBytes: 500 })
    const keys = Array.from({ length: 500 }, (_, index) => `key ${(index * 7_919) % 500}`)
    await Promise.all(keys.map(key => sorter.add(key, 'value')))
    const sorted: string[] = []
    for await (const batch of sorter.sorted()) sorted.push(...batch.map(([key]) => key))
    expect(sorted).toEqual(keys.sort())
  })

  it('leaves nothing behind, read to the end or not', async () => {
    const sorter = new ExternalSorter(folder, 'early', { runBytes: 100 })
    for (let index = 0; index < 20; index += 1) await sorter.add(`key ${index}`, 'value')
    expect(await readdir(folder)).toEqual([])
    for await (const _ of sorter.sorted()) break
    expect(await readdir(folder)).toEqual([])
  })
})
