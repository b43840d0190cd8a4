/** How `autodj reconcile` tells what it found. */
import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { cannotWrite } from '../cli/write-output.ts'
import type { Context } from '../context.ts'
import { type Comparison, type DifferenceClass, differenceClasses, isPlain } from '../core/reconcile/facts.ts'
import { formatBytes, formatCount, formatDuration, plural, printable } from '../core/units.ts'
import { refuseUnreadPipe } from '../named-files.ts'
import type { Tally } from './tally.ts'

/** Notes of which there may be as many as tracks, or as objects of somebody else's. */
const quietNotes: ReadonlySet<DifferenceClass> = new Set(['no-audio', 'foreign-object'])

/** One line of the result, where it is worth one. */
export function reportComparison(context: Context, comparison: Comparison): void {
  const { report } = context
  const { sigil, name, differences, row, object, other, problem, asOf } = comparison
  const plain = isPlain(comparison)
  // A track that waits to be fetched is no news; there may be as many of them as tracks.
  const quiet =
    plain || differences.every(({ class: kind, severity }) => quietNotes.has(kind) && severity === 'note')
  if (quiet && sigil !== '!' && !report.verbose) return
  const details = problem ?? differences.map(one => `${one.class} (${one.detail})`).join('; ')
  report.item({
    subject: name,
    state: sigil === '!' ? 'unread' : (differences[0]?.class ?? 'agree'),
    text: `${sigil} ${printable(name)}${details === '' ? '' : `  ${printable(details)}`}${asOf === undefined || !plain ? '' : `  (as of ${new Date(asOf).toISOString()})`}`,
    fields: {
      sigil,
      differences,
      ...(row === undefined ? {} : { track_id: row.trackId, file_source: row.source, file_path: row.path }),
      ...(object === undefined ? {} : { bytes: object.size, etag: object.etag }),
      ...(other === undefined ? {} : { other: other.key }),
      ...(problem === undefined ? {} : { problem }),
      ...(asOf === undefined ? {} : { as_of: new Date(asOf).toISOString() }),
    },
  })
}

/** A file that lines are appended to, without waiting for each. */
export class Lines {
  readonly #stream: WriteStream
  #failure: Error | undefined

  constructor(stream: WriteStream) {
    this.#stream = stream
    this.#stream.on('error', error => {
      this.#failure = error
    })
  }

  /** @throws UsageError if it cannot be written */
  static async open(file: string): Promise<Lines> {
    try {
      refuseUnreadPipe(file)
      const stream = createWriteStream(file)
      await once(stream, 'open')
      return new Lines(stream)
    } catch (error) {
      throw cannotWrite('--combined', file, error)
    }
  }

  write(line: string): Promise<unknown> | undefined {
    if (this.#failure !== undefined) throw this.#failure
    return this.#stream.write(line) ? undefined : once(this.#stream, 'drain')
  }

  async close(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    this.#stream.end()
    await once(this.#stream, 'close')
  }
}

const entries = (counts: Record<DifferenceClass, number>) =>
  Object.entries(counts) as [DifferenceClass, number][]

/** Classes that summaries have named from the beginning, found or not: whoever reads them may count on it. */
const always: ReadonlySet<DifferenceClass> = new Set([
  'missing-object',
  'orphan-object',
  'size-differs',
  'checksum-differs',
  'metadata-differs',
  'wrong-source',
  'nfc-twin',
  'case-twin',
  'moved',
  'duplicate-content',
  'no-audio',
  'local-file-without-row',
])

export function summaryFields(tally: Tally, seconds: number): Record<string, unknown> {
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
    differences: tally.differences,
    found: Object.fromEntries(entries(tally.found).filter(([kind, count]) => count > 0 || always.has(kind))),
    notes: Object.fromEntries(entries(tally.notes).filter(([, count]) => count > 0)),
    seconds: Math.round(seconds * 10) / 10,
  }
}

/** Of objects that rows name and that are there, though what was compared did not list them. */
function unlistedLine(count: number, takenAt: Date | undefined): string {
  const [what, why] =
    takenAt === undefined
      ? ['The listing of the store', 'it is behind, or broken']
      : ['The inventory', 'it is incomplete']
  return `${what} left out ${plural(count, 'object')} that ${count === 1 ? 'is' : 'are'} there: ${why}.`
}

/** What became of a plan that was asked for. */
export interface Planned {
  items: number
  removals: number
  losses: number
  /** objects that are left for now: too young, or being uploaded */
  heldBack: number
  /** drift that no plan can fix, by class */
  unmended: ReadonlyMap<DifferenceClass, number>
}

/** What fixes the differences that a plan cannot. */
const otherCures: Partial<Record<DifferenceClass, string>> = {
  'local-file-without-row': '`autodj import` creates the rows.',
  'checksum-differs': 'Look for the right content in a backup: there is no local copy to upload again.',
  'size-differs': 'Run `autodj reconcile --deep`, which may show which of the two sizes is right.',
  'no-audio': 'Correct the row or AUDIO_STORAGE_PATH: file_path leads out of it.',
  'missing-object':
    'Look for the recording yourself: the local file could not be seen, or what is in quarantine is another one.',
  'archived-object':
    'Restore it (`aws s3api restore-object`), or copy it to a storage class that can be read at once.',
  'local-copy-differs':
    'Pass `--local-changes upload` to upload the file as a new object, or `--local-changes object` to keep the object and forget the file.',
}

export function summarise(
  tally: Tally,
  seconds: number,
  planned: Planned | 'refused' | undefined,
  flags: {
    deep: boolean
    disk: boolean
    plan: string | undefined
    takenAt: Date | undefined
    /** only some tracks were compared */
    isSelecting?: boolean
  },
) {
  const row = (count: number, text: string): string => `  ${formatCount(count).padStart(9)}  ${text}`
  const places = tally.differences === tally.drift ? '' : ` in ${plural(tally.drift, 'place')}`
  // An inventory knows nothing of what happened since.
  const bucket = flags.takenAt === undefined ? 'bucket' : `the inventory of ${flags.takenAt.toISOString()}`
  const onWhat = flags.isSelecting ? ' on the selected tracks; nothing is said of the others' : ''
  const verdict =
    tally.drift > 0
      ? `${plural(tally.differences, 'difference')} found${places}.`
      : tally.unread > 0
        ? 'No difference found, but not everything could be read.'
        : flags.disk
          ? `Database, ${bucket} and disk agree${onWhat}.`
          : `Database and ${bucket} agree${onWhat}.`
  const lines = [
    `${verdict} ${plural(tally.rows, 'row')}, ${plural(tally.objects, 'object')} (${formatBytes(tally.bytes)})` +
      `${flags.disk ? `, ${plural(tally.files, 'file')}` : ''}` +
      `${flags.deep ? `, ${formatCount(tally.hashed)} hashed` : ''} in ${formatDuration(seconds * 1000)}.`,
    ...entries(tally.found)
      .filter(([kind, count]) => count > tally.notes[kind])
      .map(([kind, count]) =>
        row(count - tally.notes[kind], `${kind.padEnd(22)} ${differenceClasses[kind]}`),
      ),
  ]
  const noted = entries(tally.found).filter(([kind]) => tally.notes[kind] > 0)
  if (noted.length > 0) lines.push('Notes (not counted as drift):')
  for (const [kind] of noted)
    lines.push(row(tally.notes[kind], `${kind.padEnd(22)} ${differenceClasses[kind]}`))
  if (tally.unlisted > 0) lines.push(unlistedLine(tally.unlisted, flags.takenAt))
  if (tally.unread > 0) lines.push(row(tally.unread, 'could not be read'))
  if (tally.changed > 0) lines.push(row(tally.changed, 'changed in the meantime and were not judged'))
  if (planned === undefined || planned === 'refused') {
    const next = '`autodj reconcile --plan FILE` to see what would fix it'
    return {
      lines,
      ...(tally.drift > 0 && planned === undefined ? { next } : {}),
      fields: summaryFields(tally, seconds),
    }
  }
  const { items, removals, losses, heldBack, unmended } = planned
  const parts = [
    plural(items, 'repair'),
    ...(removals > 0 ? [`${plural(removals, 'object')} to remove`] : []),
    ...(losses > 0 ? [`${plural(losses, 'row')} to UNAVAILABLE`] : []),
  ]
  lines.push(`Plan: ${parts.join(', ')}, in ${flags.plan}`)
  if (heldBack > 0) {
    lines.push(
      `${plural(heldBack, 'removal')} left out: the objects are too young, or being uploaded (--min-age); the reasons are above`,
    )
  }
  if (unmended.size > 0) lines.push('No safe automatic repair:')
  for (const [kind, count] of unmended) {
    const cure = otherCures[kind]
    lines.push(row(count, cure === undefined ? kind : `${kind.padEnd(22)} ${cure}`))
  }
  const next = `\`autodj apply ${flags.plan}\` to do it, \`autodj undo ${flags.plan}\` to undo it`
  return {
    lines,
    ...(items > 0 ? { next } : {}),
    fields: {
      ...summaryFields(tally, seconds),
      plan: flags.plan,
      repairs: items,
      removals,
      losses,
      held_back: heldBack,
      unmended: Object.fromEntries(unmended),
    },
  }
}
