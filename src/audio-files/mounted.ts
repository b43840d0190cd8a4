/**
 * Whether the audio folder is there: one breaker for whoever takes a file that is missing for a file that is gone. A
 * folder that is not mounted looks empty, and every track in it lost.
 */
import { opendir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { AudioFolder } from '../core/audio-path.ts'
import { isStrayAudio } from '../core/reconcile/names.ts'
import { refuseIfTripped, trippedBreakers } from '../core/safety.ts'
import type { Database } from '../db/database.ts'
import { systemErrorCode, TemporaryError } from '../errors.ts'
import { folderExists, isFileThere } from './source.ts'

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
  for (const filePath of paths) if ((await isFileThere(filePath, folder)) !== false) return true
  return false
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
  refuseIfTripped(
    trippedBreakers({ limit: {}, disk: { root: folder.root, rowsWithFile: Number(count), files: 0 } }),
  )
  return false
}

/** The audio folder as it was when work on it began. */
export class WatchedFolder {
  readonly #root: string
  readonly #before: Promise<string | undefined>

  constructor(root: string) {
    this.#root = root
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
