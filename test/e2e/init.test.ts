/** Answers by flag and environment, and by a scripted person, checked against the embedded S3 server and CDN. */
import { chmod, mkdir, mkdtemp, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { parse } from 'dotenv'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { defineCommand } from '../../src/cli/command.ts'
import type { Prompter } from '../../src/init/interview.ts'
import { runInit } from '../../src/init/run.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { cli } from '../support/cli.ts'
import { listening, portOf } from '../support/listening.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const region = 'eu-central-1'
const credentials = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: "it's # a $ecret" }

let folder: string
let cwd: string
let s3: TestServer
let cdn: Cdn
let env: Record<string, string>

beforeAll(async () => {
  folder = temporaryFolder('init')
  s3 = await testServer({ region, credentials: [credentials] })
  cdn = await startCdn({ origin: s3.origin })
  env = {
    ...s3.settings,
    CLOUDFRONT_DOMAIN: cdn.url,
  }
})
afterAll(async () => {
  await cdn?.close()
  await s3?.close()
})
beforeEach(async () => {
  cwd = await mkdtemp(path.join(folder, 'cwd-'))
})

/** A machine may be frozen for a minute: nothing here fails for that. */
const init = ['init', '--timeout', '10m']

const own = async () => parse(await readFile(path.join(cwd, 'autodj.env')))
const dotenv = async () => parse(await readFile(path.join(cwd, '.env')))
const modeOf = async (file: string) => ((await stat(path.join(cwd, file))).mode & 0o777).toString(8)

describe('by flag and environment', () => {
  test('writes what passed its checks, for its owner only, and says no secret', async () => {
    const { exitCode, stdout, stderr } = await cli([...init, '--yes', '--prefix', 'music/'], { env, cwd })
    expect(stderr).toBe('')
    expect(exitCode).toBe(0)
    const { S3_ENDPOINT, ...known } = env
    expect(await dotenv()).toEqual(known)
    // The application refuses keys that it does not know.
    expect(await own()).toEqual({ S3_ENDPOINT, S3_KEY_PREFIX: 'music/' })
    expect(await modeOf('.env')).toBe('600')
    expect(await modeOf('autodj.env')).toBe('600')
    expect(stdout).toContain('next: `autodj doctor`')
    expect(stdout + stderr).not.toContain('$ecret')
  })

  test('it says what it was not asked to write: what the environment sets of the network', async () => {
    const { stdout } = await cli([...init, '--yes'], { env: { ...env, NO_PROXY: 'localhost' }, cwd })
    expect(stdout).toContain('NO_PROXY too, as set here: cron has another environment')
    expect(await own()).toMatchObject({ NO_PROXY: 'localhost' })
    expect((await cli([...init, '--yes'], { env, cwd })).stdout).not.toContain('too, as set here')
  })

  test('what it wrote is what every command reads', async () => {
    await cli([...init, '--yes'], { env, cwd })
    const { exitCode } = await cli(['doctor', '--timeout', '10m'], { env: {}, cwd })
    expect(exitCode).toBe(0)
  })

  test('in a repository, .gitignore has it once', async () => {
    await mkdir(path.join(cwd, '.git'))
    await writeFile(path.join(cwd, '.gitignore'), 'dist')
    await cli([...init, '--yes'], { env, cwd })
    await cli([...init, '--yes'], { env, cwd })
    expect(await readFile(path.join(cwd, '.gitignore'), 'utf8')).toBe('dist\n.env\nautodj.env\n')
  })

  test('a .env that is there keeps its comments and other settings, and loses its open mode', async () => {
    const file = path.join(cwd, '.env')
    await writeFile(file, '# mine\nOTHER=1\nS3_BUCKET_NAME=old # really\nFETCH_COMMAND=get {output}\n')
    await chmod(file, 0o644)
    expect((await cli([...init, '--yes'], { env, cwd })).exitCode).toBe(0)
    const text = await readFile(file, 'utf8')
    expect(text).toMatch(/^# mine\nOTHER=1\nS3_BUCKET_NAME=music\n/)
    expect(text).not.toContain('FETCH_COMMAND')
    expect((await own())['FETCH_COMMAND']).toBe('get {output}')
    expect(await modeOf('.env')).toBe('600')
  })

  test("an application's .env keeps what the application knows; what it refuses moves, mode and owner stay", async () => {
    const file = path.join(cwd, '.env')
    const application = 'SECRET_KEY=x\nREDIS_URL=redis://x\nLOG_LEVEL=INFO\n'
    await writeFile(file, `${application}S3_ENDPOINT=http://old\nFETCH_COMMAND=get {output}\n`)
    await chmod(file, 0o640)
    const doctor = await cli(['doctor', '--json'], { env: {}, cwd })
    expect(doctor.stdout).toMatch(/refuses S3_ENDPOINT, FETCH_COMMAND: it will not start with them/)
    const { exitCode, stdout } = await cli([...init, '--yes'], { env, cwd })
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/S3_ENDPOINT, FETCH_COMMAND moved to .*autodj.env/)
    const { S3_ENDPOINT, ...known } = env
    expect(await dotenv()).toEqual({ SECRET_KEY: 'x', REDIS_URL: 'redis://x', LOG_LEVEL: 'INFO', ...known })
    expect(await own()).toEqual({ S3_ENDPOINT, FETCH_COMMAND: 'get {output}' })
    expect(await modeOf('.env')).toBe('640')
  })

  test('a .env that is a symlink stays one', async () => {
    await writeFile(path.join(cwd, 'real.env'), 'OTHER=1\n')
    await symlink('real.env', path.join(cwd, '.env'))
    expect((await cli([...init, '--yes'], { env, cwd })).exitCode).toBe(0)
    expect(await readFile(path.join(cwd, 'real.env'), 'utf8')).toContain('S3_BUCKET_NAME=music')
  })

  test.each([
    ['a wrong secret', { AWS_SECRET_ACCESS_KEY: 'wrong' }, /S3_BUCKET_NAME: .*secret does not belong/],
    ['no such bucket', { S3_BUCKET_NAME: 'nowhere' }, /no such bucket/],
    [
      'a CDN that is not there',
      { CLOUDFRONT_DOMAIN: 'http://127.0.0.1:9' },
      /CLOUDFRONT_DOMAIN: 127\.0\.0\.1 does not answer/,
    ],
    [
      'a database that is not there',
      { DATABASE_URL: 'postgresql://u:hush@127.0.0.1:9/d' },
      /DATABASE_URL: .*cannot be reached/,
    ],
    [
      'a key pair without its key',
      { CLOUDFRONT_KEY_PAIR_ID: 'K1', CLOUDFRONT_PRIVATE_KEY_PATH: './no.pem' },
      /no\.pem cannot be read/,
    ],
  ])('%s: nothing is written', async (_, change, message) => {
    const { exitCode, stdout, stderr } = await cli([...init, '--yes'], { env: { ...env, ...change }, cwd })
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(message)
    expect(stdout + stderr).not.toMatch(/\$ecret|hush/)
    await expect(stat(path.join(cwd, '.env'))).rejects.toThrow('ENOENT')
  })

  test('who does not answer is not waited for longer than --timeout', async () => {
    s3.faults.add({ fault: { stall: 'forever' } })
    try {
      const { exitCode, stderr } = await cli(['init', '--yes', '--timeout', '1s'], {
        env: { ...env, CLOUDFRONT_DOMAIN: '' },
        cwd,
      })
      expect(exitCode).toBe(1)
      expect(stderr).toMatch(/S3_ENDPOINT: .* cannot be reached: no answer in time/)
    } finally {
      s3.faults.clear()
    }
  })

  test.each(['0', '2h', 'soon'])('--timeout %s is refused', async timeout => {
    const { exitCode, stderr } = await cli(['init', '--yes', '--timeout', timeout], { env, cwd })
    expect(exitCode).toBe(2)
    expect(stderr).toContain(`--timeout: "${timeout}" is not a duration from 1s to 1h (example: 30s)`)
  })

  test('--force writes all the same, and says what did not pass', async () => {
    const { exitCode, stdout } = await cli([...init, '--yes', '--force'], {
      env: { ...env, S3_BUCKET_NAME: 'nowhere' },
      cwd,
    })
    expect(exitCode).toBe(3)
    expect(stdout).toContain('S3_BUCKET_NAME did not pass its check')
    expect((await dotenv())['S3_BUCKET_NAME']).toBe('nowhere')
  })
})

describe('by a person', () => {
  /** Answers by the beginning of the prompt, in turn where there are several. */
  async function answering(script: Record<string, string[]>) {
    const asked: { prompt: string; secret: boolean }[] = []
    const said: string[] = []
    const prompter: Prompter = {
      async ask(prompt, { secret }) {
        asked.push({ prompt, secret })
        const key = Object.keys(script).find(start => prompt.startsWith(start))
        return (key && script[key]!.shift()) ?? ''
      },
      say: text => void said.push(text),
    }
    const command = defineCommand({
      name: 'init',
      summary: 'x',
      flags: {},
      run: context => runInit(context, { force: false, yes: false, timeout: 600_000 }, prompter),
    })
    const result = await cli(['init'], { env: {}, cwd, commands: [command] })
    return { ...result, asked, said: said.join('\n') }
  }
  const good = () => ({
    Endpoint: [s3.url],
    'Access key ID': [credentials.accessKeyId],
    'Secret access': [credentials.secretAccessKey],
    Region: [region],
    Bucket: ['music'],
    CloudFront: [cdn.url],
  })

  test('each answer is checked as it is given; a wrong one is asked for again', async () => {
    const { exitCode, asked, said } = await answering({
      ...good(),
      Bucket: ['s3://music', 'nowhere', 'music'],
    })
    expect(exitCode).toBe(0)
    expect(asked.filter(({ prompt }) => prompt.startsWith('Bucket')).length).toBe(3)
    expect(said).toMatch(/failure S3_BUCKET_NAME: .*without s3:\/\//)
    expect(said).toMatch(/failure S3_BUCKET_NAME: .*no such bucket/)
    expect(said).toContain('ok S3_BUCKET_NAME: music')
    expect(await dotenv()).toMatchObject({
      S3_BUCKET_NAME: 'music',
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      CLOUDFRONT_DOMAIN: cdn.url,
    })
    expect(await own()).toMatchObject({ S3_ENDPOINT: s3.url, S3_KEY_PREFIX: 'audio/' })
  })

  test('secrets are asked for without an echo, and never shown', async () => {
    const { asked, said, stdout, stderr } = await answering(good())
    expect(asked.filter(({ secret }) => secret).map(({ prompt }) => prompt.split(' ')[0])).toEqual([
      'The',
      'Secret',
    ])
    expect(said + stdout + stderr + asked.map(({ prompt }) => prompt).join()).not.toContain('$ecret')
  })

  test('only what makes sense is asked: no secret without a key, no signing without a CDN', async () => {
    const { asked } = await answering({ Endpoint: [s3.url], Region: [region] })
    expect(asked.some(({ prompt }) => prompt.startsWith('Secret access'))).toBe(false)
    expect(asked.some(({ prompt }) => prompt.startsWith('Public key ID'))).toBe(false)
  })

  test('Enter keeps what is set, - unsets it; a secret that is set is not shown', async () => {
    await answering(good())
    const again = await answering({ CloudFront: ['-'] })
    expect(again.exitCode).toBe(0)
    expect(again.asked.find(({ prompt }) => prompt.startsWith('Bucket'))!.prompt).toContain('[music]')
    expect(again.asked.find(({ prompt }) => prompt.startsWith('Secret access'))!.prompt).toContain(
      '[set; Enter keeps it]',
    )
    const written = await dotenv()
    expect(written['CLOUDFRONT_DOMAIN']).toBeUndefined()
    expect(written['AWS_SECRET_ACCESS_KEY']).toBe(credentials.secretAccessKey)
  })

  const asking = (asked: readonly { prompt: string }[], from: number) =>
    asked.slice(from).map(({ prompt }) => prompt.split(/[ :[]/)[0])

  test('a wrong secret shows at the bucket: the secret is asked again, not the bucket over and over', async () => {
    const { exitCode, asked, said } = await answering({
      ...good(),
      'Secret access': ['wrong', credentials.secretAccessKey],
    })
    expect(exitCode).toBe(0)
    expect(said).toMatch(/failure S3_BUCKET_NAME: .*secret does not belong/)
    expect(said).toContain('ok S3_BUCKET_NAME: music')
    const bucketAt = asked.findIndex(({ prompt }) => prompt.startsWith('Bucket'))
    expect(asking(asked, bucketAt + 1).slice(0, 3)).toEqual(['Secret', 'Region', 'Bucket'])
    expect((await dotenv())['AWS_SECRET_ACCESS_KEY']).toBe(credentials.secretAccessKey)
  })

  test('a wrong key shows at the bucket: the key is asked again', async () => {
    const { exitCode, asked } = await answering({
      ...good(),
      'Access key ID': ['AKIAWRONGWRONGWRONG0', credentials.accessKeyId],
      'Secret access': [credentials.secretAccessKey, credentials.secretAccessKey],
    })
    expect(exitCode).toBe(0)
    const bucketAt = asked.findIndex(({ prompt }) => prompt.startsWith('Bucket'))
    expect(asking(asked, bucketAt + 1).slice(0, 4)).toEqual(['Access', 'Secret', 'Region', 'Bucket'])
  })

  test('a wrong region shows at the bucket: the region is asked again', async () => {
    const { exitCode, asked } = await answering({ ...good(), Region: ['us-west-2', region] })
    expect(exitCode).toBe(0)
    const bucketAt = asked.findIndex(({ prompt }) => prompt.startsWith('Bucket'))
    expect(asking(asked, bucketAt + 1).slice(0, 2)).toEqual(['Region', 'Bucket'])
  })

  test('a region that no host answers for is not a bad key: the region is asked again', async () => {
    // There is no such region, so no such host; without DNS there is no host either.
    const { asked, said } = await answering({
      ...good(),
      Endpoint: [''],
      Region: Array(9).fill('eu-central-9'),
    })
    expect(said).toMatch(
      /failure AWS_REGION: sts\.eu-central-9\.amazonaws\.com cannot be reached: the host name does not resolve/,
    )
    expect(said).not.toMatch(/check AWS_ACCESS_KEY_ID/)
    expect(asked.filter(({ prompt }) => prompt.startsWith('Access')).length).toBe(1)
    expect(asked.filter(({ prompt }) => prompt.startsWith('Region')).length).toBeGreaterThanOrEqual(3)
  })

  test('a password that the database refuses is asked for alone, not the host again', async () => {
    // PostgreSQL's answer to a wrong password: ErrorResponse with SQLSTATE 28P01.
    const server = createServer(socket => {
      socket.on('error', () => {})
      socket.once('data', startup => {
        const refuse = () => {
          const fields = Buffer.from(
            'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "dj"\0\0',
          )
          const head = Buffer.from([0x45, 0, 0, 0, 0])
          head.writeInt32BE(fields.length + 4, 1)
          socket.end(Buffer.concat([head, fields]))
        }
        // SSLRequest: "N", no TLS here; the startup message comes then.
        if (startup.readInt32BE(4) !== 80877103) return refuse()
        socket.once('data', refuse)
        socket.write('N')
        return undefined
      })
    })
    await listening(server)
    const port = portOf(server)
    try {
      const { asked, said } = await answering({
        'The application': [`postgresql://dj:first-hush@127.0.0.1:${port}/autodj`],
        'Password of': ['second-hush', '<'],
      })
      expect(asked.slice(0, 4).map(({ prompt, secret }) => [prompt, secret])).toEqual([
        [expect.stringMatching(/^The application's database .*: $/), true],
        [`Password of dj at 127.0.0.1:${port}: `, true],
        [`Password of dj at 127.0.0.1:${port}: `, true],
        [
          expect.stringMatching(
            /^The application's database .* \[dj@127\.0\.0\.1:\d+\/autodj; Enter keeps it\]: $/,
          ),
          true,
        ],
      ])
      expect(said).toMatch(/failure DATABASE_URL: the database refused the password/)
      expect(said).not.toContain('hush')
    } finally {
      server.close()
    }
  })

  test('an endpoint where nothing listens is asked for again', async () => {
    const { exitCode, said } = await answering({ ...good(), Endpoint: ['http://127.0.0.1:9', s3.url] })
    expect(exitCode).toBe(0)
    expect(said).toContain('http://127.0.0.1:9 cannot be reached: nothing is listening there (ECONNREFUSED)')
  })

  test('what is no distribution id is asked for again', async () => {
    const { said } = await answering({ ...good(), Distribution: ['d1.cloudfront.net', 'EDFDVBD6EXAMPLE'] })
    expect(said).toContain('failure CLOUDFRONT_DISTRIBUTION_ID: "d1.cloudfront.net" is not the id')
    expect((await own())['CLOUDFRONT_DISTRIBUTION_ID']).toBe('EDFDVBD6EXAMPLE')
  })

  test('a dozen answers are not lost for one that does not work yet: asked, it is written', async () => {
    const { exitCode, stdout } = await answering({
      ...good(),
      Bucket: ['x1x', 'x2x', 'x3x'],
      'Not working yet: S3_BUCKET_NAME.': ['y'],
    })
    expect(exitCode).toBe(3)
    expect(stdout).toContain('S3_BUCKET_NAME did not pass its check')
    expect(await dotenv()).toMatchObject({ S3_BUCKET_NAME: 'x3x', CLOUDFRONT_DOMAIN: cdn.url })
  })

  test('three wrong answers to a question end it, and nothing is written', async () => {
    const { exitCode, stderr } = await answering({ ...good(), Bucket: ['x1x', 'x2x', 'x3x', 'music'] })
    expect(exitCode).toBe(1)
    expect(stderr).toMatch(/S3_BUCKET_NAME: .*[^.]; nothing was written/)
    await expect(stat(path.join(cwd, '.env'))).rejects.toThrow('ENOENT')
  })
})
