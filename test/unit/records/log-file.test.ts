import { execFileSync } from 'node:child_process'
import { constants } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LogFile } from '../../../src/records/log-file.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'autodj-log-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('a pipe is written to if somebody reads it, and not waited for if nobody does', async () => {
  const pipe = path.join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const options = { format: 'text' as const, now: () => new Date(0) }
  expect(() => new LogFile(pipe, options)).toThrow(
    expect.objectContaining({ code: 'records.log-file', message: expect.stringContaining(pipe) }),
  )
  await using reader = await open(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
  const log = new LogFile(pipe, options)
  log.write({ level: 'info', message_type: 'status', text: 'heard', fields: {} })
  log.close()
  expect(await reader.readFile('utf8')).toMatch(/ INFO +heard\n$/)
})
