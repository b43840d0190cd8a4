/**
 * Whether an object holds the bytes of a local file: by the strongest checksum that the store computed of it, and by
 * the SHA-256 that its uploader declared; if the store has none, by reading it. One measure for whoever lets go of
 * one of the two because the other is there.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { crc32 } from 'node:zlib'
import { encodeCrc32 } from '../core/crc32.ts'
import type { ObjectHead, ObjectStore } from '../storage/store.ts'
import type { Source } from './source.ts'

/** What is known of a file's bytes. */
export interface FileContent {
  /** bytes */
  readonly size: number
  /** hex */
  readonly sha256: string
  /** base64 */
  readonly crc32?: string
}

/** `archived`: it may be the same, and nobody can play it before it is restored. */
type Sameness = 'same' | 'different' | 'archived'

/** Classes of AWS whose objects can be read as they are; another provider's may be an archive, which only reading tells. */
const readAtOnce: ReadonlySet<string | undefined> = new Set([
  undefined,
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'REDUCED_REDUNDANCY',
  'INTELLIGENT_TIERING',
  'GLACIER_IR',
  'EXPRESS_ONEZONE',
  'OUTPOSTS',
  'SNOW',
])

/** @param head of the object as it is now @throws StoreError, also if its bytes cannot be had */
export async function holdsContent(
  store: ObjectStore,
  head: ObjectHead,
  file: FileContent,
  signal?: AbortSignal,
): Promise<Sameness> {
  if (head.size !== file.size) return 'different'
  const declared = head.metadata['sha256']?.toLowerCase()
  if (declared !== undefined && declared !== file.sha256) return 'different'
  if (head.archive !== undefined) return 'archived'
  if (!readAtOnce.has(head.storageClass)) {
    const first = await store.get(head.key, { range: { start: 0, end: 0 }, ifMatch: head.etag, signal })
    if (first === undefined) return 'different'
    for await (const _ of first.body);
  }
  const { checksums } = head
  if (checksums.sha256 !== undefined) {
    return Buffer.from(checksums.sha256, 'base64').toString('hex') === file.sha256 ? 'same' : 'different'
  }
  // What the uploader declared and what the store computed, both of the file: no two recordings share that by chance.
  if (checksums.crc32 !== undefined && file.crc32 !== undefined) {
    if (checksums.crc32 !== file.crc32) return 'different'
    if (declared !== undefined) return 'same'
  }
  return (await readSha256(store, head, signal)) === file.sha256 ? 'same' : 'different'
}

/** SHA-256 of an object's bytes, hex; undefined if it is another one by now, or gone. */
export async function readSha256(
  store: ObjectStore,
  { key, etag }: Pick<ObjectHead, 'key' | 'etag'>,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const content = await store.get(key, { ifMatch: etag, signal })
  if (content === undefined) return undefined
  const hash = createHash('sha256')
  for await (const chunk of content.body) hash.update(chunk)
  return hash.digest('hex')
}

/** Hash of the file at a path, hex. @throws the file system's error */
export async function hashOfFile(
  algorithm: 'sha256' | 'md5',
  file: string,
  signal?: AbortSignal,
): Promise<string> {
  const hash = createHash(algorithm)
  for await (const chunk of createReadStream(file, { highWaterMark: chunkSize, signal })) hash.update(chunk)
  return hash.digest('hex')
}

/** Bytes read at a time. */
const chunkSize = 1024 * 1024

/** Reads an open file from start to end. @throws LocalFileError, `changed` if it was written to in the meantime */
export async function contentOf(source: Source, signal?: AbortSignal): Promise<Required<FileContent>> {
  const hash = createHash('sha256')
  const chunk = Buffer.allocUnsafe(Math.min(chunkSize, source.size))
  let crc = 0
  for (let at = 0; at < source.size; at += chunk.length) {
    signal?.throwIfAborted()
    const bytes = chunk.subarray(0, source.size - at)
    await source.read(bytes, at)
    hash.update(bytes)
    crc = crc32(bytes, crc)
  }
  await source.assertUnchanged()
  return { size: source.size, sha256: hash.digest('hex'), crc32: encodeCrc32(crc) }
}
