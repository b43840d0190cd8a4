import { expect, test } from 'vitest'
import { isLoopback } from '../../../src/core/loopback.ts'

test.each([
  ['localhost', true],
  ['127.0.0.1', true],
  ['127.45.0.3', true],
  ['::1', true],
  ['[::1]', true],
  ['localhost.example.com', false],
  ['127.0.0.1.example.com', false],
  ['10.0.0.1', false],
  ['[::1:1]', false],
  ['127.0.0', false],
  ['127.0.0.0.1', false],
  ['127.0.0.1234', false],
  ['mylocalhost', false],
  ['', false],
])('%s is this machine: %s', (host, expected) => {
  expect(isLoopback(host)).toBe(expected)
})
