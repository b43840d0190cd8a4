import { SafetyLimitError } from '../errors.ts'
import { allowedDeletes, type DeleteLimit } from './limits.ts'

/** One in a hundred or fifty, whichever is more: a small library may lose a handful, a large one its daily churn. */
export const defaultDeleteLimit: DeleteLimit = { count: 50, percent: 1 }

/** What a run is about to do, in numbers. Undefined: not known, or does not apply. */
export interface Stakes {
  /** what would be removed, and out of how many */
  removals?: { count: number; of: number; what: 'objects' | 'files' }
  limit: DeleteLimit
  /** rows that name an object, and objects listed */
  bucket?: { rowsWithObject: number; objects: number }
  /** rows that live on local files, and files found under the audio root */
  disk?: { root: string; rowsWithFile: number; files: number }
  /** rows now, and in the last run that finished */
  rows?: { now: number; before?: number }
}

/**
 * The circuit breakers: why a run must not go on, all reasons at once; empty when it may.
 *
 * | what is seen                                   | what it usually is                        |
 * | ---------------------------------------------- | ----------------------------------------- |
 * | removals > max(count, per cent of all)           | a wrong prefix, a wrong database          |
 * | no object at all, but rows that name some      | wrong bucket, wrong prefix, lost access   |
 * | no file at all, but rows that live on files    | the audio folder is not mounted           |
 * | less than half the rows of the last run        | a restored or truncated table             |
 */
export function trippedBreakers(stakes: Stakes): string[] {
  const reasons: string[] = []
  const { removals, limit, bucket, disk, rows } = stakes
  if (removals !== undefined && removals.count > allowedDeletes(limit, removals.of)) {
    const share = removals.of === 0 ? '' : ` (${((100 * removals.count) / removals.of).toFixed(1)} %)`
    reasons.push(
      `${removals.count} of ${removals.of} ${removals.what}${share} would go, --max-delete allows ${allowedDeletes(limit, removals.of)}`,
    )
  }
  if (bucket !== undefined && bucket.rowsWithObject > 0 && bucket.objects === 0) {
    reasons.push(`the bucket looks empty, but ${bucket.rowsWithObject} rows name an object in it`)
  }
  if (disk !== undefined && disk.rowsWithFile > 0 && disk.files === 0) {
    reasons.push(
      `the audio root ${disk.root} looks empty or unmounted, but ${disk.rowsWithFile} rows name a file`,
    )
  }
  if (rows?.before !== undefined && rows.now * 2 < rows.before) {
    reasons.push(`the table has ${rows.now} rows, the last run saw ${rows.before}`)
  }
  return reasons
}

/** @throws SafetyLimitError (exit code 7) naming every reason, when there is one */
export function refuseIfTripped(reasons: readonly string[], code = 'safety.breaker'): void {
  if (reasons.length === 0) return
  throw new SafetyLimitError(reasons.join('; '), {
    code,
    cure: 'look at what would go (`autodj reconcile`); if it is right, raise --max-delete or give --force',
    details: { reasons },
  })
}

/** Why an orphan must be left alone for now; undefined when it may be removed. */
export function heldBack(
  object: { lastModified: number },
  { now, minAge, uploading }: { now: number; minAge: number; uploading: boolean },
): string | undefined {
  if (uploading) return 'an upload to this key is under way'
  const age = now - object.lastModified
  return age < minAge ? `younger than --min-age (${hours(age)} of ${hours(minAge)} h)` : undefined
}

function hours(milliseconds: number): string {
  return (milliseconds / 3_600_000).toFixed(1)
}
