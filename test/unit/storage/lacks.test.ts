/** What the S3 store does on servers that know less than S3: nothing is lost, nothing is claimed, and it is said. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createS3Store } from '../../../src/storage/s3.ts'
import { isAws } from '../../../src/storage/s3-connection.ts'
import type { ObjectStore, StoreError } from '../../../src/storage/store.ts'
import type { S3Server } from '../../support/s3-server/server.ts'
import { accessKey, testServer } from '../../support/s3-server.ts'
import { crc32Text } from '../../support/sums.ts'

const MiB = 1024 * 1024
const headers = { contentType: 'audio/mpeg', metadata: { sha256: 'ab' } }
const crcOf = (bytes: Uint8Array) => crc32Text(bytes)

let server: S3Server
let store: ObjectStore
let told: string[]

beforeEach(async () => {
  server = await testServer({ buckets: ['music'] })
  told = []
  store = createS3Store({
    bucket: 'music',
    endpoint: server.url,
    credentials: { ...accessKey },
    onLack: text => told.push(text),
  })
})
afterEach(async () => {
  store.close()
  await server.close()
})

const put = (key: string, text: string, ifNoneMatch = true) => {
  const body = Buffer.from(text)
  return store.put(key, body, { headers, checksums: { crc32: crcOf(body) }, ifNoneMatch })
}

async function textAt(key: string): Promise<string | undefined> {
  const content = await store.get(key)
  if (content === undefined) return undefined
  const chunks = await Array.fromAsync(content.body)
  return Buffer.concat(chunks).toString()
}

const refusal = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(
    () => expect.unreachable('should have been refused'),
    error => error,
  )

const asked = (operation: string) => server.requests.filter(request => request.operation === operation)

test('a listing of parts that does not say that it is whole is one', async () => {
  server.faults.add({ match: { operation: 'ListParts' }, fault: { withhold: ['IsTruncated'] } })
  const uploadId = await store.createUpload('a', { headers })
  const part = randomBytes(5 * MiB)
  await store.uploadPart('a', uploadId, 1, part, { crc32: crcOf(part) })
  expect(await store.listParts('a', uploadId)).toMatchObject([{ partNumber: 1, size: part.length }])
  expect(told).toEqual([])
})

test('byte ranges that are ignored are said, and not asked for again and again', async () => {
  await put('a', 'first and more', false)
  server.faults.add({ match: { operation: 'GetObject' }, fault: { ignore: ['range'] } })
  expect((await refusal(store.getInto('a', Buffer.alloc(4), { start: 6 }))).kind).toBe('unsupported')
  expect((await refusal(store.get('a', { range: { start: 6, end: 9 } }))).kind).toBe('unsupported')
})

describe('the parts of an upload', () => {
  test('501: none are known, an upload is sent anew and aborted on the word of the store', async () => {
    const fault = { status: 501, code: 'NotImplemented' }
    server.faults.add({ match: { operation: 'ListParts' }, fault })
    const uploadId = await store.createUpload('a', { headers })
    const part = randomBytes(5 * MiB)
    await store.uploadPart('a', uploadId, 1, part, { crc32: crcOf(part) })
    expect(await store.listParts('a', uploadId)).toBeUndefined()
    expect(await store.listParts('a', uploadId)).toBeUndefined()
    expect(asked('ListParts').length).toBeLessThanOrEqual(4)
    expect(told).toEqual([expect.stringContaining('cannot list the parts of an upload')])
    await store.abortUpload('a', uploadId)
    expect((await Array.fromAsync(store.listUploads())).flat()).toEqual([])
  })
})

describe('If-None-Match', () => {
  test('is found to be kept with one put more, once; from then on nothing is looked at', async () => {
    await put('a', 'first')
    expect(asked('PutObject').map(({ status }) => status)).toEqual([200, 412])
    server.requests.length = 0
    await put('b', 'second')
    expect(server.requests.map(({ operation }) => operation)).toEqual(['PutObject'])
    expect((await refusal(put('a', 'third'))).kind).toBe('exists')
    expect(await textAt('a')).toBe('first')
    expect(told).toEqual([])
  })

  test('a 412 is an answer too', async () => {
    await put('a', 'first', false)
    expect((await refusal(put('a', 'second'))).kind).toBe('exists')
    expect(await textAt('a')).toBe('first')
  })

  test.for([
    ['ignored', { ignore: ['if-none-match'] }],
    ['refused with 501', { status: 501, code: 'NotImplemented' }],
    [
      'refused by name',
      { status: 400, code: 'InvalidArgument', message: "Unsupported header 'if-none-match'" },
    ],
  ] as const)('%s: nothing is overwritten, and it is said once', async ([, fault]) => {
    server.faults.add({ match: { operation: 'PutObject', header: 'if-none-match' }, fault })
    await put('a', 'first')
    await put('b', 'second')
    expect((await refusal(put('a', 'third'))).kind).toBe('exists')
    expect(await textAt('a')).toBe('first')
    expect(await textAt('b')).toBe('second')
    expect(told).toEqual([expect.stringContaining('If-None-Match')])
  })

  test('ignored when an upload in parts is completed: a look comes right before', async () => {
    server.faults.add({
      match: { operation: 'CompleteMultipartUpload' },
      fault: { ignore: ['if-none-match'] },
    })
    const uploadId = await store.createUpload('a', { headers })
    const body = Buffer.from('from parts')
    const part = await store.uploadPart('a', uploadId, 1, body, { crc32: crcOf(body) })
    await put('a', 'another recording', false)
    const options = { checksums: { crc32: crcOf(body) }, size: body.length, ifNoneMatch: true }
    expect((await refusal(store.completeUpload('a', uploadId, [part], options))).kind).toBe('exists')
    expect(await textAt('a')).toBe('another recording')
  })
})

describe('If-Match when deleting', () => {
  test('is found to be kept with one delete more, once', async () => {
    const { etag: a } = await put('a', 'a', false)
    const { etag: b } = await put('b', 'b', false)
    expect(await store.delete([{ key: 'a', ifMatch: a }])).toEqual([{ key: 'a' }])
    expect(asked('DeleteObject').map(({ status }) => status)).toEqual([412, 204])
    await store.delete([{ key: 'b', ifMatch: b }])
    expect(asked('DeleteObject').map(({ status }) => status)).toEqual([412, 204, 204])
    expect([await store.head('a'), await store.head('b'), told]).toEqual([undefined, undefined, []])
  })

  test.for([
    ['ignored', { ignore: ['if-match'] }],
    ['refused with 501', { status: 501, code: 'NotImplemented' }],
  ] as const)('%s: an object that was replaced stays', async ([, fault]) => {
    const { etag: stale } = await put('a', 'first', false)
    await put('a', 'second', false)
    const { etag } = await put('b', 'b', false)
    server.faults.add({ match: { operation: 'DeleteObject', header: 'if-match' }, fault })
    for (let round = 0; round < 2; round++) {
      const [kept] = await store.delete([{ key: 'a', ifMatch: stale }])
      expect(kept?.error?.kind).toBe('precondition')
      const [gone] = await store.delete([{ key: 'b', ifMatch: etag }])
      expect(gone?.error).toBeUndefined()
    }
    expect(await textAt('a')).toBe('second')
    expect(await store.head('b')).toBeUndefined()
    expect(told).toEqual([expect.stringContaining('If-Match')])
  })
})

describe('answers that tell less', () => {
  test('a copy without an ETag is looked at', async () => {
    const { etag } = await put('a', 'first', false)
    server.faults.add({ match: { operation: 'CopyObject' }, fault: { withhold: ['ETag'] } })
    expect((await store.copy('a', 'b')).etag).toBe(etag)
  })

  test('a completed upload without an ETag is looked at', async () => {
    server.faults.add({ match: { operation: 'CompleteMultipartUpload' }, fault: { withhold: ['ETag'] } })
    const uploadId = await store.createUpload('a', { headers })
    const body = Buffer.from('from parts')
    const part = await store.uploadPart('a', uploadId, 1, body, { crc32: crcOf(body) })
    const options = { checksums: { crc32: crcOf(body) }, size: body.length, ifNoneMatch: true }
    const { etag } = await store.completeUpload('a', uploadId, [part], options)
    expect(etag).toBe((await store.head('a'))?.etag)
  })

  test('keys are listed as they are where the answer does not say that they are encoded', async () => {
    const keys = ['audio/100%25.mp3', 'audio/a b.mp3', 'audio/a+b.mp3', 'audio/é.mp3']
    for (const key of keys) await put(key, key, false)
    for (const key of keys) await store.createUpload(key, { headers })
    server.faults.add({
      match: { operation: ['ListObjectsV2', 'ListMultipartUploads', 'ListObjectVersions'] },
      fault: { withhold: ['EncodingType'] },
    })
    for (let round = 0; round < 2; round++) {
      const listed = (await Array.fromAsync(store.list({ prefix: 'audio/' }))).flat()
      expect(listed.map(({ key }) => key)).toEqual(keys)
      const uploads = (await Array.fromAsync(store.listUploads({ prefix: 'audio/' }))).flat()
      expect(uploads.map(({ key }) => key)).toEqual(keys)
      const versions = (await Array.fromAsync(store.listVersions({ prefix: 'audio/' }))).flat()
      expect(versions.map(({ key }) => key)).toEqual(keys)
    }
    // Asked twice only until it is known.
    expect(asked('ListMultipartUploads')).toHaveLength(3)
  })

  test.for([
    [404, 'NoSuchKey'],
    [405, 'MethodNotAllowed'],
    [501, 'NotImplemented'],
  ] as const)('%i to a listing of uploads: none are known', async ([status, code]) => {
    server.faults.add({ match: { operation: 'ListMultipartUploads' }, fault: { status, code } })
    expect(await Array.fromAsync(store.listUploads())).toEqual([])
    expect(told).toEqual([expect.stringContaining('cannot list uploads')])
  })

  test('a bucket that is not there is still said', async () => {
    server.faults.add({
      match: { operation: 'ListMultipartUploads' },
      fault: { status: 404, code: 'NoSuchBucket' },
    })
    expect((await refusal(Array.fromAsync(store.listUploads()))).kind).toBe('no-bucket')
  })

  test('a store without versioning keeps none', async () => {
    server.faults.add({
      match: { operation: 'GetBucketVersioning' },
      fault: { status: 501, code: 'NotImplemented' },
    })
    expect(await store.versioning()).toBe('Off')
  })
})

describe('requests that are not known', () => {
  test('deleting many: one by one, with the outcome of each', async () => {
    for (const key of ['a', 'b', 'c']) await put(key, key, false)
    server.faults.add({
      match: { operation: 'DeleteObjects' },
      fault: {
        status: 400,
        code: 'InvalidArgument',
        message: 'POST object expects Content-Type multipart/form-data',
      },
    })
    expect(await store.delete([{ key: 'a' }, { key: 'gone' }])).toEqual([{ key: 'a' }, { key: 'gone' }])
    await store.delete([{ key: 'b' }])
    expect((await Array.fromAsync(store.list())).flat().map(({ key }) => key)).toEqual(['c'])
    expect(asked('DeleteObjects')).toHaveLength(1)
    expect(told).toEqual([expect.stringContaining('one by one')])
  })

  test('copying: through this machine, headers, conditions and all', async () => {
    const { etag } = await put('a', 'first', false)
    server.faults.add({ match: { operation: 'CopyObject' }, fault: { status: 501, code: 'NotImplemented' } })
    await store.copy('a', 'b', { ifMatch: etag, ifNoneMatch: true })
    expect(await textAt('b')).toBe('first')
    expect(await store.head('b')).toMatchObject({ contentType: 'audio/mpeg', metadata: { sha256: 'ab' } })
    await put('c', 'other', false)
    expect((await refusal(store.copy('a', 'c', { ifNoneMatch: true }))).kind).toBe('exists')
    expect((await refusal(store.copy('a', 'd', { ifMatch: 'stale' }))).kind).toBe('precondition')
    expect(asked('CopyObject')).toHaveLength(1)
    expect(told).toEqual([expect.stringContaining('through this machine')])
  })

  test('checksum headers refused: sent without', async () => {
    server.faults.add({
      match: { operation: 'PutObject' },
      times: 1,
      fault: { status: 400, code: 'InvalidArgument', message: "Unsupported header 'x-amz-checksum-crc32'" },
    })
    await put('a', 'first')
    await put('b', 'second')
    expect(await textAt('b')).toBe('second')
    expect(asked('PutObject').filter(({ headers }) => headers['x-amz-checksum-crc32'])).toHaveLength(1)
    expect(told).toEqual([expect.stringContaining('refuses checksum headers')])
  })

  test('the checksum of a whole refused where its parts make it up: completed without', async () => {
    server.faults.add({
      match: { operation: 'CompleteMultipartUpload', header: 'x-amz-checksum-crc32' },
      fault: {
        status: 400,
        code: 'BadRequest',
        message: 'Value for x-amz-checksum-crc32 header is invalid.',
      },
    })
    const uploadId = await store.createUpload('a', { headers })
    const body = Buffer.from('from parts')
    const part = await store.uploadPart('a', uploadId, 1, body, { crc32: crcOf(body) })
    const options = { checksums: { crc32: crcOf(body) }, size: body.length, ifNoneMatch: true }
    await store.completeUpload('a', uploadId, [part], options)
    expect(await textAt('a')).toBe('from parts')
    expect(told).toEqual([expect.stringContaining('of an object uploaded in parts')])
  })

  test('the checksum of a whole that its parts do not make up is never sent without', async () => {
    const uploadId = await store.createUpload('a', { headers })
    const body = Buffer.from('from parts')
    const part = await store.uploadPart('a', uploadId, 1, body, { crc32: crcOf(body) })
    const options = { checksums: { crc32: crcOf(Buffer.from('other')) }, size: body.length }
    expect((await refusal(store.completeUpload('a', uploadId, [part], options))).kind).toBe('bad-digest')
    expect(asked('CompleteMultipartUpload')).toEqual([])
    expect(await store.head('a')).toBeUndefined()
  })
})

describe('streams', () => {
  async function* pieces(body: Buffer) {
    for (let at = 0; at < body.length; at += 300_007) yield body.subarray(at, at + 300_007)
  }

  test('a part that meets a passing failure is sent again', async () => {
    server.faults.add({
      match: { operation: 'UploadPart' },
      times: 2,
      fault: { status: 503, code: 'SlowDown' },
    })
    const body = randomBytes(9 * MiB)
    const { size } = await store.putStream('a', pieces(body), { headers })
    expect(size).toBe(body.length)
    expect((await store.head('a'))?.checksums.crc32).toBe(crcOf(body))
  })

  test('an upload that fails is aborted until the store has none', async () => {
    server.faults.add({
      match: { operation: 'UploadPart' },
      after: 1,
      fault: { status: 403, code: 'AccessDenied' },
    })
    // Answered, and not done: only the list of parts tells.
    server.faults.add({
      match: { operation: 'AbortMultipartUpload' },
      times: 2,
      fault: { status: 404, code: 'NoSuchUpload' },
    })
    const error = await refusal(store.putStream('a', pieces(randomBytes(20 * MiB)), { headers }))
    expect(error.kind).toBe('denied')
    expect(asked('AbortMultipartUpload')).toHaveLength(3)
    expect((await Array.fromAsync(store.listUploads())).flat()).toEqual([])
    expect(await store.head('a')).toBeUndefined()
  })

  test('a source that fails leaves nothing and is let go of', async () => {
    let released = false
    async function* broken() {
      try {
        for (;;) {
          yield randomBytes(MiB)
          if (asked('UploadPart').length > 0) throw new Error('disk on fire')
        }
      } finally {
        released = true
      }
    }
    await expect(store.putStream('a', broken(), { headers })).rejects.toThrow('disk on fire')
    expect(released).toBe(true)
    expect((await Array.fromAsync(store.listUploads())).flat()).toEqual([])
  })
})

test('what is AWS itself', () => {
  expect(
    [
      undefined,
      'https://s3.eu-west-1.amazonaws.com',
      'https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com',
    ].map(isAws),
  ).toEqual([true, true, true])
  expect(
    [
      'http://s3.amazonaws.com',
      'https://s3.amazonaws.com.example',
      'https://amazonaws.com',
      'http://localhost:9000',
    ].map(isAws),
  ).toEqual([false, false, false, false])
})
