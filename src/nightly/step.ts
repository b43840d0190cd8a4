/** A command that is run within a run: its flags, and what it came to. */
import type { Command } from '../cli/command.ts'
import type { Context } from '../context.ts'
import { AppError, type ExitCode, systemRefusal, toError } from '../errors.ts'
import type { RunEnd } from '../report/entry.ts'
import type { Reporter, Summary } from '../report/reporter.ts'
import { RunReport } from '../report/run-report.ts'
import type { StepName } from './steps.ts'

/** A command of the night, and the flags that it is run with where they are not the defaults. */
export interface Step {
  readonly name: StepName | 'migrate'
  /** as people and metrics call it; differs from the name where a command runs twice */
  readonly label: string
  readonly command: Command
  readonly flags: Readonly<Record<string, unknown>>
}

/** How a step ended, and what its summary said. */
export interface StepEnd {
  readonly step: Step
  readonly exitCode: ExitCode
  readonly summary: Summary | undefined
}

/**
 * Runs a command within this one: its database, store, signals and time budget are this run's, its record in the ledger
 * its own. An error that ends the step is told and is its exit code.
 *
 * @param options.isSilent nothing is told but what the step comes to
 */
export async function runStep(
  context: Context,
  step: Step,
  args: readonly string[] = [],
  { isSilent = false } = {},
): Promise<StepEnd> {
  const { label, command, flags } = step
  const startedAt = context.now()
  const captured: { summary?: Summary } = {}
  const report = new RunReport(stepReporter(context.report, captured, isSilent), {
    quiet: false,
    commandLine: 'autodj run',
    stopReason: () => undefined,
  })
  const releases: (() => unknown)[] = []
  const within: Context = {
    ...context,
    report,
    invocation: { command: command.name, args: ['(autodj run)', ...args] },
    limitDuration: () => {},
    onRelease: release => void releases.push(release),
  }
  let exitCode: ExitCode
  try {
    exitCode = await command.run(within, { ...defaultsOf(command), ...flags }, args)
  } catch (thrown) {
    if (context.signal.aborted) throw thrown
    const error = toError(thrown)
    const told = error instanceof AppError ? error : systemRefusal(error)
    // A bug ends the night: nobody knows what else is wrong.
    if (told === undefined) throw thrown
    const { message, exitCode: code, cure, details } = told
    report.error(
      new AppError(code, `${label}: ${message}`, { code: told.code, ...(cure ? { cure } : {}), details }),
    )
    exitCode = told.exitCode
  } finally {
    for (const release of releases.reverse()) {
      await Promise.resolve()
        .then(release)
        .catch(error => context.report.detail(`while closing: ${error}`))
    }
  }
  const end: RunEnd = {
    command: label,
    startedAt,
    endedAt: context.now(),
    exitCode,
    ...report.tally(),
  }
  if (!isSilent) context.recordStep(end)
  return { step, exitCode, summary: captured.summary }
}

function defaultsOf(command: Command): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(command.flags).map(([key, { defaultValue }]) => [key, defaultValue]),
  )
}

/** What a step says goes where the run's own goes, but for its summary: that is kept for the one at the end. */
function stepReporter(outer: Reporter, captured: { summary?: Summary }, isSilent: boolean): Reporter {
  return {
    json: outer.json,
    verbose: outer.verbose,
    style: outer.style,
    data: (text, json) => {
      if (!isSilent) outer.data(text, json)
    },
    note: (text, fields) => {
      if (!isSilent) outer.note(text, fields)
    },
    detail: (text, fields) => outer.detail(text, fields),
    warn: (text, fields) => outer.warn(text, fields),
    item: item => {
      if (!isSilent || outer.verbose) outer.item(item)
    },
    summary: summary => {
      captured.summary = summary
    },
    error: error => outer.error(error),
    exitError: error => outer.detail(error.message),
    progress: options => outer.progress(options),
    close: () => {},
  }
}
