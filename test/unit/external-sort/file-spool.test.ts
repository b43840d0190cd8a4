import { readdir } from 'node:fs/promises'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { SortedRecord, Spool } from '../../../src/core/reconcile/records.ts'
import { FileSpool } from '../../../src/external-sort/file-spool.ts'
import { memorySpool } from '../../support/memory-records.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let folder: string
beforeAll(async () => {
  folder = temporaryFolder('spool')
})

const tag = fc.integer({ min: 0, max: 0xffff_ffff })
const records = fc.array(
  fc.tuple(
    fc.tuple(tag, tag, tag),
    fc.string({ unit: 'grapheme', maxLength: 20 }),
    // Some longer than a chunk, so that most runs come to the disk.
    fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.nat(200_000).map(length => 'é'.repeat(length)),
    ),
  ),
  { maxLength: 12 },
)

async function replayed(spool: Spool, wanted: (a: number, b: number, c: number) => boolean) {
  const all: SortedRecord[] = []
  for await (const batch of spool.replay(wanted)) all.push(...batch)
  return all
}

describe('FileSpool', () => {
  it('gives back what is wanted, in order, as often as asked', async () => {
    await fc.assert(
      fc.asyncProperty(records, async drawn => {
        const spools = [new FileSpool(folder, 'test'), memorySpool()] as const
        // Side by side, as looks at many objects end.
        for (const spool of spools)
          await Promise.all(drawn.map(([tags, key, value]) => spool.add(tags, key, value)))
        for (const wanted of [
          () => true,
          (a: number) => a % 2 === 0,
          (_: number, b: number, c: number) => b > c,
        ]) {
          const [onDisk, inMemory] = [await replayed(spools[0], wanted), await replayed(spools[1], wanted)]
          expect(onDisk).toEqual(inMemory)
        }
        expect(await readdir(folder)).toEqual([])
        await spools[0].close()
      }),
      { numRuns: 40 },
    )
  })
})
