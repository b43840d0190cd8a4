/** What is known of the content of files, so that none is read twice. */
import type { Knex } from 'knex'
import type { FoundFile } from '../audio-files/walk.ts'
import { rememberedPaths } from '../db/content.ts'
import { clearItems, type HashedFile, rememberedFiles, rememberFiles } from '../db/ledger.ts'

/** Files with another content than before that are written together, so that a kill leaves what was known of them. */
const mostChanged = 20_000

export class ContentCache {
  readonly #knex: Knex
  readonly #dryRun: boolean
  /** Hashes that a dry run must not write into the ledger, or that are written at the end. */
  readonly #unwritten = new Map<string, HashedFile>()
  /** What files held before, of those that have changed: it tells whose file another one is by now. */
  readonly #former = new Map<string, HashedFile>()

  constructor(knex: Knex, dryRun: boolean) {
    this.#knex = knex
    this.#dryRun = dryRun
  }

  /** Remembers what was read just now; what failed before is forgotten. */
  async add(fresh: readonly HashedFile[]): Promise<void> {
    if (this.#dryRun) {
      for (const file of fresh) this.#unwritten.set(file.path, file)
      return
    }
    const changed = new Set(fresh.filter(file => this.#former.has(file.path)))
    for (const file of changed) this.#unwritten.set(file.path, file)
    await this.#write(fresh.filter(file => !changed.has(file)))
    if (this.#unwritten.size >= mostChanged) await this.flush()
  }

  /** Writes what was held back: from now on the ledger no longer knows what these files held before. */
  async flush(): Promise<void> {
    if (this.#dryRun) return
    await this.#write([...this.#unwritten.values()])
    this.#unwritten.clear()
  }

  async #write(files: readonly HashedFile[]): Promise<void> {
    if (files.length === 0) return
    await rememberFiles(this.#knex, files)
    await clearItems(
      this.#knex,
      'import',
      files.map(file => file.path),
    )
  }

  /** The hashes of those files that are still what they were when they were hashed, by path. */
  async of(files: readonly FoundFile[]): Promise<Map<string, HashedFile>> {
    const known = await rememberedFiles(
      this.#knex,
      files.map(file => file.path),
    )
    const valid = new Map<string, HashedFile>()
    for (const file of files) {
      const before = known.get(file.path)
      const hash = this.#unwritten.get(file.path) ?? before
      if (hash && isUnchanged(file, hash)) valid.set(file.path, hash)
      else if (before && this.#former.size < mostChanged) this.#former.set(file.path, before)
    }
    return valid
  }

  /** SHA-256 of what a file held before, hex, if it has changed since it was last hashed. */
  before(path: string): string | undefined {
    return this.#former.get(path)?.sha256
  }

  /** Where files of these contents were when they were last hashed; they may be gone or changed since. */
  async paths(hashes: readonly string[]): Promise<Awaited<ReturnType<typeof rememberedPaths>>> {
    const found = await rememberedPaths(this.#knex, hashes)
    const wanted = new Set(hashes)
    for (const files of [this.#unwritten, this.#former])
      for (const file of files.values()) if (wanted.has(file.sha256)) found.push(file)
    return found
  }
}

/** Inode and device may be unknown to the cache; if they are known they have to agree. */
function isUnchanged(file: FoundFile, hash: HashedFile): boolean {
  return (
    file.size === hash.size &&
    file.mtimeNs === hash.mtimeNs &&
    file.ctimeNs === hash.ctimeNs &&
    (hash.inode === null || hash.inode === file.inode) &&
    (hash.device === null || hash.device === file.device)
  )
}
