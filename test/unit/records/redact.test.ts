import { expect, test } from 'vitest'
import { redactor } from '../../../src/records/redact.ts'

const secret = 'wJalrXUtnFEMI/K7MDENG "quoted"'
const clean = redactor(['autodj', secret, 'https://hc-ping.com/0123-4567', 'postgresql://u:p@db/x'])

test.each([
  ['a secret as it is', `key ${secret} is wrong`, 'key *** is wrong'],
  ['as JSON has it', JSON.stringify({ secret }), '{"secret":"***"}'],
  ['as a URL has it', `?k=${encodeURIComponent(secret)}&x`, '?k=***&x'],
  ['the URL of the health check', 'POST https://hc-ping.com/0123-4567/start', 'POST ***/start'],
  [
    'credentials in any URL',
    'connect postgresql://me:hunter2@db:5432/x',
    'connect postgresql://***@db:5432/x',
  ],
  ['a short password is a word', 'autodj upload-local', 'autodj upload-local'],
  ['an address is no credential', 'mail me@example.net', 'mail me@example.net'],
])('%s', (_name, text, expected) => {
  expect(clean(text)).toBe(expected)
})
