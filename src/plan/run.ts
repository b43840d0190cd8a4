/** What `autodj apply` and `autodj undo` do with their flags: check the plan, hold the lock, report each item. */

import path from 'node:path'
import type { Context } from '../context.ts'
import type { DeleteLimit } from '../core/limits.ts'
import { type PlanHeader, type PlanItem, refuseIfExpired } from '../core/plan.ts'
import { formOf, twinKind } from '../core/reconcile/names.ts'
import { defaultDeleteLimit, refuseIfTripped, trippedBreakers } from '../core/safety.ts'
import { formatCount, plural, printable } from '../core/units.ts'
import { requireCodeForS3 } from '../db/application-code.ts'
import { LockedRows } from '../db/locked-rows.ts'
import { requireSchema } from '../db/require-schema.ts'
import { requireAllRows } from '../db/row-security.ts'
import { ExitCode, UsageError } from '../errors.ts'
import { recordRun } from '../runs/recorded-run.ts'
import { holdRemovalLease } from '../runs/removal-lock.ts'
import type { ObjectStore } from '../storage/store.ts'
import { applyPlan, type ExecuteOptions, type ItemOutcome, undoPlan } from './execute.ts'
import type { ExecuteFlags } from './flags.ts'
import { PlanJournal } from './journal.ts'
import { checkPlan, planItems } from './plan-file.ts'

/** An item is some eight short requests, one after another: distance is what they wait for. */
const initialConcurrency = 16
const mostConcurrency = 64

export async function runApply(
  context: Context,
  plan: string,
  flags: ExecuteFlags & { readonly maxDelete: DeleteLimit | undefined; readonly force: boolean },
): Promise<ExitCode> {
  const file = path.resolve(context.cwd, plan)
  const { header, items, removals, losses } = await checkPlan(file)
  refuseIfExpired(header, context.now().getTime())
  if (!flags.force) {
    const { rows, objects } = header.seen
    const stakes = { removals: { count: removals, of: objects }, losses: { count: losses, of: rows } }
    const limit = flags.maxDelete ?? defaultDeleteLimit
    refuseIfTripped(trippedBreakers({ limit, ...stakes }), 'safety.max-delete')
  }
  if (flags.dryRun) return showPlan(context, file, header, items)
  return execute(context, plan, { header, items }, flags, applyPlan, 'applied')
}

export async function runUndo(context: Context, plan: string, flags: ExecuteFlags): Promise<ExitCode> {
  const file = path.resolve(context.cwd, plan)
  const { header, items } = await checkPlan(file)
  if (flags.dryRun) return showPlan(context, file, header, items)
  return execute(context, plan, { header, items }, flags, undoPlan, 'undone')
}

async function execute(
  context: Context,
  plan: string,
  { header, items }: { header: PlanHeader; items: number },
  flags: ExecuteFlags & { readonly force?: boolean },
  work: (file: string, journal: PlanJournal, options: ExecuteOptions) => AsyncGenerator<ItemOutcome[]>,
  verb: 'applied' | 'undone',
): Promise<ExitCode> {
  const { report, config } = context
  const file = path.resolve(context.cwd, plan)
  const concurrency = {
    initial: flags.concurrency ?? initialConcurrency,
    max: flags.concurrency ?? mostConcurrency,
  }
  const store = await context.store({ maxSockets: concurrency.max + 4 })
  refuseOtherBucket(header, store)
  const database = await context.database()
  await requireSchema(database, 'adoption.code_updated_at')
  // Its repairs make rows say S3.
  if (verb === 'applied' && header.command === 'reconcile') await requireCodeForS3(database)
  if (verb === 'applied') await requireAllRows(database, { force: flags.force === true })
  if (verb === 'applied') await refuseWithoutVersions(header, store, context.signal)
  return recordRun(context, database, async run => {
    context.limitDuration(flags.maxDuration)
    await holdRemovalLease(database.knex, run.id)
    const journal = await PlanJournal.open(file, header.id, items)
    const lockedRows = new LockedRows({
      knex: database.knex,
      stopping: context.stopping,
      report,
      wait: flags.lockWait,
    })
    const counts = { done: 0, undone: 0, untouched: 0, skipped: 0, failed: 0 }
    const progress = report.progress({ label: verb === 'applied' ? 'apply' : 'undo', unit: 'objects' })
    progress.total({ items })
    try {
      const outcomes = work(file, journal, {
        knex: database.knex,
        lockedRows,
        store,
        audioFolder: config.audioFolder,
        keyPrefix: config.s3.keyPrefix,
        force: flags.force === true,
        concurrency,
        signal: AbortSignal.any([context.signal, run.lost]),
        stopping: context.stopping,
      })
      for await (const batch of outcomes) {
        progress.advance({ items: batch.length })
        for (const outcome of batch) {
          // Of a plan without a journal: it was looked at, and there was nothing to look for.
          if (journal.isNew && outcome.state === 'untouched') continue
          counts[outcome.state] += 1
          reportOutcome(context, outcome)
        }
      }
    } finally {
      progress.done()
      await journal.close()
    }
    await lockedRows.tell()
    const locked = lockedRows.stayed.size
    const changed = counts.done + counts.undone
    const touched = changed + counts.untouched + counts.skipped + counts.failed
    // Whoever undoes wants what was: what can no longer be taken back is a failure. What apply skips, the next reconcile sees.
    const notDone = counts.failed + (verb === 'undone' ? counts.skipped : 0)
    const left = notDone > locked ? ExitCode.someFailed : locked > 0 ? ExitCode.temporary : ExitCode.ok
    const exitCode = context.stopExitCode() ?? left
    const fields = { plan: header.id, items, ...counts, rows_locked: locked, exit_code: exitCode }
    const unfinished = context.stopExitCode() === undefined ? '' : ' Not finished.'
    const rest = [
      counts.untouched > 0 ? `${formatCount(counts.untouched)} had not taken effect` : '',
      counts.skipped > 0 ? `${formatCount(counts.skipped)} skipped; see above for the reasons` : '',
      counts.failed > 0 ? `${formatCount(counts.failed)} failed` : '',
    ].filter(text => text !== '')
    report.summary({
      lines: [
        touched === 0 && unfinished === ''
          ? nothingLeft(verb, items)
          : `${[`${plural(changed, 'item')} ${verb}`, ...rest].join(', ')}.${unfinished}`,
      ],
      ...(unfinished !== '' || counts.failed > 0
        ? { next: 'run the same command again: it resumes where it stopped' }
        : verb === 'applied' && changed > 0
          ? {
              next: `\`autodj undo ${plan}\` undoes it; \`autodj reconcile\` shows what is left`,
            }
          : {}),
      fields,
    })
    return { exitCode, summary: fields }
  })
}

function nothingLeft(verb: 'applied' | 'undone', items: number): string {
  if (items === 0) return `The plan holds no repairs: there is nothing to be ${verb}.`
  return verb === 'applied'
    ? `Nothing is left to be applied: ${items === 1 ? 'the one item' : `all ${formatCount(items)} items`} of the plan ${items === 1 ? 'was' : 'were'} settled earlier.`
    : 'Nothing is left to be undone: no item of the plan is applied.'
}

function refuseOtherBucket(header: PlanHeader, store: ObjectStore): void {
  if (header.bucket === store.bucket) return
  throw new UsageError(
    `the plan is for the bucket ${header.bucket}, but the configuration says ${store.bucket}`,
    { code: 'plan.bucket' },
  )
}

/**
 * A plan that removes by delete markers makes removals final if the bucket keeps no versions.
 *
 * @throws UsageError
 */
async function refuseWithoutVersions(
  header: PlanHeader,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<void> {
  if (header.quarantine.by !== 'delete-marker') return
  const versioning = await store.versioning(signal)
  if (versioning === 'Enabled') return
  throw new UsageError(
    `the plan relies on ${header.bucket} keeping versions, but its versioning is ${versioning === 'Off' ? 'off' : 'suspended'}: removals would be final`,
    { code: 'plan.versioning' },
  )
}

function reportOutcome({ report }: Context, { item, state, reason, cure }: ItemOutcome): void {
  report.item({
    subject: subjectOf(item),
    state,
    fields: { action: item.action, seq: item.seq },
    ...(reason === undefined ? {} : { reason }),
    ...(cure === undefined ? {} : { cure }),
  })
}

function subjectOf(item: PlanItem): string {
  return item.action === 'update-row' ? item.trackId : item.object.key
}

/** `--dry-run`: what is in the plan, one line an item. */
async function showPlan(
  context: Context,
  file: string,
  header: PlanHeader,
  items: number,
): Promise<ExitCode> {
  const { report } = context
  const counts: Record<string, number> = {}
  for await (const item of planItems(file)) {
    counts[item.action] = (counts[item.action] ?? 0) + 1
    report.item({
      subject: subjectOf(item),
      state: `would-${item.action}`,
      fields: { ...item },
      text: printable(describe(item)),
    })
  }
  const parts = [
    ['bring-back-object', 'object', 'to bring back'],
    ['update-row', 'row', 'to change'],
    ['set-headers', 'object', 'to get new headers'],
    ['remove-object', 'object', 'to remove'],
  ] as const
  const planned = parts.flatMap(([action, noun, what]) =>
    counts[action] === undefined ? [] : [`${plural(counts[action], noun)} ${what}`],
  )
  report.summary({
    isAnswer: true,
    lines: [
      `Plan of ${header.createdAt}, valid until ${header.expiresAt}: ${planned.join(', ') || 'nothing to do'}. Nothing was changed.`,
    ],
    fields: { dry_run: true, plan: header.id, items, counts },
  })
  return ExitCode.ok
}

function describe(item: PlanItem): string {
  if (item.action === 'remove-object') {
    return `remove ${item.object.key} (${item.why})${item.to === undefined ? '' : `, to ${item.to}`}`
  }
  if (item.action === 'bring-back-object') {
    return `bring back ${item.object.key} (${item.why}) ${item.from === undefined ? 'by removing its delete marker' : `from ${item.from}`}`
  }
  const show = (value: unknown): string => (value === null || value === undefined ? '–' : String(value))
  const [was, becomes]: [object, object] = [item.was, item.becomes]
  const changes = Object.entries(becomes)
    .map(([name, value]) => [name, (was as Record<string, unknown>)[name], value] as const)
    .filter(([, before, after]) => before !== after)
    .map(([name, before, after]) => `${name} ${show(before)} → ${show(after)}${formsOf(before, after)}`)
  const subject = item.action === 'update-row' ? `row ${item.trackId}` : `headers of ${item.object.key}`
  return `${subject}: ${changes.join(', ')} (${item.why})`
}

/** What tells two names apart that look the same. */
function formsOf(before: unknown, after: unknown): string {
  if (typeof before !== 'string' || typeof after !== 'string') return ''
  return twinKind(before, after) === 'nfc-twin' ? ` (${formOf(before)} → ${formOf(after)})` : ''
}
