/** A set-up that works, and many that are broken in one place each, against the embedded S3 server and CDN. */
import { generateKeyPairSync } from 'node:crypto'
import { chmod, mkdtemp, writeFile } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Command } from '../../src/cli/command.ts'
import { commands } from '../../src/commands.ts'
import type { Limits } from '../../src/doctor/check.ts'
import { runDoctor } from '../../src/doctor/run.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { cli } from '../support/cli.ts'
import { migrated, pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { listening, portOf } from '../support/listening.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const credentials = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'a secret that nobody may see' }
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const region = 'eu-central-1'

let folder: string
let s3: TestServer
let cdn: Cdn
let signedCdn: Cdn
let place: TestDatabase
let env: Record<string, string>

beforeAll(async () => {
  folder = temporaryFolder('doctor')
  s3 = await testServer({
    region,
    credentials: [credentials],
    buckets: [
      'music',
      { name: 'versioned', versioning: 'Enabled' },
      { name: 'far-away', region: 'us-west-2' },
    ],
  })
  cdn = await startCdn({ origin: s3.origin })
  signedCdn = await startCdn({
    origin: s3.origin,
    trustedKeys: { K2JCJMDEHXQW5F: pair.publicKey.export({ type: 'spki', format: 'pem' }).toString() },
  })
  place = await migrated(await pgliteTestDatabase())
  const keyFile = path.join(folder, 'key.pem')
  await writeFile(keyFile, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  env = {
    // An embedded database takes a second to open: only what is about it is given one.
    DATABASE_URL: `pglite:${path.join(folder, 'not-yet')}`,
    ...s3.settings,
    CLOUDFRONT_DOMAIN: signedCdn.url,
    CLOUDFRONT_KEY_PAIR_ID: 'K2JCJMDEHXQW5F',
    CLOUDFRONT_PRIVATE_KEY_PATH: keyFile,
    AUDIO_STORAGE_PATH: folder,
  }
})
afterAll(async () => {
  await Promise.all([cdn?.close(), signedCdn?.close()])
  await s3?.close()
  await place?.drop()
})
afterEach(() => {
  s3.faults.clear()
  cdn.clearRules()
  signedCdn.clearRules()
})

/** A machine may be frozen for a minute: nothing here fails for that. */
const patient: Limits = { connectMs: 60_000, idleMs: 60_000, patience: 20 }

const withLimits = (limits: Limits): readonly Command[] =>
  commands.map(command =>
    command.name === 'doctor' ? { ...command, run: context => runDoctor(context, limits) } : command,
  )

interface Checked {
  exitCode: number
  /** checks by name: state and cause */
  checks: Record<string, { state: string; reason: string; cure?: string }>
  output: string
}

async function doctor(change: Record<string, string | undefined> = {}, options = {}): Promise<Checked> {
  const changed = Object.fromEntries(
    Object.entries({ ...env, ...change }).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    ),
  )
  const { exitCode, messages, stdout, stderr } = await cli(['doctor', '--json'], {
    env: changed,
    commands: withLimits(patient),
    ...options,
  })
  const checks = Object.fromEntries(
    messages
      .filter(({ message_type }) => message_type === 'item')
      .map(({ subject, state, reason, cure }) => [subject, { state, reason, cure }]),
  )
  return { exitCode, checks, output: stdout + stderr } as Checked
}

/** Objects and versions that are left in the server, by the listing that S3 itself would give. */
async function leftBehind(): Promise<number> {
  const { createS3Store } = await import('../../src/storage/s3.ts')
  const store = createS3Store({ bucket: 'music', region: s3.region, endpoint: s3.url, credentials })
  const left = (await Array.fromAsync(store.list({ prefix: 'audio/.autodj-doctor/' }))).flat()
  const uploads = (await Array.fromAsync(store.listUploads())).flat()
  store.close()
  return left.length + uploads.length
}

test('a set-up that works: every check passes, nothing is left, no secret is shown', async () => {
  s3.requests.length = 0
  const { exitCode, checks, output } = await doctor({ DATABASE_URL: place.url })
  expect(
    Object.entries(checks)
      .filter(([, { state }]) => state !== 'ok')
      .map(([name]) => name),
  ).toEqual(['env-file'])
  expect(exitCode).toBe(0)
  expect(Object.keys(checks)).toEqual([
    'env-file',
    'signing-key',
    'credentials',
    'endpoint',
    'region',
    'bucket',
    'put',
    'head',
    'get-range',
    'public-access',
    'cdn-domain',
    'cdn-fetch',
    'signed-url',
    'delete',
    'checksums',
    'conditions',
    'multipart',
    'copy',
    'listing',
    'database',
    'schema',
    'database-write',
    'library',
    'audio-folder',
    'paths',
    'temp-space',
    'decoder',
  ])
  expect(await leftBehind()).toBe(0)
  expect(output).not.toContain(credentials.secretAccessKey)
  expect(output).not.toContain('Signature=')
})

test('in a versioned bucket not even a version is left', async () => {
  const versionedCdn = await startCdn({ origin: { url: s3.url, region, bucket: 'versioned', credentials } })
  try {
    const { exitCode, checks } = await doctor({
      S3_BUCKET_NAME: 'versioned',
      CLOUDFRONT_DOMAIN: versionedCdn.url,
      CLOUDFRONT_KEY_PAIR_ID: undefined,
      CLOUDFRONT_PRIVATE_KEY_PATH: undefined,
    })
    expect(exitCode).toBe(0)
    expect(checks['delete']).toMatchObject({ state: 'ok' })
    const deleted = s3.requests.findLast(({ operation }) => operation.startsWith('DeleteObject'))
    expect(deleted?.status).toBeLessThan(300)
    const store = s3.open('versioned')
    const versions = []
    for await (const page of store.listVersions()) versions.push(...page)
    store.close()
    expect(versions).toEqual([])
  } finally {
    await versionedCdn.close()
  }
})

test('without a CDN its checks are skipped and said so', async () => {
  const { exitCode, checks } = await doctor({
    CLOUDFRONT_DOMAIN: undefined,
    CLOUDFRONT_KEY_PAIR_ID: undefined,
    CLOUDFRONT_PRIVATE_KEY_PATH: undefined,
  })
  expect(exitCode).toBe(0)
  expect(checks['cdn-domain']).toMatchObject({
    state: 'skipped',
    reason: expect.stringContaining('CLOUDFRONT_DOMAIN'),
  })
  expect(checks['cdn-fetch']).toMatchObject({ state: 'skipped' })
})

test('for people: a line for each check, and the cure below what failed', async () => {
  const { stdout, exitCode } = await cli(['doctor'], {
    env: { ...env, S3_BUCKET_NAME: 'nowhere' },
    commands: withLimits(patient),
  })
  expect(exitCode).toBe(1)
  expect(stdout).toMatch(/^ok {7}credentials /m)
  expect(stdout).toMatch(/^failure {2}bucket .*there is no such bucket/m)
  expect(stdout).toMatch(/→ Create the bucket, or correct S3_BUCKET_NAME \(now nowhere\)/)
  expect(stdout).toMatch(/^skipped {2}put {12}needs "bucket"/m)
  expect(stdout).toContain('1 check failed: bucket')
})

/** One thing broken: the only failure is the check that it belongs to, and the words name it. */
describe('broken', () => {
  interface Broken {
    set?: () => Record<string, string | undefined> | Promise<Record<string, string | undefined>>
    options?: () => object
    check: string
    state?: 'warning' | 'failure'
    reason: RegExp
    cure?: RegExp
  }
  const withoutCdn = {
    CLOUDFRONT_DOMAIN: undefined,
    CLOUDFRONT_KEY_PAIR_ID: undefined,
    CLOUDFRONT_PRIVATE_KEY_PATH: undefined,
  }
  const closedPort = async () => {
    const server = await listening(net.createServer())
    const port = portOf(server)
    await new Promise(done => server.close(done))
    return port
  }
  const broken: Record<string, Broken> = {
    'secret key': {
      set: () => ({ AWS_SECRET_ACCESS_KEY: 'wrong' }),
      check: 'bucket',
      reason: /the secret does not belong to the access key/,
      cure: /AWS_SECRET_ACCESS_KEY/,
    },
    'access key id': {
      set: () => ({ AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN' }),
      check: 'bucket',
      reason: /the store does not know the access key/,
      cure: /AWS_ACCESS_KEY_ID/,
    },
    'no such bucket': {
      set: () => ({ S3_BUCKET_NAME: 'nowhere' }),
      check: 'bucket',
      reason: /no such bucket/,
    },
    'no bucket set': {
      set: () => ({ S3_BUCKET_NAME: undefined }),
      check: 'region',
      reason: /S3_BUCKET_NAME is not set/,
      cure: /autodj init/,
    },
    'AWS region of the bucket': {
      set: () => ({ S3_BUCKET_NAME: 'far-away' }),
      check: 'bucket',
      reason: /the bucket is in another region/,
      cure: /AWS_REGION=us-west-2/,
    },
    'store away': {
      set: async () => ({ S3_ENDPOINT: `http://127.0.0.1:${await closedPort()}` }),
      check: 'endpoint',
      reason: /cannot be reached: nothing is listening there .ECONNREFUSED/,
      cure: /S3_ENDPOINT/,
    },
    'store silent': {
      set: () => {
        s3.faults.add({ fault: { stall: 'forever' } })
        return withoutCdn
      },
      // Whom nobody answers needs no patience; no CDN is asked with as little.
      options: () => ({ commands: withLimits({ ...patient, connectMs: 300, idleMs: 300 }) }),
      check: 'endpoint',
      reason: /cannot be reached: no answer in time/,
    },
    'host name of the store': {
      set: () => ({ S3_ENDPOINT: 'http://no-such-host.invalid:9000' }),
      check: 'endpoint',
      reason: /ENOTFOUND|EAI_AGAIN/,
    },
    clock: {
      options: () => ({ now: () => new Date(Date.now() + 20 * 60_000) }),
      check: 'endpoint',
      reason: /this clock is (19m \d+s|20m( \d+s)?) fast/,
      cure: /NTP/,
    },
    'no right to put': {
      set: () => {
        s3.faults.add({ match: { operation: 'PutObject' }, fault: { status: 403, code: 'AccessDenied' } })
        return {}
      },
      check: 'put',
      reason: /access denied/,
      cure: /autodj policy/,
    },
    'no right to read': {
      set: () => {
        s3.faults.add({ match: { operation: 'GetObject' }, fault: { status: 403, code: 'AccessDenied' } })
        signedCdn.addRule({ misbehave: { answer: { status: 403, body: '' } } })
        return withoutCdn
      },
      check: 'get-range',
      reason: /access denied/,
    },
    'no right to delete': {
      set: () => {
        for (const operation of ['DeleteObject', 'DeleteObjects']) {
          s3.faults.add({ match: { operation }, times: 4, fault: { status: 403, code: 'AccessDenied' } })
        }
        return {}
      },
      check: 'delete',
      reason: /access denied/,
    },
    'store changes bytes': {
      set: () => {
        s3.faults.add({ match: { operation: 'GetObject' }, times: 1, fault: { corruptBody: true } })
        return {}
      },
      check: 'get-range',
      reason: /other bytes/,
    },
    'store that leaves out the keys of a listing': {
      set: () => {
        s3.faults.add({ match: { operation: 'ListObjectsV2' }, fault: { withhold: ['Key'] } })
        return {}
      },
      check: 'listing',
      reason: /the listing is broken/,
      cure: /Do not trust any listing/,
    },
    'origin access control': {
      set: () => {
        signedCdn.addRule({ misbehave: { originDenied: true } })
        return {}
      },
      check: 'cdn-fetch',
      reason: /S3 does not accept CloudFront's signature|S3 does not let CloudFront read it/,
    },
    'origin of another region': {
      set: () => {
        signedCdn.addRule({ misbehave: { originRegion: 'us-west-2' } })
        return {}
      },
      check: 'cdn-fetch',
      reason: /not the bucket's regional endpoint/,
    },
    'origin path': {
      set: () => {
        signedCdn.addRule({ misbehave: { rewriteKey: key => `music/${key}` } })
        return {}
      },
      check: 'cdn-fetch',
      reason: /origin path/,
    },
    'signing key of another pair': {
      set: async () => {
        const other = path.join(folder, 'other.pem')
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
        await writeFile(other, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
        return { CLOUDFRONT_PRIVATE_KEY_PATH: other }
      },
      check: 'cdn-fetch',
      reason: /does not accept the signature/,
      cure: /CLOUDFRONT_KEY_PAIR_ID/,
    },
    'key pair id': {
      set: () => ({ CLOUDFRONT_KEY_PAIR_ID: 'K0000000000000' }),
      check: 'cdn-fetch',
      reason: /does not know the key pair id/,
    },
    'signing not configured': {
      set: () => ({ CLOUDFRONT_KEY_PAIR_ID: undefined, CLOUDFRONT_PRIVATE_KEY_PATH: undefined }),
      check: 'cdn-fetch',
      reason: /requires signed URLs/,
    },
    'signing key unreadable': {
      set: () => ({ CLOUDFRONT_PRIVATE_KEY_PATH: path.join(folder, 'missing.pem') }),
      check: 'signing-key',
      reason: /missing\.pem cannot be read: no such file or directory/,
    },
    'signing key open to others': {
      set: async () => {
        const open = path.join(folder, 'open.pem')
        await writeFile(open, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }))
        await chmod(open, 0o644)
        return { CLOUDFRONT_PRIVATE_KEY_PATH: open }
      },
      check: 'signing-key',
      state: 'warning',
      reason: /mode 644/,
      cure: /chmod 600/,
    },
    'CDN away': {
      set: async () => ({ CLOUDFRONT_DOMAIN: `http://127.0.0.1:${await closedPort()}` }),
      check: 'cdn-fetch',
      reason: /nothing is listening/,
    },
    'CDN open without signature': {
      set: () => ({ CLOUDFRONT_DOMAIN: cdn.url }),
      check: 'signed-url',
      state: 'warning',
      reason: /without a signature too/,
      cure: /Restrict viewer access/,
    },
    'unsigned requests end at a proxy, not at CloudFront': {
      set: async () => ({ CLOUDFRONT_DOMAIN: `http://127.0.0.1:${await dropsUnsigned(signedCdn.url)}` }),
      check: 'signed-url',
      state: 'warning',
      reason: /not a refusal by CloudFront/,
    },
    'database away': {
      set: async () => ({ DATABASE_URL: `postgresql://autodj:hush@127.0.0.1:${await closedPort()}/autodj` }),
      check: 'database',
      reason: /cannot be reached/,
    },
    'database not migrated': {
      set: async () => ({ DATABASE_URL: (await pgliteTestDatabase()).url }),
      check: 'schema',
      reason: /has no tracks table/,
      cure: /autodj migrate/,
    },
    'database not made yet': {
      set: () => ({ DATABASE_URL: `pglite:${path.join(folder, 'not-yet')}` }),
      check: 'database',
      state: 'warning',
      reason: /does not exist yet/,
    },
    'audio folder': {
      set: () => ({ AUDIO_STORAGE_PATH: path.join(folder, 'key.pem') }),
      check: 'audio-folder',
      reason: /is not a folder/,
    },
  }

  test.each(Object.entries(broken))(
    '%s',
    async (_, { set, options, check, state = 'failure', reason, cure }) => {
      s3.requests.length = 0
      const { exitCode, checks, output } = await doctor((await set?.()) ?? {}, options?.())
      expect(checks[check]).toMatchObject({ state, reason: expect.stringMatching(reason) })
      if (cure !== undefined) expect(checks[check]!.cure).toMatch(cure)
      const others = Object.entries(checks).filter(
        ([name]) => ![check, 'env-file', 'database'].includes(name),
      )
      expect(others.filter(([, other]) => other.state === 'failure' || other.state === 'warning')).toEqual([])
      expect(exitCode).toBe(state === 'failure' ? 1 : 0)
      expect(output).not.toContain(credentials.secretAccessKey)
      expect(output).not.toContain('hush')
    },
  )
})

/** A proxy before the CDN that hangs up on whoever has no signature. @returns its port */
async function dropsUnsigned(target: string): Promise<number> {
  const proxy = http.createServer((request, response) => {
    if (!request.url!.includes('Signature=')) return void request.socket.resetAndDestroy()
    const { method, url: path, headers } = request
    http
      .request(target, { method, path, headers }, answer => {
        response.writeHead(answer.statusCode!, answer.headers)
        answer.pipe(response)
      })
      .end()
  })
  proxies.push(proxy)
  await listening(proxy)
  return portOf(proxy)
}
const proxies: http.Server[] = []
afterAll(() => {
  for (const proxy of proxies) proxy.close()
})

describe('.env', () => {
  test('open to others, with what looks like a setting and is none, or not ignored by Git, is a warning', async () => {
    const cwd = await mkdtemp(path.join(folder, 'cwd-'))
    const file = path.join(cwd, '.env')
    await writeFile(file, 'S3_KEY_PREFIX=music/\n')
    await chmod(file, 0o644)
    expect((await doctor({}, { cwd })).checks['env-file']).toMatchObject({
      state: 'warning',
      reason: expect.stringContaining('mode 644'),
      cure: `Run \`chmod 600 ${file}\`.`,
    })
    await chmod(file, 0o600)
    await writeFile(
      file,
      'S3_KEY_PREFIX=music/\nS3_BUCKET=music\nS3_OTHER=1\nAPP_SECRET=x\nAWS_DEFAULT_REGION=x\n',
    )
    expect((await doctor({}, { cwd })).checks['env-file']).toMatchObject({
      state: 'warning',
      reason: `S3_BUCKET, S3_OTHER in ${file} are not settings of autodj`,
      cure: expect.stringMatching(/S3_BUCKET_NAME, S3_ENDPOINT,.* S3_KEY_PREFIX\.$/),
    })
    await writeFile(file, 'S3_KEY_PREFIX=music/\n')
    await writeFile(path.join(cwd, '.git'), '')
    expect((await doctor({}, { cwd })).checks['env-file']).toMatchObject({
      state: 'warning',
      reason: expect.stringContaining('.gitignore'),
    })
    await writeFile(path.join(cwd, '.gitignore'), 'dist\n.env\n')
    expect((await doctor({}, { cwd })).checks['env-file']).toMatchObject({ state: 'ok' })
  })
})

describe('--rotate-check', () => {
  const next = { accessKeyId: 'AKIANEXTNEXTNEXT', secretAccessKey: 'the next secret that nobody may see' }
  let own: TestServer
  beforeAll(async () => {
    own = await testServer({ region, credentials: [credentials, next] })
  })
  afterAll(() => own?.close())
  const rotate = (env: Record<string, string>) =>
    cli(['doctor', '--rotate-check'], { cwd: folder, env: { ...own.settings, ...env } })

  test('one key: it is tried, and how to change it is told', async () => {
    const { exitCode, stdout } = await rotate({})
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^ok old key AKIA…MPLE: signs in/m)
    expect(stdout).toMatch(/1\. Make a second key/)
  })

  test('two keys that work: what to do next; nothing is left, no secret is shown', async () => {
    const { exitCode, stdout, stderr } = await rotate({
      AUTODJ_NEW_ACCESS_KEY_ID: next.accessKeyId,
      AUTODJ_NEW_SECRET_ACCESS_KEY: next.secretAccessKey,
    })
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/Both keys work/)
    expect(stdout).toMatch(/--status Inactive/)
    expect(stdout + stderr).not.toContain('that nobody may see')
    const deleted = own.requests.filter(one => /DeleteObject/.test(one.operation))
    expect(deleted.length).toBeGreaterThan(1)
  })

  test('a new key that will not do: keep the old one', async () => {
    const { exitCode, stdout, stderr } = await rotate({
      AUTODJ_NEW_ACCESS_KEY_ID: next.accessKeyId,
      AUTODJ_NEW_SECRET_ACCESS_KEY: 'another secret',
    })
    expect(exitCode).toBe(1)
    expect(stdout).toMatch(/The new key does not work: keep the old one/)
    expect(stderr).toMatch(/failed new: /)
  })

  test.each([
    [{ AUTODJ_NEW_ACCESS_KEY_ID: 'AKIANEXTNEXTNEXT' }, /belong together/],
    [
      {
        AUTODJ_NEW_ACCESS_KEY_ID: credentials.accessKeyId,
        AUTODJ_NEW_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      },
      /is the one that is configured/,
    ],
  ])('%j is refused', async (env, message) => {
    const { exitCode, stderr } = await rotate(env as Record<string, string>)
    expect(exitCode).toBe(2)
    expect(stderr).toMatch(message)
  })
})
