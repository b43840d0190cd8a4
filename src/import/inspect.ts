/** Reads a file once: what it is by its bytes, and its checksums. */

import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { type FileIdentity, LocalFileError, openSource } from '../audio-files/source.ts'
import { plainFolder } from '../core/audio-path.ts'
import { readSound } from '../core/containers/read.ts'
import { locateAudio } from '../core/content-type.ts'
import { encodeCrc32 } from '../core/crc32.ts'
import type { ErrorCode } from '../error-codes.ts'

/** Bytes read at a time. */
const chunk = 1024 * 1024

/** Milliseconds for which a file that ends before its sound does may still be growing: longer, and it is damaged. */
const stillWritten = 10 * 60_000

/** What a file holds, and what it was like while it was read. */
interface InspectedFile extends FileIdentity {
  /** lower-case hex */
  readonly sha256: string
  /** base64 of the four big-endian bytes, as S3 spells it */
  readonly crc32: string
  /** when its reading began */
  readonly hashedAt: Date
}

type Inspection =
  | { readonly kind: 'audio'; readonly file: InspectedFile }
  | { readonly kind: 'not-audio'; readonly reason: string }
  | { readonly kind: 'growing'; readonly reason: string }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly reason: string; readonly cure: string }

/** Reads files one after the other through one buffer of its own; as many inspectors, as many files at a time. */
export class Inspector {
  readonly #root: string
  readonly #realRoot: string
  readonly #buffer = Buffer.allocUnsafeSlow(chunk)

  readonly #now: () => number

  /**
   * @param realRoot the audio folder with its own links resolved
   * @param now milliseconds since 1970
   */
  constructor(root: string, realRoot: string, now: () => number = Date.now) {
    this.#root = root
    this.#realRoot = realRoot
    this.#now = now
  }

  /**
   * Looks at the first bytes, and reads on to the end only if they are sound. A file that changes in the meantime gets one
   * fresh try.
   *
   * @param path relative to the root
   * @throws the signal's reason; everything else is in the answer
   */
  async inspect(path: string, signal?: AbortSignal): Promise<Inspection> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#read(path, signal)
      } catch (error) {
        if (!(error instanceof LocalFileError)) throw error
        if (error.problem === 'empty') return { kind: 'not-audio', reason: 'the file is empty' }
        if (error.problem === 'changed' && attempt === 1) continue
        return { kind: 'failed', code: error.code, reason: error.message, cure: error.cure }
      }
    }
  }

  async #read(path: string, signal: AbortSignal | undefined): Promise<Inspection> {
    const hashedAt = new Date(this.#now())
    const source = await openSource(path, plainFolder(this.#root), this.#realRoot)
    try {
      const { size, mtimeNs, ctimeNs, inode, device } = source
      const read = async (offset: number, length: number): Promise<Buffer> => {
        const bytes = this.#buffer.subarray(0, Math.max(0, Math.min(length, chunk, size - offset)))
        await source.read(bytes, offset)
        return bytes
      }
      const location = await locateAudio({ size, read })
      if (!location) return { kind: 'not-audio', reason: 'not a recognised audio format' }
      const age = this.#now() - Number(mtimeNs / 1_000_000n)
      if (age >= 0 && age < stillWritten) {
        const { cut, unusable } = await readSound({ size, read }, location)
        const missing = cut ?? unusable
        if (missing !== undefined)
          return {
            kind: 'growing',
            reason: `possibly still being written: it changed ${Math.round(age / 1000)} s ago, and ${missing}`,
          }
      }
      const sha256 = createHash('sha256')
      let crc = 0
      for (let position = 0; position < size; position += chunk) {
        signal?.throwIfAborted()
        const bytes = await read(position, chunk)
        sha256.update(bytes)
        crc = crc32(bytes, crc)
      }
      await source.assertUnchanged()
      return {
        kind: 'audio',
        file: {
          ...{ size, mtimeNs, ctimeNs, inode, device },
          ...{ sha256: sha256.digest('hex'), crc32: encodeCrc32(crc), hashedAt },
        },
      }
    } finally {
      await source.close()
    }
  }
}
