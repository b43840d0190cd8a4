import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { migrateUp } from '../../src/db/migrate.ts'
import { ExitCode } from '../../src/errors.ts'
import { cli } from '../support/cli.ts'
import { pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { freePort, listening, portOf } from '../support/listening.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let testDatabase: TestDatabase
let root: string
const id = randomUUID()

beforeAll(async () => {
  testDatabase = await pgliteTestDatabase()
  root = temporaryFolder('serve')
  const database = await testDatabase.open()
  await migrateUp(database)
  await database.knex('tracks').insert({
    id,
    spotify_id: 's',
    title: 't',
    artist: 'a',
    file_source: 'S3',
    s3_object_key: 'audio/a/t.mp3',
  })
  await database.close()
})
afterAll(() => testDatabase.drop())

/** Runs `serve` on a free port and calls back with its address; SIGTERM when that is done. */
async function serving(args: string[], env: Record<string, string>, use: (origin: string) => Promise<void>) {
  const port = await freePort()
  let stop: (signal: 'SIGINT' | 'SIGTERM') => void = () => {}
  const running = cli(['serve', '--port', String(port), ...args], {
    env: { DATABASE_URL: testDatabase.url, AUDIO_STORAGE_PATH: root, ...env },
    withSignals: send => {
      stop = send
    },
  })
  const origin = `http://127.0.0.1:${port}`
  try {
    await answering(origin, running)
    await use(origin)
  } finally {
    stop('SIGTERM')
  }
  return running
}

async function answering(origin: string, running: Promise<{ stderr: string }>): Promise<void> {
  const ended = running.then(({ stderr }) => Promise.reject(new Error(`serve ended: ${stderr}`)))
  const answered = (async () => {
    for (;;) {
      const answer = await fetch(`${origin}/health`).catch(() => undefined)
      if (answer) return
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  })()
  await Promise.race([ended, answered])
}

test('redirects to signed URLs that say when they end, and stops cleanly on SIGTERM', async () => {
  const { generateKeyPairSync } = await import('node:crypto')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const keyFile = path.join(root, 'key.pem')
  await writeFile(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const env = {
    CLOUDFRONT_DOMAIN: 'cdn.example.com',
    CLOUDFRONT_KEY_PAIR_ID: 'K2JCJMDEHXQW5F',
    CLOUDFRONT_PRIVATE_KEY_PATH: keyFile,
  }
  const { exitCode, stdout } = await serving([], env, async origin => {
    const redirect = await fetch(`${origin}/api/v1/tracks/${id}/audio`, { redirect: 'manual' })
    expect(redirect.status).toBe(302)
    expect(redirect.headers.get('location')).toMatch(
      /^https:\/\/cdn\.example\.com\/audio\/a\/t\.mp3\?Expires=\d+&.*Signature=/,
    )
    const answer = await fetch(`${origin}/api/v1/tracks/${id}/audio/url`)
    const { url, expires_at } = (await answer.json()) as { url: string; expires_at: string }
    expect(Number(/Expires=(\d+)/.exec(url)?.[1])).toBe(Date.parse(expires_at) / 1_000)
  })
  expect(stdout).toMatch(/^Serving on http:\/\/127\.0\.0\.1:\d+\/api\/v1\/tracks\nStopped after /)
  expect(exitCode).toBe(ExitCode.ok)
})

test('without a CDN it says so at the start, and answers 404 for tracks in S3', async () => {
  const { stderr } = await serving([], {}, async origin => {
    expect((await fetch(`${origin}/api/v1/tracks/${id}/audio`, { redirect: 'manual' })).status).toBe(404)
    expect(await (await fetch(`${origin}/health`)).json()).toMatchObject({
      bucket: { status: 'not configured' },
    })
  })
  expect(stderr).toContain('CLOUDFRONT_DOMAIN is not set')
})

test('a port that is taken is a clear error', async () => {
  const taken = await listening(createServer())
  const port = portOf(taken)
  const { exitCode, stderr } = await cli(['serve', '--port', String(port)], {
    env: { DATABASE_URL: testDatabase.url },
  })
  taken.close()
  expect(exitCode).toBe(ExitCode.fatal)
  expect(stderr).toContain(`cannot listen on 127.0.0.1:${port}: address already in use`)
})
