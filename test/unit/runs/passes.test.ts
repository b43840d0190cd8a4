import { expect, test } from 'vitest'
import { Passes } from '../../../src/runs/passes.ts'

/** A run over rows that something makes come up again for ever. @returns how often each was done */
function run(rows: readonly string[], passes: Passes, setBack: (id: string) => boolean): Map<string, number> {
  const done = new Map<string, number>()
  /** what the ledger has against a row, in this run */
  const recorded = new Set<string>()
  while (passes.begin()) {
    let taken = 0
    for (const id of rows) {
      if (recorded.has(id) || (done.has(id) && !setBack(id))) continue
      if (passes.isDue(id)) {
        taken++
        done.set(id, (done.get(id) ?? 0) + 1)
      } else recorded.add(id)
    }
    if (taken === 0) break
  }
  return done
}
const rows = Array.from({ length: 50 }, (_, index) => `${index}`)

test('what is done once is done once; what is set back each time, twice', () => {
  const done = run(rows, new Passes(), id => id === '7')
  expect([...done].filter(([, times]) => times !== 1)).toEqual([['7', 2]])
})

test('what something sets back each time cannot be more than is remembered: the run ends all the same', () => {
  const done = run(rows, new Passes(10), () => true)
  expect(new Set(done.values())).toEqual(new Set([2]))
})

test('rows that come up without end end a run that has no memory left for them', () => {
  const passes = new Passes(10)
  let taken = 0
  while (passes.begin()) for (let count = 0; count < 3; count++) if (passes.isDue(`new ${taken}`)) taken++
  expect(taken).toBe(15)
  expect(passes.isFull).toBe(true)
})
