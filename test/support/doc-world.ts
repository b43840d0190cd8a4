/**
 * Where the blocks of the pages are run as a reader would: bash, the program as a process of its own, a database (the
 * PostgreSQL that TEST_POSTGRES_URL names, else an embedded one), an S3 server and a CDN that are there for the test,
 * the bundled library in the state in which a first night leaves it. Each page begins in that state.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { copyDemoLibrary } from '../../src/demo/library.ts'
import { createS3Store } from '../../src/storage/s3.ts'
import type { ObjectHead, ObjectStore } from '../../src/storage/store.ts'
import { loadDump } from './alembic.ts'
import { type Cdn, startCdn } from './cdn/cdn.ts'
import { pgliteTestDatabase, postgresTestDatabase, type TestDatabase } from './database.ts'
import { bareEnvironment } from './environment.ts'
import { putInventory } from './inventory.ts'
import { listening, urlOf } from './listening.ts'
import { type S3Server, startS3Server } from './s3-server/server.ts'
import { accessKey } from './s3-server.ts'
import { testPostgres } from './servers.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { atTerminal } from './terminal.ts'

const source = new URL('../../src/main.ts', import.meta.url).pathname
const bucket = 'music'
const region = 'eu-central-1'

/** Where programs of others are that pages name: the AWS CLI of `scripts/linters.sh`, then those of this machine. */
export const otherPrograms = [process.env['TEST_LINTERS'], process.env['PATH']].filter(
  one => one !== undefined,
)

/** What stands on a page for something of the reader's own, and what it is here. */
type Yours = (text: string) => string

interface Ran {
  exitCode: number
  /** what the screen shows */
  said: string
}

export interface DocWorld {
  /** The state in which a page begins: the application's (`fresh`), or as a first night leaves it. */
  begin(state: 'fresh' | 'night'): Promise<void>
  /** Runs a block as bash does that stops at the first command that fails. */
  run(script: string): Promise<Ran>
  /** paths that the health check was asked for since `begin` */
  readonly pings: readonly string[]
  close(): Promise<void>
}

/** Commands that go on until they are stopped, each with what it says once it is at work. */
const lasting: readonly (readonly [command: RegExp, isAtWork: RegExp])[] = [
  [/^autodj serve\b/m, /Serving on http/],
  [/^(?!.*--until-empty).*\bautodj worker\b/m, /^Working \(/m],
  [/--watch\b/, /tracks/],
]

function storeOf(s3: S3Server, name: string): ObjectStore {
  const { accessKeyId, secretAccessKey } = accessKey
  return createS3Store({
    ...{ bucket: name, endpoint: s3.url, region },
    credentials: { accessKeyId, secretAccessKey },
  })
}

/** What S3 Inventory would have written, where pages say that it is. */
async function inventoryOf(s3: S3Server): Promise<void> {
  const [from, to] = [storeOf(s3, bucket), storeOf(s3, 'inventories')]
  await putInventory(from, 'CSV', undefined, { store: to, prefix: 'music/daily/2026-01-31T01-00Z/' })
  from.close()
  to.close()
}

type Kept = ObjectHead & { readonly body: Buffer }

/** All objects of the library's bucket. The server keeps its state in memory: another one is given them anew. */
async function objectsOf(s3: S3Server): Promise<Kept[]> {
  const store = storeOf(s3, bucket)
  const kept: Kept[] = []
  for await (const page of store.list({ prefix: '' })) {
    for (const { key } of page) {
      const { head, body } = (await store.get(key))!
      kept.push({ ...(await store.head(key))!, ...head, body: Buffer.concat(await Array.fromAsync(body)) })
    }
  }
  store.close()
  return kept
}

async function putAll(s3: S3Server, kept: readonly Kept[]): Promise<void> {
  const store = storeOf(s3, bucket)
  for (const { key, body, contentType = '', cacheControl, contentDisposition, metadata, checksums } of kept)
    await store.put(key, body, {
      headers: {
        ...{ contentType, metadata },
        ...(cacheControl !== undefined && { cacheControl }),
        ...(contentDisposition !== undefined && { contentDisposition }),
      },
      checksums,
    })
  store.close()
}

/** The row that pages name by its id. */
async function knownTrack(database: TestDatabase): Promise<void> {
  const opened = await database.open()
  await opened.knex('tracks').insert({
    id: '0d3f0000-0000-4000-8000-000000000000',
    spotify_id: 'test:first-light',
    title: 'First Light',
    artist: 'Tape Orchard',
    file_path: 'audio/Tape Orchard/First Light.mp3',
    file_source: 'LOCAL',
  })
  await opened.close()
}

export async function startDocWorld(): Promise<DocWorld> {
  const folder = temporaryFolder('docs')
  const home = path.join(folder, 'home')
  const bin = path.join(folder, 'bin')
  await mkdir(bin)
  await writeFile(path.join(bin, 'autodj'), `#!/bin/sh\nexec '${process.execPath}' '${source}' "$@"\n`)
  await chmod(path.join(bin, 'autodj'), 0o755)

  const pings: string[] = []
  const other = http.createServer((request, response) => {
    pings.push(request.url ?? '')
    response.end()
  })
  await listening(other)
  const elsewhere = urlOf(other)

  const postgres = testPostgres()
  let s3: S3Server | undefined
  let cdn: Cdn | undefined
  let database: TestDatabase | undefined
  let nightDatabase: TestDatabase | undefined
  let nightObjects: readonly Kept[] | undefined

  const yours: Yours = text =>
    text
      .replaceAll('https://hc-ping.com', elsewhere)
      .replaceAll('https://music.example.com', elsewhere)
      .replaceAll('/srv/www/', `${home}/`)
      .replaceAll('/var/lib/node_exporter/', `${home}/`)
      .replaceAll('/mnt/disk', `${home}/disk`)
      .replaceAll(/\bautodj serve\b(.*) --port 80\b/g, 'autodj serve$1 --port 0')
      .replaceAll(/\bautodj serve$/gm, 'autodj serve --port 0')
      .replaceAll(/\bBUCKET\b/g, 'a-new-bucket')
      .replaceAll(/\bREGION\b/g, region)

  const surroundings = (): Record<string, string> => ({
    ...bareEnvironment(),
    PATH: [bin, ...otherPrograms].join(path.delimiter),
    HOME: home,
    TMPDIR: tmpdir(),
    LANG: 'C.UTF-8',
    AWS_ENDPOINT_URL_S3: s3!.url,
  })

  async function servers(dir: string, port = 0): Promise<void> {
    s3 = await startS3Server({
      dir,
      port,
      region,
      credentials: [accessKey],
      buckets: [bucket, 'my-music', 'my-logs', 'inventories'],
    })
    cdn = await startCdn({ origin: { url: s3.url, region, bucket, credentials: accessKey } })
  }
  async function settings(): Promise<void> {
    const lines = {
      DATABASE_URL: database!.url,
      S3_BUCKET_NAME: bucket,
      S3_ENDPOINT: s3!.url,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: accessKey.accessKeyId,
      AWS_SECRET_ACCESS_KEY: accessKey.secretAccessKey,
      CLOUDFRONT_DOMAIN: cdn!.url,
      AUDIO_STORAGE_PATH: './audio',
    }
    const text = Object.entries(lines).map(([name, value]) => `${name}=${value}\n`)
    await writeFile(path.join(home, '.env'), text.join(''), { mode: 0o600 })
    // Where the AWS CLI looks for them.
    const { accessKeyId, secretAccessKey } = accessKey
    await mkdir(path.join(home, '.aws'), { recursive: true })
    await writeFile(
      path.join(home, '.aws/credentials'),
      `[default]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`,
    )
  }
  async function end(): Promise<void> {
    await cdn?.close()
    await s3?.close()
    await database?.drop()
    await rm(home, { recursive: true, force: true })
    cdn = undefined
    s3 = undefined
    database = undefined
  }

  async function run(script: string): Promise<Ran> {
    const text = yours(script)
    if (/^autodj (init|bucket apply)\b(?!.*--yes)/m.test(text)) return atKeyboard(text)
    const child = spawn('bash', ['-euo', 'pipefail', '-c', text], {
      cwd: home,
      env: surroundings(),
      detached: true, // a group of its own, which gets Ctrl-C as a terminal's would
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const closed = once(child, 'close')
    const isAtWork = lasting.find(([command]) => command.test(text))?.[1]
    let said = ''
    let isStopped = false
    const hear = (chunk: Buffer): void => {
      said += chunk.toString()
      if (isStopped || !isAtWork?.test(said)) return
      isStopped = true
      process.kill(-(child.pid as number), 'SIGINT')
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    await closed
    const wasStopped = isStopped && (child.exitCode === 130 || child.signalCode === 'SIGINT')
    return { exitCode: wasStopped ? 0 : (child.exitCode ?? 1), said }
  }

  /** With somebody who answers each question by Enter, or with yes. */
  async function atKeyboard(text: string): Promise<Ran> {
    const screen = atTerminal(['-euo', 'pipefail', '-c', text], {
      program: 'bash',
      cwd: home,
      env: surroundings(),
      columns: 200,
      rows: 200,
    })
    const lastLine = () => screen.lines().at(-1)?.trimEnd() ?? ''
    const questions = () => (/:$|\[y\/N\]$/.test(lastLine()) ? screen.lines().length : 0)
    let answered = 0
    const isOver = screen.exited.then(() => true)
    for (;;) {
      const asks = screen
        .until(() => questions() > answered)
        .then(
          () => false,
          () => true,
        )
      if (await Promise.race([asks, isOver])) break
      answered = questions()
      screen.type(lastLine().endsWith('[y/N]') ? 'y\r' : '\r')
    }
    return { exitCode: await screen.exited, said: screen.lines().join('\n') }
  }

  return {
    pings,
    run,
    async begin(state) {
      await end()
      pings.length = 0
      const kept = path.join(folder, 'night')
      const objects = state === 'night' ? nightObjects : undefined
      await rm(path.join(folder, 's3'), { recursive: true, force: true })
      if (objects !== undefined) {
        await cp(path.join(kept, 'home'), home, { recursive: true, preserveTimestamps: true })
        database = await nightDatabase!.copy()
      } else {
        await mkdir(path.join(home, 'audio'), { recursive: true })
        await copyDemoLibrary(path.join(home, 'audio'))
        database = postgres ? await postgresTestDatabase(postgres) : await pgliteTestDatabase()
        // As the application makes it.
        const opened = await database.open()
        await loadDump(opened.knex, 'a312ec46df43')
        await opened.close()
      }
      await servers(path.join(folder, 's3'))
      await settings()
      if (state !== 'night') return
      if (objects !== undefined) await putAll(s3!, objects)
      else {
        await knownTrack(database)
        const { exitCode, said } = await run('autodj run --yes')
        if (exitCode !== 0) throw new Error(said)
        await cp(home, path.join(kept, 'home'), { recursive: true, preserveTimestamps: true })
        nightDatabase = await database.copy()
        nightObjects = await objectsOf(s3!)
      }
      await inventoryOf(s3!)
    },
    async close() {
      await end()
      await nightDatabase?.drop()
      other.close()
    },
  }
}
