import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseSync, Visitor } from 'oxc-parser'
import { expect, test } from 'vitest'
import { documentedCodes } from '../../scripts/error-meanings.ts'
import { type ErrorCode, familyCures, usualCure, usualCures } from '../../src/error-codes.ts'
import { ExitCode, FatalError, ItemError, TemporaryError, UsageError } from '../../src/errors.ts'

const documented = documentedCodes()
const sources = path.join(import.meta.dirname, '../../src')

/** Every text in the sources, and the beginning and end of those with something put in, apart from the registry. */
const texts = new Set<string>()
const beginnings = new Set<string>()
for (const file of readdirSync(sources, { recursive: true, encoding: 'utf8' })) {
  if (!file.endsWith('.ts') || file === 'error-codes.ts') continue
  const { program } = parseSync(file, readFileSync(path.join(sources, file), 'utf8'))
  new Visitor({
    Literal: ({ value }) => void (typeof value === 'string' && texts.add(value)),
    TemplateLiteral: ({ quasis }) => void beginnings.add(quasis[0]!.value.raw),
  }).visit(program)
}

test('every code is used: alone, or as what is put behind the beginning of its family', () => {
  const isUsed = (code: string) => {
    if (texts.has(code) || beginnings.has(code)) return true
    const [family, problem] = [code.slice(0, code.indexOf('.') + 1), code.slice(code.indexOf('.') + 1)]
    return ['file.', 'store.'].includes(family) && beginnings.has(family) && texts.has(problem)
  }
  const unused = documented.filter(({ code, isFamily }) => !isFamily && !isUsed(code))
  expect(unused).toEqual([])
  expect(beginnings).toContain('fetch.http-')
  expect(beginnings).toContain('file.')
  expect(beginnings).toContain('verify.')
})

test('each is told of in whole sentences, like no other, and comes with an exit code', () => {
  const isSentence = (text: string) => /^[`A-Z].{8,}\.$|^ffmpeg .*\.$/.test(text)
  for (const { code, meaning, cure, exits } of documented) {
    expect(code).toMatch(/^[a-z]+(-[a-z]+)*(\.([a-z]+(-[a-z]+)*-?|E)?)?$/)
    expect([code, meaning, cure].filter((text, index) => index > 0 && !isSentence(text))).toEqual([])
    expect(exits.map(exit => ExitCode[exit])).not.toContain(undefined)
    expect(exits).not.toHaveLength(0)
  }
  expect(new Set(documented.map(({ meaning }) => meaning)).size).toBe(documented.length)
  expect(new Set(documented.map(({ code }) => code)).size).toBe(documented.length)
})

test('whoever brings no cure has the usual one of its code, or of the family of its code', () => {
  const cure = usualCures.fatal['bucket.missing']
  expect(new FatalError('gone', { code: 'bucket.missing' }).cure).toBe(cure)
  expect(new FatalError('gone', { code: 'bucket.missing', cure: 'Make it.' }).cure).toBe('Make it.')
  expect(new ItemError('file.EBUSY', 'in use').cure).toBe(familyCures['file.E'])
  expect(new ItemError('file.empty', 'empty').cure).toBe(usualCures.someFailed['file.empty'])
  expect(usualCure('fetch.http-404')).toBe(familyCures['fetch.http-'])
  expect(usualCure('verify.dns')).toBe(familyCures['verify.'])
})

test('a code that is not registered, or comes with another exit code, does not compile', () => {
  // @ts-expect-error: not registered
  const unknown: ErrorCode = 'store.gone-fishing'
  // @ts-expect-error: a temporary problem
  new FatalError('away', { code: 'db.unreachable' })
  // @ts-expect-error: a usage error
  new TemporaryError('wrong', { code: 'usage.flag' })
  expect(new UsageError('wrong').code).toBe('usage')
  const families: ErrorCode[] = ['file.EBUSY', 'fetch.http-404', 'verify.dns']
  expect([unknown, ...families]).toHaveLength(4)
})
