import { expect, test } from 'vitest'
import { parseDatabaseUrl } from '../../../src/core/database-url.ts'

test.each([
  ['postgresql://u:p@h:5432/d', 'postgresql://u:p@h:5432/d', 'u@h:5432/d'],
  ['postgres://u@h/d', 'postgresql://u@h/d', 'u@h/d'],
  ['postgresql+psycopg2://u:p@h/d', 'postgresql://u:p@h/d', 'u@h/d'],
  ['postgresql+asyncpg://h/d', 'postgresql://h/d', 'h/d'],
  ['POSTGRESQL+psycopg://h/d', 'postgresql://h/d', 'h/d'],
  ['postgresql+psycopg2://u:p#a/s?s%40@h/d', 'postgresql://u:p%23a%2Fs%3Fs%40@h/d', 'u@h/d'],
  ['postgresql://u:@h/d', 'postgresql://u@h/d', 'u@h/d'],
  ['postgresql://u%40x:p%zz@h/d', 'postgresql://u%40x:p%25zz@h/d', 'u@x@h/d'],
  ['postgresql://h', 'postgresql://h', 'h'],
  ['postgresql://h/d%20b', 'postgresql://h/d%20b', 'h/d b'],
  ['postgresql:///d', 'postgresql:///d', 'local socket/d'],
  ['postgresql:///d?host=/run/postgresql', 'postgresql:///d?host=/run/postgresql', '/run/postgresql/d'],
])('%s', (text, url, where) =>
  expect(parseDatabaseUrl(text)).toEqual({ kind: 'postgres', url, options: undefined, where }),
)

test('session settings are told apart', () =>
  expect(parseDatabaseUrl('postgresql://h/d?options=-csearch_path%3Dmusic&sslmode=require')).toEqual({
    kind: 'postgres',
    url: 'postgresql://h/d?sslmode=require',
    options: '-csearch_path=music',
    where: 'h/d',
  }))

test('session settings of blanks are none', () => {
  expect(parseDatabaseUrl('postgresql://h/d?options=%20-c%20a%3Db%20')).toMatchObject({
    options: '-c a=b',
    url: 'postgresql://h/d',
  })
  expect(parseDatabaseUrl('postgresql://h/d?options=%20')).toMatchObject({
    options: undefined,
    url: 'postgresql://h/d?options=%20',
  })
})

test('embedded', () =>
  expect(parseDatabaseUrl('pglite:.autodj/db')).toEqual({
    kind: 'pglite',
    folder: '.autodj/db',
    where: 'pglite:.autodj/db',
  }))

test.each([
  '',
  'xpostgresql://h/d',
  'postgresqlx://h/d',
  'postgresql://h:x/d',
  'mysql://h/d',
  'pglite:',
  'postgresql:h',
  'postgresql+x y://h',
  'h/d',
])('%j is none', text => {
  expect(parseDatabaseUrl(text)).toEqual({
    kind: 'bad',
    problem:
      text === 'pglite:'
        ? 'lacks a folder after pglite: (as in pglite:.autodj/db)'
        : 'is neither a postgresql:// URL nor pglite:DIR',
  })
})
