/** What `autodj report` does: reads, draws, writes the page in one step. */

import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import type { Context } from '../context.ts'
import { formatBytes } from '../core/units.ts'
import { readPrices } from '../cost/read-prices.ts'
import { requireSchema } from '../db/require-schema.ts'
import { ExitCode, systemErrorReason, systemRefusal, toError, UsageError } from '../errors.ts'
import { replaceFile } from '../file-effects.ts'
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
  try {
    await mkdir(path.dirname(file), { recursive: true })
    await replaceFile(file, page, { mode: 0o666 })
  } catch (error) {
    const refusal = systemRefusal(toError(error), file)
    if (refusal?.exitCode === ExitCode.temporary) throw refusal
    throw new UsageError(`--output: cannot write ${file}: ${systemErrorReason(error)}`, {
      code: 'usage.flag',
      cure: 'Name a file in a folder that this user can write to.',
    })
  }
  report.summary({
    lines: [`Wrote ${file} (${formatBytes(bytes)}); it needs no network.`],
    fields: { output: file, bytes },
  })
  return ExitCode.ok
}
