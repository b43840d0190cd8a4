/** The tracks API with the clients that matter: curl, and the `<audio>` element of a real browser. */

import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { type Browser, launch } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainFolder } from '../../src/core/audio-path.ts'
import { parseCdnDomain } from '../../src/core/cdn-url.ts'
import type { Database } from '../../src/db/database.ts'
import { createApi } from '../../src/server/api.ts'
import { createFileOpener } from '../../src/server/audio-file.ts'
import { createObjectUrls } from '../../src/server/audio-url.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import { createTrackReader } from '../../src/server/track-reader.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { migrated, pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
if (!chromium) console.warn('no chromium here: the browser tests are skipped (Debian: apt install chromium)')

const seconds = 600
const wav = tone(seconds)
const key = 'audio/Ünïcode & Co/100%+ #1?.wav'
const ids = { local: randomUUID(), s3: randomUUID() }

let testDatabase: TestDatabase
let database: Database
let s3: TestServer
let cdn: Cdn
let root: string
let app: FastifyInstance
let origin: string
let browser: Browser | undefined

beforeAll(async () => {
  testDatabase = await migrated(await pgliteTestDatabase())
  database = await testDatabase.open()
  root = temporaryFolder('player')
  await writeFile(path.join(root, 'tone.wav'), wav)
  s3 = await testServer()
  const store = s3.open()
  await store.put(key, wav, { headers: { contentType: 'audio/wav' }, checksums: {} })
  store.close()
  cdn = await startCdn({
    origin: s3.origin,
    maxObjectBytes: 32 << 20,
  })
  const row = { title: 'Tone', artist: 'Nobody' }
  await database.knex('tracks').insert([
    { ...row, id: ids.local, spotify_id: 'l', file_source: 'LOCAL', file_path: 'tone.wav' },
    { ...row, id: ids.s3, spotify_id: 's', file_source: 'S3', s3_object_key: key },
  ])
  app = await createApi({
    reader: createTrackReader(database.knex),
    objectUrls: createObjectUrls({
      domain: parseCdnDomain(cdn.url),
      signer: undefined,
      lifetimeMs: 60_000,
      now: () => new Date(),
    }),
    openFile: createFileOpener(plainFolder(root)),
    checkBucket: undefined,
    metrics: createMetrics({ process: false }),
    now: () => new Date(),
    corsOrigins: ['*'],
    publicUrl: undefined,
    trustProxy: false,
    onFailure: ({ error }) => {
      throw error
    },
  })
  origin = await app.listen({ host: '127.0.0.1', port: 0 })
  if (chromium) {
    browser = await launch({
      executablePath: chromium,
      args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required', '--disable-dev-shm-usage'],
    })
  }
})

afterAll(async () => {
  await browser?.close()
  await app?.close()
  await cdn?.close()
  await s3?.close()
  await database?.close()
  await testDatabase?.drop()
})

const audioOf = (id: string) => `${origin}/api/v1/tracks/${id}/audio`

describe('curl', () => {
  const curl = async (...args: string[]) =>
    (await promisify(execFile)('curl', ['-sS', ...args], { encoding: 'buffer', maxBuffer: 64 << 20 })).stdout

  test.each(['local', 's3'] as const)('%s: ranges, and a download that is resumed', async which => {
    const url = audioOf(ids[which])
    expect((await curl('-L', '-r', '100-199', url)).equals(wav.subarray(100, 200))).toBe(true)
    expect((await curl('-L', '-r', '-100', url)).equals(wav.subarray(-100))).toBe(true)
    expect((await curl('-L', '-r', '9000000-', url)).equals(wav.subarray(9_000_000))).toBe(true)
    const status = await curl('-L', '-o', '/dev/null', '-w', '%{http_code}', '-r', '99999999-', url)
    expect(status.toString()).toBe('416')
    const file = path.join(root, `resumed-${which}.part`)
    await writeFile(file, wav.subarray(0, 1_000_000))
    await curl('-L', '-C', '-', '-o', file, url)
    expect((await curl(`file://${file}`)).equals(wav)).toBe(true)
    await rm(file)
  })
})

describe.skipIf(!chromium)('<audio> in Chromium', () => {
  test.each(['local', 's3'] as const)('%s: plays from where it was told to seek to', async which => {
    const page = await (browser as Browser).newPage()
    const parts: number[] = []
    const redirects: string[] = []
    page.on('response', response => {
      const range = /^bytes (\d+)-/.exec(response.headers()['content-range'] ?? '')
      if (response.status() === 206 && range) parts.push(Number(range[1]))
      if (response.status() === 302) redirects.push(response.headers()['location'] as string)
    })
    // A page of this server: browsers keep pages from elsewhere away from servers on this machine.
    await page.goto(`${origin}/health`)
    const played = await page.evaluate(
      async (url, to) => {
        // biome-ignore lint/suspicious/noExplicitAny: this function runs in the browser, whose types are not ours
        const { document } = globalThis as any
        const audio = document.createElement('audio')
        audio.preload = 'metadata'
        const event = (name: string) =>
          new Promise((resolve, reject) => {
            audio.addEventListener(name, resolve, { once: true })
            audio.addEventListener('error', () => reject(new Error(audio.error.message)), { once: true })
          })
        const loaded = event('loadedmetadata')
        audio.src = url
        await loaded
        const seeked = event('seeked')
        audio.currentTime = to
        await seeked
        const from = audio.currentTime
        await audio.play()
        while (audio.currentTime < from + 0.2) await event('timeupdate')
        return { duration: audio.duration, from, at: audio.currentTime }
      },
      audioOf(ids[which]),
      500,
    )
    expect(played.duration).toBeCloseTo(seconds, 1)
    expect(played.from).toBeCloseTo(500, 1)
    expect(played.at).toBeGreaterThan(500)
    // It did not fetch everything before that place.
    expect(Math.max(...parts)).toBeGreaterThan(wav.length / 2)
    if (which === 's3') {
      expect(redirects.length).toBeGreaterThan(0)
      expect(new Set(redirects)).toEqual(
        new Set([`${cdn.url}/audio/%C3%9Cn%C3%AFcode%20%26%20Co/100%25%2B%20%231%3F.wav`]),
      )
      expect(cdn.requests.some(one => one.range !== undefined && one.status === 206)).toBe(true)
    }
    await page.close()
  })
})

/** 440 Hz as WAV: 16 bit, mono, 8 kHz. */
function tone(length: number): Buffer {
  const rate = 8_000
  const samples = new Int16Array(rate * length)
  for (let index = 0; index < samples.length; index++)
    samples[index] = Math.sin((index / rate) * 440 * 2 * Math.PI) * 8_000
  const header = Buffer.alloc(44)
  header.write('RIFF', 0)
  header.writeUInt32LE(36 + samples.byteLength, 4)
  header.write('WAVEfmt ', 8)
  header.writeUInt32LE(16, 16)
  header.writeUInt16LE(1, 20)
  header.writeUInt16LE(1, 22)
  header.writeUInt32LE(rate, 24)
  header.writeUInt32LE(rate * 2, 28)
  header.writeUInt16LE(2, 32)
  header.writeUInt16LE(16, 34)
  header.write('data', 36)
  header.writeUInt32LE(samples.byteLength, 40)
  return Buffer.concat([header, Buffer.from(samples.buffer)])
}
