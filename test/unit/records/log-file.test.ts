import { execFileSync } from 'node:child_process'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { LogFile } from '../../../src/records/log-file.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let folder: string
beforeAll(async () => {
  folder = temporaryFolder('log')
})

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
