import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import * as application from '../../migrations/0001_application.ts'
import * as ledger from '../../migrations/0002_ledger.ts'
import * as analyses from '../../migrations/0003_analyses.ts'
import * as jobs from '../../migrations/0004_jobs.ts'
import * as uploadHeaders from '../../migrations/0005_upload_headers.ts'
import * as applicationCode from '../../migrations/0006_application_code.ts'
import * as fileChangeTimes from '../../migrations/0007_file_change_times.ts'
import * as continuedJobs from '../../migrations/0008_continued_jobs.ts'
import * as tempoParts from '../../migrations/0009_tempo_parts.ts'
import * as runReferences from '../../migrations/0010_run_references.ts'
import { head, isRevision, knownRevisions } from '../core/migrate/application-schema.ts'
import {
  type AdoptionRecord,
  type ApplicationPlan,
  compareSchema,
  type DownPlan,
  lacksS3,
  planApplication,
  planDown,
} from '../core/migrate/schema-diff.ts'
import { FatalError, LockedError, toError } from '../errors.ts'
import { inPlace, observeApplication, observeDown, tableExists } from './alembic.ts'
import { applicationSchema, ledgerSchema, legacySchema, quoteName } from './application.ts'
import { codeNotice } from './application-code.ts'
import type { Database } from './database.ts'
import { indexesToDrop } from './offered-indexes.ts'

/**
 * Names of the migrations, in order. Listed by hand and without extension: Knex stores them, and a scan of the folder
 * would find .ts in one place and .js in another, which it calls a corrupt directory.
 */
export const allMigrations = [
  '0001_application',
  '0002_ledger',
  '0003_analyses',
  '0004_jobs',
  '0005_upload_headers',
  '0006_application_code',
  '0007_file_change_times',
  '0008_continued_jobs',
  '0009_tempo_parts',
  '0010_run_references',
] as const

type MigrationName = (typeof allMigrations)[number]

/** Those in our own schema, which are the same statements for everyone. */
const ledgerMigrations = {
  '0002_ledger': ledger,
  '0003_analyses': analyses,
  '0004_jobs': jobs,
  '0005_upload_headers': uploadHeaders,
  '0006_application_code': applicationCode,
  '0007_file_change_times': fileChangeTimes,
  '0008_continued_jobs': continuedJobs,
  '0009_tempo_parts': tempoParts,
  '0010_run_references': runReferences,
} as const

const migrationSchema = ledgerSchema
const knexTables = ['knex_migrations', 'knex_migrations_lock']

/** The number of the advisory lock that a migration holds: "autodj" in ASCII. */
const lockId = 0x6175746f646a

/** How long a migration waits for another one to end, in ms. */
const maxWaitMs = 60_000

/** How long it waits for a lock on the application's tables before it gives way to the application. */
const tableLockTimeout = '15s'

interface MigrateOptions {
  /** Aborts the wait for another migration. */
  signal?: AbortSignal
  /** How long to wait for another migration, in ms. Default one minute. */
  waitMs?: number
}

export interface MigrateResult {
  /** Names of the migrations applied, or taken back, in the order in which that was done. */
  migrations: string[]
  /** Whether the ledger of an earlier version was moved to its schema of today. */
  moved: boolean
  /** The Alembic revision if a database was adopted by this run. */
  adopted: string | null
  /** What the operator should know, in sentences. */
  notices: string[]
}

interface MigrateStatus {
  migrations: { name: string; appliedAt: Date | null }[]
  /** Rows of `alembic_version`. */
  revisions: readonly string[]
  /** Where the schema differs from what it should be. */
  drift: string[]
  notices: string[]
  /** Whether Knex's migration lock is taken, by a live migration or a dead one. */
  locked: boolean
}

/* ── The lock ─────────────────────────────────────────────────────────────────────────────────────────────────── */

/**
 * Runs `work` in the one transaction that may migrate this database. The lock belongs to the transaction: killed, it
 * leaves nothing behind, and PgBouncer does not matter. Everything a migration does is in that transaction too.
 *
 * @throws LockedError that names the holder, when another migration does not end in time
 */
async function migrating<T>(
  db: Database,
  { signal, waitMs = maxWaitMs }: MigrateOptions,
  work: (trx: Knex.Transaction) => Promise<T>,
): Promise<T> {
  return db.knex.transaction(async trx => {
    const deadline = performance.now() + waitMs
    for (;;) {
      signal?.throwIfAborted()
      const { rows } = await trx.raw(`select pg_try_advisory_xact_lock(${lockId}) as ours`)
      if (rows[0].ours) break
      if (performance.now() >= deadline) throw await lockedBy(trx)
      await sleep(200)
    }
    await trx.raw(`set local lock_timeout = '${tableLockTimeout}'`)
    return work(trx)
  })
}

async function lockedBy(trx: Knex.Transaction): Promise<LockedError> {
  // A 64-bit advisory lock shows its upper half as classid and its lower half as objid.
  const { rows } = await trx.raw(
    `select a.pid, a.application_name as name, coalesce(host(a.client_addr), 'this machine') as host, a.xact_start as since
     from pg_locks l join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'advisory' and l.granted and l.objsubid = 1
       and (l.classid::bigint << 32) + l.objid::bigint = ${lockId}
       and l.database = (select oid from pg_database where datname = current_database())`,
  )
  const [holder] = rows
  const who = holder
    ? `${holder.name || 'a session'} from ${holder.host} (database process ${holder.pid}) since ${holder.since?.toISOString()}`
    : 'another session'
  return new LockedError(`another migration of this database is running: ${who}`, {
    cure: holder
      ? `Wait for it to end. If it is stuck: select pg_terminate_backend(${holder.pid});.`
      : 'Run it again.',
    details: holder ?? {},
  })
}

/* ── Knex ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

function knexConfig(
  statements: (name: MigrationName, direction: 'up' | 'down') => readonly string[],
): Knex.MigratorConfig {
  const run =
    (name: MigrationName, direction: 'up' | 'down') =>
    async (knex: Knex): Promise<void> => {
      // One round trip: a hundred comments one by one are slow on a far database.
      await knex.raw(statements(name, direction).join(';\n').replaceAll('?', '\\?'))
    }
  return {
    tableName: knexTables[0],
    schemaName: migrationSchema,
    migrationSource: {
      getMigrations: async () => [...allMigrations],
      getMigrationName: (name: MigrationName) => name,
      getMigration: async (name: MigrationName): Promise<Knex.Migration> => ({
        up: run(name, 'up'),
        down: run(name, 'down'),
      }),
    },
  }
}

/** Knex's complaints as ours. */
async function throughKnex<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (thrown) {
    const error = toError(thrown)
    if (error.name === 'MigrationLocked') {
      // Knex says so of whatever kept it from the lock.
      if (!/already locked/i.test(error.message))
        throw new FatalError(`Knex's migration lock cannot be taken: ${error.message}`, {
          code: /read-only/.test(error.message) ? 'db.read-only' : 'db.denied',
          cause: error,
        })
      throw new LockedError("Knex's migration lock is held", { code: 'migrate.knex-locked', cause: error })
    }
    if (/migration directory is corrupt/.test(error.message)) {
      throw new FatalError(`the database has migrations unknown to this version: ${error.message}`, {
        code: 'migrate.newer',
        cause: error,
      })
    }
    throw error
  }
}

/** When each migration was applied, by name; empty in a database that was never migrated. */
async function appliedMigrations(knex: Knex, schema: string = migrationSchema): Promise<Map<string, Date>> {
  if (!(await tableExists(knex, `${schema}.${knexTables[0]}`))) return new Map()
  const rows = await knex(`${schema}.${knexTables[0]}`).orderBy('id')
  return new Map(rows.map(row => [row.name as string, row.migration_time as Date]))
}

/* ── Up and baseline ──────────────────────────────────────────────────────────────────────────────────────────── */

interface UpPlan {
  /** moves what an earlier version made in the schema `autodj` */
  move: string[]
  pending: MigrationName[]
  /** the schema of the application's tables */
  place: string
  application: Exclude<ApplicationPlan, { kind: 'refuse' }> | undefined
}

async function planUp(knex: Knex, { baseline }: { baseline: boolean }): Promise<UpPlan> {
  const legacy = await findLegacy(knex)
  const applied = await appliedMigrations(knex, legacy === undefined ? migrationSchema : legacySchema)
  const place = await applicationSchema(knex)
  const move = legacy?.move ?? []
  const pending = allMigrations
    .filter(name => !applied.has(name))
    .filter(name => !baseline || name === allMigrations[0])
  const live = await observeApplication(knex, place)
  // Alembic may have taken back since what was added then.
  if (!pending.includes('0001_application') && !lacksS3(live)) {
    return { move, pending, place, application: undefined }
  }
  const plan = planApplication(live, { guessRevision: baseline })
  if (plan.kind === 'refuse') {
    const differences = plan.differences.length === 0 ? '' : `: ${plan.differences.join('; ')}`
    throw new FatalError(`${plan.cause}${differences}`, {
      code: 'migrate.mismatch',
      cure: plan.cure,
      details: { differences: plan.differences },
    })
  }
  if (baseline && plan.kind === 'create') {
    throw new FatalError(
      'there is nothing to adopt: the database has none of the tables of the application',
      { code: 'migrate.empty' },
    )
  }
  return { move, pending, place, application: plan }
}

const statementsUp = (name: MigrationName, { application: plan, place }: UpPlan): readonly string[] =>
  name === '0001_application' ? inPlace(application.up(plan!), place) : ledgerMigrations[name].up

/** What brings back that which Alembic took, in a database that was adopted before. */
const statementsAgain = ({ application: plan, pending, place }: UpPlan): readonly string[] =>
  plan === undefined || pending.includes('0001_application') ? [] : inPlace(application.again(plan), place)

interface Legacy {
  /** SQL that brings it to where it is now */
  move: string[]
}

/**
 * The ledger of an earlier version, in a schema called like the application's database role: it had become the default
 * schema of that role, and Alembic saw our tables as the application's, and made its own there. What is not ours stays.
 *
 * @throws LockedError while a run of that version is working
 */
async function findLegacy(knex: Knex): Promise<Legacy | undefined> {
  const applied = await appliedMigrations(knex, legacySchema)
  if (!applied.has('0001_application')) return undefined
  if (await tableExists(knex, `${migrationSchema}.${knexTables[0]}`)) {
    throw new FatalError(
      `the database has two ledgers, in the schemas ${legacySchema} and ${migrationSchema}`,
      {
        code: 'migrate.two-ledgers',
        cure: `Drop the one that is not in use: an older autodj may have created ${legacySchema} again.`,
      },
    )
  }
  if (applied.has('0002_ledger')) await refuseWhileRunning(knex, legacySchema)
  const ours = ['adoption', ...Object.values(ledgerMigrations).flatMap(({ tables }) => tables), ...knexTables]
  const { rows } = await knex.raw<{ rows: { tables: string[]; others: number }[] }>(
    `with ours as (
       select c.oid, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname = :schema and c.relkind = 'r' and c.relname = any(:ours::text[])
     )
     select (select array_agg(relname::text order by relname) from ours) as tables,
       (select count(*)::int from pg_depend d join pg_namespace n on n.oid = d.refobjid
        where d.refclassid = 'pg_namespace'::regclass and n.nspname = :schema
          and not (d.classid = 'pg_class'::regclass and (d.objid in (select oid from ours) or exists (
            select 1 from pg_depend s where s.classid = 'pg_class'::regclass and s.objid = d.objid
              and s.deptype in ('a', 'i') and s.refobjid in (select oid from ours))))) as others`,
    { schema: legacySchema, ours },
  )
  const { tables, others } = rows[0]!
  if (others === 0 && !(await schemaExists(knex, migrationSchema))) {
    return { move: [`alter schema ${legacySchema} rename to ${migrationSchema}`] }
  }
  return {
    move: [
      `create schema if not exists ${migrationSchema}`,
      ...(tables ?? []).map(table => `alter table ${legacySchema}.${table} set schema ${migrationSchema}`),
      ...(others === 0 ? [`drop schema ${legacySchema}`] : []),
    ],
  }
}

async function schemaExists(knex: Knex, schema: string): Promise<boolean> {
  const { rows } = await knex.raw('select 1 from pg_namespace where nspname = ?', [schema])
  return rows.length > 0
}

/** @throws LockedError naming a live run */
async function refuseWhileRunning(knex: Knex, schema: string): Promise<void> {
  const [run] = await knex(`${schema}.runs`)
    .where({ state: 'running' })
    .whereRaw('lease_until > now()')
    .limit(1)
  if (run === undefined) return
  throw new LockedError(
    `${run.command} is running (pid ${run.pid} on ${run.host}) since ${run.started_at.toISOString()}`,
    { cure: 'Wait for it to end, or stop it.', details: { run: run.id, pid: run.pid, host: run.host } },
  )
}

/** Whoever may change tracks may use the ledger: the role that migrates is often another than the one that works. */
async function grantLedger(trx: Knex, place: string): Promise<void> {
  const { rows } = await trx.raw<{ rows: { role: string }[] }>(
    `select distinct case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as role
     from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
     where n.nspname = ? and c.relname = 'tracks' and a.privilege_type = 'UPDATE'
       and a.grantee <> (select oid from pg_roles where rolname = current_user)`,
    [place],
  )
  for (const { role } of rows) {
    await trx.raw(`grant usage on schema ${migrationSchema} to ${role}`)
    await trx.raw(
      `grant select, insert, update, delete on all tables in schema ${migrationSchema} to ${role}`,
    )
  }
}

async function applyUp(db: Database, baseline: boolean, options: MigrateOptions): Promise<MigrateResult> {
  return migrating(db, options, async trx => {
    const plan = await planUp(trx, { baseline })
    for (const sql of plan.move) await trx.raw(sql)
    if (!(await schemaExists(trx, migrationSchema))) await trx.raw(`create schema ${migrationSchema}`)
    const config = knexConfig(name => statementsUp(name, plan))
    const [, migrations] = (await throughKnex(
      baseline && plan.pending.length > 0
        ? trx.migrate.up({ ...config, name: allMigrations[0] } as Knex.MigratorConfig)
        : baseline
          ? Promise.resolve([0, []])
          : trx.migrate.latest(config),
    )) as [number, string[]]
    for (const sql of statementsAgain(plan)) await trx.raw(sql.replaceAll('?', '\\?'))
    if (plan.move.length + migrations.length > 0) await grantLedger(trx, plan.place)
    return {
      migrations,
      moved: plan.move.length > 0,
      adopted: plan.application?.kind === 'adopt' ? plan.application.revision : null,
      notices: [...(plan.application?.notices ?? []), ...(await codeNotice(trx))],
    }
  })
}

/**
 * Brings the database to the newest schema, in one transaction: an empty one from nothing, one that Alembic made by
 * adopting it. Nothing happens if nothing is pending.
 *
 * @throws FatalError with every difference, if the schema is not what its revision should hold; LockedError when
 *   another migration is running; TemporaryError when the application holds its tables for too long
 */
export function migrateUp(db: Database, options: MigrateOptions = {}): Promise<MigrateResult> {
  return applyUp(db, false, options)
}

/**
 * Adopts the application's schema and applies nothing else; finds the revision by the schema if the database has
 * none.
 *
 * @throws as `migrateUp`
 */
export function migrateBaseline(db: Database, options: MigrateOptions = {}): Promise<MigrateResult> {
  return applyUp(db, true, options)
}

/** The SQL that `up` (or `baseline`) would run now. Reads only; Knex's own bookkeeping is left out. */
export async function upStatements(db: Database, { baseline = false } = {}): Promise<string[]> {
  const plan = await planUp(db.knex, { baseline })
  const there = plan.move.length > 0 || (await schemaExists(db.knex, migrationSchema))
  return [
    ...plan.move,
    ...(there || plan.pending.length === 0 ? [] : [`create schema ${migrationSchema}`]),
    ...plan.pending.flatMap(name => statementsUp(name, plan)),
    ...statementsAgain(plan),
  ]
}

/* ── Down ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

async function planTakeBack(
  knex: Knex,
): Promise<{ applied: MigrationName[]; plan: Exclude<DownPlan, { kind: 'refuse' }>; place: string }> {
  if ((await findLegacy(knex)) !== undefined) {
    throw new FatalError(
      `the ledger is still where an earlier version put it, in the schema ${legacySchema}`,
      { code: 'migrate.legacy' },
    )
  }
  const place = await applicationSchema(knex)
  const done = await appliedMigrations(knex)
  const applied = allMigrations.filter(name => done.has(name)).reverse()
  if (!applied.includes('0001_application'))
    return { applied, place, plan: { kind: 'down', statements: [], notices: [] } }

  if (applied.includes('0002_ledger')) await refuseWhileRunning(knex, migrationSchema)
  const row = await knex(`${migrationSchema}.adoption`).first()
  const record: AdoptionRecord = {
    kind: row.kind,
    revision: row.revision,
    columnsAdded: row.columns_added,
    enumValueAdded: row.enum_value_added,
  }
  const plan = planDown(await observeDown(knex, place, record))
  if (plan.kind === 'refuse') throw new FatalError(plan.cause, { code: 'migrate.in-use', cure: plan.cure })
  return { applied, plan, place }
}

const statementsDown = (
  name: MigrationName,
  { plan, place }: { plan: Exclude<DownPlan, { kind: 'refuse' }>; place: string },
): readonly string[] =>
  name === '0001_application' ? inPlace(application.down(plan), place) : ledgerMigrations[name].down

/**
 * Takes back what is ours: the ledger, our bookkeeping, and what had been added to the application's schema as far as
 * nothing is lost with it.
 *
 * @throws FatalError while a track is in S3; LockedError while a run is working or a migration running
 */
export async function migrateDown(db: Database, options: MigrateOptions = {}): Promise<MigrateResult> {
  return migrating(db, options, async trx => {
    const { applied, plan, place } = await planTakeBack(trx)
    if (!(await tableExists(trx, `${migrationSchema}.${knexTables[0]}`))) {
      return { migrations: [], moved: false, adopted: null, notices: [] }
    }
    const notices = [...plan.notices]
    if (applied.length > 0) {
      // Nobody may put a track into S3 between the look and the deed.
      if (plan.statements.length > 0)
        await trx.raw(`lock table ${quoteName(place)}.tracks in access exclusive mode`)
      const recheck = await planTakeBack(trx)
      await throughKnex(
        trx.migrate.rollback(
          knexConfig(name => statementsDown(name, recheck)),
          true,
        ),
      )
    }
    for (const sql of (await indexesToDrop(trx)).statements) await trx.raw(sql.replace(' concurrently', ''))
    for (const table of knexTables) await trx.raw(`drop table ${migrationSchema}.${table}`)
    const { rows } = await trx.raw(
      `select count(*)::int as others from pg_class where relnamespace = '${migrationSchema}'::regnamespace and relkind in ('r', 'v', 'm', 'p')`,
    )
    if (rows[0].others === 0) await trx.raw(`drop schema ${migrationSchema} cascade`)
    else notices.push(`the schema ${migrationSchema} contains tables of your own and is kept`)
    return { migrations: applied, moved: false, adopted: null, notices }
  })
}

/** The SQL that `down` would run now. Reads only; Knex's own bookkeeping is left out. */
export async function downStatements(db: Database): Promise<string[]> {
  const taken = await planTakeBack(db.knex)
  if (taken.applied.length === 0) return []
  return [
    ...taken.applied.flatMap(name => statementsDown(name, taken)),
    ...(await indexesToDrop(db.knex)).statements,
    ...knexTables.map(table => `drop table ${migrationSchema}.${table}`),
    `drop schema ${migrationSchema}`,
  ]
}

/* ── Status and unlock ────────────────────────────────────────────────────────────────────────────────────────── */

/** What is applied, what is pending, and where the schema differs from what it should be. Reads only. */
export async function migrateStatus(db: Database): Promise<MigrateStatus> {
  const { knex } = db
  const legacy = await findLegacy(knex)
  const schema = legacy === undefined ? migrationSchema : legacySchema
  const applied = await appliedMigrations(knex, schema)
  const place = await applicationSchema(knex)
  const live = await observeApplication(knex, place)
  const revisions = live.revisions ?? []
  const drift: string[] = []
  const notices: string[] = await codeNotice(knex)
  if (legacy !== undefined)
    notices.push(
      `the ledger is in the schema ${legacySchema}: \`autodj migrate\` moves it to ${migrationSchema}`,
    )
  if (applied.size > 0 && lacksS3(live))
    notices.push(
      `the application's schema was downgraded to before ${head}: \`autodj migrate\` upgrades it again`,
    )
  const [revision] = revisions
  if (revision !== undefined && isRevision(revision)) {
    const comparison = compareSchema(live.schema, revision)
    drift.push(...comparison.differences)
    notices.push(...comparison.notices)
  } else if (revision !== undefined) {
    const newest = knownRevisions.at(-1)!
    notices.push(`the Alembic revision ${revision} is not known; compared with ${newest}`)
    drift.push(...compareSchema(live.schema, newest).differences)
  }
  for (const [name, { tables }] of Object.entries(ledgerMigrations)) {
    if (!applied.has(name)) continue
    for (const table of tables) {
      if (!(await tableExists(knex, `${schema}.${table}`))) drift.push(`table ${schema}.${table} is missing`)
    }
  }
  const hasLock = await tableExists(knex, `${schema}.${knexTables[1]}`)
  return {
    migrations: allMigrations.map(name => ({ name, appliedAt: applied.get(name) ?? null })),
    revisions,
    drift,
    notices,
    locked: hasLock && (await knex(`${schema}.${knexTables[1]}`).where({ is_locked: 1 })).length > 0,
  }
}

/**
 * Frees the migration lock of Knex that a killed migration left behind. Ours leave none; a `knex migrate` of someone
 * else, without a transaction, does.
 *
 * @returns whether there was a lock to free
 * @throws LockedError while a migration is running
 */
export async function migrateUnlock(db: Database): Promise<boolean> {
  return migrating(db, { waitMs: 0 }, async trx => {
    const table = `${migrationSchema}.${knexTables[1]}`
    if (!(await tableExists(trx, table))) return false
    const { rows } = await trx.raw(
      `select a.pid, a.application_name as name from pg_locks l join pg_stat_activity a on a.pid = l.pid
       where l.relation = '${table}'::regclass and l.mode = 'RowExclusiveLock' and l.pid <> pg_backend_pid() limit 1`,
    )
    if (rows.length > 0) {
      throw new LockedError(
        `a session is migrating: ${rows[0].name || 'unnamed'} (database process ${rows[0].pid})`,
        {
          cure: 'Wait for it to end.',
          details: rows[0],
        },
      )
    }
    return (await trx(table).where({ is_locked: 1 }).update({ is_locked: 0 })) > 0
  })
}
