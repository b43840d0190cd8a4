import { expect, test } from 'vitest'
import { TextReporter } from '../../../src/report/text.ts'

/** What an item's text becomes on a stdout of 40 columns. */
function shown(text: string, isTTY: boolean): string {
  let written = ''
  const stream = { isTTY, columns: 40, write: (part: string) => (written += part) }
  new TextReporter({
    stdout: stream,
    stderr: stream,
    quiet: false,
    verbose: false,
    color: { stdout: false, stderr: false },
    now: () => 0,
  }).item({ subject: 'x', state: 'ok', text })
  return written
}

test('rows of a table are wrapped at a terminal alone; a line to be copied is not', () => {
  const row = 'ok       bucket         a bucket that is there and can be read'
  expect(shown(row, true)).toBe('ok       bucket         a bucket that is\n    there and can be read\n')
  expect(shown(row, false)).toBe(`${row}\n`)
  const line = '+ audio/Some artist with a name/A title that is long.mp3'
  expect(shown(line, true)).toBe(`${line}\n`)
})
