/** What `autodj run` does: one step after another, under one lock, with one summary. */

import { analyze } from '../analyze/command.ts'
import { cleanup } from '../cleanup/command.ts'
import type { Command } from '../cli/command.ts'
import { type Config, requireBucket } from '../config.ts'
import type { Context } from '../context.ts'
import { formatDuration, plural } from '../core/units.ts'
import { acquireLease } from '../db/ledger.ts'
import { migrateStatus } from '../db/migrate.ts'
import { ExitCode, exitCodeOutcome, UsageError, worstExitCode } from '../errors.ts'
import { fetch } from '../fetch/command.ts'
import { importCommand } from '../import/command.ts'
import { migrate } from '../migrate/command.ts'
import { reconcile } from '../reconcile/command.ts'
import type { Reporter } from '../report/reporter.ts'
import { machineName, recordRun } from '../runs/recorded-run.ts'
import { uploadLocal } from '../upload/command.ts'
import { verify } from '../verify/command.ts'
import type { NightlyFlags } from './flags.ts'
import { runStep, type Step, type StepEnd } from './step.ts'
import { type StepName, stepNames } from './steps.ts'

const dayMs = 86_400_000
const defaultRolling = 30 * dayMs

/** Sockets for whichever step wants most of them. */
const maxSockets = 72

const commandOf: Readonly<Record<StepName, Command>> = {
  import: importCommand,
  'upload-local': uploadLocal,
  fetch,
  analyze,
  verify,
  reconcile,
  cleanup,
}

/** The steps that are configured, or asked for, in their order. */
function stepsOf(config: Config, flags: NightlyFlags): Step[] {
  const isConfigured: Readonly<Record<StepName, boolean>> = {
    import: true,
    'upload-local': true,
    fetch: config.fetchCommand !== undefined,
    analyze: false,
    verify: config.cdn !== undefined,
    reconcile: true,
    cleanup: true,
  }
  const flagsOf: Readonly<Partial<Record<StepName, Record<string, unknown>>>> = {
    verify: { rolling: flags.rolling ?? defaultRolling },
    reconcile: { disk: flags.disk },
    cleanup: { apply: flags.apply },
  }
  return stepNames
    .filter(name => flags.steps?.has(name) ?? isConfigured[name])
    .flatMap(name => {
      const step = { name, label: name, command: commandOf[name], flags: flagsOf[name] ?? {} }
      return name === 'verify'
        ? [
            { ...step, label: 'verify --unproved', flags: { unproved: true } },
            { ...step, label: 'verify --rolling' },
          ]
        : [step]
    })
}

/** After these the next step may run: what was wrong was wrong with single items. */
const goesOn: ReadonlySet<ExitCode> = new Set([
  ExitCode.ok,
  ExitCode.someFailed,
  ExitCode.drift,
  ExitCode.safetyLimit,
  ExitCode.locked,
])

/** @throws UsageError if a migration is needed and nobody allowed it; LockedError while another night runs */
export async function runNightly(context: Context, flags: NightlyFlags): Promise<ExitCode> {
  const { config, report } = context
  requireBucket(config)
  const steps = stepsOf(config, flags)
  await context.store({ maxSockets })
  const database = await context.database()
  const { migrations } = await migrateStatus(database)
  const pending = migrations.filter(one => one.appliedAt === null).length
  if (flags.dryRun) {
    const { planNight } = await import('./dry-run.ts')
    return planNight(context, steps, { pending, rolling: flags.rolling ?? defaultRolling })
  }
  const ends: StepEnd[] = []
  const startedAt = context.now().getTime()
  context.limitDuration(flags.maxDuration)
  if (pending > 0) {
    const question = `The database needs ${plural(pending, 'migration')} (\`autodj migrate --dry-run\` shows them). Apply now?`
    if (!flags.yes && !(await context.confirm(question))) {
      throw new UsageError(`the database needs ${plural(pending, 'migration')}`, { code: 'run.migrate' })
    }
    const end = await runStep(context, { name: 'migrate', label: 'migrate', command: migrate, flags: {} }, [
      'up',
    ])
    ends.push(end)
    if (end.exitCode !== ExitCode.ok) return end.exitCode
  }
  return recordRun(context, database, async run => {
    await acquireLease(database.knex, {
      name: 'run',
      runId: run.id,
      host: machineName(),
      pid: process.pid,
    })
    for (const [index, step] of steps.entries()) {
      if (context.stopping.aborted || run.lost.aborted) break
      report.note(report.style.bold(`${index + 1} of ${steps.length}: ${step.label}`), { step: step.label })
      const end = await runStep(context, step)
      ends.push(end)
      tellEnd(report, end)
      if (!goesOn.has(end.exitCode)) break
    }
    run.lost.throwIfAborted()
    const worst = worstExitCode(ends.map(end => end.exitCode))
    const exitCode = context.stopExitCode() ?? worst
    const notBegun = steps.filter(step => !ends.some(end => end.step === step)).map(step => step.label)
    const seconds = Math.round((context.now().getTime() - startedAt) / 1_000)
    const fields = {
      steps: ends.map(({ step, exitCode: code, summary }) => ({
        step: step.label,
        exit_code: code,
        ...(summary?.fields ?? {}),
      })),
      not_begun: notBegun,
      seconds,
    }
    report.summary({ ...summarise(ends, notBegun, seconds), fields })
    return { exitCode, summary: fields }
  })
}

function tellEnd(report: Reporter, { step, exitCode, summary }: StepEnd): void {
  report.note(`${step.label}: ${[exitCodeOutcome[exitCode], ...(summary?.lines ?? [])].join('\n  ')}`, {
    step: step.label,
    exit_code: exitCode,
    summary: summary?.fields ?? {},
  })
}

/** What people read in the morning. */
function summarise(
  ends: readonly StepEnd[],
  notBegun: readonly string[],
  seconds: number,
): { lines: string[]; next?: string } {
  const bad = ends.filter(({ exitCode }) => exitCode !== ExitCode.ok)
  const took = formatDuration(seconds * 1_000)
  const head =
    bad.length === 0 && notBegun.length === 0
      ? `All ${ends.length} steps are done, in ${took}.`
      : `${plural(ends.length - bad.length, 'step')} of ${ends.length + notBegun.length} done, in ${took}` +
        `${bad.length > 0 ? `; ${bad.map(({ step, exitCode }) => `${step.label}: ${exitCodeOutcome[exitCode]}`).join(', ')}` : ''}` +
        `${notBegun.length > 0 ? `; not started: ${notBegun.join(', ')}` : ''}.`
  const width = Math.max(...ends.map(({ step }) => step.label.length))
  const next = bad.find(({ summary }) => summary?.next !== undefined)?.summary?.next
  return {
    lines: [
      head,
      ...ends.map(
        ({ step, exitCode, summary }) =>
          `  ${step.label.padEnd(width)}  ${summary?.lines[0] ?? exitCodeOutcome[exitCode]}`,
      ),
    ],
    ...(next === undefined ? {} : { next }),
  }
}
