/**
 * Which rows need a file, before it is deleted. A file is its device and inode, never a spelling: two rows may name it
 * with dots, with doubled slashes, in another Unicode form or letter case, through a link to it or to a folder above it,
 * or by its second name (a hard link). Whatever autodj can open as the same file is the same file.
 */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import pLimit from 'p-limit'
import { type AudioFolder, readStoredPath } from '../core/audio-path.ts'
import {
  changeMark,
  type RowOnFile,
  type RowOnFileVersion,
  rowsOnFiles,
  rowsOnFilesSince,
} from '../db/content.ts'
import type { Database } from '../db/database.ts'
import { trackPages } from '../db/tracks.ts'
import { systemErrorCode } from '../errors.ts'
import { RowHandles } from './row-handles.ts'
import { type FileIdentity, findSource, LocalFileError, requireAudioRoot, sameName } from './source.ts'

/**
 * How long it is believed where the paths of rows lead that nobody has changed, milliseconds, or ten times what it takes to
 * find that out: all rows that are not in S3 are read, and each of their files is looked at.
 */
const surveyHolds = 600_000

/** A file that is to go. */
type WantedFile = Pick<FileIdentity, 'device' | 'inode'> & { readonly relative: string }

/** A file, and the row that is to lose it. */
interface NeedQuestion {
  readonly file: WantedFile
  readonly exceptId: string
}

/** Which rows may open which file. */
interface Survey {
  readonly handles: RowHandles
  /** rows changed since are not in it yet */
  mark: string
  /** of the mark, by `performance.now()` */
  markedAt: number
  /** rows as they are in it that a transaction of before the mark may change yet: id and version */
  recent: ReadonlySet<string>
  /** by `performance.now()` */
  readonly until: number
}

const keyOf = ({ device, inode }: Pick<FileIdentity, 'device' | 'inode'>): string => `${device}:${inode}`

const instances = new WeakMap<Knex, FileNeeds>()

/** Who needs which file, for all that delete files in one process. */
export function fileNeeds({ knex }: Pick<Database, 'knex'>, folder: AudioFolder): FileNeeds {
  const known = instances.get(knex)
  if (known?.folder === folder) return known
  const made = new FileNeeds(knex, folder)
  instances.set(knex, made)
  return made
}

export class FileNeeds {
  readonly folder: AudioFolder
  readonly #knex: Knex
  /** under way, for all that do not ask in a transaction */
  #catchingUp: Promise<void> | undefined
  #survey: Promise<Survey> | undefined

  constructor(knex: Knex, folder: AudioFolder) {
    this.#knex = knex
    this.folder = folder
  }

  /** Makes sure that it is known where the paths of all rows lead. Not within a transaction. */
  async prepare(): Promise<void> {
    const known = this.#survey
    if (known !== undefined && performance.now() < (await known).until) return
    // Whoever else waited for the old one has begun a new one by now.
    if (this.#survey === known) {
      this.#survey = this.#look()
      this.#survey.catch(() => {
        this.#survey = undefined
      })
    }
    await this.#survey
  }

  /**
   * Whether any other row that is not in S3 yet opens these files.
   *
   * @param knex the transaction in which they are to be deleted, or none
   * @param options `maxAge`: rows as they were so long ago will do, milliseconds; by default as they are
   */
  async areNeeded(
    knex: Knex,
    questions: readonly NeedQuestion[],
    { maxAge = 0 }: { maxAge?: number } = {},
  ): Promise<boolean[]> {
    const survey = await this.#survey
    if (survey === undefined) throw new Error('it is not known yet where the paths of rows lead')
    // What the application has written in the meantime counts.
    if (maxAge === 0) await this.#catchUp(knex, survey)
    else if (performance.now() - survey.markedAt > maxAge) {
      this.#catchingUp ??= this.#catchUp(knex, survey).finally(() => {
        this.#catchingUp = undefined
      })
      await this.#catchingUp
    }
    const suspects = questions.flatMap(({ file }) =>
      [sameName(path.basename(file.relative)), keyOf(file)].flatMap(handle =>
        survey.handles.find(handle, keyOf(file)),
      ),
    )
    const rows = await rowsOnFiles(knex, [...new Set(suspects)])
    const needing = new Map<string, Set<string>>()
    for (const { id, file } of await this.#locate(rows)) {
      const ids = needing.get(keyOf(file)) ?? new Set()
      needing.set(keyOf(file), ids.add(id))
    }
    return questions.map(({ file, exceptId }) =>
      [...(needing.get(keyOf(file)) ?? [])].some(id => id !== exceptId),
    )
  }

  /** The files that these rows open; those that open none are left out. */
  async #locate(rows: readonly RowOnFile[]): Promise<{ id: string; file: WantedFile; links: bigint }[]> {
    const root = await requireAudioRoot(this.folder.root)
    const limit = pLimit(32)
    const located = await Promise.all(
      rows.map(({ id, filePath }) =>
        limit(async () => {
          try {
            const { real } = await findSource(filePath, this.folder, root)
            const { dev: device, ino: inode, nlink } = await stat(real, { bigint: true })
            const relative = path.relative(root, real)
            return [{ id, file: { device, inode, relative }, links: nlink }]
          } catch (error) {
            if (error instanceof LocalFileError || systemErrorCode(error) !== undefined) return []
            throw error
          }
        }),
      ),
    )
    return located.flat()
  }

  async #look(): Promise<Survey> {
    const startedAt = performance.now()
    const handles = new RowHandles()
    const mark = await changeMark(this.#knex)
    const filter = { sources: ['LOCAL', 'YOUTUBE', 'UNAVAILABLE', null], hasFile: true } as const
    for await (const page of trackPages(this.#knex, { filter })) {
      await this.#enter(
        handles,
        page.map(({ id, filePath }) => ({ id, filePath: filePath as string })),
      )
    }
    const now = performance.now()
    const until = now + Math.max(surveyHolds, 10 * (now - startedAt))
    return { handles, mark, markedAt: startedAt, recent: new Set(), until }
  }

  /** Adds what was written since the survey. Two at a time do no harm: each adds all since the mark that it began with. */
  async #catchUp(knex: Knex, survey: Survey): Promise<void> {
    const markedAt = performance.now()
    const mark = await changeMark(knex)
    const rows = await rowsOnFilesSince(knex, survey.mark)
    const versionOf = ({ id, version }: RowOnFileVersion): string => `${id} ${version}`
    await this.#enter(
      survey.handles,
      rows.filter(row => !survey.recent.has(versionOf(row))),
    )
    survey.recent = new Set(rows.map(versionOf))
    survey.mark = mark
    survey.markedAt = markedAt
  }

  /** Each row by the names that it may say, and by its file if that has another name, or more than one. */
  async #enter(handles: RowHandles, rows: readonly RowOnFile[]): Promise<void> {
    const located = new Map((await this.#locate(rows)).map(one => [one.id, one]))
    for (const { id, filePath } of rows) {
      const stored = readStoredPath(filePath, this.folder)
      const said = [...stored.outside, ...(stored.ok ? stored.readings.map(({ relative }) => relative) : [])]
      const names = new Set(said.map(one => sameName(path.basename(one))))
      const found = located.get(id)
      const file = found && keyOf(found.file)
      for (const name of names) handles.add(name, id, file)
      if (found === undefined || file === undefined) continue
      if (found.links > 1n || !names.has(sameName(path.basename(found.file.relative))))
        handles.add(file, id, file)
    }
  }
}
