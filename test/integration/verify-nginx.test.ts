/**
 * 2,000 objects with hostile names behind nginx, a caching proxy that nobody wrote for this test. It cannot sign
 * requests to S3, so the embedded CDN signs for it, with its own cache off.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openProber, type Prober } from '../../src/cdn/probe.ts'
import { parseCdnDomain } from '../../src/core/cdn-url.ts'
import { type Cdn, startCdn } from '../../src/embedded/cdn.ts'
import { type S3Server, startS3Server } from '../../src/embedded/s3-server/server.ts'
import { createS3Store } from '../../src/storage/s3.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import type { TrackResult, VerifyOptions, VerifyTrack } from '../../src/verify/track-result.ts'
import { verify } from '../../src/verify/verify.ts'
import { hostileKeys } from '../support/hostile-keys.ts'
import { type Nginx, startNginx } from '../support/nginx.ts'
import { testNginx } from '../support/servers.ts'

const binary = testNginx()
const credentials = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' }
const region = 'us-east-1'

describe.skipIf(binary === undefined)('behind nginx', () => {
  const keys = hostileKeys(2_000)
  const tracks: VerifyTrack[] = []
  let folder: string
  let s3: S3Server
  let signing: Cdn
  let nginx: Nginx
  let store: ObjectStore
  let prober: Prober

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'autodj-nginx-s3-'))
    s3 = await startS3Server({ dir: folder, region, credentials: [credentials], buckets: ['music'] })
    signing = await startCdn({ origin: { url: s3.url, region, bucket: 'music', credentials }, cacheBytes: 0 })
    nginx = await startNginx(binary!, signing.url)
    store = createS3Store({ bucket: 'music', region, endpoint: s3.url, credentials })
    prober = openProber({ concurrency: 16 })
    for (const key of keys) {
      const body = Buffer.from(`${key} `.repeat(20))
      const { etag } = await store.put(key, body, {
        headers: { contentType: 'audio/mpeg', cacheControl: 'public, max-age=31536000, immutable' },
        checksums: {},
      })
      tracks.push({ id: key, key, size: body.length, etag, sha256: null })
    }
  })
  afterAll(async () => {
    prober?.close()
    store?.close()
    await nginx?.close()
    await signing?.close()
    await s3?.close()
    await rm(folder, { recursive: true, force: true })
  })

  async function run(chosen: readonly VerifyTrack[], more: Partial<VerifyOptions> = {}) {
    const results: TrackResult[] = []
    const summary = await verify({
      tracks: (async function* () {
        yield* chosen
      })(),
      prober,
      domain: parseCdnDomain(nginx.url),
      store,
      concurrency: 16,
      record: async () => {},
      onResult: result => void results.push(result),
      now: () => new Date(),
      random: Math.random,
      ...more,
    })
    return {
      summary,
      findings: results.flatMap(({ track, findings }) => findings.map(({ cause }) => [track.key, cause])),
    }
  }

  test('every one is verified, its bytes compared with S3, nothing invented', async () => {
    const { summary, findings } = await run(tracks, { bytes: 64 })
    expect(findings).toEqual([])
    expect(summary).toMatchObject({ tracks: 2_000, served: 2_000, failed: 0 })
    const again = await run(tracks)
    expect(again.summary).toMatchObject({ served: 2_000, hitRatio: 1 })
  })

  test('what is broken is found: gone, replaced behind the cache, spelt another way', async () => {
    const [gone, replaced] = [tracks[3]!, tracks[4]!]
    await store.delete([{ key: gone.key! }])
    const { etag } = await store.put(replaced.key!, Buffer.alloc(replaced.size!), {
      headers: { contentType: 'audio/mpeg' },
      checksums: {},
    })
    const respelt = tracks.findLast(({ key }) => key!.includes('Beyonc\u00e9'))!
    const wrong = { ...respelt, key: respelt.key!.normalize('NFD') }
    const { findings } = await run([tracks[5]!, { ...replaced, etag }, wrong, tracks[6]!])
    expect(findings).toEqual([
      [replaced.key, 'stale-object'],
      [wrong.key, 'key-normalisation'],
    ])
    // nginx still has the deleted one: served, and the bytes can be compared with nothing.
    expect((await run([gone], { bytes: 10 })).findings).toEqual([[gone.key, 'object-missing']])
  })
})
