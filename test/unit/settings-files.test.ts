import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { loadConfig, requireBucket } from '../../src/config.ts'
import { isApplicationFile, refusedByApplication } from '../../src/core/settings-files.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let home: string
let dir: string

const put = (file: string, text: string): string => {
  const target = path.resolve(dir, file)
  mkdirSync(path.dirname(target), { recursive: true })
  writeFileSync(target, text)
  return target
}
const load = (env: Record<string, string> = {}, more: { envFile?: string; cwd?: string } = {}) =>
  loadConfig({ env: { HOME: home, ...env }, cwd: dir, ...more })

beforeEach(() => {
  home = temporaryFolder('home')
  dir = path.join(home, 'app')
  mkdirSync(dir)
})

const application = 'SECRET_KEY=x\nREDIS_URL=redis://x\nSPOTIFY_CLIENT_ID=x\n'

describe('which files are read', () => {
  test('autodj.env after .env, both before those of the user', () => {
    put('.env', `${application}S3_BUCKET_NAME=of-application\nAWS_REGION=eu-west-1\n`)
    put('autodj.env', 'S3_BUCKET_NAME=of-autodj\n')
    put('../.config/autodj/autodj.env', 'S3_BUCKET_NAME=of-user\nAWS_REGION=us-east-1\nAWS_PROFILE=mine\n')
    const { s3 } = load()
    expect(s3).toMatchObject({ bucket: 'of-autodj', region: 'eu-west-1', profile: 'mine' })
    const elsewhere = put('../xdg/autodj/autodj.env', 'AWS_PROFILE=other\n')
    expect(load({ XDG_CONFIG_HOME: path.dirname(path.dirname(elsewhere)) }).s3.profile).toBe('other')
  })

  test.each([
    ['.env', {}],
    ['autodj.env', {}],
    ['.env', { AUTODJ_SETTINGS: 'deploy/.env' }],
  ])('%s, named, brings the other one along, and no more', (name, env) => {
    put('.env', 'AWS_REGION=us-east-1\n')
    put('../.config/autodj/autodj.env', 'AWS_PROFILE=mine\n')
    put('deploy/.env', 'S3_BUCKET_NAME=of-application\n')
    put('deploy/autodj.env', 'S3_KEY_PREFIX=deployed/\n')
    const envFile = 'AUTODJ_SETTINGS' in env ? undefined : `deploy/${name}`
    const { s3 } = load(env, envFile === undefined ? {} : { envFile })
    expect(s3).toMatchObject({
      bucket: 'of-application',
      keyPrefix: 'deployed/',
      region: undefined,
      profile: undefined,
    })
  })

  test("a file of another name is the application's, and --settings wins over AUTODJ_SETTINGS", () => {
    put('prod.env', 'S3_BUCKET_NAME=production\n')
    put('test.env', 'S3_BUCKET_NAME=testing\n')
    expect(load({ AUTODJ_SETTINGS: 'prod.env' }, { envFile: 'test.env' }).s3.bucket).toBe('testing')
    expect(() => load({ AUTODJ_SETTINGS: 'gone.env' })).toThrow(
      /cannot read .*gone.env: no such file or directory/,
    )
  })

  test('a missing setting names where it was looked for', () => {
    put('.env', application)
    let cure = ''
    try {
      requireBucket(load())
    } catch (error) {
      cure = String((error as { cure?: string }).cure)
    }
    expect(cure).toContain(
      `${dir}/autodj.env (not there), ${dir}/.env, ${home}/.config/autodj/autodj.env (not there)`,
    )
    expect(cure).toContain('/etc/autodj/autodj.env')
  })
})

describe('paths', () => {
  test('are relative to the file that says them', () => {
    put('deploy/.env', 'AUDIO_STORAGE_PATH=./audio\nDATABASE_URL=pglite:db\n')
    put('deploy/autodj.env', 'AUTODJ_LOG_FILE=logs/autodj.log\n')
    const deployed = loadConfig({ env: {}, cwd: '/', envFile: path.join(dir, 'deploy/.env') })
    expect(deployed.audioFolder).toEqual({
      root: `${dir}/deploy/audio`,
      storagePath: './audio',
      applicationDir: `${dir}/deploy`,
    })
    expect(deployed.database.url).toBe(`pglite:${dir}/deploy/db`)
    expect(deployed.records?.logFile).toBe(`${dir}/deploy/logs/autodj.log`)
  })

  test('every setting that is a path: ~ is understood, and what is relative is so to the file that says it', () => {
    put('deep/autodj.env', 'AWS_CA_BUNDLE=ca.pem\nAUTODJ_LOG_FILE=~/autodj.log\nAUTODJ_METRICS=m.prom\n')
    const near = load({ AUTODJ_SETTINGS: 'deep/autodj.env' })
    expect(near.network.certificates).toEqual([
      { variable: 'AWS_CA_BUNDLE', path: path.join(dir, 'deep/ca.pem') },
    ])
    expect(near.records).toMatchObject({
      logFile: path.join(home, 'autodj.log'),
      metrics: path.join(dir, 'deep/m.prom'),
    })
    expect(load({ AWS_CA_BUNDLE: '~/ca.pem' }).network.certificates).toEqual([
      { variable: 'AWS_CA_BUNDLE', path: path.join(home, 'ca.pem') },
    ])
    expect(load({ FETCH_COMMAND: '~/bin/get {output} ~/x' }).fetchCommand).toEqual([
      path.join(home, 'bin/get'),
      '{output}',
      '~/x',
    ])
    for (const variable of ['AWS_CA_BUNDLE', 'FETCH_COMMAND', 'APPLICATION_DIR', 'AUTODJ_LOG_FILE'])
      expect(() => load({ [variable]: '~other/x {output}' })).toThrow(/~USER is not supported/)
  })

  test('~ is the home of whoever runs it, where the application does not take it literally', () => {
    put('autodj.env', 'AUDIO_ROOT=~/music\n')
    expect(load().audioRoot).toBe(path.join(home, 'music'))
    expect(() => load({ AUDIO_STORAGE_PATH: '~/music' })).toThrow(
      /the application takes it for a folder of that name/,
    )
    expect(() => load({ AUDIO_ROOT: '~other/music' })).toThrow(/~USER is not supported/)
  })

  test('the application works where its .env is; --audio-root is where the folder is here', () => {
    put('.env', `${application}AUDIO_STORAGE_PATH=/app/audio\n`)
    put('autodj.env', 'AUDIO_ROOT=/mnt/audio\nAPPLICATION_DIR=/srv/app\n')
    expect(load().audioFolder).toEqual({
      root: '/mnt/audio',
      storagePath: '/app/audio',
      applicationDir: '/srv/app',
    })
  })
})

describe('secrets in files of their own', () => {
  test('NAME_FILE', () => {
    const secret = put('secret', 's3cr3t\n')
    put('autodj.env', 'AWS_SECRET_ACCESS_KEY_FILE=secret\n')
    const access = { AWS_ACCESS_KEY_ID: 'AKIA' }
    expect(load(access).s3.credentials).toEqual({ accessKeyId: 'AKIA', secretAccessKey: 's3cr3t' })
    expect(load({ ...access, AWS_SECRET_ACCESS_KEY_FILE: secret }).s3.credentials?.secretAccessKey).toBe(
      's3cr3t',
    )
    expect(load({ ...access, AWS_SECRET_ACCESS_KEY: 'stronger' }).s3.credentials?.secretAccessKey).toBe(
      'stronger',
    )
    expect(() => load({ DATABASE_URL: 'pglite:x', DATABASE_URL_FILE: secret })).toThrow(/are both set/)
    expect(() => load({ DATABASE_URL_FILE: '/no/such/file' })).toThrow(
      /cannot be read from \/no\/such\/file .*no such file or directory/,
    )
    expect(() => load({ DATABASE_URL_FILE: secret })).not.toThrow(/s3cr3t/)
  })
})

describe('what the application could not use is refused', () => {
  test.each([
    ['https://d111111abcdef8.cloudfront.net', /must not have a scheme/],
    ['d111111abcdef8.cloudfront.net/', /must not have a slash/],
    ['d111111abcdef8.cloudfront.net/audio', /it has a path/],
  ])('CLOUDFRONT_DOMAIN=%s', (value, message) =>
    expect(() => load({ CLOUDFRONT_DOMAIN: value })).toThrow(message),
  )

  test.each(['a#b/', 'a?b/', '100%/', 'a+b/'])('S3_KEY_PREFIX=%s', value =>
    expect(() => load({ S3_KEY_PREFIX: value })).toThrow(/the application puts keys into URLs as they are/),
  )

  test('a stand-in of the CDN may say scheme and port', () =>
    expect(load({ CLOUDFRONT_DOMAIN: 'http://127.0.0.1:8080' }).cdn?.domain.origin).toBe(
      'http://127.0.0.1:8080',
    ))
})

test("an application's .env is known, and which of its lines it refuses", () => {
  expect(isApplicationFile(['SECRET_KEY'])).toBe(false)
  expect(isApplicationFile(['SECRET_KEY', 'REDIS_URL'])).toBe(true)
  expect(refusedByApplication(['SECRET_KEY', 'REDIS_URL', 'S3_ENDPOINT', 'LOG_LEVEL'])).toEqual([
    'S3_ENDPOINT',
  ])
  expect(refusedByApplication(['S3_ENDPOINT'])).toEqual([])
  put('.env', `${application}S3_KEY_PREFIX=x/\n`)
  expect(load().files.find(file => file.found)).toMatchObject({
    kind: 'application',
    refused: ['S3_KEY_PREFIX'],
  })
})

test.each([
  ['["http://localhost:3000", "https://dj.example"]', ['http://localhost:3000', 'https://dj.example']],
  ['http://localhost:3000, https://dj.example', ['http://localhost:3000', 'https://dj.example']],
])('CORS_ORIGINS=%s', (value, expected) =>
  expect(load({ CORS_ORIGINS: value }).corsOrigins).toEqual(expected),
)
