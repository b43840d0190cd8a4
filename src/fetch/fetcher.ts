/** Gets the audio of one track, from the first source that has it, into S3. What becomes of the row is the caller's. */

import { mkdir, mkdtemp, open, readdir, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { byteSource } from '../audio/description.ts'
import { Readers } from '../audio-files/readers.ts'
import { plainFolder } from '../core/audio-path.ts'
import { type AudioType, detectAudio } from '../core/content-type.ts'
import { RateLimit } from '../core/fetch/rate-limit.ts'
import { fillCommand, fillUrl } from '../core/fetch/template.ts'
import { keySegment, objectKey } from '../core/keys.ts'
import { stagingPrefix } from '../core/prefixes.ts'
import type { Track } from '../db/tracks.ts'
import type { ErrorCode } from '../error-codes.ts'
import type { Network } from '../network.ts'
import type { ObjectHead, ObjectStore } from '../storage/store.ts'
import {
  TransferEngine,
  type TransferJob,
  type TransferOptions,
  type TransferOutcome,
} from '../upload/transfer.ts'
import type { ProvedObject } from '../upload/verifier.ts'
import type { LocalIndex } from './local-index.ts'
import { normalize } from './normalize.ts'
import { FetchProblem } from './problem.ts'
import { runProgram } from './process.ts'
import { archivedProblem, notAudio, uploadStream } from './staged-upload.ts'
import { download } from './url-download.ts'

/** Where audio may come from, in the order in which it is looked for. */
export const fetchSources = ['s3', 'local', 'url', 'command', 'preview'] as const
export type FetchSource = (typeof fetchSources)[number]

export interface FetchTrack extends Track {
  previewUrl: string | null
}

/** An object as the ledger gets it: proved by us, or found in S3, where its checksum may be unknown. */
type FetchedObject = Pick<ProvedObject, 'key' | 'size' | 'etag' | 'contentType'> &
  Partial<Pick<ProvedObject, 'sha256' | 'crc32' | 'versionId'>>

export type FetchOutcome =
  | {
      readonly state: 'fetched'
      readonly source: FetchSource
      readonly object: FetchedObject
      /** the local file that it came from, relative to the audio folder */
      readonly filePath?: string
    }
  | {
      readonly state: 'failed'
      readonly code: ErrorCode
      readonly reason: string
      readonly cure?: string | undefined
      /** it may be there another time: the row is left as it is */
      readonly passing: boolean
    }

interface FetcherOptions
  extends Pick<
    TransferOptions,
    'store' | 'ledger' | 'report' | 'audioFolder' | 'keyPrefix' | 'throttle' | 'signal' | 'stopping'
  > {
  /** whether there is a row with that id: whose object this is */
  readonly trackExists: (id: string) => Promise<boolean>
  readonly localIndex: LocalIndex
  readonly sources: ReadonlySet<FetchSource>
  /** template with placeholders; see `fillUrl` */
  readonly url: string | undefined
  readonly command: readonly string[] | undefined
  /** the way out of this machine, of downloads */
  readonly network: Network
  /** addresses that a `preview_url` may lead to: rows are written by others; undefined: any */
  readonly mayPreviewFrom: (address: string) => boolean
  /** files on their way, and staging keys in S3, are named after it */
  readonly runId: string
  readonly tempFolder: string
  /** bytes */
  readonly maxBytes: number
  /** for a downloader, and for each pass of ffmpeg, milliseconds */
  readonly timeoutMs: number
  /** starts of downloads and downloaders a minute */
  readonly perMinute: number | undefined
  readonly normalize: boolean
  /** how long uploads wait for S3 to come back, milliseconds */
  readonly maxOutage: number
}

const MiB = 1024 ** 2

export class Fetcher {
  readonly #options: FetcherOptions
  readonly #rate: RateLimit
  /** uploads from the audio folder, and from the temporary one */
  readonly #readers = new Readers(1)
  readonly #fromLocal: TransferEngine
  readonly #fromTemp: TransferEngine

  constructor(options: FetcherOptions) {
    this.#options = options
    this.#rate = new RateLimit(options.perMinute)
    const transfer: TransferOptions = {
      ...options,
      maxConcurrency: 8,
      initialConcurrency: 8,
      memory: 128 * MiB,
      multipartThreshold: 16 * MiB,
      partSize: 8 * MiB,
      readers: this.#readers,
    }
    this.#fromLocal = new TransferEngine(transfer)
    this.#fromTemp = new TransferEngine({ ...transfer, audioFolder: plainFolder(options.tempFolder) })
  }

  /**
   * Tries the sources in turn.
   * @throws StoreError and RunHalted, which concern every track · the signal's reason
   */
  async fetch(track: FetchTrack): Promise<FetchOutcome> {
    const problems: FetchProblem[] = []
    for (const source of fetchSources) {
      if (!this.#options.sources.has(source)) continue
      this.#options.signal.throwIfAborted()
      try {
        const found = await this.#from(source, track)
        if (found) return { state: 'fetched', source, ...found }
      } catch (error) {
        if (!(error instanceof FetchProblem)) throw error
        problems.push(error)
      }
    }
    if (problems.length === 0) {
      return { state: 'failed', code: 'fetch.nowhere', reason: 'no source has it', passing: false }
    }
    const last = problems.at(-1) as FetchProblem
    return {
      state: 'failed',
      code: last.code,
      reason: problems.map(one => one.message).join('; '),
      cure: last.cure,
      passing: problems.some(one => one.passing),
    }
  }

  async close(): Promise<void> {
    await this.#readers.close()
  }

  async #from(
    source: FetchSource,
    track: FetchTrack,
  ): Promise<{ object: FetchedObject; filePath?: string } | undefined> {
    switch (source) {
      case 's3':
        return this.#fromS3(track)
      case 'local':
        return this.#fromFolder(track)
      case 'url':
        return this.#options.url === undefined
          ? undefined
          : this.#fromUrl(track, fillUrl(this.#options.url, track))
      case 'preview':
        return track.previewUrl === null
          ? undefined
          : this.#fromUrl(track, track.previewUrl, this.#options.mayPreviewFrom)
      case 'command':
        return this.#options.command === undefined
          ? undefined
          : this.#fromCommand(track, this.#options.command)
    }
  }

  /** The object of the row's key; else one that was uploaded for this very track, or for none that there still is. */
  async #fromS3(track: FetchTrack): Promise<{ object: FetchedObject } | undefined> {
    const { store, keyPrefix, signal } = this.#options
    let archived: ObjectHead | undefined
    /** What can be played is audio; an archived object is none until it is restored. */
    const ifPlayable = (head: ObjectHead): { object: FetchedObject } | undefined => {
      if (head.archive === undefined) return { object: asFetched(head) }
      archived ??= head
      return undefined
    }
    if (track.s3ObjectKey !== null) {
      const head = await store.head(track.s3ObjectKey, { signal })
      const found = head && head.size > 0 ? ifPlayable(head) : undefined
      if (found !== undefined) return found
    }
    const prefix = `${keyPrefix}${keySegment(track.artist)}/${keySegment(track.title)}_`
    const heads: ObjectHead[] = []
    for await (const page of store.list({ prefix, signal })) {
      for (const { key, size } of page) {
        // `Title_` is also the beginning of `Title_two_0a1b2c3d.mp3`.
        if (size === 0 || !/^[0-9a-f]{8}\.[a-z0-9]+$/.test(key.slice(prefix.length))) continue
        const head = await store.head(key, { signal })
        if (head) heads.push(head)
      }
      if (heads.length > 100) break
    }
    for (const own of heads.filter(head => head.metadata['track-id'] === track.id)) {
      const found = ifPlayable(own)
      if (found !== undefined) return found
    }
    const [sole] = heads
    if (heads.length === 1 && sole) {
      const owner = sole.metadata['track-id']
      const isFree = owner === undefined || !(await this.#options.trackExists(owner))
      const found = isFree ? ifPlayable(sole) : undefined
      if (found !== undefined) return found
    }
    if (archived !== undefined) throw archivedProblem(archived.key)
    return undefined
  }

  async #fromFolder(track: FetchTrack): Promise<{ object: FetchedObject; filePath: string } | undefined> {
    const filePath = await this.#options.localIndex.find(track)
    if (filePath === undefined) return undefined
    return { object: proved(await this.#fromLocal.transfer(this.#job(track, filePath))), filePath }
  }

  async #fromUrl(
    track: FetchTrack,
    url: string,
    isAllowed?: (address: string) => boolean,
  ): Promise<{ object: FetchedObject }> {
    const { store, keyPrefix, runId, signal, maxBytes, network, throttle } = this.#options
    await this.#wait()
    const body = throttle.through(download(url, { maxBytes, signal, isAllowed, network }), signal)
    if (this.#options.normalize) {
      return this.#throughFile(track, async folder => {
        const file = path.join(folder, 'audio')
        await writeFile(file, body, { signal })
        return file
      })
    }
    const object = await uploadStream({
      store,
      stagingKey: `${stagingPrefix(keyPrefix)}${runId}/${track.id}`,
      body,
      trackId: track.id,
      library: await this.#options.ledger.library(),
      keyOf: ({ sha256, extension }) =>
        track.s3ObjectKey ??
        objectKey({ prefix: keyPrefix, artist: track.artist, title: track.title, sha256, extension }),
      signal,
    })
    return { object }
  }

  async #fromCommand(track: FetchTrack, command: readonly string[]): Promise<{ object: FetchedObject }> {
    const { signal, timeoutMs, maxBytes } = this.#options
    await this.#wait()
    return this.#throughFile(track, async folder => {
      await runProgram(fillCommand(command, track, path.join(folder, 'audio')), {
        cwd: folder,
        timeoutMs,
        signal,
        watch: async () => checkSize(await sizeOf(folder), maxBytes),
      })
      const file = await largestFile(folder)
      if (!file) {
        throw new FetchProblem('fetch.command-nothing', 'the downloader did not write a file')
      }
      checkSize(file.size, maxBytes)
      return file.path
    })
  }

  /** Gets a file into a folder of its own, which is gone afterwards, whatever happens. */
  async #throughFile(
    track: FetchTrack,
    get: (folder: string) => Promise<string>,
  ): Promise<{ object: FetchedObject }> {
    const { tempFolder, signal, timeoutMs } = this.#options
    await mkdir(tempFolder, { recursive: true, mode: 0o700 })
    const folder = await mkdtemp(path.join(tempFolder, 'fetch-'))
    try {
      let file = await get(folder)
      const type = await typeOf(file)
      if (!type) throw notAudio()
      if (this.#options.normalize) file = await normalize(file, type.extension, { timeoutMs, signal })
      const outcome = await this.#fromTemp.transfer(this.#job(track, path.relative(tempFolder, file)))
      return { object: proved(outcome) }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  #job(track: FetchTrack, filePath: string): TransferJob {
    const { id: trackId, artist, title, s3ObjectKey: existingKey } = track
    return { trackId, artist, title, filePath, existingKey, size: null, remembered: undefined }
  }

  async #wait(): Promise<void> {
    const milliseconds = this.#rate.take(Date.now())
    const { signal, stopping } = this.#options
    if (milliseconds > 0)
      await sleep(milliseconds, undefined, { signal: AbortSignal.any([signal, stopping]) })
  }
}

function proved(outcome: TransferOutcome): ProvedObject {
  if ('object' in outcome) return outcome.object
  throw new FetchProblem(outcome.code, outcome.reason, {
    cure: outcome.cure,
    passing: outcome.state === 'interrupted',
  })
}

function asFetched(head: ObjectHead): FetchedObject {
  const sha256 = head.metadata['sha256']
  return {
    key: head.key,
    size: head.size,
    etag: head.etag,
    versionId: head.versionId,
    contentType: head.contentType ?? 'application/octet-stream',
    ...(sha256 !== undefined && /^[0-9a-f]{64}$/.test(sha256) ? { sha256 } : {}),
    ...(head.checksums.crc32 === undefined ? {} : { crc32: head.checksums.crc32 }),
  }
}

function checkSize(size: number, maxBytes: number): void {
  if (size <= maxBytes) return
  throw new FetchProblem('fetch.too-large', `the downloader wrote more than ${maxBytes} bytes`)
}

async function filesOf(folder: string): Promise<{ path: string; size: number }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile()).map(entry => path.join(entry.parentPath, entry.name))
  const sizes = await Promise.all(
    files.map(file =>
      stat(file).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  )
  return files.map((file, index) => ({ path: file, size: sizes[index] as number }))
}

async function sizeOf(folder: string): Promise<number> {
  return (await filesOf(folder)).reduce((sum, file) => sum + file.size, 0)
}

async function largestFile(folder: string): Promise<{ path: string; size: number } | undefined> {
  return (await filesOf(folder)).toSorted((a, b) => b.size - a.size)[0]
}

async function typeOf(file: string): Promise<AudioType | undefined> {
  await using handle = await open(file)
  return await detectAudio(await byteSource(handle))
}

/** Removes what dead runs left at staging keys. @param alive ids of runs that live */
export async function sweepStaging(
  store: ObjectStore,
  keyPrefix: string,
  alive: (runIds: readonly string[]) => Promise<ReadonlySet<string>>,
): Promise<number> {
  const prefix = stagingPrefix(keyPrefix)
  const runOf = (key: string) => key.slice(prefix.length).split('/')[0] as string
  const isRun = (id: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)
  let removed = 0
  for await (const page of store.list({ prefix })) {
    const keys = page.map(({ key }) => key).filter(key => isRun(runOf(key)))
    const living = await alive([...new Set(keys.map(runOf))])
    const dead = keys.filter(key => !living.has(runOf(key)))
    if (dead.length > 0) await store.delete(dead.map(key => ({ key })))
    removed += dead.length
  }
  for await (const page of store.listUploads({ prefix })) {
    const uploads = page.filter(({ key }) => isRun(runOf(key)))
    const living = await alive([...new Set(uploads.map(({ key }) => runOf(key)))])
    for (const { key, uploadId } of uploads) {
      if (living.has(runOf(key))) continue
      await store.abortUpload(key, uploadId)
      removed++
    }
  }
  return removed
}
