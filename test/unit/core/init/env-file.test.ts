import { parse } from 'dotenv'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { envLine, ignoring, updateEnv } from '../../../../src/core/init/env-file.ts'
import { UsageError } from '../../../../src/errors.ts'

const value = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc
    .array(fc.constantFrom('$', '#', ' ', "'", '"', '`', '\\n', '\\', '=', 'a', '%', 'é', '\n'), {
      maxLength: 8,
    })
    .map(parts => parts.join('')),
)
const variable = fc.constantFrom('AWS_SECRET_ACCESS_KEY', 'DATABASE_URL', 'S3_BUCKET_NAME')

test('dotenv reads back what was written, whatever it is, or it is refused', () => {
  fc.assert(
    fc.property(fc.dictionary(variable, value), values => {
      let text: string
      try {
        text = updateEnv('', values)
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError)
        return
      }
      expect(parse(text)).toEqual(values)
    }),
    { numRuns: 2_000 },
  )
})

test('a secret with every kind of character that AWS uses needs no quotes', () => {
  expect(envLine('K', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCY=')).toBe('K=wJalrXUtnFEMI/K7MDENG+bPxRfiCY=')
  expect(envLine('K', 'two words')).toBe("K='two words'")
  expect(envLine('K', "it's # $x")).toBe("K=`it's # $x`")
})

test('other lines and comments stay, in their places; a variable is set once', () => {
  const existing = [
    '# database',
    'export DATABASE_URL="old"  # comment',
    '',
    "OTHER='two",
    "DATABASE_URL=not an assignment, but the second line of a value'",
    'S3_BUCKET_NAME=first',
    'S3_BUCKET_NAME=second',
    'GONE=1',
    'LAST=no newline',
  ].join('\n')
  const text = updateEnv(existing, { DATABASE_URL: 'new', S3_BUCKET_NAME: 'b', GONE: undefined, NEW: 'n' })
  expect(text).toBe(
    [
      '# database',
      'DATABASE_URL=new',
      '',
      "OTHER='two",
      "DATABASE_URL=not an assignment, but the second line of a value'",
      'S3_BUCKET_NAME=b',
      'LAST=no newline',
      'NEW=n',
      '',
    ].join('\n'),
  )
  expect(updateEnv(text, {})).toBe(text)
})

test.each([
  ['', '.env\n'],
  ['node_modules\n', 'node_modules\n.env\n'],
  ['node_modules', 'node_modules\n.env\n'],
  ['.env', undefined],
  ['/.env\r\n', undefined],
  ['.env*', undefined],
  ['.env.local', '.env.local\n.env\n'],
])('.gitignore %j', (before, after) => {
  expect(ignoring(before, '.env')).toBe(after)
})
