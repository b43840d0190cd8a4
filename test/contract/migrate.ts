import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { head, knownRevisions, schemaAt, type Table } from '../../src/core/migrate/application-schema.ts'
import { compareSchema } from '../../src/core/migrate/schema-diff.ts'
import { observeApplication } from '../../src/db/alembic.ts'
import { confirmCode, requireCodeForS3 } from '../../src/db/application-code.ts'
import type { Database } from '../../src/db/database.ts'
import { startRun } from '../../src/db/ledger.ts'
import {
  allMigrations,
  downStatements,
  migrateBaseline,
  migrateDown,
  migrateStatus,
  migrateUnlock,
  migrateUp,
  upStatements,
} from '../../src/db/migrate.ts'
import { changeIndexes, indexesToDrop, indexesToMake, offeredIndexes } from '../../src/db/offered-indexes.ts'
import { requireSchema } from '../../src/db/require-schema.ts'
import { type AppError, FatalError, LockedError } from '../../src/errors.ts'
import { columnsOf, fillTracks, loadDump, rowsAsText } from '../support/alembic.ts'
import type { TestDatabase } from '../support/database.ts'

/** `autodj migrate`, on every kind of database. */
export function migrateContract(name: string, make: () => Promise<TestDatabase>): void {
  describe(`migrate contract: ${name}`, () => {
    let database: TestDatabase
    let db: Database

    beforeAll(async () => {
      database = await make()
      db = await database.open()
    })

    afterAll(async () => {
      await db.close()
      await database.drop()
    })

    /** Empties the database; a new one for each test would take a second each. */
    const empty = async (): Promise<void> => {
      await db.knex.raw(
        'drop schema if exists autodj_ledger cascade; drop schema if exists autodj cascade; drop schema if exists public cascade; create schema public',
      )
    }
    beforeEach(empty)

    const revisions = async (): Promise<string[]> => db.knex('alembic_version').pluck('version_num')

    describe('an empty database', () => {
      test('gets the schema of the Alembic revision, names and order included, and the ledger', async () => {
        expect(await migrateUp(db)).toEqual({
          migrations: [...allMigrations],
          moved: false,
          adopted: null,
          notices: [],
        })
        expect(await migrateStatus(db)).toEqual({
          migrations: allMigrations.map(each => ({ name: each, appliedAt: expect.any(Date) })),
          revisions: [head],
          drift: [],
          notices: [],
          locked: false,
        })
        const made = await observeApplication(db.knex, 'public')
        await empty()
        await loadDump(db.knex, head)
        expect(made).toEqual(await observeApplication(db.knex, 'public'))
      })

      test('the second time nothing is done', async () => {
        await migrateUp(db)
        expect(await migrateUp(db)).toEqual({ migrations: [], moved: false, adopted: null, notices: [] })
        expect(await upStatements(db)).toEqual([])
      })

      test('dry run changes nothing, and its SQL makes the same schema', async () => {
        const statements = await upStatements(db)
        expect(await migrateStatus(db)).toMatchObject({
          migrations: allMigrations.map(() => ({ appliedAt: null })),
          revisions: [],
        })
        for (const statement of statements) await db.knex.raw(statement)
        const { schema } = await observeApplication(db.knex, 'public')
        expect(compareSchema(schema, head)).toEqual({ differences: [], notices: [] })
        await db.knex('autodj_ledger.runs')
      })

      test('every column of the ledger says what it is', async () => {
        await migrateUp(db)
        const { rows } = await db.knex.raw(
          `select c.relname || '.' || a.attname as name from pg_class c
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           where c.relnamespace = 'autodj_ledger'::regnamespace and c.relkind = 'r' and c.relname !~ '^knex_'
             and a.attname <> 'only_one' and col_description(c.oid, a.attnum) is null`,
        )
        expect(rows).toEqual([])
      })

      test('down leaves nothing; up again works', async () => {
        await migrateUp(db)
        const statements = await downStatements(db)
        expect((await migrateDown(db)).migrations).toEqual([...allMigrations].reverse())
        expect(await observeApplication(db.knex, 'public')).toEqual({
          schema: { enums: {}, tables: {} },
          revisions: undefined,
        })
        const { rows } = await db.knex.raw(`select nspname from pg_namespace where nspname = 'autodj_ledger'`)
        expect(rows).toEqual([])
        expect(statements).toContain('drop table public.tracks')
        expect(await migrateDown(db)).toEqual({ migrations: [], moved: false, adopted: null, notices: [] })
        expect((await migrateUp(db)).migrations).toHaveLength(allMigrations.length)
      })

      test('down keeps rows', async () => {
        await migrateUp(db)
        await fillTracks(db.knex, 3)
        await db.knex('tracks').update({ s3_object_key: null, file_source: 'LOCAL' })
        const before = await rowsAsText(db.knex, 'tracks', await columnsOf(db.knex, 'tracks'))
        expect((await migrateDown(db)).notices).toEqual([
          "the application's tables contain 3 rows and are kept",
        ])
        expect(await rowsAsText(db.knex, 'tracks', await columnsOf(db.knex, 'tracks'))).toEqual(before)
        expect(await migrateUp(db)).toMatchObject({ adopted: head, migrations: [...allMigrations] })
      })
    })

    describe.each(knownRevisions)('a database that Alembic left at %s', revision => {
      test('is adopted, its rows byte-identical and not even rewritten; down and up again', async () => {
        await loadDump(db.knex, revision)
        await fillTracks(db.knex, 1_000)
        await db
          .knex('tracks')
          .where(knex => knex.whereRaw('false'))
          .del()
        if (revision === head || revision === knownRevisions.at(-1)) {
          await db.knex('tracks').update({ s3_object_key: null })
        }
        const columns = await columnsOf(db.knex, 'tracks')
        const before = await rowsAsText(db.knex, 'tracks', columns)
        expect(before).toHaveLength(1_000)

        const isOlder = knownRevisions.indexOf(revision) < knownRevisions.indexOf(head)
        expect(await migrateUp(db)).toEqual({
          migrations: [...allMigrations],
          moved: false,
          adopted: revision,
          notices: isOlder ? [expect.stringContaining(`at revision ${revision}`)] : [],
        })
        expect(await rowsAsText(db.knex, 'tracks', columns)).toEqual(before)
        const expected = revision === knownRevisions.at(-1) ? revision : head
        expect(await revisions()).toEqual([expected])
        expect((await migrateStatus(db)).drift).toEqual([])
        const { schema } = await observeApplication(db.knex, 'public')
        expect(schema.tables).toEqual(headTables())
        // The new value can be used now, and a key set.
        const id = (await db.knex('tracks').first('id')).id
        await db.knex('tracks').where({ id }).update({ file_source: 'S3', s3_object_key: 'k' })

        const refused = migrateDown(db)
        await expect(refused).rejects.toThrow('1 track exists only in S3')
        await expect(refused).rejects.toMatchObject({ cure: expect.stringContaining('autodj restore') })
        await db.knex('tracks').where({ id }).update({ file_source: null, s3_object_key: null })
        const { notices } = await migrateDown(db)
        expect(await revisions()).toEqual([revision])
        expect(await columnsOf(db.knex, 'tracks')).toEqual(columns)
        expect(notices.join()).toMatch(
          knownRevisions.indexOf(revision) < 3 ? /enum value S3 is kept/ : /nothing had been added/,
        )

        expect((await migrateUp(db)).adopted).toBe(revision)
        expect(await revisions()).toEqual([expected])
        const again = await rowsAsText(db.knex, 'tracks', columns)
        expect(again.filter(line => !before.includes(line))).toHaveLength(1)
      })
    })

    /** Observed constraints come in the order of their names. */
    const headTables = (): Record<string, Table> =>
      Object.fromEntries(
        Object.entries(schemaAt(head).tables).map(([table, { columns, constraints, indexes }]) => [
          table,
          { columns, indexes, constraints: constraints.toSorted((a, b) => (a.name < b.name ? -1 : 1)) },
        ]),
      )

    describe('a database that does not match', () => {
      const damages: [damage: string, sql: string, difference: RegExp][] = [
        ['a column dropped', 'alter table tracks drop column bpm', /column tracks\.bpm is missing/],
        [
          'an extra enum value',
          `alter type filesource add value 'TAPE'`,
          /enum filesource has the value TAPE/,
        ],
        [
          'a type changed',
          'alter table tracks alter column duration type integer',
          /tracks\.duration is integer, should be double precision/,
        ],
        [
          'a not null gone',
          'alter table tracks alter column spotify_id drop not null',
          /tracks\.spotify_id is character varying, should be character varying not null/,
        ],
        [
          'a default changed',
          `alter table tracks alter column created_at set default '2000-01-01'`,
          /tracks\.created_at .*default '2000/,
        ],
        [
          'a primary key gone',
          'alter table analysis_jobs drop constraint analysis_jobs_pkey cascade',
          /constraint analysis_jobs_pkey of analysis_jobs is missing/,
        ],
        [
          'an index gone',
          'drop index ix_tracks_spotify_id',
          /index ix_tracks_spotify_id of tracks is missing/,
        ],
        [
          'an index no longer unique',
          'drop index ix_tracks_spotify_id; create index ix_tracks_spotify_id on tracks (spotify_id)',
          /index ix_tracks_spotify_id of tracks is CREATE INDEX/,
        ],
        [
          'a foreign key gone',
          'alter table mix_transitions drop constraint mix_transitions_job_id_fkey',
          /mix_transitions_job_id_fkey of mix_transitions is missing/,
        ],
        ['a table gone', 'drop table mix_transitions', /table mix_transitions is missing/],
        [
          'a column that must be filled',
          'alter table tracks add column owner text not null',
          /tracks\.owner is unknown/,
        ],
        [
          'a check of its own',
          'alter table tracks add constraint c check (bpm > 0)',
          /constraint c of tracks/,
        ],
        [
          's3_object_key of another type',
          'alter table tracks add column s3_object_key integer',
          /tracks\.s3_object_key is integer, would have to be/,
        ],
        [
          'an unknown revision',
          `update alembic_version set version_num = 'feedfacecafe'`,
          /feedfacecafe, which this version/,
        ],
        ['two revisions', `insert into alembic_version values ('feedfacecafe')`, /contains 2 revisions/],
        ['no revision', 'delete from alembic_version', /but no revision/],
      ]

      test('is refused with every difference named, and nothing changed', async () => {
        await loadDump(db.knex, 'd586b7432ebd')
        for (const [damage, sql, difference] of damages) {
          // PGlite has one connection: the damage is undone by rolling back the transaction that it is looked at in.
          const error = await db.knex
            .transaction(async trx => {
              await trx.raw(sql)
              return migrateUp({ ...db, knex: trx }).catch((refusal: unknown) => {
                throw refusal
              })
            })
            .catch((thrown: unknown) => thrown)
          expect(error, damage).toBeInstanceOf(FatalError)
          expect((error as FatalError).message, damage).toMatch(difference)
        }
        expect((await migrateStatus(db)).migrations.every(each => each.appliedAt === null)).toBe(true)
      })

      test('two damages are both named', async () => {
        await loadDump(db.knex, head)
        await db.knex.raw(`alter table tracks drop column bpm; alter type filesource add value 'TAPE'`)
        const error = (await migrateUp(db).catch((thrown: unknown) => thrown)) as AppError
        expect(error.details['differences']).toEqual([
          `enum filesource has the value TAPE, which revision ${head} does not have`,
          'column tracks.bpm is missing',
        ])
        expect((await migrateStatus(db)).drift).toHaveLength(2)
      })
    })

    test('the optional indexes come, are no drift, are made again where one is not whole, and go', async () => {
      await migrateUp(db)
      const made = async (): Promise<string[]> =>
        (await db.knex('pg_indexes').whereLike('indexname', 'autodj_tracks_%').pluck('indexname')).sort()
      const make = async () => {
        const plan = await indexesToMake(db.knex)
        await changeIndexes(db.knex, plan, () => {})
        return plan
      }
      const { notices } = await make()
      const possible = offeredIndexes
        .filter(({ extension }) => extension === undefined || notices.length === 0)
        .map(one => one.name)
        .sort()
      expect(await made()).toEqual(possible)
      expect((await migrateStatus(db)).drift).toEqual([])
      expect((await make()).statements).toEqual([])
      await db.knex.raw(
        `update pg_index set indisvalid = false where indexrelid = 'autodj_tracks_newest'::regclass`,
      )
      expect((await make()).statements).toEqual([
        expect.stringContaining('drop index concurrently'),
        expect.stringContaining('create index concurrently autodj_tracks_newest'),
      ])
      await changeIndexes(db.knex, await indexesToDrop(db.knex), () => {})
      expect(await made()).toEqual([])
      await make()
      await migrateDown(db)
      expect(await made()).toEqual([])
    })

    test('the record of a run goes without a change of what the run wrote', async () => {
      await migrateUp(db)
      const run = '0a0a0a0a-0000-4000-8000-000000000001'
      await startRun(db.knex, { id: run, command: 'verify', args: {}, host: 'h', pid: 1, version: '0' })
      await db.knex('autodj_ledger.objects').insert({ bucket: 'b', key: 'k', size: 1, run_id: run })
      const state = () => db.knex('autodj_ledger.objects').first(db.knex.raw('xmin::text, run_id'))
      const before = await state()
      await db.knex('autodj_ledger.runs').where({ id: run }).del()
      expect(await state()).toEqual(before)
      await migrateDown(db)
    })

    test("the operator's own columns, indexes and tables are tolerated and told", async () => {
      await loadDump(db.knex, 'd586b7432ebd')
      await db.knex.raw(
        `alter table tracks add column rating integer; alter table tracks add column tag text not null default 'x';
         create index mine on tracks (rating); create table my_own (id integer);
         alter table tracks add column s3_object_key character varying; alter type filesource add value 'S3'`,
      )
      const { adopted, notices } = await migrateUp(db)
      expect(adopted).toBe('d586b7432ebd')
      expect(notices).toEqual([
        'enum filesource already has the value S3',
        'column tracks.rating (integer) is your own and is kept',
        "column tracks.tag (text not null default 'x'::text) is your own and is kept",
        'column tracks.s3_object_key already exists',
        'index mine of tracks (CREATE INDEX ON public.tracks USING btree (rating)) is your own and is kept',
        expect.stringContaining('at revision d586b7432ebd'),
      ])
      // It was there before, so it is not ours to take away.
      await migrateDown(db)
      expect(await columnsOf(db.knex, 'tracks')).toContain('s3_object_key')
    })

    test('down keeps an added column that holds values', async () => {
      await loadDump(db.knex, 'd787594d0323')
      await migrateUp(db)
      await fillTracks(db.knex, 2)
      await db.knex('tracks').update({ s3_object_key: null })
      expect((await migrateDown(db)).notices.join()).toMatch(/columns with values are kept \(beat_timestamps/)
      expect(await revisions()).toEqual([head])
      expect(await columnsOf(db.knex, 'tracks')).toContain('beat_timestamps')
    })

    test('down leaves a schema that the application has moved on with', async () => {
      await loadDump(db.knex, 'd586b7432ebd')
      await migrateUp(db)
      await db.knex('alembic_version').update({ version_num: 'c16dd5ffbdbd' })
      expect((await migrateDown(db)).notices.join()).toMatch(/moved on to c16dd5ffbdbd/)
      expect(await columnsOf(db.knex, 'tracks')).toContain('s3_object_key')
    })

    test('down keeps tables of the operator in our schema', async () => {
      await migrateUp(db)
      await db.knex.raw('create table autodj_ledger.mine (id integer)')
      expect((await migrateDown(db)).notices).toContain(
        'the schema autodj_ledger contains tables of your own and is kept',
      )
      await db.knex('autodj_ledger.mine')
    })

    describe('the ledger of an earlier version, in the schema autodj', () => {
      const asEarlier = () => db.knex.raw('alter schema autodj_ledger rename to autodj')

      test('moves; what is not ours stays', async () => {
        await loadDump(db.knex, 'c16dd5ffbdbd')
        await migrateUp(db)
        const run = { id: '00000000-0000-4000-8000-000000000001', command: 'import', args: {}, version: '0' }
        await startRun(db.knex, { ...run, host: 'h', pid: 77 })
        await db.knex('autodj_ledger.runs').update({ lease_until: db.knex.raw("now() - interval '1 hour'") })
        await asEarlier()
        await db.knex.raw('create table autodj.playlists (id serial primary key)')
        await expect(requireSchema(db)).rejects.toThrow('has the schema of an older autodj')
        expect((await migrateStatus(db)).notices.join()).toMatch(/the ledger is in the schema autodj:/)
        expect((await upStatements(db)).join()).toMatch(/alter table autodj.runs set schema autodj_ledger/)
        expect(await migrateUp(db)).toMatchObject({ moved: true, migrations: [] })
        await requireSchema(db)
        expect(await db.knex('autodj_ledger.runs').pluck('id')).toEqual([run.id])
        const { rows } = await db.knex.raw(
          `select relname::text as name from pg_class where relnamespace = 'autodj'::regnamespace and relkind = 'r'`,
        )
        expect(rows).toEqual([{ name: 'playlists' }])
        expect(await migrateUp(db)).toMatchObject({ moved: false, migrations: [] })
      })

      test('is renamed where nothing else is in it, and pending migrations follow', async () => {
        await migrateUp(db)
        // What the last version with that schema had not made yet.
        const since = allMigrations.filter(name => name >= '0006')
        await db.knex('autodj_ledger.knex_migrations').whereIn('name', since).del()
        for (const name of since.toReversed()) {
          const { down } = (await import(`../../migrations/${name}.ts`)) as { down: readonly string[] }
          for (const sql of down) await db.knex.raw(sql)
        }
        await asEarlier()
        expect(await upStatements(db)).toContain('alter schema autodj rename to autodj_ledger')
        expect(await migrateUp(db)).toMatchObject({ moved: true, migrations: since })
        await requireSchema(db, 'adoption.code_updated_at')
      })

      test('two of them are named', async () => {
        await migrateUp(db)
        await asEarlier()
        await db.knex.raw('create schema autodj_ledger; create table autodj_ledger.knex_migrations (id int)')
        await expect(migrateUp(db)).rejects.toThrow(/two ledgers/)
      })
    })

    test('what Alembic took back after the adoption is brought on again', async () => {
      await loadDump(db.knex, 'c16dd5ffbdbd')
      await migrateUp(db)
      await db.knex.raw('alter table tracks drop column s3_object_key')
      await db.knex('alembic_version').update({ version_num: 'd586b7432ebd' })
      await expect(requireSchema(db)).rejects.toThrow('has no column for S3 yet')
      expect((await migrateStatus(db)).notices.join()).toMatch(/downgraded to before a312ec46df43/)
      expect((await upStatements(db)).join()).toMatch(/add column s3_object_key/)
      const again = await migrateUp(db)
      expect(again).toMatchObject({ adopted: 'd586b7432ebd', migrations: [] })
      expect(again.notices.join()).toMatch(/at revision d586b7432ebd/)
      await requireSchema(db)
      expect(await revisions()).toEqual([head])
      expect(await migrateUp(db)).toMatchObject({ adopted: null, migrations: [] })
      await expect(requireCodeForS3(db)).rejects.toMatchObject({ code: 'application.older' })
    })

    describe('code that cannot read S3', () => {
      test.each(knownRevisions)('a database adopted at %s', async revision => {
        await loadDump(db.knex, revision)
        await migrateUp(db)
        if (knownRevisions.indexOf(revision) >= knownRevisions.indexOf(head)) return requireCodeForS3(db)
        await expect(requireCodeForS3(db)).rejects.toThrow(`was at revision ${revision}`)
        // The updated application runs its Alembic when it starts.
        await db.knex('alembic_version').update({ version_num: 'c16dd5ffbdbd' })
        await requireCodeForS3(db)
        await db.knex('alembic_version').update({ version_num: head })
        await confirmCode(db)
        return requireCodeForS3(db)
      })

      test('there is none where autodj made the tables', async () => {
        await migrateUp(db)
        await requireCodeForS3(db)
      })
    })

    test('a newer revision that only added is adopted; one that took something is refused', async () => {
      await loadDump(db.knex, 'c16dd5ffbdbd')
      await db.knex('alembic_version').update({ version_num: '0123456789ab' })
      await db.knex.raw('alter table tracks add column rating integer; create table users (id uuid)')
      expect(await migrateUp(db)).toMatchObject({ adopted: '0123456789ab' })
      await requireCodeForS3(db)
      expect(await revisions()).toEqual(['0123456789ab'])
      await migrateDown(db)
      await db.knex.raw('alter table tracks drop column album')
      await expect(migrateUp(db)).rejects.toThrow(/0123456789ab.*column tracks.album is missing/)
    })

    describe("where the application's tables are", () => {
      const inSchema = async (schema: string): Promise<void> => {
        await db.knex.raw(`create schema ${schema}`)
        for (const table of ['alembic_version', 'analysis_jobs', 'tracks', 'mix_transitions']) {
          await db.knex.raw(`alter table public.${table} set schema ${schema}`)
        }
        for (const type of ['filesource', 'jobstatus']) {
          await db.knex.raw(`alter type public.${type} set schema ${schema}`)
        }
      }

      test('off the search path they are named, and no second set is made', async () => {
        await loadDump(db.knex, 'c16dd5ffbdbd')
        await db.knex.raw('drop schema if exists music cascade')
        await inSchema('music')
        await expect(migrateUp(db)).rejects.toMatchObject({
          code: 'db.search-path',
          cure: expect.stringContaining('options=-csearch_path%3Dmusic'),
        })
        await expect(upStatements(db)).rejects.toThrow(/in the schema music/)
        expect((await db.knex.raw(`select to_regclass('public.tracks') as t`)).rows).toEqual([{ t: null }])
        await db.knex.raw('drop schema music cascade')
      })

      test('a second, empty set that an earlier version made does not pass for the library', async () => {
        await loadDump(db.knex, 'c16dd5ffbdbd')
        await fillTracks(db.knex, 2)
        await db.knex.raw('drop schema if exists music cascade')
        await inSchema('music')
        await loadDump(db.knex, 'c16dd5ffbdbd')
        await expect(migrateUp(db)).rejects.toMatchObject({ code: 'db.ambiguous' })
        await expect(requireSchema(db)).rejects.toThrow(/public \(0 tracks\) and music \(2 tracks, not on/)
        await db.knex.raw('drop schema music cascade')
      })
    })

    test('down is refused while a run works', async () => {
      await migrateUp(db)
      const run = {
        id: '00000000-0000-4000-8000-000000000001',
        command: 'upload-local',
        args: {},
        version: '0',
      }
      await startRun(db.knex, { ...run, host: 'h', pid: 77 })
      await expect(migrateDown(db)).rejects.toThrow(/upload-local is running \(pid 77 on h\)/)
    })

    describe('baseline', () => {
      test('marks 0001 as applied, and no more', async () => {
        await loadDump(db.knex, head)
        expect(await migrateBaseline(db)).toEqual({
          migrations: ['0001_application'],
          moved: false,
          adopted: head,
          notices: [],
        })
        expect((await migrateBaseline(db)).migrations).toEqual([])
        expect((await migrateUp(db)).migrations).toEqual(allMigrations.slice(1))
      })

      test.each([
        ['the table of revisions is empty', 'delete from alembic_version'],
        ['there is no table of revisions', 'drop table alembic_version'],
      ])('finds the revision by the schema where %s', async (_, sql) => {
        await loadDump(db.knex, 'f2ff23da73e9')
        await db.knex.raw(sql)
        await expect(migrateUp(db)).rejects.toMatchObject({
          cure: expect.stringContaining('migrate baseline'),
        })
        expect((await migrateBaseline(db)).adopted).toBe('f2ff23da73e9')
        expect(await revisions()).toEqual([head])
        expect((await migrateUp(db)).migrations).toEqual(allMigrations.slice(1))
        expect((await migrateStatus(db)).drift).toEqual([])
      })

      test('refuses an empty database, and one that matches nothing', async () => {
        await expect(migrateBaseline(db)).rejects.toThrow('nothing to adopt')
        await loadDump(db.knex, head)
        await db.knex.raw('delete from alembic_version; alter table tracks drop column title')
        await expect(migrateBaseline(db)).rejects.toThrow(
          /nearest is a312ec46df43: column tracks\.title is missing/,
        )
      })
    })

    test('status names drift after the migration, and reads only', async () => {
      await migrateUp(db)
      await db.knex.raw('alter table tracks drop column bpm; drop table autodj_ledger.files')
      expect((await migrateStatus(db)).drift).toEqual([
        'column tracks.bpm is missing',
        'table autodj_ledger.files is missing',
      ])
    })

    test('a stuck Knex lock is named, and freed by unlock', async () => {
      await migrateUp(db)
      expect(await migrateUnlock(db)).toBe(false)
      await db
        .knex('autodj_ledger.knex_migrations')
        .where({ name: allMigrations.at(-1) })
        .del()
      await db.knex('autodj_ledger.knex_migrations_lock').update({ is_locked: 1 })
      expect((await migrateStatus(db)).locked).toBe(true)
      const refused = migrateUp(db)
      await expect(refused).rejects.toThrow(LockedError)
      await expect(refused).rejects.toMatchObject({ cure: expect.stringContaining('migrate unlock') })
      expect(await migrateUnlock(db)).toBe(true)
      expect((await migrateStatus(db)).locked).toBe(false)
    })

    test('a database migrated by a newer version is left alone', async () => {
      await migrateUp(db)
      await db.knex('autodj_ledger.knex_migrations').insert({ name: '0099_future', batch: 2 })
      await expect(migrateUp(db)).rejects.toMatchObject({ code: 'migrate.newer' })
    })
  })
}
