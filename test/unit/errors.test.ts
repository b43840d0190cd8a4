import { describe, expect, test } from 'vitest'
import {
  AppError,
  ExitCode,
  exitCodeMeaning,
  systemErrorCode,
  systemRefusal,
  UsageError,
} from '../../src/errors.ts'
import { StoreError } from '../../src/storage/store.ts'

describe('errors carry their exit code', () => {
  test('a usage error is 2', () => expect(new UsageError('x').exitCode).toBe(ExitCode.usage))

  test.each([
    ['throttled', true, 5],
    ['network', true, 5],
    ['expired-token', false, 5],
    ['denied', false, 1],
    ['no-bucket', false, 1],
    ['exists', false, 1],
  ] as const)('a store error of kind %s: retryable %s, exit code %i', (kind, retryable, exitCode) => {
    const error = new StoreError(kind, 'x')
    expect(error).toBeInstanceOf(AppError)
    expect(error.retryable).toBe(retryable)
    expect(error.exitCode).toBe(exitCode)
    expect(error.code).toBe(`store.${kind}`)
  })

  test('every exit code has a meaning', () => {
    for (const code of Object.values(ExitCode)) expect(exitCodeMeaning[code]).toMatch(/\S/)
  })

  test('system error codes are read from system errors only', () => {
    expect(systemErrorCode(Object.assign(new Error('x'), { code: 'ENOENT' }))).toBe('ENOENT')
    expect(systemErrorCode(Object.assign(new Error('x'), { code: 7 }))).toBeUndefined()
    expect(systemErrorCode('ENOENT')).toBeUndefined()
  })
})

test.each([
  [{ path: '/a' }, undefined, 'no space is left for /a (ENOSPC)'],
  [{ path: '/a', dest: '/b' }, undefined, 'no space is left for /b (ENOSPC)'],
  [{ path: '/a' }, '/tmp', 'no space is left for /tmp (ENOSPC)'],
  [{}, undefined, 'no space is left on the disk (ENOSPC)'],
])('a refusal of the system names what it is about: %j, %j', (about, where, message) => {
  const error = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    ...about,
  })
  expect(systemRefusal(error, where)).toMatchObject({ message, exitCode: ExitCode.temporary })
  expect(systemRefusal(new Error('ENOSPC'))).toBeUndefined()
})

test.each([
  ['EIO', { path: '/a' }, undefined, 'the disk under /a reports an error: i/o error'],
  ['EIO', {}, undefined, 'the disk reports an error: i/o error'],
  ['ESTALE', { path: '/a' }, '/b', /^the disk under \/b reports an error: /],
])('a disk that fails is no bug: %s %j, %j', (code, about, where, message) => {
  const error = Object.assign(new Error(`${code}: i/o error, fsync`), { code, ...about })
  const told = systemRefusal(error, where)
  expect(told).toMatchObject({ code: 'system.disk', exitCode: ExitCode.fatal })
  expect(told?.message).toMatch(message)
})
