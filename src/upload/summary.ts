/** What a run of `upload-local` says at its end. */
import { formatBytes, formatCount, formatDuration, plural } from '../core/units.ts'
import { lockedLine, type TrackRunEnd } from '../runs/track-run.ts'
import type { TransferEngine } from './transfer.ts'
import type { UploadTotals } from './work.ts'

/** Which tracks a run looked at, where not all, and whether it came to look at all of those. */
export interface UploadScope {
  retryFailed: boolean
  /** `--files-from` */
  listed: boolean
  stopped: boolean
}

/** Why nothing was uploaded: only what was looked at can be said to be in S3. */
function nothing({ retryFailed, listed, stopped }: UploadScope, { locked, left }: TrackRunEnd): string {
  if (stopped) return 'Stopped before anything was uploaded.'
  if (locked > 0) return 'Nothing was uploaded.'
  if (left > 0) return `Nothing to upload here: ${plural(left, 'track')} in the hands of other runs.`
  if (listed) return 'Nothing to upload: no track of the list has a local file that is not in S3.'
  if (retryFailed) return 'Nothing to upload: no track that failed earlier is left.'
  return 'Nothing to upload: every track with a local file is in S3.'
}

/** How what was uploaded was proved: a store that gives no checksums is read back, at the price of a second transfer. */
function proofs({ confirmed, readBack, bytesReadBack }: TransferEngine['statistics']): string {
  if (readBack === 0) return 'every checksum confirmed by the server'
  const again = `${formatCount(readBack)} read back and compared (${formatBytes(bytesReadBack)})`
  return confirmed === 0
    ? `none confirmed by the store, which gives no checksums: ${again}`
    : `${formatCount(confirmed)} confirmed by the store, ${again}`
}

/** What people read at the end. */
export function summariseUpload(
  totals: UploadTotals,
  engine: TransferEngine['statistics'],
  end: TrackRunEnd,
  scope: UploadScope,
): { lines: string[]; next: string | undefined; fields: Record<string, unknown> } {
  const { seconds, locked, left } = end
  const done = totals.uploaded + totals.adopted + totals.shared
  const rate = seconds > 0 ? totals.bytesSent / seconds : 0
  const lines =
    done + totals.skipped + totals.failed + totals.interrupted + totals.changed === 0
      ? [nothing(scope, end)]
      : [
          `${plural(done, 'track')} in S3: ${formatCount(totals.uploaded)} uploaded, ${formatCount(totals.adopted)} were there already` +
            `${totals.shared > 0 ? `, ${formatCount(totals.shared)} share a file` : ''}; ${proofs(engine)}.`,
          `${formatBytes(totals.bytesSent)} sent in ${formatDuration(seconds * 1_000)} (${formatBytes(rate)}/s), ` +
            `up to ${engine.peakConcurrency} at a time` +
            `${engine.halvings > 0 ? `, slowed down ${plural(engine.halvings, 'time')}` : ''}` +
            `${engine.retries > 0 ? `, ${plural(engine.retries, 'request')} sent again` : ''}` +
            `${engine.outages > 0 ? `, ${plural(engine.outages, 'outage')} waited out` : ''}.`,
        ]
  if (totals.failed + totals.skipped + totals.changed > 0) {
    lines.push(
      `${formatCount(totals.failed + totals.changed)} failed, ${formatCount(totals.skipped)} skipped: the reasons are above and in the ledger.`,
    )
  }
  if (locked > 0) lines.push(lockedLine(locked))
  if (totals.interrupted > 0)
    lines.push(
      `${plural(totals.interrupted, 'large file')} half sent: the next run goes on with the missing parts.`,
    )
  if (totals.deletedLocal + totals.keptLocal > 0) {
    lines.push(
      `${plural(totals.deletedLocal, 'local copy', 'local copies')} deleted after the proof, ${formatCount(totals.keptLocal)} kept.`,
    )
  }
  const next =
    totals.failed + totals.skipped + totals.changed > 0
      ? '`autodj upload-local --retry-failed` after the cause is gone'
      : totals.interrupted + locked > 0
        ? '`autodj upload-local` to go on'
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
