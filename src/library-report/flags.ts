/** Flags of `autodj report`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag } from '../cli/flags.ts'

export const flags = {
  output: flag.text('--output <file>', 'where to write it; - is stdout', 'autodj-report.html'),
  days: flag.integer('--days <n>', 'how far back the charts go', { min: 1, max: 3_660 }, 90),
  prices: flag.text('--prices <file>', 'JSON file with prices that replace the list prices of us-east-1'),
}

export type ReportFlags = ValuesOf<typeof flags>
