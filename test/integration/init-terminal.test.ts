/** `init` at a real pseudo terminal: what a person sees, and that a secret leaves nothing on the screen. */
import { access, mkdtemp, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'dotenv'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { atTerminal } from '../support/terminal.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const credentials = { accessKeyId: 'AKIATESTTESTTEST', secretAccessKey: 'hush-hush' }

let folder: string
let cwd: string
let s3: TestServer
beforeAll(async () => {
  folder = temporaryFolder('terminal')
  s3 = await testServer({ credentials: [credentials] })
})
afterAll(() => s3?.close())
beforeEach(async () => {
  cwd = await mkdtemp(path.join(folder, 'cwd-'))
})

const up = '\u001b[A'

/** Answers each prompt when it is on the screen, where the cursor waits. */
async function at(columns: number, answers: readonly [prompt: string, keys: string][]) {
  const screen = atTerminal([main, 'init', '--timeout', '10m'], {
    columns,
    rows: 60,
    cwd,
    env: { NO_COLOR: '1' },
  })
  let seen = 0
  const flat = (lines: readonly string[]) => lines.join(' ').replaceAll(/ +/g, ' ')
  for (const [prompt, keys] of answers) {
    await screen.until(lines => flat(lines).indexOf(prompt, seen) !== -1)
    seen = flat(screen.lines()).indexOf(prompt, seen) + prompt.length
    screen.type(keys)
  }
  const exitCode = await screen.exited
  return { lines: screen.lines(), text: flat(screen.lines()), written: screen.written, exitCode }
}

test.each([40, 80, 120])(
  'asks, wraps words, does not show the secret, and writes, at %i columns',
  async columns => {
    const { lines, text, written, exitCode } = await at(columns, [
      ['embedded one):', '\r'],
      ['Amazon S3):', `${s3.url}\r`],
      ['session or role):', `${credentials.accessKeyId}\r`],
      ['Secret access key:', `${credentials.secretAccessKey}\r`],
      // The key that brings back what was typed before brings back nothing.
      ['eu-central-1):', `${up}${up}us-east-1\r`],
      ['Bucket:', 'nowhere\r'],
      ['no such bucket', ''],
      ['Bucket [nowhere]:', '<\r'],
      ['eu-central-1) [us-east-1]:', '\r'],
      ['Bucket [nowhere]:', 'music\r'],
      ['[audio/]:', '\r'],
      ['alias (Enter: none):', '\r'],
      ['[./audio]:', '\r'],
    ])
    expect(text).toContain('ok S3_BUCKET_NAME: music')
    expect(written).not.toContain('hush')
    expect(exitCode).toBe(0)
    expect(parse(await readFile(path.join(cwd, '.env')))).toMatchObject({
      S3_BUCKET_NAME: 'music',
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    })
    // Words are whole: only what was typed behind a prompt, and a single long word, goes over the edge.
    const long = lines.filter(
      line => line.length > columns && line.trim().includes(' ') && !/: \S+$/.test(line),
    )
    expect(long).toEqual([])
  },
)

test.each([
  ['Ctrl-C', '\u0003'],
  ['Ctrl-D', '\u0004'],
])('%s stops it, and nothing is written', async (_, key) => {
  const { text, exitCode } = await at(80, [
    ['embedded one):', '\r'],
    ['Amazon S3):', key],
  ])
  expect(text).toContain('stopped; nothing was written')
  expect(exitCode).toBe(130)
  await expect(access(path.join(cwd, '.env'))).rejects.toThrow('ENOENT')
})
