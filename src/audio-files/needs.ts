/**
 * Which rows need a file, before it is deleted. A file is its device and inode, never a spelling: two rows may name it
 * with dots, with doubled slashes, in another Unicode form or letter case, through a link to it or to a folder above it,
 * or by its second name (a hard link). Whatever autodj can open as the same file is the same file.
 */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import pLimit from 'p-limit'
import type { AudioFolder } from '../core/audio-path.ts'
import { tracksNeedingFiles } from '../db/content.ts'
import type { Database } from '../db/database.ts'
import { trackPages } from '../db/tracks.ts'
import { systemErrorCode } from '../errors.ts'
import { type FileIdentity, findSource, LocalFileError, requireAudioRoot, sameName } from './source.ts'

/** How long it is believed which rows have a file under another name, milliseconds: to find that out reads all rows. */
const aliasesHold = 600_000

/** A file that is to go. */
export type WantedFile = Pick<FileIdentity, 'device' | 'inode'> & { readonly relative: string }

interface Question {
  readonly knex: Knex
  readonly file: WantedFile
  readonly exceptId: string
  readonly resolve: (needed: boolean) => void
  readonly reject: (error: unknown) => void
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
  /** what waits for the question under way: all of it is asked at once then */
  #waiting: Question[] = []
  #isAsking = false
  /** rows whose file has another name than they say, or more than one: their ids, by file */
  #aliases: Promise<ReadonlyMap<string, readonly string[]>> | undefined
  #aliasesSince = 0

  constructor(knex: Knex, folder: AudioFolder) {
    this.#knex = knex
    this.folder = folder
  }

  /** Makes sure that it is known which rows call a file by another name. Not within a transaction. */
  async prepare(): Promise<void> {
    const now = performance.now()
    if (this.#aliases === undefined || now - this.#aliasesSince > aliasesHold) {
      this.#aliasesSince = now
      this.#aliases = this.#findAliases()
      this.#aliases.catch(() => {
        this.#aliases = undefined
      })
    }
    await this.#aliases
  }

  /**
   * Whether any other row that is not in S3 yet opens this file.
   *
   * @param knex the transaction in which it is to be deleted, or none
   * @param exceptId the row that is to lose it
   */
  isNeeded(knex: Knex, file: WantedFile, exceptId: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ knex, file, exceptId, resolve, reject })
      this.#ask()
    })
  }

  #ask(): void {
    const [first] = this.#waiting
    if (this.#isAsking || first === undefined) return
    const questions = this.#waiting.splice(0)
    this.#isAsking = true
    // On the connection of one of those who wait: there may be no other.
    this.#answer(first.knex, questions)
      .then(
        answers => {
          for (const [index, { resolve }] of questions.entries()) resolve(answers[index] as boolean)
        },
        error => {
          for (const { reject } of questions) reject(error)
        },
      )
      .finally(() => {
        this.#isAsking = false
        this.#ask()
      })
  }

  async #answer(knex: Knex, questions: readonly Question[]): Promise<boolean[]> {
    const aliases = (await this.#aliases) ?? new Map<string, readonly string[]>()
    const rows = await tracksNeedingFiles(
      knex,
      questions.map(({ file }) => path.basename(file.relative)),
      questions.flatMap(({ file }) => aliases.get(keyOf(file)) ?? []),
    )
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
  async #locate(
    rows: readonly { id: string; filePath: string }[],
  ): Promise<{ id: string; file: WantedFile; name: string; links: bigint }[]> {
    const root = await requireAudioRoot(this.folder.root)
    const limit = pLimit(32)
    const located = await Promise.all(
      rows.map(({ id, filePath }) =>
        limit(async () => {
          try {
            const { reading, real } = await findSource(filePath, this.folder, root)
            const { dev: device, ino: inode, nlink } = await stat(real, { bigint: true })
            const relative = path.relative(root, real)
            return [{ id, file: { device, inode, relative }, name: reading.relative, links: nlink }]
          } catch (error) {
            if (error instanceof LocalFileError || systemErrorCode(error) !== undefined) return []
            throw error
          }
        }),
      ),
    )
    return located.flat()
  }

  async #findAliases(): Promise<ReadonlyMap<string, readonly string[]>> {
    const found = new Map<string, string[]>()
    const filter = { sources: ['LOCAL', 'YOUTUBE', 'UNAVAILABLE', null], hasFile: true } as const
    for await (const page of trackPages(this.#knex, { filter })) {
      const rows = page.map(({ id, filePath }) => ({ id, filePath: filePath as string }))
      for (const { id, file, name, links } of await this.#locate(rows)) {
        const isNamed = sameName(path.basename(name)) === sameName(path.basename(file.relative))
        if (isNamed && links === 1n) continue
        found.set(keyOf(file), [...(found.get(keyOf(file)) ?? []), id])
      }
    }
    return found
  }
}
