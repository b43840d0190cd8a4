/**
 * Whether the object at a key is the file: by the checksum that the server computed, or, where it gives none, by
 * reading it back. Nothing is called uploaded before.
 */
import { createHash } from 'node:crypto'
import type { ContentHash } from '../audio-files/source.ts'
import { decodeCrc32, encodeCrc32 } from '../core/crc32.ts'
import { damagedKey } from '../core/prefixes.ts'
import type { Requests } from '../storage/requests.ts'
import { archiveCure } from '../storage/s3-errors.ts'
import {
  type DeleteRequest,
  type ObjectHead,
  type ObjectStore,
  type PutResult,
  StoreError,
} from '../storage/store.ts'

/** An object that is proved to be the file. */
export interface ProvedObject {
  key: string
  /** bytes */
  size: number
  /** hex */
  sha256: string
  /** base64 */
  crc32: string
  etag: string
  versionId?: string
  contentType: string
  /** by the checksum that the store computed, or by reading the object back */
  proof: 'store' | 'read-back'
}

/** What was sent is not what was stored, and what was stored is gone again: it can be sent once more. */
export class DamagedOnArrival extends StoreError {
  constructor(key: string) {
    super('bad-digest', `${key} arrived damaged and was removed again`, {
      cure: 'Run it again; if it happens again, look for a proxy that alters what it forwards.',
    })
  }
}

/** The key holds other bytes: they are left alone. */
export class KeyConflict extends Error {}

export class UploadVerifier {
  readonly #store: ObjectStore
  readonly #requests: Requests
  readonly #signal: AbortSignal
  /** objects proved, by how; bytes that came back for it */
  readonly statistics = { confirmed: 0, readBack: 0, bytesReadBack: 0 }

  constructor(store: ObjectStore, requests: Requests, signal: AbortSignal) {
    this.#store = store
    this.#requests = requests
    this.#signal = signal
  }

  /**
   * The server's own checksum of what it stored. Servers that give none are made to read it back.
   * @param result of the request that stored it
   * @throws DamagedOnArrival · StoreError
   */
  async confirm(
    key: string,
    content: ContentHash,
    contentType: string,
    size: number,
    result: PutResult,
  ): Promise<ProvedObject> {
    const stored = { key, size, etag: result.etag, versionId: result.versionId }
    if (result.checksums.crc32 !== undefined) {
      if (decodeCrc32(result.checksums.crc32) === content.crc32)
        return this.#proved(stored, content, contentType, 'store')
      return this.#removeDamaged(key, result)
    }
    const head = await this.#head(key)
    if (!head)
      throw new StoreError('unavailable', `${key} was stored but cannot be found`, { cure: 'Run it again.' })
    try {
      return this.#proved(stored, content, contentType, await this.#assertSame(head, content, size))
    } catch (error) {
      if (!(error instanceof KeyConflict)) throw error
      return this.#removeDamaged(key, { etag: head.etag, versionId: result.versionId })
    }
  }

  /** What has just been stored is not what was sent. */
  async #removeDamaged(
    key: string,
    { etag, versionId }: Pick<PutResult, 'etag' | 'versionId'>,
  ): Promise<never> {
    const failure = await this.#remove({ key, versionId, ifMatch: etag })
    if (failure === undefined) throw new DamagedOnArrival(key)
    throw new StoreError(
      'bad-digest',
      `${key} arrived damaged, and could not be removed again: ${failure.message}`,
      { cure: 'Delete it by hand, then run it again.' },
    )
  }

  /**
   * The key is taken: by the same bytes, then they are ours; or by others, then nothing is touched.
   * @param contentType of the file, for an object that has none
   * @throws KeyConflict · StoreError
   */
  async adopt(key: string, content: ContentHash, contentType: string, size: number): Promise<ProvedObject> {
    const head = await this.#head(key)
    if (!head)
      throw new StoreError('unavailable', `${key} was there but is gone again`, { cure: 'Run it again.' })
    try {
      const proof = await this.#assertSame(head, content, size)
      return this.#proved(head, content, head.contentType ?? contentType, proof)
    } catch (error) {
      // It says that it is this very file, and is not: an upload of ours that was damaged on its way.
      if (!(error instanceof KeyConflict) || head.metadata['sha256'] !== content.sha256) throw error
      return this.#setAside(head)
    }
  }

  /** Nothing is lost by it: a copy waits in quarantine as long as all that is removed. */
  async #setAside({ key, etag }: ObjectHead): Promise<never> {
    const aside = damagedKey(key)
    const signal = this.#signal
    try {
      await this.#store.copy(key, aside, { ifMatch: etag, ifNoneMatch: true, signal }).catch(whenTaken)
      const failure = await this.#remove({ key, ifMatch: etag })
      if (failure !== undefined) throw failure
    } catch (error) {
      if (!(error instanceof StoreError) || error.kind === 'aborted') throw error
      throw new StoreError(
        'bad-digest',
        `${key} is an upload of this file that was damaged in transit, and it could not be moved aside: ${error.message}`,
        { cure: 'Delete it by hand, then run it again.' },
      )
    }
    throw new DamagedOnArrival(key)
  }

  /** @returns why it is still there */
  async #remove(request: DeleteRequest): Promise<StoreError | undefined> {
    const ends = await this.#store.delete([request], this.#signal)
    return ends.find(({ error }) => error !== undefined)?.error
  }

  #head(key: string): Promise<ObjectHead | undefined> {
    return this.#requests.ask(() => this.#store.head(key, { signal: this.#signal }))
  }

  async #assertSame(head: ObjectHead, content: ContentHash, size: number): Promise<ProvedObject['proof']> {
    const differs = (what: string) => new KeyConflict(`${head.key} already exists with a different ${what}`)
    if (head.size !== size) throw differs(`size (${head.size} bytes, here ${size})`)
    // Two recordings may share size and CRC-32; whoever uploaded the object said which of them it is.
    const declared = head.metadata['sha256']
    if (declared !== undefined && declared.toLowerCase() !== content.sha256) throw differs('SHA-256')
    if (head.archive !== undefined) {
      throw new StoreError('archived', `${head.key} already exists, in an archive storage class`, {
        cure: archiveCure,
      })
    }
    if (head.checksums.sha256 !== undefined) {
      if (Buffer.from(head.checksums.sha256, 'base64').toString('hex') !== content.sha256)
        throw differs('checksum')
      return 'store'
    }
    if (head.checksums.crc32 !== undefined) {
      if (decodeCrc32(head.checksums.crc32) !== content.crc32) throw differs('checksum')
      if (declared !== undefined) return 'store'
    }
    // Too little is known of it: only the bytes themselves prove anything.
    const read = await this.#requests.ask(() => this.#readBack(head))
    this.statistics.bytesReadBack += size
    if (read !== content.sha256) throw differs('content')
    return 'read-back'
  }

  #proved(
    { key, size, etag, versionId }: Pick<ObjectHead, 'key' | 'size' | 'etag' | 'versionId'>,
    { sha256, crc32: sum }: ContentHash,
    contentType: string,
    proof: ProvedObject['proof'],
  ): ProvedObject {
    if (proof === 'store') this.statistics.confirmed++
    else this.statistics.readBack++
    return { key, size, etag, versionId, contentType, sha256, crc32: encodeCrc32(sum), proof }
  }

  /** SHA-256, hex; undefined if it is gone, or another one by now. */
  async #readBack({ key, etag }: ObjectHead): Promise<string | undefined> {
    const stored = await this.#store.get(key, { ifMatch: etag, signal: this.#signal })
    if (!stored) return undefined
    const hash = createHash('sha256')
    for await (const chunk of stored.body) hash.update(chunk)
    return hash.digest('hex')
  }
}

/**
 * For a write that was to happen only if the key is free. `exists`, also as the way in which our own request, whose
 * answer was lost, meets its own effect.
 * @throws the error, if it says anything else
 */
export function whenTaken(error: unknown): 'exists' {
  if (error instanceof StoreError && (error.kind === 'exists' || error.kind === 'no-upload')) return 'exists'
  throw error
}

/** A SHA-256 as S3 spells it. */
export function base64OfHex(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64')
}
