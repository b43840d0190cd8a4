/** What `autodj reconcile` does with its flags: observes, reports, and saves what would repair it as a plan. */

import { randomUUID } from 'node:crypto'
import path from 'node:path'
import type { Context } from '../context.ts'
import type { InventoryPlace } from '../core/inventory-url.ts'
import { cacheControl } from '../core/keys.ts'
import { quarantinePrefix } from '../core/prefixes.ts'
import { type Comparison, type DifferenceClass, isPlain } from '../core/reconcile/facts.ts'
import { repairOf } from '../core/reconcile/repair.ts'
import { defaultDeleteLimit, heldBack, refuseIfTripped, trippedBreakers } from '../core/safety.ts'
import { isSelecting } from '../core/selection.ts'
import { formatDuration, plural, printable } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { lastNumber, lastTold } from '../db/ledger.ts'
import { requireSchema } from '../db/require-schema.ts'
import { countRows, keysUploading } from '../db/row-facts.ts'
import { ExitCode, UsageError } from '../errors.ts'
import { ExternalSorter } from '../external-sort/sorter.ts'
import { makePlanHeader, PlanBuilder, quarantineKey, refuseUnwritable } from '../plan/plan-file.ts'
import { recordRun } from '../runs/recorded-run.ts'
import { keyPath, selectedTracks, strangerSelector } from '../runs/selected-tracks.ts'
import { makeTempFolder, sweepTempFolders } from '../runs/temp-folders.ts'
import { s3Options } from '../storage/aws-options.ts'
import type { ObjectStore } from '../storage/store.ts'
import type { ReconcileFlags } from './flags.ts'
import { readInventory } from './inventory.ts'
import type { ReconcileOptions } from './library.ts'
import { reconcile } from './reconcile.ts'
import { Lines, type Planned, reportComparison, summarise, summaryFields } from './report.ts'
import { newTally, type Tally } from './tally.ts'

const defaultConcurrency = 32
/** An inventory older than this is warned of, milliseconds: S3 makes them daily or weekly. */
const inventoryFresh = 2 * 86_400_000
/** Removals held back that are named; of more, their number says enough. */
const heldShown = 20

export async function runReconcile(context: Context, flags: ReconcileFlags): Promise<ExitCode> {
  if (flags.sample !== undefined && !flags.deep) {
    throw new UsageError('--sample needs --deep', { code: 'usage.flag' })
  }
  if (flags.plan !== undefined) await refuseUnwritable(path.resolve(context.cwd, flags.plan))
  const concurrency = flags.concurrency ?? defaultConcurrency
  const store = await context.store({ maxSockets: concurrency + 8 })
  const database = await context.database()
  await requireSchema(database)
  await store.checkBucket(context.signal)
  return recordRun(context, database, async run => {
    const signal = AbortSignal.any([context.signal, context.stopping, run.lost])
    const tally = newTally()
    try {
      const surroundings = { database, store, runId: run.id, signal, concurrency, tally }
      return await observeAndReport(context, flags, surroundings)
    } catch (error) {
      const stopped = context.stopExitCode()
      if (stopped === undefined) throw error
      const summary = { stopped: true, drift: tally.drift }
      const seen = `${plural(tally.rows, 'row')} and ${plural(tally.objects, 'object')} seen`
      const rest = flags.plan === undefined ? '' : ', no plan was written'
      context.report.summary({
        lines: [`Stopped early: ${seen}, ${plural(tally.drift, 'difference')} found so far${rest}.`],
        next: 'run it again; it starts over',
        startsOver: true,
        fields: summary,
      })
      return { exitCode: stopped, summary }
    }
  })
}

interface ReconcileRun {
  database: Database
  store: ObjectStore
  runId: string
  signal: AbortSignal
  concurrency: number
  tally: Tally
}

async function observeAndReport(
  context: Context,
  flags: ReconcileFlags,
  { database, store, runId, signal, concurrency, tally }: ReconcileRun,
): Promise<{ exitCode: ExitCode; summary: Record<string, unknown> }> {
  const { config, report } = context
  const { knex } = database
  const startedAt = context.now().getTime()
  await sweepTempFolders()
  const temp = await makeTempFolder(runId)
  context.onRelease(() => temp.remove())
  const tempFolder = temp.path

  const options: ReconcileOptions = {
    prefix: config.s3.keyPrefix,
    quarantinePrefix,
    audioFolder: config.audioFolder,
    disk: flags.disk,
    deep: flags.deep ? await sampledShare(flags.sample, database) : 0,
    head: flags.head,
    concurrency,
    cacheControl,
    force: flags.force,
    ...(flags.accept.length > 0 && { accept: new Set(flags.accept as readonly DifferenceClass[]) }),
    tempFolder,
    signal,
  }
  const before = await rowsBefore(database)
  if (before !== undefined) options.rowsBefore = before
  if (flags.inventory !== undefined) {
    options.inventory = await sortedInventory(
      context,
      flags.inventory,
      store,
      quarantinePrefix,
      tempFolder,
      signal,
    )
    const { takenAt, objects } = options.inventory
    const age = (await store.time(signal)).getTime() - takenAt.getTime()
    const told = `Inventory of ${takenAt.toISOString()}, ${formatDuration(Math.max(0, age))} old: ${plural(objects, 'object')}`
    if (age < -3_600_000)
      report.warn(
        `${plural(objects, 'object')} in an inventory that says it was made ${formatDuration(-age)} from now: ${takenAt.toISOString()}`,
      )
    else if (age > inventoryFresh) {
      report.warn(`${told}. It does not show what was uploaded, moved, overwritten or removed since.`)
    } else report.note(told)
    options.inventoryInsufficient = why => {
      report.warn(`The inventory is not enough: ${why}. The bucket itself is listed.`)
    }
  }

  const { selected } = await selectedTracks(context, database)
  if (selected !== undefined) {
    const [ids, isStranger] = [new Set(selected), strangerSelector(context.selection)]
    options.isSelected = ({ row, name }) =>
      row === undefined ? isStranger(keyPath(name, config.s3.keyPrefix)) : ids.has(row.trackId)
  }
  const planning =
    flags.plan === undefined ? undefined : await startPlan(context, flags, store, database, tempFolder)
  const combined =
    flags.combined === undefined ? undefined : await Lines.open(path.resolve(context.cwd, flags.combined))
  const progress = report.progress({ label: 'reconcile', unit: 'objects' })
  progress.total({ items: await expectedComparisons(database) })
  const held: { name: string; reason: string }[] = []
  let heldCount = 0
  try {
    for await (const comparisons of reconcile({ knex, store }, options, tally)) {
      progress.advance({ items: comparisons.length })
      for (const comparison of comparisons) {
        reportComparison(context, comparison)
        // If there is nothing to wait for, nothing is: a promise for each object would be costly.
        if (combined !== undefined && !comparison.addendum) {
          const written = combined.write(`${comparison.sigil} ${printable(comparison.name)}\n`)
          if (written !== undefined) await written
        }
        if (planning === undefined || isPlain(comparison)) continue
        const reason = await planning.take(comparison)
        if (reason === undefined) continue
        heldCount += 1
        if (held.length < heldShown) held.push({ name: comparison.name, reason })
      }
    }
  } finally {
    progress.done()
    await combined?.close()
  }

  const seconds = (context.now().getTime() - startedAt) / 1000
  const fields = summaryFields(tally, seconds)
  const shown = {
    ...flags,
    takenAt: options.inventory?.takenAt,
    isSelecting: isSelecting(context.selection),
  }
  for (const { name, reason } of held) {
    report.item({
      subject: name,
      state: 'held-back',
      reason,
      text: `left out ${printable(name)}: ${reason}`,
    })
  }
  let planned: Planned | undefined
  if (planning !== undefined) {
    const limit = flags.maxDelete ?? defaultDeleteLimit
    const written = await planning.write(tally, ({ removals, losses }) => {
      const stakes = {
        removals: { count: removals, of: tally.objects },
        losses: { count: losses, of: tally.rows },
      }
      const tripped = flags.force ? [] : trippedBreakers({ limit, ...stakes })
      if (tripped.length > 0) report.summary(summarise(tally, seconds, 'refused', shown))
      refuseIfTripped(tripped, 'safety.max-delete')
    })
    planned = { ...written, heldBack: heldCount, unmended: planning.unmended }
  }
  report.summary(summarise(tally, seconds, planned, shown))
  const exitCode = tally.drift > 0 ? ExitCode.drift : tally.unread > 0 ? ExitCode.someFailed : ExitCode.ok
  return { exitCode, summary: fields }
}

/* ── Plan ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

interface Planning {
  unmended: Map<DifferenceClass, number>
  /** @returns why a removal was held back */
  take(comparison: Comparison): Promise<string | undefined>
  write(
    tally: Tally,
    allow: (stakes: { removals: number; losses: number }) => void,
  ): Promise<{ items: number; removals: number; losses: number }>
}

async function startPlan(
  context: Context,
  flags: ReconcileFlags,
  store: ObjectStore,
  { knex }: Database,
  tempFolder: string,
): Promise<Planning> {
  const id = randomUUID()
  const now = context.now().getTime()
  const versioned = (await store.versioning(context.signal)) === 'Enabled'
  // How old an object is says the clock that its time is by.
  const storeNow = (await store.time(context.signal)).getTime()
  const uploading = await keysUploading(knex, store.bucket)
  const builder = new PlanBuilder(new ExternalSorter(tempFolder, 'plan'))
  const unmended = new Map<DifferenceClass, number>()
  return {
    unmended,
    async take(comparison) {
      const repair = repairOf(comparison, {
        cacheControl,
        ...(flags.localChanges === undefined ? {} : { localChanges: flags.localChanges }),
        heldBack: object =>
          heldBack(object, { now: storeNow, minAge: flags.minAge, uploading: uploading.has(object.key) }),
        quarantineKey: key => (versioned ? undefined : quarantineKey(id, key)),
      })
      for (const { action, why, worth } of repair.actions) await builder.add(action, why, worth)
      const drift = comparison.differences.find(({ severity }) => severity === 'drift')
      if (drift !== undefined && repair.actions.length === 0 && repair.heldBack === undefined)
        unmended.set(drift.class, (unmended.get(drift.class) ?? 0) + 1)
      return repair.heldBack
    },
    write: (tally, allow) =>
      builder.write(
        path.resolve(context.cwd, flags.plan as string),
        makePlanHeader({
          id,
          command: 'reconcile',
          now,
          validFor: flags.planExpires,
          bucket: store.bucket,
          versioned,
          seen: { rows: tally.rows, objects: tally.objects },
        }),
        allow,
      ),
  }
}

/* ── Settings ─────────────────────────────────────────────────────────────────────────────────────────────────── */

async function sampledShare(sample: ReconcileFlags['sample'], { knex }: Database): Promise<number> {
  if (sample === undefined) return 1
  if (sample.percent !== undefined) return sample.percent / 100
  const { withKey } = await countRows(knex)
  return withKey === 0 ? 1 : Math.min(1, (sample.count ?? 0) / withKey)
}

/** How many findings there will be, about: rows with a key, or as many objects as the last run saw. */
async function expectedComparisons(database: Database): Promise<number> {
  const { withKey } = await countRows(database.knex)
  return Math.max(withKey, (await lastNumber(database.knex, 'reconcile', 'objects')) ?? 0)
}

/** Rows that the newest run saw which came to its end. */
function rowsBefore({ knex }: Database): Promise<number | undefined> {
  return lastTold(knex, 'reconcile', ({ summary }) => {
    const rows = summary?.['rows']
    return typeof rows === 'number' ? rows : undefined
  })
}

async function sortedInventory(
  context: Context,
  { bucket, key }: InventoryPlace,
  library: ObjectStore,
  except: string,
  tempFolder: string,
  signal: AbortSignal,
) {
  const { s3 } = context.config
  const { createS3Store } = await import('../storage/s3.ts')
  const store = createS3Store({
    ...s3Options(context.config, bucket),
  })
  try {
    const place = { sorter: new ExternalSorter(tempFolder, 'inventory'), tempFolder }
    return await readInventory(
      store,
      key,
      { bucket: library.bucket, prefix: s3.keyPrefix, except },
      place,
      signal,
    )
  } finally {
    store.close()
  }
}
