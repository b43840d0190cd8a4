/** `--bytes`, `--full` and `--direct`: more questions about a track that is served. */
import { createHash } from 'node:crypto'
import type { ProbeResult } from '../cdn/probe.ts'
import { type Finding, finding } from '../core/diagnosis/causes.ts'
import { diagnoseContent, diagnoseDirect, refusesAnyone } from '../core/diagnosis/diagnose.ts'
import type { HttpAnswer } from '../core/diagnosis/observation.ts'
import { toError } from '../errors.ts'
import type { ObjectStore } from '../storage/store.ts'
import { steadily } from './steadily.ts'
import type { Check, VerifyOptions, VerifyTrack } from './track-result.ts'

interface Range {
  start: number
  end: number
}

interface ServedTrack {
  track: VerifyTrack
  key: string
  /** bytes, as the CDN says; undefined: it does not say */
  size: number | undefined
  /** asks through the CDN, for a range, or without one, with the SHA-256 of what comes; and what is wrong with that */
  ask(range: Range, isWhole: boolean): Promise<{ result: ProbeResult; findings: Finding[] }>
  /** does it again while it fails for what may pass by itself */
  persist<T>(attempt: () => Promise<T>, mayPass: (result: T) => boolean): Promise<T>
}

interface ContentResult {
  /** the first thing that is wrong; empty when nothing is */
  findings: readonly Finding[]
  /** what was compared, and is as it should be */
  checked: readonly Check[]
}

/** What the options ask for, up to the first thing that is wrong. */
export async function checkContent(served: ServedTrack, options: VerifyOptions): Promise<ContentResult> {
  const checked: Check[] = []
  const checks: readonly [Check, boolean, typeof compareRange][] = [
    ['bytes', options.bytes !== undefined, compareRange],
    ['full', options.full === true, compareWhole],
    ['direct', options.directUrl !== undefined, checkDirect],
  ]
  for (const [name, wanted, check] of checks) {
    if (!wanted) continue
    const findings = await check(served, options)
    if (findings.length > 0) return { findings, checked }
    checked.push(name)
  }
  return { findings: [], checked }
}

async function compareRange(served: ServedTrack, options: VerifyOptions): Promise<Finding[]> {
  const { store, bytes = 1, random } = options
  if (store === undefined) return [finding('not-compared', ['S3 is not configured'])]
  const size = await sizeOf(served, options)
  if (typeof size !== 'number') return [size]
  if (size === 0) return [finding('empty-object', ['0 bytes'])]
  const length = Math.min(bytes, size)
  const start = Math.floor(random() * (size - length + 1))
  const range = { start, end: start + length - 1 }
  const through = await hashThroughCdn(served, range)
  if (typeof through !== 'string') return [through]
  const inS3 = await hashInS3(served, store, range, options)
  return typeof inS3 === 'string'
    ? diagnoseContent(`SHA-256 of bytes ${start}-${range.end}`, through, inS3)
    : [inS3]
}

async function compareWhole(served: ServedTrack, options: VerifyOptions): Promise<Finding[]> {
  const { store } = options
  const size = await sizeOf(served, options)
  if (typeof size !== 'number') return [size]
  const through = await hashThroughCdn(served, { start: 0, end: size - 1 }, { isWhole: true })
  if (typeof through !== 'string') return [through]
  const expected =
    served.track.sha256 ??
    (store === undefined
      ? finding('not-compared', ['S3 is not configured, and the database has no checksum'])
      : await hashInS3(served, store, undefined, options))
  return typeof expected === 'string'
    ? diagnoseContent('SHA-256 of the whole object', through, expected)
    : [expected]
}

/** Bytes of the object: of the CDN, the database, or S3, whoever knows; or why nothing can be compared. */
async function sizeOf(
  { track, key, size, persist }: ServedTrack,
  { store, signal }: VerifyOptions,
): Promise<number | Finding> {
  const known = size ?? track.size
  if (known !== null) return known
  const asked = await persist<number | Finding>(
    async () => {
      try {
        const head = await store?.head(key, { signal })
        return head?.size ?? finding('not-compared', ['neither the CDN, the database nor S3 gives its size'])
      } catch (error) {
        signal.throwIfAborted()
        return finding('not-compared', [`S3: ${toError(error).message}`])
      }
    },
    result => typeof result !== 'number',
  )
  return asked
}

/** SHA-256 in hex of what the CDN serves of it, or why it does not. @param options `isWhole`: asked for without a range */
async function hashThroughCdn(
  { ask }: ServedTrack,
  range: Range,
  { isWhole = false }: { isWhole?: boolean } = {},
): Promise<string | Finding> {
  const { result, findings } = await ask(range, isWhole)
  // Asked for no range, it rightly answers with all of it.
  const failure = findings.find(
    ({ severity, cause }) => severity === 'failure' && !(isWhole && cause === 'range-ignored'),
  )
  if (failure !== undefined) return failure
  const isServed = 'answer' in result && result.answer.status === (isWhole ? 200 : 206)
  const requested = isWhole ? 'the whole object' : `bytes=${range.start}-${range.end}`
  return (
    (isServed ? result.sha256 : undefined) ??
    finding('unexplained', [`requested ${requested}`, describe(result)])
  )
}

async function checkDirect(
  { key, persist }: ServedTrack,
  { prober, directUrl, signal }: VerifyOptions,
): Promise<Finding[]> {
  const url = directUrl!(key)
  const result = await persist(
    () => prober.request({ url, range: { start: 0, end: 0 }, signal }),
    seen => 'error' in seen || mayPass(seen.answer),
  )
  if ('error' in result) return [finding('direct-unknown', [describe(result)])]
  const open = diagnoseDirect(url, result.answer)
  if (open.length > 0 || refusesAnyone(result.answer)) return open
  return [finding('direct-unknown', [`${describe(result)}: not a refusal by S3`])]
}

function mayPass({ status }: HttpAnswer): boolean {
  return status === 408 || status === 429 || status >= 500
}

/** SHA-256 in hex of what S3 has, or why it could not be had. */
async function hashInS3(
  { key, persist }: ServedTrack,
  store: ObjectStore,
  range: Range | undefined,
  { signal }: VerifyOptions,
): Promise<string | Finding> {
  return persist<string | Finding>(
    async () => {
      try {
        const content = await store.get(key, { range, signal })
        if (content === undefined) {
          return finding('object-missing', ['not in S3, but still served by the CDN'])
        }
        const hash = createHash('sha256')
        for await (const chunk of steadily(content.body, { signal })) hash.update(chunk)
        return hash.digest('hex')
      } catch (error) {
        signal.throwIfAborted()
        return finding('not-compared', [`S3: ${toError(error).message}`])
      }
    },
    result => typeof result !== 'string' && result.cause === 'not-compared',
  )
}

function describe(result: ProbeResult): string {
  return 'error' in result
    ? `${result.error.code}: ${result.error.message}`
    : `status ${result.answer.status}, ${result.answer.length} bytes`
}
