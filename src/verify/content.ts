/** `--bytes`, `--full` and `--direct`: more questions about a track that is served. */
import { createHash } from 'node:crypto'
import type { ProbeResult } from '../cdn/probe.ts'
import { type Finding, finding } from '../core/diagnosis/causes.ts'
import { diagnose, diagnoseContent, diagnoseDirect } from '../core/diagnosis/diagnose.ts'
import { toError } from '../errors.ts'
import type { ObjectStore } from '../storage/store.ts'
import type { VerifyOptions, VerifyTrack } from './track-result.ts'

interface Range {
  start: number
  end: number
}

export interface ServedTrack {
  track: VerifyTrack
  key: string
  /** bytes, as the CDN says */
  size: number
  /** signed anew at each call, where URLs are */
  url(): string
  /** what is wrong with another range of it */
  probe(range: Range): Promise<Finding[]>
}

/** The first thing that is wrong, of what the options ask for; empty when nothing is. */
export async function checkContent(served: ServedTrack, options: VerifyOptions): Promise<Finding[]> {
  for (const check of [compareRange, compareWhole, checkDirect]) {
    const findings = await check(served, options)
    if (findings.length > 0) return findings
  }
  return []
}

async function compareRange(
  { key, size, url, probe }: ServedTrack,
  options: VerifyOptions,
): Promise<Finding[]> {
  const { prober, store, bytes, random, signal } = options
  if (bytes === undefined || store === undefined || size === 0) return []
  const length = Math.min(bytes, size)
  const start = Math.floor(random() * (size - length + 1))
  const range = { start, end: start + length - 1 }
  const through = await prober.request({ url: url(), range, hash: true })
  if ('error' in through || through.answer.status !== 206 || through.answer.length !== length) {
    const failures = (await probe(range)).filter(({ severity }) => severity === 'failure')
    if (failures.length > 0) return failures
    return [finding('range-wrong', [`asked for bytes=${start}-${range.end}`, describe(through)])]
  }
  const inS3 = await hashInS3(store, key, range, signal)
  return typeof inS3 === 'string'
    ? diagnoseContent(`SHA-256 of bytes ${start}-${range.end}`, through.sha256!, inS3)
    : [inS3]
}

async function compareWhole(
  { track, key, size, url }: ServedTrack,
  options: VerifyOptions,
): Promise<Finding[]> {
  const { prober, store, full, signer, signal } = options
  if (!full) return []
  const requested = url()
  const through = await prober.request({ url: requested, hash: true })
  if ('error' in through || through.answer.status !== 200) {
    // A second answer may come from a second edge: it is named as the first would be.
    const [named] = diagnose({
      key,
      url: requested,
      range: { start: 0, end: Math.max(0, size - 1) },
      signed: signer !== undefined,
      ...through,
    })
    return [named ?? finding('unexplained', ['the whole object was asked for', describe(through)])]
  }
  const expected =
    track.sha256 ?? (store === undefined ? undefined : await hashInS3(store, key, undefined, signal))
  if (expected === undefined) return []
  return typeof expected === 'string'
    ? diagnoseContent('SHA-256 of the whole object', through.sha256!, expected)
    : [expected]
}

async function checkDirect({ key }: ServedTrack, { prober, directUrl }: VerifyOptions): Promise<Finding[]> {
  if (directUrl === undefined) return []
  const direct = directUrl(key)
  const result = await prober.request({ url: direct, range: { start: 0, end: 0 } })
  return 'answer' in result ? diagnoseDirect(direct, result.answer) : []
}

/** SHA-256 in hex of what S3 has, or why it could not be had. */
async function hashInS3(
  store: ObjectStore,
  key: string,
  range: Range | undefined,
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
