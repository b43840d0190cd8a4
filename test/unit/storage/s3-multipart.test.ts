/** A multipart upload request by request: what is sent, and what is made of each answer. */
import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { combineCrc32, encodeCrc32 } from '../../../src/core/crc32.ts'
import type { Received } from '../../support/scripted-store.ts'
import { scripted } from '../../support/scripted-store.ts'

const sum = (text: string) => encodeCrc32(crc32(text))
const error = (code: string, message = '') =>
  `<Error><Code>${code}</Code><Message>${message}</Message></Error>`
const created = '<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>'
const completed = (more = '') =>
  `<CompleteMultipartUploadResult><ETag>"e-2"</ETag>${more}</CompleteMultipartUploadResult>`
const headers = { contentType: 'audio/flac' }
const is = ({ method, url }: Received) => ({
  create: method === 'POST' && /[?&]uploads/.test(url),
  complete: method === 'POST' && url.includes('uploadId='),
  part: method === 'PUT',
  abort: method === 'DELETE',
  list: method === 'GET' && url.includes('uploadId='),
  head: method === 'HEAD',
})

describe('begun', () => {
  test('with the checksum of the whole announced', async () => {
    const { store, received } = await scripted((_, response) => response.writeHead(200).end(created))
    expect(await store.createUpload('a', { headers })).toBe('u1')
    expect(received[0]?.headers).toMatchObject({
      'x-amz-checksum-algorithm': 'CRC32',
      'x-amz-checksum-type': 'FULL_OBJECT',
      'content-type': 'audio/flac',
    })
  })
  test('without one where it is refused, and from then on at once', async () => {
    const told: string[] = []
    const { store, received } = await scripted(
      ({ headers }, response) => {
        if (headers['x-amz-checksum-type'])
          response.writeHead(400).end(error('InvalidArgument', 'unsupported checksum'))
        else response.writeHead(200).end(created)
      },
      { onNotice: (text: string) => void told.push(text) } as never,
    )
    expect(await store.createUpload('a', { headers })).toBe('u1')
    expect(await store.createUpload('a', { headers })).toBe('u1')
    expect(received.map(({ headers }) => headers['x-amz-checksum-type'])).toEqual([
      'FULL_OBJECT',
      undefined,
      undefined,
    ])
  })
  test('refused for anything else is refused, once', async () => {
    for (const [status, code] of [
      [403, 'AccessDenied'],
      [400, 'InvalidStorageClass'],
    ] as const) {
      const { store, received } = await scripted((_, response) => response.writeHead(status).end(error(code)))
      await expect(store.createUpload('a', { headers })).rejects.toThrow(code)
      expect(received).toHaveLength(1)
    }
  })
  test('an answer without an upload is none of S3', async () => {
    const { store } = await scripted((_, response) =>
      response.writeHead(200).end('<InitiateMultipartUploadResult></InitiateMultipartUploadResult>'),
    )
    await expect(store.createUpload('a', { headers })).rejects.toThrow('no upload id')
  })
})

describe('a part', () => {
  const bytes = Buffer.from('hello')
  test('goes with its number and its sum, and is compared', async () => {
    const { store, received } = await scripted((_, response) =>
      response.writeHead(200, { etag: '"p7"', 'x-amz-checksum-crc32': sum('hello') }).end(),
    )
    expect(await store.uploadPart('a', 'u1', 7, bytes, { crc32: sum('hello') })).toEqual({
      partNumber: 7,
      size: 5,
      etag: 'p7',
      crc32: sum('hello'),
    })
    expect(received[0]?.url).toMatch(/partNumber=7/)
    expect(received[0]?.url).toMatch(/uploadId=u1/)
    expect(received[0]?.headers['x-amz-checksum-crc32']).toBe(sum('hello'))
    expect(received[0]?.body).toBe('hello')
  })
  test('that is stored as another one is damaged', async () => {
    const { store } = await scripted((_, response) =>
      response.writeHead(200, { etag: '"p1"', 'x-amz-checksum-crc32': sum('other') }).end(),
    )
    await expect(store.uploadPart('a', 'u1', 1, bytes, { crc32: sum('hello') })).rejects.toMatchObject({
      kind: 'bad-digest',
    })
  })
  test('of which the store tells no sum has none', async () => {
    const { store } = await scripted((_, response) => response.writeHead(200, { etag: '"p1"' }).end())
    expect(await store.uploadPart('a', 'u1', 1, bytes, { crc32: sum('hello') })).toMatchObject({
      etag: 'p1',
      crc32: undefined,
    })
  })
})

describe('completed', () => {
  const parts = [
    { partNumber: 1, etag: 'p1', size: 5, crc32: sum('hello') },
    { partNumber: 2, etag: 'p2', size: 3, crc32: sum('you') },
  ]
  const whole = encodeCrc32(combineCrc32(crc32('hello'), crc32('you'), 3))
  const options = { checksums: { crc32: whole }, size: 8 }

  test('with its parts in order, its size, its sum, and on condition if asked', async () => {
    const { store, received } = await scripted((_, response) => {
      response
        .writeHead(200, { 'x-amz-version-id': 'v1' })
        .end(completed(`<ChecksumCRC32>${whole}</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>`))
    })
    expect(await store.completeUpload('a', 'u1', parts, options)).toEqual({
      etag: 'e-2',
      versionId: 'v1',
      checksums: { crc32: whole },
    })
    expect(received[0]?.headers).toMatchObject({
      'x-amz-checksum-crc32': whole,
      'x-amz-checksum-type': 'FULL_OBJECT',
      'x-amz-mp-object-size': '8',
    })
    expect(received[0]?.headers).not.toHaveProperty('if-none-match')
    expect([...(received[0]?.body ?? '').matchAll(/<PartNumber>(\d)/g)].map(([, number]) => number)).toEqual([
      '1',
      '2',
    ])
    expect(received[0]?.body).toContain(`<ChecksumCRC32>${sum('you')}</ChecksumCRC32>`)
  })
  test('only if nothing is there: looked for before, asked for on the way', async () => {
    const { store, received } = await scripted((request, response) => {
      if (is(request).head) response.writeHead(404).end()
      else response.writeHead(200).end(completed())
    })
    await store.completeUpload('a', 'u1', parts, { ...options, ifNoneMatch: true })
    expect(received.map(({ method, headers }) => [method, headers['if-none-match']])).toEqual([
      ['HEAD', undefined],
      ['POST', '*'],
    ])
  })
  test('parts whose sums make another whole are not even sent', async () => {
    const { store, received } = await scripted((_, response) => response.writeHead(200).end(completed()))
    const wrong = { ...options, checksums: { crc32: sum('other') } }
    await expect(store.completeUpload('a', 'u1', parts, wrong)).rejects.toMatchObject({ kind: 'bad-digest' })
    expect(received).toEqual([])
    // Where one is not known, the store has to tell.
    const unknown = [parts[0]!, { partNumber: 2, etag: 'p2', size: 3 }]
    expect(await store.completeUpload('a', 'u1', unknown, wrong)).toMatchObject({ etag: 'e-2' })
  })
  test('stored with another sum is damaged', async () => {
    const { store } = await scripted((_, response) =>
      response
        .writeHead(200)
        .end(completed(`<ChecksumCRC32>${sum('x')}</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>`)),
    )
    await expect(store.completeUpload('a', 'u1', parts, options)).rejects.toMatchObject({
      kind: 'bad-digest',
    })
  })
  test.each([
    [400, 'BadDigest', ''],
    [400, 'InvalidRequest', 'unsupported header x-amz-checksum-type'],
    [400, 'InvalidArgument', 'x-amz-mp-object-size is not supported'],
    [501, 'NotImplemented', ''],
  ])(
    '%i %s %s: the sum of the whole is left out, and from then on at once',
    async (status, code, message) => {
      const { store, received } = await scripted(({ headers }, response) => {
        if (headers['x-amz-mp-object-size']) response.writeHead(status).end(error(code, message))
        else response.writeHead(200).end(completed())
      })
      expect(await store.completeUpload('a', 'u1', parts, options)).toMatchObject({
        etag: 'e-2',
        checksums: {},
      })
      await store.completeUpload('a', 'u1', parts, options)
      expect(received.map(({ headers }) => headers['x-amz-checksum-crc32'])).toEqual([
        whole,
        undefined,
        undefined,
      ])
    },
  )
  test('but not where the sum of a part is not known: it is proved by nothing then', async () => {
    const { store, received } = await scripted((_, response) =>
      response.writeHead(400).end(error('BadDigest')),
    )
    const unknown = [parts[0]!, { partNumber: 2, etag: 'p2', size: 3 }]
    await expect(store.completeUpload('a', 'u1', unknown, options)).rejects.toMatchObject({
      kind: 'bad-digest',
    })
    expect(received).toHaveLength(1)
  })
  test('without a sum of the whole none is sent, and a refusal is one', async () => {
    const { store, received } = await scripted((_, response) =>
      response.writeHead(400).end(error('BadDigest')),
    )
    await expect(store.completeUpload('a', 'u1', parts, { checksums: {}, size: 8 })).rejects.toMatchObject({
      kind: 'bad-digest',
    })
    expect(received).toHaveLength(1)
    expect(received[0]?.headers).not.toHaveProperty('x-amz-mp-object-size')
  })
  test.each<[string, object | undefined, object | undefined]>([
    [
      'the object tells it',
      { etag: '"e9"', 'content-length': '8', 'x-amz-version-id': 'v9' },
      { etag: 'e9', versionId: 'v9' },
    ],
    ['the object is another by now', { etag: '"e9"', 'content-length': '7' }, undefined],
    ['there is no object', undefined, undefined],
  ])('an answer without an ETag: %s', async (_what, head, expected) => {
    const { store } = await scripted((request, response) => {
      if (!is(request).head)
        response.writeHead(200).end('<CompleteMultipartUploadResult></CompleteMultipartUploadResult>')
      else if (head === undefined) response.writeHead(404).end()
      else response.writeHead(200, head as Record<string, string>).end()
    })
    const done = store.completeUpload('a', 'u1', parts, options)
    if (expected === undefined) await expect(done).rejects.toThrow('no ETag')
    else expect(await done).toMatchObject(expected)
  })
})

describe('a stream', () => {
  const streamOf = async function* (...chunks: string[]) {
    for (const chunk of chunks) yield Buffer.from(chunk)
  }
  const five = 5 * 2 ** 20
  /** Takes everything, and says what is still there of an upload that was aborted. */
  const taking = (left: () => boolean, failing?: (request: Received) => number | undefined) =>
    scripted(
      (request, response) => {
        const kind = is(request)
        const status = failing?.(request)
        if (status !== undefined)
          response.writeHead(status).end(error(status === 403 ? 'AccessDenied' : 'InternalError'))
        else if (kind.head) response.writeHead(404).end()
        else if (kind.create) response.writeHead(200).end(created)
        else if (kind.abort) response.writeHead(204).end()
        else if (kind.list)
          left()
            ? response
                .writeHead(200)
                .end(
                  '<ListPartsResult><UploadId>u1</UploadId><IsTruncated>false</IsTruncated></ListPartsResult>',
                )
            : response.writeHead(404).end(error('NoSuchUpload'))
        else if (kind.complete) response.writeHead(200).end(completed())
        else response.writeHead(200, { etag: `"p${/partNumber=(\d+)/.exec(request.url)?.[1] ?? ''}"` }).end()
      },
      { streamPartSize: five },
    )
  test('that is short is put whole, with its sum, and only if nothing is there', async () => {
    const { store, received } = await taking(() => false)
    const done = await store.putStream('a', streamOf('hel', 'lo'), { headers, ifNoneMatch: true })
    expect(done).toMatchObject({ etag: 'p', size: 5 })
    const put = received.find(({ method }) => method === 'PUT')
    expect(put).toMatchObject({
      body: 'hello',
      headers: { 'x-amz-checksum-crc32': sum('hello'), 'if-none-match': '*' },
    })
  })
  test('that is long goes in parts, each and the whole with its sum', async () => {
    const { store, received } = await taking(() => false)
    const long = 'x'.repeat(five)
    expect(await store.putStream('a', streamOf(long, 'tail'), { headers, ifNoneMatch: true })).toMatchObject({
      etag: 'e-2',
      size: five + 4,
    })
    const parts = received.filter(request => is(request).part)
    expect(parts.map(({ headers }) => headers['x-amz-checksum-crc32']).sort()).toEqual(
      [sum(long), sum('tail')].sort(),
    )
    const complete = received.find(request => is(request).complete)
    expect(complete?.headers).toMatchObject({
      'x-amz-checksum-crc32': encodeCrc32(crc32('tail', crc32(long))),
      'x-amz-mp-object-size': String(five + 4),
      'if-none-match': '*',
    })
    expect([...(complete?.body ?? '').matchAll(/<ETag>"?(?:&quot;)?(p\d)/g)].map(([, etag]) => etag)).toEqual(
      ['p1', 'p2'],
    )
    expect(received.some(request => is(request).abort)).toBe(false)
  })
  test('of which a part fails once is sent again; for good, the upload is aborted until it is gone', async () => {
    let failures = 0
    const once = await taking(
      () => false,
      request => (is(request).part && failures++ === 0 ? 500 : undefined),
    )
    expect(await once.store.putStream('a', streamOf('x'.repeat(five), 'tail'), { headers })).toMatchObject({
      etag: 'e-2',
    })
    let asked = 0
    const never = await taking(
      () => ++asked < 3,
      request => (is(request).part ? 403 : undefined),
    )
    await expect(
      never.store.putStream('a', streamOf('x'.repeat(five), 'tail'), { headers }),
    ).rejects.toMatchObject({ kind: 'denied' })
    expect(never.received.filter(request => is(request).abort)).toHaveLength(3)
    expect(asked).toBe(3)
  })
  test('whose reading fails fails by that, and lets go of its source', async () => {
    const { store, received } = await taking(() => false)
    let isClosed = false
    const failing = (async function* () {
      try {
        yield Buffer.from('x'.repeat(five))
        yield Buffer.from('more')
        throw new RangeError('the disk')
      } finally {
        isClosed = true
      }
    })()
    await expect(store.putStream('a', failing, { headers })).rejects.toThrow('the disk')
    expect(isClosed).toBe(true)
    expect(received.some(request => is(request).complete)).toBe(false)
    expect(received.some(request => is(request).abort)).toBe(true)
  })
  test('that is stopped is told so, and aborted', async () => {
    const { store, received } = await taking(() => false)
    const stop = new AbortController()
    const stopping = (async function* () {
      yield Buffer.from('x'.repeat(five))
      stop.abort()
      yield Buffer.from('y'.repeat(five))
      yield Buffer.from('z')
    })()
    await expect(store.putStream('a', stopping, { headers, signal: stop.signal })).rejects.toMatchObject({
      kind: 'aborted',
    })
    expect(received.some(request => is(request).complete)).toBe(false)
    expect(received.filter(request => is(request).abort).length).toBeLessThanOrEqual(1)
  })
})
