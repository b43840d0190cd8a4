import { defineCommand } from '../cli/command.ts'
import { flag, shared } from '../cli/flags.ts'
import type { Context } from '../context.ts'
import { plural } from '../core/units.ts'
import type { MigrateResult } from '../db/migrate.ts'
import { ExitCode, UsageError } from '../errors.ts'

const actions = ['up', 'down', 'status', 'baseline', 'unlock'] as const

export const migrate = defineCommand({
  name: 'migrate',
  summary: 'bring the database to the schema that autodj needs, or undo that',
  settings: ['database'],
  description:
    'up creates the schema in an empty database, and adopts one created by Alembic: the live schema is compared with ' +
    'what its revision should contain, what is missing is added, no row is touched, and `alembic upgrade head` goes ' +
    'on from there. If it does not match, nothing is changed and every difference is named.\n\n' +
    'down removes the ledger (schema autodj_ledger) and what was added, and is refused while a track is in S3; without ' +
    '--apply it shows what it would do. status shows what is applied, pending and different. baseline only adopts, ' +
    'also a database without a revision. unlock frees a migration lock whose holder is dead.',
  examples: [
    ['autodj migrate --dry-run', 'show the SQL that would run'],
    ['autodj migrate', 'run it'],
    ['autodj migrate status', 'applied, pending, and drift (exit code 4)'],
    ['autodj migrate down --apply', 'undo it'],
    ['autodj migrate --indexes', 'also for a library of a million tracks: optional indexes on tracks'],
  ],
  args: [{ spec: '[action]', description: 'what to do', choices: actions, defaultValue: 'up' }],
  flags: {
    dryRun: shared.dryRun,
    apply: { ...shared.apply, description: 'carry out `down` (without it: a dry run)' },
    indexes: flag.boolean(
      '--indexes',
      'only make (up) or drop (down) the optional indexes on tracks, without blocking the application',
    ),
    applicationUpdated: flag.boolean(
      '--application-updated',
      "confirm that the application's code can read tracks in S3 (its revision a312ec46df43 or later)",
    ),
  },
  async run(context, flags, [action]) {
    if (flags.indexes) return optionalIndexes(context, flags, action ?? 'up')
    const work = await import('../db/migrate.ts')
    const db = await context.database()
    const { signal } = context
    switch (action) {
      case 'status':
        return status(context, await work.migrateStatus(db))
      case 'unlock':
        return unlocked(context, await work.migrateUnlock(db))
      case 'down': {
        if (flags.dryRun || !flags.apply) return planned(context, await work.downStatements(db), 'down')
        return done(context, await work.migrateDown(db, { signal }), 'undone')
      }
      default: {
        const baseline = action === 'baseline'
        if (flags.dryRun) return planned(context, await work.upStatements(db, { baseline }), action ?? 'up')
        if (flags.applicationUpdated) {
          const { confirmCode } = await import('../db/application-code.ts')
          const result = await work.migrateUp(db, { signal })
          await confirmCode(db)
          return done(context, { ...result, notices: [] }, 'applied')
        }
        const run = baseline ? work.migrateBaseline : work.migrateUp
        return done(context, await run(db, { signal }), 'applied')
      }
    }
  },
})

/** `--indexes`: the indexes that large libraries are served faster with. */
async function optionalIndexes(
  context: Context,
  { dryRun, apply }: { dryRun: boolean; apply: boolean },
  action: string,
): Promise<ExitCode> {
  if (action !== 'up' && action !== 'down')
    throw new UsageError('--indexes goes with up and down', { code: 'usage.flag' })
  const { changeIndexes, indexesToDrop, indexesToMake } = await import('../db/offered-indexes.ts')
  const { knex } = await context.database()
  const plan = action === 'up' ? await indexesToMake(knex) : await indexesToDrop(knex)
  for (const notice of plan.notices) context.report.warn(notice)
  if (dryRun || (action === 'down' && !apply)) return planned(context, plan.statements, `${action} --indexes`)
  await changeIndexes(knex, plan, sql =>
    context.report.item({ subject: 'statement', state: 'done', fields: { sql }, text: sql }),
  )
  const { length: count } = plan.statements.filter(sql => sql.includes(' index '))
  context.report.summary({
    lines: [
      count === 0
        ? 'nothing to do'
        : `${plural(count, 'index', 'indexes')} ${action === 'up' ? 'made' : 'dropped'}`,
    ],
    ...(action === 'up' && count > 0
      ? { next: 'before `alembic revision --autogenerate`: autodj migrate down --indexes --apply' }
      : {}),
    fields: { statements: plan.statements },
  })
  return ExitCode.ok
}

function planned({ report }: Context, statements: readonly string[], action: string): ExitCode {
  for (const sql of statements) {
    report.data(`${sql};\n`, { message_type: 'item', subject: 'statement', state: 'planned', sql })
  }
  const flag = action.startsWith('down') ? ' --apply' : ''
  report.note(
    statements.length === 0
      ? 'nothing to do'
      : `nothing was changed; to run this: autodj migrate ${action}${flag}`,
  )
  return ExitCode.ok
}

function done({ report }: Context, result: MigrateResult, verb: string): ExitCode {
  const { migrations, moved, adopted, notices } = result
  for (const notice of notices) report.warn(notice)
  report.summary({
    lines: [
      ...(adopted === null ? [] : [`adopted the database that Alembic left at ${adopted}`]),
      ...(moved ? ['moved the ledger of an earlier version to the schema autodj_ledger'] : []),
      ...(migrations.length > 0
        ? [`${verb}: ${migrations.join(', ')}`]
        : adopted === null && !moved
          ? ['nothing to do']
          : []),
    ],
    fields: { migrations, moved, adopted, notices },
  })
  return ExitCode.ok
}

function status(
  { report }: Context,
  {
    migrations,
    revisions,
    drift,
    notices,
    locked,
  }: Awaited<ReturnType<typeof import('../db/migrate.ts')['migrateStatus']>>,
): ExitCode {
  const pending = migrations.filter(each => each.appliedAt === null)
  for (const notice of notices) report.note(notice)
  report.summary({
    isAnswer: true,
    lines: [
      ...migrations.map(({ name, appliedAt }) => `${name}  ${appliedAt?.toISOString() ?? 'pending'}`),
      `Alembic revision: ${revisions.join(', ') || 'none'}`,
      ...(locked ? ["Knex's migration lock is held"] : []),
      ...drift.map(difference => report.style.red(`differs: ${difference}`)),
    ],
    next: locked ? 'autodj migrate unlock' : pending.length > 0 ? 'autodj migrate' : undefined,
    fields: { migrations, revisions, drift, notices, locked },
  })
  return drift.length > 0 ? ExitCode.drift : ExitCode.ok
}

function unlocked({ report }: Context, freed: boolean): ExitCode {
  report.summary({
    lines: [freed ? 'the migration lock is free' : 'there was no lock to free'],
    fields: { freed },
  })
  return ExitCode.ok
}
