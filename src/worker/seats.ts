/** How many jobs of each kind a worker takes at a time, after a look at what they need. */
import { availableParallelism } from 'node:os'
import { requireFiles } from '../audio-files/mounted.ts'
import { folderExists } from '../audio-files/source.ts'
import type { Context } from '../context.ts'
import { requireCodeForS3 } from '../db/application-code.ts'
import type { Database } from '../db/database.ts'
import { SafetyLimitError, UsageError } from '../errors.ts'
import { type JobKind, jobKinds } from '../queue/names.ts'
import type { WorkerFlags } from './flags.ts'

/**
 * What was not asked for and cannot be done here is left to other machines, with a warning.
 *
 * @throws UsageError if what its jobs need is not there; SafetyLimitError where the audio folder looks unmounted, and
 *   what needs it was asked for, or nothing else is left to do; FatalError while the application is too old
 */
export async function chooseSeats(
  { config, report, signal, store: openStore }: Pick<Context, 'config' | 'report' | 'signal' | 'store'>,
  database: Database,
  flags: Pick<WorkerFlags, JobKind | 'force'>,
): Promise<Record<JobKind, number>> {
  const seats: Record<JobKind, number> = {
    fetch: flags.fetch ?? 4,
    upload: flags.upload ?? 8,
    analyze: flags.analyze ?? 2 * availableParallelism(),
  }
  const movesAudio = () => seats.fetch + seats.upload > 0
  if (jobKinds.every(kind => seats[kind] === 0)) {
    throw new UsageError('--fetch, --upload and --analyze are all 0: there is nothing to do', {
      code: 'usage.flag',
    })
  }
  const isThere = await folderExists(config.audioRoot)
  if (seats.upload > 0 && !isThere) {
    const problem = `the audio folder ${config.audioRoot} is not there`
    if (flags.upload !== undefined) {
      throw new UsageError(`${problem}: this machine cannot upload`, {
        code: 'config.audio-root',
        cure: 'Mount it, set AUDIO_STORAGE_PATH to where the audio is, or pass --upload 0.',
      })
    }
    report.warn(`${problem}: uploads are left to other machines`)
    seats.upload = 0
  }
  if (movesAudio() && isThere) {
    try {
      await requireFiles(database, config.audioFolder, { force: flags.force, living: true })
    } catch (error) {
      if (!(error instanceof SafetyLimitError)) throw error
      // Every job would find its file gone, and fetch set its row UNAVAILABLE.
      if ((flags.fetch ?? 0) + (flags.upload ?? 0) > 0 || seats.analyze === 0) throw error
      report.warn(`${error.message}: fetching and uploads are left to other machines`)
      seats.fetch = 0
      seats.upload = 0
    }
  }
  if (movesAudio() || config.s3.bucket !== undefined) {
    const { fetch, upload, analyze } = seats
    const store = await openStore({ maxSockets: 8 + upload + 4 * fetch + 4 * analyze })
    await store.checkBucket(signal)
  }
  if (movesAudio()) await requireCodeForS3(database)
  return seats
}
