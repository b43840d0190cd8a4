/**
 * What a store lacks of S3, found out while it is used and told once. AWS keeps all of it; what is compatible with it
 * keeps much: conditions are ignored or refused (seen: s3rver, Ceph RGW 16, Google Cloud Storage), checksums of whole
 * multipart objects refused (Adobe S3Mock), deleting many at once not known (Google Cloud Storage), and so on. Whoever
 * sends a request asks here first, and does without if the store does.
 */
import { StoreError } from './store.ts'

/** Whether a condition is kept: `ignored` does it anyway, `refused` answers that it does not know the header. */
type Condition = 'kept' | 'ignored' | 'refused' | 'unknown'

/** Told in these words, once a run. */
const words = {
  'put-condition-ignored':
    'this store ignores If-None-Match: autodj looks before each upload, but two simultaneous uploads could overwrite each other',
  'put-condition-refused':
    'this store does not support If-None-Match: autodj looks before each upload, but two simultaneous uploads could overwrite each other',
  'delete-condition-ignored':
    'this store ignores If-Match when deleting: autodj looks right before each delete instead',
  'delete-condition-refused':
    'this store does not support If-Match when deleting: autodj looks right before each delete instead',
  'checksum-headers': 'this store refuses checksum headers: what is uploaded is read back and compared',
  'whole-checksum':
    'this store refuses the checksum of an object uploaded in parts: such objects are read back and compared',
  'batch-delete': 'this store cannot delete many objects in one request: they are deleted one by one',
  copy: 'this store cannot copy objects: they are copied through this machine',
  'part-listing':
    'this store cannot list the parts of an upload: a large file that was interrupted is uploaded again from the start, and its word is taken for it that an upload is gone',
  'upload-listing':
    'this store cannot list uploads in progress: abandoned ones are found only if autodj started them',
} as const

type Lack = keyof typeof words

export class Lacks {
  /** Whether `put` and `completeUpload` keep If-None-Match. */
  putCondition: Condition
  /** Whether `delete` keeps If-Match. */
  deleteCondition: Condition
  /** listings whose answers do not say that they are URL-encoded: they are asked for as they are */
  readonly plainListings = new Set<string>()
  readonly #found = new Set<Lack>()
  readonly #tell: (text: string) => void

  /**
   * @param trusted it is AWS: nothing needs finding out
   * @param tell called once for each lack, with a sentence
   */
  constructor(trusted: boolean, tell: (text: string) => void) {
    this.putCondition = trusted ? 'kept' : 'unknown'
    this.deleteCondition = trusted ? 'kept' : 'unknown'
    this.#tell = tell
  }

  has(lack: Lack): boolean {
    return this.#found.has(lack)
  }

  found(lack: Lack): void {
    if (this.#found.has(lack)) return
    this.#found.add(lack)
    this.#tell(words[lack])
  }
}

/**
 * Whether a request was refused because of a header, and not for what it asks: 501 (S3: "A header you provided implies
 * functionality that is not implemented"), or a 400 that names it (Backblaze B2: "Unsupported header 'if-none-match'").
 *
 * @param names of headers that can be left out, lower case; a part of a name will do
 */
export function refusesHeader(thrown: unknown, names: readonly string[]): boolean {
  if (!(thrown instanceof StoreError)) return false
  if (thrown.kind === 'unsupported') return true
  if (thrown.kind !== 'invalid' || thrown.status !== 400) return false
  const said = thrown.message.toLowerCase()
  const refused =
    /unsupported|not supported|not implemented|unknown|unrecogni[sz]ed|not allowed|unexpected/.test(said)
  return refused && names.some(name => said.includes(name))
}

/** Sends with a checksum header, or without if the store has refused it: it is proved by reading it back then. */
export async function withoutRefusedChecksum<T>(
  lacks: Lacks,
  header: Record<string, string>,
  send: (header: Record<string, string>) => Promise<T>,
): Promise<T> {
  if (lacks.has('checksum-headers')) return send({})
  try {
    return await send(header)
  } catch (thrown) {
    if (!refusesHeader(thrown, ['checksum'])) throw thrown
    const result = await send({})
    lacks.found('checksum-headers')
    return result
  }
}
