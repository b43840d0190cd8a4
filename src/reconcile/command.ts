/** What `autodj reconcile` does with its flags: observes, reports, and saves what would mend it as a plan. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import path from 'node:path'
import type { Context } from '../context.ts'
import type { DeleteLimit } from '../core/limits.ts'
import { type DifferenceClass, differenceClasses, type Finding } from '../core/reconcile/facts.ts'
import { repairOf } from '../core/reconcile/repair.ts'
import { defaultDeleteLimit, heldBack, refuseIfTripped, trippedBreakers } from '../core/safety.ts'
import { formatBytes, formatCount, formatDuration, plural, printable } from '../core/units.ts'
import { recentRuns } from '../db/ledger.ts'
import type { Database } from '../db/open.ts'
import { requireSchema } from '../db/require-schema.ts'
import { countRows, keysUploading } from '../db/row-facts.ts'
import { ExitCode, SafetyLimitError, systemErrorCode, UsageError } from '../errors.ts'
import {
  makePlanHeader,
  PlanBuilder,
  quarantineKey,
  quarantinePrefix,
  refuseUnwritable,
} from '../plan/plan-file.ts'
import { recordRun } from '../run.ts'
import type { ObjectStore } from '../storage/store.ts'
import { makeTempFolder, sweepTempFolders } from '../temp.ts'
import { cacheControl } from '../upload/transfer.ts'
import { parseInventoryUrl, readInventory } from './inventory.ts'
import { newTally, type ReconcileOptions, reconcile, type Tally } from './reconcile.ts'
import { ExternalSorter } from './sorter.ts'

export interface ReconcileFlags {
  readonly disk: boolean
  readonly inventory: string | undefined
  readonly deep: boolean
  readonly sample: { count?: number; percent?: number } | undefined
  readonly head: 'changed' | 'none' | 'all'
  readonly combined: string | undefined
  readonly plan: string | undefined
  readonly planExpires: number
  readonly maxDelete: DeleteLimit | undefined
  readonly minAge: number
  readonly concurrency: number | undefined
  readonly force: boolean
}

const defaultConcurrency = 32
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
    try {
      return await observeAndReport(context, flags, { database, store, runId: run.id, signal, concurrency })
    } catch (error) {
      const stopped = context.stopExitCode()
      if (stopped === undefined) throw error
      return { exitCode: stopped, summary: { stopped: true } }
    }
  })
}

interface Surroundings {
  database: Database
  store: ObjectStore
  runId: string
  signal: AbortSignal
  concurrency: number
}

async function observeAndReport(
  context: Context,
  flags: ReconcileFlags,
  { database, store, runId, signal, concurrency }: Surroundings,
): Promise<{ exitCode: ExitCode; summary: Record<string, unknown> }> {
  const { config, report } = context
  const { knex } = database
  const startedAt = context.now().getTime()
  await sweepTempFolders()
  const temp = await makeTempFolder(runId)
  context.onRelease(() => temp.remove())
  const tempFolder = temp.path
  const except = config.s3.keyPrefix.startsWith(quarantinePrefix) ? '' : quarantinePrefix

  const options: ReconcileOptions = {
    prefix: config.s3.keyPrefix,
    quarantinePrefix: except,
    audioRoot: config.audioRoot,
    disk: flags.disk,
    deep: flags.deep ? await sampledShare(flags.sample, database) : 0,
    head: flags.head,
    concurrency,
    cacheControl,
    force: flags.force,
    tempFolder,
    signal,
  }
  const before = await rowsBefore(database)
  if (before !== undefined) options.rowsBefore = before
  if (flags.inventory !== undefined) {
    options.inventory = await openInventory(context, flags.inventory, store, except, tempFolder, signal)
    report.note(
      `Inventory of ${options.inventory.takenAt.toISOString()}: ${plural(options.inventory.objects, 'object')}`,
    )
  }

  const planning =
    flags.plan === undefined ? undefined : await startPlan(context, flags, store, database, tempFolder)
  const combined =
    flags.combined === undefined ? undefined : await Lines.open(path.resolve(context.cwd, flags.combined))
  const tally = newTally()
  const progress = report.progress({ label: 'reconcile', unit: 'objects' })
  const held: { name: string; reason: string }[] = []
  let heldCount = 0
  try {
    for await (const findings of reconcile({ knex, store }, options, tally)) {
      progress.advance({ items: findings.length })
      for (const finding of findings) {
        reportFinding(context, finding)
        if (!finding.addendum) await combined?.write(`${finding.sigil} ${printable(finding.name)}\n`)
        const reason = await planning?.take(finding)
        if (reason === undefined) continue
        heldCount += 1
        if (held.length < heldShown) held.push({ name: finding.name, reason })
      }
    }
  } finally {
    progress.done()
    await combined?.close()
  }

  const seconds = (context.now().getTime() - startedAt) / 1000
  const fields = summaryFields(tally, seconds)
  for (const { name, reason } of held) {
    report.item({
      subject: name,
      state: 'held-back',
      reason,
      text: `held back ${printable(name)}: ${reason}`,
    })
  }
  let planned: Planned | undefined
  if (planning !== undefined) {
    const { removals, losses } = planning.builder
    const limit = flags.maxDelete ?? defaultDeleteLimit
    const stakes = {
      removals: { count: removals, of: tally.objects },
      losses: { count: losses, of: tally.rows },
    }
    const tripped = flags.force ? [] : trippedBreakers({ limit, ...stakes })
    if (tripped.length > 0) report.summary(summarise(tally, seconds, 'refused', flags))
    refuseIfTripped(tripped, 'safety.max-delete')
    planned = { items: await planning.write(tally), removals, losses, unmended: planning.unmended }
  }
  report.summary(summarise(tally, seconds, planned, flags))
  if (heldCount > 0) {
    const error = new SafetyLimitError(`${plural(heldCount, 'removal')} held back; the rest is in the plan`, {
      code: 'safety.held-back',
      cure: 'uploads may be under way: run it again later, or lower --min-age if you know that none is',
      details: { held_back: heldCount },
    })
    // Not thrown: the run saw the whole library, and the next one goes by what it saw.
    report.error(error)
    return { exitCode: error.exitCode, summary: fields }
  }
  const exitCode = tally.drift > 0 ? ExitCode.drift : tally.unread > 0 ? ExitCode.someFailed : ExitCode.ok
  return { exitCode, summary: fields }
}

/* ── Lines ────────────────────────────────────────────────────────────────────────────────────────────────────── */

function reportFinding(context: Context, finding: Finding): void {
  const { report } = context
  const { sigil, name, differences, row, object, other, problem } = finding
  const plain = sigil === '=' && differences.length === 0
  // A track that waits to be fetched is no news; there may be as many of them as tracks.
  const quiet =
    plain || differences.every(({ class: kind, severity }) => kind === 'no-audio' && severity === 'note')
  if (quiet && sigil !== '!' && !report.verbose) return
  const details = problem ?? differences.map(one => `${one.class} (${one.detail})`).join('; ')
  report.item({
    subject: name,
    state: sigil === '!' ? 'unread' : (differences[0]?.class ?? 'agree'),
    text: `${sigil} ${printable(name)}${details === '' ? '' : `  ${printable(details)}`}`,
    fields: {
      sigil,
      differences,
      ...(row === undefined ? {} : { track_id: row.trackId, file_source: row.source, file_path: row.path }),
      ...(object === undefined ? {} : { bytes: object.size, etag: object.etag }),
      ...(other === undefined ? {} : { other: other.key }),
      ...(problem === undefined ? {} : { problem }),
    },
  })
}

/** A file that lines are appended to, without waiting for each. */
class Lines {
  private readonly stream: WriteStream
  private failure: Error | undefined

  private constructor(stream: WriteStream) {
    this.stream = stream
    this.stream.on('error', error => {
      this.failure = error
    })
  }

  /** @throws UsageError where it cannot be written */
  static async open(file: string): Promise<Lines> {
    const stream = createWriteStream(file)
    try {
      await once(stream, 'open')
    } catch (error) {
      const code = systemErrorCode(error)
      throw new UsageError(`--combined: cannot write ${file}: ${code}`, { code: 'usage.flag', cause: error })
    }
    return new Lines(stream)
  }

  write(line: string): Promise<unknown> | undefined {
    if (this.failure !== undefined) throw this.failure
    return this.stream.write(line) ? undefined : once(this.stream, 'drain')
  }

  async close(): Promise<void> {
    if (this.failure !== undefined) throw this.failure
    this.stream.end()
    await once(this.stream, 'close')
  }
}

function summaryFields(tally: Tally, seconds: number): Record<string, unknown> {
  return {
    rows: tally.rows,
    rows_with_key: tally.rowsWithKey,
    objects: tally.objects,
    bytes: tally.bytes,
    files: tally.files,
    agree: tally.agree,
    drift: tally.drift,
    unread: tally.unread,
    changed: tally.changed,
    heads: tally.heads,
    hashed: tally.hashed,
    found: tally.found,
    seconds: Math.round(seconds * 10) / 10,
  }
}

/** What became of a plan that was asked for. */
interface Planned {
  items: number
  removals: number
  losses: number
  /** drift that no plan can mend, by class */
  unmended: ReadonlyMap<DifferenceClass, number>
}

/** What mends the differences that a plan cannot. */
const otherCures: Partial<Record<DifferenceClass, string>> = {
  'local-file-without-row': '`autodj import` makes the rows',
  'checksum-differs': 'there is no local copy to upload again; a backup may have the right content',
  'size-differs': 'nothing shows which of the two sizes is right; `--deep` may',
  'missing-object': 'whether the local file is there could not be seen',
}

function summarise(
  tally: Tally,
  seconds: number,
  planned: Planned | 'refused' | undefined,
  flags: ReconcileFlags,
) {
  const entries = Object.entries(tally.found) as [DifferenceClass, number][]
  const row = (count: number, text: string): string => `  ${formatCount(count).padStart(9)}  ${text}`
  const verdict =
    tally.drift > 0
      ? `${plural(tally.drift, 'difference')} found.`
      : tally.unread > 0
        ? 'No difference found, but not everything could be read.'
        : flags.disk
          ? 'Database, bucket and disk agree.'
          : 'Database and bucket agree.'
  const lines = [
    `${verdict} ${plural(tally.rows, 'row')}, ${plural(tally.objects, 'object')} (${formatBytes(tally.bytes)})` +
      `${flags.disk ? `, ${plural(tally.files, 'file')}` : ''}` +
      `${flags.deep ? `, ${formatCount(tally.hashed)} hashed` : ''} in ${formatDuration(seconds * 1000)}.`,
    ...entries
      .filter(([, count]) => count > 0)
      .map(([kind, count]) => row(count, `${kind.padEnd(22)} ${differenceClasses[kind]}`)),
  ]
  if (tally.unread > 0) lines.push(row(tally.unread, 'could not be read'))
  if (tally.changed > 0) lines.push(row(tally.changed, 'changed meanwhile and were not judged'))
  if (planned === undefined || planned === 'refused') {
    const next = '`autodj reconcile --plan FILE` to see what would mend it'
    return {
      lines,
      ...(tally.drift > 0 && planned === undefined ? { next } : {}),
      fields: summaryFields(tally, seconds),
    }
  }
  const { items, removals, losses, unmended } = planned
  const parts = [
    plural(items, 'repair'),
    ...(removals > 0 ? [`${plural(removals, 'object')} to quarantine`] : []),
    ...(losses > 0 ? [`${plural(losses, 'row')} to UNAVAILABLE`] : []),
  ]
  lines.push(`Plan: ${parts.join(', ')}, in ${flags.plan}`)
  if (unmended.size > 0) lines.push('Not in it, since no repair is known to be right:')
  for (const [kind, count] of unmended) {
    const cure = otherCures[kind]
    lines.push(row(count, cure === undefined ? kind : `${kind.padEnd(22)} ${cure}`))
  }
  const next = `\`autodj apply ${flags.plan}\` to do it, \`autodj undo ${flags.plan}\` to take it back`
  return {
    lines,
    ...(items > 0 ? { next } : {}),
    fields: {
      ...summaryFields(tally, seconds),
      plan: flags.plan,
      repairs: items,
      removals,
      losses,
      unmended: Object.fromEntries(unmended),
    },
  }
}

/* ── Plan ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

interface Planning {
  builder: PlanBuilder
  unmended: Map<DifferenceClass, number>
  /** @returns why a removal was held back */
  take(finding: Finding): Promise<string | undefined>
  write(tally: Tally): Promise<number>
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
  const uploading = await keysUploading(knex, store.bucket)
  const builder = new PlanBuilder(new ExternalSorter(tempFolder, 'plan'))
  const unmended = new Map<DifferenceClass, number>()
  return {
    builder,
    unmended,
    async take(finding) {
      const repair = repairOf(finding, {
        cacheControl,
        heldBack: object =>
          heldBack(object, { now, minAge: flags.minAge, uploading: uploading.has(object.key) }),
        quarantineKey: key => (versioned ? undefined : quarantineKey(id, key)),
      })
      for (const { action, why } of repair.actions) await builder.add(action, why)
      const drift = finding.differences.find(({ severity }) => severity === 'drift')
      if (drift !== undefined && repair.actions.length === 0 && repair.heldBack === undefined)
        unmended.set(drift.class, (unmended.get(drift.class) ?? 0) + 1)
      return repair.heldBack
    },
    write: tally =>
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

/** Rows that the newest run saw which came to its end. */
async function rowsBefore({ knex }: Database): Promise<number | undefined> {
  for (const run of await recentRuns(knex, { command: 'reconcile', limit: 20 })) {
    const rows = run.summary?.['rows']
    if (typeof rows === 'number') return rows
  }
  return undefined
}

async function openInventory(
  context: Context,
  url: string,
  library: ObjectStore,
  except: string,
  tempFolder: string,
  signal: AbortSignal,
) {
  const { bucket, key } = parseInventoryUrl(url)
  const { s3 } = context.config
  const { createS3Store } = await import('../storage/s3.ts')
  const store = createS3Store({
    bucket,
    region: s3.region,
    endpoint: s3.endpoint,
    credentials: s3.credentials && { ...s3.credentials },
  })
  try {
    const sorter = new ExternalSorter(tempFolder, 'inventory')
    return await readInventory(
      store,
      key,
      { bucket: library.bucket, prefix: s3.keyPrefix, except },
      sorter,
      signal,
    )
  } finally {
    store.close()
  }
}
