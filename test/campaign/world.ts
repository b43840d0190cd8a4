/**
 * The world of the campaign: an application with its rows and files, a bucket, an operator who runs commands, and what
 * befalls them. One promise is watched: no command of autodj ever takes the last copy of a content.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { PutBucketVersioningCommand } from '@aws-sdk/client-s3'
import type { Command } from '../../src/cli/command.ts'
import { longName } from '../../src/cli/flags.ts'
import { commands } from '../../src/commands.ts'
import { ExitCode, systemErrorCode } from '../../src/errors.ts'
import { type ObjectStore, StoreError } from '../../src/storage/store.ts'
import type { BedRun, TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase, postgresTestDatabase } from '../support/database.ts'
import type { StoreHooks } from '../support/hooked-store.ts'
import { WaitingClis } from '../support/killed-cli.ts'
import { sdk, type TestServer } from '../support/s3-server.ts'
import { testPostgres } from '../support/servers.ts'
import { sha256 } from '../support/sums.ts'

/** What the operator does. Every one is run as a command of the program, with its flags as they are given there. */
export type Verb =
  | 'import'
  | 'upload-local'
  | 'upload-local --delete-local'
  | 'cleanup'
  | 'reconcile'
  | 'apply'
  | 'undo'
  | 'restore'
  | 'restore --plan'
  | 'fetch'
  | 'analyze --check'
  | 'upload-local --enqueue'
  | 'upload-local --delete-local --enqueue'
  | 'fetch --enqueue'
  | 'analyze --enqueue'
  | 'worker'

/** What befalls a command while it runs, at the `at`-th call to the store. */
export type Fault =
  | { kind: 'lost answer'; at: number }
  | { kind: 'crash'; at: number }
  /** kill -9, of a process of its own, that many thirteenths of the way through what the command does at most */
  | { kind: 'kill'; at: number }
  | { kind: 'stop'; at: number }
  /** every other row is locked from the begin, by a transaction of the application that ends at that call */
  | { kind: 'locked rows'; at: number }
  | { kind: 'application'; at: number; does: Deed }

/** What the application, or whoever else has the keys, does. */
export type Deed =
  | 'adds a track'
  | 'adds a file'
  | 'edits a file in place'
  | 'replaces a file'
  | 'renames a file'
  | 'deletes a row'
  | 'says LOCAL'
  | 'forgets a key'
  | 'writes a key as URL'
  | 'renames an object'
  | 'doubles an object'
  | 'gives an object other headers'
  | 'puts a foreign object'
  | 'backs the database up'
  | 'restores the backup'
  | 'empties the table'
  | 'unmounts the folder'
  | 'mounts the folder'
  | 'suspends versioning'
  | 'enables versioning'
  | 'moves the clock on'
  | 'moves the clock back'

export type Step =
  | { run: Verb; pick: number; fault?: Fault | undefined }
  /** at a time; where `pick` is even, the second in a process of its own */
  | { both: readonly [Verb, Verb]; pick: number }
  | { deed: Deed; pick: number }

const dayMs = 86_400_000
const ledger = [
  'runs',
  'items',
  'claims',
  'leases',
  'objects',
  'uploads',
  'parts',
  'files',
  'analyses',
  'job_tracks',
  'continued_jobs',
]
const queue = 'autodj_jobs.job'

/** Steps (see `cli-child.ts`) that a command takes on a library of this size, more or less. */
const usualSteps: Readonly<Record<string, number>> = {
  import: 300,
  'upload-local': 330,
  cleanup: 220,
  reconcile: 400,
  apply: 160,
  undo: 160,
  restore: 300,
  fetch: 300,
  analyze: 300,
  worker: 900,
}

/** The process is gone as far as store and database are concerned: nothing it does reaches them any more. */
class Crashed extends StoreError {
  constructor() {
    super('network', 'the process is gone', { cure: '' })
  }
}

export class World {
  readonly bed: TestBed
  /** in all lives so far */
  readonly counts = { commands: 0, 'kill -9': 0, crashes: 0, 'changes by the application': 0 }
  readonly #server: TestServer
  readonly #versioned: boolean
  /** every content that ever was, by its checksum */
  readonly #contents = new Map<string, string>()
  #next = 0
  #clock = 0
  #unlock: (() => Promise<void>) | undefined
  #plans: string[] = []
  /** those at work */
  #workers = 0
  /** rows by the table's name */
  #backup: ReadonlyMap<string, unknown[]> | undefined
  /** where there can be other processes: an embedded database has one */
  readonly #clis: WaitingClis | undefined

  constructor(bed: TestBed, server: TestServer, versioned: boolean, clis: WaitingClis | undefined) {
    this.bed = bed
    this.#server = server
    this.#versioned = versioned
    this.#clis = clis
  }

  /** @param versioned whether the bucket began with versioning */
  static async open(versioned: boolean): Promise<World> {
    const postgres = testPostgres()
    const database = await (postgres === undefined ? pgliteTestDatabase() : postgresTestDatabase(postgres))
    const { bed, server } = await embeddedBed(database, {
      buckets: [versioned ? { name: 'music', versioning: 'Enabled' } : 'music'],
    })
    const clis = database.url.startsWith('pglite:') ? undefined : new WaitingClis(1)
    return new World(bed, server, versioned, clis)
  }

  async close(): Promise<void> {
    await this.#clis?.close()
    await this.bed.close()
  }

  /** As it was made: nothing anywhere, then a few tracks in S3 with their files, and one that is on disk only. */
  async reset(): Promise<void> {
    await this.#mount()
    if (this.#versioned) {
      await this.#setVersioning('Enabled')
      for await (const page of this.bed.store.listVersions())
        await this.bed.store.delete(page.map(({ key, versionId }) => ({ key, versionId })))
    }
    this.#server.faults.clear()
    await this.bed.reset()
    this.#contents.clear()
    this.#next = 0
    this.#clock = 0
    this.#plans = []
    this.#backup = undefined
    for (let track = 0; track < 3; track++) await this.#deed('adds a track', track)
    await this.#run('upload-local', 0, undefined, new Set())
    await this.#deed('adds a track', 3)
  }

  /** @returns what happened, for a script to be read */
  async step(step: Step): Promise<string> {
    if ('deed' in step) {
      await this.#deed(step.deed, step.pick)
      return `application ${step.deed}`
    }
    const before = await this.existing()
    const excused = new Set<string>()
    let told: string
    if ('both' in step) {
      const [a, b] = await Promise.all(
        step.both.map((verb, index) =>
          index === 1 && step.pick % 2 === 0 && this.#clis !== undefined
            ? this.#run(verb, step.pick + index, 'apart', excused)
            : this.#run(verb, step.pick + index, undefined, excused),
        ),
      )
      told = `${step.both[0]} (${a}) beside ${step.both[1]} (${b})`
    } else {
      told = `${step.run} (${await this.#run(step.run, step.pick, step.fault, excused)})${describe(step.fault)}`
    }
    const after = await this.existing()
    const lost = [...before].filter(content => !after.has(content) && !excused.has(content))
    if (lost.length > 0) {
      throw new Error(`lost by ${told}: ${lost.map(content => this.#contents.get(content)).join(', ')}`)
    }
    return told
  }

  /** One more run of everything: then every row tells the truth. */
  async heal(): Promise<void> {
    this.#server.faults.clear()
    await this.#mount()
    this.#clock = 0
    const before = await this.existing()
    if (await this.#queued()) await this.#run('worker', 0, undefined, new Set())
    for (let round = 0; round < 2; round++) {
      for (const verb of ['import', 'upload-local', 'reconcile', 'apply'] as const)
        await this.#run(verb, 0, undefined, new Set())
    }
    const after = await this.existing()
    const lost = [...before].filter(content => !after.has(content))
    if (lost.length > 0)
      throw new Error(`lost by healing: ${lost.map(one => this.#contents.get(one)).join(', ')}`)
    const untrue = await this.#untruths()
    if (untrue.length > 0) throw new Error(`rows that do not tell the truth: ${untrue.join('; ')}`)
  }

  /** Checksums of the contents of which there is a copy: a file, an object, a version of one. */
  async existing(): Promise<Set<string>> {
    const found = new Set<string>()
    const take = (bytes: Uint8Array) => {
      const sum = sha256(bytes)
      if (this.#contents.has(sum)) found.add(sum)
    }
    for (const content of await filesNow(this.bed.dir)) take(content)
    const { store } = this.bed
    const read = async (key: string, versionId?: string) => {
      const content = await store.get(key, versionId === undefined ? {} : { versionId })
      if (content !== undefined) take(Buffer.concat(await Array.fromAsync(content.body)))
    }
    if (this.#versioned) {
      for await (const page of store.listVersions())
        for (const { key, versionId, isDeleteMarker } of page) if (!isDeleteMarker) await read(key, versionId)
    } else for await (const page of store.list()) for (const { key } of page) await read(key)
    return found
  }

  async #untruths(): Promise<string[]> {
    const wrong: string[] = []
    for (const row of (await this.bed.tracks()).values()) {
      if (row.file_source === 'S3') {
        const head = row.s3_object_key === null ? undefined : await this.bed.store.head(row.s3_object_key)
        if (head === undefined) wrong.push(`"${row.title}" says S3, ${row.s3_object_key} is not there`)
        else if (head.size !== Number(row.file_size)) {
          wrong.push(`"${row.title}" says ${row.file_size} bytes, the object has ${head.size}`)
        }
      } else if (row.file_source === 'LOCAL') {
        const file = row.file_path === null ? undefined : path.resolve(this.bed.audioRoot, row.file_path)
        if (file === undefined || !(await isFile(file)))
          wrong.push(`"${row.title}" says LOCAL, there is no file`)
      }
    }
    return wrong
  }

  async #run(
    verb: Verb,
    pick: number,
    fault: Fault | 'apart' | undefined,
    excused: Set<string>,
  ): Promise<string> {
    if (verb !== 'worker') return this.#runOne(verb, pick, fault, excused)
    await this.#timePasses()
    this.#workers++
    return this.#runOne(verb, pick, fault, excused).finally(() => this.#workers--)
  }

  async #runOne(
    verb: Verb,
    pick: number,
    fault: Fault | 'apart' | undefined,
    excused: Set<string>,
  ): Promise<string> {
    this.counts.commands++
    if ((verb === 'apply' || verb === 'undo') && this.#plans.length === 0)
      await this.#run('reconcile', pick, undefined, excused)
    if (fault === 'apart') return this.#runApart(verb, pick, undefined)
    if (fault?.kind === 'kill') {
      if (this.#clis !== undefined) return this.#runApart(verb, pick, fault.at)
      this.counts.commands--
      return this.#run(verb, pick, { kind: 'crash', at: fault.at }, excused)
    }
    const [name, ...argv] = this.#commandLine(verb, pick) as [string, ...string[]]
    const command = commands.find(one => one.name === name) as Command
    const { values, args } = parse(command, argv)
    const stopping = new AbortController()
    const forcing = new AbortController()
    const now = () => new Date(Date.now() + this.#clock)
    let run: BedRun
    const unlock = fault?.kind === 'locked rows' ? await this.#lockRows() : undefined
    this.#unlock = unlock
    try {
      run = await this.bed.run(name, context => command.run(context, values, args), {
        stopping,
        forcing,
        now,
        ...(fault === undefined ? {} : { hooks: this.#hooks(fault, { stopping, forcing, excused }) }),
      })
    } catch (error) {
      // What a command throws once it was told to leave everything at once is nobody's business.
      if (forcing.signal.aborted) return 'gone'
      throw error
    } finally {
      await unlock?.()
    }
    if (run.exitCode === ExitCode.fatal && run.error?.code === 'bug') throw run.error
    return outcome(run)
  }

  /** In a process of its own. @param killAt as `kill` has it; undefined: it is left to end */
  async #runApart(verb: Verb, pick: number, killAt: number | undefined): Promise<string> {
    const argv = this.#commandLine(verb, pick)
    const steps = usualSteps[argv[0] as string] ?? 400
    const { exitCode, output } = await (this.#clis as WaitingClis).run({
      argv,
      env: this.bed.env,
      cwd: this.bed.dir,
      killAt: killAt === undefined ? undefined : Math.ceil((steps * (killAt + 1)) / 13),
    })
    if (exitCode === ExitCode.fatal && output?.includes('bug in autodj'))
      throw new Error(`${argv.join(' ')}: ${output}`)
    if (exitCode === undefined) this.counts['kill -9']++
    return exitCode === undefined ? 'killed' : `exit ${exitCode}, a process of its own`
  }

  #commandLine(verb: Verb, pick: number): string[] {
    const plan = this.#plans[this.#plans.length - 1 - (pick % Math.min(2, this.#plans.length))] ?? ''
    const newPlan = () => {
      const file = path.join(this.bed.dir, `${this.#plans.length}.plan`)
      this.#plans.push(file)
      return file
    }
    const when = (isSo: boolean, ...argv: string[]) => (isSo ? argv : [])
    const impatient = ['--max-outage', '0s', '--lock-wait', '1s']
    switch (verb) {
      case 'import':
        return ['import']
      case 'upload-local':
        return ['upload-local', ...impatient]
      case 'upload-local --delete-local':
        return ['upload-local', '--delete-local', ...impatient]
      case 'cleanup':
        return ['cleanup', '--apply', '--older-than', '0s', ...when(pick % 2 === 0, '--force')]
      case 'reconcile':
        return [
          ...['reconcile', '--min-age', '0s', '--plan', newPlan(), '--max-delete', '100%'],
          ...when(pick % 3 !== 2, '--disk'),
          ...when(pick % 2 === 0, '--force'),
        ]
      case 'apply':
        return ['apply', plan, '--max-delete', '100%']
      case 'undo':
        return ['undo', plan]
      case 'restore':
        return ['restore', '--limit', String(1 + (pick % 4))]
      case 'restore --plan':
        return ['restore', '--plan', newPlan()]
      case 'fetch':
        return ['fetch', '--from', 's3', '--from', 'local', '--lock-wait', '1s']
      case 'analyze --check':
        return ['analyze', '--check', '--limit', '1', '--max-outage', '0s']
      case 'upload-local --enqueue':
        return ['upload-local', '--enqueue']
      case 'upload-local --delete-local --enqueue':
        return ['upload-local', '--delete-local', '--enqueue']
      case 'fetch --enqueue':
        return ['fetch', '--from', 's3', '--from', 'local', '--enqueue']
      case 'analyze --enqueue':
        return ['analyze', '--limit', '1', '--enqueue']
      case 'worker':
        return ['worker', '--until-empty', '--max-duration', '20s', ...impatient]
    }
  }

  async #hasQueue(): Promise<boolean> {
    const { rows } = await this.bed.database.knex.raw(`select to_regclass('${queue}') is not null as there`)
    return rows[0].there
  }

  async #queued(): Promise<boolean> {
    if (!(await this.#hasQueue())) return false
    return (
      (await this.bed.database.knex(queue).whereIn('state', ['created', 'retry', 'active']).first('id')) !==
      undefined
    )
  }

  /**
   * What a while does to the queue when no worker is there: jobs of dead ones are taken back, as pg-boss does it for a
   * heartbeat that stays out, and what failed is due again; at most once more, lest a life last twenty minutes.
   */
  async #timePasses(): Promise<void> {
    if (!(await this.#hasQueue())) return
    const { knex } = this.bed.database
    if (this.#workers === 0)
      await knex(queue)
        .where({ state: 'active' })
        .update({ state: 'retry', retry_count: knex.raw('retry_count + 1') })
    await knex(queue)
      .whereIn('state', ['created', 'retry'])
      .update({
        start_after: knex.fn.now(),
        retry_delay: 0,
        retry_backoff: false,
        retry_limit: knex.raw('retry_count + 1'),
      })
  }

  /** The fault, struck at a call to the store: of any method, whichever comes. */
  #hooks(
    fault: Fault,
    {
      stopping,
      forcing,
      excused,
    }: { stopping: AbortController; forcing: AbortController; excused: Set<string> },
  ): StoreHooks {
    let calls = 0
    let isStruck = false
    const before = async () => {
      if (isStruck && fault.kind === 'crash') throw new Crashed()
      if (calls++ < fault.at || isStruck) return
      isStruck = true
      if (fault.kind === 'crash') {
        this.counts.crashes++
        stopping.abort('sigterm')
        forcing.abort(new Crashed())
        throw new Crashed()
      }
      if (fault.kind === 'locked rows') await this.#unlock?.()
      if (fault.kind === 'stop') stopping.abort('sigterm')
      if (fault.kind === 'application') {
        const there = await this.existing()
        await this.#deed(fault.does, calls)
        const left = await this.existing()
        for (const content of there) if (!left.has(content)) excused.add(content)
      }
    }
    const after = async () => {
      if (fault.kind !== 'lost answer' || !isStruck) return undefined
      isStruck = false
      calls = Number.NEGATIVE_INFINITY
      throw new StoreError('network', 'the answer was lost', { cure: '' })
    }
    const methods = ['head', 'get', 'put', 'copy', 'delete', 'completeUpload', 'setHeaders'] as const
    return Object.fromEntries(
      methods
        .filter(name => typeof (this.bed.store as unknown as Record<string, unknown>)[name] === 'function')
        .map(name => [name, { before, after }]),
    ) as StoreHooks
  }

  /** Locks of an application in the middle of its own changes: on a server, which has more connections than one. */
  async #lockRows(): Promise<(() => Promise<void>) | undefined> {
    const { knex, dialect } = this.bed.database
    if (dialect === 'pglite') return undefined
    const trx = await knex.transaction()
    await trx.raw('select id from tracks where mod(hashtext(id::text), 2) = 0 for update')
    // Nor does an application hold them for ever, where the command makes no call to the store.
    const timer = setTimeout(() => void end(), 400)
    const end = async () => {
      clearTimeout(timer)
      if (!trx.isCompleted()) await trx.rollback()
    }
    return end
  }

  async #deed(deed: Deed, pick: number): Promise<void> {
    this.counts['changes by the application']++
    const { knex } = this.bed.database
    const { store, audioRoot } = this.bed
    const rows = [...(await this.bed.tracks()).values()].sort((a, b) => (a.title < b.title ? -1 : 1))
    const row = rows[pick % Math.max(1, rows.length)]
    const files = await filesOf(audioRoot)
    const file = files[pick % Math.max(1, files.length)]
    const objects = (await objectsOf(store)).filter(key => key.startsWith('audio/'))
    const object = objects[pick % Math.max(1, objects.length)]
    const isMounted = await isFolder(audioRoot)
    switch (deed) {
      case 'adds a track': {
        const { bytes, name } = this.#content()
        if (!isMounted) return
        const id = randomUUID()
        await writeFile(path.join(audioRoot, `${name}.mp3`), bytes)
        await knex('tracks').insert({
          id,
          spotify_id: id,
          title: name,
          artist: 'A',
          file_source: 'LOCAL',
          file_path: `${name}.mp3`,
        })
        return
      }
      case 'adds a file': {
        const { bytes, name } = this.#content()
        if (isMounted) await writeFile(path.join(audioRoot, `${name}.mp3`), bytes)
        return
      }
      case 'edits a file in place': {
        if (file === undefined) return
        const { mtime, atime, size } = await stat(file)
        const { bytes } = this.#content(size)
        await writeFile(file, bytes)
        await utimes(file, atime, mtime)
        return
      }
      case 'replaces a file': {
        if (file === undefined) return
        const { bytes } = this.#content()
        await writeFile(`${file}.new`, bytes)
        await rename(`${file}.new`, file)
        return
      }
      case 'renames a file':
        if (file !== undefined)
          await rename(file, path.join(audioRoot, `renamed ${pick % 7} ${path.basename(file)}`))
        return
      case 'deletes a row':
        if (row !== undefined) await knex('tracks').where({ id: row.id }).del()
        return
      case 'says LOCAL':
        if (row?.file_path != null)
          await knex('tracks').where({ id: row.id }).update({ file_source: 'LOCAL' })
        return
      case 'forgets a key':
        if (row !== undefined) await knex('tracks').where({ id: row.id }).update({ s3_object_key: null })
        return
      case 'writes a key as URL':
        if (row?.s3_object_key != null)
          await knex('tracks')
            .where({ id: row.id })
            .update({ s3_object_key: `s3://music/${row.s3_object_key.replace(/^s3:\/\/music\//, '')}` })
        return
      case 'renames an object':
      case 'doubles an object': {
        if (object === undefined) return
        const to = `audio/other ${pick % 5}.mp3`
        if ((await store.head(to)) !== undefined) return
        await store.copy(object, to)
        if (deed === 'renames an object') await store.delete([{ key: object }])
        return
      }
      case 'gives an object other headers':
        if (object !== undefined) await store.copy(object, object, { headers: { contentType: 'text/plain' } })
        return
      case 'puts a foreign object': {
        const { bytes, name } = this.#content()
        await store.put(`${['', 'audio/', 'quarantine/'][pick % 3]}foreign ${name}.bin`, bytes, {
          headers: { contentType: 'application/octet-stream' },
          checksums: {},
        })
        return
      }
      case 'backs the database up': {
        const tables = ['tracks', 'analysis_jobs', ...ledger.map(table => `autodj_ledger.${table}`)]
        if (await this.#hasQueue()) tables.push(queue)
        const backup = new Map<string, unknown[]>()
        for (const table of tables) {
          const { rows: all } = await knex.raw(`select to_json(one) as row from ${table} as one`)
          backup.set(
            table,
            all.map(({ row }: { row: unknown }) => row),
          )
        }
        this.#backup = backup
        return
      }
      case 'restores the backup':
        if (this.#backup === undefined) return
        await knex.raw(
          `truncate tracks, analysis_jobs, ${ledger.map(table => `autodj_ledger.${table}`).join(', ')} cascade`,
        )
        if (await this.#hasQueue()) await knex.raw(`delete from ${queue}`)
        for (const [table, all] of this.#backup) await this.#fill(table, all)
        return
      case 'empties the table':
        await knex('tracks').del()
        return
      case 'unmounts the folder':
        if (!isMounted || (await isFolder(this.#away))) return
        await rename(audioRoot, this.#away)
        if (pick % 2 === 0) await mkdir(audioRoot)
        return
      case 'mounts the folder':
        return this.#mount()
      case 'suspends versioning':
        if (this.#versioned) await this.#setVersioning('Suspended')
        return
      case 'enables versioning':
        if (this.#versioned) await this.#setVersioning('Enabled')
        return
      case 'moves the clock on':
        this.#clock += 400 * dayMs
        return
      case 'moves the clock back':
        this.#clock = -3 * dayMs
        return
    }
  }

  get #away(): string {
    return path.join(this.bed.dir, 'away')
  }

  /** The disk is back; what was written to the empty mount point meanwhile lies below it, kept here. */
  async #mount(): Promise<void> {
    if (!(await isFolder(this.#away))) return
    if (await isFolder(this.bed.audioRoot)) {
      await rename(this.bed.audioRoot, path.join(this.bed.dir, `below ${this.#next++}`))
    }
    await rename(this.#away, this.bed.audioRoot)
  }

  async #setVersioning(Status: 'Enabled' | 'Suspended'): Promise<void> {
    const client = sdk(this.#server)
    await client.send(
      new PutBucketVersioningCommand({ Bucket: 'music', VersioningConfiguration: { Status } }),
    )
    client.destroy()
  }

  async #fill(table: string, rows: unknown[]): Promise<void> {
    if (rows.length === 0) return
    await this.bed.database.knex.raw(
      `insert into ${table} select * from json_populate_recordset(null::${table}, ?::json)`,
      [JSON.stringify(rows)],
    )
  }

  /** Bytes that were never before, taken for audio. */
  #content(size = 600 + (this.#next % 5)): { bytes: Buffer; name: string } {
    const name = `content ${this.#next++}`
    const bytes = Buffer.alloc(Math.max(size, 40), `${name} `)
    bytes.write('fLaC')
    this.#contents.set(sha256(bytes), name)
    return { bytes, name }
  }
}

function outcome({ exitCode, error }: BedRun): string {
  return error === undefined ? `exit ${exitCode}` : `exit ${exitCode}, ${error.code}`
}

/** Flags and arguments of a command line, as the program reads them. */
function parse(
  { flags }: Command,
  argv: readonly string[],
): { values: Record<string, unknown>; args: string[] } {
  const values = Object.fromEntries(Object.entries(flags).map(([key, one]) => [key, one.defaultValue]))
  const args: string[] = []
  const words = argv[Symbol.iterator]()
  for (const word of words) {
    const found = Object.entries(flags).find(([, { spec }]) => longName(spec) === word)
    if (found === undefined) args.push(word)
    else {
      const [key, { spec, parse: read }] = found
      const raw = /[<[]/.test(spec) ? (words.next().value as string) : undefined
      values[key] = raw === undefined ? true : (read?.(raw, values[key]) ?? raw)
    }
  }
  return { values, args }
}

function describe(fault: Fault | undefined): string {
  if (fault === undefined) return ''
  return fault.kind === 'application'
    ? `, at call ${fault.at} application ${fault.does}`
    : `, ${fault.kind} at call ${fault.at}`
}

/** What the files below a folder hold, looked at anew as long as a command that is under way moves them meanwhile. */
async function filesNow(folder: string): Promise<Buffer[]> {
  for (let attempt = 1; ; attempt++) {
    const contents: Buffer[] = []
    try {
      for (const name of await readdir(folder, { recursive: true })) {
        const file = path.join(folder, name)
        if ((await stat(file)).isFile()) contents.push(await readFile(file))
      }
      return contents
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT' || attempt === 100) throw error
    }
  }
}

async function filesOf(folder: string): Promise<string[]> {
  if (!(await isFolder(folder))) return []
  const names = (await readdir(folder, { recursive: true })).sort()
  const files: string[] = []
  for (const name of names) {
    const file = path.join(folder, name)
    if (!path.basename(name).startsWith('.') && (await isFile(file))) files.push(file)
  }
  return files
}

async function objectsOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = []
  for await (const page of store.list()) keys.push(...page.map(({ key }) => key))
  return keys.sort()
}

const isFile = (file: string): Promise<boolean> =>
  stat(file).then(
    found => found.isFile(),
    () => false,
  )
const isFolder = (folder: string): Promise<boolean> =>
  stat(folder).then(
    found => found.isDirectory(),
    () => false,
  )
