/** `autodj run --dry-run`: everything the night would do as one plan, with time and price. Changes nothing. */
import type { Context } from '../context.ts'
import { formatDollars, listPrices } from '../core/cost/prices.ts'
import { formatBytes, formatCount, formatEstimate, plural } from '../core/units.ts'
import { lastNumber, lastTold } from '../db/ledger.ts'
import { countRows } from '../db/row-facts.ts'
import { ExitCode, exitCodeOutcome, worstExitCode } from '../errors.ts'
import { selectTracks } from '../verify/tracks.ts'
import { runStep, type Step } from './step.ts'

/** One line of the plan. Seconds and dollars are undefined if nobody can say. */
interface PlanLine {
  readonly step: string
  readonly does: string
  readonly seconds?: number
  readonly dollars?: number
  /** what is kept because of it costs so much each month */
  readonly dollarsAMonth?: number
  readonly exitCode: ExitCode
  readonly fields: Readonly<Record<string, unknown>>
}

/** Tracks a second that verify asks for before any run has been measured. */
const assumedVerifyRate = 50

export async function planNight(
  context: Context,
  steps: readonly Step[],
  { pending, rolling }: { pending: number; rolling: number },
): Promise<ExitCode> {
  const { report } = context
  const lines: PlanLine[] = []
  if (pending > 0) {
    lines.push({
      step: 'migrate',
      does: `${plural(pending, 'migration')}; the rest can be planned once they are applied`,
      exitCode: ExitCode.ok,
      fields: { migrations: pending },
    })
  } else {
    let newFiles = 0
    for (const step of steps) {
      if (context.stopping.aborted) break
      const line = await planStep(context, step, { newFiles, rolling })
      if (step.name === 'import')
        newFiles = Number(line.fields['new'] ?? 0) + Number(line.fields['relinked'] ?? 0)
      lines.push(line)
    }
  }
  const width = Math.max(...lines.map(({ step }) => step.length))
  const sum = (of: (line: PlanLine) => number | undefined) =>
    lines.reduce((all, line) => all + (of(line) ?? 0), 0)
  const [seconds, dollars, monthly] = [
    sum(line => line.seconds),
    sum(line => line.dollars),
    sum(line => line.dollarsAMonth),
  ]
  const stopped = context.stopExitCode()
  report.summary({
    lines: [
      'Dry run: nothing was changed. A night would',
      ...lines.map(({ step, does, seconds: time, dollars: price }) => {
        const needs = [
          ...(time !== undefined && time >= 1 ? [formatEstimate(time)] : []),
          ...(price !== undefined && price > 0 ? [formatDollars(price)] : []),
        ]
        return `  ${step.padEnd(width)}  ${does}${needs.length > 0 ? ` (${needs.join(', ')})` : ''}`
      }),
      `Together ${formatEstimate(seconds)} and ${formatDollars(dollars)}` +
        `${monthly > 0 ? `, then ${formatDollars(monthly)} more a month for storage` : ''} ` +
        `(list prices of ${listPrices.region}, ${listPrices.asOf}).`,
    ],
    next: 'run it again without --dry-run',
    fields: {
      dry_run: true,
      steps: lines.map(({ step, does, fields, exitCode, seconds: time, dollars: price }) => ({
        step,
        does,
        exit_code: exitCode,
        estimated_seconds: time ?? null,
        estimated_dollars: price ?? null,
        ...fields,
      })),
      estimated_seconds: Math.round(seconds),
      estimated_dollars: dollars,
      estimated_dollars_a_month: monthly,
    },
  })
  return stopped ?? worstExitCode(lines.map(line => line.exitCode))
}

async function planStep(
  context: Context,
  step: Step,
  { newFiles, rolling }: { newFiles: number; rolling: number },
): Promise<PlanLine> {
  const { knex } = await context.database()
  if (step.name === 'verify') {
    const { total } = await selectTracks(
      knex,
      context.config.s3.bucket ?? '',
      step.flags['unproved'] === true ? { kind: 'unproved' } : { kind: 'rolling', periodMs: rolling },
      { now: context.now() },
    )
    return {
      step: step.label,
      does: `ask the CDN for ${plural(total, 'track')}${step.flags['unproved'] === true ? ', and for those uploaded before it' : ''}`,
      seconds: total / (await rateOf(context, 'verify', 'tracks', assumedVerifyRate)),
      dollars: (total / 10_000) * listPrices.cdnPer10000,
      exitCode: ExitCode.ok,
      fields: { tracks: total },
    }
  }
  if (step.name === 'reconcile') {
    const { withKey } = await countRows(knex)
    const objects = Math.max(withKey, (await lastNumber(knex, 'reconcile', 'objects')) ?? 0)
    const requests = Math.ceil(objects / 1_000)
    return {
      step: step.label,
      does: `compare ${plural(withKey, 'row')} with the bucket: about ${plural(Math.max(1, requests), 'request')}`,
      seconds: objects / (await rateOf(context, 'reconcile', 'objects', 5_000)),
      dollars: (Math.max(1, requests) / 1_000) * listPrices.putPer1000,
      exitCode: ExitCode.ok,
      fields: { rows: withKey, requests },
    }
  }
  const dry =
    step.name === 'cleanup'
      ? { ...step, flags: { ...step.flags, apply: false } }
      : { ...step, flags: { ...step.flags, dryRun: true } }
  const { exitCode, summary } = await runStep(context, dry, [], { isSilent: true })
  const fields = summary?.fields ?? {}
  const number = (name: string): number | undefined =>
    typeof fields[name] === 'number' ? (fields[name] as number) : undefined
  return {
    step: step.label,
    does:
      summary === undefined
        ? exitCodeOutcome[exitCode]
        : describe(step, fields, newFiles, summary.lines[0] ?? ''),
    ...defined({
      seconds: number('estimated_seconds'),
      dollars: number('estimated_request_dollars'),
      dollarsAMonth: number('estimated_dollars_a_month'),
    }),
    exitCode,
    fields,
  }
}

function describe(
  { name, flags }: Step,
  fields: Readonly<Record<string, unknown>>,
  newFiles: number,
  otherwise: string,
): string {
  const of = (field: string): number => Number(fields[field] ?? 0)
  switch (name) {
    case 'import':
      return `create ${plural(of('new'), 'row')}, relink ${formatCount(of('relinked'))}; ${formatCount(of('known'))} files are known`
    case 'upload-local': {
      const more = newFiles > 0 ? `, and the ${formatCount(newFiles)} that import finds` : ''
      const problems = of('problems') > 0 ? `; ${formatCount(of('problems'))} cannot be uploaded` : ''
      return `upload ${plural(of('files'), 'file')}, ${formatBytes(of('bytes'))}${more}${problems}`
    }
    case 'fetch':
      return `look for the audio of ${plural(of('tracks'), 'track')}`
    case 'analyze':
      return `analyse ${plural(of('tracks'), 'track')}`
    case 'cleanup':
      return `${flags['apply'] === true ? 'remove' : 'find (but not remove, without --apply)'} ${plural(of('removed'), 'item')}, ${formatBytes(of('bytes'))}`
    default:
      return otherwise
  }
}

/** How many a second the last run of a command did. */
async function rateOf(context: Context, command: string, field: string, assumed: number): Promise<number> {
  const { knex } = await context.database()
  const told = await lastTold(knex, command, ({ startedAt, finishedAt, summary }) => {
    const seconds = finishedAt === null ? 0 : (finishedAt.getTime() - startedAt.getTime()) / 1_000
    const rate = Number(summary?.[field] ?? 0) / seconds
    return Number.isFinite(rate) && rate > 0 ? rate : undefined
  })
  return told ?? assumed
}

function defined<T extends Record<string, number | undefined>>(values: T): Partial<Record<keyof T, number>> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<
    Record<keyof T, number>
  >
}
