/** What the checks of `autodj doctor` share and learn from each other. */
import { randomBytes, randomUUID } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Prober } from '../cdn/probe.ts'
import type { UrlSigner } from '../cdn/sign.ts'
import type { Config } from '../config.ts'
import { directUrl } from '../core/cdn-url.ts'
import { encodeCrc32 } from '../core/crc32.ts'
import type { Database } from '../db/database.ts'
import type { AwsIdentitySource } from '../storage/identity.ts'
import { isObjectLocked } from '../storage/s3-errors.ts'
import type { ObjectStore } from '../storage/store.ts'

export interface DoctorResources {
  config: Config
  prober: Prober
  /** opens the store; nothing is sent before its first method. @param onLack told once of each thing that it turns out to lack */
  openStore(onLack: (text: string) => void): ObjectStore
  /** the database, for reading only unless said otherwise */
  openDatabase(how?: { readOnly: boolean }): Promise<Database>
  /** resolves what the SDK would use; throws when it finds none */
  resolveAws(): Promise<AwsIdentitySource>
  /** who the credentials belong to; `undefined` if the store is not AWS */
  identify: ((signal: AbortSignal) => Promise<{ arn: string; account: string }>) | undefined
  /** decodes a bundled piece of music; throws when that fails */
  decodeSample(signal: AbortSignal): Promise<{ decoder: string; seconds: number }>
  now: () => Date
}

type PutBodyOptions = Pick<Parameters<ObjectStore['put']>[2], 'ifNoneMatch' | 'signal'>

/** Bytes of the object that is put and removed again. */
export const probeSize = 4_096

export class DoctorState {
  readonly resources: DoctorResources
  region: string | undefined
  signer: UrlSigner | undefined
  database: Database | undefined
  readonly probe: { key: string; body: Buffer; put: { versionId?: string; etag: string } | undefined }
  /** what the store turned out to lack */
  readonly lacks: string[] = []
  /** the store told the checksum of what was put */
  confirmed = false
  /** Object Lock holds what was put */
  held = false
  #store: ObjectStore | undefined

  constructor(resources: DoctorResources) {
    const { s3 } = resources.config
    this.resources = resources
    this.region = s3.region
    this.probe = {
      key: `${s3.keyPrefix}.autodj-doctor/${randomUUID()}`,
      body: randomBytes(probeSize),
      put: undefined,
    }
  }

  opened(): ObjectStore {
    this.#store ??= this.resources.openStore(text => this.lacks.push(text))
    return this.#store
  }

  /** Where the bucket is, as its URLs need it. */
  place() {
    const { bucket = '', endpoint, addressing } = this.resources.config.s3
    return { bucket, region: this.region, endpoint, addressing }
  }

  /** The URL of an object past the CDN. */
  direct(key: string): string {
    return directUrl(this.place(), key)
  }

  /** Puts the probe's bytes at a key, with their checksum. */
  putBody(
    key: string,
    { cacheControl, ...options }: PutBodyOptions & { cacheControl?: string },
  ): ReturnType<ObjectStore['put']> {
    return this.opened().put(key, this.probe.body, {
      headers: { contentType: 'audio/mpeg', ...(cacheControl !== undefined && { cacheControl }) },
      checksums: { crc32: encodeCrc32(crc32(this.probe.body)) },
      ...options,
    })
  }

  /** Every version of them: nothing of the checks stays but what Object Lock holds, and that is hidden. */
  async deleteAll(keys: readonly string[], signal: AbortSignal): Promise<void> {
    const versioned = (await this.opened().versioning(signal)) !== 'Off'
    const targets: { key: string; versionId?: string }[] = versioned ? [] : keys.map(key => ({ key }))
    for (const key of versioned ? keys : []) {
      for await (const page of this.opened().listVersions({ prefix: key, signal }))
        targets.push(...page.map(({ key: found, versionId }) => ({ key: found, versionId })))
    }
    await this.#deleteOrHide(targets, signal)
  }

  /** A version that Object Lock holds gets a delete marker instead, as an object has that autodj removes. */
  async #deleteOrHide(
    targets: readonly { key: string; versionId?: string }[],
    signal?: AbortSignal,
  ): Promise<void> {
    const outcomes = await this.opened().delete(targets, signal)
    const locked = targets.filter((_, index) => isObjectLocked(outcomes[index]?.error))
    const failed = outcomes.find(({ error }) => error !== undefined && !isObjectLocked(error))
    if (failed?.error !== undefined) throw failed.error
    if (locked.length === 0) return
    this.held = true
    const keys = [...new Set(locked.map(({ key }) => key))]
    const hidden = await this.opened().delete(
      keys.map(key => ({ key })),
      signal,
    )
    const visible = hidden.find(({ error }) => error !== undefined)
    if (visible?.error !== undefined) throw visible.error
  }

  async deleteProbe(signal?: AbortSignal): Promise<void> {
    if (this.probe.put === undefined) return
    await this.#deleteOrHide([{ key: this.probe.key, versionId: this.probe.put.versionId }], signal)
    this.probe.put = undefined
  }
}
