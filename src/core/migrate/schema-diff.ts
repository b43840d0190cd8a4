import {
  type Column,
  type Constraint,
  head,
  isRevision,
  knownRevisions,
  type Revision,
  type Schema,
  schemaAt,
  type Table,
} from './application-schema.ts'

/** What a database holds, as observed. */
export interface LiveDatabase {
  /** Tables and enums of the application, those that are there. */
  schema: Schema
  /** Rows of `alembic_version`; undefined if there is no such table. */
  revisions: readonly string[] | undefined
}

/** What the comparison found, each in words. */
interface Comparison {
  /** What does not match: a database with any of these is not the one that autodj was made for. */
  differences: string[]
  /** What is the operator's own, or was there early, and does no harm. */
  notices: string[]
}

/** What 0001 will do to the application's own schema. Plain data. */
export type ApplicationPlan =
  | { kind: 'create'; statements: string[]; notices: string[] }
  | {
      kind: 'adopt'
      /** The revision that the database was at; one that is not known here may be newer. */
      revision: string
      statements: string[]
      notices: string[]
      /** Names of columns added to `tracks`, in order. */
      columnsAdded: string[]
      /** Whether the enum value S3 was added. */
      enumValueAdded: boolean
    }
  | { kind: 'refuse'; cause: string; differences: string[]; cure: string }

const describeColumn = (column: Column): string =>
  `${column.type}${column.nullable ? '' : ' not null'}${column.default === null ? '' : ` default ${column.default}`}`

/**
 * Compares a live schema with what its revision should hold. Order does not matter anywhere. Columns and enum values
 * of a later revision may be there already (an upgrade that was cut off) if they are as that revision has them.
 */
export function compareSchema(live: Schema, revision: Revision): Comparison {
  const expected = schemaAt(revision)
  const later = schemaAt(knownRevisions.at(-1)!)
  const differences: string[] = []
  const notices: string[] = []

  for (const [name, values] of Object.entries(expected.enums)) {
    const found = live.enums[name]
    if (found === undefined) {
      differences.push(`enum ${name} is missing`)
      continue
    }
    for (const value of values)
      if (!found.includes(value)) differences.push(`enum ${name} lacks the value ${value}`)
    for (const value of found) {
      if (values.includes(value)) continue
      if (later.enums[name]?.includes(value)) notices.push(`enum ${name} already has the value ${value}`)
      else differences.push(`enum ${name} has the value ${value}, which revision ${revision} does not have`)
    }
  }

  for (const [name, table] of Object.entries(expected.tables)) {
    const found = live.tables[name]
    if (found === undefined) differences.push(`table ${name} is missing`)
    else compareTable(name, found, table, later.tables[name]!, { differences, notices })
  }
  return { differences, notices }
}

function compareTable(name: string, live: Table, expected: Table, later: Table, into: Comparison): void {
  const { differences, notices } = into
  for (const column of expected.columns) {
    const found = live.columns.find(each => each.name === column.name)
    if (found === undefined) {
      differences.push(`column ${name}.${column.name} is missing`)
    } else if (describeColumn(found) !== describeColumn(column)) {
      differences.push(
        `column ${name}.${column.name} is ${describeColumn(found)}, should be ${describeColumn(column)}`,
      )
    }
  }
  for (const column of live.columns) {
    if (expected.columns.some(each => each.name === column.name)) continue
    const planned = later.columns.find(each => each.name === column.name)
    if (planned !== undefined) {
      if (describeColumn(column) === describeColumn(planned)) {
        notices.push(`column ${name}.${column.name} already exists`)
      } else {
        differences.push(
          `column ${name}.${column.name} is ${describeColumn(column)}, would have to be ${describeColumn(planned)}`,
        )
      }
    } else if (column.nullable || column.default !== null) {
      notices.push(`column ${name}.${column.name} (${describeColumn(column)}) is your own and is kept`)
    } else {
      differences.push(
        `column ${name}.${column.name} is unknown, and rows without a value for it would be refused`,
      )
    }
  }

  compareNamed('constraint', name, live.constraints, expected.constraints, into, definition =>
    definition.startsWith('FOREIGN KEY'),
  )
  compareNamed('index', name, live.indexes, expected.indexes, into, definition =>
    definition.startsWith('CREATE INDEX'),
  )
}

/** Constraints or indexes: what they are counts, not what they are called. */
function compareNamed(
  what: string,
  table: string,
  live: readonly Constraint[],
  expected: readonly Constraint[],
  { differences, notices }: Comparison,
  isHarmless: (definition: string) => boolean,
): void {
  for (const each of expected) {
    const same = live.find(found => found.definition === each.definition)
    const namesake = live.find(found => found.name === each.name)
    if (same === undefined) {
      differences.push(
        namesake === undefined
          ? `${what} ${each.name} of ${table} is missing: ${each.definition}`
          : `${what} ${each.name} of ${table} is ${namesake.definition}, should be ${each.definition}`,
      )
    } else if (namesake === undefined) {
      notices.push(`${what} ${each.name} of ${table} is called ${same.name}`)
    }
  }
  for (const found of live) {
    const known = expected.some(each => each.definition === found.definition || each.name === found.name)
    if (known) continue
    const text = `${what} ${found.name} of ${table} (${found.definition})`
    if (isHarmless(found.definition)) notices.push(`${text} is your own and is kept`)
    else differences.push(`${text} is unknown, and might refuse rows that autodj writes`)
  }
}

/** SQL that makes a schema from nothing. */
export function createStatements(schema: Schema): string[] {
  const statements = Object.entries(schema.enums).map(
    ([name, values]) =>
      `create type public.${name} as enum (${values.map(value => `'${value}'`).join(', ')})`,
  )
  for (const [name, table] of Object.entries(schema.tables)) {
    const lines = [
      ...table.columns.map(column => `"${column.name}" ${describeColumn(column)}`),
      ...table.constraints.map(each => `constraint ${each.name} ${each.definition}`),
    ]
    statements.push(`create table public.${name} (\n  ${lines.join(',\n  ')}\n)`)
    statements.push(
      ...table.indexes.map(each => each.definition.replace('INDEX ON', `INDEX ${each.name} ON`)),
    )
  }
  return statements
}

/**
 * Decides what to do with the application's schema: make it in an empty database, adopt it at the revision where it
 * is, or refuse.
 *
 * @param guessRevision for a database without a revision (made by `create_all`, say): take the newest that it matches
 */
export function planApplication(
  live: LiveDatabase,
  { guessRevision }: { guessRevision: boolean },
): ApplicationPlan {
  const { schema, revisions = [] } = live
  const known = [
    ...Object.keys(schema.tables).filter(name => name !== 'alembic_version'),
    ...Object.keys(schema.enums),
  ]

  if (revisions.length > 1) {
    return {
      kind: 'refuse',
      cause: `alembic_version contains ${revisions.length} revisions: ${revisions.join(', ')}`,
      differences: [],
      cure: 'Bring the database to one revision with the application first: `alembic upgrade head`.',
    }
  }
  const [revision] = revisions
  if (revision === undefined && known.length === 0) {
    const statements = createStatements(schemaAt(head)).filter(
      statement =>
        live.revisions === undefined || !statement.startsWith('create table public.alembic_version'),
    )
    statements.push(`insert into public.alembic_version (version_num) values ('${head}')`)
    return { kind: 'create', statements, notices: [] }
  }
  if (revision === undefined) {
    if (guessRevision) return planGuessed(live)
    return {
      kind: 'refuse',
      cause: `the database has ${known.join(', ')}, but no revision in alembic_version`,
      differences: [],
      cure: 'Run `autodj migrate baseline`, which finds the revision that the schema matches and marks it.',
    }
  }
  if (!isRevision(revision)) {
    // A newer application that only added to what is known: nothing has to be made, and nothing is.
    const newest = compareSchema(schema, knownRevisions.at(-1)!)
    if (newest.differences.length === 0) {
      const notice = `the Alembic revision ${revision} is not known to this version of autodj; the schema has all that it needs`
      return {
        kind: 'adopt',
        revision,
        statements: [],
        notices: [notice, ...newest.notices],
        columnsAdded: [],
        enumValueAdded: false,
      }
    }
    return {
      kind: 'refuse',
      cause: `the database is at the Alembic revision ${revision}, which this version of autodj does not know`,
      differences: newest.differences,
      cure: `Update autodj: this version knows ${knownRevisions.join(', ')}.`,
    }
  }
  return planAdoption(schema, revision)
}

function planAdoption(schema: Schema, revision: Revision): ApplicationPlan {
  const { differences, notices } = compareSchema(schema, revision)
  if (differences.length > 0) {
    return {
      kind: 'refuse',
      cause: `the database says it is at the Alembic revision ${revision}, but its schema differs`,
      differences,
      cure: 'Fix the differences, or restore the schema from a backup; nothing was changed.',
    }
  }
  const statements: string[] = []
  const enumValueAdded = !schema.enums['filesource']!.includes('S3')
  // The value cannot be used before this is committed (SQLSTATE 55P04); nothing here does.
  if (enumValueAdded) statements.push(`alter type public.filesource add value if not exists 'S3'`)
  const missing = schemaAt(head).tables['tracks']!.columns.filter(
    column => !schema.tables['tracks']!.columns.some(each => each.name === column.name),
  )
  if (missing.length > 0) {
    const additions = missing.map(column => `add column ${column.name} ${describeColumn(column)}`)
    statements.push(`alter table public.tracks\n  ${additions.join(',\n  ')}`)
  }
  if (knownRevisions.indexOf(revision) < knownRevisions.indexOf(head)) {
    statements.push(
      `update public.alembic_version set version_num = '${head}' where version_num = '${revision}'`,
    )
  }
  return {
    kind: 'adopt',
    revision,
    statements,
    notices,
    columnsAdded: missing.map(column => column.name),
    enumValueAdded,
  }
}

function planGuessed({ schema, revisions }: LiveDatabase): ApplicationPlan {
  const stamped: Schema = {
    ...schema,
    tables: { ...schema.tables, alembic_version: schemaAt(head).tables['alembic_version']! },
  }
  const candidates = [...knownRevisions.slice(0, knownRevisions.indexOf(head) + 1)].reverse()
  const plans = candidates.map(revision => ({ revision, plan: planAdoption(stamped, revision) }))
  const match = plans.find(({ plan }) => plan.kind === 'adopt')
  if (match?.plan.kind !== 'adopt') {
    const nearest = plans
      .map(({ revision }) => ({ revision, differences: compareSchema(stamped, revision).differences }))
      .reduce((a, b) => (b.differences.length < a.differences.length ? b : a))
    return {
      kind: 'refuse',
      cause: `the schema matches no known revision; the nearest is ${nearest.revision}`,
      differences: nearest.differences,
      cure: 'Fix the differences; nothing was changed.',
    }
  }
  const create = createStatements({
    enums: {},
    tables: { alembic_version: schemaAt(head).tables['alembic_version']! },
  })
  return {
    ...match.plan,
    statements: [
      ...(revisions === undefined ? create : []),
      `insert into public.alembic_version (version_num) values ('${match.revision}')`,
      ...match.plan.statements,
    ],
  }
}

/**
 * Whether the application's schema lacks what tracks in S3 need. After an adoption that means that Alembic took it back
 * since: `alembic downgrade`.
 */
export function lacksS3({ schema }: LiveDatabase): boolean {
  const hasColumn = schema.tables['tracks']?.columns.some(({ name }) => name === 's3_object_key')
  return !hasColumn || !schema.enums['filesource']?.includes('S3')
}

/**
 * Whether code older than the revision {@link HEAD} may still serve this database: it answers 500 as soon as one row
 * says S3. Its own Alembic moves a database on; ours stamps {@link HEAD} and no more, so that a database that was adopted
 * at an older revision and has not moved on since belongs to code that nobody has updated.
 *
 * @param adoptedAt the revision at which it was adopted; null: autodj made the tables, there is no older code
 * @param revisions what `alembic_version` says now
 */
export function mayBeOlderCode(adoptedAt: string | null, revisions: readonly string[]): boolean {
  const isOlder = (revision: string): boolean =>
    isRevision(revision) && knownRevisions.indexOf(revision) < knownRevisions.indexOf(head)
  if (adoptedAt === null) return false
  return isOlder(adoptedAt) && revisions.every(revision => revision === head || isOlder(revision))
}

/** What 0001 did, as it was recorded. */
export interface AdoptionRecord {
  kind: 'create' | 'adopt'
  revision: string | null
  columnsAdded: readonly string[]
  enumValueAdded: boolean
}

/** What is to be known before the application's schema may be taken back. */
export interface DownFacts {
  record: AdoptionRecord
  /** Rows of `alembic_version` now. */
  revisions: readonly string[]
  /** Tracks with `file_source` S3 or an `s3_object_key`. */
  tracksInS3: number
  /** Rows in the application's tables. */
  rows: number
  /** Those of `record.columnsAdded` that hold a value in any row. */
  columnsInUse: readonly string[]
}

export type DownPlan =
  | { kind: 'down'; statements: string[]; notices: string[] }
  | { kind: 'refuse'; cause: string; cure: string }

/** Decides what taking back means: never a row lost, never a value lost. */
export function planDown({ record, revisions, tracksInS3, rows, columnsInUse }: DownFacts): DownPlan {
  if (tracksInS3 > 0) {
    return {
      kind: 'refuse',
      cause: `${tracksInS3} ${tracksInS3 === 1 ? 'track exists' : 'tracks exist'} only in S3; going down would lose the link to the audio`,
      cure: 'Run `autodj restore` to bring the objects back to local files, then run this again.',
    }
  }
  const keep = (why: string): DownPlan => ({ kind: 'down', statements: [], notices: [why] })
  const movedOn = revisions.length !== 1 || revisions[0] !== head

  if (record.kind === 'create') {
    if (rows > 0) return keep(`the application's tables contain ${rows} rows and are kept`)
    if (movedOn) return keep(`the application's schema has moved on to ${revisions.join(', ')} and is kept`)
    const { tables, enums } = schemaAt(head)
    return {
      kind: 'down',
      statements: [
        ...Object.keys(tables)
          .reverse()
          .map(name => `drop table public.${name}`),
        ...Object.keys(enums).map(name => `drop type public.${name}`),
      ],
      notices: ["the application's tables were empty and have been removed"],
    }
  }

  if (record.columnsAdded.length === 0 && !record.enumValueAdded) {
    return keep("nothing had been added to the application's schema, which is kept")
  }
  if (movedOn) {
    return keep(
      `the application has moved on to ${revisions.join(', ')}: the columns are now its own and are kept`,
    )
  }
  if (columnsInUse.length > 0) {
    return keep(`columns with values are kept (${columnsInUse.join(', ')}), and so do the others and ${head}`)
  }
  const statements: string[] = []
  if (record.columnsAdded.length > 0) {
    const drops = record.columnsAdded.map(name => `drop column ${name}`)
    statements.push(`alter table public.tracks\n  ${drops.join(',\n  ')}`)
  }
  if (record.revision !== null && record.revision !== head) {
    statements.push(
      `update public.alembic_version set version_num = '${record.revision}' where version_num = '${head}'`,
    )
  }
  return {
    kind: 'down',
    statements,
    notices: record.enumValueAdded
      ? [
          'the enum value S3 is kept, since PostgreSQL cannot drop one; no row uses it, and a later migration expects it',
        ]
      : [],
  }
}
