import { expect, test } from 'vitest'
import { JsonReporter } from '../../../src/report/json.ts'
import type { Reporter } from '../../../src/report/reporter.ts'
import { TextReporter } from '../../../src/report/text.ts'

/** Clears the screen, C1 and DEL, turns text around in every way that Unicode has. */
const hostile = 'a\u001b[2J\u009b31m\u007f\u200e\u200f\u061c\u202e\u2066\u2028z'
const raw =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/

function sayAll(report: Reporter): void {
  report.data(hostile, { message_type: 'status', text: hostile })
  report.note(hostile)
  report.warn(hostile)
  report.item({ subject: hostile, state: 'failed', reason: hostile, cure: hostile })
  report.item({ subject: hostile, state: 'done', text: hostile, fields: { [hostile]: hostile } })
  report.summary({ lines: [hostile], next: hostile, fields: { hostile } })
  report.close()
}

function collect(isTTY: boolean) {
  const written: string[] = []
  return { isTTY, columns: 400, write: (text: string) => void written.push(text), written }
}
const options = { quiet: false, verbose: false, now: () => 0 }

test.each([
  ['a terminal', true],
  ['a file', false],
])('nothing that somebody wrote into a name reaches %s as it is', (_, isTTY) => {
  const stream = collect(isTTY)
  sayAll(
    new TextReporter({ ...options, stdout: stream, stderr: stream, color: { stdout: false, stderr: false } }),
  )
  const text = stream.written.join('')
  expect(text.match(/z/g)!.length).toBeGreaterThanOrEqual(8)
  expect(text).not.toMatch(raw)
})

test('and JSON lines hold it escaped, with the same meaning', () => {
  const stream = collect(false)
  sayAll(new JsonReporter({ ...options, stdout: stream, stderr: stream }))
  const text = stream.written.join('')
  expect(text).not.toMatch(raw)
  const lines = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(lines.find(line => line.message_type === 'item')).toMatchObject({ subject: hostile })
})
