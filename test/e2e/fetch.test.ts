import { execFileSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { finishRun, recentRuns, recordItems, startRun } from '../../src/db/ledger.ts'
import { migrateUp } from '../../src/db/migrate.ts'
import { ExitCode } from '../../src/errors.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import { cli } from '../support/cli.ts'
import { pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { listening, urlOf } from '../support/listening.ts'
import { accessKey, type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const assets = new URL('../../assets/demo/', import.meta.url)
const asset = (name: string) => readFile(new URL(name, assets))

const names = [
  'ownKey',
  'ownObject',
  'foreignObject',
  'localMatch',
  'goneButUrl',
  'page',
  'preview',
  'nowhere',
  'playable',
] as const
type Name = (typeof names)[number]
const ids = Object.fromEntries(names.map(name => [name, randomUUID()])) as Record<Name, string>

let testDatabase: TestDatabase
let s3: TestServer
let store: ObjectStore
let root: string
let temp: string
let music: http.Server
let musicUrl: string
let flac: Buffer
let mp3: Buffer

beforeAll(async () => {
  testDatabase = await pgliteTestDatabase()
  root = temporaryFolder('fetch-root')
  temp = temporaryFolder('fetch-temp')
  s3 = await testServer()
  store = s3.open()
  flac = await asset('02-harbour-lamps.flac')
  mp3 = await asset('01-first-light.mp3')
  await mkdir(path.join(root, 'Björk'))
  await copyFile(new URL('02-harbour-lamps.flac', assets), path.join(root, 'Björk', 'Jóga.flac'))
  await copyFile(new URL('05-relay.wav', assets), path.join(root, 'here.wav'))
  music = http.createServer((request, response) => {
    if (request.url === '/sp-goneButUrl.mp3') response.writeHead(200, { etag: '"1"' }).end(mp3)
    else if (request.url === '/sp-page.mp3') response.writeHead(200).end('<html>Please log in</html>')
    else if (request.url === '/clip') response.writeHead(200).end(mp3.subarray(0, 60_000))
    else response.writeHead(404).end()
  })
  await listening(music)
  musicUrl = urlOf(music)

  const put = (key: string, body: Buffer, trackId?: string) =>
    store.put(key, body, {
      headers: { contentType: 'audio/mpeg', metadata: trackId === undefined ? {} : { 'track-id': trackId } },
      checksums: {},
    })
  await put('old/place.mp3', mp3)
  await put('audio/Artist/ownObject_0a1b2c3d.mp3', mp3, ids.ownObject)
  await put('audio/Artist/foreignObject_0a1b2c3d.mp3', mp3, ids.playable)
  await put('audio/Artist/nowhere_two_0a1b2c3d.mp3', mp3)

  const database = await testDatabase.open()
  await migrateUp(database)
  const row = (name: Name, more: Record<string, unknown> = {}) => ({
    id: ids[name],
    spotify_id: `sp-${name}`,
    title: name,
    artist: 'Artist',
    file_source: 'UNAVAILABLE',
    ...more,
  })
  await database
    .knex('tracks')
    .insert(
      [
        row('ownKey', { s3_object_key: 'old/place.mp3' }),
        row('ownObject'),
        row('foreignObject'),
        row('localMatch', { artist: 'BJORK', title: 'Joga', file_source: null }),
        row('goneButUrl', { file_source: 'LOCAL', file_path: 'gone.mp3' }),
        row('page'),
        row('preview', { preview_url: `${musicUrl}/clip` }),
        row('nowhere'),
        row('playable', { file_source: 'LOCAL', file_path: 'here.wav' }),
      ].map(one => ({ preview_url: null, file_path: null, s3_object_key: null, ...one })),
    )
  // What earlier runs had to say of tracks that this one settles, one way or the other, and of one that has its audio.
  const runId = randomUUID()
  const run = { command: 'upload-local', args: {}, host: 'elsewhere', pid: 1, version: '0' }
  await startRun(database.knex, { id: runId, ...run })
  await finishRun(database.knex, runId, { state: 'failed', exitCode: 3, summary: {} })
  await recordItems(
    database.knex,
    (['goneButUrl', 'nowhere', 'playable'] as const).map(name => ({
      command: name === 'playable' ? 'fetch' : 'upload-local',
      subject: ids[name],
      trackId: ids[name],
      state: 'failed' as const,
      errorCode: 'bug' as const,
      error: 'x',
      cure: null,
      runId,
    })),
  )
  await database.close()
})

afterAll(async () => {
  store.close()
  await s3.close()
  music.close()
  await testDatabase.drop()
})

const fetchTracks = (args: string[], env: Record<string, string> = {}) =>
  cli(['fetch', '--json', ...args], {
    env: {
      DATABASE_URL: testDatabase.url,
      AUDIO_STORAGE_PATH: root,
      S3_BUCKET_NAME: 'music',
      S3_ENDPOINT: s3.url,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: accessKey.accessKeyId,
      AWS_SECRET_ACCESS_KEY: accessKey.secretAccessKey,
      ...env,
    },
  })

async function rows() {
  const database = await testDatabase.open()
  const tracks = await database.knex('tracks')
  const items = await database.knex('autodj_ledger.items')
  await database.close()
  const of = (name: Name) => tracks.find(one => one.id === ids[name])
  return { of, items }
}

/** Nothing on its way is left: no staged object, no part, no temporary folder. */
async function expectNothingLeft() {
  const keys: string[] = []
  for await (const page of store.list({ prefix: 'audio/.incoming/' })) keys.push(...page.map(one => one.key))
  for await (const page of store.listUploads({})) keys.push(...page.map(one => one.key))
  expect(keys).toEqual([])
  const runs = await readdir(tmpdir())
  const database = await testDatabase.open()
  const known = (await database.knex('autodj_ledger.runs').select('id')).map(one => one.id as string)
  await database.close()
  expect(runs.filter(name => known.some(id => name.includes(id)))).toEqual([])
}

async function bytesOf(key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  const object = await store.get(key)
  if (object) for await (const chunk of object.body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function lastRun() {
  const db = await testDatabase.open()
  const [run] = await recentRuns(db.knex, { limit: 1 })
  await db.close()
  return run!
}

describe('fetch', () => {
  test('--dry-run names the tracks without audio and writes nothing', async () => {
    const { exitCode, messages } = await fetchTracks(['--dry-run'])
    expect(exitCode).toBe(ExitCode.ok)
    const found = messages.filter(one => one['state'] === 'would-fetch').map(one => one['track_id'])
    expect(found.sort()).toEqual(
      names
        .filter(name => name !== 'playable')
        .map(name => ids[name])
        .sort(),
    )
    expect((await rows()).of('ownObject').file_source).toBe('UNAVAILABLE')
  })

  test('tracks that were not selected are not said to have audio', async () => {
    const { exitCode, messages } = await fetchTracks(['--artist', 'Nobody'])
    expect(exitCode).toBe(ExitCode.ok)
    const summary = messages.find(one => one['message_type'] === 'summary')
    expect(summary?.['message']).toBe('Nothing was fetched.')
  })

  test('each track from the first source that has it; what cannot be had is UNAVAILABLE with the reason', async () => {
    const { exitCode, messages, stderr } = await fetchTracks(['--url', `${musicUrl}/{spotify_id}.mp3`])
    expect(exitCode, stderr).toBe(ExitCode.someFailed)
    expect(messages.find(one => one['message_type'] === 'summary')).toMatchObject({
      s3: 2,
      local: 1,
      url: 1,
      preview: 1,
      failed: 3,
      present: 1,
      changed: 0,
    })
    expect(JSON.stringify((await lastRun()).args)).toContain(`--url=${musicUrl}/…`)
    const { of, items } = await rows()
    expect(of('ownKey')).toMatchObject({
      file_source: 'S3',
      s3_object_key: 'old/place.mp3',
      file_size: mp3.length,
    })
    expect(of('ownObject').s3_object_key).toBe('audio/Artist/ownObject_0a1b2c3d.mp3')
    expect(of('localMatch')).toMatchObject({
      file_source: 'S3',
      file_path: path.join(root, 'Björk/Jóga.flac'),
    })
    expect(await bytesOf(of('localMatch').s3_object_key)).toEqual(flac)

    const sha256 = createHash('sha256').update(mp3).digest('hex')
    const key = `audio/Artist/goneButUrl_${sha256.slice(0, 8)}.mp3`
    expect(of('goneButUrl')).toMatchObject({
      file_source: 'S3',
      s3_object_key: key,
      file_size: mp3.length,
      file_path: null,
    })
    expect(await bytesOf(key)).toEqual(mp3)
    expect(await store.head(key)).toMatchObject({
      contentType: 'audio/mpeg',
      cacheControl: 'public, max-age=31536000, immutable',
      metadata: { sha256, 'track-id': ids.goneButUrl },
    })
    expect(of('preview').file_size).toBe(60_000)
    expect(of('playable')).toMatchObject({ file_source: 'LOCAL', file_path: 'here.wav' })

    expect(items.filter(one => one.error_code === 'bug')).toEqual([])
    const reason = (name: Name) => items.find(one => one.track_id === ids[name])?.error_code
    expect([reason('page'), reason('nowhere'), reason('foreignObject')]).toEqual([
      'fetch.not-audio',
      'fetch.http-404',
      'fetch.http-404',
    ])
    for (const name of ['page', 'nowhere', 'foreignObject'] as const) {
      expect(of(name)).toMatchObject({ file_source: 'UNAVAILABLE', s3_object_key: null })
    }
    await expectNothingLeft()
  })

  test('a source that is away for now leaves the row as it is', async () => {
    const database = await testDatabase.open()
    await database.knex('tracks').where({ id: ids.nowhere }).update({ file_source: 'LOCAL' })
    await database.close()
    const { exitCode } = await fetchTracks(['--url', 'http://127.0.0.1:1/{id}', '--track', ids.nowhere])
    expect(exitCode).toBe(ExitCode.someFailed)
    expect((await rows()).of('nowhere').file_source).toBe('LOCAL')
  })

  test('without the audio folder, local tracks are not taken for gone', async () => {
    const { stderr, messages } = await fetchTracks(['--track', ids.playable], {
      AUDIO_STORAGE_PATH: path.join(root, 'not-mounted'),
    })
    expect(stderr).toContain('local tracks are skipped')
    expect(messages.find(one => one['message_type'] === 'summary')).toMatchObject({ fetched: 0, failed: 0 })
    expect((await rows()).of('playable').file_source).toBe('LOCAL')
  })

  test('FETCH_COMMAND: no shell, the file it writes, whatever extension it adds; nothing left', async () => {
    const script = path.join(temp, 'loader.mjs')
    await writeFile(
      script,
      `import fs from 'node:fs'
       const [output, query] = process.argv.slice(2)
       fs.writeFileSync(${JSON.stringify(path.join(temp, 'asked'))}, query)
       fs.writeFileSync(output + '.info', 'small')
       if (query.includes('page')) process.exit(7)
       fs.copyFileSync(${JSON.stringify(new URL('03-glass-stairs.m4a', assets).pathname)}, output + '.part.m4a')`,
    )
    const env = { FETCH_COMMAND: `${process.execPath} ${script} {output} {query}` }
    const { exitCode } = await fetchTracks(
      ['--retry-failed', '--track', ids.nowhere, '--track', ids.page],
      env,
    )
    expect(exitCode).toBe(ExitCode.someFailed)
    const { of, items } = await rows()
    expect(of('nowhere').s3_object_key).toMatch(/^audio\/Artist\/nowhere_[0-9a-f]{8}\.m4a$/)
    expect(await bytesOf(of('nowhere').s3_object_key)).toEqual(await asset('03-glass-stairs.m4a'))
    expect(items.find(one => one.track_id === ids.page)).toMatchObject({
      error_code: 'fetch.command-failed',
      error: expect.stringContaining('exit code 7'),
    })
    expect(await readFile(path.join(temp, 'asked'), 'utf8')).toMatch(/^Artist (nowhere|page)$/)
    await expectNothingLeft()
  })

  test('a downloader that writes without end is stopped', async () => {
    const script = path.join(temp, 'endless.mjs')
    await writeFile(
      script,
      `import fs from 'node:fs'
       const file = fs.openSync(process.argv[2], 'w')
       setInterval(() => fs.writeSync(file, Buffer.alloc(200_000)), 20)`,
    )
    const { exitCode } = await fetchTracks(['--retry-failed', '--track', ids.page, '--max-size', '1M'], {
      FETCH_COMMAND: `${process.execPath} ${script} {output}`,
    })
    expect(exitCode).toBe(ExitCode.someFailed)
    expect((await rows()).items.find(one => one.track_id === ids.page)?.error_code).toBe('fetch.too-large')
    await expectNothingLeft()
  })

  const ffmpeg = hasFfmpeg()
  if (!ffmpeg) console.warn('ffmpeg is not installed: loudness is not tested')
  test.skipIf(!ffmpeg)('--normalize: the stored object has the target loudness', async () => {
    const { exitCode, stderr } = await fetchTracks([
      '--track',
      ids.foreignObject,
      '--url',
      `${musicUrl}/sp-goneButUrl.mp3`,
      '--normalize',
    ])
    expect(exitCode, stderr).toBe(ExitCode.ok)
    const key = (await rows()).of('foreignObject').s3_object_key
    const file = path.join(temp, 'normal.mp3')
    await writeFile(file, await bytesOf(key))
    const measured = measureLoudness(file)
    expect(measured.integrated).toBeGreaterThan(-16.6)
    expect(measured.integrated).toBeLessThan(-15.4)
    expect(measured.truePeak).toBeLessThan(-1)
    await expectNothingLeft()
  })

  test('flags that name nothing are refused', async () => {
    expect((await fetchTracks(['--from', 'tape'])).exitCode).toBe(ExitCode.usage)
    expect((await fetchTracks(['--track', 'x'])).exitCode).toBe(ExitCode.usage)
  })

  test('--limit takes no more than so many', async () => {
    const db = await testDatabase.open()
    for (let number = 0; number < 3; number++) {
      const id = randomUUID()
      const row = {
        id,
        spotify_id: id,
        title: `Limit ${number}`,
        artist: 'Nobody',
        file_source: 'UNAVAILABLE',
      }
      await db.knex('tracks').insert(row)
    }
    await db.close()
    const { messages } = await fetchTracks(['--limit', '2', '--from', 's3'])
    const summary = messages.find(one => one['message_type'] === 'summary') as { s3: number; failed: number }
    expect(summary.s3 + summary.failed).toBe(2)
  })
})

function hasFfmpeg(): boolean {
  try {
    execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function measureLoudness(file: string): { integrated: number; truePeak: number } {
  const command = `ffmpeg -hide_banner -nostdin -i '${file}' -af ebur128=peak=true -f null - 2>&1`
  const said = execFileSync('sh', ['-c', command], { encoding: 'utf8' })
  const summary = said.slice(said.lastIndexOf('Summary:'))
  return {
    integrated: Number(/I:\s+(-?[\d.]+) LUFS/.exec(summary)?.[1]),
    truePeak: Number(/Peak:\s+(-?[\d.]+) dBFS/.exec(summary)?.[1]),
  }
}
