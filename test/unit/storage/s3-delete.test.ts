/** What became of each object that was to be deleted, by all that a store may answer. */
import { expect, test } from 'vitest'
import { type Received, scripted } from '../../support/scripted-store.ts'

const result = (inner: string) => `<DeleteResult>${inner}</DeleteResult>`
const isBatch = ({ method, url }: Received) => method === 'POST' && url.includes('delete')

test('each in its order: gone, hidden, refused, or not mentioned', async () => {
  const { store, received } = await scripted((_, response) => {
    response.writeHead(200).end(
      result(`<Deleted><Key>hidden</Key><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m1</DeleteMarkerVersionId></Deleted>
        <Error><Key>denied</Key><Code>AccessDenied</Code><Message>no</Message></Error>
        <Error><Key>never</Key><Code>NoSuchKey</Code><Message>none</Message></Error>
        <Deleted><Key>gone</Key></Deleted>
        <Deleted><Key>version</Key><VersionId>v1</VersionId><DeleteMarkerVersionId>v1</DeleteMarkerVersionId></Deleted>
        <Error><Key>version</Key><VersionId>v2</VersionId><Code>InternalError</Code></Error>`),
    )
  })
  const outcomes = await store.delete([
    { key: 'gone' },
    { key: 'hidden' },
    { key: 'denied' },
    { key: 'never' },
    { key: 'forgotten' },
    { key: 'version', versionId: 'v1' },
    { key: 'version', versionId: 'v2' },
  ])
  expect(received).toHaveLength(1)
  expect(outcomes).toMatchObject([
    { key: 'gone' },
    { key: 'hidden', deleteMarkerVersionId: 'm1' },
    { key: 'denied', error: { kind: 'denied' } },
    { key: 'never' },
    { key: 'forgotten', error: { kind: 'unavailable' } },
    { key: 'version', versionId: 'v1' },
    { key: 'version', versionId: 'v2', error: { kind: 'unavailable' } },
  ])
  for (const at of [0, 3]) expect(outcomes[at]).toEqual({ key: ['gone', '', '', 'never'][at] })
  expect(outcomes[5]).toEqual({ key: 'version', versionId: 'v1' })
})

test('a thousand at a time, and no more', async () => {
  const { store, received } = await scripted(({ body }, response) => {
    const keys = [...body.matchAll(/<Key>(.*?)<\/Key>/g)].map(
      ([, key]) => `<Deleted><Key>${key}</Key></Deleted>`,
    )
    response.writeHead(200).end(result(keys.join('')))
  })
  const requests = Array.from({ length: 2_001 }, (_, index) => ({ key: `k${index}` }))
  expect(await store.delete(requests)).toEqual(requests)
  expect(received.map(({ body }) => body.match(/<Key>/g)?.length).sort()).toEqual([1, 1_000, 1_000])
  expect(await store.delete([])).toEqual([])
  expect(received).toHaveLength(3)
})

test('one by one where a condition has to hold, or a key cannot be written in XML', async () => {
  const { store, received } = await scripted((request, response) => {
    if (isBatch(request)) response.writeHead(200).end(result('<Deleted><Key>plain</Key></Deleted>'))
    else if (request.method === 'HEAD') response.writeHead(200, { etag: '"e1"', 'content-length': '1' }).end()
    else if (![undefined, '"e1"'].includes(request.headers['if-match'])) response.writeHead(412).end()
    else if (request.url.includes('gone')) response.writeHead(404).end()
    else if (request.url.includes('denied')) response.writeHead(403).end()
    else response.writeHead(204, { 'x-amz-delete-marker': 'true', 'x-amz-version-id': 'm1' }).end()
  })
  const outcomes = await store.delete([
    { key: 'plain' },
    { key: 'same', ifMatch: 'e1' },
    { key: 'bell\u0007' },
    { key: 'denied\u0001' },
    { key: 'gone\ufffe' },
  ])
  expect(outcomes).toMatchObject([
    { key: 'plain' },
    { key: 'same', deleteMarkerVersionId: 'm1' },
    { key: 'bell\u0007', deleteMarkerVersionId: 'm1' },
    { key: 'denied\u0001', error: { kind: 'denied' } },
    { key: 'gone\ufffe' },
  ])
  expect(outcomes[4]).not.toHaveProperty('error')
  const deletes = received.filter(({ method }) => method === 'DELETE')
  expect(deletes.findLast(({ url }) => url.includes('same'))?.headers['if-match']).toBe('"e1"')
  expect(deletes.find(({ url }) => url.includes('bell'))?.headers).not.toHaveProperty('if-match')
  expect(received.filter(isBatch)).toHaveLength(1)
})

test('another object by now is left, and told; the marker of a version that goes is none of ours', async () => {
  const { store } = await scripted((request, response) => {
    if (request.method === 'HEAD') response.writeHead(200, { etag: '"e2"', 'content-length': '1' }).end()
    else if (request.headers['if-match'] !== undefined) response.writeHead(412).end()
    else response.writeHead(204, { 'x-amz-delete-marker': 'true', 'x-amz-version-id': 'v1' }).end()
  })
  expect(await store.delete([{ key: 'a', ifMatch: 'e1' }])).toMatchObject([
    { error: { kind: 'precondition' } },
  ])
  expect(await store.delete([{ key: 'b\u0007', versionId: 'v1' }])).toEqual([
    { key: 'b\u0007', versionId: 'v1' },
  ])
})

test('a store without batches is asked one by one, and from then on at once', async () => {
  for (const [status, code] of [
    [501, 'NotImplemented'],
    [400, 'InvalidRequest'],
    [404, 'NoSuchKey'],
  ] as const) {
    const { store, received } = await scripted((request, response) => {
      if (isBatch(request)) response.writeHead(status).end(`<Error><Code>${code}</Code></Error>`)
      else response.writeHead(204).end()
    })
    expect([code, await store.delete([{ key: 'a' }, { key: 'b' }])]).toEqual([
      code,
      [{ key: 'a' }, { key: 'b' }],
    ])
    await store.delete([{ key: 'c' }])
    expect(received.map(({ method }) => method)).toEqual(['POST', 'DELETE', 'DELETE', 'DELETE'])
  }
})

test('what refuses a batch for another reason is that of each of them', async () => {
  const { store, received } = await scripted((_, response) => {
    response.writeHead(403).end('<Error><Code>AccessDenied</Code></Error>')
  })
  expect(await store.delete([{ key: 'a' }, { key: 'b', versionId: 'v' }])).toMatchObject([
    { key: 'a', error: { kind: 'denied' } },
    { key: 'b', versionId: 'v', error: { kind: 'denied' } },
  ])
  expect(received).toHaveLength(1)
  // One by one they fare no better: batches are not what the store lacks.
  const none = await scripted(
    (_, response) => void response.writeHead(400).end('<Error><Code>InvalidRequest</Code></Error>'),
  )
  await none.store.delete([{ key: 'a' }])
  await none.store.delete([{ key: 'b' }])
  expect(none.received.filter(isBatch)).toHaveLength(2)
})
