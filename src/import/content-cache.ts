/** What is known of the content of files, so that none is read twice. */
import type { Knex } from 'knex'
import type { FoundFile } from '../audio-files/walk.ts'
import { rememberedPaths } from '../db/content.ts'
import { clearItems, type HashedFile, rememberedFiles, rememberFiles } from '../db/ledger.ts'

export class ContentCache {
  readonly #knex: Knex
  readonly #dryRun: boolean
  /** Hashes that a dry run must not write into the ledger. */
  readonly #unwritten = new Map<string, HashedFile>()

  constructor(knex: Knex, dryRun: boolean) {
    this.#knex = knex
    this.#dryRun = dryRun
  }

  /** Remembers what was read just now; what failed before is forgotten. */
  async add(fresh: readonly HashedFile[]): Promise<void> {
    if (this.#dryRun) for (const file of fresh) this.#unwritten.set(file.path, file)
    else if (fresh.length > 0) {
      await rememberFiles(this.#knex, fresh)
      await clearItems(
        this.#knex,
        'import',
        fresh.map(file => file.path),
      )
    }
  }

  /** The hashes of those files that are still what they were when they were hashed, by path. */
  async of(files: readonly FoundFile[]): Promise<Map<string, HashedFile>> {
    const known = await rememberedFiles(
      this.#knex,
      files.map(file => file.path),
    )
    const valid = new Map<string, HashedFile>()
    for (const file of files) {
      const hash = this.#unwritten.get(file.path) ?? known.get(file.path)
      if (hash && isUnchanged(file, hash)) valid.set(file.path, hash)
    }
    return valid
  }

  /** Where files of these contents were when they were last hashed; they may be gone or changed since. */
  async paths(hashes: readonly string[]): Promise<Awaited<ReturnType<typeof rememberedPaths>>> {
    const found = await rememberedPaths(this.#knex, hashes)
    if (this.#unwritten.size > 0) {
      const wanted = new Set(hashes)
      for (const file of this.#unwritten.values()) if (wanted.has(file.sha256)) found.push(file)
    }
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
