/** Output that goes nowhere: a closed pipe, a full disk. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { bareEnvironment } from '../support/environment.ts'
import { start } from '../support/process.ts'

const argv = ['policy', 'upload-local']
const env = { S3_BUCKET_NAME: 'music' }

test('a pipe that its reader has closed is no failure, and nothing is said of it', async () => {
  const { child, finished } = start(argv, env)
  child.stdout?.destroy()
  const { code, stderr } = await finished
  expect(code).toBe(0)
  expect(stderr).not.toMatch(/error|EPIPE|^\s+at /m)
})

test.runIf(existsSync('/dev/full'))('a disk that is full under stdout is told in one line', () => {
  const main = path.join(import.meta.dirname, '../../src/main.ts')
  const shell = `"$0" "$@" > /dev/full`
  const { status, stderr } = spawnSync('sh', ['-c', shell, process.execPath, main, ...argv], {
    env: { ...bareEnvironment(), ...env },
    encoding: 'utf8',
  })
  expect(status).toBe(5)
  expect(stderr).toMatch(/^error: stdout cannot be written to: no space left on device$/m)
  expect(stderr).not.toMatch(/^\s+at /m)
})
