import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { acquireLockFile } from '../../src/db/lock-file.ts'
import { quarantineKey } from '../../src/plan/plan-file.ts'
import { machineName } from '../../src/runs/recorded-run.ts'
import type { TestBucket } from '../contract/reconcile.ts'
import { cli } from '../support/cli.ts'
import { migrated, pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { embeddedBucket } from '../support/embedded-s3.ts'
import { end, listening, urlOf } from '../support/listening.ts'
import { snapshot } from '../support/snapshot.ts'
import { crc32Text, sha256 } from '../support/sums.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const day = 86_400_000

describe('cleanup and restore', () => {
  let home: string
  let bucket: TestBucket
  let original: TestDatabase
  let db: TestDatabase
  let env: Record<string, string>
  let serverDaysLater: number

  beforeAll(async () => {
    original = await migrated(await pgliteTestDatabase())
  })
  afterAll(() => original.drop())

  beforeEach(async () => {
    home = temporaryFolder('cleanup')
    await mkdir(path.join(home, 'audio'))
    serverDaysLater = 0
    bucket = await embeddedBucket({ clock: () => Date.now() + serverDaysLater * day })
    db = await original.copy()
    env = { ...bucket.env, DATABASE_URL: db.url, AUDIO_STORAGE_PATH: path.join(home, 'audio') }
  })
  afterEach(async () => {
    await bucket.close()
    await db.drop()
  })

  const withDb = <T>(work: (database: Database) => Promise<T>) => db.use(work)
  const run = (
    argv: string[],
    { daysLater = 0, more = {} }: { daysLater?: number; more?: Record<string, string> } = {},
  ) => cli(argv, { env: { ...env, ...more }, cwd: home, now: () => new Date(Date.now() + daysLater * day) })

  async function put(key: string, content: string): Promise<void> {
    const bytes = Buffer.from(content)
    await bucket.store.put(key, bytes, {
      headers: {
        contentType: 'audio/mpeg',
        metadata: { sha256: sha256(bytes) },
      },
      checksums: { crc32: crc32Text(bytes) },
    })
  }
  async function file(name: string, content: string, unusedDays: number): Promise<string> {
    const absolute = path.join(home, 'audio', name)
    await mkdir(path.dirname(absolute), { recursive: true })
    await writeFile(absolute, content)
    const then = new Date(Date.now() - unusedDays * day)
    await utimes(absolute, then, then)
    return name
  }
  const rows: Record<string, unknown>[] = []
  let rowsMade = 0
  function row(
    source: string,
    key: string | null,
    filePath: string | null,
    size: number | null = null,
  ): string {
    // In the order of their making: pages go by id.
    rowsMade += 1
    const id = `00000000-0000-4000-8000-${String(rowsMade).padStart(12, '0')}`
    rows.push({
      id,
      spotify_id: id,
      title: id,
      artist: 'x',
      file_source: source,
      s3_object_key: key,
      file_path: filePath,
      file_size: size,
    })
    return id
  }
  async function save(): Promise<void> {
    await withDb(async ({ knex }) => {
      for (const values of rows.splice(0)) await knex('tracks').insert(values)
    })
  }
  const see = () =>
    withDb(({ knex }) => snapshot({ knex, store: bucket.store, audioRoot: path.join(home, 'audio') }))
  const columns = async (id: string) =>
    withDb(({ knex }) => knex('tracks').first('file_source', 's3_object_key', 'file_path').where({ id }))
  const here = (name: string): boolean => existsSync(path.join(home, 'audio', name))
  const reasons = (messages: Record<string, unknown>[], state: string) =>
    messages
      .filter(message => message['state'] === state)
      .map(message => [message['subject'], message['reason']])

  it('removes what is proved and old, and keeps everything else', async () => {
    await put('audio/old.mp3', 'old')
    const old = row('S3', 'audio/old.mp3', await file('artist/old.mp3', 'old', 60))
    await put('audio/new.mp3', 'new')
    row('S3', 'audio/new.mp3', await file('new.mp3', 'new', 1))
    // Dated in the future, it was used when it was last changed: just now.
    await put('audio/future.mp3', 'future')
    row('S3', 'audio/future.mp3', await file('future.mp3', 'future', -700))
    await put('audio/other.mp3', 'abc')
    row('S3', 'audio/other.mp3', await file('other.mp3', 'abd', 60))
    row('S3', 'audio/lost.mp3', await file('lost.mp3', 'the last copy', 60))
    row('LOCAL', null, await file('local.mp3', 'local', 60))
    await put('audio/shared.mp3', 'shared')
    row('S3', 'audio/shared.mp3', await file('shared.mp3', 'shared', 60))
    row('LOCAL', null, 'shared.mp3')
    const stale = row('S3', 'audio/old.mp3', 'gone/long ago.mp3')
    await save()
    const before = await see()

    const dry = await run(['cleanup'])
    expect(dry.exitCode).toBe(0)
    expect(dry.stdout).toMatch(/^would remove local-copy artist\/old\.mp3 \(3 B\)$/m)
    expect(dry.stdout).toMatch(
      /^Dry run: 2 items \(3 B\) would be removed; nothing was deleted\. 3 items kept/m,
    )
    // A dry run proves as much as the run itself would.
    expect(dry.stdout).toMatch(/^kept local-copy other\.mp3: the object's content differs from the file's$/m)
    expect(await see()).toEqual(before)

    const { exitCode, messages, stderr } = await run(['cleanup', '--apply', '--json'])
    expect([exitCode, stderr]).toEqual([0, ''])
    expect(reasons(messages, 'kept').sort()).toEqual([
      ['lost.mp3', 'the object is not in the bucket'],
      ['other.mp3', "the object's content differs from the file's"],
      ['shared.mp3', 'another track that is not in S3 yet has the same file'],
    ])
    expect(here('artist/old.mp3')).toBe(false)
    expect(here('artist')).toBe(false)
    for (const name of ['new.mp3', 'other.mp3', 'lost.mp3', 'local.mp3', 'shared.mp3'])
      expect([name, here(name)]).toEqual([name, true])
    expect(await columns(old)).toEqual({ file_source: 'S3', s3_object_key: 'audio/old.mp3', file_path: null })
    expect(await columns(stale)).toMatchObject({ file_path: null })
    expect((await see()).objects).toEqual(before.objects)
    expect(here('future.mp3')).toBe(true)
    await run(['cleanup', '--apply', '--older-than', '0s'])
    expect(here('future.mp3')).toBe(false)
  })

  it('counts a file that several rows name once', async () => {
    for (const name of ['a', 'b']) {
      await put(`audio/${name}.mp3`, 'both')
      row('S3', `audio/${name}.mp3`, name === 'a' ? await file('both.mp3', 'both', 60) : './both.mp3')
    }
    await save()
    const counted = { removed: 2, bytes: 4, kept: 0, by_kind: { 'local-copy': 1, 'stale-path': 1 } }
    for (const flags of [[], ['--apply']])
      expect((await run(['cleanup', ...flags, '--json'])).messages.at(-1)).toMatchObject(counted)
    expect(here('both.mp3')).toBe(false)
  })

  it('keeps what the CDN does not serve, byte for byte', async () => {
    const served: Record<string, string> = { '/audio/same.mp3': 'the same', '/audio/other.mp3': 'yet other' }
    for (const name of ['same', 'other', 'away']) {
      const content = name === 'other' ? 'the other' : `the ${name}`
      await put(`audio/${name}.mp3`, content)
      row('S3', `audio/${name}.mp3`, await file(`${name}.mp3`, content, 60))
    }
    await save()
    const cdn = createServer((request, response) => {
      const content = Buffer.from(served[request.url ?? ''] ?? '')
      const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
      const part = content.subarray(Number(start), Number(end) + 1)
      if (part.length === 0) response.writeHead(403).end()
      else response.writeHead(206, { 'content-range': `bytes ${start}-${end}/${content.length}` }).end(part)
    })
    await listening(cdn)
    const more = { CLOUDFRONT_DOMAIN: urlOf(cdn) }
    try {
      const { exitCode, messages } = await run(['cleanup', '--apply', '--json'], { more })
      expect(exitCode).toBe(0)
      expect(reasons(messages, 'kept').sort()).toEqual([
        ['away.mp3', 'the CDN does not serve the same bytes: HTTP 403'],
        ['other.mp3', 'the CDN does not serve the same bytes: the bytes differ'],
      ])
      expect(['same', 'other', 'away'].map(name => here(`${name}.mp3`))).toEqual([false, true, true])
    } finally {
      end(cdn)
    }
  })

  it('keeps the folder below MAX_AUDIO_CACHE_GB, least recently used first', async () => {
    for (const [index, name] of ['c', 'a', 'b', 'd'].entries()) {
      const content = name.repeat(1000)
      await put(`audio/${name}.mp3`, content)
      row('S3', `audio/${name}.mp3`, await file(`${name}.mp3`, content, 10 - index))
    }
    await save()
    // 2,500 bytes: two of the four have to go.
    const { exitCode } = await run(['cleanup', '--apply'], { more: { MAX_AUDIO_CACHE_GB: '0.0000023283' } })
    expect(exitCode).toBe(0)
    expect(['c', 'a', 'b', 'd'].map(name => here(`${name}.mp3`))).toEqual([false, false, true, true])
  })

  it('sweeps what dead runs and the past have left, and nothing of the living', async () => {
    row('LOCAL', null, await file('one.mp3', 'one', 1))
    row('S3', 'audio/wanted.mp3', null)
    const planId = randomUUID()
    const long = `audio/${'x'.repeat(1_000)}.mp3`
    row('S3', long, null)
    await save()
    await put(quarantineKey(planId, long), 'the last copy of another')
    await put(`quarantine/${planId}/audio/gone.mp3`, 'gone')
    await put(`quarantine/${planId}/audio/wanted.mp3`, 'the last copy')
    const headers = { contentType: 'audio/mpeg' }
    const abandoned = await bucket.store.createUpload('audio/a.mp3', { headers })
    const owned = await bucket.store.createUpload('audio/b.mp3', { headers })
    const [dead, alive] = [randomUUID(), randomUUID()]
    await withDb(async ({ knex }) => {
      const values = { command: 'upload-local', host: 'elsewhere', pid: 1, version: '0' }
      const far = new Date(Date.now() + 1000 * day)
      await knex('autodj_ledger.runs').insert({ ...values, id: alive, lease_until: far })
      await knex('autodj_ledger.runs').insert({
        ...values,
        id: dead,
        lease_until: new Date(0),
        state: 'abandoned',
      })
      for (let index = 0; index < 5; index += 1) {
        const then = new Date(Date.now() - (200 + index) * day)
        await knex('autodj_ledger.runs').insert({
          ...values,
          id: randomUUID(),
          command: 'verify',
          started_at: then,
          finished_at: then,
          lease_until: then,
          state: 'done',
        })
      }
      await knex('autodj_ledger.uploads').insert({
        bucket: 'music',
        key: 'audio/b.mp3',
        upload_id: owned,
        path: 'b',
        mtime_ns: 0,
        size: 1,
        part_size: 1,
        run_id: alive,
      })
    })
    // Of a process that works on another database, for days.
    const elsewhere = randomUUID()
    for (const id of [dead, alive, elsewhere]) await mkdir(path.join(tmpdir(), `autodj-run-${id}`))
    const longAgo = new Date(Date.now() - 3 * day)
    await utimes(path.join(tmpdir(), `autodj-run-${elsewhere}`), longAgo, longAgo)
    const lock = await acquireLockFile(path.join(tmpdir(), `autodj-run-${elsewhere}.lock`), 'run')
    try {
      serverDaysLater = 40
      const { exitCode, messages } = await run(['cleanup', '--apply', '--json'], { daysLater: 40 })
      serverDaysLater = 0
      expect(exitCode).toBe(0)
      const kept = ['audio/wanted.mp3', long].map(key => [
        quarantineKey(planId, key),
        `a row names ${key}, but nothing is there: this may be the last copy`,
      ])
      expect(reasons(messages, 'kept').sort()).toEqual(kept.sort())
      expect(existsSync(path.join(tmpdir(), `autodj-run-${dead}`))).toBe(false)
      for (const id of [alive, elsewhere])
        expect(existsSync(path.join(tmpdir(), `autodj-run-${id}`))).toBe(true)
    } finally {
      await lock.release()
      for (const id of [dead, alive, elsewhere])
        await rm(path.join(tmpdir(), `autodj-run-${id}`), { recursive: true, force: true })
    }
    expect(await bucket.store.listParts('audio/a.mp3', abandoned)).toBeUndefined()
    expect(await bucket.store.listParts('audio/b.mp3', owned)).toEqual([])
    expect(await bucket.store.head(`quarantine/${planId}/audio/gone.mp3`)).toBeUndefined()
    expect(await bucket.store.head(`quarantine/${planId}/audio/wanted.mp3`)).toBeDefined()
    expect(await bucket.store.head(quarantineKey(planId, long))).toBeDefined()
    const left = await withDb(({ knex }) => knex('autodj_ledger.runs').where({ command: 'verify' }))
    expect(left.length).toBe(3)
  })

  it('finds uploads that the store does not list by those it began itself, and reports none as gone that is not', async () => {
    row('LOCAL', null, await file('one.mp3', 'one', 1))
    await save()
    const headers = { contentType: 'audio/mpeg' }
    const [gone, stays] = [
      await bucket.store.createUpload('audio/a b é.mp3', { headers }),
      await bucket.store.createUpload('audio/c.mp3', { headers }),
    ]
    await withDb(({ knex }) =>
      knex('autodj_ledger.uploads').insert(
        [
          ['audio/a b é.mp3', gone],
          ['audio/c.mp3', stays],
        ].map(([key, upload_id]) => ({
          bucket: 'music',
          key,
          upload_id,
          path: key,
          mtime_ns: 0,
          size: 1,
          part_size: 1,
          run_id: null,
          created_at: new Date(Date.now() - 60 * day),
        })),
      ),
    )
    bucket.faults!.add({
      match: { operation: 'ListMultipartUploads' },
      fault: { status: 501, code: 'NotImplemented' },
    })
    bucket.faults!.add({
      match: { operation: 'AbortMultipartUpload', key: 'audio/c.mp3' },
      fault: { status: 404, code: 'NoSuchUpload' },
    })
    try {
      const { messages } = await run(['cleanup', '--apply', '--json'])
      expect(JSON.stringify(messages)).toContain('aborted, but the store still has it')
    } finally {
      bucket.faults!.clear()
    }
    expect(await bucket.store.listParts('audio/a b é.mp3', gone)).toBeUndefined()
    expect(await bucket.store.listParts('audio/c.mp3', stays)).toEqual([])
  })

  it('refuses an empty audio folder (exit 7), and while another one runs (exit 11), naming it', async () => {
    row('LOCAL', null, 'somewhere.mp3')
    await save()
    const empty = await run(['cleanup', '--apply'])
    expect([empty.exitCode, empty.stderr]).toEqual([7, expect.stringMatching(/looks empty or unmounted/)])
    await withDb(async ({ knex }) => {
      const id = randomUUID()
      const until = new Date(Date.now() + day)
      await knex('autodj_ledger.runs').insert({
        id,
        command: 'cleanup',
        host: machineName(),
        pid: process.pid,
        version: '0',
        lease_until: until,
      })
      await knex('autodj_ledger.leases').insert({
        name: 'removal',
        run_id: id,
        host: 'cron-host',
        pid: 4711,
        expires_at: until,
      })
    })
    const locked = await run(['cleanup', '--apply'])
    expect(locked.exitCode).toBe(11)
    expect(locked.stderr).toMatch(/locked by cleanup \(pid 4711 on cron-host\) since .*, \d+ s/)
    // Between its download and its row, a file would look like a copy that may go.
    expect((await run(['restore'])).exitCode).toBe(11)
    // A lease that ran out is nobody's.
    await withDb(({ knex }) => knex('autodj_ledger.leases').update({ expires_at: new Date(0) }))
    expect((await run(['cleanup', '--apply', '--force'])).exitCode).toBe(0)
  })

  it('stops when its time is up (exit 10), and tells the health check how it ended', async () => {
    await put('audio/old.mp3', 'old')
    row('S3', 'audio/old.mp3', await file('old.mp3', 'old', 60))
    await save()
    const pings: string[] = []
    const server: Server = createServer((request, response) => {
      pings.push(request.url ?? '')
      response.statusCode = pings.length === 1 ? 500 : 200
      response.end()
    })
    await listening(server)
    const url = `${urlOf(server)}/uuid`
    try {
      const late = await run(['cleanup', '--apply', '--max-duration', '0s', '--healthcheck', url])
      expect(late.exitCode).toBe(10)
      expect(late.stderr).toMatch(/--healthcheck: start: HTTP 500/)
      expect(here('old.mp3')).toBe(true)
      expect((await run(['cleanup', '--apply', '--healthcheck', url])).exitCode).toBe(0)
      expect(pings).toEqual(['/uuid/start', '/uuid/10', '/uuid/start', '/uuid/0'])
    } finally {
      server.close()
    }
    expect(here('old.mp3')).toBe(false)
    const unreachable = await run(['cleanup', '--apply', '--force', '--healthcheck', url])
    expect(unreachable.exitCode).toBe(0)
  })

  it('restores objects to files, checks before it renames, and switches the rows', async () => {
    await put('audio/Artist/one.mp3', 'one')
    await put('audio/two.mp3', 'two')
    await put('audio/three.mp3', 'three')
    const one = row('S3', 'audio/Artist/one.mp3', null)
    const two = row('S3', 'audio/two.mp3', 'kept/two.mp3')
    const twin = row('S3', 'audio/two.mp3', 'kept/two.mp3')
    const three = row('S3', 'audio/three.mp3', null)
    const gone = row('S3', 'audio/gone.mp3', null)
    const evil = row('S3', 'audio/../../evil.mp3', null)
    await save()
    // What the ledger proved is not what is there any more.
    await withDb(({ knex }) =>
      knex('autodj_ledger.objects').insert({
        bucket: 'music',
        key: 'audio/three.mp3',
        size: 5,
        sha256: 'f'.repeat(64),
        etag: 'x',
      }),
    )
    const objects = (await see()).objects
    const dry = await run(['restore', '--dry-run'])
    expect([dry.exitCode, dry.stdout]).toEqual([
      3,
      expect.stringMatching(/^Dry run: 5 tracks \(0 B\) would be restored/m),
    ])
    expect((await see()).files).toEqual({})

    const { exitCode, messages } = await run(['restore', '--json'])
    expect(exitCode).toBe(3)
    const codes = messages.filter(message => message['state'] === 'failed').map(message => message['code'])
    expect(codes.sort()).toEqual(['file.refused', 'object.missing', 'restore.corrupt'])
    expect(await columns(one)).toEqual({
      file_source: 'LOCAL',
      s3_object_key: null,
      // As the application would open it.
      file_path: path.join(home, 'audio/Artist/one.mp3'),
    })
    for (const id of [two, twin])
      expect(await columns(id)).toMatchObject({
        file_source: 'LOCAL',
        file_path: path.join(home, 'audio/kept/two.mp3'),
      })
    for (const id of [three, gone, evil]) expect(await columns(id)).toMatchObject({ file_source: 'S3' })
    const after = await see()
    expect(Object.keys(after.files).sort()).toEqual(['Artist', 'Artist/one.mp3', 'kept', 'kept/two.mp3'])
    expect(await readFile(path.join(home, 'audio/Artist/one.mp3'), 'utf8')).toBe('one')
    expect(after.objects).toEqual(objects)
  })

  it('lets no track that cannot be restored use up --limit', async () => {
    row('S3', 'audio/gone.mp3', null)
    await put('audio/a.mp3', 'a')
    await put('audio/b.mp3', 'b')
    const a = row('S3', 'audio/a.mp3', null)
    const b = row('S3', 'audio/b.mp3', null)
    await save()
    expect((await run(['restore', '--limit', '1'])).exitCode).toBe(3)
    expect([await columns(a), await columns(b)]).toMatchObject([
      { file_source: 'LOCAL' },
      { file_source: 'S3' },
    ])
  })

  it('removes what was restored only while its file is there; what a killed restore left half written goes', async () => {
    await put('audio/a.mp3', 'a')
    row('S3', 'audio/a.mp3', null)
    await save()
    expect((await run(['restore', '--plan', 'a.plan'])).exitCode).toBe(0)
    await rm(path.join(home, 'audio/a.mp3'))
    const { exitCode, messages } = await run(['apply', 'a.plan', '--json'])
    expect([exitCode, reasons(messages, 'skipped')]).toEqual([
      0,
      [['audio/a.mp3', expect.stringMatching(/a\.mp3/)]],
    ])
    expect(await bucket.store.head('audio/a.mp3')).toBeDefined()
    // What a killed restore has left half written goes with the next cleanup.
    await file('.autodj-restore-0123456789abcdef', 'half', 0)
    await file('other.mp3', 'x', 0)
    expect((await run(['cleanup', '--apply'])).exitCode).toBe(0)
    expect([here('.autodj-restore-0123456789abcdef'), here('other.mp3')]).toEqual([false, true])
  })

  it('restores elsewhere, a part at a time, overwrites nothing, and plans the removal', async () => {
    for (const name of ['a', 'b', 'c']) {
      await put(`audio/${name}.mp3`, name)
      row('S3', `audio/${name}.mp3`, null)
    }
    await save()
    const there = path.join(home, 'elsewhere')
    await mkdir(there)
    await writeFile(path.join(there, 'b.mp3'), 'something else')
    await writeFile(path.join(there, 'c.mp3'), 'c')
    const first = await run(['restore', '--to', 'elsewhere', '--limit', '1', '--plan', 'one.plan'])
    expect(first.exitCode).toBe(0)
    const second = await run(['restore', '--to', 'elsewhere', '--plan', 'rest.plan', '--json'])
    expect(second.exitCode).toBe(3)
    expect(await readFile(path.join(there, 'b.mp3'), 'utf8')).toBe('something else')
    const paths = await withDb(({ knex }) =>
      knex('tracks').where({ file_source: 'LOCAL' }).pluck('file_path'),
    )
    expect(paths.length).toBe(2)
    for (const name of paths) expect(path.dirname(name)).toBe(there)

    const at = { more: { AUDIO_STORAGE_PATH: there } }
    for (const plan of ['one.plan', 'rest.plan']) expect((await run(['apply', plan], at)).exitCode).toBe(0)
    const keys = Object.keys((await see()).objects).map(key =>
      key.replace(/^quarantine\/[^/]+\//, 'quarantine/'),
    )
    expect(keys.filter(key => key.startsWith('audio/'))).toEqual(['audio/b.mp3'])
    expect(keys.filter(key => key.startsWith('quarantine/')).sort()).toEqual([
      'quarantine/audio/a.mp3',
      'quarantine/audio/c.mp3',
    ])
    for (const plan of ['rest.plan', 'one.plan']) expect((await run(['undo', plan], at)).exitCode).toBe(0)
    expect(Object.keys((await see()).objects)).toEqual(['audio/a.mp3', 'audio/b.mp3', 'audio/c.mp3'])
  })
})
