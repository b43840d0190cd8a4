import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Column,
  head,
  knownRevisions,
  type Schema,
  schemaAt,
} from '../../../../src/core/migrate/application-schema.ts'
import {
  type AdoptionRecord,
  type ApplicationPlan,
  compareSchema,
  createStatements,
  type DownFacts,
  lacksS3,
  mayBeOlderCode,
  planApplication,
  planDown,
} from '../../../../src/core/migrate/schema-diff.ts'

const mutate = (schema: Schema, change: (copy: MutableSchema) => void): Schema => {
  // Not structuredClone: it would keep two tables sharing one column object.
  const copy = JSON.parse(JSON.stringify(schema)) as MutableSchema
  change(copy)
  return copy as Schema
}
interface MutableSchema {
  enums: Record<string, string[]>
  tables: Record<
    string,
    { columns: Column[]; constraints: { name: string; definition: string }[]; indexes: object[] }
  >
}

describe('comparing a schema with its revision', () => {
  test.each(knownRevisions)('%s matches itself, in whatever order things come', revision => {
    const order = fc.infiniteStream(fc.nat())
    fc.assert(
      fc.property(order, ranks => {
        const shuffle = <T>(items: readonly T[]): T[] =>
          items
            .map(item => ({ item, rank: ranks.next().value as number }))
            .sort((a, b) => a.rank - b.rank)
            .map(({ item }) => item)
        const live = mutate(schemaAt(revision), copy => {
          for (const [name, values] of Object.entries(copy.enums)) copy.enums[name] = shuffle(values)
          for (const table of Object.values(copy.tables)) {
            table.columns = shuffle(table.columns)
            table.constraints = shuffle(table.constraints)
          }
        })
        expect(compareSchema(live, revision)).toEqual({ differences: [], notices: [] })
      }),
      { numRuns: 20 },
    )
  })

  test('whatever column is lost or changed, in whatever table, is named', () => {
    for (const revision of knownRevisions) {
      for (const [table, { columns }] of Object.entries(schemaAt(revision).tables)) {
        for (const { name } of columns) {
          const without = mutate(schemaAt(revision), copy => {
            copy.tables[table]!.columns = copy.tables[table]!.columns.filter(column => column.name !== name)
          })
          expect(compareSchema(without, revision).differences).toEqual([`column ${table}.${name} is missing`])
          for (const change of [{ type: 'bytea' }, { default: '1' }, { nullable: 'flip' }]) {
            const changed = mutate(schemaAt(revision), copy => {
              const column = copy.tables[table]!.columns.find(each => each.name === name)!
              if ('nullable' in change) column.nullable = !column.nullable
              else Object.assign(column, change)
            })
            const { differences } = compareSchema(changed, revision)
            expect(differences).toHaveLength(1)
            expect(differences[0]).toMatch(new RegExp(`^column ${table}\\.${name} is `))
          }
        }
      }
    }
  })

  const at = (revision: (typeof knownRevisions)[number], change: (copy: MutableSchema) => void) =>
    compareSchema(mutate(schemaAt(revision), change), revision)
  const tracks = (copy: MutableSchema) => copy.tables['tracks']!
  const pkey = 'PRIMARY KEY (id)'

  test.each<[string, (copy: MutableSchema) => void, differences: string[], notices: string[]]>([
    ['an enum', copy => delete copy.enums['jobstatus'], ['enum jobstatus is missing'], []],
    ['a table', copy => delete copy.tables['tracks'], ['table tracks is missing'], []],
    ['a value', copy => copy.enums['jobstatus']!.pop(), ['enum jobstatus lacks the value FAILED'], []],
    [
      'a value more',
      copy => copy.enums['jobstatus']!.push('X'),
      [`enum jobstatus has the value X, which revision ${head} does not have`],
      [],
    ],
    [
      'a constraint',
      copy => tracks(copy).constraints.pop(),
      [`constraint tracks_pkey of tracks is missing: ${pkey}`],
      [],
    ],
    [
      'a constraint of another kind',
      copy => (tracks(copy).constraints[0]!.definition = 'PRIMARY KEY (title)'),
      [`constraint tracks_pkey of tracks is PRIMARY KEY (title), should be ${pkey}`],
      [],
    ],
    ['the same twice', copy => tracks(copy).constraints.push({ name: 'again', definition: pkey }), [], []],
    [
      'names changed over',
      copy =>
        tracks(copy).constraints.splice(
          0,
          1,
          { name: 'other', definition: pkey },
          { name: 'tracks_pkey', definition: 'UNIQUE (title)' },
        ),
      [],
      [],
    ],
    [
      'a check of their own',
      copy => tracks(copy).constraints.push({ name: 'c', definition: 'CHECK (bpm > 0)' }),
      ['constraint c of tracks (CHECK (bpm > 0)) is unknown, and might refuse rows that autodj writes'],
      [],
    ],
    [
      'a reference of their own',
      copy => tracks(copy).constraints.push({ name: 'f', definition: 'FOREIGN KEY (id) REFERENCES x(id)' }),
      [],
      ['constraint f of tracks (FOREIGN KEY (id) REFERENCES x(id)) is your own and is kept'],
    ],
    [
      'an index',
      copy => tracks(copy).indexes.pop(),
      [
        'index ix_tracks_spotify_id of tracks is missing: CREATE UNIQUE INDEX ON public.tracks USING btree (spotify_id)',
      ],
      [],
    ],
    [
      'an index of their own',
      copy =>
        tracks(copy).indexes.push({
          name: 'i',
          definition: 'CREATE INDEX ON public.tracks USING btree (bpm)',
        }),
      [],
      ['index i of tracks (CREATE INDEX ON public.tracks USING btree (bpm)) is your own and is kept'],
    ],
    [
      'a unique index of their own',
      copy =>
        tracks(copy).indexes.push({
          name: 'i',
          definition: 'CREATE UNIQUE INDEX ON public.tracks USING btree (bpm)',
        }),
      [
        'index i of tracks (CREATE UNIQUE INDEX ON public.tracks USING btree (bpm)) is unknown, and might refuse rows that autodj writes',
      ],
      [],
    ],
    [
      'a column of their own',
      copy => tracks(copy).columns.push({ name: 'mine', type: 'text', nullable: true, default: null }),
      [],
      ['column tracks.mine (text) is your own and is kept'],
    ],
    [
      'one with a default',
      copy => tracks(copy).columns.push({ name: 'mine', type: 'text', nullable: false, default: "'x'" }),
      [],
      ["column tracks.mine (text not null default 'x') is your own and is kept"],
    ],
    [
      'one that has to be filled',
      copy => tracks(copy).columns.push({ name: 'mine', type: 'text', nullable: false, default: null }),
      ['column tracks.mine is unknown, and rows without a value for it would be refused'],
      [],
    ],
    [
      'a column of another type',
      copy => (tracks(copy).columns.find(({ name }) => name === 'bpm')!.type = 'integer'),
      ['column tracks.bpm is integer, should be double precision'],
      [],
    ],
  ])('%s', (_, change, differences, notices) => {
    expect(at(head, change)).toEqual({ differences, notices })
  })

  test('the value S3 came with its revision', () => {
    const before = ['LOCAL', 'YOUTUBE', 'UNAVAILABLE']
    const at = knownRevisions.map(revision => schemaAt(revision).enums['filesource'])
    expect(at).toEqual([before, before, before, [...before, 'S3'], [...before, 'S3']])
  })

  test('what a later revision brings may be there already, as it is there', () => {
    const early = { name: 's3_object_key', type: 'character varying', nullable: true, default: null }
    const before = 'd586b7432ebd'
    expect(at(before, copy => copy.enums['filesource']!.push('S3'))).toEqual({
      differences: [],
      notices: ['enum filesource already has the value S3'],
    })
    expect(at(before, copy => tracks(copy).columns.push(early))).toEqual({
      differences: [],
      notices: ['column tracks.s3_object_key already exists'],
    })
    expect(at(before, copy => tracks(copy).columns.push({ ...early, type: 'text' }))).toEqual({
      differences: ['column tracks.s3_object_key is text, would have to be character varying'],
      notices: [],
    })
  })

  test('a constraint or index under another name is a notice, not a difference', () => {
    const live = mutate(schemaAt(head), copy => {
      copy.tables['tracks']!.constraints[0]!.name = 'pk_tracks'
    })
    expect(compareSchema(live, head)).toEqual({
      differences: [],
      notices: ['constraint tracks_pkey of tracks is called pk_tracks'],
    })
  })
})

describe('columns that the application does not know', () => {
  test.each<[string, Partial<Column>, 'notices' | 'differences' | undefined]>([
    ['one that may be empty', { nullable: true }, 'notices'],
    ['one with a default', { nullable: false, default: "'x'" }, 'notices'],
    ['one that each new row would have to fill', { nullable: false }, 'differences'],
  ])('%s', (_, column, told) => {
    const live = mutate(schemaAt(head), copy => {
      copy.tables['tracks']!.columns.push({
        name: 'mine',
        type: 'text',
        nullable: true,
        default: null,
        ...column,
      })
    })
    const found = compareSchema(live, head)
    expect(found.differences).toHaveLength(told === 'differences' ? 1 : 0)
    expect(found.notices).toHaveLength(told === 'notices' ? 1 : 0)
    expect([...found.differences, ...found.notices][0]).toMatch(/^column tracks\.mine /)
  })
})

const [first, , before, , after] = knownRevisions
test.each<[string | null, string[], boolean]>([
  [null, [first], false],
  [first, [first], true],
  [before, [before], true],
  [before, [head], true],
  [before, [head, first], true],
  // Moved on by its own Alembic: that code knows S3.
  [before, [after], false],
  [before, [head, after], false],
  [head, [head], false],
  [after, [after], false],
  ['of somebody else', [head], false],
  [before, ['of somebody else'], false],
])('adopted at %j, now %j: older code may serve it: %j', (adoptedAt, revisions, expected) => {
  expect(mayBeOlderCode(adoptedAt, revisions)).toBe(expected)
})

test.each<[string, Schema, boolean]>([
  ['at the head', schemaAt(head), false],
  ['before it', schemaAt('d586b7432ebd'), true],
  ['the value alone', mutate(schemaAt('d586b7432ebd'), copy => copy.enums['filesource']!.push('S3')), true],
  ['the column alone', mutate(schemaAt(head), copy => copy.enums['filesource']!.pop()), true],
  ['empty', { enums: {}, tables: {} }, true],
])('what lacks S3: %s: %s', (_, schema, lacks) => {
  expect(lacksS3({ schema, revisions: [] })).toBe(lacks)
})

test('tables are made in an order that works, types first, and no index is without its name', () => {
  const statements = createStatements(schemaAt(head))
  expect(statements.map(one => one.split(/[( ]/).slice(0, 4).join(' '))).toEqual([
    'create type public.filesource as',
    'create type public.jobstatus as',
    'create table public.alembic_version ',
    'create table public.analysis_jobs ',
    'CREATE INDEX ix_analysis_jobs_status ON',
    'create table public.tracks ',
    'CREATE UNIQUE INDEX ix_tracks_spotify_id',
    'create table public.mix_transitions ',
  ])
  expect(statements[0]).toBe(
    "create type public.filesource as enum ('LOCAL', 'YOUTUBE', 'UNAVAILABLE', 'S3')",
  )
  expect(statements[2]).toBe(
    'create table public.alembic_version (\n  "version_num" character varying(32) not null,\n  constraint alembic_version_pkc PRIMARY KEY (version_num)\n)',
  )
})

test('tables are made with their constraints', () => {
  for (const [name, { constraints }] of Object.entries(schemaAt(head).tables)) {
    const statement = createStatements(schemaAt(head)).find(one =>
      one.startsWith(`create table public.${name} `),
    )
    expect(constraints.length).toBeGreaterThan(0)
    for (const one of constraints) expect(statement).toContain(`constraint ${one.name} ${one.definition}`)
  }
})

describe('planning the adoption', () => {
  test('a revision at the head or after it needs no statement', () => {
    for (const revision of [head, 'c16dd5ffbdbd'] as const) {
      const plan = planApplication(
        { schema: schemaAt(revision), revisions: [revision] },
        { guessRevision: false },
      )
      expect(plan).toMatchObject({ kind: 'adopt', statements: [], columnsAdded: [], enumValueAdded: false })
    }
  })

  const plan = (schema: Schema, revisions: string[] | undefined, guessRevision = false): ApplicationPlan =>
    planApplication({ schema, revisions }, { guessRevision })
  const newer = 'ffffffffffff'
  const spoilt = mutate(schemaAt(head), copy => copy.enums['jobstatus']!.push('X'))

  test('an empty database gets all, with the revision', () => {
    const all = [
      ...createStatements(schemaAt(head)),
      `insert into public.alembic_version (version_num) values ('${head}')`,
    ]
    expect(plan({ enums: {}, tables: {} }, undefined)).toEqual({
      kind: 'create',
      statements: all,
      notices: [],
    })
  })

  test.each<[string, ApplicationPlan, cause: string, differences: string[], cure: RegExp]>([
    [
      'two revisions',
      plan(schemaAt(head), [head, newer]),
      `alembic_version contains 2 revisions: ${head}, ${newer}`,
      [],
      /alembic upgrade head/,
    ],
    [
      'tables, and no revision',
      plan({ enums: {}, tables: { tracks: schemaAt(head).tables['tracks']! } }, []),
      'the database has tracks, but no revision in alembic_version',
      [],
      /migrate baseline/,
    ],
    [
      'everything, and no revision',
      plan(schemaAt(head), undefined),
      'the database has analysis_jobs, tracks, mix_transitions, filesource, jobstatus, but no revision in alembic_version',
      [],
      /migrate baseline/,
    ],
    [
      'another schema than its revision',
      plan(spoilt, [head]),
      `the database says it is at the Alembic revision ${head}, but its schema differs`,
      [`enum jobstatus has the value X, which revision ${head} does not have`],
      /nothing was changed/,
    ],
    [
      'a newer revision that took something away',
      plan(spoilt, [newer]),
      `the database is at the Alembic revision ${newer}, which this version of autodj does not know`,
      ['enum jobstatus has the value X, which revision c16dd5ffbdbd does not have'],
      /^Update autodj: this version knows d787594d0323, .*c16dd5ffbdbd\.$/,
    ],
    [
      'no revision that fits',
      plan(spoilt, undefined, true),
      `the schema matches no known revision; the nearest is ${head}`,
      [`enum jobstatus has the value X, which revision ${head} does not have`],
      /nothing was changed/,
    ],
    [
      'the nearest of an old one',
      plan(
        mutate(schemaAt('f2ff23da73e9'), copy => delete copy.enums['jobstatus']),
        undefined,
        true,
      ),
      'the schema matches no known revision; the nearest is f2ff23da73e9',
      ['enum jobstatus is missing'],
      /nothing was changed/,
    ],
  ])('%s', (_, found, cause, differences, cure) => {
    expect(found).toEqual({ kind: 'refuse', cause, differences, cure: expect.stringMatching(cure) })
  })

  test('a newer revision that only added is taken as it is', () => {
    const schema = mutate(schemaAt(head), copy =>
      copy.tables['tracks']!.columns.push({ name: 'mood', type: 'text', nullable: true, default: null }),
    )
    expect(plan(schema, [newer])).toEqual({
      kind: 'adopt',
      revision: newer,
      statements: [],
      notices: [
        `the Alembic revision ${newer} is not known to this version of autodj; the schema has all that it needs`,
        'column tracks.mood (text) is your own and is kept',
      ],
      columnsAdded: [],
      enumValueAdded: false,
    })
  })

  test.each<[(typeof knownRevisions)[number], string[] | undefined]>([
    [head, undefined],
    [head, []],
    ['d586b7432ebd', undefined],
    ['d787594d0323', []],
  ])(
    'a schema of %s without a revision (%j) is marked with the newest that it matches',
    (revision, revisions) => {
      const { alembic_version: _, ...tables } = schemaAt(revision).tables
      const live = revisions === undefined ? { ...schemaAt(revision), tables } : schemaAt(revision)
      const guessed = plan(live, revisions, true)
      const adopted = plan(schemaAt(revision), [revision])
      if (guessed.kind !== 'adopt' || adopted.kind !== 'adopt') throw new Error('not adopted')
      const table = createStatements({
        enums: {},
        tables: { alembic_version: schemaAt(head).tables['alembic_version']! },
      })
      expect(guessed).toEqual({
        ...adopted,
        statements: [
          ...(revisions === undefined ? table : []),
          `insert into public.alembic_version (version_num) values ('${revision}')`,
          ...adopted.statements,
        ],
      })
    },
  )

  test('the first revision gets all columns since', () => {
    const first = plan(schemaAt('d787594d0323'), ['d787594d0323'])
    if (first.kind !== 'adopt') throw new Error(first.kind)
    const names = schemaAt(head).tables['tracks']!.columns.map(({ name }) => name)
    const had = schemaAt('d787594d0323').tables['tracks']!.columns.map(({ name }) => name)
    expect(first).toMatchObject({ revision: 'd787594d0323', notices: [], enumValueAdded: true })
    expect(first.columnsAdded).toEqual(names.filter(name => !had.includes(name)))
    expect(first.columnsAdded).toHaveLength(6 + 13 + 1)
    expect(first.statements[1]).toContain(
      '\n  add column beat_timestamps json,\n  add column beat_intervals json,',
    )
  })

  test('the revision before S3 gets the value, the column and the revision', () => {
    const live = { schema: schemaAt('d586b7432ebd'), revisions: ['d586b7432ebd'] }
    expect(planApplication(live, { guessRevision: false })).toMatchObject({
      statements: [
        `alter type public.filesource add value if not exists 'S3'`,
        'alter table public.tracks\n  add column s3_object_key character varying',
        `update public.alembic_version set version_num = 'a312ec46df43' where version_num = 'd586b7432ebd'`,
      ],
    })
  })

  test('an upgrade that was cut off goes on from where it was', () => {
    const schema = mutate(schemaAt('d586b7432ebd'), copy => copy.enums['filesource']!.push('S3'))
    const plan = planApplication({ schema, revisions: ['d586b7432ebd'] }, { guessRevision: false })
    expect(plan).toMatchObject({ kind: 'adopt', enumValueAdded: false, columnsAdded: ['s3_object_key'] })
  })

  test('the table of revisions that a downgrade to nothing leaves is used again', () => {
    const schema = { enums: {}, tables: { alembic_version: schemaAt(head).tables['alembic_version']! } }
    const plan = planApplication({ schema, revisions: [] }, { guessRevision: false })
    if (plan.kind !== 'create') throw new Error(plan.kind)
    expect(plan.statements).toHaveLength(createStatements(schemaAt(head)).length)
    expect(plan.statements.join()).not.toContain('create table public.alembic_version')
  })

  test('enums left behind without their tables are not overrun', () => {
    const schema = { enums: schemaAt(head).enums, tables: {} }
    expect(planApplication({ schema, revisions: undefined }, { guessRevision: false }).kind).toBe('refuse')
  })
})

describe('planning the way back', () => {
  const record: AdoptionRecord = {
    kind: 'adopt',
    revision: 'd586b7432ebd',
    columnsAdded: ['s3_object_key'],
    enumValueAdded: true,
  }
  const facts: DownFacts = { record, revisions: [head], tracksInS3: 0, rows: 9, columnsInUse: [] }

  test.each<[string, Partial<DownFacts>, string[] | 'refuse', RegExp]>([
    [
      'what was added goes, the enum value stays',
      {},
      [
        'alter table public.tracks\n  drop column s3_object_key',
        `update public.alembic_version set version_num = 'd586b7432ebd' where version_num = 'a312ec46df43'`,
      ],
      /enum value S3 is kept/,
    ],
    ['tracks in S3', { tracksInS3: 2 }, 'refuse', /2 tracks exist only in S3/],
    ['a column in use', { columnsInUse: ['bpm'] }, [], /with values are kept \(bpm\)/],
    ['the application moved on', { revisions: ['c16dd5ffbdbd'] }, [], /moved on to c16dd5ffbdbd/],
    [
      'nothing had been added',
      { record: { ...record, columnsAdded: [], enumValueAdded: false } },
      [],
      /nothing had been added/,
    ],
    ['made by us, rows in it', { record: { ...record, kind: 'create' } }, [], /9 rows and are kept/],
    [
      'made by us, one track in S3',
      { record: { ...record, kind: 'create' }, tracksInS3: 1 },
      'refuse',
      /1 track exists only in S3/,
    ],
  ])('%s', (_, change, statements, words) => {
    const plan = planDown({ ...facts, ...change })
    if (statements === 'refuse') {
      expect(plan).toMatchObject({ kind: 'refuse', cause: expect.stringMatching(words) })
    } else {
      expect(plan).toMatchObject({ kind: 'down', statements })
      expect(plan.kind === 'down' && plan.notices.join()).toMatch(words)
    }
  })

  const notices = (change: Partial<DownFacts>) => {
    const plan = planDown({ ...facts, ...change })
    return plan.kind === 'down' ? [plan.statements.length, ...plan.notices] : plan.cause
  }
  test('what is kept, and why', () => {
    const made = { ...record, kind: 'create' as const }
    expect(notices({ record: made, rows: 0, revisions: [] })).toEqual([
      0,
      "the application's schema has moved on to  and is kept",
    ])
    expect(notices({ record: made, rows: 0, revisions: [head, 'x'] })).toEqual([
      0,
      `the application's schema has moved on to ${head}, x and is kept`,
    ])
    expect(notices({ record: made, rows: 0 })).toEqual([
      6,
      "the application's tables were empty and have been removed",
    ])
    expect(notices({ record: { ...record, columnsAdded: [] } })).toEqual([
      1,
      expect.stringMatching(/^the enum value S3 is kept/),
    ])
    expect(notices({ record: { ...record, enumValueAdded: false } })).toEqual([2])
    expect(notices({ record: { ...record, revision: null } })).toEqual([
      1,
      expect.stringMatching(/S3 is kept/),
    ])
    expect(notices({ record: { ...record, revision: head } })).toEqual([
      1,
      expect.stringMatching(/S3 is kept/),
    ])
    expect(notices({ revisions: [head, 'x'] })).toEqual([
      0,
      `the application has moved on to ${head}, x: the columns are now its own and are kept`,
    ])
    expect(notices({ columnsInUse: ['bpm', 'key'] })).toEqual([
      0,
      `columns with values are kept (bpm, key), and so do the others and ${head}`,
    ])
    const two = planDown({ ...facts, record: { ...record, columnsAdded: ['a', 'b'] } })
    expect(two.kind === 'down' && two.statements[0]).toBe(
      'alter table public.tracks\n  drop column a,\n  drop column b',
    )
  })

  test('made by us and empty: everything goes, in an order that works', () => {
    const plan = planDown({ ...facts, record: { ...record, kind: 'create' }, rows: 0 })
    expect(plan.kind === 'down' && plan.statements[0]).toBe('drop table public.mix_transitions')
    expect(plan.kind === 'down' && plan.statements.at(-1)).toBe('drop type public.jobstatus')
  })
})
