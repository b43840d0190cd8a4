import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { head } from '../../src/core/migrate/application-schema.ts'
import type { Database } from '../../src/db/database.ts'
import { allMigrations, migrateDown, migrateStatus, migrateUnlock, migrateUp } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { FatalError, LockedError, TemporaryError } from '../../src/errors.ts'
import { columnsOf, fillTracks, loadDump, rowsAsText } from '../support/alembic.ts'
import { startChild } from '../support/child.ts'
import { postgresTestDatabase, type TestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const server = testPostgres()

describe.skipIf(server === undefined)('PostgreSQL', () => {
  let database: TestDatabase
  let db: Database

  beforeEach(async () => {
    database = await postgresTestDatabase(server!)
    db = await database.open()
  })
  afterEach(async () => {
    await db.close()
    await database.drop()
  })

  /** Until each of these conditions holds for some session of this database. */
  const until = async (...conditions: string[]): Promise<void> => {
    for (const condition of conditions) {
      for (;;) {
        const { rows } = await db.knex.raw(
          `select 1 from pg_stat_activity
           where datname = current_database() and pid <> pg_backend_pid() and ${condition}`,
        )
        if (rows.length > 0) break
        await sleep(50)
      }
    }
  }
  const untilSomeoneWaits = (): Promise<void> => until(`wait_event_type = 'Lock'`)

  test('kill -9 in the middle of a migration leaves nothing; the next run succeeds', async () => {
    await loadDump(db.knex, 'd586b7432ebd')
    await fillTracks(db.knex, 100)
    const columns = await columnsOf(db.knex, 'tracks')
    const before = await rowsAsText(db.knex, 'tracks', columns)

    // The migration stops at its ALTER TABLE, its schema and its bookkeeping already made, until this lets go.
    const reader = await db.knex.transaction()
    await reader('tracks').first()
    const child = startChild('migrate-child.ts', database.url)
    await untilSomeoneWaits()
    const waiting = await db.knex.raw(
      `select query from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    expect(waiting.rows[0].query).toMatch(/alter (table|type) public\.(tracks|filesource)/)
    await child.kill()
    await reader.rollback()

    expect((await migrateUp(db)).migrations).toEqual([...allMigrations])
    expect(await migrateStatus(db)).toMatchObject({ revisions: [head], drift: [], locked: false })
    expect(await rowsAsText(db.knex, 'tracks', columns)).toEqual(before)
  })

  test('three runs at once, in processes of their own, on an empty database: one migrates, none crashes', async () => {
    const children = [1, 2, 3].map(() => startChild('migrate-child.ts', database.url))
    const said = await Promise.all(children.map(child => child.line()))
    expect(said.toSorted()).toEqual([JSON.stringify(allMigrations), '[]', '[]'])
    expect((await migrateStatus(db)).drift).toEqual([])
  })

  test('a run that waits too long is told who migrates; so is unlock', async () => {
    await loadDump(db.knex, 'd586b7432ebd')
    const reader = await db.knex.transaction()
    await reader('tracks').first()
    const child = startChild('migrate-child.ts', database.url)
    await untilSomeoneWaits()
    for (const attempt of [() => migrateUp(db, { waitMs: 300 }), () => migrateUnlock(db)]) {
      const refused = await attempt().catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(LockedError)
      expect((refused as Error).message).toMatch(
        /another migration of this database is running: autodj migrate from \S+ \(database process \d+\) since 20/,
      )
    }
    await reader.rollback()
    expect(await child.line()).toBe(JSON.stringify(allMigrations))
  })

  test('an application that keeps its table is not blocked for long: the migration gives way', async () => {
    await loadDump(db.knex, 'd586b7432ebd')
    const reader = await db.knex.transaction()
    await reader('tracks').first()
    const refused = await migrateUp(db).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(TemporaryError)
    expect(refused).toMatchObject({ code: 'db.busy' })
    await reader.rollback()
    expect((await migrateUp(db)).adopted).toBe('d586b7432ebd')
  })

  const pgDump = ['/usr/lib/postgresql/15/bin/pg_dump', '/usr/bin/pg_dump'].find(existsSync)
  test.skipIf(pgDump === undefined)(
    'an empty database is migrated to what pg_dump shows of the revision',
    async () => {
      await migrateUp(db)
      const dump = async (): Promise<string> =>
        (
          await promisify(execFile)(pgDump!, [
            '--schema=public',
            '--no-owner',
            '--no-privileges',
            '-d',
            database.url,
          ])
        ).stdout
      const essence = (text: string): string[] =>
        text
          .split('\n')
          .filter(
            line =>
              !/^(--|SET |SELECT pg_catalog|\\(un)?restrict|CREATE SCHEMA public|COMMENT ON SCHEMA)/.test(
                line,
              ) && line !== '',
          )
      const fixture = readFileSync(join(import.meta.dirname, `../fixtures/alembic/${head}.sql`), 'utf8')
      expect(essence(await dump())).toEqual(essence(fixture))
    },
  )

  test('down is refused between the look and the deed as well', async () => {
    await loadDump(db.knex, 'd586b7432ebd')
    await migrateUp(db)
    await fillTracks(db.knex, 1)
    await db.knex('tracks').update({ s3_object_key: null, file_source: 'LOCAL' })
    const upload = await db.knex.transaction()
    await upload('tracks').update({ s3_object_key: 'k', file_source: 'S3' })
    const down = migrateDown(db).catch((error: unknown) => error)
    await untilSomeoneWaits()
    await upload.commit()
    expect(await down).toMatchObject({ code: 'migrate.in-use' })
  })

  describe('failures', () => {
    const opening = (change: (url: URL) => void): Promise<unknown> => {
      const url = new URL(database.url)
      url.password = 'hunter2'
      change(url)
      return openDatabase(url.href, { applicationName: 'autodj test' }).catch((error: unknown) => error)
    }

    test.each<[string, (url: URL) => void, typeof FatalError | typeof TemporaryError, string, RegExp]>([
      [
        'nobody listens',
        url => {
          url.port = '1'
        },
        TemporaryError,
        'db.unreachable',
        /autodj@127\.0\.0\.1:1\//,
      ],
      [
        'no such database',
        url => {
          url.pathname = '/nope'
        },
        FatalError,
        'db.missing',
        /"nope" does not exist/,
      ],
      [
        'no such user',
        url => {
          url.username = 'nobody-here'
        },
        FatalError,
        'db.auth',
        /nobody-here/,
      ],
      [
        'no such host',
        url => {
          url.hostname = 'nowhere.invalid'
        },
        FatalError,
        'db.host',
        /nowhere\.invalid/,
      ],
      [
        'no TLS there',
        url => {
          url.searchParams.set('sslmode', 'verify-full')
        },
        FatalError,
        'db.tls',
        /TLS/,
      ],
    ])('%s', async (_, change, kind, code, words) => {
      const error = await opening(change)
      expect(error).toBeInstanceOf(kind)
      expect(error).toMatchObject({
        code,
        cure: expect.stringMatching(/\S/),
        message: expect.stringMatching(words),
      })
      expect((error as Error).message).not.toContain('hunter2')
    })

    test('no connection left', async () => {
      await db.knex.raw('alter role autodj_limited connection limit 0').catch(() => undefined)
      await db.knex.raw(`create role autodj_limited login connection limit 0`).catch(() => undefined)
      const error = await opening(url => {
        url.username = 'autodj_limited'
      })
      expect(error).toBeInstanceOf(TemporaryError)
      expect(error).toMatchObject({ code: 'db.connections' })
    })

    test('a connection that is cut is a temporary error, never a crash, and the next one works', async () => {
      const cut = async (): Promise<void> => {
        const other = await database.open()
        await other.knex.raw(
          'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
        )
        await other.close()
      }
      /** Sooner or later the pool has a good connection again; until then the error is one to try again after. */
      const works = async (): Promise<void> => {
        for (;;) {
          const error = await db.knex.raw('select 1').then(
            () => undefined,
            (thrown: unknown) => thrown,
          )
          if (error === undefined) return
          expect(error).toBeInstanceOf(TemporaryError)
        }
      }
      await works()
      await cut()
      await works()

      const busy = db.knex.raw('select pg_sleep(300)').catch((error: unknown) => error)
      const afterTheCut = Promise.withResolvers<void>()
      const open = db.knex
        .transaction(async trx => {
          await trx.raw('select 1 as open')
          await afterTheCut.promise
          await trx.raw('select 2')
        })
        .catch((error: unknown) => error)
      await until(
        `query like 'select pg_sleep(%' and state = 'active'`,
        `query like 'select 1 as open%' and state = 'idle in transaction'`,
      )
      await cut()
      afterTheCut.resolve()
      expect(await busy).toBeInstanceOf(TemporaryError)
      expect(await open).toBeInstanceOf(TemporaryError)
      await works()
    })
  })
})
