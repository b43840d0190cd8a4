/** doctor on a real PostgreSQL: what keeps a role from writing is named before a run finds it out; and before a proxy. */
import { CreateBucketCommand, PutObjectLockConfigurationCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { createS3Store } from '../../src/storage/s3.ts'
import type { TestBucket } from '../contract/reconcile.ts'
import { cli } from '../support/cli.ts'
import { migrated, pgliteTestDatabase, postgresTestDatabase, type TestDatabase } from '../support/database.ts'
import { embeddedBucket } from '../support/embedded-s3.ts'
import { startNginx } from '../support/nginx.ts'
import { realBucket } from '../support/real-s3.ts'
import { testNginx, testPostgres, testS3 } from '../support/servers.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const server = testPostgres()
const s3 = testS3()
const nginx = testNginx()

let folder: string
let bucket: TestBucket
beforeAll(async () => {
  folder = temporaryFolder('doctor')
  bucket = await embeddedBucket()
})
afterAll(() => bucket?.close())

async function checksOf(env: Record<string, string>) {
  const { messages } = await cli(['doctor', '--json', '--timeout', '60s'], {
    env: { ...bucket.env, AUDIO_STORAGE_PATH: folder, ...env },
  })
  return Object.fromEntries(
    messages
      .filter(({ message_type }) => message_type === 'item')
      .map(({ subject, state, reason, cure }) => [subject, { state, reason, cure }]),
  )
}

const insert = (db: Database, more: object = {}) =>
  db.knex('tracks').insert({
    id: '00000000-0000-4000-8000-000000000001',
    spotify_id: 's',
    title: 't',
    artist: 'a',
    ...more,
  })

describe.skipIf(server === undefined)('a role that cannot write', () => {
  let place: TestDatabase
  let db: Database
  const role = `autodj_doctor_${process.pid}`
  const asRole = () => {
    const url = new URL(place.url)
    url.username = role
    return url.href
  }

  beforeAll(async () => {
    place = await migrated(await postgresTestDatabase(server!))
    db = await place.open()
    await insert(db)
    await db.knex.raw(`create role ${role} login`)
  })
  afterAll(async () => {
    await db?.knex.raw(`drop owned by ${role}; drop role ${role}`)
    await db?.close()
    await place?.drop()
  })

  test('its owner can', async () => {
    expect(await checksOf({ DATABASE_URL: place.url })).toMatchObject({ 'database-write': { state: 'ok' } })
  })

  test('reads only', async () => {
    await db.knex.raw(
      `grant usage on schema autodj_ledger to ${role}; grant select on all tables in schema autodj_ledger, public to ${role}`,
    )
    expect(await checksOf({ DATABASE_URL: asRole() })).toMatchObject({
      'database-write': {
        state: 'failure',
        reason: expect.stringMatching(/may not insert, update, delete on .*tracks/),
        cure: expect.stringMatching(/grant insert, update, delete on/),
      },
    })
    await db.knex.raw(`grant insert, update, delete on tracks to ${role}`)
    expect(await checksOf({ DATABASE_URL: asRole() })).toMatchObject({
      'database-write': { state: 'failure', reason: expect.stringContaining('of the ledger') },
    })
    await db.knex.raw(`grant insert, update, delete on all tables in schema autodj_ledger to ${role}`)
    expect(await checksOf({ DATABASE_URL: asRole() })).toMatchObject({ 'database-write': { state: 'ok' } })
  })

  test('default_transaction_read_only, by who set it', async () => {
    await db.knex.raw(`alter role ${role} set default_transaction_read_only = on`)
    expect((await checksOf({ DATABASE_URL: asRole() }))['database-write']).toMatchObject({
      state: 'failure',
      cure: `alter role ${role} reset default_transaction_read_only`,
    })
    await db.knex.raw(`alter role ${role} reset default_transaction_read_only`)
    const url = `${asRole()}?options=${encodeURIComponent('-c default_transaction_read_only=on')}`
    expect((await checksOf({ DATABASE_URL: url }))['database-write']).toMatchObject({
      state: 'failure',
      cure: expect.stringContaining('options of DATABASE_URL'),
    })
  })

  test('row level security', async () => {
    await db.knex.raw('alter table tracks enable row level security')
    expect((await checksOf({ DATABASE_URL: asRole() }))['database-write']).toMatchObject({
      state: 'warning',
      reason: expect.stringContaining('rows may be hidden'),
      cure: expect.stringContaining('bypassrls'),
    })
    await db.knex.raw('alter table tracks disable row level security')
  })

  test('a trigger that refuses; and nothing is changed by asking', async () => {
    await db.knex.raw(
      `create function no() returns trigger language plpgsql as $$ begin raise 'closed for stocktaking'; end $$;
       create trigger no before update on tracks for each row execute function no()`,
    )
    expect((await checksOf({ DATABASE_URL: place.url }))['database-write']).toMatchObject({
      state: 'failure',
      reason: expect.stringContaining('closed for stocktaking'),
    })
    await db.knex.raw('drop trigger no on tracks')
    const before = await db.knex('tracks').first()
    await checksOf({ DATABASE_URL: place.url })
    expect(await db.knex('tracks').first()).toEqual(before)
  })
})

test('the library and the bucket: an empty table beside a full bucket, rows beside an empty one, archived objects', async () => {
  const place = await migrated(await pgliteTestDatabase())
  const library = async () => (await checksOf({ DATABASE_URL: place.url }))['library']
  try {
    expect(await library()).toMatchObject({ state: 'ok' })
    await bucket.store.put('audio/a_1.mp3', Buffer.from('x'), {
      headers: { contentType: 'audio/mpeg', storageClass: 'GLACIER' },
      checksums: {},
    })
    expect(await library()).toMatchObject({
      state: 'failure',
      reason: expect.stringMatching(/tracks is empty .* 1 object under audio\//),
      cure: expect.stringContaining('restore the database'),
    })
    const db = await place.open()
    await insert(db, { file_source: 'S3', s3_object_key: 'audio/a_1.mp3', file_size: 1 })
    await db.close()
    expect(await library()).toMatchObject({
      state: 'warning',
      reason: '1 of 1 object looked at cannot be read (GLACIER), such as audio/a_1.mp3',
      cure: expect.stringContaining('restore-object'),
    })
    await bucket.store.delete([{ key: 'audio/a_1.mp3' }])
    expect(await library()).toMatchObject({
      state: 'failure',
      reason: expect.stringContaining('holds nothing under audio/'),
    })
  } finally {
    await place.drop()
  }
})

test.skipIf(s3 === undefined || process.env['TEST_S3_SERVER'] !== 'versitygw')(
  'a bucket with Object Lock: the probe is hidden and held, all else is tried',
  async () => {
    const admin = new S3Client({ ...s3!, forcePathStyle: true })
    const name = `autodj-lock-${process.pid}`
    await admin.send(new CreateBucketCommand({ Bucket: name, ObjectLockEnabledForBucket: true }))
    await admin.send(
      new PutObjectLockConfigurationCommand({
        Bucket: name,
        ObjectLockConfiguration: {
          ObjectLockEnabled: 'Enabled',
          Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1 } },
        },
      }),
    )
    const store = createS3Store({ ...s3!, credentials: { ...s3!.credentials }, bucket: name })
    try {
      const checks = await checksOf({
        S3_BUCKET_NAME: name,
        S3_ENDPOINT: s3!.endpoint,
        AWS_ACCESS_KEY_ID: s3!.credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: s3!.credentials.secretAccessKey,
        DATABASE_URL: `pglite:${folder}/none`,
      })
      expect(checks['delete']).toMatchObject({
        state: 'warning',
        reason: expect.stringContaining('Object Lock'),
      })
      for (const check of ['checksums', 'conditions', 'multipart', 'copy'])
        expect([check, checks[check]?.state]).toEqual([check, 'ok'])
      expect((await Array.fromAsync(store.list())).flat()).toEqual([])
    } finally {
      store.close()
      admin.destroy()
    }
  },
)

test.skipIf(nginx === undefined || s3 === undefined)(
  'a store behind a proxy that takes small bodies only',
  async () => {
    const real = await realBucket(s3!)
    const proxy = await startNginx(nginx!, s3!.endpoint, { forStore: true })
    try {
      const checks = await checksOf({
        ...real.env,
        S3_ENDPOINT: proxy.url,
        DATABASE_URL: `pglite:${folder}/none`,
      })
      expect(checks['put']).toMatchObject({ state: 'ok' })
      expect(checks['multipart']).toMatchObject({
        state: 'failure',
        reason: expect.stringContaining('413'),
        cure: expect.stringContaining('client_max_body_size'),
      })
    } finally {
      await proxy.close()
      await real.close()
    }
  },
)
