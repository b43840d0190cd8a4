/**
 * Schemas of the lines that `--json` prints, one for each command: docs/schemas/COMMAND.json. They are learned from lines
 * that tests of the program have seen; test/integration/json-lines.test.ts holds those of a whole journey to them, so that a
 * field cannot come without standing here:
 *
 *   AUTODJ_RECORD_LINES=/tmp/lines npx vitest run test/e2e/x.test.ts && node scripts/json-schemas.ts /tmp/lines
 *
 * adds what is new to the schemas, and takes nothing away. What a field means stands in scripts/json-fields.ts.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { commands } from '../src/commands.ts'
import { jsonSchemaVersion } from '../src/report/reporter.ts'
import { fieldMeanings } from './json-fields.ts'

const schemaFolder = path.join(import.meta.dirname, '../docs/schemas')

export interface Shape {
  description?: string
  type?: string | string[]
  const?: unknown
  format?: string
  examples?: string[]
  properties?: Record<string, Shape>
  /** of maps: names that are data */
  additionalProperties?: Shape
  items?: Shape
  required?: string[]
}

interface LineSchema extends Shape {
  $schema: string
  title: string
  anyOf: Shape[]
}

/** Fields whose own fields are named by data: a class of differences, a code, a kind. */
const maps: ReadonlySet<string> = new Set(['by_kind', 'forms', 'found', 'notes', 'unmended'])

/** Fields that hold what is described elsewhere: the summary of another command, AWS's own documents. */
const opaque: ReadonlySet<string> = new Set([
  'becomes',
  'policy',
  'prices',
  'steps',
  'storage',
  'summary',
  'was',
])

const text: Shape = { type: 'string' }
const count: Shape = { type: 'integer' }
const said = { message: text, code: text, cure: text }

/** What the reporter itself puts into each kind of line (src/report/json.ts), whatever the command. */
const byReporter: Readonly<
  Record<string, { required: readonly string[]; properties: Record<string, Shape> }>
> = {
  status: {
    required: [],
    properties: {
      message: text,
      activity: text,
      unit: text,
      items_done: count,
      items_total: count,
      bytes_done: count,
      bytes_total: count,
      bytes_per_second: count,
      seconds_elapsed: { type: 'number' },
      note: text,
    },
  },
  item: {
    required: ['subject', 'state'],
    properties: { subject: text, state: text, reason: text, cure: text },
  },
  summary: { required: ['message'], properties: { message: text, next: text } },
  error: { required: ['level', 'message'], properties: { level: text, ...said } },
  exit_error: { required: ['exit_code', 'code', 'message'], properties: { exit_code: count, ...said } },
}

function kindsOfReporter(): Shape[] {
  return Object.entries(byReporter).map(([kind, { required, properties }]) => ({
    type: 'object',
    required: ['message_type', 'schema', 'time', ...required],
    properties: {
      message_type: { const: kind },
      schema: { const: jsonSchemaVersion },
      time: { type: 'string', format: 'date-time' },
      ...properties,
    },
  }))
}

/** The command of a command line, `bucket check`; undefined for none. */
export function commandOf(argv: readonly string[]): string | undefined {
  return commands
    .map(({ name }) => name)
    .filter(name => `${argv.join(' ')} `.startsWith(`${name} `))
    .sort((a, b) => b.length - a.length)[0]
}

/** A shape that has room for a value too. */
function widen(shape: Shape, value: unknown, name = ''): Shape {
  const type = typeOf(value)
  const types = [shape.type ?? []].flat()
  // Every whole number is a number, and a field that was whole once may not always be.
  const all = [...new Set([...types, type])].sort()
  const kept = all.includes('number') ? all.filter(one => one !== 'integer') : all
  const wider: Shape = { ...shape, type: kept.length === 1 ? kept[0] : kept }
  if (opaque.has(name)) return wider
  if (Array.isArray(value)) {
    if (value.length > 0)
      wider.items = value.reduce((items: Shape, one) => widen(items, one), shape.items ?? {})
  } else if (type === 'object') {
    const entries = Object.entries(value as Record<string, unknown>)
    if (maps.has(name)) {
      wider.additionalProperties = entries.reduce(
        (values: Shape, [, one]) => widen(values, one),
        shape.additionalProperties ?? {},
      )
    } else {
      const properties = { ...shape.properties }
      for (const [key, one] of entries) properties[key] = widen(properties[key] ?? {}, one, key)
      wider.properties = properties
    }
  }
  if (name === 'state' && typeof value === 'string') {
    wider.examples = [...new Set([...(shape.examples ?? []), value])].sort()
  }
  return wider
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

const kindOf = (shape: Shape): string => String(shape.properties?.['message_type']?.const)

/** The schema with room for these lines too. */
function learn(schema: LineSchema, lines: readonly Record<string, unknown>[]): LineSchema {
  const shapes = new Map(schema.anyOf.map(shape => [kindOf(shape), shape]))
  for (const { message_type, schema: _version, time: _time, ...fields } of lines) {
    const kind = String(message_type)
    const shape = shapes.get(kind)
    if (shape === undefined) throw new Error(`no line is of the kind ${kind}`)
    shapes.set(kind, widen(shape, fields))
  }
  return { ...schema, anyOf: [...shapes.values()] }
}

/** With the meaning of each field, and fields in the order of their names. */
function described(shape: Shape, name = ''): Shape {
  const meaning = fieldMeanings[name]
  const properties =
    shape.properties &&
    Object.fromEntries(
      Object.entries(shape.properties)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, one]) => [key, described(one, key)]),
    )
  return {
    ...(meaning === undefined ? {} : { description: meaning }),
    ...shape,
    ...(meaning === undefined ? {} : { description: meaning }),
    ...(properties && { properties }),
    ...(shape.items && { items: described(shape.items) }),
    ...(shape.additionalProperties && { additionalProperties: described(shape.additionalProperties) }),
  }
}

/** The schema of a command, as committed; undefined: there is none. */
export function readSchema(command: string): LineSchema | undefined {
  try {
    return JSON.parse(readFileSync(path.join(schemaFolder, `${command.replace(' ', '-')}.json`), 'utf8'))
  } catch {
    return undefined
  }
}

/** All of them, by command. */
export function readSchemas(): Map<string, LineSchema> {
  const there = new Set(readdirSync(schemaFolder))
  return new Map(
    commands
      .filter(({ name }) => there.has(`${name.replace(' ', '-')}.json`))
      .map(({ name }) => [name, readSchema(name) as LineSchema]),
  )
}

function empty(command: string): LineSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: `A line of autodj ${command} --json`,
    description: 'Fields and kinds of lines are only ever added: ignore those that you do not know.',
    anyOf: kindsOfReporter(),
  }
}

if (import.meta.main) {
  mkdirSync(schemaFolder, { recursive: true })
  const seen = process.argv
    .slice(2)
    .flatMap(file => readFileSync(file, 'utf8').split('\n').filter(Boolean))
    .map(line => JSON.parse(line) as { argv: string[]; line: Record<string, unknown> })
  const byCommand = Map.groupBy(seen, ({ argv }) => commandOf(argv))
  for (const { name } of commands) {
    const lines = (byCommand.get(name) ?? []).map(({ line }) => line)
    const schema = learn(readSchema(name) ?? empty(name), lines)
    const json = JSON.stringify({ ...schema, anyOf: schema.anyOf.map(one => described(one)) }, undefined, 2)
    writeFileSync(path.join(schemaFolder, `${name.replace(' ', '-')}.json`), `${json}\n`)
  }
}
