/** Which tracks have nothing to play: neither the object that their row names, nor their file. */
import type { Knex } from 'knex'
import pLimit from 'p-limit'
import { isFileThere } from '../audio-files/source.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import type { RowFacts } from '../core/reconcile/facts.ts'
import { rowFactsById } from '../db/row-facts.ts'
import type { ObjectStore } from '../storage/store.ts'

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Looks at a time. */
const looksAtOnce = 16

/**
 * Of these tracks, by id, the rows of those that have nothing to play now, as far as can be seen: a file that may be
 * there (no permission, a folder that is not mounted) counts as none, since whoever asks has a copy to give.
 *
 * @param ids as objects declare them: what is no id of a row is left out
 */
export async function tracksWithoutAudio(
  {
    knex,
    store,
    audioFolder,
    signal,
  }: { knex: Knex; store: ObjectStore; audioFolder: AudioFolder; signal?: AbortSignal },
  ids: readonly string[],
): Promise<Map<string, RowFacts>> {
  const valid = [...new Set(ids)].filter(id => uuid.test(id)).map(id => id.toLowerCase())
  const rows = await rowFactsById(knex, store.bucket, valid)
  const limit = pLimit(looksAtOnce)
  const lacking = new Map<string, RowFacts>()
  await Promise.all(
    [...rows.values()].map(row =>
      limit(async () => {
        if (row.key !== null && (await store.head(row.key, { signal })) !== undefined) return
        if (row.path !== null && (await isFileThere(row.path, audioFolder)) === true) return
        lacking.set(row.trackId, row)
      }),
    ),
  )
  return lacking
}
