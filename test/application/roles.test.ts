/** Where the application's tables are and who may use them: schemas of one's own, `options=` in the URL, two roles. */
import { randomUUID } from 'node:crypto'
import knex from 'knex'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { migrateStatus, migrateUp } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { requireSchema } from '../../src/db/require-schema.ts'
import { insertTracks, trackPage } from '../../src/db/tracks.ts'
import { loadDump } from '../support/alembic.ts'
import { postgresTestDatabase, type TestDatabase } from '../support/database.ts'
import { testPostgres } from '../support/servers.ts'

const server = testPostgres()

describe.skipIf(server === undefined)('schemas and roles', () => {
  let place: TestDatabase
  let admin: Database
  const opened: Database[] = []
  const roles: string[] = []

  beforeEach(async () => {
    place = await postgresTestDatabase(server!)
    admin = await place.open()
    await loadDump(admin.knex, 'c16dd5ffbdbd')
  })
  afterEach(async () => {
    for (const one of [...opened.splice(0), admin]) await one.close()
    await place.drop()
    const direct = knex({ client: 'pg', connection: server!, pool: { min: 0, max: 1 } })
    for (const role of roles.splice(0)) await direct.raw(`drop role ${role}`)
    await direct.destroy()
  })

  async function newRole(): Promise<string> {
    const role = `test_${randomUUID().slice(0, 8)}`
    await admin.knex.raw(`create role ${role} login`)
    roles.push(role)
    return role
  }

  async function open(change: (url: URL) => void): Promise<Database> {
    const url = new URL(place.url)
    change(url)
    const db = await openDatabase(url.href, { applicationName: 'autodj test', poolSize: 3 })
    opened.push(db)
    return db
  }

  const moveTo = async (schema: string, owner?: string): Promise<void> => {
    await admin.knex.raw(`create schema ${schema}${owner === undefined ? '' : ` authorization ${owner}`}`)
    for (const table of ['alembic_version', 'analysis_jobs', 'tracks', 'mix_transitions']) {
      await admin.knex.raw(`alter table public.${table} set schema ${schema}`)
      if (owner !== undefined) await admin.knex.raw(`alter table ${schema}.${table} owner to ${owner}`)
    }
    for (const type of ['filesource', 'jobstatus']) {
      await admin.knex.raw(`alter type public.${type} set schema ${schema}`)
      if (owner !== undefined) await admin.knex.raw(`alter type ${schema}.${type} owner to ${owner}`)
    }
  }

  const row = () => ({
    id: randomUUID(),
    spotifyId: randomUUID(),
    title: 'T',
    artist: 'A',
    album: null,
    duration: 1,
    filePath: 'audio/A/T.mp3',
    fileSource: 'LOCAL' as const,
    fileSize: 1,
  })

  test.each([
    '-csearch_path=music',
    '-c search_path=music',
    '-c statement_timeout=60000 -c search_path="music",public',
  ])('a schema that the URL names: options=%s', async options => {
    await moveTo('music')
    const db = await open(url => url.searchParams.set('options', options))
    expect(await migrateUp(db)).toMatchObject({ adopted: 'c16dd5ffbdbd' })
    await requireSchema(db)
    expect((await migrateStatus(db)).drift).toEqual([])
    await insertTracks(db.knex, [row()])
    expect(await trackPage(db.knex, { limit: 5 })).toHaveLength(1)
    expect(await admin.knex('music.tracks').count()).toEqual([{ count: '1' }])
    expect((await admin.knex.raw(`select to_regclass('public.tracks') as t`)).rows).toEqual([{ t: null }])
    // Our own limits hold beside those of the URL.
    const { rows } = await db.knex.raw('show idle_in_transaction_session_timeout')
    expect(rows).toEqual([{ idle_in_transaction_session_timeout: '2min' }])
    expect((await db.knex.raw('show idle_session_timeout')).rows).toEqual([{ idle_session_timeout: '0' }])
  })

  test('a schema called like the role, which is its default: the tables are there, ours are not', async () => {
    const role = await newRole()
    await moveTo(role, role)
    await admin.knex.raw(`grant create on database ${new URL(place.url).pathname.slice(1)} to ${role}`)
    const db = await open(url => {
      url.username = role
    })
    expect(await migrateUp(db)).toMatchObject({ adopted: 'c16dd5ffbdbd' })
    await insertTracks(db.knex, [row()])
    expect(await admin.knex(`${role}.tracks`).count()).toEqual([{ count: '1' }])
    const tables = await admin
      .knex('pg_tables')
      .where({ schemaname: role })
      .orderBy('tablename')
      .pluck('tablename')
    expect(tables).toEqual(['alembic_version', 'analysis_jobs', 'mix_transitions', 'tracks'])
    await admin.knex.raw(`drop owned by ${role} cascade`)
  })

  test('the owner migrates, a plain role works: it may use the ledger without another word', async () => {
    const plain = await newRole()
    await admin.knex.raw(`grant select, insert, update, delete on all tables in schema public to ${plain}`)
    await migrateUp(admin)
    const db = await open(url => {
      url.username = plain
    })
    await requireSchema(db)
    await insertTracks(db.knex, [row()])
    expect(await db.knex('autodj_ledger.runs')).toEqual([])
    expect(await migrateUp(db)).toMatchObject({ migrations: [] })

    const stranger = await newRole()
    const other = await open(url => {
      url.username = stranger
    })
    await expect(requireSchema(other)).rejects.toMatchObject({
      code: 'db.privilege',
      cure: expect.stringContaining(`grant usage on schema autodj_ledger to ${stranger}`),
    })
    await admin.knex.raw(`drop owned by ${plain}; drop owned by ${stranger}`)
  })
})
