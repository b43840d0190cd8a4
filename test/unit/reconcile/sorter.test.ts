import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compareUtf8 } from '../../../src/core/utf8-order.ts'
import { ExternalSorter } from '../../../src/reconcile/sorter.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'autodj-sorter-'))
})
afterAll(() => rm(folder, { recursive: true }))

const text = fc.oneof(
  fc.string({
    unit: fc.constantFrom('a', 'b', '\\', '\t', '\n', '\r', '\u0000', 'é', '\uffff', '😀', '\ud83d'),
    maxLength: 6,
  }),
  fc.string({ unit: 'binary', maxLength: 40 }),
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
        fc.array(fc.tuple(text, text), { maxLength: 150 }),
        fc.constantFrom(1, 200, 1_000, 1_000_000),
        async (entries, runCharacters) => {
          const order = (a: readonly string[], b: readonly string[]): number =>
            a.join('\u0001') < b.join('\u0001') ? -1 : 1
          const sorted = await sort(entries, { runCharacters })
          expect(sorted.map(([key]) => key)).toEqual(entries.map(([key]) => key).sort())
          expect([...sorted].sort(order)).toEqual([...entries].sort(order))
        },
      ),
      { numRuns: 60 },
    )
  })

  it('sorts by the order it is given', async () => {
    const keys = ['\uffff', '😀', 'a', '\ue000']
    const sorted = await sort(
      keys.map(key => [key, '']),
      { compare: compareUtf8, runCharacters: 60 },
    )
    expect(sorted.map(([key]) => key)).toEqual(['a', '\ue000', '\uffff', '😀'])
  })

  it('leaves nothing behind, read to the end or not', async () => {
    const sorter = new ExternalSorter(folder, 'early', { runCharacters: 100 })
    for (let index = 0; index < 20; index += 1) await sorter.add(`key ${index}`, 'value')
    expect(await readdir(folder)).toEqual([])
    for await (const _ of sorter.sorted()) break
    expect(await readdir(folder)).toEqual([])
  })
})
