import { expect, test } from 'vitest'
import { classifyDbError } from '../../../src/db/errors.ts'

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
