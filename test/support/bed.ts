/**
 * A place where commands run against a database and an S3 server that stay open between them: in-process, with a
 * reporter that remembers. Slower ways (the packed program, real signals) are for `test/e2e` and `test/integration`.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { loadConfig } from '../../src/config.ts'
import { type Context, openContext } from '../../src/context.ts'
import type { Database } from '../../src/db/database.ts'
import { startRun } from '../../src/db/ledger.ts'
import { migrateUp } from '../../src/db/migrate.ts'
import { AppError, type ExitCode } from '../../src/errors.ts'
import { JsonReporter } from '../../src/report/json.ts'
import { createS3Store } from '../../src/storage/s3.ts'
import type { S3StoreOptions } from '../../src/storage/s3-connection.ts'
import type { ObjectEntry, ObjectStore } from '../../src/storage/store.ts'
import type { Throttle } from '../../src/throttle.ts'
import type { TestDatabase } from './database.ts'
import { hooked, type StoreHooks } from './hooked-store.ts'
import { recordLines } from './json-lines.ts'
import { temporaryFolder } from './temporary-folder.ts'

interface S3Access {
  endpoint: string
  region: string
  bucket: string
  credentials: { accessKeyId: string; secretAccessKey: string }
}

export interface BedRun {
  exitCode: ExitCode
  /** all JSON messages, both streams */
  messages: Record<string, unknown>[]
  items: Record<string, unknown>[]
  summary: Record<string, unknown>
  error: AppError | undefined
}

export interface TrackRow {
  id: string
  title: string
  artist: string
  file_path: string | null
  file_source: string | null
  file_size: number | null
  s3_object_key: string | null
}

interface NewTestTrack {
  path: string | null
  content?: Uint8Array | string
  title?: string
  artist?: string
  source?: string | null
  key?: string
}

/** The signature of FLAC, so that content is taken for audio, then something unlike any other file's. */
export function fakeAudio(size: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(size / 4))
  let state = (seed * 2_654_435_761 + 1) >>> 0
  for (let index = 0; index < words.length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    words[index] = state
  }
  const content = Buffer.from(words.buffer, 0, size)
  content.write('fLaC')
  return content
}

export class TestBed {
  readonly dir: string
  readonly audioRoot: string
  readonly database: Database
  readonly access: S3Access
  readonly store: ObjectStore
  readonly #testDatabase: TestDatabase
  readonly #closing: (() => Promise<unknown>)[] = []
  #nextTrack = 1

  constructor(dir: string, testDatabase: TestDatabase, database: Database, access: S3Access) {
    this.dir = dir
    this.audioRoot = path.join(dir, 'audio')
    this.#testDatabase = testDatabase
    this.database = database
    this.access = access
    this.store = this.openStore()
  }

  static async open(testDatabase: TestDatabase, access: S3Access): Promise<TestBed> {
    const dir = temporaryFolder('bed')
    await mkdir(path.join(dir, 'audio'))
    const database = await testDatabase.open()
    await migrateUp(database)
    return new TestBed(dir, testDatabase, database, access)
  }

  openStore(options: Partial<S3StoreOptions> = {}): ObjectStore {
    return createS3Store({ ...this.access, credentials: { ...this.access.credentials }, ...options })
  }

  /** The settings of this bed, for the program as a process of its own. */
  get env(): Record<string, string> {
    const { endpoint, region, bucket, credentials } = this.access
    return {
      DATABASE_URL: this.#testDatabase.url,
      S3_BUCKET_NAME: bucket,
      S3_ENDPOINT: endpoint,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AUDIO_STORAGE_PATH: this.audioRoot,
    }
  }

  /** Empties database, bucket and folder: no audio, no plans. */
  async reset(): Promise<void> {
    const { knex } = this.database
    // Deleting a few rows takes a tenth of the time that emptying so many tables takes.
    const ledger = 'parts items claims leases objects uploads files analyses job_tracks runs'.split(' ')
    const tables = [...ledger.map(table => `autodj_ledger.${table}`), 'analysis_jobs', 'tracks']
    await knex.raw(tables.map(table => `delete from ${table}`).join(';'))
    // The queue is there once something was queued; its rows do not depend on each other.
    const { rows } = await knex.raw(`select to_regclass('autodj_jobs.job') is not null as there`)
    if (rows[0].there) await knex.raw('delete from autodj_jobs.job')
    for await (const page of this.store.list()) await this.store.delete(page)
    for await (const page of this.store.listUploads()) {
      for (const upload of page) await this.store.abortUpload(upload.key, upload.uploadId)
    }
    for (const name of await readdir(this.dir)) await rm(path.join(this.dir, name), { recursive: true })
    await mkdir(this.audioRoot)
  }

  /** Something else that ends with this bed, after its store and database. */
  onClose(close: () => Promise<unknown>): void {
    this.#closing.push(close)
  }

  async close(): Promise<void> {
    this.store.close()
    await this.database.close()
    await this.#testDatabase.drop()
    await rm(this.dir, { recursive: true, force: true })
    for (const close of this.#closing.splice(0)) await close()
  }

  /** Makes a row and, where content is given, its file. @returns the id */
  async addTrack({
    path: filePath,
    content,
    title,
    artist,
    source = 'LOCAL',
    key,
  }: NewTestTrack): Promise<string> {
    const number = this.#nextTrack++
    const id = randomUUID()
    if (content !== undefined && filePath !== null) {
      const absolute = path.join(this.audioRoot, filePath)
      await mkdir(path.dirname(absolute), { recursive: true })
      await writeFile(absolute, content)
    }
    await this.database.knex('tracks').insert({
      id,
      spotify_id: `test:${id}`,
      title: title ?? `Title ${number}`,
      artist: artist ?? `Artist ${number}`,
      file_path: filePath,
      file_source: source,
      s3_object_key: key ?? null,
    })
    return id
  }

  /** A run of a command that is under way somewhere else. @returns its id */
  async startRun(command: string): Promise<string> {
    const id = randomUUID()
    await startRun(this.database.knex, { id, command, args: {}, host: 'h', pid: 1, version: '0' })
    return id
  }

  async addTracks(count: number, size: number): Promise<string[]> {
    const ids: string[] = []
    for (let number = 0; number < count; number++) {
      ids.push(
        await this.addTrack({
          path: `folder ${number % 7}/song ${number}.mp3`,
          content: fakeAudio(size, number),
        }),
      )
    }
    return ids
  }

  async tracks(): Promise<Map<string, TrackRow>> {
    const rows = (await this.database
      .knex('tracks')
      .select(
        'id',
        'title',
        'artist',
        'file_path',
        'file_source',
        'file_size',
        's3_object_key',
      )) as TrackRow[]
    return new Map(rows.map(row => [row.id, row]))
  }

  async objects(): Promise<Map<string, ObjectEntry>> {
    const found = new Map<string, ObjectEntry>()
    for await (const page of this.store.list()) for (const entry of page) found.set(entry.key, entry)
    return found
  }

  async openUploads(): Promise<string[]> {
    const keys: string[] = []
    for await (const page of this.store.listUploads()) keys.push(...page.map(one => one.key))
    return keys
  }

  /** Bytes of an object, or undefined. */
  async content(key: string): Promise<Buffer | undefined> {
    const found = await this.store.get(key)
    if (!found) return undefined
    const chunks: Uint8Array[] = []
    for await (const chunk of found.body) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  /** Runs one command's work in a context of its own on the bed's database; errors end in an exit code, as in `main`. */
  async run(
    command: string,
    work: (context: Context) => Promise<ExitCode>,
    options: {
      env?: Record<string, string>
      store?: Partial<S3StoreOptions>
      /** stands between the command and the store: see `hooked` */
      hooks?: StoreHooks
      stopping?: AbortController
      forcing?: AbortController
      now?: () => Date
      throttle?: Throttle
    } = {},
  ): Promise<BedRun> {
    const messages: Record<string, unknown>[] = []
    const stream = { write: (line: string) => messages.push(JSON.parse(line)) }
    const report = new JsonReporter({
      stdout: stream,
      stderr: stream,
      quiet: true,
      verbose: false,
      now: Date.now,
    })
    const config = loadConfig({
      cwd: this.dir,
      env: {
        ...this.env,
        ...options.env,
      },
    })
    const store = options.store ? this.openStore(options.store) : this.store
    const opened = openContext({
      config,
      report,
      invocation: { command, args: [] },
      interactive: false,
      stopping: options.stopping ?? new AbortController(),
      forcing: options.forcing ?? new AbortController(),
      now: options.now ?? (() => new Date()),
      cwd: this.dir,
      ...(options.throttle ? { throttle: options.throttle } : {}),
      openStore: async () => (options.hooks ? hooked(store, options.hooks) : store),
      runCommand: () => Promise.reject(new Error('no other command in a test bed')),
    })
    const context: Context = {
      ...opened.context,
      database: async () => this.database,
    }
    let exitCode: ExitCode
    let error: AppError | undefined
    try {
      exitCode = await work(context)
    } catch (thrown) {
      if (!(thrown instanceof AppError)) throw thrown
      error = thrown
      exitCode = thrown.exitCode
    } finally {
      await opened.release()
      if (options.store) store.close()
    }
    recordLines([command], messages)
    return {
      exitCode,
      messages,
      error,
      items: messages.filter(one => one['message_type'] === 'item'),
      summary: messages.find(one => one['message_type'] === 'summary') ?? {},
    }
  }
}
