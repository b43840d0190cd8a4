/** The stand-in CDN in the clothes of others: what they serve rightly is right, and who they are is found out. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openProber } from '../../src/cdn/probe.ts'
import { parseCdnDomain } from '../../src/core/cdn-url.ts'
import type { TrackResult, VerifyTrack } from '../../src/verify/track-result.ts'
import { verify } from '../../src/verify/verify.ts'
import type { TestBucket } from '../contract/reconcile.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { embeddedBucket } from '../support/embedded-s3.ts'
import { dressedAs, type OtherCdn, otherCdnHeaders } from '../support/other-cdns.ts'
import { accessKey } from '../support/s3-server.ts'

const key = 'audio/AC+DC/T.N.T_1.mp3'
const size = 1_000
const track: VerifyTrack = { id: '1', key, size, etag: null, sha256: null }
let bucket: TestBucket
let cdn: Cdn

beforeAll(async () => {
  bucket = await embeddedBucket()
  await bucket.store.put(key, Buffer.alloc(size, 1), {
    headers: { contentType: 'audio/mpeg', cacheControl: 'public, max-age=31536000, immutable' },
    checksums: {},
  })
  const origin = {
    url: bucket.env['S3_ENDPOINT']!,
    region: 'us-east-1',
    bucket: 'music',
    credentials: { ...accessKey },
  }
  cdn = await startCdn({ origin })
})
afterAll(async () => {
  await cdn?.close()
  await bucket?.close()
})

test.each(Object.keys(otherCdnHeaders) as OtherCdn[])('%s', async provider => {
  cdn.clearRules()
  cdn.invalidate()
  cdn.addRule({ misbehave: { mangle: answer => dressedAs(provider, answer) } })
  const prober = openProber({ concurrency: 1, origin: 'https://autodj.example' })
  async function run() {
    const results: TrackResult[] = []
    const live = new AbortController().signal
    const summary = await verify({
      stopping: live,
      signal: live,
      tracks: (async function* () {
        yield track
      })(),
      prober,
      domain: parseCdnDomain(cdn.url),
      store: bucket.store,
      full: true,
      concurrency: 1,
      record: async () => {},
      onResult: result => void results.push(result),
      now: () => new Date(),
      random: Math.random,
    })
    return { summary, findings: results.flatMap(({ findings }) => findings) }
  }
  try {
    expect(await run()).toMatchObject({
      findings: [],
      summary: { served: 1, hitRatio: 0, providers: { [provider]: 1 } },
    })
    // Asked as pages ask, whoever asks.
    expect(cdn.requests.at(-1)).toMatchObject({ key, status: 200 })
    expect(await run()).toMatchObject({ findings: [], summary: { served: 1, hitRatio: 1 } })
  } finally {
    prober.close()
  }
})
