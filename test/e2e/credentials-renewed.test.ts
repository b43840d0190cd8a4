/**
 * Credentials that end in the middle of a run, as a run of days meets them: a container's, a machine's role, an SSO
 * session. Each is handed out by a stand-in of the service that AWS's own SDK asks.
 */
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { fakeAudio } from '../support/bed.ts'
import { type CliResult, cli } from '../support/cli.ts'
import { pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { inEnvironment } from '../support/environment.ts'
import { end, listening, urlOf } from '../support/listening.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const files = 24
const hour = 3_600_000
const startUrl = 'https://example.awsapps.com/start'

interface Key {
  accessKeyId: string
  secretAccessKey: string
  sessionToken: string
  expires?: number
}

let home: string
let s3: TestServer
let database: TestDatabase
let service: Server
let keys: Key[]
/** ms that what is handed out is said to be good for */
let lifetime = hour
let handle: (request: IncomingMessage, response: ServerResponse) => void

beforeAll(async () => {
  service = createServer((request, response) => handle(request, response))
  await listening(service)
})
afterAll(() => end(service))
beforeEach(async () => {
  home = temporaryFolder('renewed')
  await mkdir(path.join(home, 'audio'))
  for (let n = 0; n < files; n++) await writeFile(path.join(home, 'audio', `${n}.flac`), fakeAudio(3_000, n))
  keys = []
  lifetime = hour
  s3 = await testServer({ credentials: keys })
  database = await pgliteTestDatabase()
})
afterEach(async () => {
  await s3.close()
  await database.drop()
})

const serviceUrl = () => urlOf(service)

/** Another key, which the store takes from now on. */
function issue(): { key: Key; expiration: Date } {
  const n = keys.length + 1
  const key = { accessKeyId: `ASIA${n}`, secretAccessKey: `hush-${n}`, sessionToken: `token-${n}` }
  keys.push(key)
  return { key, expiration: new Date(Date.now() + lifetime) }
}

function answer(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

const asAws = ({ key, expiration }: ReturnType<typeof issue>) => ({
  Code: 'Success',
  Type: 'AWS-HMAC',
  AccessKeyId: key.accessKeyId,
  SecretAccessKey: key.secretAccessKey,
  Token: key.sessionToken,
  Expiration: expiration.toISOString(),
  LastUpdated: new Date().toISOString(),
})

/** In this process: what the SDK's chain reads of the environment is this process's. */
async function run(env: Record<string, string>, ...argv: string[]): Promise<CliResult> {
  const own = { HOME: home, AWS_CONFIG_FILE: path.join(home, '.aws/config'), ...env }
  return inEnvironment(own, () =>
    cli(argv, {
      env: {
        S3_BUCKET_NAME: 'music',
        S3_ENDPOINT: s3.url,
        AWS_REGION: 'us-east-1',
        DATABASE_URL: database.url,
        AUDIO_STORAGE_PATH: path.join(home, 'audio'),
        ...own,
      },
    }),
  )
}

async function upload(env: Record<string, string>): Promise<CliResult> {
  expect((await run(env, 'migrate')).exitCode).toBe(0)
  expect((await run(env, 'import')).exitCode).toBe(0)
  return run(env, 'upload-local', '--concurrency', '2')
}

/** Access keys that objects were put with. */
const usedKeys = () =>
  new Set(
    s3.requests
      .filter(({ operation, status }) => operation === 'PutObject' && status === 200)
      .map(({ headers }) => /Credential=([^/]+)/.exec(headers.authorization ?? '')?.[1]),
  )

const container = {
  env: () => ({
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${serviceUrl()}/role`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: 'of the pod',
    AWS_EC2_METADATA_DISABLED: 'true',
  }),
  handle(request: IncomingMessage, response: ServerResponse) {
    if (request.headers.authorization !== 'of the pod') return answer(response, {}, 403)
    answer(response, asAws(issue()))
  },
}

const machine = {
  env: () => ({ AWS_EC2_METADATA_SERVICE_ENDPOINT: serviceUrl() }),
  handle(request: IncomingMessage, response: ServerResponse) {
    if (request.method === 'PUT') return void response.end('imds-token')
    if (request.headers['x-aws-ec2-metadata-token'] !== 'imds-token') return answer(response, {}, 401)
    if (/security-credentials(-extended)?\/?$/.test(request.url ?? '')) return void response.end('dj-role')
    answer(response, asAws(issue()))
  },
}

describe.each([
  ["a container's", container],
  ["a machine's role", machine],
])('%s', (_, source) => {
  test('are asked for again before they end', async () => {
    handle = source.handle
    // Less than the five minutes before its end at which the SDK takes a key for gone.
    lifetime = 60_000
    const { exitCode, stderr } = await upload(source.env())
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('')])
    expect(usedKeys().size).toBeGreaterThan(1)
  })

  test('are asked for again when the store calls them expired', async () => {
    handle = source.handle
    const rule = s3.faults.add({
      match: { operation: 'PutObject' },
      after: files / 2,
      times: 1,
      fault: { status: 400, code: 'ExpiredToken', message: 'The provided token has expired.' },
    })
    const { exitCode } = await upload(source.env())
    expect(exitCode).toBe(0)
    expect(rule.struck).toBe(1)
    expect(usedKeys().size).toBe(2)
  })
})

describe('an SSO session', () => {
  const env = () => ({
    AWS_PROFILE: 'sso',
    AWS_ENDPOINT_URL_SSO: serviceUrl(),
    AWS_EC2_METADATA_DISABLED: 'true',
  })
  let isOver: boolean

  async function logIn(): Promise<void> {
    isOver = false
    await mkdir(path.join(home, '.aws/sso/cache'), { recursive: true })
    await writeFile(
      path.join(home, '.aws/config'),
      `[profile sso]\nsso_account_id = 1\nsso_role_name = r\nsso_region = us-east-1\nsso_start_url = ${startUrl}\n`,
    )
    const name = createHash('sha1').update(startUrl).digest('hex')
    const expiresAt = new Date(Date.now() + hour).toISOString()
    await writeFile(
      path.join(home, `.aws/sso/cache/${name}.json`),
      JSON.stringify({ startUrl, region: 'us-east-1', accessToken: 'a', expiresAt }),
    )
  }
  const portal = (_request: IncomingMessage, response: ServerResponse) => {
    if (isOver) {
      response.setHeader('x-amzn-errortype', 'UnauthorizedException')
      return answer(response, { message: 'Session token not found or invalid' }, 401)
    }
    const { key, expiration } = issue()
    answer(response, { roleCredentials: { ...key, expiration: expiration.getTime() } })
  }

  test('that ends in mid-run: exit 5 with its cure, and the next login goes on', async () => {
    handle = (request, response) => {
      portal(request, response)
      // One key a login, and the store stops taking it in the middle.
      isOver = true
    }
    await logIn()
    expect((await run(env(), 'migrate')).exitCode).toBe(0)
    expect((await run(env(), 'import')).exitCode).toBe(0)
    await logIn()
    const rule = s3.faults.add({
      match: { operation: 'PutObject' },
      after: files / 2,
      fault: { status: 400, code: 'ExpiredToken', message: 'The provided token has expired.' },
    })
    const { exitCode, stderr } = await run(env(), 'upload-local', '--concurrency', '2')
    expect([exitCode, stderr]).toEqual([5, expect.stringMatching(/expired/)])
    expect(stderr).toContain('aws sso login')
    expect(stderr).not.toContain('bug in autodj')
    rule.remove()
    await logIn()
    const again = await run(env(), 'upload-local', '--concurrency', '2')
    expect([again.exitCode, again.stderr]).toEqual([0, expect.stringContaining('')])
    const put = s3.requests.filter(({ operation, status }) => operation === 'PutObject' && status === 200)
    expect(put.length).toBe(files)
  })
})
