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

test.each([
  ['', 'K='],
  ['a', 'K=a'],
  ["it's", "K=`it's`"],
  ["it's `x`", 'K="it\'s `x`"'],
  // Between double quotes dotenv makes line ends of these; without quotes it takes them as they are.
  ["\\n it's `x`", undefined],
  ['\\n "x"', 'K=\'\\n "x"\''],
  ['a b\\', 'K=a b\\'],
  [' a\\', undefined],
  ['a\\ ', "K='a\\ '"],
  ['#\\', undefined],
  ["'\\", undefined],
  ['a\nb', "K='a\nb'"],
  ['a\rb', undefined],
  ['a\0b', undefined],
  ['\u00e9', "K='\u00e9'"],
  ['\'"`', undefined],
])('%j is written as %j', (value, line) => {
  if (line === undefined)
    expect(() => envLine('K', value)).toThrow(
      expect.objectContaining({ code: 'env.value', message: 'the value of K cannot be written to a .env' }),
    )
  else {
    expect(envLine('K', value)).toBe(line)
    expect(parse(line)).toEqual({ K: value })
  }
})

test.each([
  ['K=1', 'K=new\n'],
  ['K=1\r\nL=2\r\n', 'K=new\nL=2\r\n'],
  ['\tK = 1\n', 'K=new\n'],
  ['K: 1\n', 'K=new\n'],
  ['export\t K=1\n', 'K=new\n'],
  ['export K=1 # c\nL=2', 'K=new\nL=2\n'],
  ["K='a\nb\\'c'\nL=2\n", 'K=new\nL=2\n'],
  ['K="a\nb\\"c"\nL=2\n', 'K=new\nL=2\n'],
  ['K=`a\nb\\`c`\nL=2\n', 'K=new\nL=2\n'],
  ['K=\nL=2\n', 'K=new\nL=2\n'],
  // Another variable, or none.
  ['XK=1\n', 'XK=1\nK=new\n'],
  ['K.x=1\n', 'K.x=1\nK=new\n'],
  ['K-x=1\n', 'K-x=1\nK=new\n'],
  ['# K=1\n', '# K=1\nK=new\n'],
  ['K:1\n', 'K:1\nK=new\n'],
  ['exportK=1\n', 'exportK=1\nK=new\n'],
  ['\n', '\nK=new\n'],
])('K is set in %j', (existing, text) => {
  expect(updateEnv(existing, { K: 'new' })).toBe(text)
  // dotenv sees no other values than before.
  const { K: _, ...others } = parse(existing)
  expect(parse(text)).toEqual({ ...others, K: 'new' })
})

test('a variable that is taken out leaves nothing, and is not made', () => {
  expect(updateEnv('A=1\nK=1\nB=2\nexport K=2', { K: undefined })).toBe('A=1\nB=2\n')
  expect(updateEnv('', { K: undefined })).toBe('')
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
  [' .env \nx', undefined],
  ['x\r\n.env\r\n', undefined],
  ['x.env\n', 'x.env\n.env\n'],
])('.gitignore %j', (before, after) => {
  expect(ignoring(before, '.env')).toBe(after)
})
