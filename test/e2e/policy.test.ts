/**
 * The policy of each command against the calls that it really makes: a whole journey on the embedded S3 server, whose
 * log says what was asked for. Every call must be allowed, and every action of S3 must be used.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import http from 'node:http'
import path from 'node:path'
import { S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { writeSetting } from '../../src/bucket/s3-settings.ts'
import type { SettingsPlan } from '../../src/core/bucket/plan.ts'
import { objectKey } from '../../src/core/keys.ts'
import { type IamPolicy, iamPolicy } from '../../src/core/policy/iam-policy.ts'
import type { Database } from '../../src/db/database.ts'
import { recordUpload } from '../../src/db/ledger.ts'
import { migrateUp } from '../../src/db/migrate.ts'
import { copyDemoLibrary } from '../../src/demo/library.ts'
import type { RequestRecord } from '../../src/embedded/s3-server/call.ts'
import type { createS3Store } from '../../src/storage/s3.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { cli } from '../support/cli.ts'
import { pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { end, listening, portOf } from '../support/listening.ts'
import { type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const region = 'us-east-1'
const credentials = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' }

/** A journey of twenty commands, each of which opens the embedded database; a slow machine may take its time. ms */
const timeout = 300_000

const MiB = 1024 ** 2
/** So many mebibytes that pass for a WAV file. */
const wav = (mebibytes: number) =>
  Buffer.concat([Buffer.from('RIFF\x10\x00\xc0\x00WAVEfmt ', 'latin1'), randomBytes(mebibytes * MiB)])

interface Call {
  action: string
  /** ARN; undefined where the log does not say which objects */
  resource: string | undefined
}

/** What AWS asks for each request: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html */
function callsOf({ operation, bucket, key, query, headers, status }: RequestRecord): Call[] {
  const ofBucket = `arn:aws:s3:::${bucket}`
  const ofObject = `${ofBucket}/${key}`
  const version = query['versionId'] === undefined ? '' : 'Version'
  const onBucket: Record<string, string> = {
    HeadBucket: 's3:ListBucket',
    ListObjectsV2: 's3:ListBucket',
    ListObjectVersions: 's3:ListBucketVersions',
    ListMultipartUploads: 's3:ListBucketMultipartUploads',
    GetPublicAccessBlock: 's3:GetBucketPublicAccessBlock',
    PutPublicAccessBlock: 's3:PutBucketPublicAccessBlock',
    DeletePublicAccessBlock: 's3:PutBucketPublicAccessBlock',
    GetBucketOwnershipControls: 's3:GetBucketOwnershipControls',
    PutBucketOwnershipControls: 's3:PutBucketOwnershipControls',
    DeleteBucketOwnershipControls: 's3:PutBucketOwnershipControls',
    GetBucketEncryption: 's3:GetEncryptionConfiguration',
    PutBucketEncryption: 's3:PutEncryptionConfiguration',
    GetBucketVersioning: 's3:GetBucketVersioning',
    PutBucketVersioning: 's3:PutBucketVersioning',
    GetBucketCors: 's3:GetBucketCORS',
    PutBucketCors: 's3:PutBucketCORS',
    DeleteBucketCors: 's3:PutBucketCORS',
    GetBucketLifecycleConfiguration: 's3:GetLifecycleConfiguration',
    PutBucketLifecycleConfiguration: 's3:PutLifecycleConfiguration',
    DeleteBucketLifecycle: 's3:PutLifecycleConfiguration',
    GetBucketLogging: 's3:GetBucketLogging',
    PutBucketLogging: 's3:PutBucketLogging',
    GetBucketPolicy: 's3:GetBucketPolicy',
    PutBucketPolicy: 's3:PutBucketPolicy',
    DeleteBucketPolicy: 's3:DeleteBucketPolicy',
  }
  const onObject: Record<string, string> = {
    GetObject: `s3:GetObject${version}`,
    HeadObject: `s3:GetObject${version}`,
    GetObjectAcl: `s3:GetObject${version}Acl`,
    PutObject: 's3:PutObject',
    CreateMultipartUpload: 's3:PutObject',
    UploadPart: 's3:PutObject',
    CompleteMultipartUpload: 's3:PutObject',
    CopyObject: 's3:PutObject',
    UploadPartCopy: 's3:PutObject',
    DeleteObject: `s3:DeleteObject${version}`,
    AbortMultipartUpload: 's3:AbortMultipartUpload',
    ListParts: 's3:ListMultipartUploadParts',
  }
  const calls: Call[] = []
  const source = headers['x-amz-copy-source']
  if (typeof source === 'string') {
    const from = decodeURIComponent(source.replace(/^\//, '').replace(/\?.*/, ''))
    calls.push({ action: 's3:GetObject', resource: `arn:aws:s3:::${from}` })
  }
  if (onBucket[operation] !== undefined) calls.push({ action: onBucket[operation]!, resource: ofBucket })
  else if (onObject[operation] !== undefined) calls.push({ action: onObject[operation]!, resource: ofObject })
  else if (operation === 'DeleteObjects') {
    // The keys are in the body. Who names versions does so in the versioned bucket.
    calls.push({ action: `s3:DeleteObject${bucket === 'versioned' ? 'Version' : ''}`, resource: undefined })
  } else throw new Error(`which permission does ${operation} need?`)
  // Without it S3 answers 403 for an object that is not there, and its absence could not be told.
  if (status === 404 && /^(Get|Head)Object$/.test(operation)) {
    calls.push({ action: 's3:ListBucket', resource: ofBucket })
  }
  return calls
}

/** IAM's own matching: `*` any characters. Allowed by one statement is allowed. */
function allows({ Statement }: IamPolicy, { action, resource }: Call): boolean {
  return Statement.some(
    ({ Action, Resource }) =>
      Action.includes(action) &&
      (resource === undefined ||
        Resource.some(pattern =>
          new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`, 's').test(
            resource,
          ),
        )),
  )
}

let folder: string
let s3: TestServer
let cdn: Cdn
let place: TestDatabase
let env: Record<string, string>
/** what each command asked for, over all of its runs */
const asked = new Map<string, Call[]>()

async function run(command: string, argv: string[] = [], more: Record<string, string> = {}) {
  s3.requests.length = 0
  const result = await cli([...command.split(' '), ...argv], { env: { ...env, ...more }, cwd: folder })
  const before = asked.get(command) ?? []
  // Requests without a signature are those of anyone: whether the bucket is public is what they ask.
  const signed = s3.requests.filter(({ headers }) => headers.authorization?.includes(credentials.accessKeyId))
  asked.set(command, [...before, ...signed.flatMap(callsOf)])
  return result
}

beforeAll(async () => {
  folder = temporaryFolder('policy')
  s3 = await testServer({
    region,
    // The CDN has a key of its own, so that what it asks for is told from what the command asks for.
    credentials: [credentials, { accessKeyId: 'CDN', secretAccessKey: 'cdn' }],
    buckets: ['music', { name: 'versioned', versioning: 'Enabled' }],
  })
  cdn = await startCdn({
    origin: {
      url: s3.url,
      region,
      bucket: 'music',
      credentials: { accessKeyId: 'CDN', secretAccessKey: 'cdn' },
    },
  })
  place = await pgliteTestDatabase()
  env = {
    DATABASE_URL: place.url,
    ...s3.settings,
    CLOUDFRONT_DOMAIN: cdn.url,
    AUDIO_STORAGE_PATH: path.join(folder, 'audio'),
  }
})
afterAll(async () => {
  await cdn?.close()
  await s3?.close()
  await place?.drop()
})

test('the journey, every command of it', { timeout }, async () => {
  await mkdir(env['AUDIO_STORAGE_PATH']!)
  await copyDemoLibrary(env['AUDIO_STORAGE_PATH']!)
  const store = s3.open()

  await run('init', ['--yes', '--timeout', '10m'])
  await run('doctor', ['--timeout', '10m'])
  await run('doctor', ['--timeout', '10m'], { S3_BUCKET_NAME: 'versioned', CLOUDFRONT_DOMAIN: '' })
  await run('migrate')
  await run('import')

  // A file in parts, refused once; and one that a run began which was killed.
  await writeFile(path.join(env['AUDIO_STORAGE_PATH']!, 'Large.wav'), wav(12))
  await copyFile(
    path.join(env['AUDIO_STORAGE_PATH']!, 'Large.wav'),
    path.join(env['AUDIO_STORAGE_PATH']!, 'Begun.wav'),
  )
  const database = await place.open()
  for (const title of ['Large', 'Begun']) {
    await database.knex('tracks').insert({
      id: randomUUID(),
      spotify_id: title,
      title,
      artist: 'a',
      file_path: `${title}.wav`,
      file_source: 'LOCAL',
    })
  }
  await leaveUpload(database, { file: 'Begun.wav', artist: 'a', title: 'Begun', partSize: 5 * MiB })
  await database.close()
  const parts = ['--multipart-threshold', '5M', '--part-size', '5M', '--max-outage', '1s']
  s3.faults.add({
    match: { operation: 'UploadPart' },
    after: 1,
    fault: { status: 403, code: 'AccessDenied' },
  })
  await run('upload-local', parts)
  s3.faults.clear()
  await run('upload-local', [...parts, '--retry-failed'])

  await run('verify', ['--bytes', '100'])
  const { objects } = await listing(store)
  expect(objects.length).toBeGreaterThan(10)
  await store.delete([{ key: objects[0]! }])
  for (const key of ['audio/orphan.mp3', 'audio/gone before apply.mp3']) {
    // With our mark: what has none is not ours to remove.
    const metadata = { 'track-id': randomUUID() }
    await store.put(key, randomBytes(100), {
      headers: { contentType: 'audio/mpeg', metadata },
      checksums: {},
    })
  }
  cdn.invalidate()
  await run('verify')

  await run('reconcile', ['--plan', 'repair.plan', '--min-age', '0s', '--max-delete', '100%'])
  await store.delete([{ key: 'audio/gone before apply.mp3' }])
  await run('apply', ['repair.plan', '--max-delete', '100%'])
  await run('undo', ['repair.plan'])

  await store.createUpload('audio/abandoned.mp3', { headers: { contentType: 'audio/mpeg' } })
  await store.put(`quarantine/${randomUUID()}/audio/x.mp3`, randomBytes(10), {
    headers: { contentType: 'audio/mpeg' },
    checksums: {},
  })
  await run('cleanup', [
    '--apply',
    '--older-than',
    '0s',
    '--uploads-older-than',
    '0s',
    '--quarantine-for',
    '0s',
    '--force',
  ])
  await run('restore', ['--to', path.join(folder, 'restored')])

  // A versioned bucket, where removing makes delete markers and taking it back takes them away.
  const versioned = s3.open('versioned')
  await versioned.put('audio/orphan.mp3', randomBytes(100), {
    headers: { contentType: 'audio/mpeg', metadata: { 'track-id': randomUUID() } },
    checksums: {},
  })
  versioned.close()
  const there = { S3_BUCKET_NAME: 'versioned', CLOUDFRONT_DOMAIN: '' }
  const anyhow = ['--min-age', '0s', '--max-delete', '100%', '--force']
  await run('reconcile', ['--plan', 'versioned.plan', ...anyhow], there)
  await run('apply', ['versioned.plan', '--max-delete', '100%', '--force'], there)
  await run('undo', ['versioned.plan'], there)

  await run('bucket check', ['--origin', 'https://a.example'])
  await run('bucket plan', ['--origin', 'https://a.example'])
  const client = new S3Client({ endpoint: s3.url, region, forcePathStyle: true, credentials })
  await writeSetting(client, 'music', 'public-access-block', null)
  await writeSetting(client, 'music', 'object-ownership', null)
  await writeSetting(client, 'music', 'encryption', {
    Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' } }],
  })
  client.destroy()
  await run('bucket apply', [
    '--origin',
    'https://a.example',
    '--versioning',
    '--log-bucket',
    'music',
    '--yes',
  ])
  const statement = { Effect: 'Deny', Principal: '*', Action: 's3:*', Resource: 'arn:aws:s3:::music/none' }
  const plan: SettingsPlan = {
    type: 'autodj-settings-plan',
    schema: 1,
    bucket: 'music',
    distribution: null,
    createdAt: new Date().toISOString(),
    changes: [
      {
        target: 'bucket',
        setting: 'bucket-policy',
        was: null,
        becomes: { Version: '2012-10-17', Statement: [statement] },
        why: 'as the distribution would have it',
      },
    ],
  }
  await writeFile(path.join(folder, 'policy.json'), JSON.stringify(plan))
  await run('bucket apply', ['policy.json', '--undo-file', 'undo.json'])
  await run('bucket apply', ['undo.json'])
  store.close()
})

/** What a run leaves that is killed while it uploads this file in parts: an upload at the server, and in the ledger. */
async function leaveUpload(
  { knex }: Database,
  { file, artist, title, partSize }: { file: string; artist: string; title: string; partSize: number },
): Promise<void> {
  const whole = path.join(env['AUDIO_STORAGE_PATH']!, file)
  const { ino, mtimeNs, size } = await stat(whole, { bigint: true })
  const sha256 = createHash('sha256')
    .update(await readFile(whole))
    .digest('hex')
  const key = objectKey({ prefix: 'audio/', artist, title, sha256, extension: 'wav' })
  const store = s3.open()
  const uploadId = await store.createUpload(key, { headers: { contentType: 'audio/wav' } })
  store.close()
  await recordUpload(knex, {
    bucket: 'music',
    key,
    uploadId,
    path: file,
    inode: ino,
    mtimeNs,
    size: Number(size),
    sha256,
    partSize,
    headers: null,
    runId: null,
  })
}

test('tracks whose audio is analysed, found, or downloaded', { timeout }, async () => {
  const music = await readFile(new URL('../../assets/demo/01-first-light.mp3', import.meta.url))
  const store = s3.open()
  const headers = { headers: { contentType: 'audio/mpeg' }, checksums: {} }
  await store.put('elsewhere/old place.mp3', music, headers)
  // What a run of fetch that was killed has left.
  const left = `audio/.incoming/${randomUUID()}`
  await store.put(`${left}/${randomUUID()}`, randomBytes(10), headers)
  await store.createUpload(`${left}/${randomUUID()}`, { headers: { contentType: 'audio/mpeg' } })
  store.close()
  const row = (title: string, file_source: string, s3_object_key: string | null) => ({
    id: randomUUID(),
    spotify_id: title,
    title,
    artist: 'New',
    file_source,
    s3_object_key,
  })
  const there = row('there', 'S3', 'elsewhere/old place.mp3')
  const gone = row('gone', 'S3', 'audio/gone.mp3')
  const elsewhere = row('elsewhere', 'UNAVAILABLE', 'elsewhere/old place.mp3')
  const download = row('download', 'UNAVAILABLE', null)
  const inParts = row('in parts', 'UNAVAILABLE', null)
  await writeFile(path.join(env['AUDIO_STORAGE_PATH']!, 'New - in parts.wav'), wav(17))
  const database = await place.open()
  await migrateUp(database)
  await database.knex('tracks').insert([there, gone, elsewhere, download, inParts])
  const begun = { file: 'New - in parts.wav', artist: 'New', title: 'in parts', partSize: 8 * MiB }
  await leaveUpload(database, begun)
  await database.close()
  const only = (...rows: { id: string }[]) => rows.flatMap(({ id }) => ['--track', id])

  const analyzed = await run('analyze', ['--source', 's3', ...only(there, gone)])
  expect(analyzed.exitCode).toBe(3) // the one that is gone

  const server = await listening(
    http.createServer((_, response) => void response.writeHead(200, { etag: '"1"' }).end(music)),
  )
  const port = portOf(server)
  try {
    const url = `http://127.0.0.1:${port}/{spotify_id}.mp3`
    const fetched = await run('fetch', ['--url', url, ...only(elsewhere, download, inParts)])
    expect(fetched.exitCode).toBe(0)
  } finally {
    end(server)
  }
})

test('the same from the queue', { timeout }, async () => {
  const left = randomUUID()
  const store = s3.open()
  const headers = { headers: { contentType: 'audio/mpeg' }, checksums: {} }
  await store.put(`audio/.incoming/${left}/${left}`, randomBytes(10), headers)
  await store.createUpload(`audio/.incoming/${left}/${left}`, { headers: { contentType: 'audio/mpeg' } })
  store.close()
  await writeFile(path.join(env['AUDIO_STORAGE_PATH']!, 'Queued.wav'), wav(17))
  await writeFile(path.join(env['AUDIO_STORAGE_PATH']!, 'New - queued too.wav'), wav(1))
  const row = (title: string, file_path: string | null) => ({
    id: randomUUID(),
    spotify_id: title,
    title,
    artist: 'New',
    file_path,
    file_source: file_path === null ? 'UNAVAILABLE' : 'LOCAL',
  })
  const database = await place.open()
  const [local, absent] = [row('Queued', 'Queued.wav'), row('queued too', null)]
  await database.knex('tracks').insert([local, absent])
  await leaveUpload(database, { file: 'Queued.wav', artist: 'New', title: 'Queued', partSize: 8 * MiB })
  const fetched = await database.knex('tracks').where({ title: 'download' }).first('id')
  await database.close()
  await writeFile(path.join(folder, 'queued.txt'), 'Queued.wav\n')
  for (const [command, argv] of [
    ['upload-local', ['--files-from', 'queued.txt']],
    ['fetch', ['--track', absent.id]],
    ['analyze', ['--source', 's3', '--track', fetched.id]],
  ] as const) {
    const queued = await run(command, [...argv, '--enqueue', '--json'])
    expect(queued.messages, command).toContainEqual(expect.objectContaining({ queued: 1 }))
  }
  expect(await run('worker', ['--until-empty'])).toMatchObject({ exitCode: 0 })
  expect((await run('status', ['--queues'])).exitCode).toBe(0)
})

async function listing(store: ReturnType<typeof createS3Store>): Promise<{ objects: string[] }> {
  const objects: string[] = []
  for await (const page of store.list()) objects.push(...page.map(({ key }) => key))
  return { objects }
}

test('every call is allowed', () => {
  for (const [command, calls] of asked) {
    const { policy } = iamPolicy(command, { bucket: 'music', keyPrefix: 'audio/' })
    const versioned = iamPolicy(command, { bucket: 'versioned', keyPrefix: 'audio/' }).policy
    const denied = calls.filter(call => !allows(policy, call) && !allows(versioned, call))
    expect({ command, denied }).toEqual({ command, denied: [] })
  }
})

test('no action is too many', () => {
  const unused: Record<string, string[]> = {}
  for (const [command, calls] of asked) {
    const used = new Set(calls.map(({ action }) => action))
    const actions = iamPolicy(command, { bucket: 'music', keyPrefix: 'audio/' })
      .policy.Statement.flatMap(({ Action }) => Action)
      .filter(action => action.startsWith('s3:'))
    const more = actions.filter(action => !used.has(action))
    if (more.length > 0) unused[command] = more
  }
  expect(unused).toEqual({})
})
