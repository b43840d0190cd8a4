/**
 * Real Alembic on the database that autodj shares with it, under a role called `autodj` with the default search path:
 * neither sees the other's tables as its own, and both go on from where the other stopped.
 */
import { spawn } from 'node:child_process'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { head, knownRevisions, type Revision, schemaAt } from '../../src/core/migrate/application-schema.ts'
import type { Database } from '../../src/db/database.ts'
import { migrateUp } from '../../src/db/migrate.ts'
import { changeIndexes, indexesToDrop, indexesToMake } from '../../src/db/offered-indexes.ts'
import { requireSchema } from '../../src/db/require-schema.ts'
import { loadDump } from '../support/alembic.ts'
import { postgresTestDatabase, type TestDatabase } from '../support/database.ts'
import { testAlembic, testPostgres } from '../support/servers.ts'

const server = testPostgres()
const python = testAlembic()
const newest = knownRevisions.at(-1)!

/** The application's history in our own words: what each revision has that the one before lacks. */
const revisions = knownRevisions.map((revision, index) => {
  const before = knownRevisions[index - 1]
  const columns = (of: Revision) => schemaAt(of).tables['tracks']!.columns
  const added =
    before === undefined
      ? []
      : columns(revision).filter(({ name }) => !columns(before).some(one => one.name === name))
  const values =
    before === undefined
      ? []
      : schemaAt(revision).enums['filesource']!.slice(schemaAt(before).enums['filesource']!.length)
  return {
    revision,
    down_revision: before ?? null,
    upgrade: [
      ...added.map(({ name, type }) => `alter table tracks add column ${name} ${type}`),
      ...values.map(value => `alter type filesource add value if not exists '${value}'`),
    ],
    downgrade: added.map(({ name }) => `alter table tracks drop column ${name}`),
  }
})

describe.skipIf(server === undefined || python === undefined)('beside Alembic', () => {
  let place: TestDatabase
  let models: TestDatabase
  let db: Database

  beforeEach(async () => {
    place = await postgresTestDatabase(server!)
    models = await postgresTestDatabase(server!)
    const reference = await models.open()
    await loadDump(reference.knex, newest)
    await reference.close()
    db = await place.open()
  })
  afterEach(async () => {
    await db.close()
    await Promise.all([place.drop(), models.drop()])
  })

  async function alembic(...steps: string[][]): Promise<unknown[]> {
    const child = spawn(python!, [path.join(import.meta.dirname, 'alembic_steps.py')])
    child.stdin.end(JSON.stringify({ url: place.url, reference: models.url, revisions, steps }))
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
    if (out === '') throw new Error(err)
    return JSON.parse(out) as unknown[]
  }

  test('the optional indexes are what docs/application.md says: named by a check, and gone when taken back', async () => {
    await loadDump(db.knex, newest)
    await migrateUp(db)
    await changeIndexes(db.knex, await indexesToMake(db.knex), () => {})
    const [, found] = (await alembic(['upgrade', 'head'], ['autogenerate'])) as [string, string[]]
    expect(found.filter(one => !/remove_index.*autodj_tracks_/.test(one))).toEqual([])
    await changeIndexes(db.knex, await indexesToDrop(db.knex), () => {})
    expect(await alembic(['check'])).toEqual(['clean'])
  })

  test.each(knownRevisions)('adopted at %s: nothing to drop, nothing to make, both ways', async revision => {
    const role = await db.knex.raw(
      `select current_user::text as role, current_setting('search_path') as path`,
    )
    expect(role.rows).toEqual([{ role: 'autodj', path: '"$user", public' }])
    await loadDump(db.knex, revision)
    await migrateUp(db)
    expect(await alembic(['upgrade', 'head'], ['check'], ['autogenerate'], ['current'])).toEqual([
      'done',
      'clean',
      [],
      [newest],
    ])

    // Down past everything of ours and on again: each finds what the other left.
    expect(await alembic(['downgrade', 'd787594d0323'])).toEqual(['done'])
    await expect(requireSchema(db)).rejects.toThrow('has no column for S3 yet')
    expect(await migrateUp(db)).toMatchObject({ adopted: 'd787594d0323', migrations: [] })
    await requireSchema(db)
    expect(await alembic(['current'], ['upgrade', 'head'], ['check'], ['autogenerate'])).toEqual([
      [head],
      'done',
      'clean',
      [],
    ])
    await requireSchema(db)
  })

  test('a ledger that an earlier version made in its default schema moves out of its way', async () => {
    await loadDump(db.knex, newest)
    await migrateUp(db)
    await db.knex.raw('alter schema autodj_ledger rename to autodj')
    // What it had come to: everything of ours would be dropped.
    const [before] = (await alembic(['autogenerate'])) as [string[]]
    expect(before.filter(one => one.includes('remove_table')).length).toBeGreaterThan(10)

    // And new tables of the application land among ours.
    await db.knex.raw('create table playlists (id integer primary key)')
    expect(await migrateUp(db)).toMatchObject({ moved: true })
    const rows = await db.knex('pg_tables').where({ schemaname: 'autodj' }).pluck('tablename')
    expect(rows).toEqual(['playlists'])
    const [after] = (await alembic(['autogenerate'])) as [string[]]
    expect(after.filter(one => /autodj|runs|objects|adoption|knex/.test(one))).toEqual([])
  })

  test('an empty database that autodj made is one that Alembic goes on with', async () => {
    await migrateUp(db)
    expect(await alembic(['current'], ['upgrade', 'head'], ['check'])).toEqual([[head], 'done', 'clean'])
  })
})
