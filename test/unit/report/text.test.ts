import { expect, test } from 'vitest'
import type { Item } from '../../../src/report/reporter.ts'
import { TextReporter } from '../../../src/report/text.ts'

/** What is written of an item, 40 columns wide. */
function written(item: Item, { isTTY = false, quiet = false, verbose = false } = {}): string {
  let written = ''
  const stream = { isTTY, columns: 40, write: (part: string) => (written += part) }
  new TextReporter({
    stdout: stream,
    stderr: stream,
    quiet,
    verbose,
    color: { stdout: false, stderr: false },
    now: () => 0,
  }).item(item)
  return written
}

const shown = (text: string, isTTY: boolean) => written({ subject: 'x', state: 'ok', text }, { isTTY })

test('rows of a table are wrapped at a terminal alone; a line to be copied is not', () => {
  const row = 'ok       bucket         a bucket that is there and can be read'
  expect(shown(row, true)).toBe('ok       bucket         a bucket that is\n    there and can be read\n')
  expect(shown(row, false)).toBe(`${row}\n`)
  const line = '+ audio/Some artist with a name/A title that is long.mp3'
  expect(shown(line, true)).toBe(`${line}\n`)
})

test('what is called a song and is none: a line for whoever watches, and none for cron', () => {
  const item = {
    subject: 'a.mp3',
    state: 'not-audio',
    reason: 'no format',
    text: 'not audio a.mp3: no format',
  }
  expect(written(item)).toBe('not audio a.mp3: no format\n')
  expect(written(item, { quiet: true })).toBe('')
  expect(written(item, { quiet: true, verbose: true })).toBe('not audio a.mp3: no format\n')
  expect(written({ ...item, text: undefined } as never)).toBe('')
})

test('what was to go and is kept: a line, under --quiet too', () => {
  const item = { subject: 'a.mp3', state: 'kept', reason: 'the CDN does not serve it' }
  expect(written(item)).toBe('1970-01-01T00:00:00Z kept a.mp3: the CDN does not serve it\n')
  expect(written(item, { quiet: true })).toBe(written(item))
})

test.each(['skipped', 'duplicate'])('%s: a line for whoever watches, and none for cron', state => {
  const item = { subject: 'a.mp3', state, reason: 'same content as b.mp3' }
  expect(written(item)).toBe(`1970-01-01T00:00:00Z ${state} a.mp3: same content as b.mp3\n`)
  expect(written(item, { quiet: true })).toBe('')
  expect(written(item, { quiet: true, verbose: true })).not.toBe('')
})
