/** Which tracks have nothing to play: neither the object that their row names, nor their file. */
import type { Knex } from 'knex'
import pLimit from 'p-limit'
import type { AudioFolder } from '../core/audio-path.ts'
import { localTrackId } from '../core/import/content-id.ts'
import { nameInKey, namesOfKeys } from '../core/keys.ts'
import type { LackingRow } from '../core/reconcile/facts.ts'
import { rememberedPaths, tracksOfFiles } from '../db/content.ts'
import { libraryOf } from '../db/library.ts'
import { rowFactsById } from '../db/row-facts.ts'
import { namesWithoutKey, tracksBySpotifyId } from '../db/tracks.ts'
import type { ObjectHead, ObjectStore } from '../storage/store.ts'
import { isFileThere } from './mounted.ts'

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

interface Place {
  readonly knex: Knex
  readonly store: ObjectStore
  readonly audioFolder: AudioFolder
  /** every key of the library begins so */
  readonly keyPrefix: string
  readonly signal: AbortSignal
}

/** What an object that no row names tells of whose it is. */
export interface Unowned {
  /** as its uploader declared, or as the ledger or the store knows it, hex */
  readonly sha256?: string | undefined
  /** the track that it was uploaded for, as its uploader declared */
  readonly trackId?: string | undefined
  /** the library that uploaded it, as it declared */
  readonly library?: string | undefined
  /** what it is, or was, called */
  readonly key: string
}

/**
 * What an object tells of itself.
 *
 * @param head undefined if it is gone
 * @param recorded SHA-256 that the ledger has of it, hex
 * @param key what it was called, if it lies elsewhere by now
 */
export function unownedOf(
  head: Pick<ObjectHead, 'metadata' | 'checksums'> | undefined,
  recorded: string | null | undefined,
  key: string,
): Unowned {
  const { metadata = {}, checksums = {} } = head ?? {}
  const computed = checksums.sha256 && Buffer.from(checksums.sha256, 'base64').toString('hex')
  const sha256 = computed ?? metadata['sha256']?.toLowerCase() ?? recorded ?? undefined
  return { key, trackId: metadata['track-id'], library: metadata['library'], sha256 }
}

/**
 * Of each object that no row names whether another library uploaded it: a database of its own, or a copy of this one, which
 * has the same bucket and prefix. What this ledger knew, or was uploaded for a track that has a row here, is ours
 * whatever it says: a database that has moved has another identity.
 *
 * @param recorded what this ledger knows, by key
 */
export async function areOfOtherLibraries(
  { knex, store }: Pick<Place, 'knex' | 'store'>,
  objects: readonly Unowned[],
  recorded: ReadonlyMap<string, unknown>,
): Promise<boolean[]> {
  const isMarked = ({ key, library }: Unowned): boolean => library !== undefined && !recorded.has(key)
  const own = objects.some(isMarked) ? await libraryOf(knex) : undefined
  const isOther = (object: Unowned): boolean =>
    own !== undefined && isMarked(object) && object.library !== own
  const ids = objects.filter(isOther).flatMap(({ trackId = '' }) => (uuid.test(trackId) ? [trackId] : []))
  const rows = await rowFactsById(knex, store.bucket, [...new Set(ids)])
  return objects.map(object => isOther(object) && !rows.has((object.trackId ?? '').toLowerCase()))
}

/**
 * Whose audio an object is, that has no other: the track that it was uploaded for; else one whose content it is, by the
 * id that `import` gave it, or by what its file was when it was last hashed; else one of the artist and title that its
 * key is made of, as `fetch` finds it: rows that were deleted and made anew have other ids.
 *
 * @returns the owner of each, in their order; undefined if there is none that lacks audio
 */
export async function ownersWithoutAudio(
  place: Place,
  objects: readonly Unowned[],
): Promise<(LackingRow | undefined)[]> {
  const owners = await ownersByContent(place, objects)
  const { keyPrefix: prefix } = place
  const names = objects.map(({ key }, at) => (owners[at] ? undefined : nameInKey(key, prefix)))
  const wanted = new Set(names.flatMap(one => one?.name ?? []))
  if (wanted.size === 0) return owners
  const extensions = [...new Set(names.flatMap(one => one?.extension ?? []))]
  const byName = new Map<string, string[]>()
  for await (const page of namesWithoutKey(place.knex)) {
    place.signal.throwIfAborted()
    for (const { id, artist, title } of page)
      for (const name of namesOfKeys(artist, title, { prefix, extensions }))
        if (wanted.has(name)) byName.set(name, [...(byName.get(name) ?? []), id])
  }
  const lacking = await tracksWithoutAudio(place, [...byName.values()].flat())
  return owners.map((owner, at) => {
    const row = byName
      .get(names[at]?.name ?? '')
      ?.map(id => lacking.get(id))
      .find(found => found !== undefined)
    return row === undefined ? owner : { ...row, by: 'name' }
  })
}

async function ownersByContent(
  place: Place,
  objects: readonly Unowned[],
): Promise<(LackingRow | undefined)[]> {
  const { knex, audioFolder } = place
  const declared = await tracksWithoutAudio(
    place,
    objects.flatMap(({ trackId }) => trackId ?? []),
  )
  const owners = objects.map(({ trackId }): LackingRow | undefined => {
    const row = trackId === undefined ? undefined : declared.get(trackId.toLowerCase())
    return row && { ...row, by: 'track' }
  })
  const hashes = [...new Set(objects.flatMap(({ sha256 }, at) => (owners[at] ? [] : (sha256 ?? []))))]
  const found: { readonly sha256: string; readonly id: string }[] = []
  const contents = new Map(hashes.map(sha256 => [localTrackId(sha256), sha256]))
  for (const { id, spotifyId } of await tracksBySpotifyId(knex, [...contents.keys()]))
    found.push({ sha256: contents.get(spotifyId) as string, id })
  const remembered = await rememberedPaths(knex, hashes)
  const ofFiles = await tracksOfFiles(
    knex,
    remembered.map(({ path }) => path),
    audioFolder,
  )
  for (const { path, sha256 } of remembered)
    for (const { id } of ofFiles.get(path) ?? []) found.push({ sha256, id })
  const byContent = Map.groupBy(found, ({ sha256 }) => sha256)
  const lacking = await tracksWithoutAudio(
    place,
    found.map(({ id }) => id),
  )
  return objects.map(({ sha256 = '' }, at) => {
    if (owners[at] !== undefined) return owners[at]
    const row = byContent
      .get(sha256)
      ?.map(({ id }) => lacking.get(id))
      .find(one => one !== undefined)
    return row && { ...row, by: 'content' }
  })
}

/** Looks at a time. */
const looksAtOnce = 16

/**
 * Of these tracks, by id, the rows of those that have nothing to play now, as far as can be seen: a file that may be
 * there (no permission, a folder that is not mounted) counts as none, since whoever asks has a copy to give.
 *
 * @param ids as objects declare them: what is no id of a row is left out
 */
async function tracksWithoutAudio(
  { knex, store, audioFolder, signal }: Place,
  ids: readonly string[],
): Promise<Map<string, Omit<LackingRow, 'by'>>> {
  const valid = [...new Set(ids)].filter(id => uuid.test(id))
  const rows = await rowFactsById(knex, store.bucket, valid)
  const limit = pLimit(looksAtOnce)
  const lacking = new Map<string, Omit<LackingRow, 'by'>>()
  await Promise.all(
    [...rows.values()].map(row =>
      limit(async () => {
        if (row.key !== null && (await store.head(row.key, { signal })) !== undefined) return
        const there = row.path !== null && (await isFileThere({ knex }, row.path, audioFolder))
        if (there === true) return
        lacking.set(row.trackId, { row, ...(there === undefined ? { isUnseen: true } : {}) })
      }),
    ),
  )
  return lacking
}
