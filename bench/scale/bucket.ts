/**
 * The bucket of `npm run bench:scale`, and its CDN: answers made out of nothing, so that a million objects cost no disk and
 * no time to make. A process of its own: `node bench/scale/bucket.ts ROWS`; sends its URL to its parent.
 */
import http, { type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileSize, keyOf } from './library.ts'

const rows = Number(process.argv[2])
const etag = (index: number): string => `"${index.toString(16).padStart(32, '0')}"`
/** Before what the ledger has proved. */
const uploaded = new Date(Date.now() - 100 * 86_400_000).toISOString()

/** Number of the first object whose key comes after `key`: keys have their number in them, with leading zeros. */
function indexAfter(key: string): number {
  const number = /Title (\d+)/.exec(key)?.[1]
  return number === undefined ? 0 : Number(number) + 1
}

function xml(response: ServerResponse, text: string): void {
  response
    .writeHead(200, { 'content-type': 'application/xml' })
    .end(`<?xml version="1.0" encoding="UTF-8"?>\n${text}`)
}

function list(query: URLSearchParams, response: ServerResponse): void {
  const prefix = query.get('prefix') ?? ''
  const most = Math.min(1_000, Number(query.get('max-keys') ?? 1_000))
  const after = query.get('continuation-token') ?? query.get('start-after') ?? ''
  const isThere = 'audio/'.startsWith(prefix)
  const from = isThere ? indexAfter(after) : rows
  const to = Math.min(rows, from + most)
  const spell = query.get('encoding-type') === 'url' ? encodeURIComponent : (key: string) => key
  let contents = ''
  for (let index = from; index < to; index++) {
    contents += `<Contents><Key>${spell(keyOf(index))}</Key><LastModified>${uploaded}</LastModified><ETag>${etag(index)}</ETag><Size>${fileSize}</Size><StorageClass>STANDARD</StorageClass></Contents>`
  }
  const more =
    to < rows
      ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${keyOf(to - 1)}</NextContinuationToken>`
      : '<IsTruncated>false</IsTruncated>'
  xml(
    response,
    `<ListBucketResult><Name>bench</Name><Prefix>${prefix}</Prefix><KeyCount>${to - from}</KeyCount><MaxKeys>${most}</MaxKeys><EncodingType>url</EncodingType>${more}${contents}</ListBucketResult>`,
  )
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://bench')
  const key = decodeURIComponent(url.pathname.replace(/^\/(bench\/?)?/, ''))
  if (request.headers.range !== undefined) {
    response
      .writeHead(206, {
        'content-type': 'audio/mpeg',
        'content-range': `bytes 0-0/${fileSize}`,
        'content-length': '1',
        'accept-ranges': 'bytes',
        'cache-control': 'public, max-age=31536000, immutable',
        etag: etag(indexAfter(key) - 1),
        'x-cache': 'Hit from cloudfront',
        'x-amz-cf-pop': 'BENCH-1',
      })
      .end('m')
  } else if (key === '' && url.searchParams.has('list-type')) list(url.searchParams, response)
  else if (url.searchParams.has('versioning')) xml(response, '<VersioningConfiguration/>')
  else if (url.searchParams.has('uploads'))
    xml(response, '<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>')
  else if (key === '') response.writeHead(200).end()
  else if (!/Title \d/.test(key)) response.writeHead(404).end()
  else {
    response
      .writeHead(200, {
        'content-length': String(fileSize),
        'content-type': 'audio/mpeg',
        etag: etag(indexAfter(key) - 1),
        'cache-control': 'public, max-age=31536000, immutable',
        'last-modified': new Date(uploaded).toUTCString(),
      })
      .end()
  }
})
server.listen(0, '127.0.0.1', () => {
  process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
process.on('disconnect', () => process.exit())
