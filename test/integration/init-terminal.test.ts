/** `init` at a real (pseudo) terminal, made by script(1) of util-linux: what a secret leaves on the screen is nothing. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'dotenv'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type S3Server, startS3Server } from '../../src/embedded/s3-server/server.ts'

const hasScript = spawnSync('script', ['--version']).status === 0
if (!hasScript) console.warn('script(1) of util-linux is not here: the test at a terminal is skipped')
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const credentials = { accessKeyId: 'AKIATESTTESTTEST', secretAccessKey: 'hush-hush' }

describe.skipIf(!hasScript)('init at a terminal', () => {
  let folder: string
  let cwd: string
  let s3: S3Server
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'autodj-terminal-'))
    s3 = await startS3Server({ dir: path.join(folder, 's3'), credentials: [credentials], buckets: ['music'] })
  })
  afterAll(async () => {
    await s3?.close()
    await rm(folder, { recursive: true, force: true })
  })
  beforeEach(async () => {
    cwd = await mkdtemp(path.join(folder, 'cwd-'))
  })

  /** Answers each prompt when it is on the screen. */
  async function at(
    answers: readonly [prompt: string, keys: string][],
  ): Promise<{ screen: string; exitCode: number }> {
    const child = spawn(
      'script',
      ['-qec', `"${process.execPath}" "${main}" init --timeout 10m`, '/dev/null'],
      {
        cwd,
        env: { PATH: process.env['PATH'], HOME: cwd, TERM: 'xterm', NO_COLOR: '1' },
      },
    )
    let screen = ''
    let seen = 0
    const due = [...answers]
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      screen += text
      const [next] = due
      const found = next === undefined ? -1 : screen.indexOf(next[0], seen)
      if (found === -1) return
      seen = found + next![0].length
      due.shift()
      child.stdin.write(next![1])
    })
    const [exitCode] = (await once(child, 'exit')) as [number]
    return { screen, exitCode }
  }

  test('asks, does not show the secret, and writes', async () => {
    const { screen, exitCode } = await at([
      ['embedded one: ', '\r'],
      ['Amazon S3: ', `${s3.url}\r`],
      ['role of this machine: ', `${credentials.accessKeyId}\r`],
      ['secret access key: ', `${credentials.secretAccessKey}\r`],
      ['eu-central-1): ', 'us-east-1\r'],
      ['Bucket: ', 'music\r'],
      ['[audio/]: ', '\r'],
      ['for none: ', '\r'],
      ['[./audio]: ', '\r'],
    ])
    expect(screen).toContain('ok S3_BUCKET_NAME: music')
    expect(screen).not.toContain('hush')
    expect(exitCode).toBe(0)
    expect(parse(await readFile(path.join(cwd, '.env')))).toMatchObject({
      S3_BUCKET_NAME: 'music',
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    })
  })

  test.each([
    ['Ctrl-C', '\u0003'],
    ['Ctrl-D', '\u0004'],
  ])('%s stops it, and nothing is written', async (_, key) => {
    const { screen, exitCode } = await at([
      ['embedded one: ', '\r'],
      ['Amazon S3: ', key],
    ])
    expect(screen).toContain('stopped; nothing was written')
    expect(exitCode).toBe(130)
    await expect(access(path.join(cwd, '.env'))).rejects.toThrow('ENOENT')
  })
})
