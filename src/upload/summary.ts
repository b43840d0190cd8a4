/** What a run of `upload-local` says at its end. */
import { formatBytes, formatCount, formatDuration, plural } from '../core/units.ts'
import { lockedLine } from '../db/locked-rows.ts'
import type { TrackRunEnd } from '../runs/track-run.ts'
import type { TransferEngine } from './transfer.ts'
import type { UploadTotals } from './work.ts'

/** Which tracks a run looked at, where not all, and whether it came to look at all of those. */
interface UploadScope {
  retryFailed: boolean
  /** `--files-from` */
  listed: boolean
  stopped: boolean
  /** the table has no rows */
  isEmpty: boolean
}

/** Why nothing was uploaded: only what was looked at can be said to be in S3. */
function nothing(
  { retryFailed, listed, stopped, isEmpty }: UploadScope,
  { locked, left }: TrackRunEnd,
): string {
  if (stopped) return 'Stopped before anything was uploaded.'
  if (locked > 0) return 'Nothing was uploaded.'
  if (left > 0) return `Nothing to upload here: ${plural(left, 'track')} being handled by other runs.`
  if (isEmpty) return 'Nothing to upload: the table of tracks has no rows (`autodj import` creates them).'
  if (listed) return 'Nothing to upload: no track on the list has a local file that is not yet in S3.'
  if (retryFailed) return 'Nothing to upload: no earlier failures are left.'
  return 'Nothing to upload: every track with a local file is in S3.'
}

/** How what was uploaded was proved: a store that gives no checksums is read back, at the price of a second transfer. */
function proofs({ confirmed, readBack, bytesReadBack }: TransferEngine['statistics']): string {
  if (readBack === 0) return 'every checksum confirmed by the server'
  const again = `${formatCount(readBack)} read back and compared (${formatBytes(bytesReadBack)})`
  return confirmed === 0
    ? `none confirmed by the store, which does not report checksums: ${again}`
    : `${formatCount(confirmed)} confirmed by the store, ${again}`
}

/** How many tracks are in S3, and how they came there. */
function arrivals({
  uploaded,
  adopted,
  shared,
}: Pick<UploadTotals, 'uploaded' | 'adopted' | 'shared'>): string {
  const done = uploaded + adopted + shared
  if (uploaded === done) return `${plural(done, 'track')} uploaded`
  const are = `${plural(done, 'track')} ${done === 1 ? 'is' : 'are'} in S3`
  if (adopted === done) return `${are} (already there)`
  const ways = [
    [uploaded, 'uploaded'],
    [adopted, 'already there'],
    [shared, 'sharing a file'],
  ] as const
  const told = ways.filter(([count]) => count > 0).map(([count, way]) => `${formatCount(count)} ${way}`)
  return `${are}: ${told.join(', ')}`
}

/** How fast it went, and what slowed it down. */
function transfer(bytes: number, seconds: number, engine: TransferEngine['statistics']): string {
  return (
    `${formatBytes(bytes)} sent in ${formatDuration(seconds * 1_000)} (${formatBytes(seconds > 0 ? bytes / seconds : 0)}/s), ` +
    `up to ${engine.peakConcurrency} at a time` +
    `${engine.halvings > 0 ? `, slowed down ${plural(engine.halvings, 'time')}` : ''}` +
    `${engine.retries > 0 ? `, ${plural(engine.retries, 'request')} sent again` : ''}` +
    `${engine.outages > 0 ? `, ${plural(engine.outages, 'outage')} waited out` : ''}.`
  )
}

/** What people read at the end. */
export function summariseUpload(
  totals: UploadTotals,
  engine: TransferEngine['statistics'],
  end: TrackRunEnd,
  scope: UploadScope,
): { lines: string[]; next: string | undefined; fields: Record<string, unknown> } {
  const { seconds, locked, left } = end
  const { uploaded, adopted, shared } = totals
  const done = uploaded + adopted + shared
  const rate = seconds > 0 ? totals.bytesSent / seconds : 0
  const lines =
    done + totals.skipped + totals.failed + totals.interrupted + totals.changed === 0
      ? [nothing(scope, end)]
      : [
          done === 0
            ? totals.bytesSent > 0
              ? 'No track came to be in S3.'
              : 'Nothing was uploaded.'
            : `${arrivals({ uploaded, adopted, shared })}; ${proofs(engine)}.`,
          ...(totals.bytesSent > 0 ? [transfer(totals.bytesSent, end.seconds, engine)] : []),
        ]
  if (totals.failed + totals.skipped + totals.changed > 0) {
    lines.push(
      `${formatCount(totals.failed + totals.changed)} failed, ${formatCount(totals.skipped)} skipped; see above, or the ledger, for the reasons.`,
    )
  }
  if (locked > 0) lines.push(lockedLine(locked))
  if (totals.interrupted > 0)
    lines.push(
      `${plural(totals.interrupted, 'large file')} partly sent: the next run resumes with the missing parts.`,
    )
  if (totals.deletedLocal + totals.keptLocal > 0) {
    lines.push(
      `${plural(totals.deletedLocal, 'local copy', 'local copies')} deleted after the proof, ${formatCount(totals.keptLocal)} kept.`,
    )
  }
  const next =
    totals.failed + totals.skipped + totals.changed > 0
      ? '`autodj upload-local --retry-failed`, once the causes are fixed'
      : totals.interrupted + locked > 0
        ? '`autodj upload-local` to continue'
        : done > 0
          ? '`autodj verify` to prove that the CDN serves them'
          : undefined
  return {
    lines,
    next,
    fields: {
      uploaded: totals.uploaded,
      adopted: totals.adopted,
      shared: totals.shared,
      skipped: totals.skipped,
      failed: totals.failed,
      interrupted: totals.interrupted,
      rows_changed: totals.changed,
      rows_locked: locked,
      left_to_others: left,
      local_deleted: totals.deletedLocal,
      local_kept: totals.keptLocal,
      bytes_sent: totals.bytesSent,
      bytes_proved: totals.bytesProved,
      confirmed: engine.confirmed,
      read_back: engine.readBack,
      bytes_read_back: engine.bytesReadBack,
      seconds: Math.round(seconds * 1_000) / 1_000,
      bytes_per_second: Math.round(rate),
      concurrency: engine.concurrency,
      concurrency_peak: engine.peakConcurrency,
      slow_downs: engine.halvings,
      retries: engine.retries,
      outages: engine.outages,
    },
  }
}
