/**
 * A stream into an object whose key holds its hash, which nobody knows before the end: it goes to a staging key on its
 * way through the hash, is copied to its key inside S3, and compared there. Nothing touches a disk.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { holdsContent } from '../audio-files/content-proof.ts'
import { type AudioType, detectAudio } from '../core/content-type.ts'
import { encodeCrc32 } from '../core/crc32.ts'
import { cacheControl } from '../core/keys.ts'
import { archiveCure } from '../storage/s3-errors.ts'
import type { ObjectHeaders, ObjectStore } from '../storage/store.ts'
import { StoreError } from '../storage/store.ts'
import type { ProvedObject } from '../upload/verifier.ts'
import { FetchProblem } from './problem.ts'

/** Enough to tell the type of most files; one that hides it further in is looked at once it is stored. */
const headSize = 256 * 1024

interface StagedUpload {
  readonly store: ObjectStore
  readonly stagingKey: string
  readonly body: AsyncIterable<Uint8Array>
  readonly trackId: string
  /** what objects of this library carry */
  readonly library?: string | undefined
  /** the final key of that content */
  readonly keyOf: (content: { sha256: string; extension: string }) => string
  readonly signal: AbortSignal
}

/**
 * @throws FetchProblem when it is not audio, or the key holds other bytes; what `body` throws; StoreError
 */
export async function uploadStream(upload: StagedUpload): Promise<Omit<ProvedObject, 'proof'>> {
  const { store, stagingKey, trackId, library, signal } = upload
  const hash = createHash('sha256')
  let crc = 0
  let size = 0
  async function* observed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of source) {
      hash.update(chunk)
      crc = crc32(chunk, crc)
      size += chunk.byteLength
      yield chunk
    }
  }
  const { head, rest } = await split(upload.body)
  const type = await detectAudio(head)
  if (!type) await rejectBody(rest)
  const { contentType, extension } = type as AudioType
  try {
    await store.putStream(stagingKey, observed(rest), { headers: { contentType }, signal })
    const sha256 = hash.digest('hex')
    const key = upload.keyOf({ sha256, extension })
    const headers: ObjectHeaders = {
      contentType,
      cacheControl,
      metadata: { sha256, 'track-id': trackId, ...(library && { library }) },
    }
    try {
      await store.copy(stagingKey, key, { headers, ifNoneMatch: true, signal })
    } catch (error) {
      if (!(error instanceof StoreError) || error.kind !== 'exists') throw error
    }
    const { etag, versionId } = await compare(store, key, { size, crc, sha256, signal })
    return { key, size, sha256, crc32: encodeCrc32(crc), etag, versionId, contentType }
  } finally {
    await store.delete([{ key: stagingKey }]).catch(() => {})
  }
}

/** Whether the object is these bytes. */
async function compare(
  store: ObjectStore,
  key: string,
  { size, crc, sha256, signal }: { size: number; crc: number; sha256: string; signal: AbortSignal },
) {
  const head = await store.head(key, { signal })
  if (!head) throw new StoreError('unavailable', `${key} was stored but is not there`)
  const sameness = await holdsContent(store, head, { size, sha256, crc32: encodeCrc32(crc) }, signal)
  if (sameness === 'archived') throw archivedProblem(key)
  if (sameness === 'different') {
    throw new FetchProblem('fetch.conflict', `${key} already exists with other content`)
  }
  return head
}

/** The first bytes of a stream, and the whole stream with them. */
async function split(
  body: AsyncIterable<Uint8Array>,
): Promise<{ head: Buffer; rest: AsyncGenerator<Uint8Array, void> }> {
  const source = body[Symbol.asyncIterator]()
  const chunks: Uint8Array[] = []
  let length = 0
  while (length < headSize) {
    const next = await source.next()
    if (next.done) break
    chunks.push(next.value)
    length += next.value.byteLength
  }
  async function* rest(): AsyncGenerator<Uint8Array, void> {
    try {
      yield* chunks
      for (;;) {
        const next = await source.next()
        if (next.done) return
        yield next.value
      }
    } finally {
      await source.return?.()
    }
  }
  return { head: Buffer.concat(chunks), rest: rest() }
}

async function rejectBody(rest: AsyncGenerator<Uint8Array, void>): Promise<never> {
  // Begun, so that its `finally` runs and lets the connection go.
  await rest.next()
  await rest.return(undefined)
  throw notAudio()
}

/** The object is there, and nobody can play it now: the row stays as it is. */
export function archivedProblem(key: string): FetchProblem {
  return new FetchProblem('object.archived', `${key} is in an archive storage class`, {
    cure: archiveCure,
    passing: true,
  })
}

/** What came is a page, an error message, a picture: anything but sound. */
export function notAudio(): FetchProblem {
  return new FetchProblem('fetch.not-audio', 'the download is not audio')
}
