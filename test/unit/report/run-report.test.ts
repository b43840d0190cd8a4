/** What every run says, whichever reporter says it. */
import { expect, test } from 'vitest'
import { usualCure } from '../../../src/error-codes.ts'
import type { Item, Reporter } from '../../../src/report/reporter.ts'
import { RunReport } from '../../../src/report/run-report.ts'

test('what failed is told with the usual cure of its code, if it has none of its own', () => {
  const told: Item[] = []
  const inner = { item: (one: Item) => void told.push(one) } as unknown as Reporter
  const report = new RunReport(inner, { quiet: false, commandLine: '', stopReason: () => undefined })
  const fields = { code: 'file.missing' } as const
  report.item({ subject: 'a', state: 'failed', fields, reason: 'gone' })
  report.item({ subject: 'b', state: 'failed', fields, reason: 'gone', cure: 'Find it.' })
  report.item({ subject: 'c', state: 'failed', reason: 'gone' })
  report.item({ subject: 'd', state: 'uploaded', fields })
  expect(told.map(({ cure }) => cure)).toEqual([usualCure('file.missing'), 'Find it.', undefined, undefined])
})
