/** The lines of `--json` that a test sees, against the schema of the command that printed them. */
import { appendFileSync } from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { commandOf, readSchema, type Shape } from '../../scripts/json-schemas.ts'

const recording = process.env['AUTODJ_RECORD_LINES']
const kinds = ['status', 'item', 'summary', 'error', 'exit_error']
const compiled = new Map<string, ValidateFunction | undefined>()

/** With `AUTODJ_RECORD_LINES` every test writes its lines to that file, for `scripts/json-schemas.ts` to learn from. */
export function recordLines(argv: readonly string[], messages: readonly Record<string, unknown>[]): void {
  if (recording === undefined) return
  for (const line of messages) appendFileSync(recording, `${JSON.stringify({ argv, line })}\n`)
}

/** Throws when a line is not as its schema says, or has a field that the schema does not know. */
export function checkLines(argv: readonly string[], messages: readonly Record<string, unknown>[]): void {
  if (recording !== undefined) return
  const command = commandOf(argv)
  if (command === undefined) return
  if (!compiled.has(command)) compiled.set(command, compile(command))
  const isRight = compiled.get(command)
  for (const line of messages) {
    if (isRight === undefined || isRight(line)) continue
    const ofKind = `/anyOf/${kinds.indexOf(String(line['message_type']))}/`
    const problems = isRight.errors
      ?.filter(({ schemaPath }) => schemaPath.includes(ofKind))
      .map(({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`)
    throw new Error(
      `a line of autodj ${command} --json is not as docs/schemas says: ${JSON.stringify(line)}\n  ${problems?.join('\n  ')}\n` +
        'If it is right, let scripts/json-schemas.ts learn it, as it says at its top.',
    )
  }
}

function compile(command: string): ValidateFunction | undefined {
  const schema = readSchema(command)
  if (schema === undefined) return undefined
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  formats.default(ajv)
  return ajv.compile({ ...schema, anyOf: schema.anyOf.map(closed) })
}

/** As strict as a test can be. Which status and error lines come depends on time and on what went wrong. */
function closed(shape: Shape, isLine: unknown = true): Shape | (Shape & { additionalProperties: boolean }) {
  const kind = shape.properties?.['message_type']?.const
  if (isLine !== false && kind !== undefined && kind !== 'item' && kind !== 'summary') return shape
  return {
    ...shape,
    ...(shape.items && { items: closed(shape.items, false) }),
    ...(shape.properties && {
      additionalProperties: false as never,
      properties: Object.fromEntries(
        Object.entries(shape.properties).map(([name, one]) => [name, closed(one, false)]),
      ),
    }),
  }
}
