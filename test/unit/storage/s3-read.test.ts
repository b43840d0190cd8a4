/** Looking and reading: what is asked, and what is made of answers that are odd. */
import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { encodeCrc32 } from '../../../src/core/crc32.ts'
import { scripted } from '../../support/scripted-store.ts'

const sum = (text: string) => encodeCrc32(crc32(text))
const error = (code: string, message = '') =>
  `<Error><Code>${code}</Code><Message>${message}</Message></Error>`
const plain = { etag: '"e1"', 'content-type': 'audio/flac' }
const text = async (body: AsyncIterable<Uint8Array> | undefined) =>
  Buffer.concat(await Array.fromAsync(body ?? [])).toString()

describe('a look', () => {
  test('asks for checksums, and for a version by its id', async () => {
    const { store, received } = await scripted((_, response) =>
      response.writeHead(200, { ...plain, 'content-length': '5' }).end(),
    )
    expect(await store.head('a', { versionId: 'v 1' })).toMatchObject({ etag: 'e1', size: 5 })
    await store.head('a')
    expect(received[0]).toMatchObject({ method: 'HEAD', headers: { 'x-amz-checksum-mode': 'ENABLED' } })
    expect(received.map(({ url }) => url.includes('versionId=v%201'))).toEqual([true, false])
  })
  test('that fails for a moment is taken again, and given up in the end', async () => {
    let failures = 0
    const { store, received } = await scripted(
      (_, response) =>
        void (failures++ < 2
          ? response.writeHead(503).end()
          : response.writeHead(200, { ...plain, 'content-length': '5' }).end()),
      { readAttempts: 3 },
    )
    expect(await store.head('a')).toMatchObject({ etag: 'e1' })
    expect(received).toHaveLength(3)
    const never = await scripted((_, response) => void response.writeHead(503).end(), { readAttempts: 2 })
    await expect(never.store.head('a')).rejects.toMatchObject({ kind: 'unavailable' })
    expect(never.received).toHaveLength(2)
  })
  test.each<[string, number, Record<string, string>, string, object | string]>([
    ['for a reason that a reading tells', 400, {}, error('ExpiredToken'), 'expired-token'],
    [
      'and a byte can be read: it was not meant so',
      206,
      { 'content-range': 'bytes 0-0/5', 'content-length': '1' },
      'h',
      'again',
    ],
    ['and there is nothing in it', 416, {}, error('InvalidRange'), 'again'],
    ['and more than a byte comes', 200, { 'content-length': '5' }, 'hello', 'again'],
    ['and it is not there', 404, {}, error('NoSuchKey'), 'undefined'],
    ['and it may not be read', 403, {}, error('AccessDenied'), 'denied'],
  ])('refused without a word, %s', async (_what, status, headers, body, expected) => {
    let looks = 0
    const { store, received } = await scripted(({ method }, response) => {
      if (method === 'GET') response.writeHead(status, { ...plain, ...headers }).end(body)
      else if (++looks === 1) response.writeHead(400).end()
      else response.writeHead(200, { ...plain, 'content-length': '5' }).end()
    })
    const look = store.head('a')
    if (expected === 'again') expect(await look).toMatchObject({ etag: 'e1', size: 5 })
    else if (expected === 'undefined') expect(await look).toBeUndefined()
    else await expect(look).rejects.toMatchObject({ kind: expected })
    const [, read] = received
    expect(read).toMatchObject({ method: 'GET', headers: { range: 'bytes=0-0' } })
    expect(looks).toBe(expected === 'again' ? 2 : 1)
  })
  test('refused otherwise is not asked for again', async () => {
    for (const [status, kind] of [
      [403, 'denied'],
      [409, 'conflict'],
    ] as const) {
      const { store, received } = await scripted((_, response) => void response.writeHead(status).end(), {
        readAttempts: 1,
      })
      await expect(store.head('a')).rejects.toMatchObject({ kind })
      expect(received.every(({ method }) => method === 'HEAD')).toBe(true)
    }
  })
})

describe('a reading', () => {
  test('asks for what is wanted, and no more', async () => {
    const { store, received } = await scripted((_, response) =>
      response.writeHead(206, { ...plain, 'content-length': '3', 'content-range': 'bytes 2-4/9' }).end('llo'),
    )
    const whole = await store.get('a', { range: { start: 2, end: 4 }, ifMatch: 'e1', versionId: 'v1' })
    expect([whole?.head.size, await text(whole?.body)]).toEqual([9, 'llo'])
    await text((await store.get('a', { range: { start: 2 } }))?.body)
    await text((await store.get('a'))?.body)
    expect(
      received.map(({ headers, url }) => [
        headers.range,
        headers['if-match'],
        headers['x-amz-checksum-mode'],
        url.includes('versionId=v1'),
      ]),
    ).toEqual([
      ['bytes=2-4', '"e1"', 'ENABLED', true],
      ['bytes=2-', undefined, 'ENABLED', false],
      [undefined, undefined, 'ENABLED', false],
    ])
  })
  test('the whole for a part from its beginning is that part; for a later one it is refused', async () => {
    const { store } = await scripted((_, response) =>
      response.writeHead(200, { ...plain, 'content-length': '5' }).end('hello'),
    )
    expect(await text((await store.get('a', { range: { start: 0, end: 9 } }))?.body)).toBe('hello')
    await expect(store.get('a', { range: { start: 1, end: 9 } })).rejects.toMatchObject({
      kind: 'unsupported',
    })
  })
  test.each<[string, Record<string, string>, string, string | undefined]>([
    [
      'its sum is right',
      { 'x-amz-checksum-crc32': sum('hello'), 'x-amz-checksum-type': 'FULL_OBJECT' },
      'hello',
      undefined,
    ],
    [
      'its sum is another',
      { 'x-amz-checksum-crc32': sum('other'), 'x-amz-checksum-type': 'FULL_OBJECT' },
      'hello',
      'bad-digest',
    ],
    [
      'its sum is one of sums',
      { 'x-amz-checksum-crc32': `${sum('other')}-2`, 'x-amz-checksum-type': 'COMPOSITE' },
      'hello',
      undefined,
    ],
  ])('whole: %s', async (_what, headers, body, kind) => {
    const { store } = await scripted((_, response) =>
      response.writeHead(200, { ...plain, ...headers, 'content-length': String(body.length) }).end(body),
    )
    const read = text((await store.get('a'))?.body)
    if (kind === undefined) expect(await read).toBe(body)
    else await expect(read).rejects.toMatchObject({ kind })
  })
  test('what is not there is nothing; what may not be read is told', async () => {
    const { store } = await scripted(
      ({ url }, response) => void response.writeHead(url.includes('gone') ? 404 : 403).end(),
    )
    expect(await store.get('gone')).toBeUndefined()
    expect(await store.getInto('gone', Buffer.alloc(3))).toBeUndefined()
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'denied' })
    await expect(store.getInto('a', Buffer.alloc(3))).rejects.toMatchObject({ kind: 'denied' })
  })
  test('a body that breaks off is an error of the connection', async () => {
    const { store } = await scripted((_, response) => {
      response.writeHead(200, { ...plain, 'content-length': '50' })
      response.write('hello', () => response.destroy())
    })
    await expect(text((await store.get('a'))?.body)).rejects.toMatchObject({ kind: 'network' })
  })
})

describe('a reading into memory', () => {
  const into = (length = 5) => Buffer.alloc(length, '.')
  test('asks for as much as fits, from where it is told', async () => {
    const { store, received } = await scripted(({ headers }, response) =>
      response
        .writeHead(headers.range ? 206 : 200, {
          ...plain,
          'content-length': '5',
          ...(headers.range && { 'content-range': 'bytes 2-6/9' }),
        })
        .end('hello'),
    )
    const memory = into()
    expect(await store.getInto('a', memory, { start: 2, ifMatch: 'e1' })).toMatchObject({
      bytes: 5,
      head: { etag: 'e1' },
    })
    expect(memory.toString()).toBe('hello')
    await store.getInto('a', memory)
    expect(
      received.map(({ headers }) => [headers.range, headers['if-match'], headers['x-amz-checksum-mode']]),
    ).toEqual([
      ['bytes=2-6', '"e1"', 'ENABLED'],
      [undefined, undefined, 'ENABLED'],
    ])
  })
  test('of an empty object brings nothing; beyond the end of another it is refused', async () => {
    const sized = (size: string) =>
      scripted(({ method }, response) => {
        if (method === 'HEAD') response.writeHead(200, { ...plain, 'content-length': size }).end()
        else response.writeHead(416).end(error('InvalidRange'))
      })
    const empty = await sized('0')
    expect(await empty.store.getInto('a', into(), { start: 0 })).toMatchObject({
      bytes: 0,
      head: { size: 0 },
    })
    await expect(empty.store.getInto('a', into(), { start: 1 })).rejects.toMatchObject({ status: 416 })
    await expect((await sized('9')).store.getInto('a', into(), { start: 0 })).rejects.toMatchObject({
      status: 416,
    })
  })
  test('of a body without a length takes what fits', async () => {
    const { store } = await scripted((_, response) => {
      response.writeHead(206, { ...plain, 'content-range': 'bytes 0-4/9', 'transfer-encoding': 'chunked' })
      response.write('he')
      response.end('lloyou')
    })
    const memory = into()
    expect(await store.getInto('a', memory, { start: 0 })).toMatchObject({ bytes: 5 })
    expect(memory.toString()).toBe('hello')
  })
  test('of an object longer than expected is refused by both sizes', async () => {
    const { store, received } = await scripted((_, response) =>
      response.writeHead(200, { ...plain, 'content-length': '9' }).end('hello you'),
    )
    await expect(store.getInto('a', into(), { ifMatch: 'e1' })).rejects.toThrow(
      'it has 9 bytes, but 5 were expected',
    )
    expect(received.every(({ headers }) => headers['if-match'] === '"e1"')).toBe(true)
    expect(await store.getInto('a', into(9))).toMatchObject({ bytes: 9 })
  })
})
