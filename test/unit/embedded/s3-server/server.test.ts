import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { Readable } from 'node:stream'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketCorsCommand,
  GetBucketEncryptionCommand,
  GetBucketLocationCommand,
  GetBucketPolicyStatusCommand,
  GetBucketTaggingCommand,
  GetObjectCommand,
  GetObjectRetentionCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  ListPartsCommand,
  PutBucketCorsCommand,
  PutBucketPolicyCommand,
  PutBucketTaggingCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Algorithm, checksumOf } from '../../../../src/embedded/s3-server/checksums.ts'
import { raw, sdk, type TestServer, testServer } from '../../../support/s3-server.ts'

const Bucket = 'music'
let server: TestServer
let client: S3Client

beforeAll(async () => {
  server = await testServer({ minPartSize: 10 })
  // As the program asks: with the checksums that it names itself.
  client = sdk(server, { requestChecksumCalculation: 'WHEN_REQUIRED' })
})

afterAll(async () => {
  client.destroy()
  await server.close()
})

/** Name and status of an SDK refusal. */
async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    const { name, $metadata } = error as { name: string; $metadata?: { httpStatusCode?: number } }
    return `${$metadata?.httpStatusCode} ${name}`
  }
  return 'no refusal'
}

const bytes = (n: number, seed = 1): Buffer => {
  const out = Buffer.allocUnsafe(n)
  let x = seed
  for (let i = 0; i < n; i++) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0
    out[i] = x >>> 16
  }
  return out
}

async function body(Key: string, more: object = {}): Promise<Buffer> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, ...more }))
  return Buffer.from(await Body!.transformToByteArray())
}

describe('signatures', () => {
  test('a signed request is answered, with a request id', async () => {
    const answer = await raw(server, { path: '/music', query: { 'list-type': '2' } })
    expect(answer.status).toBe(200)
    expect(answer.headers['x-amz-request-id']).toMatch(/^[0-9A-F]{16}$/)
  })

  test.each([
    ['no authorization', { unsigned: true }, 403, 'AccessDenied'],
    ['unknown key', { key: { accessKeyId: 'AKIAOTHER', secretAccessKey: 'x' } }, 403, 'InvalidAccessKeyId'],
    [
      'wrong secret',
      { key: { accessKeyId: 'AKIATEST', secretAccessKey: 'x' } },
      403,
      'SignatureDoesNotMatch',
    ],
    ['20 minutes late', { date: new Date(Date.now() - 20 * 60_000) }, 403, 'RequestTimeTooSkewed'],
    ['20 minutes early', { date: new Date(Date.now() + 20 * 60_000) }, 403, 'RequestTimeTooSkewed'],
    ['14 minutes late', { date: new Date(Date.now() - 14 * 60_000) }, 200, undefined],
    ['wrong region', { region: 'eu-west-1' }, 400, 'AuthorizationHeaderMalformed'],
    [
      'a token nobody issued',
      { key: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret/with+signs', sessionToken: 't' } },
      400,
      'InvalidToken',
    ],
  ])('%s', async (_, how, status, code) => {
    const answer = await raw(server, { path: '/music', query: { 'list-type': '2' }, ...how })
    expect([answer.status, answer.code]).toEqual([status, code])
  })

  test('the wrong region is told which is right', async () => {
    const answer = await raw(server, { path: '/music', region: 'eu-west-1' })
    expect(answer.text).toContain('<Region>us-east-1</Region>')
  })

  test.each([
    [
      'query',
      (r: { headers: Record<string, string> }) => {
        r.headers['x-amz-date'] = r.headers['x-amz-date']!.replace(/.Z$/, d => (d[0] === '1' ? '2Z' : '1Z'))
      },
      'SignatureDoesNotMatch',
    ],
    [
      'an unsigned x-amz header',
      (r: { headers: Record<string, string> }) => {
        r.headers['x-amz-meta-a'] = 'b'
      },
      'AccessDenied',
    ],
  ])('tampering with %s is found', async (_, tamper, code) => {
    const answer = await raw(server, { method: 'PUT', path: '/music/t', body: 'abc', tamper })
    expect(answer.code).toBe(code)
    expect((await raw(server, { method: 'HEAD', path: '/music/t' })).status).toBe(404)
  })

  test('a tampered body is found by its hash', async () => {
    const answer = await raw(server, {
      method: 'PUT',
      path: '/music/t',
      body: 'abc',
      tamper: r => {
        r.body[0] = 1
      },
    })
    expect([answer.status, answer.code]).toEqual([400, 'XAmzContentSHA256Mismatch'])
    expect((await raw(server, { method: 'HEAD', path: '/music/t' })).status).toBe(404)
  })

  test('session tokens are needed', async () => {
    const key = { accessKeyId: 'ASIA', secretAccessKey: 's', sessionToken: 'token' }
    await using own = await testServer({ credentials: [key] })
    expect((await raw(own, { path: '/music', key })).status).toBe(200)
    expect((await raw(own, { path: '/music', key: { ...key, sessionToken: 'other' } })).code).toBe(
      'InvalidToken',
    )
  })

  test('a bucket of another region answers 301 and is reached when signed for it', async () => {
    await using own = await testServer({ buckets: [{ name: 'far-away', region: 'eu-west-1' }] })
    const answer = await raw(own, { path: '/far-away' })
    expect([answer.status, answer.code]).toEqual([301, 'PermanentRedirect'])
    expect(answer.headers['x-amz-bucket-region']).toBe('eu-west-1')
    expect((await raw(own, { path: '/far-away', region: 'eu-west-1' })).status).toBe(200)
    const following = sdk(own, { followRegionRedirects: true })
    await following.send(new PutObjectCommand({ Bucket: 'far-away', Key: 'k', Body: 'x' }))
    following.destroy()
  })
})

describe('bodies', () => {
  const content = bytes(300_000)

  test.each(['CRC32', 'CRC64NVME', 'SHA256'] as const)(
    '%s: kept when right, refused when wrong',
    async algorithm => {
      const field = `Checksum${algorithm}` as const
      const put = await client.send(
        new PutObjectCommand({ Bucket, Key: 'sum', Body: content, [field]: checksumOf(algorithm, content) }),
      )
      expect(put[field]).toBe(checksumOf(algorithm, content))
      const get = await client.send(new GetObjectCommand({ Bucket, Key: 'sum', ChecksumMode: 'ENABLED' }))
      expect(get[field]).toBe(checksumOf(algorithm, content))
      await get.Body!.transformToByteArray()
      const wrong = new PutObjectCommand({
        Bucket,
        Key: 'sum2',
        Body: content,
        [field]: checksumOf(algorithm, content.subarray(1)),
      })
      expect(await refusal(client.send(wrong))).toBe('400 BadDigest')
      const nonsense = new PutObjectCommand({ Bucket, Key: 'sum2', Body: content, [field]: 'AAAA' })
      expect(await refusal(client.send(nonsense))).toBe('400 InvalidRequest')
      expect(await refusal(client.send(new HeadObjectCommand({ Bucket, Key: 'sum2' })))).toBe('404 NotFound')
    },
  )

  test('Content-MD5', async () => {
    const md5 = (text: string) => createHash('md5').update(text).digest('base64')
    const put = (headers: Record<string, string>) =>
      raw(server, { method: 'PUT', path: '/music/md5', body: 'abc', headers })
    expect((await put({ 'content-md5': md5('abc') })).status).toBe(200)
    expect((await put({ 'content-md5': md5('abd') })).code).toBe('BadDigest')
    expect((await put({ 'content-md5': 'abc' })).code).toBe('InvalidDigest')
    const crc = { 'x-amz-checksum-crc32': 'NSRBwg==' }
    expect((await put({ ...crc, 'x-amz-checksum-sha256': 'x' })).code).toBe('InvalidRequest')
    expect((await put({ 'x-amz-checksum-sha1': 'x' })).code).toBe('NotImplemented')
  })

  test('what nobody checksummed gets CRC64NVME, as in S3', async () => {
    const put = await client.send(new PutObjectCommand({ Bucket, Key: 'plain', Body: content }))
    expect(put.ChecksumCRC64NVME).toBe(checksumOf('CRC64NVME', content))
  })

  test('a refused body leaves nothing on disk, nor does the server', async () => {
    await using own = await testServer()
    for (const size of [1_000, 600_000]) {
      const answer = await raw(own, {
        method: 'PUT',
        path: '/music/x',
        body: bytes(size),
        headers: { 'x-amz-checksum-crc32': 'AAAAAA==' },
      })
      expect(answer.code).toBe('BadDigest')
    }
    expect(readdirSync(own.dir)).toEqual([])
    await own.close()
    expect(() => readdirSync(own.dir)).toThrow()
  })

  test('transfer-encoding without a length is refused', async () => {
    const headers = { 'transfer-encoding': 'chunked' }
    const answer = await raw(server, { method: 'PUT', path: '/music/te', body: 'abc', headers })
    expect(answer.status).toBe(501)
  })
})

describe('objects', () => {
  test('headers, metadata and tags come back', async () => {
    const Key = 'headers'
    await client.send(
      new PutObjectCommand({
        Bucket,
        Key,
        Body: 'x',
        ContentType: 'audio/mpeg',
        CacheControl: 'max-age=1',
        ContentDisposition: 'inline',
        ContentEncoding: 'gzip',
        Metadata: { a: 'b' },
        StorageClass: 'STANDARD_IA',
        Tagging: 'k=v&l=w',
        ServerSideEncryption: 'aws:kms',
        SSEKMSKeyId: 'id',
      }),
    )
    const head = await client.send(new HeadObjectCommand({ Bucket, Key }))
    expect(head).toMatchObject({
      ContentType: 'audio/mpeg',
      CacheControl: 'max-age=1',
      ContentDisposition: 'inline',
      ContentEncoding: 'gzip',
      Metadata: { a: 'b' },
      StorageClass: 'STANDARD_IA',
      ServerSideEncryption: 'aws:kms',
      SSEKMSKeyId: 'id',
      ContentLength: 1,
      TagCount: 2,
    })
    expect((await client.send(new GetObjectTaggingCommand({ Bucket, Key }))).TagSet).toEqual([
      { Key: 'k', Value: 'v' },
      { Key: 'l', Value: 'w' },
    ])
  })

  test.each([
    ['bytes=5-3', 200, undefined, '0123456789'],
    ['bytes=0-1,3-4', 200, undefined, '0123456789'],
  ])('range %s', async (range, status, contentRange, text) => {
    await raw(server, { method: 'PUT', path: '/music/digits', body: '0123456789' })
    const answer = await raw(server, { path: '/music/digits', headers: { range } })
    expect([answer.status, answer.headers['content-range'], answer.text]).toEqual([
      status,
      contentRange,
      text,
    ])
  })

  test('conditions on reading', async () => {
    const put = await raw(server, { method: 'PUT', path: '/music/cond', body: 'abc' })
    const etag = put.headers.etag!
    expect(etag).toBe(`"${createHash('md5').update('abc').digest('hex')}"`)
    const get = async (headers: Record<string, string>) =>
      (await raw(server, { path: '/music/cond', headers })).status
    expect(await get({ 'if-match': etag })).toBe(200)
    expect(await get({ 'if-match': '"other"' })).toBe(412)
    expect(await get({ 'if-none-match': etag })).toBe(304)
    expect(await get({ 'if-none-match': '"other"' })).toBe(200)
    expect(await get({ 'if-modified-since': new Date(Date.now() + 1000).toUTCString() })).toBe(304)
    expect(await get({ 'if-modified-since': new Date(0).toUTCString() })).toBe(200)
    expect(await get({ 'if-unmodified-since': new Date(0).toUTCString() })).toBe(412)
  })

  test('HEAD refuses without a body, and says 404 for no key and no bucket', async () => {
    const none = await raw(server, { method: 'HEAD', path: '/music/none' })
    expect([none.status, none.body.length]).toEqual([404, 0])
    expect((await raw(server, { method: 'HEAD', path: '/nowhere/none' })).status).toBe(404)
    expect((await raw(server, { path: '/nowhere/none' })).code).toBe('NoSuchBucket')
    expect((await raw(server, { path: '/music/none' })).code).toBe('NoSuchKey')
  })

  test('a conditional put answers 409 when a delete came in between', async () => {
    const { promise: waiting, resolve: go } = Promise.withResolvers<void>()
    async function* slowly() {
      yield Buffer.alloc(9000)
      await waiting
      yield Buffer.alloc(1000)
    }
    const pending = refusal(
      client.send(
        new PutObjectCommand({
          Bucket,
          Key: 'race',
          Body: Readable.from(slowly()),
          ContentLength: 10_000,
          IfNoneMatch: '*',
        }),
      ),
    )
    await expect.poll(() => server.requests.some(r => r.key === 'race')).toBe(true)
    await client.send(new DeleteObjectCommand({ Bucket, Key: 'race' }))
    go()
    expect(await pending).toBe('409 ConditionalRequestConflict')
  })

  test('two conditional puts at once: one wins', async () => {
    const outcomes = await Promise.all(
      [1, 2, 3, 4].map(n =>
        refusal(client.send(new PutObjectCommand({ Bucket, Key: 'winner', Body: `${n}`, IfNoneMatch: '*' }))),
      ),
    )
    expect(outcomes.sort()).toEqual([
      '412 PreconditionFailed',
      '412 PreconditionFailed',
      '412 PreconditionFailed',
      'no refusal',
    ])
  })

  test('DeleteObjects says what became of each', async () => {
    for (const Key of ['d1', 'd2', 'd 3&<'])
      await client.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }))
    const out = await client.send(
      new DeleteObjectsCommand({
        Bucket,
        Delete: {
          Objects: [{ Key: 'd1' }, { Key: 'd2', ETag: '"no"' }, { Key: 'd 3&<' }, { Key: 'absent' }],
        },
      }),
    )
    expect(out.Deleted?.map(d => d.Key)).toEqual(['d1', 'd 3&<', 'absent'])
    expect(out.Errors?.map(e => [e.Key, e.Code])).toEqual([['d2', 'PreconditionFailed']])
    const bare = await raw(server, {
      method: 'POST',
      path: '/music',
      query: { delete: '' },
      body: '<Delete><Object><Key>a</Key></Object></Delete>',
    })
    expect(bare.code).toBe('InvalidRequest')
    const broken = await raw(server, {
      method: 'POST',
      path: '/music',
      query: { delete: '' },
      body: '<Delete><Obj',
      headers: { 'content-md5': createHash('md5').update('<Delete><Obj').digest('base64') },
    })
    expect(broken.code).toBe('MalformedXML')
  })

  test('a copy onto itself that would change nothing is refused', async () => {
    await client.send(new PutObjectCommand({ Bucket, Key: 'copy', Body: 'abc' }))
    expect(
      await refusal(
        client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/copy` })),
      ),
    ).toBe('400 InvalidRequest')
  })

  test('what is not implemented is refused, not taken for something else', async () => {
    expect(await refusal(client.send(new GetObjectRetentionCommand({ Bucket, Key: 'sum' })))).toBe(
      '501 NotImplemented',
    )
    expect(
      (await raw(server, { method: 'PUT', path: '/music', query: { website: '' }, body: '<a/>' })).code,
    ).toBe('NotImplemented')
    expect((await raw(server, { method: 'PATCH', path: '/music/x' })).code).toBe('NotImplemented')
    for (const list of ['uploads', 'versions']) {
      const answer = await raw(server, { path: '/music', query: { [list]: '', delimiter: '/' } })
      expect(answer.code).toBe('NotImplemented')
    }
    const payload = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'
    expect((await raw(server, { method: 'PUT', path: '/music/x', body: 'x', payload })).code).toBe(
      'NotImplemented',
    )
  })
})

describe('listings', () => {
  let own: TestServer
  let lister: S3Client

  beforeAll(async () => {
    own = await testServer({ defaultChecksum: 'none' })
    lister = sdk(own)
    const keys = Array.from({ length: 70 }, (_, i) => `n/${String(i).padStart(5, '0')}/f`)
    for (const key of [...keys, 'z', 'm/a'])
      await raw(own, { method: 'PUT', path: `/music/${key}`, body: 'x' })
  })

  afterAll(async () => {
    lister.destroy()
    await own.close()
  })

  async function all(input: object) {
    const keys: string[] = []
    const groups: string[] = []
    const sizes: number[] = []
    for await (const page of paginateListObjectsV2({ client: lister }, { Bucket, ...input })) {
      keys.push(...(page.Contents ?? []).map(o => o.Key!))
      groups.push(...(page.CommonPrefixes ?? []).map(p => p.Prefix!))
      sizes.push(page.KeyCount!)
    }
    return { keys, groups, sizes }
  }

  test('delimiter, prefix and small pages', async () => {
    expect(await all({ Delimiter: '/' })).toEqual({ keys: ['z'], groups: ['m/', 'n/'], sizes: [3] })
    expect(await all({ Delimiter: '/', MaxKeys: 1 })).toEqual({
      keys: ['z'],
      groups: ['m/', 'n/'],
      sizes: [1, 1, 1],
    })
    const nested = await all({ Delimiter: '/', Prefix: 'n/', MaxKeys: 20 })
    expect([nested.groups.length, nested.keys.length, nested.sizes]).toEqual([70, 0, [20, 20, 20, 10]])
    expect((await all({ MaxKeys: 0 })).sizes).toEqual([0])
  })

  test('a token nobody gave out is refused', async () => {
    expect(await refusal(lister.send(new ListObjectsV2Command({ Bucket, ContinuationToken: 'bm8=' })))).toBe(
      '400 InvalidArgument',
    )
  })

  test('pages while keys come and go', async () => {
    const first = await lister.send(new ListObjectsV2Command({ Bucket, MaxKeys: 10 }))
    await raw(own, { method: 'DELETE', path: `/music/${first.Contents!.at(-1)!.Key}` })
    await raw(own, { method: 'PUT', path: '/music/a', body: '' })
    const next = await lister.send(
      new ListObjectsV2Command({ Bucket, MaxKeys: 2, ContinuationToken: first.NextContinuationToken! }),
    )
    expect(next.Contents!.map(o => o.Key)).toEqual(['n/00009/f', 'n/00010/f'])
  })
})

describe('multipart uploads', () => {
  const content = bytes(2000)
  const parts = [content.subarray(0, 900), content.subarray(900, 1800), content.subarray(1800)]

  async function upload(Key: string, create: object, algorithm?: Algorithm) {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...create }))
    const done = []
    for (const [i, Body] of parts.entries()) {
      const field = algorithm && { [`Checksum${algorithm}`]: checksumOf(algorithm, Body) }
      const part = await client.send(
        new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: i + 1, Body, ...field }),
      )
      done.push({ PartNumber: i + 1, ETag: part.ETag, ...field })
    }
    return { UploadId: UploadId!, Parts: done }
  }

  const finish = (Key: string, { UploadId, Parts }: Awaited<ReturnType<typeof upload>>, more: object = {}) =>
    client.send(
      new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...more }),
    )

  test.each(['CRC32', 'CRC64NVME'] as const)('%s of the whole object', async algorithm => {
    const Key = `full-${algorithm}`
    const create = { ChecksumAlgorithm: algorithm, ChecksumType: 'FULL_OBJECT' }
    const field = `Checksum${algorithm}` as const
    const up = await upload(Key, create, algorithm)
    expect(
      await refusal(
        finish(Key, up, { [field]: checksumOf(algorithm, parts[0]!), ChecksumType: 'FULL_OBJECT' }),
      ),
    ).toBe('400 BadDigest')
    expect(await refusal(finish(Key, up, { MpuObjectSize: 1999 }))).toBe('400 InvalidRequest')
    const out = await finish(Key, up, {
      [field]: checksumOf(algorithm, content),
      ChecksumType: 'FULL_OBJECT',
      MpuObjectSize: 2000,
    })
    expect(out[field]).toBe(checksumOf(algorithm, content))
    const etags = parts.map(p => createHash('md5').update(p).digest())
    expect(out.ETag).toBe(`"${createHash('md5').update(Buffer.concat(etags)).digest('hex')}-3"`)
    expect(await body(Key)).toEqual(content)
    expect(await body(Key, { Range: 'bytes=850-1850' })).toEqual(content.subarray(850, 1851))
    const again = await finish(Key, up)
    expect(again.ETag).toBe(out.ETag)
  })

  test('a checksum that is made of those of the parts is not kept; each part is held against its own', async () => {
    const up = await upload('parts', { ChecksumAlgorithm: 'SHA256' }, 'SHA256')
    const wrong = { Body: parts[0]!, ChecksumSHA256: checksumOf('SHA256', parts[1]!) }
    const { UploadId } = up
    const again = new UploadPartCommand({ Bucket, Key: 'parts', UploadId, PartNumber: 1, ...wrong })
    expect(await refusal(client.send(again))).toBe('400 BadDigest')
    const out = await finish('parts', up)
    expect([out.ChecksumSHA256, out.ChecksumCRC64NVME]).toEqual([undefined, checksumOf('CRC64NVME', content)])
    const whole = { ChecksumAlgorithm: 'SHA256', ChecksumType: 'FULL_OBJECT' } as const
    const full = new CreateMultipartUploadCommand({ Bucket, Key: 'k', ...whole })
    expect(await refusal(client.send(full))).toBe('400 InvalidRequest')
  })

  test('what is wrong with the list of parts is said', async () => {
    const Key = 'wrong-parts'
    const up = await upload(Key, {})
    const [a, b, c] = up.Parts as [object, object, object]
    const complete = (Parts: object[]) => refusal(finish(Key, { ...up, Parts: Parts as never }))
    expect(await complete([b, a, c])).toBe('400 InvalidPartOrder')
    expect(await complete([a, { ...b, ETag: '"0"' }])).toBe('400 InvalidPart')
    expect(await complete([a, { ...b, PartNumber: 7 }])).toBe('400 InvalidPart')
    expect(await complete([])).toBe('400 MalformedXML')
    expect(
      await refusal(
        client.send(
          new UploadPartCommand({ Bucket, Key, UploadId: up.UploadId, PartNumber: 10_001, Body: 'x' }),
        ),
      ),
    ).toBe('400 InvalidArgument')
    await client.send(new PutObjectCommand({ Bucket, Key, Body: 'there' }))
    expect(await refusal(finish(Key, up, { IfNoneMatch: '*' }))).toBe('412 PreconditionFailed')
    const listed = await client.send(
      new ListPartsCommand({ Bucket, Key, UploadId: up.UploadId, MaxParts: 2 }),
    )
    expect([listed.Parts!.map(p => p.Size), listed.IsTruncated, listed.NextPartNumberMarker]).toEqual([
      [900, 900],
      true,
      '2',
    ])
    const rest = await client.send(
      new ListPartsCommand({ Bucket, Key, UploadId: up.UploadId, PartNumberMarker: '2' }),
    )
    expect([rest.Parts!.map(p => p.PartNumber), rest.IsTruncated]).toEqual([[3], false])
    await raw(server, { method: 'DELETE', path: `/music/${Key}`, query: { uploadId: up.UploadId } })
    expect(await refusal(finish(Key, up))).toBe('404 NoSuchUpload')
  })

  test('parts below the minimum', async () => {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'small' }))
    const Parts = []
    for (const PartNumber of [1, 2]) {
      const { ETag } = await client.send(
        new UploadPartCommand({ Bucket, Key: 'small', UploadId, PartNumber, Body: 'tiny' }),
      )
      Parts.push({ PartNumber, ETag })
    }
    expect(await refusal(finish('small', { UploadId: UploadId!, Parts }))).toBe('400 EntityTooSmall')
    expect((await finish('small', { UploadId: UploadId!, Parts: Parts.slice(1) })).ETag).toMatch(/-1"$/)
  })

  test('uploads listed in pages', async () => {
    await using own = await testServer()
    const other = sdk(own)
    for (const Key of ['b', 'a', 'a']) await other.send(new CreateMultipartUploadCommand({ Bucket, Key }))
    const first = await other.send(new ListMultipartUploadsCommand({ Bucket, MaxUploads: 2 }))
    expect(first.Uploads!.map(u => u.Key)).toEqual(['a', 'a'])
    const rest = await other.send(
      new ListMultipartUploadsCommand({
        Bucket,
        KeyMarker: first.NextKeyMarker!,
        UploadIdMarker: first.NextUploadIdMarker!,
      }),
    )
    expect([rest.Uploads!.map(u => u.Key), rest.IsTruncated]).toEqual([['b'], false])
    other.destroy()
  })
})

describe('versioning', () => {
  test('versions, delete markers, and the way back', async () => {
    await using own = await testServer()
    const s3 = sdk(own)
    const put = async (Body: string) =>
      (await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body }))).VersionId
    expect(await put('0')).toBeUndefined()
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
    const one = await put('1')
    const two = await put('2')
    const gone = await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))
    expect(gone.DeleteMarker).toBe(true)
    expect(await refusal(s3.send(new GetObjectCommand({ Bucket, Key: 'k' })))).toBe('404 NoSuchKey')
    expect((await s3.send(new ListObjectsV2Command({ Bucket }))).KeyCount).toBe(0)
    const listed = await s3.send(new ListObjectVersionsCommand({ Bucket }))
    expect(listed.Versions!.map(v => [v.VersionId, v.IsLatest])).toEqual([
      [two, false],
      [one, false],
      ['null', false],
    ])
    expect(listed.DeleteMarkers!.map(v => [v.VersionId, v.IsLatest])).toEqual([[gone.VersionId, true]])
    const first = await s3.send(new ListObjectVersionsCommand({ Bucket, MaxKeys: 2 }))
    const second = await s3.send(
      new ListObjectVersionsCommand({
        Bucket,
        KeyMarker: first.NextKeyMarker!,
        VersionIdMarker: first.NextVersionIdMarker!,
      }),
    )
    expect([first.IsTruncated, second.Versions!.map(v => v.VersionId)]).toEqual([true, [one, 'null']])
    const text = async (VersionId: string) =>
      (await s3.send(new GetObjectCommand({ Bucket, Key: 'k', VersionId }))).Body!.transformToString()
    expect([await text(one!), await text('null')]).toEqual(['1', '0'])
    expect(
      await refusal(s3.send(new HeadObjectCommand({ Bucket, Key: 'k', VersionId: gone.VersionId! }))),
    ).toMatch(/^405/)
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k', VersionId: gone.VersionId! }))
    expect((await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))).VersionId).toBe(two)
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k', VersionId: two! }))
    await s3.send(
      new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Suspended' } }),
    )
    await put('3')
    const end = await s3.send(new ListObjectVersionsCommand({ Bucket }))
    expect(end.Versions!.map(v => v.VersionId)).toEqual(['null', one])
    expect(await text('null')).toBe('3')
    expect(await refusal(s3.send(new GetObjectCommand({ Bucket, Key: 'k', VersionId: two! })))).toBe(
      '404 NoSuchVersion',
    )
    s3.destroy()
  })
})

describe('buckets and their settings', () => {
  test('documents come back as they were put, defaults as S3 has them', async () => {
    await using own = await testServer()
    const s3 = sdk(own)
    expect((await s3.send(new ListBucketsCommand({}))).Buckets!.map(b => b.Name)).toEqual(['music'])
    expect((await s3.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint).toBeUndefined()
    expect((await s3.send(new HeadBucketCommand({ Bucket }))).BucketRegion).toBe('us-east-1')
    expect(await refusal(s3.send(new GetBucketCorsCommand({ Bucket })))).toBe('404 NoSuchCORSConfiguration')
    expect(
      (await s3.send(new GetBucketEncryptionCommand({ Bucket }))).ServerSideEncryptionConfiguration!
        .Rules![0]!.ApplyServerSideEncryptionByDefault!.SSEAlgorithm,
    ).toBe('AES256')
    await s3.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet: [{ Key: 'a', Value: 'b' }] } }))
    expect((await s3.send(new GetBucketTaggingCommand({ Bucket }))).TagSet).toEqual([
      { Key: 'a', Value: 'b' },
    ])
    const Policy = (Principal: unknown) =>
      JSON.stringify({ Statement: [{ Effect: 'Allow', Principal, Action: 's3:GetObject', Resource: '*' }] })
    expect(await refusal(s3.send(new PutBucketPolicyCommand({ Bucket, Policy: Policy('*') })))).toBe(
      '403 AccessDenied',
    )
    await s3.send(new PutBucketPolicyCommand({ Bucket, Policy: Policy({ AWS: 'arn:aws:iam::1:root' }) }))
    expect((await s3.send(new GetBucketPolicyStatusCommand({ Bucket }))).PolicyStatus!.IsPublic).toBe(false)
    s3.destroy()
  })

  test('CORS is obeyed', async () => {
    await using own = await testServer()
    const s3 = sdk(own)
    const corsRules = [
      {
        AllowedOrigins: ['https://*.example.com'],
        AllowedMethods: ['GET'],
        AllowedHeaders: ['range'],
        ExposeHeaders: ['ETag'],
        MaxAgeSeconds: 60,
      },
    ]
    await s3.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules: corsRules } }))
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x' }))
    const ask = (origin: string, method: string) =>
      raw(own, {
        method: 'OPTIONS',
        path: '/music/k',
        unsigned: true,
        headers: {
          origin,
          'access-control-request-method': method,
          'access-control-request-headers': 'Range',
        },
      })
    const yes = await ask('https://app.example.com', 'GET')
    expect([
      yes.status,
      yes.headers['access-control-allow-origin'],
      yes.headers['access-control-max-age'],
    ]).toEqual([200, 'https://app.example.com', '60'])
    expect((await ask('https://example.org', 'GET')).code).toBe('AccessForbidden')
    expect((await ask('https://app.example.com', 'PUT')).status).toBe(403)
    const get = await raw(own, { path: '/music/k', headers: { origin: 'https://app.example.com' } })
    expect([
      get.headers['access-control-allow-origin'],
      get.headers['access-control-expose-headers'],
    ]).toEqual(['https://app.example.com', 'ETag'])
    expect(
      (await raw(own, { path: '/music/k', headers: { origin: 'https://example.org' } })).headers[
        'access-control-allow-origin'
      ],
    ).toBeUndefined()
    s3.destroy()
  })
})

describe('planted faults', () => {
  const path = '/music/f'
  const get = () => raw(server, { path })

  beforeAll(async () => {
    await raw(server, { method: 'PUT', path, body: '0123456789' })
  })

  async function during<T>(
    rule: Parameters<TestServer['faults']['add']>[0],
    work: () => Promise<T>,
  ): Promise<T> {
    const planted = server.faults.add({ ...rule, match: { key: 'f', ...rule.match } })
    try {
      return await work()
    } finally {
      planted.remove()
    }
  }

  test('a status, with its code and headers, a number of times', async () => {
    const fault = { status: 503, code: 'SlowDown', headers: { 'retry-after': '1' } }
    await during({ fault, times: 1, after: 1 }, async () => {
      const answers = [await get(), await get(), await get()]
      expect(answers.map(a => a.status)).toEqual([200, 503, 200])
      expect([answers[1]!.code, answers[1]!.headers['retry-after']]).toEqual(['SlowDown', '1'])
    })
    expect((await get()).status).toBe(200)
  })

  test('probability follows its seed', async () => {
    const run = () =>
      during({ fault: { status: 500, code: 'InternalError' }, probability: 0.5, seed: 7 }, async () => {
        const seen = []
        for (let i = 0; i < 12; i++) seen.push((await get()).status)
        return seen
      })
    const once = await run()
    expect(new Set(once)).toEqual(new Set([200, 500]))
    expect(await run()).toEqual(once)
  })

  test('a rule strikes only what it matches', async () => {
    const fault = { status: 500, code: 'InternalError' }
    await during({ fault, match: { operation: 'PutObject' } }, async () =>
      expect((await get()).status).toBe(200),
    )
    await during({ fault, match: { key: /^g/ } }, async () => expect((await get()).status).toBe(200))
    await during({ fault, match: { method: 'GET', key: /^f/ } }, async () =>
      expect((await get()).status).toBe(500),
    )
  })

  test('reset: at once, in the middle of an upload, in the middle of a download', async () => {
    await during({ fault: { reset: true } }, () => expect(get()).rejects.toThrow())
    await during({ fault: { reset: true, afterBytes: 4 } }, () => expect(get()).rejects.toThrow())
    await during({ fault: { reset: true, afterBytes: 100_000 } }, () =>
      expect(raw(server, { method: 'PUT', path, body: bytes(1_000_000) })).rejects.toThrow(),
    )
    expect((await get()).text).toBe('0123456789')
  })

  test('a lost response: it was done all the same', async () => {
    await during({ fault: { loseResponse: true } }, () =>
      expect(raw(server, { method: 'PUT', path, body: '9876543210' })).rejects.toThrow(),
    )
    expect((await get()).text).toBe('9876543210')
  })

  test('a delay and a short stall pass', async () => {
    await during({ fault: { delay: 5 } }, async () => expect((await get()).status).toBe(200))
    await during({ fault: { stall: 5 } }, async () => expect((await get()).status).toBe(200))
    await during({ fault: { stall: 5, afterBytes: 3 } }, async () =>
      expect((await get()).text).toHaveLength(10),
    )
  })

  test('a stall for ever ends with the client or the server', async () => {
    await using own = await testServer()
    own.faults.add({ fault: { stall: 'forever' } })
    const pending = raw(own, { path: '/music' })
    pending.catch(() => {})
    await expect.poll(() => own.requests.length).toBe(1)
    expect(own.requests[0]!.status).toBe(0)
    await own.close()
    await expect(pending).rejects.toThrow()
  })

  test('a corrupted body: found on the way up, not on the way down', async () => {
    const before = (await get()).text
    const down = await during({ fault: { corruptBody: true } }, get)
    expect(down.status).toBe(200)
    expect(down.text).not.toBe(before)
    const up = await during({ fault: { corruptBody: true } }, () =>
      raw(server, { method: 'PUT', path, body: 'abc' }),
    )
    expect(up.code).toBe('XAmzContentSHA256Mismatch')
  })
})

test('connections are kept, and Expect: 100-continue is honoured', async () => {
  await using own = await testServer()
  const s3 = sdk(own)
  const Body = bytes(3 << 20)
  for (const Key of ['a', 'b', 'c']) await s3.send(new PutObjectCommand({ Bucket, Key, Body }))
  expect(own.requests[0]!.headers.expect).toBe('100-continue')
  expect(await refusal(s3.send(new PutObjectCommand({ Bucket: 'nowhere', Key: 'x', Body })))).toBe(
    '404 NoSuchBucket',
  )
  own.requests.length = 0
  for (let i = 0; i < 3; i++) await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' }))
  expect(new Set(own.requests.map(r => r.connection)).size).toBe(1)
  s3.destroy()
})

test('a client that stops in mid-body is told so', async () => {
  await using own = await testServer({ idleTimeout: 50 })
  const answer = await raw(own, {
    method: 'PUT',
    path: '/music/slow',
    body: 'abc',
    headers: { 'content-length': '10' },
  })
  expect([answer.status, answer.code]).toEqual([400, 'RequestTimeout'])
})
