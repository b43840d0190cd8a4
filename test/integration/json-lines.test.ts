/**
 * What every command prints under `--json`, from the first look to the way back, on PostgreSQL and the embedded S3 server
 * and CDN: each line is held to the schema of its command (docs/schemas).
 */
import { appendFile, copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createS3Store } from '../../src/storage/s3.ts'
import { startCdn } from '../support/cdn/cdn.ts'
import { type CliOptions, cli } from '../support/cli.ts'
import { postgresTestDatabase, type TestDatabase } from '../support/database.ts'
import { checkLines } from '../support/json-lines.ts'
import { testServer } from '../support/s3-server.ts'
import { testPostgres } from '../support/servers.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const url = testPostgres()

let folder: string
let audio: string
let place: TestDatabase
let env: Record<string, string>
const closing: (() => unknown)[] = []

const bundled = path.join(import.meta.dirname, '../../assets/demo')
const credentials = { accessKeyId: 'AUTODJTEST', secretAccessKey: 'autodj-test-secret' }

beforeAll(async () => {
  if (!url) return
  folder = temporaryFolder('lines')
  audio = path.join(folder, 'audio')
  await mkdir(audio)
  for (const name of (await readdir(bundled)).filter(name => /\.(mp3|flac|m4a)$/.test(name))) {
    await copyFile(path.join(bundled, name), path.join(audio, name))
  }
  await writeFile(path.join(audio, 'notes.mp3'), 'no audio at all')
  place = await postgresTestDatabase(url)
  const server = await testServer({ region: 'eu-central-1', credentials: [credentials] })
  const cdn = await startCdn({
    origin: server.origin,
  })
  closing.push(
    () => cdn.close(),
    () => server.close(),
    () => place.drop(),
  )
  env = {
    DATABASE_URL: place.url,
    ...server.settings,
    CLOUDFRONT_DOMAIN: cdn.url,
    AUDIO_STORAGE_PATH: audio,
  }
})
afterAll(async () => {
  for (const close of closing) await close()
})

const run = async (line: string, options: CliOptions = {}) => {
  const { exitCode, messages, stdout, stderr } = await cli([...line.split(' '), '--json'], {
    cwd: folder,
    env: { ...env, ...options.env },
    ...options,
  })
  expect.soft(messages.length, `${line}: ${stdout}${stderr}`).toBeGreaterThan(0)
  checkLines(line.split(' '), messages)
  return { exitCode, last: messages.at(-1) as Record<string, unknown> }
}

test.skipIf(!url)('the whole journey', async () => {
  const { last } = await run('status')
  expect(last).toMatchObject({ message_type: 'exit_error', code: 'db.schema' })
  await run('migrate status')
  await run('migrate --dry-run')
  await run('migrate')
  await run('doctor')
  await run('import --dry-run')
  expect.soft(await run('import')).toMatchObject({ exitCode: 0 })
  await run('run --dry-run')
  await run('upload-local --dry-run')
  await appendFile(path.join(audio, '01-first-light.mp3'), '')
  await rm(path.join(audio, '07-moonlight.mp3'))
  expect.soft(await run('upload-local')).toMatchObject({ exitCode: 3, last: { message_type: 'summary' } })
  await copyFile(path.join(bundled, '07-moonlight.mp3'), path.join(audio, '07-moonlight.mp3'))
  await run('upload-local --retry-failed')
  await run('verify --full')
  await run('status')
  await run('status --check --max-age 1s')
  await run('status --queues --storage listing')
  await run('analyze --limit 1')
  await run('analyze --enqueue --limit 1')
  await run('worker --until-empty')
  await run('fetch --dry-run')

  const store = createS3Store({
    bucket: 'music',
    region: 'eu-central-1',
    endpoint: env['S3_ENDPOINT'] as string,
    credentials,
  })
  const keys: string[] = []
  for await (const page of store.list()) keys.push(...page.map(({ key }) => key))
  await store.delete([{ key: keys[0] as string }] as never)
  store.close()
  await run('verify')
  expect.soft(await run('reconcile --plan plan.json --min-age 0s')).toMatchObject({ exitCode: 4 })
  await run('apply plan.json --yes --dry-run')
  await run('apply plan.json --yes')
  await run('undo plan.json --yes')
  await run('upload-local')
  await run('reconcile')

  await run('bucket check')
  await run('bucket plan')
  await run('policy upload-local')
  await run('cost')
  await run('report')
  await run('cleanup')
  await run('cleanup --apply --older-than 0s')
  await run('restore --dry-run')
  await run('restore')
  await run('run --yes')
  await run('demo', { env: {} })
  await run('serve --port 0', {
    withSignals: send => setTimeout(() => send('SIGTERM'), 2_000).unref(),
  })
})
