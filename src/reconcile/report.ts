/** How `autodj reconcile` tells what it found. */
import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import type { Context } from '../context.ts'
import { type DifferenceClass, differenceClasses, type Finding } from '../core/reconcile/facts.ts'
import { formatBytes, formatCount, formatDuration, plural, printable } from '../core/units.ts'
import { systemErrorCode, UsageError } from '../errors.ts'
import type { Tally } from './tally.ts'

/** One line of the result, where it is worth one. */
export function reportFinding(context: Context, finding: Finding): void {
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
export class Lines {
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
    found: tally.found,
    seconds: Math.round(seconds * 10) / 10,
  }
}

/** What became of a plan that was asked for. */
export interface Planned {
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
  'no-audio': 'file_path leads out of AUDIO_STORAGE_PATH: correct the one or the other',
  'missing-object': 'whether the local file is there could not be seen',
}

export function summarise(
  tally: Tally,
  seconds: number,
  planned: Planned | 'refused' | undefined,
  flags: { deep: boolean; disk: boolean; plan: string | undefined },
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
    ...(removals > 0 ? [`${plural(removals, 'object')} to remove`] : []),
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
