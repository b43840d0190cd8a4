import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { programEnvironment } from '../../../src/config.ts'
import { parseMeasurement, sampleRateOf } from '../../../src/fetch/normalize.ts'
import { FetchProblem } from '../../../src/fetch/problem.ts'
import { runProgram } from '../../../src/fetch/process.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let cwd: string
beforeAll(async () => {
  cwd = temporaryFolder('process')
})

const node = (script: string): [string, ...string[]] => [process.execPath, '-e', script]
const run = (script: string, more: Partial<Parameters<typeof runProgram>[1]> = {}) =>
  runProgram(node(script), { cwd, timeoutMs: 30_000, signal: new AbortController().signal, ...more })

test('what it said, in its folder', async () => {
  expect(await run('console.error(process.cwd())')).toContain(path.basename(cwd))
})

test('how it failed, in its own last words', async () => {
  await expect(run('console.error("a");console.error("no such song");process.exit(3)')).rejects.toMatchObject(
    {
      code: 'fetch.command-failed',
      message: expect.stringMatching(/ended with exit code 3: no such song$/),
    },
  )
})

test('a program that is not there', async () => {
  const missing = runProgram(['autodj-no-such-program'], {
    cwd,
    timeoutMs: 1_000,
    signal: new AbortController().signal,
  })
  await expect(missing).rejects.toMatchObject({ code: 'fetch.command-missing' })
})

test('too long: it ends, and its children with it', async () => {
  const file = path.join(cwd, 'pid')
  const script = `
    const child = require('child_process').spawn(process.execPath, ['-e', 'process.on("SIGTERM",()=>{});setInterval(()=>{},1000)'])
    require('fs').writeFileSync(${JSON.stringify(file)}, String(child.pid))
    setInterval(() => {}, 1000)`
  const watch = async () => {
    if (existsSync(file) && readFileSync(file, 'utf8') !== '')
      throw new FetchProblem('fetch.too-large', 'enough')
  }
  await expect(run(script, { watch })).rejects.toMatchObject({ code: 'fetch.too-large' })
  const child = Number(readFileSync(file, 'utf8'))
  await expect.poll(() => isRunning(child)).toBe(false)
  await expect(run('setInterval(() => {}, 1000)', { timeoutMs: 100 })).rejects.toMatchObject({
    code: 'fetch.command-timeout',
  })
  await expect(
    run('setInterval(() => {}, 1000)', { signal: AbortSignal.timeout(100) }),
  ).rejects.toMatchObject({
    name: 'TimeoutError',
  })
})

/** Alive, and not merely waiting for its parent to notice. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

test('programs get no secrets', () => {
  const env = {
    PATH: '/bin',
    HOME: '/root',
    AWS_SECRET_ACCESS_KEY: 's',
    AWS_PROFILE: 'p',
    DATABASE_URL: 'postgres://u:p@h/d',
    CLOUDFRONT_PRIVATE_KEY_PATH: 'k',
  }
  expect(programEnvironment(env)).toEqual({ PATH: '/bin', HOME: '/root' })
})

test('what ffmpeg says is read', () => {
  const said = `Input #0, mp3, from 'x':
  Stream #0:0: Audio: mp3 (mp3float), 44100 Hz, stereo, fltp, 192 kb/s
[Parsed_loudnorm_0 @ 0x1]
{
\t"input_i" : "-9.21",
\t"input_tp" : "0.40",
\t"input_lra" : "5.20",
\t"input_thresh" : "-19.3",
\t"target_offset" : "0.1"
}`
  expect(parseMeasurement(said)).toMatchObject({ input_i: '-9.21', target_offset: '0.1' })
  expect(sampleRateOf(said)).toBe(44_100)
  expect(parseMeasurement('nothing')).toBeUndefined()
})
