/**
 * Whether the audio folder is there: one breaker for whoever takes a file that is missing for a file that is gone. A
 * folder that is not mounted looks empty, and every track in it lost.
 */
import { opendir, readFile, realpath, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import type { Knex } from 'knex'
import { type AudioFolder, isOutside, portable, readStoredPath } from '../core/audio-path.ts'
import { missingMount } from '../core/mounts.ts'
import { isStrayAudio } from '../core/reconcile/names.ts'
import { looksUnmounted, refuseIfTripped, trippedBreakers } from '../core/safety.ts'
import { plural } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { countRows } from '../db/row-facts.ts'
import { systemErrorCode, TemporaryError } from '../errors.ts'
import { folderExists, LocalFileError, openRoot, statSource } from './source.ts'

/** Rows whose files are looked for where no name in the folder is one of audio. */
const rowsAsked = 1_000

/**
 * Whether the audio folder is one: it holds a file of an audio name, or one that a row names. What lies in an empty
 * mount point (`.gitkeep`, a note, `lost+found` of a new disk) is neither.
 */
export async function holdsAudio({ knex }: Pick<Database, 'knex'>, folder: AudioFolder): Promise<boolean> {
  if (!(await folderExists(folder.root))) return false
  if (await holdsAudioName(folder.root)) return true
  const paths: string[] = await knex('tracks').whereNotNull('file_path').limit(rowsAsked).pluck('file_path')
  for (const filePath of paths) if ((await isAnyThere(filePath, folder)) !== false) return true
  return false
}

/**
 * Whether the file a row names is there to be read: regular, not empty, below the root. Undefined if that cannot
 * be told: no permission, a disk that fails, a path that leads out of the folder, and a folder without any audio: what is
 * missing in one that is not mounted need not be gone.
 *
 * @param options `force`: the folder is what it looks
 */
export async function isFileThere(
  { knex }: Pick<Database, 'knex'>,
  filePath: string,
  folder: AudioFolder,
  { force = false }: { force?: boolean } = {},
): Promise<boolean | undefined> {
  const there = await isAnyThere(filePath, folder)
  if (there !== false || force) return there
  if (!(await holdsAudioNow(folder.root))) return undefined
  return (await missingDisk({ knex }, filePath, folder)) === undefined ? false : undefined
}

/** A folder whose disk does not seem to be there, and why. */
interface Unmounted {
  readonly root: string
  readonly why: string
}

/**
 * The disk, mounted below the audio folder, on which a missing file was, if it is not there now: the nearest folder on
 * the way holds no audio, and the fstab names it, or no file that was ever read in it was on the disk that it is on.
 */
async function missingDisk(
  { knex }: Pick<Database, 'knex'>,
  filePath: string,
  folder: AudioFolder,
): Promise<Unmounted | undefined> {
  const root = await nearestRealPath(folder.root)
  const stored = readStoredPath(filePath, folder)
  for (const { relative } of stored.ok ? stored.readings : []) {
    const { there: place } = await nearest(path.dirname(path.join(root, relative)))
    const below = path.relative(root, place)
    if (below === '' || isOutside(below) || (await holdsAudioNow(place))) continue
    const why =
      (await notMounted(place, mountFiles)) ?? (await wasOnAnother({ knex }, portable(below), place))
    if (why !== undefined) return { root: place, why }
  }
  return undefined
}

/**
 * Why a file that is missing need not be gone: the disk that it was on is not there.
 *
 * @throws TemporaryError if the audio folder itself is gone
 */
export async function unseenBecause(
  database: Pick<Database, 'knex'>,
  filePath: string,
  folder: AudioFolder,
  watched: WatchedFolder,
): Promise<string | undefined> {
  await watched.assertThere()
  const missing = await missingDisk(database, filePath, folder)
  return missing && looksUnmounted(missing)
}

/** @throws SafetyLimitError if a missing file was on a disk that is not there now, unless `force` says that it is gone */
export async function requireDiskOf(
  database: Pick<Database, 'knex'>,
  filePath: string,
  folder: AudioFolder,
  { force = false }: { force?: boolean | undefined },
): Promise<void> {
  const missing = force ? undefined : await missingDisk(database, filePath, folder)
  refuseIfTripped(trippedBreakers({ limit: {}, unmounted: missing === undefined ? [] : [missing] }))
}

/**
 * Why the files that were read in a folder were on another disk. That none is known on the disk that it is on would mean
 * that the disks have got other numbers.
 */
async function wasOnAnother(
  { knex }: Pick<Database, 'knex'>,
  below: string,
  place: string,
): Promise<string | undefined> {
  const device = await deviceOf(place)
  if (device === undefined) return undefined
  const here = String(device)
  const isDiskKnown = await findsAny(knex, here, () => knex('autodj_ledger.files').where('device', here))
  if (!isDiskKnown) return undefined
  const within = () =>
    knex('autodj_ledger.files').where('path', '>=', `${below}/`).where('path', '<', `${below}0`)
  const isElsewhere =
    (await findsAny(knex, `any ${place}`, () => within().whereNotNull('device'))) &&
    !(await findsAny(knex, `${here} ${place}`, () => within().where('device', here)))
  return isElsewhere ? 'the files that were read in it were on another disk' : undefined
}

/**
 * Whether a query finds anything. That it finds nothing, which takes reading all, holds for ten seconds: many rows of a
 * folder miss their file at a time.
 */
async function findsAny(knex: Knex, what: string, query: () => Knex.QueryBuilder): Promise<boolean> {
  const nothing = foundNothing.get(knex) ?? new Map<string, number>()
  foundNothing.set(knex, nothing)
  if (performance.now() - (nothing.get(what) ?? -Infinity) < 10_000) return false
  if ((await query().first('path')) !== undefined) return true
  if (nothing.size >= 1_000) nothing.clear()
  nothing.set(what, performance.now())
  return false
}
const foundNothing = new WeakMap<Knex, Map<string, number>>()

/** Looked at once for the many rows that miss their file at a time. */
function holdsAudioNow(root: string): Promise<boolean> {
  let look = looks.get(root)
  if (look === undefined) {
    look = holdsAudioName(root)
    looks.set(root, look)
    look.catch(() => {}).finally(() => looks.delete(root))
  }
  return look
}
const looks = new Map<string, Promise<boolean>>()

async function isAnyThere(filePath: string, folder: AudioFolder): Promise<boolean | undefined> {
  let root: string
  try {
    root = await openRoot(folder.root)
  } catch {
    return undefined
  }
  try {
    await statSource(filePath, folder, root)
    return true
  } catch (error) {
    if (!(error instanceof LocalFileError)) throw error
    return ['unreadable', 'changed', 'refused'].includes(error.problem) ? undefined : false
  }
}

/** Unreadable folders hold some, as far as anyone can tell. */
async function holdsAudioName(root: string): Promise<boolean> {
  const folders = [root]
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    try {
      for await (const entry of await opendir(next)) {
        if (entry.isDirectory() ? entry.name === 'lost+found' : !isStrayAudio(entry.name)) continue
        if (!entry.isDirectory()) return true
        folders.push(path.join(next, entry.name))
      }
    } catch (error) {
      const code = systemErrorCode(error)
      if (code === undefined) throw error
      if (code !== 'ENOENT' && code !== 'ENOTDIR') return true
    }
  }
  return false
}

/**
 * @param options `force`: continues nevertheless; `living`: only rows whose audio is nowhere but in their file count
 * @throws SafetyLimitError when rows name files and the audio folder holds no audio
 * @returns whether it holds any
 */
export async function requireFiles(
  { knex }: Database,
  folder: AudioFolder,
  { force, living = false }: { force: boolean; living?: boolean },
): Promise<boolean> {
  if (await holdsAudio({ knex }, folder)) return true
  if (force) return false
  const rows = knex('tracks').whereNotNull('file_path')
  if (living) rows.whereRaw("(file_source is null or file_source in ('LOCAL', 'YOUTUBE'))")
  const [{ count }] = (await rows.count()) as [{ count: string }]
  const rowsWithFile = Number(count)
  refuseIfTripped(trippedBreakers({ limit: {}, disk: { root: folder.root, rowsWithFile, files: 0 } }))
  return false
}

/** Where this system says what is mounted, and what should be; absent on others. */
const mountFiles = { fstab: '/etc/fstab', mounts: '/proc/self/mountinfo' }

/**
 * Whether files may be written to a folder that is empty, or not there yet. The ordinary case is a fresh machine; a folder
 * whose disk is not mounted looks the same, and files would come to lie on the disk below, out of sight once it is back.
 *
 * What tells the two apart: an fstab that names a mount point which is not mounted; as many rows whose only audio is a file in
 * the audio folder as have an object; files that this machine has seen in it, on another disk than the system's, where it is now.
 *
 * @param options `isAudioFolder`: rows name files in it; `force`: it is meant
 * @throws SafetyLimitError
 */
export async function requireDisk(
  { knex }: Pick<Database, 'knex'>,
  folder: AudioFolder,
  {
    force,
    isAudioFolder,
    files = mountFiles,
    device = deviceOf,
  }: {
    force: boolean
    isAudioFolder: boolean
    files?: typeof mountFiles
    device?: (folder: string) => Promise<bigint | undefined>
  },
): Promise<void> {
  const { root } = folder
  if (force || (isAudioFolder ? await holdsAudio({ knex }, folder) : await holdsAudioName(root))) return
  const why = await notMounted(await nearestRealPath(root), files)
  const unmounted: Unmounted[] = []
  if (why !== undefined) unmounted.push({ root, why })
  else if (isAudioFolder) {
    const { onFile, withKey } = await countRows(knex)
    // A few whose file is lost are in many libraries.
    if (onFile > 0 && onFile >= withKey)
      unmounted.push({
        root,
        why: `${plural(onFile, 'row')} ${onFile === 1 ? 'has its' : 'have their'} only audio in a file there`,
      })
    else if (await wasElsewhere(knex, root, device))
      unmounted.push({
        root,
        why: 'when this machine last read files in it, it was on another disk than the system',
      })
  }
  refuseIfTripped(trippedBreakers({ limit: {}, unmounted }))
}

/** Why a folder should have a disk that it has not, by what this system says. */
async function notMounted(folder: string, files: typeof mountFiles): Promise<string | undefined> {
  const place = missingMount(
    folder,
    await readFile(files.fstab, 'utf8').catch(() => ''),
    await readFile(files.mounts, 'utf8').catch(() => ''),
  )
  return place === undefined ? undefined : `${files.fstab} names ${place}, and nothing is mounted on it`
}

/** Whether this machine has seen files of the audio folder on another device than that of `/`, where the folder is now. */
async function wasElsewhere(
  knex: Database['knex'],
  root: string,
  device: (folder: string) => Promise<bigint | undefined>,
): Promise<boolean> {
  const system = await device('/')
  if (system === undefined || (await device(root)) !== system) return false
  const here = knex('autodj_ledger.runs').whereRaw(`split_part(host, ' ', 1) = ?`, [hostname()])
  if ((await here.first('id')) === undefined) return false
  const known = knex('autodj_ledger.files').whereNotNull('device')
  if ((await known.clone().first('path')) === undefined) return false
  return (
    (await known
      .clone()
      .where({ device: String(system) })
      .first('path')) === undefined
  )
}

/** Of the folder, or of the nearest above it that is there. */
async function deviceOf(folder: string): Promise<bigint | undefined> {
  try {
    return (await stat((await nearest(folder)).there, { bigint: true })).dev
  } catch {
    return undefined
  }
}

/** The folder, or the nearest above it that is there, with its links resolved; `rest`: what of it is not there. */
async function nearest(folder: string): Promise<{ there: string; rest: string }> {
  try {
    return { there: await realpath(folder), rest: '' }
  } catch {
    const above = path.dirname(folder)
    if (above === folder) return { there: folder, rest: '' }
    const { there, rest } = await nearest(above)
    return { there, rest: path.join(rest, path.basename(folder)) }
  }
}

/** A folder with its links resolved, as far as it is there. */
async function nearestRealPath(folder: string): Promise<string> {
  const { there, rest } = await nearest(folder)
  return path.join(there, rest)
}

/** The audio folder as it was when work on it began. */
export class WatchedFolder {
  readonly #root: string
  readonly #before: Promise<string | undefined>
  /** when that was */
  readonly since: Date

  constructor(root: string, since = new Date()) {
    this.#root = root
    this.since = since
    this.#before = identity(root)
  }

  /**
   * To be asked before a missing file is taken for a fact.
   *
   * @throws TemporaryError when the folder is no longer the one that it was: unmounted, or replaced
   */
  async assertThere(): Promise<void> {
    const before = await this.#before
    if (before === undefined || before === (await identity(this.#root))) return
    throw new TemporaryError(
      `the audio folder ${this.#root} disappeared during the run: it is no longer mounted`,
      { code: 'audio-root.gone' },
    )
  }
}

/** A folder by its place on its disk: what is mounted over, or was mounted over it, has another one. */
async function identity(folder: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(folder, { bigint: true })
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}
