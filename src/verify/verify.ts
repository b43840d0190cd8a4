/**
 * Asks for every track through the CDN and says of each what came back. Reads tracks as they come, writes results in
 * batches, keeps nothing of what is done: memory does not grow with the number of tracks.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProbeResult, Prober } from '../cdn/probe.ts'
import type { UrlSigner } from '../cdn/sign.ts'
import { type Cause, type Finding, finding, isTransient } from '../core/causes.ts'
import { type CdnDomain, cdnUrl, mistakenKeys } from '../core/cdn-url.ts'
import {
  diagnose,
  diagnoseContent,
  diagnoseDirect,
  edgeOf,
  isCacheHit,
  needsS3,
  type ProbeObservation,
  type S3Answer,
} from '../core/diagnosis.ts'
import { LatencyHistogram } from '../core/latency.ts'
import { toError } from '../errors.ts'
import type { ObjectStore } from '../storage/store.ts'

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

export interface TrackResult {
  track: VerifyTrack
  served: boolean
  /** at most one failure, first; then warnings */
  findings: readonly Finding[]
  /** CloudFront location, such as `FRA56-P2` */
  edge?: string
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
  /** asked what it has where a probe failed; without it some failures have a vaguer name */
  store?: ObjectStore
  /** sent as `Origin`; CORS is checked */
  origin?: string
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
  /** no new track */
  stopping?: AbortSignal
  /** abandon everything */
  signal?: AbortSignal
  /** pauses before the second and third try of what may pass by itself, ms */
  retryPausesMs?: readonly number[]
}

/** Failures or warnings of one cause. */
export interface CauseCount {
  cause: Cause
  title: string
  cure: string
  count: number
  /** the first keys */
  examples: readonly string[]
}

export interface VerifySummary {
  tracks: number
  served: number
  failed: number
  /** share of served tracks that the edge had already, 0 to 1; undefined when none was served */
  hitRatio: number | undefined
  /** ms to the first byte */
  p50: number | undefined
  p95: number | undefined
  /** most frequent first */
  failures: readonly CauseCount[]
  warnings: readonly CauseCount[]
}

const batchSize = 500
const examplesKept = 3

/**
 * Verifies all tracks. One track's failure is a value; what `record` or `tracks` throws ends it.
 * @returns the summary, also when told to stop early
 */
export async function verify(options: VerifyOptions): Promise<VerifySummary> {
  const { stopping, signal, concurrency, record, onResult } = options
  const iterator = options.tracks[Symbol.asyncIterator]()
  const tally = new Tally()
  const gate = new Gate(signal)
  let batch: TrackResult[] = []
  let recording: Promise<void> = Promise.resolve()
  let failure: { error: unknown } | undefined

  async function work(): Promise<void> {
    while (failure === undefined && !stopping?.aborted && !signal?.aborted) {
      const next = await iterator.next()
      if (next.done) return
      const result = await verifyTrack(next.value, options, gate)
      tally.add(result)
      onResult?.(result)
      batch.push(result)
      if (batch.length >= batchSize) {
        const full = batch
        batch = []
        // The wait is for everyone's writes before: a database slower than the CDN must slow the probes down.
        recording = recording.then(() => record(full))
        await recording
      }
    }
  }

  const workers = Array.from({ length: concurrency }, () =>
    work().catch((error: unknown) => {
      failure ??= { error }
    }),
  )
  await Promise.all(workers)
  await iterator.return?.()
  // What was proved is kept, also when the run ends badly.
  await recording.catch(() => {})
  if (batch.length > 0) {
    try {
      await record(batch)
    } catch (error) {
      failure ??= { error }
    }
  }
  if (failure !== undefined) throw failure.error
  signal?.throwIfAborted()
  return tally.summary()
}

async function verifyTrack(track: VerifyTrack, options: VerifyOptions, gate: Gate): Promise<TrackResult> {
  const { key } = track
  if (key === null) {
    return { track, served: false, findings: [finding('row-without-key', [`track ${track.id}`])] }
  }
  const { prober, domain, retryPausesMs = [250, 1_000] } = options
  let url: string
  try {
    url = cdnUrl(domain, key)
  } catch (error) {
    return { track, served: false, findings: [finding('key-unaddressable', [toError(error).message])] }
  }
  const probe = async (range: { start: number; end: number }) => {
    const requested = signedUrl(url, options)
    const result = await prober.request({ url: requested, range, origin: options.origin })
    const observation: ProbeObservation = {
      key,
      url: requested,
      range,
      origin: options.origin,
      signed: options.signer !== undefined,
      expectedSize: track.size ?? undefined,
      expectedEtag: track.etag ?? undefined,
      ...result,
    }
    return { result, observation, findings: diagnose(observation) }
  }

  await gate.open()
  let seen = await probe({ start: 0, end: 0 })
  for (const pause of retryPausesMs) {
    const cause = failureOf(seen.findings)?.cause
    if (cause === undefined || !isTransient(cause)) break
    if (cause === 'cdn-throttled' || cause === 'origin-throttled') gate.close(pause)
    await sleep(pause, undefined, { signal: options.signal })
    await gate.open()
    seen = await probe({ start: 0, end: 0 })
  }
  let findings = await explain(seen, options)
  const answered = 'answer' in seen.result ? seen.result : undefined
  const size = answered === undefined ? undefined : sizeServed(answered.answer.headers['content-range'])

  if (failureOf(findings) === undefined) {
    const more = await checkContent(track, key, url, size ?? 0, options, async range => {
      const again = await probe(range)
      return explain(again, options)
    })
    findings = [...more, ...findings]
  }
  return {
    track,
    served: failureOf(findings) === undefined,
    findings,
    ...(answered === undefined
      ? {}
      : {
          edge: edgeOf(answered.answer.headers),
          cacheHit: isCacheHit(answered.answer.headers),
          latencyMs: answered.latencyMs,
        }),
    size,
  }
}

/** Asks S3 where its word could give the failure a better name. */
async function explain(
  { observation, findings }: { observation: ProbeObservation; findings: Finding[] },
  { store, signal }: VerifyOptions,
): Promise<Finding[]> {
  const failure = failureOf(findings)
  if (store === undefined || failure === undefined || !needsS3(failure)) return findings
  return diagnose({ ...observation, s3: await askS3(store, observation.key, signal) })
}

async function askS3(store: ObjectStore, key: string, signal: AbortSignal | undefined): Promise<S3Answer> {
  try {
    const head = await store.head(key, { signal })
    if (head !== undefined) {
      const { size, etag, lastModified, contentEncoding, encryption } = head
      return { state: 'present', size, etag, lastModified, contentEncoding, encryption }
    }
    for (const candidate of mistakenKeys(key)) {
      if ((await store.head(candidate.key, { signal })) !== undefined) {
        return { state: 'absent', foundAs: candidate.key }
      }
    }
    return { state: 'absent' }
  } catch (error) {
    signal?.throwIfAborted()
    return { state: 'unknown', reason: toError(error).message }
  }
}

/** `--bytes`, `--full` and `--direct`, for a track that is served. */
async function checkContent(
  track: VerifyTrack,
  key: string,
  url: string,
  size: number,
  options: VerifyOptions,
  probeRange: (range: { start: number; end: number }) => Promise<Finding[]>,
): Promise<Finding[]> {
  const { prober, store, bytes, full, directUrl, signal } = options
  if (bytes !== undefined && store !== undefined && size > 0) {
    const length = Math.min(bytes, size)
    const start = Math.floor(options.random() * (size - length + 1))
    const range = { start, end: start + length - 1 }
    const through = await prober.request({ url: signedUrl(url, options), range, hash: true })
    if ('error' in through || through.answer.status !== 206 || through.answer.length !== length) {
      const findings = (await probeRange(range)).filter(({ severity }) => severity === 'failure')
      if (findings.length > 0) return findings
      return [finding('range-wrong', [`asked for bytes=${start}-${range.end}`, describe(through)])]
    }
    const inS3 = await hashInS3(store, key, range, signal)
    const findings =
      typeof inS3 === 'string'
        ? diagnoseContent(`SHA-256 of bytes ${start}-${range.end}`, through.sha256!, inS3)
        : [inS3]
    if (findings.length > 0) return findings
  }
  if (full) {
    const requested = signedUrl(url, options)
    const through = await prober.request({ url: requested, hash: true })
    if ('error' in through || through.answer.status !== 200) {
      // A second answer may come from a second edge: it is named as the first would be.
      const [named] = diagnose({
        key,
        url: requested,
        range: { start: 0, end: Math.max(0, size - 1) },
        signed: options.signer !== undefined,
        ...through,
      })
      return [named ?? finding('unexplained', ['the whole object was asked for', describe(through)])]
    }
    const expected =
      track.sha256 ?? (store === undefined ? undefined : await hashInS3(store, key, undefined, signal))
    const findings =
      expected === undefined
        ? []
        : typeof expected === 'string'
          ? diagnoseContent('SHA-256 of the whole object', through.sha256!, expected)
          : [expected]
    if (findings.length > 0) return findings
  }
  if (directUrl !== undefined) {
    const direct = directUrl(key)
    const result = await prober.request({ url: direct, range: { start: 0, end: 0 } })
    if ('answer' in result) return diagnoseDirect(direct, result.answer)
  }
  return []
}

async function hashInS3(
  store: ObjectStore,
  key: string,
  range: { start: number; end: number } | undefined,
  signal: AbortSignal | undefined,
): Promise<string | Finding> {
  try {
    const content = await store.get(key, { range, signal })
    if (content === undefined) return finding('object-missing', ['not in S3, but still served by the CDN'])
    const hash = createHash('sha256')
    for await (const chunk of content.body) hash.update(chunk)
    return hash.digest('hex')
  } catch (error) {
    signal?.throwIfAborted()
    return finding('not-compared', [`S3: ${toError(error).message}`])
  }
}

function describe(result: ProbeResult): string {
  return 'error' in result
    ? `${result.error.code}: ${result.error.message}`
    : `status ${result.answer.status}, ${result.answer.length} bytes`
}

function signedUrl(url: string, { signer, now, signedForMs = 600_000 }: VerifyOptions): string {
  return signer === undefined ? url : signer.sign(url, new Date(now().getTime() + signedForMs))
}

function failureOf(findings: readonly Finding[]): Finding | undefined {
  return findings[0]?.severity === 'failure' ? findings[0] : undefined
}

function sizeServed(contentRange: string | undefined): number | undefined {
  const total = /\/(\d+)$/.exec(contentRange ?? '')?.[1]
  return total === undefined ? undefined : Number(total)
}

/** Holds everyone back for a while when the CDN asks to slow down. */
class Gate {
  readonly #signal: AbortSignal | undefined
  #until = 0

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal
  }

  close(milliseconds: number): void {
    this.#until = Math.max(this.#until, performance.now() + milliseconds)
  }

  async open(): Promise<void> {
    for (let wait = this.#until - performance.now(); wait > 0; wait = this.#until - performance.now()) {
      await sleep(wait, undefined, { signal: this.#signal })
    }
  }
}

/** Counts, never lists: constant memory. */
class Tally {
  #tracks = 0
  #served = 0
  #hits = 0
  readonly #latency = new LatencyHistogram()
  readonly #causes = new Map<
    Cause,
    { severity: Finding['severity']; found: Finding; count: number; examples: string[] }
  >()

  add({ track, served, findings, cacheHit, latencyMs }: TrackResult): void {
    this.#tracks++
    if (served) {
      this.#served++
      if (cacheHit) this.#hits++
      if (latencyMs !== undefined) this.#latency.add(latencyMs)
    }
    for (const found of findings) {
      const entry = this.#causes.get(found.cause) ?? {
        severity: found.severity,
        found,
        count: 0,
        examples: [],
      }
      entry.count++
      if (entry.examples.length < examplesKept) entry.examples.push(track.key ?? track.id)
      this.#causes.set(found.cause, entry)
    }
  }

  summary(): VerifySummary {
    const counts = (severity: Finding['severity']): CauseCount[] =>
      [...this.#causes.values()]
        .filter(entry => entry.severity === severity)
        .sort((a, b) => b.count - a.count)
        .map(({ found, count, examples }) => ({
          cause: found.cause,
          title: found.title,
          cure: found.cure,
          count,
          examples,
        }))
    return {
      tracks: this.#tracks,
      served: this.#served,
      failed: this.#tracks - this.#served,
      hitRatio: this.#served === 0 ? undefined : this.#hits / this.#served,
      p50: this.#latency.quantile(0.5),
      p95: this.#latency.quantile(0.95),
      failures: counts('failure'),
      warnings: counts('warning'),
    }
  }
}
