import type { Prober } from '../cdn/probe.ts'
import type { UrlSigner } from '../cdn/sign.ts'
import type { CdnProvider } from '../core/cdn-provider.ts'
import type { CdnDomain } from '../core/cdn-url.ts'
import type { Finding } from '../core/diagnosis/causes.ts'
import type { ObjectStore } from '../storage/store.ts'
import type { Throttle } from '../throttle.ts'
/** A track that should be served, and what is known of its object. */
export interface VerifyTrack {
  id: string
  /** null: the row says S3 and has no key */
  key: string | null
  /** bytes */
  size: number | null
  etag: string | null
  /** lower-case hex */
  sha256: string | null
}

/** What more than status and headers was compared, by the flag that asks for it. */
export type Check = 'bytes' | 'full' | 'direct'

export interface TrackResult {
  track: VerifyTrack
  served: boolean
  /** compared, and as it should be */
  checked?: readonly Check[]
  /** at most one failure, first; then warnings */
  findings: readonly Finding[]
  /** where its CDN answered, such as `FRA56-P2` */
  edge?: string
  /** who answered, if something did; `none`: nothing says that it was a CDN */
  provider?: CdnProvider | 'none'
  cacheHit?: boolean
  /** to the first byte, ms */
  latencyMs?: number
  /** bytes, as the CDN says; where it served */
  size?: number
}

export interface VerifyOptions {
  tracks: AsyncIterable<VerifyTrack>
  prober: Prober
  domain: CdnDomain
  signer?: UrlSigner
  /** how long a signed URL is good for, ms */
  signedForMs?: number
  /** asked what it has if a probe failed; without it some failures have a vaguer name */
  store?: ObjectStore
  /** passed by what is downloaded to be compared */
  throttle?: Pick<Throttle, 'pass'>
  /** which CDN is expected to answer; undefined: any */
  provider?: CdnProvider
  /** sent as `Origin`, so that no cache is filled with answers that pages may not read */
  origin?: string
  /** what an answer that pages of `origin` may not read is; default: a failure */
  cors?: 'failure' | 'warning' | 'ignored'
  /** compare this many bytes at a random offset with S3 */
  bytes?: number
  /** compare the checksum of the whole object */
  full?: boolean
  /** URL of the object past the CDN; it must not be served there without credentials */
  directUrl?: (key: string) => string
  concurrency: number
  /** writes a batch of results to the ledger */
  record(results: readonly TrackResult[]): Promise<void>
  onResult?(result: TrackResult): void
  now: () => Date
  /** 0 up to 1 */
  random: () => number
  /** no new track; those in flight are left alone after `stopGraceMs`: nothing is half done by that */
  stopping: AbortSignal
  /** default 10 s */
  stopGraceMs?: number
  /** abandon everything */
  signal: AbortSignal
  /** pauses before the second and third try of what may pass by itself, ms */
  retryPausesMs?: readonly number[]
}
