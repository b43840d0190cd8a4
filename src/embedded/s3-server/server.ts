/**
 * An S3 server in this process, for the demo: path-style, strict where S3 is strict, on disk. The tests make more of
 * it (test/support/s3-server). It believes nothing a client says before it has checked it, and what it does not know it refuses
 * with 501. Not meant to face a network.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { listen } from '../listen.ts'
import { authenticate, type Credential } from './auth.ts'
import { ClientGone } from './body.ts'
import { makeBucket } from './buckets.ts'
import { Call, noSuchBucket, type Reply, type RequestRecord, type Settings } from './call.ts'
import type { Algorithm } from './checksums.ts'
import { Disk } from './disk.ts'
import type { Extension, Interference } from './extension.ts'
import { sendAll, sendReply } from './response.ts'
import { type Operation, operations, parseTarget, route, type Target } from './routing.ts'
import { errorDocument, S3Error } from './xml.ts'

interface BucketOptions {
  name: string
  /** Another region than the server's makes requests meet a 301. */
  region?: string
  versioning?: 'Enabled' | 'Suspended'
  /** settings by their sub-resource, as XML or JSON */
  documents?: Record<string, string>
}

export interface S3ServerOptions {
  /** For the bytes of objects; made when it is not there. */
  dir: string
  /** 0 (default) for a free one */
  port?: number
  host?: string
  /** PEM; serves HTTPS when given */
  tls?: { key: string; cert: string }
  region?: string
  /** Read on every request: replacing an item rotates a key in mid-run. */
  credentials: Credential[]
  buckets?: (string | BucketOptions)[]
  /** ms since the epoch */
  clock?: () => number
  extension?: Extension
  /** bytes; 5 MiB as in S3 */
  minPartSize?: number
  /** What S3 computes if the client names no checksum; `none` saves the time. */
  defaultChecksum?: Algorithm | 'none'
  /** ms without a byte of a body being sent, before `RequestTimeout`; 20,000 */
  idleTimeout?: number
  /** How many requests are remembered; 20,000 */
  logLimit?: number
}

export interface S3Server {
  /** `http://127.0.0.1:1234`, without a slash at the end */
  readonly url: string
  readonly port: number
  readonly region: string
  readonly credentials: Credential[]
  /** The last requests, oldest first. To forget them: `requests.length = 0`. */
  readonly requests: RequestRecord[]
  /** Drops every connection, waits for what is under way. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts the server, with empty buckets.
 * @throws Error EADDRINUSE and the like; S3Error InvalidBucketName
 */
export async function startS3Server(options: S3ServerOptions): Promise<S3Server> {
  const { host = '127.0.0.1', region = 'us-east-1', clock = Date.now, extension } = options
  const logLimit = options.logLimit ?? 20_000
  const settings: Settings = {
    region,
    minPartSize: options.minPartSize ?? 5 * 1024 * 1024,
    defaultChecksum:
      options.defaultChecksum === 'none' ? undefined : (options.defaultChecksum ?? 'CRC64NVME'),
    idleTimeout: options.idleTimeout ?? 20_000,
  }
  const disk = new Disk(options.dir)
  for (const item of options.buckets ?? []) {
    const wanted: BucketOptions = typeof item === 'string' ? { name: item } : item
    const bucket = makeBucket(disk, wanted.name, wanted.region ?? region, clock())
    bucket.versioning = wanted.versioning
    for (const [name, body] of Object.entries(wanted.documents ?? {})) bucket.documents.set(name, body)
  }
  const requests: RequestRecord[] = []
  const connections = new WeakMap<object, number>()
  let connectionCount = 0
  let requestCount = 0
  const running = new Set<Promise<void>>()
  const closing = new AbortController()

  async function handle(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) {
    const count = ++requestCount
    const id = count.toString(16).toUpperCase().padStart(16, '0')
    const hostId = Buffer.from(`autodj${id}`).toString('base64')
    const record = recordOf(request, id, clock(), connections.get(request.socket) ?? 0)
    requests.push(record)
    if (requests.length > logLimit * 1.1) requests.splice(0, requests.length - logLimit)
    const common: Record<string, string> = {
      'x-amz-request-id': id,
      'x-amz-id-2': hostId,
      // Its own clock's, not this machine's.
      date: new Date(clock()).toUTCString(),
      server: 'AmazonS3',
    }
    let reply: Reply
    let interference: Interference | undefined
    let target: Target | undefined
    try {
      target = parseTarget(request.url ?? '/')
      record.bucket = target.bucket || undefined
      record.key = target.key || undefined
      record.query = Object.fromEntries(target.pairs)
      const origin = request.headers.origin
      const asksFirst = request.method === 'OPTIONS' && extension !== undefined
      const chosen = route(request, target, extension?.operations ?? operations)
      if (asksFirst) record.operation = 'Preflight'
      else if (chosen) record.operation = chosen.name
      interference = extension?.interfere(record)
      await interference?.before(request, closing.signal)
      if (asksFirst) reply = extension.preflight(request, disk, target)
      else {
        const bucket = disk.buckets.get(target.bucket)
        if (origin !== undefined && bucket) {
          Object.assign(common, extension?.corsHeaders(bucket, origin, record.method))
        }
        reply = await dispatch(request, response, {
          target,
          chosen,
          bodyFaults: interference?.body ?? {},
          expectsContinue,
          disk,
          settings,
          credentials: options.credentials,
          now: clock(),
        })
      }
    } catch (error) {
      if (error instanceof ClientGone) return
      const refusal = error instanceof S3Error ? error : internalError(error)
      record.code = refusal.code
      if (!request.complete && expectsContinue) common['connection'] = 'close'
      reply = {
        status: refusal.status,
        headers: { 'content-type': 'application/xml', ...refusal.headers },
        body: errorDocument(refusal, target?.path ?? '/', id, hostId),
      }
    }
    try {
      const answer = interference ? interference.answer(reply) : reply
      if (answer === undefined) {
        request.socket.resetAndDestroy()
        return
      }
      record.status = answer.status
      await sendReply(response, answer, common, disk, interference?.sendPieces(closing.signal) ?? sendAll)
    } finally {
      if (reply.content) disk.release(reply.content.segments)
    }
  }

  const onRequest = (expectsContinue: boolean) => (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {})
    const work: Promise<void> = handle(request, response, expectsContinue)
      .catch(() => {
        // Only sending can fail here, and the connection with it: what was to be said is lost either way.
        request.socket.destroy()
      })
      .finally(() => running.delete(work))
    running.add(work)
  }

  const serverOptions = {
    noDelay: true,
    requestTimeout: 0,
    keepAliveTimeout: 60_000,
    highWaterMark: 256 * 1024,
  }
  const server = options.tls
    ? https.createServer({ ...serverOptions, ...options.tls })
    : http.createServer(serverOptions)
  server.on('request', onRequest(false))
  server.on('checkContinue', onRequest(true))
  server.on(options.tls ? 'secureConnection' : 'connection', socket => {
    connections.set(socket, ++connectionCount)
  })
  const port = await listen(server, options.port ?? 0, host)

  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= (async () => {
      closing.abort()
      const ended = new Promise(resolve => server.close(resolve))
      server.closeAllConnections()
      await ended
      await Promise.allSettled([...running])
    })()
    return closed
  }
  return {
    url: `${options.tls ? 'https' : 'http'}://${host}:${port}`,
    port,
    region,
    credentials: options.credentials,
    requests,
    close,
    [Symbol.asyncDispose]: close,
  }
}

function internalError(error: unknown): S3Error {
  const why = error instanceof Error ? error.stack : error
  return new S3Error(500, 'InternalError', `We encountered an internal error. Please try again. (${why})`)
}

function recordOf(request: IncomingMessage, id: string, time: number, connection: number): RequestRecord {
  return {
    id,
    time,
    method: request.method ?? '',
    operation: 'Unknown',
    bucket: undefined,
    key: undefined,
    query: {},
    headers: request.headers,
    status: 0,
    connection,
  }
}

interface Dispatch {
  target: Target
  chosen: Operation | undefined
  bodyFaults: Interference['body']
  expectsContinue: boolean
  disk: Disk
  settings: Settings
  credentials: Credential[]
  /** ms since the epoch */
  now: number
}

/** Lets the operation answer, once signature and region are right. @throws S3Error */
async function dispatch(
  request: IncomingMessage,
  response: ServerResponse,
  { target, chosen, bodyFaults, expectsContinue, disk, settings, credentials, now }: Dispatch,
): Promise<Reply> {
  const auth = authenticate(
    {
      method: request.method ?? '',
      path: target.path,
      query: target.pairs,
      headers: request.headersDistinct,
    },
    credentials,
    now,
  )
  const bucket = disk.buckets.get(target.bucket)
  const home = bucket?.region ?? settings.region
  if (auth.region !== home) {
    if (bucket && auth.region === settings.region) {
      throw new S3Error(
        301,
        'PermanentRedirect',
        'The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.',
        { Endpoint: `s3.${home}.amazonaws.com`, Bucket: bucket.name },
        { 'x-amz-bucket-region': home },
      )
    }
    throw new S3Error(
      400,
      'AuthorizationHeaderMalformed',
      `The authorization header is malformed; the region '${auth.region}' is wrong; expecting '${home}'`,
      { Region: home },
      { 'x-amz-bucket-region': home },
    )
  }
  if (!chosen) {
    throw new S3Error(
      501,
      'NotImplemented',
      'A header or query you provided implies functionality that is not implemented',
    )
  }
  if (!bucket && target.bucket !== '' && chosen.name !== 'CreateBucket') throw noSuchBucket(target.bucket)
  let continued = !expectsContinue
  return chosen.run(
    new Call({
      request,
      disk,
      settings,
      auth,
      bucketName: target.bucket,
      key: target.key,
      query: target.query,
      now,
      bodyFaults,
      beforeBody: () => {
        if (!continued) response.writeContinue()
        continued = true
      },
    }),
  )
}
