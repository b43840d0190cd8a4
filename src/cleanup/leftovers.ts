/** What dead runs and the past have left behind: empty folders, temporary folders, uploads, quarantine, run records. */
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import { filePages } from '../audio-files/walk.ts'
import {
  areOfOtherLibraries,
  ownersWithoutAudio,
  type Unowned,
  unownedOf,
} from '../audio-files/without-audio.ts'
import type { AudioFolder } from '../core/audio-path.ts'
import { draftPrefix, keyBeforeQuarantine } from '../core/prefixes.ts'
import { forgetUpload, objectsByKey, openUploads, runsAlive } from '../db/ledger.ts'
import { keysByHash, keysSpokenFor } from '../db/row-facts.ts'
import { systemErrorCode, systemErrorReason } from '../errors.ts'
import {
  asidePrefix,
  isOneFile,
  moveIfFree,
  removeEmptyFolder,
  removeFile,
  removeIfThere,
  syncFolder,
} from '../file-effects.ts'
import { deadTempFolders } from '../runs/temp-folders.ts'
import type { ObjectEntry, ObjectStore } from '../storage/store.ts'

/**
 * One thing that may go. `remove` does it, and gives the reason when it must not be done after all; `kept` is one that
 * is known before.
 */
export interface Leftover {
  kind: 'empty-folder' | 'temp-file' | 'temp-folder' | 'upload' | 'quarantine' | 'run-record'
  subject: string
  bytes?: number
  kept?: string | undefined
  remove(): Promise<string | undefined>
}

const hour = 3_600_000

/** Folders that someone may be about to fill are left alone for so long, milliseconds. */
const folderGrace = hour

/**
 * Folders below the root that hold nothing but empty folders, deepest first; the root itself never.
 *
 * @param emptied folders (absolute) that this run has emptied: they need no grace
 */
export async function* emptyFolders(
  root: string,
  now: number,
  emptied: ReadonlySet<string>,
): AsyncGenerator<Leftover> {
  async function* visit(folder: string): AsyncGenerator<Leftover, boolean> {
    let entries: Awaited<ReturnType<typeof readFolder>>
    try {
      entries = await readFolder(folder)
    } catch (error) {
      if (['ENOENT', 'EACCES', 'EPERM'].includes(systemErrorCode(error) ?? '')) return false
      throw error
    }
    let empty = true
    for (const entry of entries) {
      if (!entry.isDirectory() || !(yield* visit(path.join(folder, entry.name)))) empty = false
    }
    if (!empty || folder === root) return false
    const age = now - (await stat(folder)).mtimeMs
    if (age < folderGrace && !emptied.has(folder)) return false
    yield {
      kind: 'empty-folder',
      subject: path.relative(root, folder),
      async remove() {
        try {
          await removeEmptyFolder(folder)
          return undefined
        } catch (error) {
          // rmdir takes empty folders only, so whoever was faster has lost nothing.
          return `not removed: ${systemErrorReason(error)}`
        }
      },
    }
    return true
  }
  yield* visit(root)
}

const readFolder = (folder: string) => readdir(folder, { withFileTypes: true })

/** A file that a killed run had taken out of the way, to remove it, when it was killed. */
export interface FileAside {
  /** where it was, relative to the audio folder */
  readonly path: string
  /** bytes */
  readonly size: number
  /** @returns why it stays where it is, if it does */
  putBack(): Promise<string | undefined>
}

/** The name that NFS or FUSE gives a file that was removed while someone has it open; it goes once that is over. */
const isHiddenByNetwork = (name: string): boolean => /^\.(nfs|fuse_hidden)[0-9A-Fa-f]+$/.test(name)

/** Files that are out of the way. No other run is at one: it holds the lock that `cleanup` holds. */
export async function* filesAside(root: string, signal: AbortSignal): AsyncGenerator<FileAside> {
  for await (const page of filePages(root, { signal, hidden: true })) {
    for (const { path: found, size } of page) {
      const folder = path.dirname(found)
      if (!path.basename(folder).startsWith(asidePrefix) || isHiddenByNetwork(path.basename(found))) continue
      const original = path.join(path.dirname(folder), path.basename(found))
      const [aside, place] = [path.join(root, found), path.join(root, original)]
      yield {
        path: original,
        size,
        async putBack() {
          if (!(await moveIfFree(aside, place))) {
            if (!(await isOneFile(aside, place))) return `another file is there; this one is ${found}`
            await removeFile(aside)
          }
          await removeEmptyFolder(path.join(root, folder)).catch(() => {})
          await syncFolder(path.dirname(place))
          return undefined
        },
      }
    }
  }
}

/** Files that a killed `restore` has left half written. None is at work: it holds the lock that `cleanup` holds. */
export async function* restoreDrafts(root: string, signal: AbortSignal): AsyncGenerator<Leftover> {
  for await (const page of filePages(root, { signal, hidden: true })) {
    for (const file of page) {
      if (!path.basename(file.path).startsWith(draftPrefix)) continue
      yield {
        kind: 'temp-file',
        subject: file.path,
        bytes: file.size,
        async remove() {
          await removeIfThere(path.join(root, file.path))
          return undefined
        },
      }
    }
  }
}

/** Temporary folders of runs that are not alive, neither on this machine nor by the ledger. */
export async function* staleTempFolders(knex: Knex): AsyncGenerator<Leftover> {
  for await (const { path: folder, runId, remove } of deadTempFolders()) {
    if ((await runsAlive(knex, [runId])).has(runId)) continue
    if ((await stat(folder).catch(() => undefined)) === undefined) continue
    yield {
      kind: 'temp-folder',
      subject: folder,
      async remove() {
        await remove()
        return undefined
      },
    }
  }
}

/**
 * Multipart uploads begun before `before` that no live run owns: those that the store lists, and those in the ledger
 * that it has and does not list (MinIO lists by whole key only, rclone not at all).
 */
export async function* staleUploads(
  knex: Knex,
  store: ObjectStore,
  { prefix, before, signal }: { prefix: string; before: number; signal: AbortSignal },
): AsyncGenerator<Leftover> {
  const known = await openUploads(knex, { bucket: store.bucket })
  const owners = new Map(known.map(({ uploadId, runId }) => [uploadId, runId]))
  const listed = new Set<string>()
  const stale = ({ key, uploadId }: { key: string; uploadId: string }): Leftover => ({
    kind: 'upload',
    subject: key,
    async remove() {
      await store.abortUpload(key, uploadId, signal)
      // Some stores answer that all is well, or that they know no such upload, and keep it.
      if ((await store.listParts(key, uploadId, signal)) !== undefined)
        return 'aborted, but the store still has it'
      await forgetUpload(knex, uploadId)
      return undefined
    },
  })
  for await (const page of store.listUploads({ prefix, signal })) {
    for (const { uploadId } of page) listed.add(uploadId)
    const old = page.filter(upload => upload.initiated.getTime() < before)
    const ownerOf = ({ uploadId }: { uploadId: string }) => owners.get(uploadId)
    const alive = await runsAlive(knex, old.map(ownerOf))
    for (const upload of old) if (!alive.has(ownerOf(upload))) yield stale(upload)
  }
  const unlisted = known.filter(
    ({ key, uploadId, createdAt }) =>
      key.startsWith(prefix) && createdAt.getTime() < before && !listed.has(uploadId),
  )
  const ownersOfUnlisted = unlisted.map(({ runId }) => runId)
  const alive = await runsAlive(knex, ownersOfUnlisted)
  for (const upload of unlisted) {
    if (alive.has(upload.runId)) continue
    if ((await store.listParts(upload.key, upload.uploadId, signal)) !== undefined) yield stale(upload)
  }
}

/** A key too long for the quarantine is there by its hash (`quarantineKey`). */
const isHashed = (oldKey: string): boolean => /^[0-9a-f]{64}$/.test(oldKey)

/**
 * Objects that a plan, or an upload that met a damaged one, moved to quarantine before `before`, by the store's clock, and that nothing wants back. One is
 * kept that may be the last copy: a row names it, or its old key while nothing is there, or it was uploaded for a track
 * that has no other audio. What no plan put there, or the plan of a library with another prefix, is none of ours, and is
 * never met.
 */
export async function* expiredQuarantine(
  knex: Knex,
  store: ObjectStore,
  {
    quarantinePrefix,
    keyPrefix,
    before,
    audioFolder,
    signal,
  }: {
    quarantinePrefix: string
    /** every key of the library begins so */
    keyPrefix: string
    before: number
    audioFolder: AudioFolder
    signal: AbortSignal
  },
): AsyncGenerator<Leftover> {
  for await (const page of store.list({ prefix: quarantinePrefix, signal })) {
    const expired = page.flatMap(entry => {
      const oldKey = keyBeforeQuarantine(entry.key)
      // What had another prefix was removed by another library, which has rows of its own.
      const isOurs = oldKey !== undefined && (oldKey.startsWith(keyPrefix) || isHashed(oldKey))
      return isOurs && entry.lastModified.getTime() < before ? [{ ...entry, oldKey }] : []
    })
    const place = { knex, store, audioFolder, keyPrefix, signal }
    const wanted = await wantedBack(place, expired)
    for (const entry of expired) {
      yield {
        kind: 'quarantine',
        subject: entry.key,
        bytes: entry.size,
        kept: wanted.get(entry.key),
        async remove() {
          // Once more: there may be thousands before it.
          const late = (await wantedBack(place, [entry])).get(entry.key)
          if (late !== undefined) return late
          const [outcome] = await store.delete([{ key: entry.key, ifMatch: entry.etag }], signal)
          return outcome?.error?.message
        },
      }
    }
  }
}

/** Of objects in quarantine those that may be the last copy of something: their keys, and why. */
async function wantedBack(
  place: { knex: Knex; store: ObjectStore; audioFolder: AudioFolder; keyPrefix: string; signal: AbortSignal },
  entries: readonly (ObjectEntry & { oldKey: string })[],
): Promise<Map<string, string>> {
  const { knex, store, keyPrefix, signal } = place
  const oldKeys = new Map(entries.map(({ key, oldKey }) => [key, oldKey]))
  const hashed = [...oldKeys.values()].filter(isHashed)
  const byHash = await keysByHash(knex, hashed)
  for (const [key, old] of oldKeys) oldKeys.set(key, byHash.get(old) ?? old)
  const named = await keysSpokenFor(knex, [...oldKeys.keys(), ...oldKeys.values()], {
    bucket: store.bucket,
    prefix: keyPrefix,
  })
  const known = await objectsByKey(knex, store.bucket, [...oldKeys.values()])
  const wanted = new Map<string, string>()
  const unowned = new Map<string, Unowned>()
  for (const [key, old] of oldKeys) {
    if (named.has(key)) wanted.set(key, 'a row names it')
    else if (named.has(old) && (await store.head(old, { signal })) === undefined) {
      wanted.set(key, `a row names ${old}, but nothing is there: this may be the last copy`)
    } else {
      const head = await store.head(key, { signal })
      unowned.set(key, unownedOf(head, known.get(old)?.sha256, old))
    }
  }
  const objects = [...unowned.values()]
  const owners = await ownersWithoutAudio(place, objects)
  const others = await areOfOtherLibraries(place, objects, known)
  for (const [at, key] of [...unowned.keys()].entries()) {
    const owner = owners[at]
    if (others[at] === true) wanted.set(key, 'another library, with the same bucket and prefix, uploaded it')
    else if (owner !== undefined)
      wanted.set(
        key,
        `track ${owner.row.trackId}, to which it belongs, has no other audio: this may be the last copy`,
      )
  }
  return wanted
}

/** Records of runs that ended before `before`, but for the newest three of each command. */
export async function* oldRuns(knex: Knex, before: number): AsyncGenerator<Leftover> {
  const old = knex
    .with('ranked', query =>
      query
        .from('autodj_ledger.runs')
        .select('id', 'state')
        .select(knex.raw('coalesce(finished_at, heartbeat_at) as ended'))
        .select(knex.raw('row_number() over (partition by command order by started_at desc) as age')),
    )
    .from('ranked')
    .whereNot('state', 'running')
    .where('age', '>', 3)
    .where('ended', '<', new Date(before))
  const [{ count }] = (await old.clone().count()) as [{ count: string | number }]
  if (Number(count) === 0) return
  yield {
    kind: 'run-record',
    subject: `${count} run records`,
    async remove() {
      const ids: { id: string }[] = await old.clone().select('id')
      await knex.raw('delete from autodj_ledger.runs where id = any(?::uuid[])', [ids.map(({ id }) => id)])
      return undefined
    },
  }
}
