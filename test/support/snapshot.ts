/** Everything there is of a library, in a form that compares: objects with bytes and headers, rows, files. */
import { createHash } from 'node:crypto'
import { readdir, readFile, stat, utimes } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import type { ObjectStore } from '../../src/storage/store.ts'
import { sha256 } from './sums.ts'

export interface Snapshot {
  objects: Record<string, unknown>
  rows: Record<string, unknown>[]
  files: Record<string, unknown>
}

export async function snapshot({
  knex,
  store,
  audioRoot,
}: {
  knex: Knex
  store: ObjectStore
  audioRoot: string
}): Promise<Snapshot> {
  const objects: Record<string, unknown> = {}
  for await (const page of store.list()) {
    for (const { key } of page) {
      const content = await store.get(key)
      if (content === undefined) continue
      const hash = createHash('sha256')
      for await (const chunk of content.body) hash.update(chunk)
      const head = await store.head(key)
      const { lastModified: _, versionId: __, ...rest } = { ...head }
      objects[key] = { ...rest, sha256: hash.digest('hex') }
    }
  }
  const { rows } = await knex.raw<{ rows: Record<string, unknown>[] }>(
    'select t.*, updated_at::text as updated_text from tracks t order by id',
  )
  const files: Record<string, unknown> = {}
  for (const name of await readdir(audioRoot, { recursive: true })) {
    const absolute = path.join(audioRoot, name)
    const stats = await stat(absolute)
    if (!stats.isFile()) files[name] = 'folder'
    else {
      const { mtimeMs, size, mode } = stats
      files[name] = {
        modified: Math.round(mtimeMs),
        size,
        mode,
        sha256: sha256(await readFile(absolute)),
      }
      // Looking is no use: cleanup goes by the time of last use.
      await utimes(absolute, stats.atime, stats.mtime)
    }
  }
  return { objects, rows, files }
}
