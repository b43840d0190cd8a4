import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'dotenv'
import { describe, expect, test } from 'vitest'
import { loadConfig, requireBucket, splitCommand } from '../../src/config.ts'
import { UsageError } from '../../src/errors.ts'
import { settings } from '../../src/settings.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const cwd = temporaryFolder('config')

function load(env: Record<string, string> = {}, overrides = {}) {
  return loadConfig({ env, cwd, overrides })
}

test('nothing set: the embedded database, ./audio, the credentials chain, no CDN', () => {
  expect(load()).toEqual({
    database: { url: `pglite:${cwd}/.autodj/db`, isDefault: true },
    s3: {
      bucket: undefined,
      region: undefined,
      endpoint: undefined,
      endpointFrom: undefined,
      servicesEndpoint: undefined,
      addressing: 'auto',
      requesterPays: false,
      keyPrefix: 'audio/',
      credentials: undefined,
      profile: undefined,
      profiles: undefined,
    },
    cdn: undefined,
    network: { proxies: {}, certificates: [] },
    audioRoot: path.join(cwd, 'audio'),
    audioFolder: { root: path.join(cwd, 'audio'), storagePath: './audio', applicationDir: cwd },
    maxAudioCacheBytes: undefined,
    fetchCommand: undefined,
    fetchUrl: undefined,
    corsOrigins: undefined,
    files: ['autodj.env', '.env', '/etc/autodj/autodj.env'].map(file => ({
      path: path.resolve(cwd, file),
      found: false,
      kind: path.basename(file) === '.env' ? 'application' : 'own',
      unknown: [],
      refused: [],
    })),
    given: {},
  })
})

test('flags win over the environment, the environment over .env', () => {
  const dir = temporaryFolder('config')
  writeFileSync(
    path.join(dir, '.env'),
    'S3_BUCKET_NAME=from-file\nAWS_REGION=eu-west-1\nS3_KEY_PREFIX=file\n',
  )
  const config = loadConfig({
    env: { S3_BUCKET_NAME: 'from-env', S3_KEY_PREFIX: 'env/' },
    cwd: dir,
    overrides: { S3_KEY_PREFIX: 'flag' },
  })
  expect(config.s3).toMatchObject({ bucket: 'from-env', region: 'eu-west-1', keyPrefix: 'flag/' })
  expect(config.files.filter(file => file.found)).toMatchObject([{ path: path.join(dir, '.env') }])
})

describe('keys or a profile: what was given in the stronger place; the keys where both were', () => {
  const keys = 'AWS_ACCESS_KEY_ID=AKIAFILE\nAWS_SECRET_ACCESS_KEY=hush\nAWS_SESSION_TOKEN=old\n'
  const inEnvironment = { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 'hush' }
  test.each([
    ['AWS_PROFILE=dj\n', {}, { profile: 'dj' }],
    [`${keys}AWS_PROFILE=dj\n`, {}, { credentials: { accessKeyId: 'AKIAFILE', sessionToken: 'old' } }],
    [keys, { AWS_PROFILE: 'dj' }, { credentials: undefined, profile: 'dj' }],
    ['AWS_PROFILE=dj\n', inEnvironment, { credentials: { accessKeyId: 'AKIAENV' }, profile: undefined }],
  ] as [string, Record<string, string>, object][])('%j with %j', (file, env, expected) => {
    const dir = temporaryFolder('config')
    writeFileSync(path.join(dir, '.env'), file)
    expect(loadConfig({ env, cwd: dir }).s3).toMatchObject(expected)
  })

  test('a session token of .env is not sent along with keys of the environment', () => {
    const dir = temporaryFolder('config')
    writeFileSync(path.join(dir, '.env'), keys)
    const { credentials } = loadConfig({ env: inEnvironment, cwd: dir }).s3
    expect(credentials).toEqual({ accessKeyId: 'AKIAENV', secretAccessKey: 'hush' })
  })
})

test('a file that --settings names and that is not there is told with that flag', () => {
  const thrown = (() => {
    try {
      return loadConfig({ env: {}, cwd, envFile: 'nowhere.env' })
    } catch (error) {
      return error
    }
  })()
  expect(thrown).toMatchObject({
    message: expect.stringMatching(/^cannot read .*nowhere\.env: no such file or directory$/),
    cure: expect.stringContaining('--settings'),
  })
})

test('the configuration is frozen to the bottom', () => {
  const config = load({ CLOUDFRONT_DOMAIN: 'd1.cloudfront.net' })
  expect(Object.isFrozen(config.cdn)).toBe(true)
})

describe('a wrong setting is named, with what is wrong and an example', () => {
  test.each([
    [{ DATABASE_URL: 'mysql://x' }, 'DATABASE_URL is neither a postgresql:// URL nor pglite:DIR'],
    [{ DATABASE_URL: 'pglite:' }, 'DATABASE_URL lacks a folder'],
    [{ S3_BUCKET_NAME: 's3://bucket' }, 'without s3://'],
    [{ S3_BUCKET_NAME: 'No' }, '"No" is not a bucket name'],
    [{ S3_BUCKET_NAME: 'arn:aws:s3:eu-west-1:1:accesspoint/music' }, 'alias of an access point'],
    [{ S3_ENDPOINT: 'localhost:9000' }, 'S3_ENDPOINT "localhost:9000" is not an http(s) URL'],
    [{ S3_ENDPOINT: 'http://u:p@h' }, 'S3_ENDPOINT must not contain credentials'],
    [{ S3_KEY_PREFIX: '/audio' }, 'S3_KEY_PREFIX must not start with /'],
    [{ S3_KEY_PREFIX: 'a/../b' }, 'S3_KEY_PREFIX must not contain'],
    [{ S3_KEY_PREFIX: 'quarantine' }, 'S3_KEY_PREFIX lies in quarantine/'],
    [{ AWS_ACCESS_KEY_ID: 'AKIA' }, 'AWS_SECRET_ACCESS_KEY is missing'],
    [{ AWS_SECRET_ACCESS_KEY: 'hush' }, 'AWS_ACCESS_KEY_ID is missing'],
    [{ AWS_REGION: 'Frankfurt!' }, 'AWS_REGION "Frankfurt!" is not a region'],
    [{ CLOUDFRONT_DOMAIN: 'https://d1.cloudfront.net/audio' }, 'is not a CDN domain: it has a path'],
    [
      { CLOUDFRONT_DOMAIN: 'd1.cloudfront.net', CLOUDFRONT_KEY_PAIR_ID: 'K1' },
      'CLOUDFRONT_PRIVATE_KEY_PATH is missing',
    ],
    [{ MAX_AUDIO_CACHE_GB: '50GB' }, 'MAX_AUDIO_CACHE_GB "50GB" is not a number of gigabytes'],
    [{ FETCH_COMMAND: 'get "{output}' }, 'FETCH_COMMAND has an unclosed quote'],
    [{ FETCH_COMMAND: 'get {query}' }, 'FETCH_COMMAND lacks {output}'],
  ] as [Record<string, string>, string][])('%j', (env, message) => {
    expect(() => load(env)).toThrow(UsageError)
    expect(() => load(env)).toThrow(message)
    expect(() => load(env)).toThrow('(example: ')
  })

  test('all of them at once, and a secret is never repeated', () => {
    const wrong = { S3_BUCKET_NAME: 'No', DATABASE_URL: 'mysql://root:hunter2@h/db', MAX_AUDIO_CACHE_GB: 'x' }
    expect(() => load(wrong)).toThrow(/DATABASE_URL.*S3_BUCKET_NAME.*MAX_AUDIO_CACHE_GB/)
    expect(() => load(wrong)).not.toThrow('hunter2')
  })

  test('a flag is named as the flag', () => {
    expect(() => load({}, { S3_BUCKET_NAME: 'No' })).toThrow('--bucket "No"')
  })
})

test('a bucket that is needed and not set says how to set it', () => {
  expect(() => requireBucket(load())).toThrow('S3_BUCKET_NAME is not set')
})

test('a CDN domain may name a stand-in on this machine by scheme and port', () => {
  expect(load({ CLOUDFRONT_DOMAIN: 'http://127.0.0.1:8080' }).cdn).toMatchObject({
    domain: { origin: 'http://127.0.0.1:8080', tls: false },
  })
})

test.each([
  [`get -o {output} 'two words' "a \\"b\\"" c\\ d`, ['get', '-o', '{output}', 'two words', 'a "b"', 'c d']],
  [`'' x`, ['', 'x']],
  [`'open`, undefined],
])('words of %j', (line, words) => expect(splitCommand(line)).toEqual(words))

test('.env.example explains every setting, and no other', () => {
  const text = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8')
  const named = [...text.matchAll(/^#?\s?([A-Z][A-Z0-9_]+)=/gm)].map(match => match[1])
  expect(named.sort()).toEqual(settings.map(one => one.variable).sort())
  expect(loadConfig({ env: parse(text), cwd }).s3.keyPrefix).toBe('audio/')
})

describe('the endpoint and the region in force', () => {
  const home = temporaryFolder('config-home')
  mkdirSync(path.join(home, '.aws'))
  writeFileSync(
    path.join(home, '.aws', 'config'),
    '[profile minio]\nregion = eu-south-1\nendpoint_url = https://minio.example:9000\n[default]\nregion = eu-west-1\n',
  )
  test.for([
    [{}, undefined, undefined, 'eu-west-1'],
    [
      { AWS_PROFILE: 'minio' },
      'https://minio.example:9000',
      'endpoint_url of the AWS profile minio',
      'eu-south-1',
    ],
    [
      { AWS_PROFILE: 'minio', AWS_REGION: 'us-east-2' },
      'https://minio.example:9000',
      'endpoint_url of the AWS profile minio',
      'us-east-2',
    ],
    [
      { AWS_PROFILE: 'minio', AWS_ENDPOINT_URL: 'http://all:1/' },
      'http://all:1',
      'AWS_ENDPOINT_URL',
      'eu-south-1',
    ],
    [
      { AWS_ENDPOINT_URL: 'http://all:1', AWS_ENDPOINT_URL_S3: 'http://s3:2/base/' },
      'http://s3:2/base',
      'AWS_ENDPOINT_URL_S3',
      'eu-west-1',
    ],
    [
      { AWS_ENDPOINT_URL_S3: 'http://s3:2', S3_ENDPOINT: 'http://own:3' },
      'http://own:3',
      'S3_ENDPOINT',
      'eu-west-1',
    ],
    [
      { AWS_PROFILE: 'minio', AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'true' },
      undefined,
      undefined,
      'eu-south-1',
    ],
  ] as const)('%j: %s', ([set, endpoint, endpointFrom, region]) => {
    expect(load({ HOME: home, ...set } as Record<string, string>).s3).toMatchObject({
      endpoint,
      endpointFrom,
      region,
    })
    // The same from a file.
    const dir = temporaryFolder('config')
    writeFileSync(
      path.join(dir, '.env'),
      Object.entries(set)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    )
    expect(loadConfig({ env: { HOME: home }, cwd: dir }).s3).toMatchObject({ endpoint, endpointFrom, region })
  })

  test('what named a wrong one is said', () => {
    expect(() => load({ AWS_ENDPOINT_URL_S3: 'minio:9000' })).toThrow(
      'AWS_ENDPOINT_URL_S3 "minio:9000" is not an http(s) URL',
    )
    expect(() => load({ S3_ADDRESSING: 'host' })).toThrow('S3_ADDRESSING "host" is not path, virtual or auto')
    expect(() => load({ S3_REQUEST_PAYER: 'me' })).toThrow('S3_REQUEST_PAYER "me" is not "requester"')
  })
})

test('proxies and certificates, from the environment and from .env', () => {
  const dir = temporaryFolder('config')
  writeFileSync(
    path.join(dir, '.env'),
    'HTTPS_PROXY=http://file:1\nNO_PROXY=minio\nAWS_CA_BUNDLE=ca.pem\nNODE_EXTRA_CA_CERTS=/etc/extra.pem\n',
  )
  expect(loadConfig({ env: {}, cwd: dir }).network).toEqual({
    proxies: { https: 'http://file:1', except: 'minio' },
    certificates: [
      { variable: 'AWS_CA_BUNDLE', path: path.join(dir, 'ca.pem') },
      { variable: 'NODE_EXTRA_CA_CERTS', path: '/etc/extra.pem' },
    ],
  })
  // Node.js itself has read those that the environment names.
  const env = { NODE_EXTRA_CA_CERTS: '/etc/extra.pem', https_proxy: 'http://env:2' }
  expect(loadConfig({ env, cwd, envFile: null }).network).toEqual({
    proxies: { https: 'http://env:2' },
    certificates: [],
  })
})
