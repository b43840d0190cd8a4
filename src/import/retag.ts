/** Names of rows read anew from their files, where an earlier version of autodj read them wrongly. */
import path from 'node:path'
import type { Knex } from 'knex'
import { LocalFileError, openRoot, openSource } from '../audio-files/source.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import { isLocalTrackId } from '../core/import/content-id.ts'
import { type Retag, retagged } from '../core/import/retag.ts'
import { trackName } from '../core/names.ts'
import { printable } from '../core/units.ts'
import type { RowRefusal } from '../db/errors.ts'
import { LockedRows, rowLocked } from '../db/locked-rows.ts'
import { renameTracks, type Track, trackPages } from '../db/tracks.ts'
import type { Reporter } from '../report/reporter.ts'
import { formerNames } from './former-tags.ts'
import { readTags } from './tags.ts'

interface RetagOptions {
  readonly knex: Knex
  readonly folder: AudioFolder
  /** decide and report, write nothing */
  readonly dryRun: boolean
  /** how long locked rows are waited for, milliseconds */
  readonly lockWait?: number | undefined
  /** no new work */
  readonly stopping: AbortSignal
  readonly signal: AbortSignal
  readonly report: Reporter
}

interface RetagSummary {
  /** rows that autodj made, and whose file is here */
  looked: number
  retagged: number
  /** rows that autodj made, and whose file is not here to be read */
  absent: number
  /** rows that someone else changed in the meantime */
  changed: number
  /** rows that another transaction kept locked, if there were any */
  locked?: number
  /** rows that the database refused to change */
  refused: number
  stopped: boolean
}

/** Goes through the rows that `import` made. Keys, paths, and names that someone else gave stay what they are. */
export async function retagRows(options: RetagOptions): Promise<RetagSummary> {
  const { knex, folder, stopping, signal, report } = options
  const lockedRows = new LockedRows({ knex, stopping, report, wait: options.lockWait })
  const summary: RetagSummary = { looked: 0, retagged: 0, absent: 0, changed: 0, refused: 0, stopped: false }
  const root = await openRoot(folder.root)
  const progress = report.progress({ label: 'reading tags', unit: 'files' })
  try {
    for await (const page of trackPages(knex, { pageSize: 500, signal })) {
      const due: Due[] = []
      for (const track of page) {
        if (stopping.aborted) break
        if (!isLocalTrackId(track.spotifyId)) continue
        const found = await namesOf(track, folder, root)
        if (found === 'absent') summary.absent++
        else {
          summary.looked++
          if (found.names) due.push({ track, names: found.names, file: found.file })
        }
        progress.advance({ items: 1 })
      }
      await change(due, { ...options, lockedRows }, summary)
      if (stopping.aborted) break
    }
  } finally {
    progress.done()
  }
  await lockedRows.tell()
  summary.stopped = stopping.aborted
  return summary
}

async function namesOf(
  track: Track,
  folder: AudioFolder,
  root: string,
): Promise<'absent' | { file: string; names: Retag | undefined }> {
  if (track.filePath === null || track.filePath === '') return 'absent'
  try {
    const source = await openSource(track.filePath, folder, root)
    const { absolute, relative, size } = source
    await source.close()
    // Another file took the name since.
    if (track.fileSize !== null && track.fileSize !== size) return 'absent'
    const file = relative.split(path.sep).join('/')
    const now = trackName(file, await readTags(absolute, file))
    const names = retagged(track, now, await formerNames(absolute, file))
    return { file, names }
  } catch (error) {
    if (error instanceof LocalFileError) return 'absent'
    throw error
  }
}

interface Due {
  readonly track: Track
  readonly names: Retag
  readonly file: string
}

async function change(
  due: readonly Due[],
  { knex, dryRun, report, lockedRows }: RetagOptions & { readonly lockedRows: LockedRows },
  summary: RetagSummary,
): Promise<void> {
  if (due.length === 0) return
  const ends = dryRun
    ? undefined
    : await lockedRows.write<Due, 'done' | 'changed' | RowRefusal>(due, {
        idOf: ({ track }) => track.id,
        async write(part) {
          const renames = part.map(({ track, names }) => ({ planned: track, ...names }))
          const outcomes = await knex.transaction(trx => renameTracks(trx, renames))
          return part.map(({ track }) => outcomes.get(track.id) ?? 'changed')
        },
        refuse: (_, refusal) => refusal,
      })
  for (const [at, { track, names, file }] of due.entries()) {
    const end = ends?.[at] ?? 'done'
    if (typeof end !== 'string') {
      summary.refused++
      report.item({ subject: file, state: 'failed', fields: { track_id: track.id }, ...end })
      continue
    }
    if (end === 'locked') {
      summary.locked = (summary.locked ?? 0) + 1
      report.item({ subject: file, state: 'skipped', fields: { code: 'row.locked' }, reason: rowLocked })
      continue
    }
    if (end === 'changed') {
      summary.changed++
      report.item({
        subject: file,
        state: 'skipped',
        reason: `its row ${track.id} was changed by someone else in the meantime`,
        cure: 'Run it again.',
      })
      continue
    }
    summary.retagged++
    const told = (artist: string, title: string): string => printable(`${artist} – ${title}`)
    report.item({
      subject: file,
      state: 'retagged',
      fields: {
        track_id: track.id,
        from: { artist: track.artist, title: track.title },
        to: { artist: names.artist, title: names.title },
        dry_run: dryRun,
      },
      text: `retagged  ${told(track.artist, track.title)} → ${told(names.artist, names.title)} (${printable(file)})`,
    })
  }
}
