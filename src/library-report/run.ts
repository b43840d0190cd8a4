/** What `autodj report` does: reads, draws, writes the page in one step. */

import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { cannotWrite, writeOutput } from '../cli/write-output.ts'
import type { Context } from '../context.ts'
import { formatBytes } from '../core/units.ts'
import { readPrices } from '../cost/read-prices.ts'
import { requireSchema } from '../db/require-schema.ts'
import { ExitCode } from '../errors.ts'
import { readReportData } from './data.ts'
import type { ReportFlags } from './flags.ts'
import { renderPage } from './page.ts'

/** @throws UsageError if the file cannot be written */
export async function runReport(context: Context, { output, days, prices }: ReportFlags): Promise<ExitCode> {
  const { report, config, cwd } = context
  const now = context.now()
  const priced = await readPrices(prices, cwd)
  const database = await context.database()
  await requireSchema(database)
  const { bucket } = config.s3
  const since = new Date(now.getTime() - days * 86_400_000)
  const data = await readReportData(database.knex, { bucket, since })
  const page = renderPage(data, { now, version: packageJson.version, bucket, days, prices: priced })
  const bytes = Buffer.byteLength(page)
  if (output === '-') {
    report.data(page, { message_type: 'item', subject: 'report', state: 'written', html: page })
    return ExitCode.ok
  }
  const file = path.resolve(cwd, output)
  await mkdir(path.dirname(file), { recursive: true }).catch((error: unknown) => {
    throw cannotWrite('--output', file, error)
  })
  await writeOutput('--output', file, page)
  report.summary({
    lines: [`Wrote ${file} (${formatBytes(bytes)}); it needs no network.`],
    fields: { output: file, bytes },
  })
  return ExitCode.ok
}
