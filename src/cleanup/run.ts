/** What `autodj cleanup` does with its flags: looks, and with --apply removes, under a lock and a time budget. */

import path from 'node:path'
import { requireFiles, WatchedFolder } from '../audio-files/mounted.ts'
import { Readers } from '../audio-files/readers.ts'
import { openServedCheck } from '../cdn/served.ts'
import type { Context } from '../context.ts'
import { quarantinePrefix } from '../core/prefixes.ts'
import { isSelecting } from '../core/selection.ts'
import { formatBytes, formatCount, formatDuration, plural, printable } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { lockedLine, tellLocked } from '../db/locked-rows.ts'
import { requireSchema } from '../db/require-schema.ts'
import { requireAllRows } from '../db/row-security.ts'
import type { ErrorCode } from '../error-codes.ts'
import { ExitCode } from '../errors.ts'
import { ExternalSorter } from '../external-sort/sorter.ts'
import { withinOpenFiles } from '../open-files.ts'
import { recordRun } from '../runs/recorded-run.ts'
import { holdRemovalLease } from '../runs/removal-lock.ts'
import { selectedTracks } from '../runs/selected-tracks.ts'
import { makeTempFolder } from '../runs/temp-folders.ts'
import { isItemProblem } from '../storage/item-problem.ts'
import type { ObjectStore } from '../storage/store.ts'
import type { CleanupFlags } from './flags.ts'
import {
  emptyFolders,
  expiredQuarantine,
  type FileAside,
  filesAside,
  type Leftover,
  oldRuns,
  restoreDrafts,
  staleTempFolders,
  staleUploads,
} from './leftovers.ts'
import { type CopyOutcome, type DispensableCopy, dispensableCopies, removeCopy } from './local-copies.ts'

export async function runCleanup(context: Context, flags: CleanupFlags): Promise<ExitCode> {
  const store = await context.store()
  const database = await context.database()
  await requireSchema(database)
  await requireAllRows(database, flags)
  await store.checkBucket(context.signal)
  return recordRun(context, database, async run => {
    context.limitDuration(flags.maxDuration)
    if (flags.apply) await holdRemovalLease(database.knex, run.id)
    const temp = await makeTempFolder(run.id)
    context.onRelease(() => temp.remove())
    const tempFolder = temp.path
    const signal = AbortSignal.any([context.signal, run.lost])
    const done = new Removals(context, flags)
    for await (const aside of filesAside(context.config.audioRoot, signal)) await done.aside(aside)
    await removeCopies(context, flags, { database, store, signal, tempFolder, runId: run.id }, done)
    const now = context.now().getTime()
    // What waits in the bucket waits by the bucket's clock: ours may be set wrong.
    const storeNow = (await store.time(signal)).getTime()
    if (Math.abs(storeNow - now) > clocksApart) {
      const { report } = context
      report.warn(
        `this machine's clock and that of ${store.bucket} are ${formatDuration(Math.abs(storeNow - now))} apart; ages of what is in the bucket are judged by the bucket's`,
      )
    }
    const leftovers = [
      restoreDrafts(context.config.audioRoot, signal),
      emptyFolders(context.config.audioRoot, now, done.emptied),
      staleTempFolders(database.knex),
      staleUploads(database.knex, store, {
        prefix: context.config.s3.keyPrefix,
        before: storeNow - flags.uploadsOlderThan,
        signal,
      }),
      expiredQuarantine(database.knex, store, {
        quarantinePrefix,
        keyPrefix: context.config.s3.keyPrefix,
        before: storeNow - flags.quarantineFor,
        audioFolder: context.config.audioFolder,
        signal,
      }),
      oldRuns(database.knex, now - flags.recordsFor),
    ]
    // Leftovers belong to no track: whoever names tracks means those alone.
    for (const kind of isSelecting(context.selection) ? [] : leftovers) {
      for await (const leftover of kind) {
        if (context.stopping.aborted || done.room === 0) break
        await done.leftover(leftover)
      }
    }
    if (done.locked.length > 0) await tellLocked(database.knex, context.report, done.locked)
    return done.finish()
  })
}

interface Parts {
  database: Database
  store: ObjectStore
  signal: AbortSignal
  tempFolder: string
  runId: string
}

async function removeCopies(
  context: Context,
  flags: CleanupFlags,
  { database, store, signal, tempFolder, runId }: Parts,
  done: Removals,
): Promise<void> {
  const { audioFolder, maxAudioCacheBytes } = context.config
  const folder = new WatchedFolder(audioFolder.root)
  if (!(await requireFiles(database, audioFolder, { force: flags.force }))) return
  const checking = await openServedCheck(context.config, { concurrency: 32, signal, now: context.now })
  if (checking === undefined) {
    context.report.note('CLOUDFRONT_DOMAIN is not set: local files are deleted after the proof in S3 alone')
  }
  const readers = new Readers(1)
  try {
    const copies = dispensableCopies(
      database,
      audioFolder,
      {
        olderThan: flags.olderThan,
        maxBytes: maxAudioCacheBytes,
        signal,
        ...(await selectedTracks(context, database)),
        recent: done.recent,
      },
      context.now().getTime(),
      new ExternalSorter(tempFolder, 'copies'),
    )
    const atOnce = withinOpenFiles(copiesAtOnce)
    // Many at a time: what is asked of the whole table is asked once for all that are ready to go.
    const underWay: { copy: DispensableCopy; outcome: Promise<CopyOutcome> }[] = []
    const endFirst = async (): Promise<void> => {
      const { copy, outcome } = underWay.shift() as (typeof underWay)[number]
      await done.copy(copy, () => outcome)
    }
    const remove = async (copy: DispensableCopy): Promise<CopyOutcome> => {
      let isRemoved = false
      try {
        const outcome = await removeCopy({ ...context, signal }, database, store, readers, copy, {
          runId,
          served: checking?.served,
          lockWait: flags.lockWait,
          folder,
          dryRun: !flags.apply,
        })
        isRemoved = outcome.state === 'deleted'
        return outcome
      } finally {
        copy.settle(isRemoved)
      }
    }
    try {
      for await (const copy of copies) {
        while (underWay.length >= Math.min(atOnce, done.room) && underWay.length > 0) await endFirst()
        if (context.stopping.aborted || done.room === 0) break
        const outcome = remove(copy)
        outcome.catch(() => {})
        underWay.push({ copy, outcome })
      }
      while (underWay.length > 0) await endFirst()
    } finally {
      await Promise.allSettled(underWay.map(({ outcome }) => outcome))
    }
  } finally {
    await readers.close()
    checking?.close()
  }
}

/** Copies proved, and removed, at a time: each holds a file open. */
const copiesAtOnce = 256

/** Clocks further apart than this are worth a word, milliseconds. */
const clocksApart = 3_600_000

/** What the kinds of things that go are called by, and what they are. */
const kindMeanings: Readonly<Record<string, string>> = {
  'local-copy': 'files whose object is proved',
  'stale-path': 'row paths of files that are gone',
  'empty-folder': 'empty folders',
  'temp-file': 'files left unfinished by a dead `restore`',
  'temp-folder': 'temporary folders of dead runs',
  upload: 'unfinished multipart uploads that no running command owns',
  quarantine: 'removed objects whose quarantine has expired',
  'run-record': 'records of old runs',
}

/** Carries removals out, or only tells them, and counts. */
class Removals {
  /** folders that lost a file in this run, absolute */
  readonly emptied = new Set<string>()
  readonly #counts = { removed: 0, bytes: 0, kept: 0, failed: 0, recent: 0 }
  readonly #byKind: Record<string, number> = {}
  /** ids of tracks whose rows another transaction kept locked */
  readonly locked: string[] = []
  readonly #context: Context
  readonly #flags: CleanupFlags

  constructor(context: Context, flags: CleanupFlags) {
    this.#context = context
    this.#flags = flags
  }

  /** Copies that are too recent to go. */
  readonly recent = (copies: number): void => {
    this.#counts.recent += copies
  }

  /** How many more may go, by --limit. */
  get room(): number {
    return Math.max(0, (this.#flags.limit ?? Number.POSITIVE_INFINITY) - this.#counts.removed)
  }

  async copy(copy: DispensableCopy, remove: () => Promise<CopyOutcome>): Promise<void> {
    const { audioRoot } = this.#context.config
    const kind = copy.missing ? 'stale-path' : 'local-copy'
    // Of a file that several rows name, the copy is removed once; for the others a path.
    const goesAs = copy.isShared ? 'stale-path' : kind
    await this.#one({ kind, goesAs }, copy.path, copy.size, async () => {
      const outcome = await remove()
      if (outcome.state === 'kept') {
        if (outcome.code === 'row.locked') this.locked.push(copy.trackId)
        return outcome
      }
      if (copy.file === undefined) return undefined
      let folder = path.dirname(copy.file)
      // Folders above may have become empty with it.
      while (folder.startsWith(audioRoot + path.sep)) {
        this.emptied.add(folder)
        folder = path.dirname(folder)
      }
      return undefined
    })
  }

  /** Puts a file back that a killed run had taken out of the way. */
  async aside({ path: where, size, putBack }: FileAside): Promise<void> {
    const { report } = this.#context
    const kept = this.#flags.apply ? await putBack() : undefined
    const state = kept !== undefined ? 'kept' : this.#flags.apply ? 'put-back' : 'would-put-back'
    if (kept !== undefined) this.#counts.kept += 1
    report.item({
      subject: where,
      state,
      fields: { kind: 'file-aside', bytes: size },
      ...(kept === undefined ? {} : { reason: kept }),
      text: `${state.replaceAll('-', ' ')} ${printable(where)}${kept === undefined ? ': a killed run had moved it aside' : `: ${kept}`}`,
    })
  }

  leftover({ kind, subject, bytes = 0, kept, remove }: Leftover): Promise<void> {
    const act = kept === undefined && this.#flags.apply ? remove : async () => kept
    return this.#one({ kind, goesAs: kind }, subject, bytes, async () => {
      const reason = await act()
      return reason === undefined ? undefined : { reason }
    })
  }

  async #one(
    { kind, goesAs }: { readonly kind: string; readonly goesAs: string },
    subject: string,
    bytes: number,
    remove: () => Promise<{ reason: string; code?: ErrorCode } | undefined>,
  ): Promise<void> {
    const { report } = this.#context
    const say = (
      state: string,
      { reason, code, text, cure }: { reason?: string; code?: ErrorCode; text?: string; cure?: string } = {},
    ): void =>
      report.item({
        subject,
        state,
        fields: {
          kind: reason === undefined ? goesAs : kind,
          bytes,
          ...(code === undefined ? {} : { code }),
        },
        ...(reason === undefined ? {} : { reason }),
        ...(cure === undefined ? {} : { cure }),
        ...(text === undefined ? {} : { text }),
      })
    let kept: { reason: string; code?: ErrorCode } | undefined
    try {
      kept = await remove()
    } catch (error) {
      if (!isItemProblem(error)) throw error
      this.#counts.failed += 1
      say('failed', { reason: error.message, cure: error.cure })
      return
    }
    if (kept !== undefined) {
      this.#counts.kept += 1
      say('kept', { ...kept, text: `kept ${kind} ${printable(subject)}: ${printable(kept.reason)}` })
      return
    }
    this.#counts.removed += 1
    this.#counts.bytes += bytes
    this.#byKind[goesAs] = (this.#byKind[goesAs] ?? 0) + 1
    if (this.#flags.apply) say('removed')
    else say('would-remove', { text: `would remove ${goesAs} ${printable(subject)} (${formatBytes(bytes)})` })
  }

  finish(): { exitCode: ExitCode; summary: Record<string, unknown> } {
    const { removed, bytes, kept, failed, recent } = this.#counts
    const locked = this.locked.length
    const { apply, olderThan } = this.#flags
    const left = failed > 0 ? ExitCode.someFailed : locked > 0 ? ExitCode.temporary : ExitCode.ok
    const exitCode = this.#context.stopExitCode() ?? left
    const fields = {
      dry_run: !apply,
      removed,
      bytes,
      kept,
      rows_locked: locked,
      failed,
      recent,
      by_kind: this.#byKind,
    }
    const kinds = Object.entries(this.#byKind).map(
      ([kind, count]) => `  ${formatCount(count).padStart(9)}  ${kind.padEnd(12)} ${kindMeanings[kind]}`,
    )
    const rest = kept > 0 ? ` ${plural(kept, 'item')} kept; see above for the reasons.` : ''
    this.#context.report.summary({
      lines: [
        removed === 0
          ? `${apply ? 'Nothing' : 'Dry run: nothing'} to remove.${rest}`
          : apply
            ? `${plural(removed, 'item')} removed, ${formatBytes(bytes)} freed.${rest}`
            : `Dry run: ${plural(removed, 'item')} (${formatBytes(bytes)}) would be removed; nothing was deleted.${rest}`,
        ...(recent > 0
          ? [
              `${plural(recent, 'local copy', 'local copies')} used within ${formatDuration(olderThan)} (--older-than) ${recent === 1 ? 'is' : 'are'} left alone.`,
            ]
          : []),
        ...(locked > 0 ? [lockedLine(locked)] : []),
        ...kinds,
      ],
      ...(exitCode === ExitCode.timeBudget
        ? { next: 'time budget used up; the next run resumes' }
        : !apply && removed > 0
          ? { next: 'run it again with --apply' }
          : {}),
      fields,
    })
    return { exitCode, summary: fields }
  }
}
