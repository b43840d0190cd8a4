/** The last question before a local file goes: whether the CDN serves its very bytes, asked again only where that may help. */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openServedCheck } from '../../../src/cdn/served.ts'
import { loadConfig } from '../../../src/config.ts'
import { end, listening, portOf } from '../../support/listening.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const content = Buffer.from('0123456789'.repeat(100))
const range = { start: 10, end: 19 }
const sha256 = createHash('sha256').update(content.subarray(10, 20)).digest('hex')

type Answer = 'right' | 'other' | 'longer' | 'reset' | 'garbage' | number
/** What is answered to each path, one after another, and how often it was asked. */
const answers = new Map<string, Answer[]>()
const asked = new Map<string, number>()
/** Content-Range of a path's answers. */
const ranges = new Map<string, string | undefined>()
const server = http.createServer((request, response) => {
  const key = request.url ?? ''
  asked.set(key, (asked.get(key) ?? 0) + 1)
  expect(request.headers.range).toBe('bytes=10-19')
  const answer = answers.get(key)?.shift() ?? 'right'
  if (answer === 'reset') request.socket.resetAndDestroy()
  else if (answer === 'garbage') request.socket.end('garbage')
  else if (answer === 'right') {
    const told = ranges.get(decodeURI(key))
    response.writeHead(206, told === undefined ? {} : { 'content-range': told }).end(content.subarray(10, 20))
  } else if (answer === 'longer') response.writeHead(206).end(content.subarray(10, 21))
  else if (answer === 'other') response.writeHead(206).end(content.subarray(11, 21))
  else response.writeHead(answer).end(content)
})
let check: NonNullable<Awaited<ReturnType<typeof openServedCheck>>>
const options = { concurrency: 16, signal: new AbortController().signal, now: () => new Date() }
const configOf = (domain: string | undefined) =>
  loadConfig({ cwd: '/', env: { S3_BUCKET_NAME: 'music', ...(domain && { CLOUDFRONT_DOMAIN: domain }) } })
beforeAll(async () => {
  await listening(server)
  const port = portOf(server)
  const opened = await openServedCheck(configOf(`http://127.0.0.1:${port}`), options)
  check = opened as typeof check
})
afterAll(() => {
  check.close()
  end(server)
})

test.each<[Answer[], true | string, number]>([
  [['right'], true, 1],
  [['other'], 'the bytes differ', 1],
  [['longer'], 'the bytes differ', 1],
  // All of it, where a part was asked for, is no proof of the part.
  [[200], 'HTTP 200', 1],
  [[404], 'HTTP 404', 1],
  [[403], 'HTTP 403', 1],
  [[499, 'right'], 'HTTP 499', 1],
  [[500, 'right'], true, 2],
  [[503, 429, 'right'], true, 3],
  [[503, 503, 503, 'right'], 'HTTP 503', 3],
  [[429, 'other'], 'the bytes differ', 2],
  // Twice, as the connection was new.
  [['reset', 'right'], true, 2],
  [['garbage', 'right'], 'Parse Error: Expected HTTP/, RTSP/ or ICE/', 1],
])('answered by %j it is served: %s, asked %d times', async (script, expected, times) => {
  const key = `audio/${script.join(' ')}.flac`
  const path = `/${key.replaceAll(' ', '%20')}`
  answers.set(path, [...script])
  const result = await check.served(key, range, sha256, content.length)
  expect(result).toEqual(expected === true ? { served: true } : { served: false, reason: expected })
  expect(asked.get(path)).toBe(times)
})

test.each<[string | undefined, true | string]>([
  ['bytes 10-19/1000', true],
  ['bytes 10-19/*', true],
  [undefined, true],
  ['bytes 10-19/1001', 'what it serves has 1001 bytes, the file has 1000'],
  ['bytes 10-19/999', 'what it serves has 999 bytes, the file has 1000'],
])('the right bytes, of %s: served: %s', async (contentRange, expected) => {
  const key = `audio/of ${contentRange}.flac`
  ranges.set(`/${key}`, contentRange)
  const result = await check.served(key, range, sha256, content.length)
  expect(result).toEqual(expected === true ? { served: true } : { served: false, reason: expected })
})

test('what cannot be connected to is told', async () => {
  const closed = await listening(http.createServer())
  const port = portOf(closed)
  await new Promise(resolve => closed.close(resolve))
  const opened = await openServedCheck(configOf(`http://127.0.0.1:${port}`), options)
  expect(await opened?.served('audio/a', range, sha256, content.length)).toEqual({
    served: false,
    reason: expect.stringMatching(/ECONNREFUSED/),
  })
  opened?.close()
})

test('without a CDN there is nothing to ask', async () => {
  expect(await openServedCheck(configOf(undefined), options)).toBeUndefined()
})

test('a URL that has to be signed is signed for ten minutes, anew for each try', async () => {
  const file = path.join(temporaryFolder('key'), 'key.pem')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const urls: URL[] = []
  const signing = http.createServer((request, response) => {
    urls.push(new URL(request.url ?? '', 'http://cdn.example'))
    if (urls.length === 1) response.writeHead(503).end()
    else response.writeHead(206).end(content.subarray(10, 20))
  })
  await listening(signing)
  const env = {
    S3_BUCKET_NAME: 'music',
    CLOUDFRONT_DOMAIN: `http://127.0.0.1:${portOf(signing)}`,
    CLOUDFRONT_KEY_PAIR_ID: 'K2JCJMDEHXQW5F',
    CLOUDFRONT_PRIVATE_KEY_PATH: file,
  }
  let signed = 0
  const now = () => new Date(1_000_000 + 60_000 * ++signed)
  const opened = await openServedCheck(loadConfig({ cwd: '/', env }), { ...options, now })
  expect(await opened?.served('audio/a.flac', range, sha256, content.length)).toEqual({ served: true })
  opened?.close()
  end(signing)
  expect(urls.map(url => [url.pathname, url.searchParams.get('Expires')])).toEqual([
    ['/audio/a.flac', '1660'],
    ['/audio/a.flac', '1720'],
  ])
})

test('a signal ends the wait for a second try', async () => {
  const stop = new AbortController()
  const port = portOf(server)
  const opened = await openServedCheck(configOf(`http://127.0.0.1:${port}`), {
    ...options,
    signal: stop.signal,
  })
  answers.set('/audio/stopped', [503, 503, 503])
  const asking = opened?.served('audio/stopped', range, sha256, content.length)
  await expect.poll(() => asked.get('/audio/stopped')).toBe(1)
  stop.abort(new Error('enough'))
  await expect(asking).rejects.toThrow()
  opened?.close()
})
