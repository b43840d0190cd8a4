import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { head } from '../../src/core/migrate/application-schema.ts'
import { allMigrations } from '../../src/db/migrate.ts'
import { ExitCode } from '../../src/errors.ts'
import { loadDump } from '../support/alembic.ts'
import { cli } from '../support/cli.ts'
import { pgliteTestDatabase, type TestDatabase } from '../support/database.ts'

describe('autodj migrate', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await pgliteTestDatabase()
  })
  afterAll(() => database.drop())

  const migrate = (...args: string[]) => cli(['migrate', ...args], { env: { DATABASE_URL: database.url } })
  const raw = async (work: (knex: Awaited<ReturnType<TestDatabase['open']>>['knex']) => Promise<unknown>) => {
    const db = await database.open()
    await work(db.knex).finally(() => db.close())
  }

  test('from a damaged database that Alembic made, through adoption, and back', async () => {
    await raw(async knex => {
      await loadDump(knex, 'd586b7432ebd')
      await knex.raw('alter table tracks drop column bpm')
    })

    const refused = await migrate()
    expect(refused.exitCode).toBe(ExitCode.fatal)
    expect(refused.stderr).toContain('column tracks.bpm is missing')
    expect(refused.stderr).toContain('nothing was changed')

    await raw(knex => knex.raw('alter table tracks add column bpm double precision'))
    const plan = await migrate('--dry-run')
    expect(plan.exitCode).toBe(ExitCode.ok)
    expect(plan.stdout).toContain('add column s3_object_key character varying;')
    expect(plan.stdout).toContain('create table autodj_ledger.runs')
    expect(plan.stderr).toContain('nothing was changed')

    const up = await migrate('--json')
    expect(up.exitCode).toBe(ExitCode.ok)
    expect(up.messages).toContainEqual(
      expect.objectContaining({
        message_type: 'summary',
        adopted: 'd586b7432ebd',
        migrations: [...allMigrations],
      }),
    )

    await raw(knex => knex.raw('alter table tracks drop column energy'))
    const drifted = await migrate('status')
    expect(drifted.exitCode).toBe(ExitCode.drift)
    expect(drifted.stdout).toContain(`Alembic revision: ${head}\ndiffers: column tracks.energy is missing`)

    expect((await migrate('down')).stdout).toContain('drop column s3_object_key;')
    expect((await migrate('up')).stdout).toContain('nothing to do')
    const down = await migrate('down', '--apply')
    expect(down.stdout).toContain(`undone: ${allMigrations.toReversed().join(', ')}`)
    expect(down.stderr).toContain('the enum value S3 is kept')
    const before = await migrate('status')
    expect(before.exitCode).toBe(ExitCode.drift)
    expect(before.stdout).toMatch(
      new RegExp(
        `${allMigrations.map(name => `${name} {2}pending\\n`).join('')}Alembic revision: d586b7432ebd`,
      ),
    )
  })

  test('baseline of nothing, and an action that does not exist', async () => {
    await raw(knex => knex.raw('drop schema public cascade; create schema public'))
    const baseline = await migrate('baseline')
    expect(baseline.exitCode).toBe(ExitCode.fatal)
    expect(baseline.stderr).toContain('nothing to adopt')
    expect((await migrate('sideways')).exitCode).toBe(ExitCode.usage)
  })

  test('a folder that another process holds is refused with who holds it', async () => {
    const db = await database.open({ applicationName: 'autodj upload-local' })
    try {
      const refused = await migrate('status')
      expect(refused.exitCode).toBe(ExitCode.locked)
      expect(refused.stderr).toMatch(
        new RegExp(
          `^\\S+Z error: the embedded database .* is locked by autodj upload-local \\(pid ${process.pid}\\) since 20`,
        ),
      )
      expect(refused.stderr).toContain('PostgreSQL takes any number of commands at a time')
    } finally {
      await db.close()
    }
  })
})
