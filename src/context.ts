/**
 * What a command works with: settings, reporter, signals, and the resources it asks for. Whoever opens a resource
 * registers its release; all are released last-in-first-out when the command ends, however it ends.
 */

import type { Config } from './config.ts'
import { everything, type SelectionRules } from './core/selection.ts'
import type { Database } from './db/database.ts'
import { ExitCode, FatalError, type StopReason } from './errors.ts'
import { requireOpenFiles, withinOpenFiles } from './open-files.ts'
import type { RunEnd } from './report/entry.ts'
import type { Reporter } from './report/reporter.ts'
import type { ObjectStore } from './storage/store.ts'
import { Throttle } from './throttle.ts'

export interface Context {
  readonly config: Config
  readonly report: Reporter
  /** which tracks were asked for: --include, --artist and the like */
  readonly selection: SelectionRules
  /** what the command was called with, for the ledger; secrets left out */
  readonly invocation: { readonly command: string; readonly args: readonly string[] }
  /** a person is there to answer */
  readonly interactive: boolean
  /** aborted by the first signal or the end of the time budget: take no new work, finish what is in flight */
  readonly stopping: AbortSignal
  /** aborted by the second signal: abandon what is in flight, leave nothing half done */
  readonly signal: AbortSignal
  /** the clock, injectable in tests */
  readonly now: () => Date
  readonly cwd: string
  /** Runs another command line of this program with an environment and a folder of its own. */
  runCommand(argv: readonly string[], env: Readonly<Record<string, string>>, cwd: string): Promise<ExitCode>
  /** Asks a person, `question` and (y/n). @returns false if nobody is there to answer */
  confirm(question: string): Promise<boolean>
  /** A command that was run within this one has ended: for the records. */
  recordStep(end: RunEnd): void
  /** starts the time budget, milliseconds */
  limitDuration(milliseconds: number | undefined): void
  /** the configured database, opened on first use; announces the embedded default */
  database(): Promise<Database>
  /** what --bwlimit leaves of the line: everything that is sent or received passes it */
  readonly throttle: Throttle
  /** the configured bucket, opened on first use; its downloads pass `throttle`. @throws UsageError when none is configured */
  store(options?: { maxSockets?: number }): Promise<ObjectStore>
  /** registers the release of something the caller opened */
  onRelease(release: () => unknown): void
  /** the exit code of a run that was told to stop, or undefined */
  stopExitCode(): ExitCode | undefined
}

interface ContextOptions {
  config: Config
  report: Reporter
  invocation: Context['invocation']
  /** default: everything */
  selection?: SelectionRules
  /** what the transfers of the run pass; default: no limit */
  throttle?: Throttle
  /** default: the configured bucket */
  openStore?: (options?: { maxSockets?: number }) => Promise<ObjectStore>
  interactive: boolean
  stopping: AbortController
  forcing: AbortController
  now: () => Date
  cwd: string
  runCommand: Context['runCommand']
  /** default: none is kept */
  recordStep?: Context['recordStep']
}

const stopExitCodes: Readonly<Record<StopReason, ExitCode>> = {
  sigint: ExitCode.sigint,
  sigterm: ExitCode.sigterm,
  'time-budget': ExitCode.timeBudget,
}

/** @returns the context; `release`, to be called exactly once at the end; and the database, if anyone asked for it */
export function openContext(options: ContextOptions): {
  context: Context
  release: () => Promise<void>
  openedDatabase: () => Promise<Database> | undefined
} {
  const { config, report, stopping, forcing } = options
  const releases: (() => unknown)[] = []
  const throttle = options.throttle ?? new Throttle(undefined)
  const openStore = options.openStore ?? openConfiguredStore
  let database: Promise<Database> | undefined
  let store: Promise<ObjectStore> | undefined
  const onRelease = (release: () => unknown) => void releases.push(release)

  const context: Context = {
    config,
    report,
    invocation: options.invocation,
    selection: options.selection ?? everything,
    throttle,
    interactive: options.interactive,
    stopping: stopping.signal,
    signal: forcing.signal,
    now: options.now,
    cwd: options.cwd,
    runCommand: options.runCommand,
    onRelease,
    recordStep: options.recordStep ?? (() => {}),

    async confirm(question) {
      if (!options.interactive) return false
      const { confirm } = await import('./report/confirm.ts')
      return confirm(question, stopping.signal)
    },

    limitDuration(milliseconds) {
      if (milliseconds === undefined) return
      const timer = setTimeout(() => stopping.abort('time-budget' satisfies StopReason), milliseconds)
      timer.unref()
      onRelease(() => clearTimeout(timer))
    },

    database() {
      database ??= (async () => {
        requireOpenFiles(56, 'autodj')
        await refuseToMake(config, options.invocation.command)
        const { openDatabase } = await import('./db/open.ts')
        if (config.database.isDefault)
          report.note(
            `DATABASE_URL is not set: using the embedded database in ${config.database.url.slice('pglite:'.length)}`,
          )
        const opened = await openDatabase(config.database.url, {
          applicationName: `autodj ${options.invocation.command}`,
        })
        onRelease(() => opened.close())
        return opened
      })()
      return database
    },

    store(storeOptions) {
      store ??= openStore(storeOptions).then(opened => throttle.downloadsOf(opened))
      return store
    },

    stopExitCode() {
      if (!stopping.signal.aborted) return undefined
      return stopExitCodes[stopping.signal.reason as StopReason] ?? ExitCode.sigterm
    },
  }

  async function openConfiguredStore(storeOptions?: { maxSockets?: number }): Promise<ObjectStore> {
    const [{ createS3Store }, { s3Options }, { describeEndpoint, requireBucket }] = await Promise.all([
      import('./storage/s3.ts'),
      import('./storage/aws-options.ts'),
      import('./config.ts'),
    ])
    const { endpointFrom } = config.s3
    // What AWS's own variables and files say of the store is easily forgotten.
    if (endpointFrom !== undefined && endpointFrom !== 'S3_ENDPOINT')
      report.note(`store: ${describeEndpoint(config.s3)}`)
    else report.detail(`store: ${describeEndpoint(config.s3)}`)
    const opened = createS3Store({
      ...s3Options(config, requireBucket(config), text => report.warn(text)),
      maxSockets: withinOpenFiles(storeOptions?.maxSockets ?? 64),
    })
    onRelease(() => opened.close())
    return opened
  }

  async function release(): Promise<void> {
    for (const one of releases.reverse()) {
      try {
        await one()
      } catch (error) {
        report.detail(`while closing: ${error}`)
      }
    }
    report.close()
  }

  return { context, release, openedDatabase: () => database }
}

/** An embedded database that is not there yet is made by `migrate` alone (and `run`, which migrates): any other command was meant for another one. */
async function refuseToMake(config: Config, command: string): Promise<void> {
  const { url, isDefault } = config.database
  if (/^(migrate|run)\b/.test(command) || !url.startsWith('pglite:')) return
  const [{ stat }, { lookedAt }] = await Promise.all([import('node:fs/promises'), import('./config.ts')])
  if ((await stat(url.slice('pglite:'.length)).catch(() => undefined)) !== undefined) return
  throw new FatalError(`the database ${url} does not exist yet, so it has no tracks table`, {
    code: 'db.schema',
    cure: isDefault
      ? `Run \`autodj migrate\` first, which creates it, or set DATABASE_URL to the application's database. ${lookedAt(config)}`
      : 'Run `autodj migrate` first, which creates it.',
  })
}
