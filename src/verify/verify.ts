/**
 * Asks for every track through the CDN and says of each what came back. Reads tracks as they come, writes results in
 * batches, keeps nothing of what is done: memory does not grow with the number of tracks.
 */

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { edgeOf, isCacheHit, providerOf } from '../core/cdn-provider.ts'
import { cdnUrl, mistakenKeys } from '../core/cdn-url.ts'
import { type Finding, finding, isTransient } from '../core/diagnosis/causes.ts'
import { diagnose, needsPastCache, needsS3 } from '../core/diagnosis/diagnose.ts'
import {
  contentRange,
  type HttpAnswer,
  type ProbeObservation,
  type S3Answer,
} from '../core/diagnosis/observation.ts'
import { worded } from '../core/diagnosis/other-cdns.ts'
import { toError } from '../errors.ts'
import type { ObjectStore } from '../storage/store.ts'
import { checkContent } from './content.ts'
import { Tally, type VerifySummary } from './tally.ts'
import type { Check, TrackResult, VerifyOptions, VerifyTrack } from './track-result.ts'

interface Range {
  start: number
  end: number
}

const batchSize = 500

/**
 * Verifies all tracks. One track's failure is a value; what `record` or `tracks` throws ends it.
 * @returns the summary, also when told to stop early
 */
export async function verify(options: VerifyOptions): Promise<VerifySummary> {
  const { stopping, stopGraceMs = 10_000, signal, concurrency, record, onResult } = options
  const leaving = new AbortController()
  let leavingTimer: NodeJS.Timeout | undefined
  const stopSoon = () => {
    leavingTimer = setTimeout(() => leaving.abort(new Error('stopped')), stopGraceMs)
  }
  if (stopping.aborted) stopSoon()
  else stopping.addEventListener('abort', stopSoon)
  const inFlight = AbortSignal.any([leaving.signal, signal])
  const iterator = options.tracks[Symbol.asyncIterator]()
  const tally = new Tally()
  const gate = new Gate(inFlight)
  const pastCache = new PastCache()
  let batch: TrackResult[] = []
  let recording: Promise<void> = Promise.resolve()
  let failure: { error: unknown } | undefined

  async function work(): Promise<void> {
    while (failure === undefined && !stopping.aborted && !signal.aborted) {
      const next = await iterator.next()
      if (next.done) return
      const result = await verifyTrack(next.value, { ...options, signal: inFlight }, gate, pastCache).catch(
        (error: unknown) => {
          if (leaving.signal.aborted && !signal.aborted) return undefined
          throw error
        },
      )
      if (result === undefined) return
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
  stopping.removeEventListener('abort', stopSoon)
  clearTimeout(leavingTimer)
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
  signal.throwIfAborted()
  return tally.summary()
}

async function verifyTrack(
  track: VerifyTrack,
  options: VerifyOptions,
  gate: Gate,
  pastCache: PastCache,
): Promise<TrackResult> {
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
  const ask = async (range: Range, { hash, isWhole }: { hash?: boolean; isWhole?: boolean } = {}) => {
    const length = range.end - range.start + 1
    // Before the URL is signed: it is not good for ever.
    if (hash) await options.throttle?.pass(length, options.signal)
    const requested = signedUrl(url, options)
    const result = await prober.request({
      url: requested,
      ...(isWhole ? { maxBytes: length } : { range }),
      origin: options.origin,
      hash,
      signal: options.signal,
    })
    const observation: ProbeObservation = {
      key,
      url: requested,
      range,
      provider: options.provider,
      origin: options.origin,
      cors: options.cors,
      signed: options.signer !== undefined,
      expectedSize: track.size ?? undefined,
      expectedEtag: track.etag ?? undefined,
      ...result,
    }
    return { result, observation, findings: diagnose(observation) }
  }
  const persist = async <T>(attempt: () => Promise<T>, mayPass: (result: T) => boolean): Promise<T> => {
    await gate.open()
    let result = await attempt()
    for (const pause of retryPausesMs) {
      if (!mayPass(result)) break
      await sleep(pause, undefined, { signal: options.signal })
      await gate.open()
      result = await attempt()
    }
    return result
  }
  const askUntilSure = (...request: Parameters<typeof ask>) => {
    const pauses = [...retryPausesMs]
    return persist(
      () => ask(...request),
      ({ findings }) => {
        const pause = pauses.shift() ?? 0
        const cause = failureOf(findings)?.cause
        if (cause === 'cdn-throttled' || cause === 'origin-throttled') gate.close(pause)
        return cause !== undefined && isTransient(cause)
      },
    )
  }

  const seen = await askUntilSure({ start: 0, end: 0 })
  let findings = await explain(seen, options, pastCache)
  let checked: readonly Check[] = []
  const answered = 'answer' in seen.result ? seen.result : undefined
  const size = answered && contentRange(answered.answer.headers['content-range'])?.total

  if (failureOf(findings) === undefined) {
    const more = await checkContent(
      {
        track,
        key,
        size,
        async ask(range, isWhole) {
          const again = await askUntilSure(range, { hash: true, isWhole })
          return { result: again.result, findings: await explain(again, options, pastCache) }
        },
        persist,
      },
      options,
    )
    const seenProvider = answered && providerOf(answered.answer.headers, options.provider)
    const provider = seenProvider ?? options.provider ?? 'other'
    findings = [...more.findings.map(found => worded(found, provider)), ...findings]
    checked = more.checked
  }
  return {
    track,
    served: failureOf(findings) === undefined,
    checked,
    findings,
    ...(answered === undefined
      ? {}
      : {
          edge: edgeOf(answered.answer.headers),
          provider: providerOf(answered.answer.headers, options.provider) ?? 'none',
          cacheHit: isCacheHit(answered.answer.headers),
          latencyMs: answered.latencyMs,
        }),
    size,
  }
}

/** Asks S3, or past the cache, where their word could give the finding a better name. */
async function explain(
  { observation, findings }: { observation: ProbeObservation; findings: Finding[] },
  options: VerifyOptions,
  pastCache: PastCache,
): Promise<Finding[]> {
  const { store, signal } = options
  if (findings.some(needsPastCache) && observation.answer !== undefined && isHit(observation.answer)) {
    const fresh = await pastCache.ask(observation, options)
    if (fresh !== undefined) {
      const allowedOrigin = fresh.headers['access-control-allow-origin']
      return diagnose({ ...observation, pastCache: { allowedOrigin } })
    }
  }
  const failure = failureOf(findings)
  if (store === undefined || failure === undefined || !needsS3(failure)) return findings
  return diagnose({ ...observation, s3: await askS3(store, observation.key, signal) })
}

async function askS3(store: ObjectStore, key: string, signal: AbortSignal): Promise<S3Answer> {
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
    signal.throwIfAborted()
    return { state: 'unknown', reason: toError(error).message }
  }
}

function signedUrl(url: string, { signer, now, signedForMs = 600_000 }: VerifyOptions): string {
  return signer === undefined ? url : signer.sign(url, new Date(now().getTime() + signedForMs))
}

function failureOf(findings: readonly Finding[]): Finding | undefined {
  return findings[0]?.severity === 'failure' ? findings[0] : undefined
}

const isHit = ({ headers }: HttpAnswer) => isCacheHit(headers)

/**
 * An answer that did not come out of the CDN's cache, had once a run: the query makes another entry of it wherever
 * queries count (Cloudflare, Fastly, nginx as they come). CloudFront with a signed URL is not asked: what is added to it
 * after it is signed would be refused.
 */
class PastCache {
  #asked: Promise<HttpAnswer | undefined> | undefined

  ask(
    { url, range, signed }: ProbeObservation,
    { prober, origin, signal }: VerifyOptions,
  ): Promise<HttpAnswer | undefined> {
    if (signed) return Promise.resolve(undefined)
    this.#asked ??= prober
      .request({ url: `${url}?autodj-verify=${randomUUID()}`, range, origin, signal })
      .then(result => {
        if ('error' in result || isHit(result.answer)) return undefined
        return result.answer.status === 200 || result.answer.status === 206 ? result.answer : undefined
      })
    return this.#asked
  }
}

/** Holds everyone back for a while when the CDN asks to slow down. */
class Gate {
  readonly #signal: AbortSignal
  #until = 0

  constructor(signal: AbortSignal) {
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
