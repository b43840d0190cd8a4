/** What a person sees: the program at a real pseudo terminal, its screen read by a terminal emulator. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { fakeAudio } from '../support/bed.ts'
import { cli } from '../support/cli.ts'
import { bareEnvironment } from '../support/environment.ts'
import { testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type AtTerminal, atTerminal } from '../support/terminal.ts'

const child = fileURLToPath(new URL('../support/screen-child.ts', import.meta.url))
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

let folder: string
beforeAll(async () => {
  folder = temporaryFolder('screen')
})

const MiB = 1024 ** 2
const isBar = (line: string) => line.includes('/302 files') || /\d%/.test(line)

/** The probe, its terminal's echo off, so that the screen holds what the program wrote. */
async function probe(options: { columns: number; rows?: number; env?: Record<string, string> }) {
  const quiet = `process.stdin.setRawMode?.(false); require('node:child_process').execSync('stty -echo', { stdio: 'inherit' })`
  const preload = `data:text/javascript,${encodeURIComponent(
    `import { createRequire } from 'node:module'; const require = createRequire('/'); ${quiet}`,
  )}`
  const screen = atTerminal(['--import', preload, child, 'probe'], { cwd: folder, ...options })
  await screen.until(lines => lines.some(line => line.includes('0 files') || line.includes('0s')))
  const tell = (line: string) => screen.type(`${line}\r`)
  return { screen, tell }
}

async function finish({ screen, tell }: { screen: AtTerminal; tell: (line: string) => void }) {
  tell('end')
  const exitCode = await screen.exited
  return { exitCode, lines: screen.lines() }
}

describe.each([120, 80, 40])('at %i columns', columns => {
  test('failures stay above the bar, and the summary comes below them', async () => {
    const one = await probe({ columns })
    one.tell(`files 302 ${280 * MiB}`)
    one.tell(`done 185 ${123 * MiB}`)
    for (let number = 1; number <= 4; number++) one.tell(`fail song ${number}.mp3`)
    one.tell('warn a warning that is longer than forty columns, and so has to be wrapped at a word')
    await one.screen.until(lines => lines.some(line => line.includes('at a word')))
    const { lines } = await finish(one)
    const text = lines.join('\n').replaceAll(/\s+/g, ' ')
    for (let number = 1; number <= 4; number++) {
      expect(text).toContain(
        `failed song ${number}.mp3: the server closed the connection before the whole file was there`,
      )
    }
    expect(text.indexOf('The summary')).toBeGreaterThan(text.indexOf('at a word'))
    expect(lines.slice(-3)).toEqual(['The summary, first line.', 'Its second line.', 'next: nothing'])
    expect(lines.filter(isBar)).toEqual([])
    // No line was broken in the middle of a word.
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns)
  })

  test('per cent, counts, rate and ETA are there to the end', async () => {
    const one = await probe({ columns })
    one.tell(`files 302 ${280 * MiB}`)
    one.tell(`done 185 ${123 * MiB}`)
    await one.screen.until(lines => /43% .*185\/302.*B\/s .*ETA \d+m? ?\d*s?/.test(lines.at(-1) ?? ''))
    const bar = one.screen.lines().at(-1) ?? ''
    expect(bar.length).toBeLessThan(columns)
    expect(bar.includes('█')).toBe(columns >= 100)
    if (columns >= 80) expect(bar).toContain('123/280 MiB')
    await finish(one)
  })
})

test('a terminal that is made narrower, and wider again, loses no failure and keeps no piece of the bar', async () => {
  const one = await probe({ columns: 120, rows: 12 })
  one.tell(`files 302 ${280 * MiB}`)
  for (const [number, columns] of [100, 60, 33, 90].entries()) {
    one.tell(`fail before ${number}.mp3`)
    await one.screen.until(lines => lines.some(line => line.includes(`before ${number}.mp3`)))
    await one.screen.until(lines => isBar(lines.at(-1) ?? ''))
    one.screen.resize(columns)
    one.tell(`fail after ${number}.mp3`)
    await one.screen.until(lines => lines.some(line => line.includes(`after ${number}.mp3`)))
  }
  const { lines } = await finish(one)
  const text = lines.join(' ')
  for (const number of [0, 1, 2, 3]) {
    expect(text).toContain(`before ${number}.mp3`)
    expect(text).toContain(`after ${number}.mp3`)
  }
  expect(lines.filter(isBar)).toEqual([])
  // The screen model breaks the last row anew as well, and may leave an empty one behind.
  const said = lines.filter(line => line.trim() !== '')
  expect(said.slice(-3)).toEqual(['The summary, first line.', 'Its second line.', 'next: nothing'])
})

test('wide characters take two cells', async () => {
  const one = await probe({ columns: 40 })
  one.tell(`files 302 ${280 * MiB}`)
  const name = '東京 事変 群青日和 透明人間 修羅場 落日 閃光少女 女の子は誰でも'
  one.tell(`fail ${name}.flac`)
  await one.screen.until(lines => lines.some(line => line.includes('.flac')))
  const { lines } = await finish(one)
  expect(lines.join('').replaceAll(' ', '')).toContain(name.replaceAll(' ', ''))
  expect(lines.filter(isBar)).toEqual([])
})

test('many failures of one cause: the first are listed, the rest counted', async () => {
  const one = await probe({ columns: 80, rows: 50 })
  for (let number = 1; number <= 153; number++) one.tell(`skip ${number}.mp3`)
  const { lines } = await finish(one)
  expect(lines.filter(line => /^skipped \d+\.mp3: empty/.test(line))).toHaveLength(10)
  expect(lines).toContain('skipped 143 more: empty')
})

test('one Ctrl-C ends the run with what is left and the command that does it; the prompt comes back clean', async () => {
  const one = await probe({ columns: 80 })
  one.tell(`files 302 ${280 * MiB}`)
  one.tell(`done 185 ${123 * MiB}`)
  one.tell('fail one.mp3')
  await one.screen.until(lines => /185\/302/.test(lines.at(-1) ?? ''))
  one.screen.type('\u0003')
  expect(await one.screen.exited).toBe(130)
  const lines = one.screen.lines()
  expect(lines).toContain('Interrupted: 185 of 302 files done, 117 left.')
  expect(lines.at(-1)).toBe('next: `autodj probe` does the rest')
  expect(lines.join(' ')).toContain('failed one.mp3')
  expect(one.screen.written).not.toMatch(/\u001b\[\?(7l|25l)|\u001b[78]/)
})

test('a second Ctrl-C stops at once, and takes the bar along', async () => {
  const one = await probe({ columns: 40 })
  one.tell(`files 302 ${280 * MiB}`)
  one.tell('hold')
  one.tell('fail one.mp3')
  await one.screen.until(lines => lines.some(line => line.includes('one.mp3')))
  one.screen.type('\u0003')
  await one.screen.until(lines => lines.join(' ').includes('again to stop at once'))
  await one.screen.until(lines => isBar(lines.at(-1) ?? ''))
  one.screen.type('\u0003')
  expect(await one.screen.exited).toBe(130)
  const lines = one.screen.lines()
  expect(lines.at(-1)).toBe('warning: stopping at once')
  expect(lines.filter(isBar)).toEqual([])
  expect(lines.join(' ')).toContain('failed one.mp3')
})

test('upload-local, Ctrl-C in the middle: what is left, and how to go on; a terminal that is closed, and none', async () => {
  const s3 = await testServer()
  try {
    const env = {
      DATABASE_URL: `pglite:${path.join(folder, 'db')}`,
      ...s3.settings,
      AUDIO_STORAGE_PATH: path.join(folder, 'audio'),
      NO_COLOR: '1',
    }
    await mkdir(path.join(folder, 'audio'))
    for (let number = 0; number < 60; number++)
      await writeFile(path.join(folder, 'audio', `song ${number}.flac`), fakeAudio(64 * 1024, number))
    expect((await cli(['migrate'], { env, cwd: folder })).exitCode).toBe(0)
    expect((await cli(['import'], { env, cwd: folder })).exitCode).toBe(0)
    // Slow enough to be in the middle for long.
    const argv = [main, 'upload-local', '--bwlimit', '256K', '-c', '1']
    const interrupted = atTerminal(argv, { cwd: folder, env })
    await interrupted.until(lines => /uploading .* [1-9]\d*\/60/.test(lines.at(-1) ?? ''))
    interrupted.type('\u0003')
    expect(await interrupted.exited).toBe(130)
    const text = interrupted.lines().join('\n')
    expect(text).toMatch(/^Interrupted: \d+ of 60 files done, \d+ left\.$/m)
    expect(text.replaceAll(/\s+/g, ' ')).toContain('`autodj upload-local --bwlimit 256K -c 1` does the rest')

    // The window is closed: what is in flight is finished, and the ledger knows how it ended.
    const closed = atTerminal(argv, { cwd: folder, env })
    await closed.until(lines => /uploading .* [1-9]\d*\/\d+/.test(lines.at(-1) ?? ''))
    closed.hangUp()
    expect(await closed.exited).toBe(143)
    const { messages } = await cli(['status', '--json'], { env, cwd: folder })
    expect(messages.at(-1)).toMatchObject({
      runs: expect.arrayContaining([
        expect.objectContaining({ command: 'upload-local', state: 'interrupted' }),
      ]),
    })

    // Without a terminal, as under nohup, it is no reason to stop.
    const background = spawn(process.execPath, [main, 'upload-local', '-v', '--bwlimit', '1M', '-c', '1'], {
      cwd: folder,
      env: { ...bareEnvironment(), ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    await new Promise(resolve => background.stderr.once('data', resolve))
    background.kill('SIGHUP')
    background.stderr.resume()
    const [exitCode, signal] = await once(background, 'exit')
    expect([exitCode, signal]).toEqual([0, null])
  } finally {
    await s3.close()
  }
})
