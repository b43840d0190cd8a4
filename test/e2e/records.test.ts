/** Records of runs: health check, metrics and log file, with servers that answer, refuse, are slow or are not there. */
import { readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { defineCommand } from '../../src/cli/command.ts'
import { ExitCode, TemporaryError } from '../../src/errors.ts'
import { Records } from '../../src/records/records.ts'
import { cli } from '../support/cli.ts'
import { end, listening, urlOf } from '../support/listening.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const probe = defineCommand({
  name: 'probe',
  summary: 'a command of this test',
  args: [{ spec: '[how]', description: 'how it ends' }],
  flags: {},
  async run(context, _flags, [how]) {
    const { report, config } = context
    report.note('working')
    report.warn(`the database is ${config.database.url}`, { url: config.database.url })
    report.item({ subject: 'a.mp3', state: 'failed', reason: 'gone', fields: { code: 'file.missing' } })
    if (how === 'away')
      throw new TemporaryError('the store is away', { code: 'store.unavailable', cure: 'Wait.' })
    report.summary({ lines: ['2 done'], fields: { uploaded: 2, bytes_sent: 10 } })
    return how === 'well' ? ExitCode.ok : ExitCode.someFailed
  },
})
const password = 'not-to-be-seen-anywhere'
const run = (argv: string[], env: Record<string, string> = {}) =>
  cli(argv, {
    commands: [probe],
    cwd: folder,
    env: { DATABASE_URL: `postgresql://autodj:${password}@db.example/autodj`, ...env },
  })

let folder: string
let server: Server
let url: string
let received: {
  method: string | undefined
  path: string | undefined
  body: string
  type: string | undefined
}[]
/** status of the answers; undefined: none is given */
let answer: number | undefined

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request) body += chunk
  return body
}

beforeAll(async () => {
  folder = temporaryFolder('records')
  server = createServer(async (request, response) => {
    const { method, url: path } = request
    received.push({ method, path, body: await bodyOf(request), type: request.headers['content-type'] })
    if (answer === undefined) return
    response.statusCode = answer
    response.end(answer === 200 ? 'OK' : `will not take ${path}`)
  })
  await listening(server)
  url = urlOf(server)
})
afterAll(() => end(server))
beforeEach(() => {
  received = []
  answer = 200
})
afterEach(() => server.closeAllConnections())

describe('--healthcheck', () => {
  test('start, then the exit code with the summary and the last lines; by the environment too', async () => {
    const { exitCode, stderr } = await run(['probe'], { AUTODJ_HEALTHCHECK: `${url}/ping/uuid/` })
    expect(exitCode).toBe(3)
    expect(received.map(one => one.path)).toEqual(['/ping/uuid/start', '/ping/uuid/3'])
    expect(received[1]?.method).toBe('POST')
    expect(received[1]?.body).toMatch(/^2 done\n\nprobe started: .*\nworking\n/)
    expect(received[1]?.body).toContain('failed a.mp3: gone')
    expect(JSON.stringify(received)).not.toContain(password)
    expect(stderr).not.toContain('--healthcheck')
  })

  test('an error, and settings that are wrong, end in their exit code', async () => {
    expect((await run(['probe', 'away', '--healthcheck', `${url}/x`])).exitCode).toBe(5)
    expect(received.at(-1)).toMatchObject({
      path: '/x/5',
      body: expect.stringContaining('the store is away (Wait.)'),
    })
    const wrong = await run(['probe', '--bucket', 'No', '--healthcheck', `${url}/x`])
    expect(wrong.exitCode).toBe(2)
    expect(received.at(-1)).toMatchObject({ path: '/x/2', body: expect.stringContaining('--bucket "No"') })
  })

  test.each([
    ['answers 500', 500, /--healthcheck: 0: HTTP 500/],
    ['answers 404', 404, /--healthcheck: 0: HTTP 404/],
  ])('a server that %s is a warning', async (_name, status, warning) => {
    answer = status
    const { exitCode, stderr } = await run(['probe', 'well', '--healthcheck', `${url}/secret-uuid`])
    expect(exitCode).toBe(0)
    expect(stderr).toMatch(warning)
    expect(stderr).not.toContain('secret-uuid')
  })

  test('a server that is not there is a warning', async () => {
    const { exitCode, stderr } = await run([
      'probe',
      'well',
      '--healthcheck',
      'http://127.0.0.1:1/secret-uuid',
    ])
    expect(exitCode).toBe(0)
    expect(stderr).toMatch(/--healthcheck: 0: (ECONNREFUSED|bad port)/)
    expect(stderr).not.toContain('secret-uuid')
  })

  test('a server that never answers does not hold the run up', async () => {
    answer = undefined
    const warnings: string[] = []
    const records = new Records({
      settings: { healthcheck: `${url}/slow`, metrics: `${url}/slow`, logFile: undefined, logFormat: 'text' },
      command: 'probe',
      commandLine: 'autodj probe',
      version: '0',
      secrets: [],
      now: () => new Date(),
      endTimeout: 50,
      warn: text => warnings.push(text),
    })
    const ended = new Date()
    const end = {
      startedAt: ended,
      endedAt: ended,
      exitCode: 0,
      fields: {},
      failures: new Map(),
      outcomes: new Map(),
    }
    await records.end([{ command: 'probe', ...end }], undefined, { isForced: false })
    expect(warnings.sort()).toEqual([
      '--healthcheck: 0: no answer in time',
      '--healthcheck: start: no answer in time',
      '--metrics: no answer in time',
    ])
  })

  test.each(['ftp://x', 'hc-ping.com/uuid'])('%s is refused before anything is begun', async wrong => {
    const { exitCode, stderr } = await run(['probe', '--healthcheck', wrong])
    expect(exitCode).toBe(2)
    expect(stderr).toContain('--healthcheck is not an http(s) URL')
  })
})

describe('--metrics', () => {
  test('to a file', async () => {
    await run(['probe', '--metrics', 'out/autodj.prom'])
    const text = await readFile(path.join(folder, 'out/autodj.prom'), 'utf8')
    expect(text).toContain('autodj_run_items{command="probe",outcome="uploaded"} 2\n')
    expect(text).toContain('autodj_run_failures{command="probe",cause="file.missing"} 1\n')
  })

  test('to a Pushgateway', async () => {
    const { exitCode } = await run(['probe', 'well', '--metrics', `${url}/gateway`])
    expect(exitCode).toBe(0)
    expect(received).toHaveLength(1)
    expect(received[0]?.path).toMatch(/^\/gateway\/metrics\/job\/autodj\/command\/probe\/instance\/[^/]+$/)
    expect(received[0]).toMatchObject({ method: 'POST', type: expect.stringContaining('text/plain') })
    // Labels of the group are the URL's.
    expect(received[0]?.body).toMatch(/^autodj_run_exit_code 0$/m)
    expect(received[0]?.body).toMatch(/\n$/)
  })

  test('what a Pushgateway has against them is told, and is no failure', async () => {
    answer = 400
    const { exitCode, stderr } = await run(['probe', 'well', '--metrics', `${url}/gateway`])
    expect(exitCode).toBe(0)
    expect(stderr).toMatch(/warning: --metrics: HTTP 400: will not take \/gateway\/metrics\/job\/autodj/)
  })

  test('a folder that is not writable is a warning', async () => {
    await writeFile(path.join(folder, 'a-file'), '')
    const { exitCode, stderr } = await run(['probe', 'well', '--metrics', 'a-file/autodj.prom'])
    expect(exitCode).toBe(0)
    expect(stderr).toContain('--metrics: ')
  })
})

describe('--log-file', () => {
  test('text: time and level before each line, no secret, appended', async () => {
    await run(['probe', '--log-file', 'autodj.log', '-q'])
    await run(['probe', 'well', '--log-file', 'autodj.log'])
    const lines = readFileSync(path.join(folder, 'autodj.log'), 'utf8').trimEnd().split('\n')
    for (const line of lines) {
      expect(line).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) +\S/)
    }
    expect(lines.filter(line => / probe started: autodj probe/.test(line))).toHaveLength(2)
    expect(lines.some(line => / ERROR +failed a\.mp3: gone$/.test(line))).toBe(true)
    expect(
      lines.some(line => / WARNING +the database is postgresql:/.test(line) || /\*\*\*/.test(line)),
    ).toBe(true)
    expect(lines.at(-1)).toMatch(/INFO +probe ended with exit code 0 after /)
    expect(lines.join('\n')).not.toContain(password)
  })

  test('json: one object a line, with time and level', async () => {
    await run(['probe', '--log-file', 'autodj.jsonl', '--log-format', 'json'])
    const text = readFileSync(path.join(folder, 'autodj.jsonl'), 'utf8')
    const lines = text
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    for (const line of lines) {
      expect(line).toMatchObject({ time: expect.any(String), level: expect.any(String), schema: 1 })
    }
    expect(lines).toContainEqual(
      expect.objectContaining({
        message_type: 'item',
        level: 'error',
        subject: 'a.mp3',
        code: 'file.missing',
      }),
    )
    expect(lines).toContainEqual(expect.objectContaining({ message_type: 'summary', uploaded: 2 }))
    expect(lines.at(-1)).toMatchObject({ event: 'end', exit_code: 3 })
    expect(text).not.toContain(password)
  })

  test('one that cannot be opened is refused before anything is begun', async () => {
    const { exitCode, stderr } = await run(['probe', '--log-file', `${folder}/a-file/autodj.log`])
    expect(exitCode).toBe(2)
    expect(stderr).toContain('cannot write the log file')
  })
})
