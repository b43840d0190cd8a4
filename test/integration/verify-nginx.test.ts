/**
 * 2,000 objects with hostile names behind nginx, a caching proxy that nobody wrote for this test. It cannot sign
 * requests to S3, so the embedded CDN signs for it, with its own cache off.
 */
import { PutBucketCorsCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openProber, type Prober } from '../../src/cdn/probe.ts'
import { cdnUrl, parseCdnDomain } from '../../src/core/cdn-url.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import type { TrackResult, VerifyOptions, VerifyTrack } from '../../src/verify/track-result.ts'
import { verify } from '../../src/verify/verify.ts'
import type { TestBucket } from '../contract/reconcile.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { cli } from '../support/cli.ts'
import { migrated, pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { hostileKeys } from '../support/hostile-keys.ts'
import { type Nginx, startNginx } from '../support/nginx.ts'
import { realBucket } from '../support/real-s3.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { testNginx, testS3 } from '../support/servers.ts'

const binary = testNginx()

describe.skipIf(binary === undefined)('behind nginx', () => {
  const keys = hostileKeys(2_000)
  const tracks: VerifyTrack[] = []
  let s3: TestServer
  let signing: Cdn
  let nginx: Nginx
  let store: ObjectStore
  let prober: Prober

  beforeAll(async () => {
    s3 = await testServer()
    signing = await startCdn({ origin: s3.origin, cacheBytes: 0 })
    nginx = await startNginx(binary!, signing.url)
    store = s3.open()
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
  })

  async function run(chosen: readonly VerifyTrack[], more: Partial<VerifyOptions> = {}) {
    const results: TrackResult[] = []
    const live = new AbortController().signal
    const summary = await verify({
      stopping: live,
      signal: live,
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
    expect(again.summary).toMatchObject({ served: 2_000, hitRatio: 1, providers: { nginx: 2_000 } })
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

const s3 = testS3()
const page = 'https://autodj.example'

describe.skipIf(binary === undefined || s3 === undefined)(
  'nginx before a real store, the command as its user runs it',
  () => {
    const keys = ['audio/AC+DC/T.N.T_1.mp3', 'audio/Beyonce\u0301/50% #1_2.flac', 'audio/\u{1f3a7}/x_3.ogg']
    const size = 1_000
    let bucket: TestBucket
    let admin: S3Client
    let database: TestDatabase
    let nginx: Nginx

    const verifyThere = (...flags: string[]) =>
      cli(['verify', ...flags], {
        env: {
          ...bucket.env,
          DATABASE_URL: database.url,
          CLOUDFRONT_DOMAIN: nginx.url,
          CORS_ORIGINS: `["${page}"]`,
        },
      })
    const policy = (Principal: string) =>
      new PutBucketPolicyCommand({
        Bucket: bucket.env['S3_BUCKET_NAME'],
        Policy: JSON.stringify({
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Principal,
              Action: 's3:GetObject',
              Resource: `arn:aws:s3:::${bucket.env['S3_BUCKET_NAME']}/audio/*`,
            },
          ],
        }),
      })

    beforeAll(async () => {
      bucket = await realBucket(s3!)
      admin = new S3Client({ ...s3!, forcePathStyle: true })
      nginx = await startNginx(binary!, s3!.endpoint, { bucket: bucket.env['S3_BUCKET_NAME']! })
      database = await migrated(await pgliteTestDatabase())
      const db = await database.open()
      await db.knex('tracks').insert(
        keys.map((key, n) => ({
          id: `00000000-0000-4000-8000-00000000000${n}`,
          spotify_id: `s${n}`,
          title: 't',
          artist: 'a',
          file_source: 'S3',
          file_size: size,
          s3_object_key: key,
        })),
      )
      await db.close()
      for (const key of keys) {
        await bucket.store.put(key, Buffer.alloc(size, key), {
          headers: { contentType: 'audio/mpeg', cacheControl: 'public, max-age=31536000, immutable' },
          checksums: {},
        })
      }
    }, 60_000)
    afterAll(async () => {
      admin?.destroy()
      await nginx?.close()
      await bucket?.close()
      await database?.drop()
    })

    test('a private bucket: what nginx lacks to read it', async () => {
      const { exitCode, stdout } = await verifyThere()
      expect(exitCode).toBe(4)
      expect(stdout).toContain('3 × the object is there, but S3 does not let nginx read it (oac-missing)')
      expect(stdout).toContain('address of nginx, which does not sign its requests')
      expect(stdout).not.toMatch(/CloudFront|distribution/)
    })

    test('served, and readable by the pages: nothing to say', async () => {
      await admin.send(policy('*'))
      await admin.send(
        new PutBucketCorsCommand({
          Bucket: bucket.env['S3_BUCKET_NAME'],
          CORSConfiguration: { CORSRules: [{ AllowedOrigins: [page], AllowedMethods: ['GET', 'HEAD'] }] },
        }),
      )
      const first = await verifyThere()
      expect(first.stdout).toContain('3 tracks are served through 127.0.0.1 (nginx)')
      expect(first.stdout).toContain(`checked: pages of ${page} may read them (CORS)`)
      expect(first.stdout).not.toMatch(/×|warning/)
      expect(first.exitCode).toBe(0)
      const second = await verifyThere('--origin', page, '--bytes', '100')
      expect(second.stdout).toContain('edge cache 100 % hits')
      expect(second.exitCode).toBe(0)
    })

    test('a cache that was filled without an Origin is told from a store without CORS', async () => {
      const other = await startNginx(binary!, s3!.endpoint, { bucket: bucket.env['S3_BUCKET_NAME']! })
      const asked = (...flags: string[]) =>
        cli(['verify', ...flags], {
          env: { ...bucket.env, DATABASE_URL: database.url, CLOUDFRONT_DOMAIN: other.url },
        })
      try {
        const domain = parseCdnDomain(other.url)
        // As a player without CORS asks, or a health check.
        const plain = openProber({ concurrency: 1 })
        for (const key of keys) await plain.request({ url: cdnUrl(domain, key) })
        plain.close()
        const { exitCode, stdout, stderr } = await asked('--origin', page)
        expect(exitCode).toBe(4)
        expect(stdout).toContain(
          '3 × a cached answer lacks the CORS header that the CDN would send now (cors-stale)',
        )
        expect(stdout).toContain('Empty the cache folder')
        expect(stderr).toContain(`past the cache: access-control-allow-origin: ${page}`)
        // An origin that the bucket does not allow: the policy first.
        const strange = await asked('--origin', 'https://strange.example')
        expect(strange.stdout).toMatch(/3 × no CORS header .*\n.*add_header .*; then empty the cache folder/)
      } finally {
        await other.close()
      }
    })

    test('a bucket that is open past it: what refuses is not said to be all', async () => {
      const { stdout, exitCode } = await verifyThere('--direct')
      expect(exitCode).toBe(4)
      expect(stdout).toContain('3 × the bucket serves the object to anyone, bypassing the CDN')
      expect(stdout).not.toContain('serves none of them')
      expect(stdout).toContain('Close the bucket to anonymous reads')
    })

    test('an origin that is gone', async () => {
      const lost = await startNginx(binary!, 'http://127.0.0.1:9')
      try {
        const { stdout, exitCode } = await cli(['verify'], {
          env: { ...bucket.env, DATABASE_URL: database.url, CLOUDFRONT_DOMAIN: lost.url },
        })
        expect(exitCode).toBe(4)
        expect(stdout).toContain('3 × nginx cannot connect to its origin (origin-unreachable)')
        expect(stdout).toContain('See error.log')
      } finally {
        await lost.close()
      }
    })

    test('CDN_PROVIDER that is not what answers is said once', async () => {
      const { stdout, exitCode } = await cli(['verify'], {
        env: {
          ...bucket.env,
          DATABASE_URL: database.url,
          CLOUDFRONT_DOMAIN: nginx.url,
          CDN_PROVIDER: 'bunny',
        },
      })
      expect(exitCode).toBe(0)
      expect(stdout.match(/another CDN than CDN_PROVIDER says/g)).toHaveLength(1)
      expect(stdout).toContain('3 of 3 answers: headers of nginx')
    })

    test('doctor names it', async () => {
      const { stdout } = await cli(['doctor'], {
        env: {
          ...bucket.env,
          DATABASE_URL: database.url,
          CLOUDFRONT_DOMAIN: nginx.url,
          S3_KEY_PREFIX: 'audio/',
        },
      })
      expect(stdout).toMatch(/ok +cdn-fetch +the object just uploaded, through nginx: first byte/)
    })
  },
)
