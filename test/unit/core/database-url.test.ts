import { expect, test } from 'vitest'
import { parseDatabaseUrl } from '../../../src/core/database-url.ts'

test.each([
  ['postgresql://u:p@h:5432/d', 'postgresql://u:p@h:5432/d', 'u@h:5432/d'],
  ['postgres://u@h/d', 'postgresql://u@h/d', 'u@h/d'],
  ['postgresql+psycopg2://u:p@h/d', 'postgresql://u:p@h/d', 'u@h/d'],
  ['postgresql+asyncpg://h/d', 'postgresql://h/d', 'h/d'],
  ['POSTGRESQL+psycopg://h/d', 'postgresql://h/d', 'h/d'],
  ['postgresql+psycopg2://u:p#a/s?s%40@h/d', 'postgresql://u:p%23a%2Fs%3Fs%40@h/d', 'u@h/d'],
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

test('embedded', () =>
  expect(parseDatabaseUrl('pglite:.autodj/db')).toEqual({
    kind: 'pglite',
    folder: '.autodj/db',
    where: 'pglite:.autodj/db',
  }))

test.each(['', 'mysql://h/d', 'pglite:', 'postgresql:h', 'postgresql+x y://h', 'h/d'])('%j is none', text => {
  const result = parseDatabaseUrl(text)
  expect(result.kind).toBe('bad')
})
