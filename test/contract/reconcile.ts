/** What `reconcile` must find, and must not invent, whatever database and S3 server it is run against. */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { migrateUp } from '../../src/db/migrate.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import { cli } from '../support/cli.ts'
import type { TestDatabase } from '../support/database.ts'
import { type FixtureLibrary, makeFixtureLibrary } from '../support/fixture-library.ts'
import { putInventory } from '../support/inventory.ts'
import type { FaultRules } from '../support/s3-server/faults.ts'
import { type Snapshot, snapshot } from '../support/snapshot.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

export interface TestBucket {
  store: ObjectStore
  /** where the server can be made to misbehave */
  faults?: FaultRules
  /** settings that lead the program to the same bucket */
  env: Record<string, string>
  close(): Promise<void>
}

interface Servers {
  /** leaves out what takes long and differs little from server to server */
  quick?: boolean
  database(): Promise<TestDatabase>
  bucket(options?: { versioned?: boolean }): Promise<TestBucket>
}

export function reconcileContract(name: string, servers: Servers): void {
  const thorough = it.skipIf(servers.quick)
  describe(`reconcile: ${name}`, () => {
    let folder: string
    let database: TestDatabase
    let bucket: TestBucket
    let library: FixtureLibrary
    let env: Record<string, string>

    const withDatabase = <T>(work: (database: Database) => Promise<T>) => database.use(work)
    const run = (...argv: string[]) => cli(['reconcile', ...argv], { env, cwd: folder })

    beforeAll(async () => {
      folder = temporaryFolder('reconcile')
      const audioRoot = path.join(folder, 'audio')
      await mkdir(audioRoot)
      database = await servers.database()
      bucket = await servers.bucket()
      env = { ...bucket.env, DATABASE_URL: database.url, AUDIO_STORAGE_PATH: audioRoot }
      library = await withDatabase(async opened => {
        await migrateUp(opened)
        return makeFixtureLibrary({ knex: opened.knex, store: bucket.store, audioRoot })
      })
    })
    afterAll(async () => {
      await bucket.close()
      await database.drop()
    })

    it('finds at least three of every class, and invents none', async () => {
      const { exitCode, messages } = await run('--disk', '--json', '--verbose', '--combined', 'combined.txt')
      expect(exitCode).toBe(4)
      const items = messages.filter(message => message['message_type'] === 'item')
      const line = (sigil: unknown, item: unknown, classes: readonly string[]): string =>
        `${sigil} ${item}: ${[...classes].sort().join(' ')}`
      const found = items
        .filter(item => (item['differences'] as unknown[]).length > 0)
        .map(item =>
          line(
            item['sigil'],
            item['subject'],
            (item['differences'] as { class: string }[]).map(d => d.class),
          ),
        )
      const expected = library.expected.map(({ sigil, name: item, classes }) => line(sigil, item, classes))
      expect(found.sort()).toEqual(expected.sort())
      const agreeing = items.filter(
        item => item['sigil'] === '=' && (item['differences'] as unknown[]).length === 0,
      )
      expect(agreeing.length).toBe(library.agree)

      const summary = messages.find(message => message['message_type'] === 'summary')
      const counts = Object.entries(summary?.['found'] as Record<string, number>)
      for (const [kind, count] of counts) expect([kind, count >= 3]).toEqual([kind, true])
      expect(counts.length).toBe(12)
      expect(summary).toMatchObject({ rows: library.rows, unread: 0, changed: 0 })

      // rclone's form, a line for each name.
      const combined = (await readFile(path.join(folder, 'combined.txt'), 'utf8')).trimEnd().split('\n')
      expect(combined.every(one => /^[=+*!-] ./.test(one))).toBe(true)
      expect(combined.length).toBe(
        items.length -
          library.expected.filter(e => e.sigil === '=' && e.classes[0] === 'duplicate-content').length,
      )
    })

    thorough('finds the same again, and nothing is worn out by looking', async () => {
      const heads = async (): Promise<number> => {
        const { messages } = await run('--disk', '--json')
        const summary = messages.find(message => message['message_type'] === 'summary')
        expect(summary?.['drift']).toBe(library.expected.filter(({ sigil }) => sigil !== '=').length)
        return summary?.['heads'] as number
      }
      expect(await heads()).toBe(await heads())
    })

    it('says it in text, in the form of rclone', async () => {
      const { exitCode, stdout } = await run('--disk')
      expect(exitCode).toBe(4)
      expect(stdout).toMatch(
        /^\+ audio\/missing\/1\.mp3 {2}missing-object \(no object, the local file is there\)$/m,
      )
      expect(stdout).toMatch(/^- audio\/orphan\/1\.mp3 {2}orphan-object/m)
      expect(stdout).toMatch(/^\* audio\/size\/1\.mp3 {2}size-differs \(row \d+ bytes, object \d+ bytes\)$/m)
      expect(stdout).not.toMatch(/right\//)
    })

    it('hashes everything with --deep, and about a share of it with --sample', async () => {
      const hashed = async (...argv: string[]): Promise<number> => {
        const { messages } = await run('--deep', '--json', ...argv)
        return messages.find(message => message['message_type'] === 'summary')?.['hashed'] as number
      }
      const all = await hashed()
      expect(all).toBeGreaterThanOrEqual(25)
      const some = await hashed('--sample', '30%')
      expect(some).toBeGreaterThan(0)
      expect(some).toBeLessThan(all)
    })

    for (const format of ['CSV', 'Parquet'] as const) {
      it(`finds the same by an S3 Inventory in ${format}`, async () => {
        const url = await putInventory(bucket.store, format)
        const { exitCode, stdout } = await run('--disk', '--inventory', url)
        expect(exitCode).toBe(4)
        const lines = (text: string): string[] =>
          text
            .split('\n')
            .filter(one => /^[+*-] /.test(one))
            .sort()
        expect(lines(stdout)).toEqual(lines((await run('--disk')).stdout))
      })

      thorough(`refuses a damaged S3 Inventory in ${format}`, async () => {
        const url = await putInventory(bucket.store, format, bytes => bytes.subarray(0, bytes.length - 9))
        const { exitCode, stderr } = await run('--inventory', url)
        expect(exitCode).toBe(1)
        expect(stderr).toMatch(
          /inventory file .* (cannot be read|does not match its MD5|is missing or has the wrong size)/,
        )
      })
    }

    it('makes a listing that fails an error, and concludes nothing from it', async context => {
      const { faults } = bucket
      if (faults === undefined) return context.skip('the server takes no faults')
      // The first listing is the canary's.
      const rule = { match: { operation: 'ListObjectsV2' }, after: 1 }
      const planted = faults.add({ ...rule, fault: { status: 403, code: 'AccessDenied' } })
      const { exitCode, stdout } = await run()
      planted.remove()
      expect(planted.struck).toBeGreaterThan(0)
      expect([exitCode, stdout.match(/^[+*-] audio\/.*$/gm)]).toEqual([1, null])
    })

    it('marks what it could not read, and goes on', async context => {
      const { faults } = bucket
      if (faults === undefined) return context.skip('the server takes no faults')
      const planted = faults.add({
        match: { operation: 'HeadObject', key: 'audio/orphan/1.mp3' },
        fault: { status: 403, code: 'AccessDenied' },
      })
      const { exitCode, stdout } = await run('--disk')
      planted.remove()
      expect(exitCode).toBe(4)
      expect(stdout).toMatch(/^! audio\/orphan\/1\.mp3 {2}/m)
      expect(stdout).not.toMatch(/^- audio\/orphan\/1\.mp3/m)
      expect(stdout).toMatch(/^- audio\/orphan\/2 /m)
    })

    it('calls an empty bucket a mistake (exit 7), unless forced', async () => {
      const elsewhere = { env: { ...env, S3_KEY_PREFIX: 'nothing/' }, cwd: folder }
      const refused = await cli(['reconcile'], elsewhere)
      expect(refused.exitCode).toBe(7)
      expect(refused.stderr).toMatch(/bucket looks empty/)
      expect(refused.stdout).toBe('')
    })

    it('calls an empty audio folder a mistake (exit 7) when it is asked to look there', async () => {
      const unmounted = path.join(folder, 'unmounted')
      await mkdir(unmounted, { recursive: true })
      const options = { env: { ...env, AUDIO_STORAGE_PATH: unmounted }, cwd: folder }
      const refused = await cli(['reconcile', '--disk'], options)
      expect(refused.exitCode).toBe(7)
      expect(refused.stderr).toMatch(/looks empty or unmounted/)
    })

    it('holds back what is young, and plans the rest', async () => {
      const refused = await run('--disk', '--plan', 'young.plan')
      expect(refused.exitCode).toBe(4)
      expect(refused.stdout).toMatch(/removals left out: the objects are too young/)
      const plan = await readFile(path.join(folder, 'young.plan'), 'utf8')
      expect(plan).not.toMatch(/"remove-object"/)
      expect(plan).toMatch(/"update-row"/)
    })

    it('holds back what the ledger has an open upload for', async () => {
      const key = 'audio/orphan/1.mp3'
      await withDatabase(async ({ knex }) => {
        const upload = { upload_id: 'u', path: 'x', mtime_ns: 0, size: 1, part_size: 1 }
        await knex('autodj_ledger.uploads').insert({ bucket: bucket.store.bucket, key, ...upload })
      })
      const refused = await run('--min-age', '0s', '--plan', 'uploading.plan')
      await withDatabase(({ knex }) => knex('autodj_ledger.uploads').delete())
      expect(refused.exitCode).toBe(4)
      expect(refused.stdout).toMatch(/^left out audio\/orphan\/1\.mp3: an upload to this key is under way$/m)
      const plan = await readFile(path.join(folder, 'uploading.plan'), 'utf8')
      expect(plan.match(/"remove-object"/g)?.length).toBe(6)
    })

    it('calls a table a mistake (exit 7) that has less than half the rows of the last run', async () => {
      const id = await withDatabase(async ({ knex }) => {
        const run = { id: randomUUID(), command: 'reconcile', host: 'h', pid: 1, version: '0', state: 'done' }
        const times = { started_at: new Date(Date.now() + 60_000), lease_until: new Date() }
        await knex('autodj_ledger.runs').insert({ ...run, ...times, summary: { rows: 2 * library.rows + 1 } })
        return run.id
      })
      const refused = await run()
      await withDatabase(({ knex }) => knex('autodj_ledger.runs').where({ id }).delete())
      expect([refused.exitCode, refused.stdout]).toEqual([7, ''])
      expect(refused.stderr).toMatch(/the table has \d+ rows, but the last run saw \d+/)
    })

    it('writes no plan at all when more would go than --max-delete allows', async () => {
      const refused = await run('--min-age', '0s', '--max-delete', '2', '--plan', 'many.plan')
      expect(refused.exitCode).toBe(7)
      expect(refused.stderr).toMatch(/\d+ of \d+ objects .* would be removed; --max-delete allows 2/)
      expect(refused.stderr).toMatch(/\d+ of \d+ rows .* would be left without audio; --max-delete allows 2/)
      await expect(readFile(path.join(folder, 'many.plan'))).rejects.toMatchObject({ code: 'ENOENT' })
    })

    describe.each([
      ['with a quarantine prefix', false],
      ['with delete markers in a versioned bucket', true],
    ])('apply and undo %s', (_, versioned) => {
      const onceOrThorough = versioned ? thorough : it
      let mine: TestBucket
      let home: string
      let settings: Record<string, string>
      let db: TestDatabase

      beforeAll(async () => {
        home = temporaryFolder('apply')
        await mkdir(path.join(home, 'audio'))
        mine = await servers.bucket({ versioned })
        db = await servers.database()
        settings = { ...mine.env, DATABASE_URL: db.url, AUDIO_STORAGE_PATH: path.join(home, 'audio') }
        const opened = await db.open()
        await migrateUp(opened)
        await makeFixtureLibrary({
          knex: opened.knex,
          store: mine.store,
          audioRoot: path.join(home, 'audio'),
        })
        // Both kinds: rows that were never changed, and rows that were.
        await opened.knex.raw(
          "update tracks set updated_at = '2021-02-03 04:05:06.789012+00' where title like '%7'",
        )
        await opened.close()
      })
      afterAll(async () => {
        await mine.close()
        await db.drop()
      })
      const command = (...argv: string[]) => cli(argv, { env: settings, cwd: home })
      const see = async (): Promise<Snapshot> => {
        const opened = await db.open()
        try {
          return await snapshot({ knex: opened.knex, store: mine.store, audioRoot: path.join(home, 'audio') })
        } finally {
          await opened.close()
        }
      }

      it('mends what can be mended, once, and takes all of it back', async () => {
        const before = await see()
        const planned = await command('reconcile', '--disk', '--min-age', '0s', '--plan', 'repair.plan')
        expect(planned.exitCode).toBe(4)
        expect(await see()).toEqual(before)

        const shown = await command('apply', 'repair.plan', '--dry-run')
        expect(shown.exitCode).toBe(0)
        expect(shown.stdout).toMatch(/^remove audio\/orphan\/1\.mp3 \(orphan-object\)/m)
        expect(await see()).toEqual(before)

        const applied = await command('apply', 'repair.plan', '--json')
        expect(applied.stderr).toBe('')
        expect(applied.exitCode).toBe(0)
        const summary = applied.messages.find(message => message['message_type'] === 'summary')
        expect(summary).toMatchObject({ skipped: 0, failed: 0 })
        const after = await see()
        expect(after.files).toEqual(before.files)
        expect(after.rows).not.toEqual(before.rows)
        const quarantined = Object.keys(after.objects).filter(key => key.startsWith('quarantine/'))
        expect(quarantined.length > 0).toBe(!versioned)
        expect(Object.keys(after.objects)).not.toContain('audio/orphan/1.mp3')

        // What is left cannot be mended without the content, or is for import.
        const { messages } = await command('reconcile', '--disk', '--json')
        const left = messages.find(message => message['message_type'] === 'summary')?.['found']
        expect(left).toEqual({
          'missing-object': 0,
          'orphan-object': 0,
          'size-differs': 0,
          'checksum-differs': 2,
          'metadata-differs': 0,
          'wrong-source': 0,
          'nfc-twin': 0,
          'case-twin': 0,
          moved: 0,
          'duplicate-content': 2,
          'no-audio': 6,
          'local-file-without-row': 3,
        })

        // A plan that was applied is what takes it back: no other may be written over it.
        const over = await command('reconcile', '--plan', 'repair.plan')
        expect([over.exitCode, over.stderr]).toEqual([2, expect.stringMatching(/needed to undo it/)])

        const again = await command('apply', 'repair.plan', '--json')
        expect(again.messages.find(message => message['message_type'] === 'summary')).toMatchObject({
          done: 0,
        })
        expect(await see()).toEqual(after)

        const undone = await command('undo', 'repair.plan', '--json')
        expect(undone.stderr).toBe('')
        expect(undone.exitCode).toBe(0)
        expect(await see()).toEqual(before)
        expect((await command('undo', 'repair.plan')).exitCode).toBe(0)
        expect(await see()).toEqual(before)

        if (servers.quick) return
        // And once more: an undone plan can be applied again.
        expect((await command('apply', 'repair.plan')).exitCode).toBe(0)
        expect((await see()).rows.map(({ updated_at: _a, updated_text: _b, ...row }) => row)).toEqual(
          after.rows.map(({ updated_at: _a, updated_text: _b, ...row }) => row),
        )
        expect((await command('undo', 'repair.plan')).exitCode).toBe(0)
        expect(await see()).toEqual(before)
      })

      onceOrThorough('skips, and says so, what has changed since the plan was made', async () => {
        expect((await command('reconcile', '--min-age', '0s', '--plan', 'stale.plan')).exitCode).toBe(4)
        const opened = await db.open()
        // A row comes to name an orphan; another orphan is written anew; a row is corrected by hand.
        await opened
          .knex('tracks')
          .where({ title: 'Track 0' })
          .update({ s3_object_key: 'audio/orphan/1.mp3' })
        await mine.store.put('audio/orphan/2 +#.mp3', Buffer.from('new'), {
          headers: { contentType: 'audio/mpeg' },
          checksums: {},
        })
        await opened.knex('tracks').where({ s3_object_key: 'audio/size/1.mp3' }).update({ file_size: 1 })
        await opened.close()
        const before = await see()
        const { exitCode, messages } = await command('apply', 'stale.plan', '--json')
        expect(exitCode).toBe(0)
        const skipped = messages
          .filter(message => message['state'] === 'skipped')
          .map(message => message['reason'])
        expect(skipped.sort()).toEqual([
          'a row names the object',
          'the object has changed since',
          'the row has changed since',
        ])
        const after = await see()
        expect(after.objects['audio/orphan/1.mp3']).toEqual(before.objects['audio/orphan/1.mp3'])
        expect(after.objects['audio/orphan/2 +#.mp3']).toEqual(before.objects['audio/orphan/2 +#.mp3'])
        expect((await command('undo', 'stale.plan')).exitCode).toBe(0)
        expect(await see()).toEqual(before)
      })

      onceOrThorough('refuses a plan that is expired, damaged, or for another bucket', async () => {
        expect(
          (await command('reconcile', '--min-age', '0s', '--plan', 'old.plan', '--plan-expires', '1h'))
            .exitCode,
        ).toBe(4)
        const later = { env: settings, cwd: home, now: () => new Date(Date.now() + 7_200_000) }
        const expired = await cli(['apply', 'old.plan'], later)
        expect([expired.exitCode, expired.stderr]).toEqual([7, expect.stringMatching(/the plan expired at/)])
        const text = await readFile(path.join(home, 'old.plan'), 'utf8')
        await writeFile(path.join(home, 'bad.plan'), text.replace('orphan/', 'orphaN/'))
        const damaged = await command('apply', 'bad.plan')
        expect([damaged.exitCode, damaged.stderr]).toEqual([
          1,
          expect.stringMatching(/digest does not match/),
        ])
        const elsewhere = await cli(['apply', 'old.plan'], {
          env: { ...settings, S3_BUCKET_NAME: 'another' },
          cwd: home,
        })
        expect([elsewhere.exitCode, elsewhere.stderr]).toEqual([
          2,
          expect.stringMatching(/plan is for the bucket/),
        ])
        expect((await command('apply', 'no-such.plan')).exitCode).toBe(2)
      })
    })
  })
}
