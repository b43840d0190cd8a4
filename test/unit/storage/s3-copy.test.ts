/** What a copy in place keeps, and what an answer says of archived objects: seen on the wire, by a scripted server. */
import type { ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { StoreError } from '../../../src/storage/store.ts'
import { type Received, scripted } from '../../support/scripted-store.ts'
import { crc32Text } from '../../support/sums.ts'

const stored = {
  etag: '"e1"',
  'content-length': '5',
  'content-type': 'text/plain',
  'content-language': 'pt',
  'content-encoding': 'identity',
  'content-disposition': 'inline',
  expires: 'Thu, 01 Dec 2099 16:00:00 GMT',
  'x-amz-meta-sha256': 'f00',
  'x-amz-server-side-encryption': 'aws:kms:dsse',
  'x-amz-server-side-encryption-aws-kms-key-id': 'arn:aws:kms:eu-west-1:1:key/own',
  'x-amz-server-side-encryption-bucket-key-enabled': 'true',
  'x-amz-website-redirect-location': '/elsewhere',
  'x-amz-storage-class': 'STANDARD_IA',
}

const accessList = (grants: string): string =>
  `<AccessControlPolicy><Owner><ID>me</ID></Owner><AccessControlList>${grants}</AccessControlList></AccessControlPolicy>`
const owner =
  '<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>'
const everyone =
  '<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>'

function answering(acl: { status?: number; body: string }) {
  return ({ method, url }: Received, response: ServerResponse): void => {
    if (method === 'HEAD') response.writeHead(200, stored).end()
    else if (url.includes('acl')) response.writeHead(acl.status ?? 200).end(acl.body)
    else response.writeHead(200).end('<CopyObjectResult><ETag>"e2"</ETag></CopyObjectResult>')
  }
}

test('an error in the body of a 200 is told as the 200 that it was', async () => {
  const { store } = await scripted(({ method }, response) => {
    if (method === 'HEAD') response.writeHead(200, stored).end()
    else
      response
        .writeHead(200)
        .end('<?xml version="1.0"?><Error><Code>InternalError</Code><Message>later</Message></Error>')
  })
  await expect(store.copy('a', 'b', { ifMatch: 'e1' })).rejects.toMatchObject({
    kind: 'unavailable',
    message: expect.stringContaining('(InternalError, HTTP 200): later'),
  })
})

describe('rewriteHeaders', () => {
  test('keeps everything but the two headers: language, expiry, encryption with an own key, access list', async () => {
    const { store, received } = await scripted(answering({ body: accessList(owner + everyone) }))
    const { etag } = await store.rewriteHeaders('a', {
      ifMatch: 'e1',
      contentType: 'audio/mpeg',
      cacheControl: 'no-store',
    })
    expect(etag).toBe('e2')
    const { headers } = received.at(-1) as Received
    expect(headers).toMatchObject({
      'content-type': 'audio/mpeg',
      'cache-control': 'no-store',
      'x-amz-metadata-directive': 'REPLACE',
      'x-amz-copy-source-if-match': '"e1"',
      'x-amz-storage-class': 'STANDARD_IA',
      'x-amz-grant-read': 'uri="http://acs.amazonaws.com/groups/global/AllUsers"',
      'x-amz-grant-full-control': 'id="me"',
    })
    for (const name of [
      'content-language',
      'content-encoding',
      'content-disposition',
      'expires',
      'x-amz-meta-sha256',
      'x-amz-server-side-encryption',
      'x-amz-server-side-encryption-aws-kms-key-id',
      'x-amz-server-side-encryption-bucket-key-enabled',
      'x-amz-website-redirect-location',
    ] as const)
      expect([name, headers[name]]).toEqual([name, stored[name as keyof typeof stored]])
  })

  test('sends no access list where it only says that the owner may do everything, or where there is none', async () => {
    for (const acl of [
      { body: accessList(owner) },
      { body: '<AccessControlPolicy></AccessControlPolicy>' },
      { status: 501, body: '<Error><Code>NotImplemented</Code></Error>' },
      { status: 400, body: '<Error><Code>AccessControlListNotSupported</Code></Error>' },
    ]) {
      const { store, received } = await scripted(answering(acl))
      await store.rewriteHeaders('a', { ifMatch: 'e1', contentType: 'audio/mpeg' })
      expect(Object.keys(received.at(-1)?.headers ?? {}).filter(name => name.includes('grant'))).toEqual([])
    }
  })

  test('names every grantee as the list does: by id, group or address', async () => {
    const grant = (grantee: string, permission: string) =>
      `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">${grantee}</Grantee><Permission>${permission}</Permission></Grant>`
    const grants = [
      grant('<ID>other</ID>', 'READ'),
      grant('<EmailAddress>dj@example.org</EmailAddress>', 'READ'),
      grant('<ID>other</ID>', 'READ_ACP'),
      grant('<URI>http://group</URI>', 'WRITE_ACP'),
      grant('', 'READ'),
      grant('<ID>other</ID>', 'ODD'),
    ]
    const { store, received } = await scripted(answering({ body: accessList(grants.join('')) }))
    await store.rewriteHeaders('a', { ifMatch: 'e1', contentType: 'audio/mpeg' })
    const { headers } = received.at(-1) as Received
    expect(
      Object.entries(headers)
        .filter(([name]) => name.includes('grant'))
        .sort(),
    ).toEqual([
      ['x-amz-grant-read', 'id="other", emailAddress="dj@example.org"'],
      ['x-amz-grant-read-acp', 'id="other"'],
      ['x-amz-grant-write-acp', 'uri="http://group"'],
    ])
  })

  test('the owner alone, but not of everything, and another with everything, are told', async () => {
    for (const [list, expected] of [
      [owner.replace('FULL_CONTROL', 'READ'), { 'x-amz-grant-read': 'id="me"' }],
      [owner.replace('<ID>me</ID>', '<ID>other</ID>'), { 'x-amz-grant-full-control': 'id="other"' }],
    ] as const) {
      const { store, received } = await scripted(answering({ body: accessList(list) }))
      await store.rewriteHeaders('a', { ifMatch: 'e1', contentType: 'audio/mpeg' })
      expect(received.at(-1)?.headers).toMatchObject(expected)
    }
  })

  test('changes nothing where the access list may not be read: it would be lost', async () => {
    const { store, received } = await scripted(
      answering({ status: 403, body: '<Error><Code>AccessDenied</Code></Error>' }),
    )
    const failed = store.rewriteHeaders('a', { ifMatch: 'e1', contentType: 'audio/mpeg' })
    await expect(failed).rejects.toMatchObject({ kind: 'denied' })
    await expect(failed).rejects.toThrow(/access list/)
    expect(received.map(({ method }) => method)).not.toContain('PUT')
  })

  test('refuses an object that is another one by now', async () => {
    const { store, received } = await scripted(answering({ body: accessList(owner) }))
    await expect(store.rewriteHeaders('a', { ifMatch: 'e0' })).rejects.toMatchObject({ kind: 'precondition' })
    expect(received.map(({ method }) => method)).toEqual(['HEAD'])
  })
})

test('a copy keeps encryption with an own key, and the access list', async () => {
  const { store, received } = await scripted(answering({ body: accessList(owner + everyone) }))
  await store.copy('a', 'quarantine/a', { ifMatch: 'e1' })
  expect(received.at(-1)?.headers).toMatchObject({
    'x-amz-server-side-encryption': 'aws:kms:dsse',
    'x-amz-server-side-encryption-aws-kms-key-id': 'arn:aws:kms:eu-west-1:1:key/own',
    'x-amz-grant-read': 'uri="http://acs.amazonaws.com/groups/global/AllUsers"',
  })
})

describe('archived objects', () => {
  test.each([
    ['GLACIER', { 'x-amz-storage-class': 'GLACIER' }, 'archived'],
    ['DEEP_ARCHIVE', { 'x-amz-storage-class': 'DEEP_ARCHIVE' }, 'archived'],
    ['GLACIER_IR, which is read at once', { 'x-amz-storage-class': 'GLACIER_IR' }, undefined],
    [
      'an archive tier of Intelligent-Tiering',
      { 'x-amz-storage-class': 'INTELLIGENT_TIERING', 'x-amz-archive-status': 'ARCHIVE_ACCESS' },
      'archived',
    ],
    ['Intelligent-Tiering otherwise', { 'x-amz-storage-class': 'INTELLIGENT_TIERING' }, undefined],
    [
      'one that is being restored',
      { 'x-amz-storage-class': 'GLACIER', 'x-amz-restore': 'ongoing-request="true"' },
      'restoring',
    ],
    [
      'one with a restored copy',
      {
        'x-amz-storage-class': 'GLACIER',
        'x-amz-restore': 'ongoing-request="false", expiry-date="Fri, 21 Dec 2099 00:00:00 GMT"',
      },
      undefined,
    ],
  ])('%s', async (_, headers, archive) => {
    const { store } = await scripted((_request, response) => {
      response.writeHead(200, { etag: '"e"', 'content-length': '5', ...headers }).end()
    })
    expect((await store.head('a'))?.archive).toBe(archive)
  })

  test('reading one is not "access denied", and says how to restore it', async () => {
    const { store } = await scripted((_request, response) => {
      response.writeHead(403).end('<Error><Code>InvalidObjectState</Code></Error>')
    })
    const error = (await store.get('a').catch(thrown => thrown)) as StoreError
    expect(error).toBeInstanceOf(StoreError)
    expect([error.kind, error.message, error.cure]).toEqual([
      'archived',
      expect.stringMatching(/archive storage class/),
      expect.stringMatching(/restore-object/),
    ])
  })
})

test("the store's time is that of its answers, whatever this machine's clock says", async () => {
  const { store } = await scripted((_request, response) => {
    response
      .writeHead(200, { date: 'Mon, 01 Jan 2024 00:00:00 GMT' })
      .end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>')
  })
  expect((await store.time()).toISOString().slice(0, 16)).toBe('2024-01-01T00:00')
})

test('an upload that is gone was aborted; one that may not be aborted was not', async () => {
  for (const [status, code, kind] of [
    [404, 'NoSuchUpload', undefined],
    [404, 'NoSuchKey', undefined],
    [403, 'AccessDenied', 'denied'],
  ] as const) {
    const { store } = await scripted((_, response) =>
      response.writeHead(status).end(`<Error><Code>${code}</Code></Error>`),
    )
    const aborted = store.abortUpload('a', 'u1')
    if (kind === undefined) await aborted
    else await expect(aborted).rejects.toMatchObject({ kind })
  }
})

test('a store that sends the whole for a part is refused: it would be taken for the part', async () => {
  const { store } = await scripted((_, response) => response.writeHead(200, stored).end('whole'))
  await expect(store.getInto('a', Buffer.alloc(5), { start: 2 })).rejects.toBeInstanceOf(StoreError)
  expect(await store.getInto('a', Buffer.alloc(5), { start: 0 })).toMatchObject({ bytes: 5 })
  const { store: told } = await scripted((_, response) =>
    response.writeHead(200, { ...stored, 'content-length': '3', 'content-range': 'bytes 2-4/5' }).end('ole'),
  )
  expect(await told.getInto('a', Buffer.alloc(3), { start: 2 })).toMatchObject({ bytes: 3 })
})

test('a part of an object: its size is that of the whole, and the sum of the whole is not asked of it', async () => {
  const whole = { ...stored, 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-type': 'FULL_OBJECT' }
  const { store } = await scripted((_, response) =>
    response.writeHead(206, { ...whole, 'content-length': '3', 'content-range': 'bytes 2-4/5' }).end('ole'),
  )
  const content = await store.get('a', { range: { start: 2, end: 4 } })
  expect(content?.head.size).toBe(5)
  expect(Buffer.concat(await Array.fromAsync(content?.body ?? [])).toString()).toBe('ole')
  // Of the whole it is.
  const { store: other } = await scripted((_, response) => response.writeHead(200, whole).end('whole'))
  const read = Array.fromAsync((await other.get('a'))?.body ?? [])
  await expect(read).rejects.toMatchObject({ kind: 'bad-digest' })
})

test('what refuses the end of an upload for another reason than its checksum is told, and not sent again', async () => {
  const { store, received } = await scripted((_, response) =>
    response.writeHead(400).end('<Error><Code>InvalidPart</Code><Message>no such part</Message></Error>'),
  )
  const parts = [{ partNumber: 1, etag: 'p1', size: 5, crc32: 'NsRBbQ==' }]
  await expect(
    store.completeUpload('a', 'u1', parts, { size: 5, checksums: { crc32: 'NsRBbQ==' } } as never),
  ).rejects.toMatchObject({ kind: 'invalid' })
  expect(received).toHaveLength(1)
})

describe('headers that say nothing', () => {
  test('are none of the copy', async () => {
    const bare = { etag: '"e1"', 'content-length': '5' }
    const { store, received } = await scripted(({ method, url }, response) => {
      if (method === 'HEAD') response.writeHead(200, bare).end()
      else if (url.includes('acl')) response.writeHead(200).end(accessList(owner))
      else response.writeHead(200).end('<CopyObjectResult><ETag>"e2"</ETag></CopyObjectResult>')
    })
    await store.rewriteHeaders('a', { ifMatch: 'e1' })
    const { headers } = received.at(-1) as Received
    expect(headers['content-type']).toBe('binary/octet-stream')
    for (const name of ['expires', 'cache-control', 'content-language', 'x-amz-storage-class'])
      expect(headers).not.toHaveProperty(name)
  })

  test('an object that is gone, or too large to be copied at once, is told, and nothing sent', async () => {
    const gone = await scripted((_, response) => void response.writeHead(404).end())
    await expect(gone.store.rewriteHeaders('a', { ifMatch: 'e1' })).rejects.toMatchObject({ kind: 'missing' })
    const size = 5 * 1024 ** 3
    for (const [length, kind] of [
      [size, undefined],
      [size + 1, 'invalid'],
    ] as const) {
      const { store, received } = await scripted(({ method, url }, response) => {
        if (method === 'HEAD') response.writeHead(200, { etag: '"e1"', 'content-length': `${length}` }).end()
        else if (url.includes('acl')) response.writeHead(200).end(accessList(owner))
        else response.writeHead(200).end('<CopyObjectResult><ETag>"e2"</ETag></CopyObjectResult>')
      })
      const written = store.rewriteHeaders('a', { ifMatch: 'e1', contentType: 'audio/flac' })
      if (kind === undefined) expect((await written).etag).toBe('e2')
      else await expect(written).rejects.toMatchObject({ kind })
      expect(received.some(({ method }) => method === 'PUT')).toBe(kind === undefined)
    }
  })
})

describe('a copy', () => {
  const head = { etag: '"e1"', 'content-length': '5', 'content-type': 'audio/flac' }
  const copied = '<CopyObjectResult><ETag>"e2"</ETag></CopyObjectResult>'
  /** The source is there; what lies at the target, and what the copy is answered. */
  const copying = (target: { status: number }, answer: string, status = 200) =>
    scripted(({ method, url }, response) => {
      if (method === 'HEAD' && url.includes('/to')) {
        if (target.status === 404) response.writeHead(404).end()
        else response.writeHead(200, { ...head, etag: '"there"' }).end()
      } else if (method === 'HEAD') response.writeHead(200, head).end()
      else if (url.includes('acl')) response.writeHead(200).end(accessList(owner))
      else response.writeHead(status, { 'x-amz-version-id': 'v 2' }).end(answer)
    })

  test('of another object by now, or onto one that is there, is refused before it is made', async () => {
    const { store, received } = await copying({ status: 200 }, copied)
    await expect(store.copy('from', 'to', { ifMatch: 'e0' })).rejects.toMatchObject({ kind: 'precondition' })
    await expect(store.copy('from', 'to', { ifMatch: 'e1', ifNoneMatch: true })).rejects.toMatchObject({
      kind: 'exists',
    })
    expect(received.some(({ method }) => method === 'PUT')).toBe(false)
    expect((await store.copy('from', 'to', { ifMatch: 'e1' })).etag).toBe('e2')
    expect(received.at(-1)?.headers).toMatchObject({ 'x-amz-copy-source-if-match': '"e1"' })
    expect(received.at(-1)?.headers).not.toHaveProperty('if-none-match')
  })

  test('onto a free key says that it is to be free', async () => {
    const { store, received } = await copying({ status: 404 }, copied)
    await store.copy('from', 'to', { ifNoneMatch: true })
    expect(received.at(-1)?.headers).toMatchObject({ 'if-none-match': '*' })
  })

  test('tells the version that it made, and one of a source that is gone is no copy', async () => {
    const { store } = await copying({ status: 404 }, copied)
    expect(await store.copy('from', 'to')).toMatchObject({ versionId: 'v 2' })
    const gone = await scripted((_, response) => void response.writeHead(404).end())
    await expect(gone.store.copy('from', 'to')).rejects.toMatchObject({ kind: 'missing' })
  })

  test('with other headers replaces them, and does not ask for the access list', async () => {
    const { store, received } = await copying({ status: 404 }, copied)
    await store.copy('from', 'to', {
      headers: { contentType: 'audio/mpeg', metadata: { a: 'b' }, tags: { t: '1' } },
    })
    expect(received.at(-1)?.headers).toMatchObject({
      'x-amz-metadata-directive': 'REPLACE',
      'x-amz-tagging-directive': 'REPLACE',
      'content-type': 'audio/mpeg',
      'x-amz-meta-a': 'b',
    })
    expect(received.some(({ url }) => url.includes('acl'))).toBe(false)
    await store.copy('from', 'to', { headers: { contentType: 'audio/mpeg' } })
    expect(received.at(-1)?.headers).not.toHaveProperty('x-amz-tagging-directive')
  })

  test('of which no ETag is told is what is there then, if that may be it', async () => {
    const untold = '<CopyObjectResult></CopyObjectResult>'
    const { store } = await copying({ status: 200 }, untold)
    expect((await store.copy('from', 'to')).etag).toBe('there')
    const other = await scripted(({ method, url }, response) => {
      if (method === 'HEAD' && url.includes('/to'))
        response.writeHead(200, { ...head, 'content-length': '6' }).end()
      else if (method === 'HEAD') response.writeHead(200, head).end()
      else if (url.includes('acl')) response.writeHead(200).end(accessList(owner))
      else response.writeHead(200).end(untold)
    })
    await expect(other.store.copy('from', 'to')).rejects.toBeInstanceOf(StoreError)
    const none = await copying({ status: 404 }, untold)
    await expect(none.store.copy('from', 'to')).rejects.toBeInstanceOf(StoreError)
  })
})

describe('a copy that is too large for one request', () => {
  const bytes = Buffer.from('twelve bytes')
  const crc = crc32Text(bytes)
  const partCrc = (start: number, end: number) => crc32Text(bytes.subarray(start, end + 1))
  /** A store that copies parts; `refuse` answers instead where it says something. */
  const inParts = (
    refuse: (request: Received) => [status: number, code: string] | undefined = () => undefined,
  ) =>
    scripted(
      (request, response) => {
        const { method, url, headers } = request
        const refused = refuse(request)
        const whole = { etag: '"e1"', 'content-length': `${bytes.length}`, 'content-type': 'audio/flac' }
        const sums = { 'x-amz-checksum-crc32': crc, 'x-amz-checksum-type': 'FULL_OBJECT' }
        if (refused !== undefined)
          response.writeHead(refused[0]).end(`<Error><Code>${refused[1]}</Code><Message>no</Message></Error>`)
        else if (method === 'HEAD') response.writeHead(200, { ...whole, ...sums }).end()
        else if (url.includes('uploads'))
          response
            .writeHead(200)
            .end('<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>')
        else if (method === 'PUT') {
          const [start, end] =
            /bytes=(\d+)-(\d+)/.exec(`${headers['x-amz-copy-source-range']}`)?.slice(1) ?? []
          response
            .writeHead(200)
            .end(
              `<CopyPartResult><ETag>"p${start}"</ETag><ChecksumCRC32>${partCrc(Number(start), Number(end))}</ChecksumCRC32></CopyPartResult>`,
            )
        } else if (method === 'POST')
          response
            .writeHead(200)
            .end(
              `<CompleteMultipartUploadResult><ETag>"whole-3"</ETag><ChecksumCRC32>${crc}</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>`,
            )
        else if (method === 'DELETE') response.writeHead(204).end()
        else response.writeHead(404).end('<Error><Code>NoSuchUpload</Code></Error>')
      },
      { copy: { singleMax: 11, partSize: 5 } },
    )
  const parts = (received: readonly Received[]) =>
    received
      .filter(({ method }) => method === 'PUT')
      .map(({ headers }) => headers['x-amz-copy-source-range'])
      .sort()

  test('goes in parts of one and the same object, and is put together', async () => {
    const { store, received } = await inParts()
    expect((await store.copy('from', 'to')).etag).toBe('whole-3')
    expect(parts(received)).toEqual(['bytes=0-4', 'bytes=10-11', 'bytes=5-9'])
    for (const { method, headers } of received)
      if (method === 'PUT') expect(headers['x-amz-copy-source-if-match']).toBe('"e1"')
    const complete = received.find(({ body }) => body.includes('<CompleteMultipartUpload'))
    expect(complete?.body.match(/<PartNumber>\d/g)).toEqual([
      '<PartNumber>1',
      '<PartNumber>2',
      '<PartNumber>3',
    ])
    expect(complete?.headers).not.toHaveProperty('if-none-match')
    expect(received.some(({ method }) => method === 'DELETE')).toBe(false)
  })

  test('as large as one request takes goes in one', async () => {
    const { store, received } = await scripted(answering({ body: accessList(owner) }), {
      copy: { singleMax: 5, partSize: 5 },
    })
    await store.copy('from', 'to')
    expect(received.filter(({ method }) => method === 'PUT')).toHaveLength(1)
    expect(received.some(({ url }) => url.includes('uploads'))).toBe(false)
  })

  test('is given up and taken back where a part is refused', async () => {
    const { store, received } = await inParts(({ headers }) =>
      headers['x-amz-copy-source-range'] === 'bytes=5-9' ? [403, 'AccessDenied'] : undefined,
    )
    await expect(store.copy('from', 'to')).rejects.toMatchObject({ kind: 'denied' })
    expect(received.filter(({ method }) => method === 'DELETE')).toHaveLength(1)
    expect(received.filter(({ url }) => url.includes('uploads'))).toHaveLength(1)
    expect(received.some(({ body }) => body.includes('<CompleteMultipartUpload'))).toBe(false)
  })

  test('is tried once more without checksums, where a store takes no parts with them', async () => {
    let uploads = 0
    const { store, received } = await inParts(({ url, headers }) => {
      if (url.includes('uploads')) uploads++
      return uploads === 1 && headers['x-amz-copy-source-range'] !== undefined
        ? [400, 'InvalidRequest']
        : undefined
    })
    expect((await store.copy('from', 'to')).etag).toBe('whole-3')
    const begun = received.filter(({ url }) => url.includes('uploads'))
    expect(begun.map(({ headers }) => headers['x-amz-checksum-algorithm'])).toEqual(['CRC32', undefined])
    expect(received.filter(({ method }) => method === 'DELETE')).toHaveLength(1)
  })
})

describe('a store that cannot copy', () => {
  const head = { etag: '"e1"', 'content-length': '5', 'content-type': 'audio/flac', 'x-amz-meta-a': 'b' }
  const without = (etag = '"e1"') =>
    scripted(({ method, url, headers }, response) => {
      if (method === 'HEAD') response.writeHead(url.includes('/to') ? 404 : 200, head).end()
      else if (url.includes('acl')) response.writeHead(501).end('<Error><Code>NotImplemented</Code></Error>')
      else if (method === 'GET') response.writeHead(200, { ...head, etag }).end('audio')
      else if (headers['x-amz-copy-source'] !== undefined)
        response.writeHead(501).end('<Error><Code>NotImplemented</Code></Error>')
      else response.writeHead(200, { etag: '"e2"' }).end()
    })

  test('has it sent down and up again, with its headers, and is not asked a second time', async () => {
    const { store, received } = await without()
    for (const name of ['to1', 'to2']) expect((await store.copy('from', name)).etag).toBe('e2')
    const sent = received.filter(
      ({ method, headers }) => method === 'PUT' && headers['x-amz-copy-source'] === undefined,
    )
    expect(sent.map(({ headers }) => [headers['content-type'], headers['x-amz-meta-a']])).toEqual([
      ['audio/flac', 'b'],
      ['audio/flac', 'b'],
    ])
    for (const { body } of sent) expect(body).toContain('audio')
    expect(received.filter(({ headers }) => headers['x-amz-copy-source'] !== undefined)).toHaveLength(1)
  })

  test('sends nothing up that is another object by then', async () => {
    const { store, received } = await without('"e9"')
    await expect(store.copy('from', 'to', { ifMatch: 'e1' })).rejects.toMatchObject({ kind: 'precondition' })
    expect(
      received.some(({ method, headers }) => method === 'PUT' && headers['x-amz-copy-source'] === undefined),
    ).toBe(false)
  })
})
