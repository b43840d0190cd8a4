import { expect, test } from 'vitest'
import { classifyDbError, rowRefusal } from '../../../src/db/errors.ts'

test.each([
  ['timeout expired', 'the database does not answer'],
  ['Connection terminated due to connection timeout', 'the database does not answer'],
  ['Connection terminated unexpectedly', 'the connection to the database was lost'],
])('%s', (message, cause) => {
  const error = classifyDbError(new Error(message), 'autodj@db:5432/autodj')
  expect(error).toMatchObject({ exitCode: 5, code: 'db.unreachable' })
  expect(error?.message).toBe(`${cause} (autodj@db:5432/autodj): ${message}`)
  expect(error?.cure).toBeTruthy()
})

/** As node-postgres gives it. */
function databaseError(code: string, fields: { message?: string; where?: string } = {}): Error {
  return Object.assign(new Error(fields.message ?? 'not this one'), { code, severity: 'ERROR', ...fields })
}

const raised = 'PL/pgSQL function audit() line 3 at RAISE'
const inside = 'SQL statement "insert into audit …"\nPL/pgSQL function audit() line 3 at SQL statement'

test.each<readonly [string, Error]>([
  ...[
    'P0001',
    '42501',
    '42703',
    '42P01',
    '28000',
    '3D000',
    '0A000',
    '55000',
    '58030',
    '53100',
    '40001',
    '57014',
  ].map((code): [string, Error] => [`raised with ${code}`, databaseError(code, { where: raised })]),
  ['a table that the trigger misses', databaseError('42P01', { where: inside })],
  ['a right that the trigger lacks', databaseError('42501', { where: inside })],
  ['a function that the trigger misses', databaseError('42883', { where: inside })],
  ['a row-level policy', databaseError('42501', { message: 'new row violates row-level security policy' })],
  ['a value too long', databaseError('22001')],
])('%s is about the row, in the words of the database, wrapped or not', (_, error) => {
  const refusal = rowRefusal(error)
  expect(refusal?.reason).toBe(`the database rejected the row: ${error.message}`)
  const wrapped = classifyDbError(error, 'autodj@db:5432/autodj')
  if (wrapped !== undefined) expect(rowRefusal(wrapped)).toEqual(refusal)
})

test.each([
  ['a table that is missing', databaseError('42P01')],
  ['a right that is lacking', databaseError('42501')],
  ['a generated column', databaseError('428C9')],
  ['a disk that is full, in a trigger', databaseError('53100', { where: inside })],
  ['a lock that a trigger waits for', databaseError('55P03', { where: inside })],
  ['a statement cancelled in a trigger', databaseError('57014', { where: inside })],
  ['a deadlock in a trigger', databaseError('40P01', { where: inside })],
])('%s is about more than the row', (_, error) => {
  expect(rowRefusal(error)).toBeUndefined()
  expect(rowRefusal(classifyDbError(error, 'autodj@db:5432/autodj'))).toBeUndefined()
})

test.each([
  ['57P01', /it shuts down, or its administrator did it/, /Run it again/],
  ['57P03', /shutting down or starting up/, /Run it again/],
  ['57P05', /was idle \(idle_session_timeout\)/, /set idle_session_timeout = 0/],
])('a connection that ended with %s is told by its cause', (code, message, cure) => {
  const error = classifyDbError(databaseError(code), 'autodj@db:5432/autodj')
  expect(error).toMatchObject({ code: 'db.unreachable', exitCode: 5 })
  expect([error?.message, error?.cure]).toEqual([expect.stringMatching(message), expect.stringMatching(cure)])
})

test.each([
  ['428C9', 'db.refused', 1],
  ['22P05', 'db.refused', 1],
  ['0A000', 'db.refused', 1],
  ['55000', 'db.refused', 1],
  ['42804', 'db.refused', 1],
  ['42883', 'db.refused', 1],
  ['58030', 'db.internal', 5],
])('SQLSTATE %s has a cause and a cure', (code, name, exitCode) => {
  const error = classifyDbError(databaseError(code), 'autodj@db:5432/autodj')
  expect(error).toMatchObject({ code: name, exitCode })
  expect(error?.message).toContain('not this one')
  expect(error?.cure).toBeTruthy()
})

test('a syntax error is a bug of ours', () => {
  expect(classifyDbError(databaseError('42601'), 'autodj@db:5432/autodj')).toBeUndefined()
})
