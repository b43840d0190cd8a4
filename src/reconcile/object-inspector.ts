import { readSha256 } from '../audio-files/content-proof.ts'
import { detectAudio } from '../core/content-type.ts'
import type { ContentSums, HeadFacts, ObjectFacts } from '../core/reconcile/facts.ts'
import type { ObjectHead, ObjectStore } from '../storage/store.ts'

/** An object with what a HEAD told of it. */
export type LookedAt = ObjectFacts & { readonly head: HeadFacts & { readonly sums: ContentSums } }

/** Looks at single objects, beyond what a listing tells. Each gives undefined when the object is gone. */
interface ObjectInspector {
  head(key: string): Promise<LookedAt | undefined>
  /** downloads the whole object; SHA-256 in hex */
  hash(object: ObjectFacts): Promise<string | undefined>
  /** Content-Type of the bytes, empty when they tell nothing; reads a few kilobytes */
  type(object: ObjectFacts): Promise<string | undefined>
}

export function createObjectInspector(store: ObjectStore, signal?: AbortSignal): ObjectInspector {
  return {
    async head(key) {
      const head = await store.head(key, { signal })
      return head && { ...factsOfHead(head), head: headFacts(head) }
    },

    hash: object => readSha256(store, object, signal),

    async type({ key, etag, size }) {
      const audio = await detectAudio({
        size,
        async read(offset, length) {
          const end = Math.min(offset + length, size) - 1
          if (end < offset) return new Uint8Array()
          const content = await store.get(key, { ifMatch: etag, range: { start: offset, end }, signal })
          const chunks: Uint8Array[] = []
          if (content !== undefined) for await (const chunk of content.body) chunks.push(chunk)
          return Buffer.concat(chunks)
        },
      })
      return audio?.contentType ?? ''
    },
  }
}

function factsOfHead({ key, size, etag, lastModified }: ObjectHead): ObjectFacts {
  return { key, size, etag, lastModified: lastModified.getTime() }
}

function headFacts({
  contentType,
  cacheControl,
  checksums,
  metadata,
  archive,
}: ObjectHead): LookedAt['head'] {
  const sums: ContentSums = {}
  if (checksums.sha256 !== undefined) sums.sha256 = Buffer.from(checksums.sha256, 'base64').toString('hex')
  if (checksums.crc64nvme !== undefined) sums.crc64nvme = checksums.crc64nvme
  if (checksums.crc32 !== undefined) sums.crc32 = checksums.crc32
  const facts: HeadFacts & { sums: ContentSums } = { sums }
  if (contentType !== undefined) facts.contentType = contentType
  if (cacheControl !== undefined) facts.cacheControl = cacheControl
  const [declared] = /^[0-9a-f]{64}$/.exec(metadata['sha256'] ?? '') ?? []
  if (declared !== undefined) facts.declaredSha256 = declared
  const trackId = metadata['track-id']
  if (trackId !== undefined) facts.trackId = trackId
  const { library } = metadata
  if (library !== undefined) facts.library = library
  if (archive !== undefined) facts.archive = archive
  return facts
}
