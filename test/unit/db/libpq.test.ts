import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { readLibpq } from '../../../src/db/libpq.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const dir = temporaryFolder('libpq')
const ca = path.join(dir, 'ca.pem')
writeFileSync(ca, 'CA')
const service = path.join(dir, 'pg_service.conf')
writeFileSync(
  service,
  '[other]\nhost=elsewhere\n[music]\nhost=db.example\nport=5433\ndbname=dj\nuser=me\nsslmode=verify-full\n',
)

test.for([
  ['postgresql://h/d', undefined, false],
  ['postgresql://h/d?sslmode=disable', false, false],
  ['postgresql://h/d?sslmode=prefer', { rejectUnauthorized: false }, true],
  ['postgresql://h/d?sslmode=allow', { rejectUnauthorized: false }, true],
  ['postgresql://h/d?sslmode=no-verify', { rejectUnauthorized: false }, false],
  ['postgresql://h/d?sslmode=require', {}, false],
  [`postgresql://h/d?sslmode=verify-full&sslrootcert=${ca}`, { ca: 'CA' }, false],
  [
    `postgresql://h/d?sslmode=verify-ca&sslrootcert=${ca}`,
    { ca: 'CA', checkServerIdentity: expect.any(Function) },
    false,
  ],
  ['postgresql://h/d?sslmode=verify-full&sslrootcert=system', {}, false],
] as const)('%s', ([text, ssl, mayBePlain]) => {
  expect(readLibpq(text)).toEqual({ url: 'postgresql://h/d', ssl, mayBePlain })
})

test('other parameters stay', () => {
  expect(readLibpq('postgresql:///d?host=/run/postgresql&sslmode=disable').url).toBe(
    'postgresql:///d?host=%2Frun%2Fpostgresql',
  )
})

test('a service, which the URL itself is stronger than', () => {
  expect(readLibpq('postgresql://?service=music', service)).toEqual({
    url: 'postgresql://me@db.example:5433/dj',
    ssl: {},
    mayBePlain: false,
  })
  expect(readLibpq('postgresql://you@h/d?service=music&sslmode=disable', service)).toEqual({
    url: 'postgresql://you@h:5433/d',
    ssl: false,
    mayBePlain: false,
  })
})

test.for([
  ['postgresql://h/d?sslmode=maybe', 'sslmode=maybe, which is not one of'],
  [
    'postgresql://h/d?sslrootcert=/nowhere/ca.pem',
    'sslrootcert=/nowhere/ca.pem, which cannot be read: no such file or directory',
  ],
  ['postgresql://?service=nobody', 'service=nobody, which is not in'],
] as const)('%s', ([text, message]) => {
  expect(() => readLibpq(text, service)).toThrow(message)
})
