/** Files that no row names, and copies of what is in the bucket: what only their bytes tell. */
import { contentOf } from '../audio-files/content-proof.ts'
import { isSameFile, LocalFileError, openRoot, openSource } from '../audio-files/source.ts'
import { plainFolder } from '../core/audio-path.ts'
import { detectAudio } from '../core/content-type.ts'
import type { Comparison, Difference, LocalCopy } from '../core/reconcile/facts.ts'
import { objectKeysByContent, rememberedPaths, tracksOfFile } from '../db/content.ts'
import { objectsByKey, rememberedFiles, rememberFiles } from '../db/ledger.ts'
import { keysNamed } from '../db/row-facts.ts'
import type { Library, ReconcileOptions } from './library.ts'

/** Looks at files: reads one only if the ledger does not know its content. */
export class LocalFiles {
  readonly #library: Library
  readonly #options: ReconcileOptions

  constructor(library: Library, options: ReconcileOptions) {
    this.#library = library
    this.#options = options
  }

  /** What a file without row is: audio to be imported, or something that `import` declines, which is as it should be. */
  async compareStray(comparison: Comparison): Promise<Comparison> {
    const { file } = comparison
    if (file === undefined || comparison.differences[0]?.class !== 'local-file-without-row') return comparison
    const note = (one: Omit<Difference, 'severity'>): Comparison => ({
      ...comparison,
      differences: [{ ...one, severity: 'note' }],
    })
    const content = await this.#content(file.path)
    if (content === 'not-audio') {
      return note({ class: 'not-audio', detail: 'no row names it; it is not a recognised audio format' })
    }
    if (content === undefined) return comparison
    const same = await this.#sameContent(content, file.path)
    return same === undefined
      ? comparison
      : note({ class: 'duplicate-file', detail: `no row names it; the same content as ${same}` })
  }

  /** Copies that are no longer what was uploaded. */
  async compareCopies(copies: readonly LocalCopy[]): Promise<Comparison[]> {
    const { knex, store } = this.#library
    const keys = copies.map(({ row }) => row.key)
    const known = await objectsByKey(knex, store.bucket, keys)
    const comparisons: Comparison[] = []
    for (const { row, file } of copies) {
      const object = known.get(row.key)
      if (object?.sha256 == null || object.etag === null || row.source !== 'S3') continue
      // Nobody can set the time of the last change: from before the upload, it is what was uploaded.
      const uploaded = object.uploadedAt?.getTime()
      const untouched = file.changed !== undefined && uploaded !== undefined && file.changed < uploaded
      if (untouched && file.size === object.size) continue
      const sha256 = await this.#content(file.path)
      if (sha256 === undefined || sha256 === object.sha256) continue
      const { key, size, etag } = object
      comparisons.push({
        sigil: '*',
        name: file.path,
        differences: [
          {
            class: 'local-copy-differs',
            severity: 'drift',
            detail: `${file.path} has changed since it was uploaded as ${JSON.stringify(key)}`,
          },
        ],
        row,
        file,
        ...(sha256 === 'not-audio' ? {} : { fileSha256: sha256 }),
        other: { key, size, etag, lastModified: uploaded ?? 0 },
      })
    }
    return comparisons
  }

  /** SHA-256 of a file, remembered or read; undefined if it cannot be read, or is written to. */
  async #content(path: string): Promise<string | 'not-audio' | undefined> {
    const { knex } = this.#library
    const { audioFolder, signal } = this.#options
    try {
      const hashedAt = new Date()
      const root = await openRoot(audioFolder.root)
      const source = await openSource(path, plainFolder(audioFolder.root), root)
      try {
        const known = (await rememberedFiles(knex, [path])).get(path)
        if (known !== undefined && isSameFile(known, source)) return known.sha256
        const audio = await detectAudio({
          size: source.size,
          async read(offset, length) {
            const bytes = Buffer.alloc(Math.max(0, Math.min(length, source.size - offset)))
            await source.read(bytes, offset)
            return bytes
          },
        })
        if (audio === undefined) return 'not-audio'
        const { size, sha256, crc32 } = await contentOf(source, signal)
        const { mtimeNs, ctimeNs, inode, device } = source
        await rememberFiles(knex, [{ path, size, mtimeNs, ctimeNs, inode, device, sha256, crc32, hashedAt }])
        return sha256
      } finally {
        await source.close()
      }
    } catch (error) {
      if (error instanceof LocalFileError) return undefined
      throw error
    }
  }

  /** A track that has this content already: its object's key, or its file. */
  async #sameContent(sha256: string, path: string): Promise<string | undefined> {
    const { knex } = this.#library
    const keys = (await objectKeysByContent(knex, [sha256])).map(({ key }) => key)
    const [named] = await keysNamed(knex, keys)
    if (named !== undefined) return named
    for (const { path: other } of await rememberedPaths(knex, [sha256])) {
      if (other === path) continue
      const tracks = await tracksOfFile(knex, other, this.#options.audioFolder)
      if (tracks.length > 0 && (await this.#content(other)) === sha256) return other
    }
    return undefined
  }
}
