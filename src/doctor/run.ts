/** `autodj doctor`: opens what the checks need, prints what they find. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openProber } from '../cdn/probe.ts'
import type { Context } from '../context.ts'
import { formatDuration, plural } from '../core/units.ts'
import { openDatabase } from '../db/open.ts'
import { ExitCode, FatalError } from '../errors.ts'
import { checkLine } from '../report/check-line.ts'
import { asksAws, s3Options } from '../storage/aws-options.ts'
import { identify, resolveAws } from '../storage/identity.ts'
import { createS3Store } from '../storage/s3.ts'
import { type CheckState, type Limits, runChecks } from './check.ts'
import { doctorChecks } from './checks.ts'

/** @returns 0 when nothing failed, 1 when something did */
export async function runDoctor(
  context: Context,
  { connectMs, idleMs, patience }: Limits,
): Promise<ExitCode> {
  const { config, report, signal } = context
  const prober = openProber({
    concurrency: 4,
    idleTimeoutMs: connectMs,
    deadlineMs: idleMs,
    signal,
    network: config.network,
    origin: config.cdn?.pageOrigin.origin,
  })
  context.onRelease(() => prober.close())
  const { checks, cleanUp } = doctorChecks({
    config,
    prober,
    openStore(onLack) {
      const store = createS3Store({
        ...s3Options(config, config.s3.bucket ?? '', onLack),
        timeouts: { connectMs, idleMs },
      })
      context.onRelease(() => store.close())
      return store
    },
    async openDatabase({ readOnly } = { readOnly: true }) {
      const database = await openDatabase(config.database.url, {
        applicationName: 'autodj doctor',
        readOnly,
        poolSize: 1,
      })
      context.onRelease(() => database.close())
      return database
    },
    resolveAws: () => resolveAws(config),
    identify: asksAws(config) ? abort => identify(config, config.s3.region ?? 'us-east-1', abort) : undefined,
    decodeSample,
    now: context.now,
  })

  const counts: Record<CheckState, number> = { ok: 0, warning: 0, failure: 0, skipped: 0 }
  const failed: string[] = []
  try {
    for await (const { name, state, cause, cure, took } of runChecks(checks, signal, patience)) {
      counts[state]++
      if (state === 'failure') failed.push(name)
      report.item({
        subject: name,
        state,
        text: checkLine(report.style, { name, state, found: cause, cure }, 14),
        reason: cause,
        cure,
        fields: { took_ms: Math.round(took) },
      })
      report.detail(`${name} took ${formatDuration(took)}`)
    }
  } finally {
    await cleanUp().catch(error => report.warn(`the probe object could not be removed: ${error}`))
  }
  report.summary({
    isAnswer: true,
    lines: [
      counts.failure === 0
        ? `${plural(counts.ok, 'check')} passed${counts.warning > 0 ? `, ${plural(counts.warning, 'warning')}` : ''}`
        : `${plural(counts.failure, 'check')} failed: ${failed.join(', ')}`,
    ],
    next: counts.failure > 0 ? 'fix the first failure, then run `autodj doctor` again' : undefined,
    fields: { ...counts, failed },
  })
  return counts.failure === 0 ? ExitCode.ok : ExitCode.fatal
}

/** Decodes a bundled file: what is broken is then the installation, not the music. */
async function decodeSample(signal: AbortSignal): Promise<{ decoder: string; seconds: number }> {
  const { checkFile, chooseDecoder } = await import('../audio/decode.ts')
  const { decoder, decodedDuration } = await checkFile(await chooseDecoder(), await samplePath(), { signal })
  return { decoder, seconds: decodedDuration }
}

/** Assets are as far from the sources as from the files of the build. */
async function samplePath(): Promise<string> {
  const file = fileURLToPath(new URL('../../assets/demo/01-first-light.mp3', import.meta.url))
  if (existsSync(file)) return file
  throw new FatalError('the bundled audio is not part of this installation', { code: 'assets.missing' })
}
