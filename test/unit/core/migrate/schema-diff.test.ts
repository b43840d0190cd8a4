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
  compareSchema,
  createStatements,
  type DownFacts,
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

  test('made by us and empty: everything goes, in an order that works', () => {
    const plan = planDown({ ...facts, record: { ...record, kind: 'create' }, rows: 0 })
    expect(plan.kind === 'down' && plan.statements[0]).toBe('drop table public.mix_transitions')
    expect(plan.kind === 'down' && plan.statements.at(-1)).toBe('drop type public.jobstatus')
  })
})
