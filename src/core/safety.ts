import type { CodeWith } from '../error-codes.ts'
import { SafetyLimitError } from '../errors.ts'
import { allowedDeletes, type DeleteLimit } from './limits.ts'
import { plural } from './units.ts'

/**
 * One in a hundred or fifty, whichever is more, and never more than a quarter: a small library may lose a handful, a
 * large one its daily churn.
 */
export const defaultDeleteLimit: DeleteLimit = { count: 50, percent: 1, most: 25 }

/** What a run is about to do, in numbers. Undefined: not known, or does not apply. */
export interface Stakes {
  /** objects that would be removed, and out of how many */
  removals?: { count: number; of: number }
  /** rows that would be left without any audio, and out of how many */
  losses?: { count: number; of: number }
  limit: DeleteLimit
  /** rows that name an object, and objects listed */
  bucket?: { rowsWithObject: number; objects: number }
  /** rows that live on local files, and files found under the audio folder */
  disk?: { root: string; rowsWithFile: number; files: number }
  /** folders, empty or absent, whose disk does not seem to be there, and why */
  unmounted?: readonly { root: string; why: string }[]
  /** rows now, and in the last run that finished */
  rows?: { now: number; before?: number }
  /** policies of the database may hide rows from its user */
  rowsMayBeHidden?: boolean
}

/** Why a run must not continue, and what to do about it. */
interface Tripped {
  reason: string
  cure: string
}

/**
 * The circuit breakers: why a run must not continue, all reasons at once; empty when it may.
 *
 * | what is seen                                   | what it usually is                        |
 * | ---------------------------------------------- | ----------------------------------------- |
 * | removals > max(count, per cent of all objects) | a wrong prefix, a wrong database          |
 * | rows without audio > the same of all rows      | a wrong bucket that is not quite empty    |
 * | no object at all, but rows that name some      | wrong bucket, wrong prefix, lost access   |
 * | objects, but no row at all                     | a wrong or an empty database              |
 * | no file at all, but rows that live on files    | the audio folder is not mounted           |
 * | an empty folder, its disk not mounted          | the disk below                            |
 * | less than half the rows of the last run        | a restored or truncated table             |
 * | row-level security applies to the user         | rows that it is not shown                 |
 */
export function trippedBreakers(stakes: Stakes): Tripped[] {
  const tripped: Tripped[] = []
  const { removals, losses, limit, bucket, disk, unmounted = [], rows, rowsMayBeHidden } = stakes
  const tooMany = ({ count, of }: { count: number; of: number }, whose: string, what: string): void => {
    const allowed = allowedDeletes(limit, of)
    if (count <= allowed) return
    const share = of === 0 ? '' : ` (${((100 * count) / of).toFixed(1)} %)`
    tripped.push({
      reason: `${count} of ${of} ${whose}${share} would ${what}; --max-delete allows ${allowed}`,
      cure: `Check what would be removed (\`autodj reconcile\`); if it is right, pass --max-delete ${count}.`,
    })
  }
  if (removals !== undefined) tooMany(removals, 'objects', 'be removed')
  if (losses !== undefined) tooMany(losses, 'rows', 'be left without audio')
  if (bucket !== undefined && bucket.rowsWithObject > 0 && bucket.objects === 0) {
    tripped.push({
      reason: `the bucket looks empty, but ${plural(bucket.rowsWithObject, 'row')} ${bucket.rowsWithObject === 1 ? 'names' : 'name'} an object in it`,
      cure: 'Check S3_BUCKET_NAME and S3_KEY_PREFIX; if it really is empty, pass --force.',
    })
  }
  if (bucket !== undefined && bucket.objects > 0 && rows?.now === 0) {
    tripped.push({
      reason: 'the table has no rows, but the bucket holds objects: all of them would look orphaned',
      cure: 'Check DATABASE_URL, and restore the table if it was emptied; if it is right, pass --force.',
    })
  }
  if (disk !== undefined && disk.rowsWithFile > 0 && disk.files === 0) {
    tripped.push({
      reason: `the audio folder ${disk.root} looks empty or unmounted, but ${plural(disk.rowsWithFile, 'row')} ${disk.rowsWithFile === 1 ? 'names' : 'name'} a file`,
      cure: 'Mount it, or correct AUDIO_STORAGE_PATH; if it really is empty, pass --force.',
    })
  }
  for (const one of unmounted) {
    tripped.push({
      reason: looksUnmounted(one),
      cure: 'Mount it, or correct AUDIO_STORAGE_PATH; if it is right as it is, pass --force.',
    })
  }
  if (rowsMayBeHidden) {
    tripped.push({
      reason:
        'row-level security applies to this database user: the object, or the file, of a row that it is not shown would look unneeded',
      cure: 'Use the owner of the tables in DATABASE_URL, or `alter role … bypassrls`; if its policies hide no row, pass --force.',
    })
  }
  if (rows?.before !== undefined && rows.now * 2 < rows.before) {
    tripped.push({
      reason: `the table has ${rows.now} rows, but the last run saw ${rows.before}`,
      cure: 'Check DATABASE_URL, and that the table is complete; if it is, pass --force.',
    })
  }
  return tripped
}

/** What is said of a folder whose disk does not seem to be there. */
export const looksUnmounted = ({ root, why }: { root: string; why: string }): string =>
  `${root} looks unmounted: it is empty, and ${why}`

/** @throws SafetyLimitError (exit code 7) naming every reason, when there is one */
export function refuseIfTripped(
  tripped: readonly Tripped[],
  code: CodeWith<'safetyLimit'> = 'safety.breaker',
): void {
  if (tripped.length === 0) return
  const reasons = tripped.map(({ reason }) => reason)
  throw new SafetyLimitError(reasons.join('; '), {
    code,
    cure: [...new Set(tripped.map(({ cure }) => cure))].join(' '),
    details: { reasons },
  })
}

/** Why an orphan must be left alone for now; undefined when it may be removed. */
export function heldBack(
  object: { lastModified: number },
  { now, minAge, uploading }: { now: number; minAge: number; uploading: boolean },
): string | undefined {
  if (uploading) return 'an upload to this key is under way'
  // Clocks of servers tick by the second, and lag: nothing is of the future.
  const age = Math.max(0, now - object.lastModified)
  return age < minAge ? `younger than --min-age (${hours(age)} of ${hours(minAge)} h)` : undefined
}

function hours(milliseconds: number): string {
  return (milliseconds / 3_600_000).toFixed(1)
}
