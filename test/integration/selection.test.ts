/** --include, --artist and the like: one album imported, uploaded, verified, reconciled, cleaned and restored. */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fakeAudio } from '../support/bed.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { cli } from '../support/cli.ts'
import { postgresTestDatabase, type TestDatabase } from '../support/database.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { testPostgres } from '../support/servers.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const postgres = testPostgres()
let folder: string
let s3: TestServer
let cdn: Cdn
let place: TestDatabase
let env: Record<string, string>

beforeAll(async () => {
  if (postgres === undefined) return
  folder = temporaryFolder('selection')
  s3 = await testServer()
  cdn = await startCdn({ origin: s3.origin })
  place = await postgresTestDatabase(postgres!)
  let seed = 0
  for (const [artist, album] of [
    ['Ann', 'First'],
    ['Ann', 'Second'],
    ['Bob', 'Only'],
  ] as const) {
    await mkdir(path.join(folder, 'audio', artist, album), { recursive: true })
    for (const title of ['one', 'two'])
      await writeFile(path.join(folder, 'audio', artist, album, `${title}.flac`), fakeAudio(2_000, ++seed))
  }
  env = {
    DATABASE_URL: place.url,
    ...s3.settings,
    CLOUDFRONT_DOMAIN: cdn.url,
    AUDIO_STORAGE_PATH: path.join(folder, 'audio'),
  }
  expect((await cli(['migrate'], { env, cwd: folder })).exitCode).toBe(0)
})
afterAll(async () => {
  await place?.drop()
  await cdn?.close()
  await s3?.close()
})

/** A command with JSON, and its summary. */
async function run(...argv: string[]) {
  const { exitCode, messages, stderr } = await cli([...argv, '--json'], { env, cwd: folder })
  const summary = messages.find(one => one['message_type'] === 'summary') ?? {}
  return { exitCode, stderr, messages, summary }
}
const files = async () =>
  (await readdir(path.join(folder, 'audio'), { recursive: true })).filter(one => one.endsWith('.flac')).sort()

test.skipIf(postgres === undefined)('one album through its whole life', async () => {
  expect((await run('import', '--include', 'Ann/')).summary).toMatchObject({ new: 4 })
  expect((await run('import')).summary).toMatchObject({ new: 2, known: 4 })

  expect((await run('upload-local', '--dry-run', '--include', 'Ann/Second/')).summary).toMatchObject({
    files: 2,
  })
  const uploaded = await run('upload-local', '--include', 'Ann/Second/')
  expect(uploaded, uploaded.stderr).toMatchObject({ exitCode: 0, summary: { uploaded: 2 } })
  expect((await run('upload-local', '--exclude', 'Bob/')).summary).toMatchObject({ uploaded: 2 })

  await writeFile(
    path.join(folder, 'rules'),
    '# all of Ann but the second album\n- /Ann/Second/\n+ /Ann/**\n- *\n',
  )
  expect((await run('verify', '--filter-from', 'rules')).summary).toMatchObject({ tracks: 2, served: 2 })
  expect((await run('verify', '--rolling', '30d', '--artist', 'ann')).exitCode).toBe(2)

  // What was not asked for is not told, however it differs.
  const store = await run('reconcile', '--include', 'Bob/')
  expect(store).toMatchObject({ exitCode: 0, summary: { drift: 0 } })

  const cleaned = await run('cleanup', '--apply', '--older-than', '0s', '--include', 'Ann/Second/')
  expect(cleaned, cleaned.stderr).toMatchObject({ exitCode: 0, summary: { removed: 2 } })
  expect(await files()).toEqual([
    'Ann/First/one.flac',
    'Ann/First/two.flac',
    'Bob/Only/one.flac',
    'Bob/Only/two.flac',
  ])

  await writeFile(path.join(folder, 'list'), `no/such.flac\n${await keyOf('Second')}\n`)
  const restored = await run('restore', '--files-from', 'list', '--to', path.join(folder, 'back'))
  expect(restored, restored.stderr).toMatchObject({ exitCode: 0, summary: { restored: 1 } })
  expect(JSON.stringify(restored.messages)).toContain('no/such.flac')
  expect((await run('analyze', '--dry-run', '--include', 'Bob/')).summary).toMatchObject({ tracks: 2 })
  const database = await place.open()
  await database
    .knex('tracks')
    .where('file_path', 'like', '%Bob%')
    .update({ artist: 'BOB the Élan', album: 'X' })
  await database.close()
  const [ascii, exact] = [
    ['--artist', 'bob THE Élan', '--album', 'x'],
    ['--artist', 'BOB the Élan'],
  ]
  for (const flags of [ascii, exact])
    expect((await run('analyze', '--dry-run', ...flags)).summary, flags.join(' ')).toMatchObject({
      tracks: 2,
    })
  expect((await run('analyze', '--dry-run', ...exact, '--album', 'y')).summary).toMatchObject({ tracks: 0 })
})

/** Key of a track whose local copy is gone. */
async function keyOf(_album: string): Promise<string> {
  const database = await place.open()
  try {
    const row = await database.knex('tracks').whereNull('file_path').first('s3_object_key as key')
    return row.key
  } finally {
    await database.close()
  }
}

test.skipIf(postgres === undefined).each([
  [['restore', '--track', 'x'], '--track: "x" is not a track id'],
  [['restore', '--filter-from', 'nowhere'], '--filter-from: cannot read nowhere: no such file or directory'],
  [['restore', '--files-from', 'nowhere'], '--files-from: cannot read nowhere: no such file or directory'],
  [['import', '--artist', 'x'], "unknown option '--artist'"],
])('%j is a usage error', async (argv, message) => {
  const { exitCode, stderr } = await cli(argv, { env, cwd: folder })
  expect(exitCode).toBe(2)
  expect(stderr).toContain(message)
})
