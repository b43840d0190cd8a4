/** Flags of `autodj cost`. */

import type { ValuesOf } from '../../cli/flags.ts'
import { flag } from '../../cli/flags.ts'

export const flags = {
  logs: flag.text('--logs <url>', 'read standard access logs at s3://bucket/prefix instead of CloudWatch'),
  days: flag.integer('--days <n>', 'how many days of traffic to count', { min: 1, max: 90 }, 30),
  prices: flag.text('--prices <file>', 'JSON file with prices that replace the list prices of us-east-1'),
}

export type CostFlags = ValuesOf<typeof flags>
