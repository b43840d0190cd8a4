/**
 * An S3 server in this process, for the demo and the tests: path-style, strict where S3 is strict, on disk, with
 * planted faults. It believes nothing a client says before it has checked it, and what it does not know it refuses
 * with 501. Not meant to face a network.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { listen } from '../listen.ts'
import { authenticate, type Credential } from './auth.ts'
import { ClientGone } from './body.ts'
import {
  corsHeaders,
  createBucket,
  DOCUMENTS,
  deleteBucket,
  deleteDocument,
  getBucketLocation,
  getBucketPolicyStatus,
  getBucketVersioning,
  getDocument,
  headBucket,
  listBuckets,
  makeBucket,
  putBucketVersioning,
  putDocument,
} from './buckets.ts'
import { Call, noSuchBucket, type Reply, type Settings } from './call.ts'
import type { Algorithm } from './checksums.ts'
import { Disk } from './disk.ts'
import { type Fault, type FaultRule, FaultRules } from './faults.ts'
import { listObjects, listObjectVersions } from './listing.ts'
import {
  abortMultipartUpload,
  completeMultipartUpload,
  createMultipartUpload,
  listMultipartUploads,
  listParts,
  uploadPart,
  uploadPartCopy,
} from './multipart.ts'
import {
  copyObject,
  deleteObject,
  deleteObjects,
  deleteObjectTagging,
  getObject,
  getObjectTagging,
  putObject,
  putObjectTagging,
} from './objects.ts'
import { errorDocument, S3Error } from './xml.ts'

export type { Credential } from './auth.ts'
export type { Fault, FaultMatch, FaultRule } from './faults.ts'
export { FaultRules } from './faults.ts'

export interface BucketOptions {
  name: string
  /** Another region than the server's makes requests meet a 301. */
  region?: string
  versioning?: 'Enabled' | 'Suspended'
  /** the XML of a CORSConfiguration */
  cors?: string
}

export interface S3ServerOptions {
  /** Where the state lives; made when it is not there. One server per directory at a time. */
  dir: string
  /** 0 (default) for a free one */
  port?: number
  host?: string
  /** PEM; serves HTTPS when given */
  tls?: { key: string; cert: string }
  region?: string
  /** Read on every request: replacing an item rotates a key in mid-run. */
  credentials: Credential[]
  /** Made when they are not there. */
  buckets?: (string | BucketOptions)[]
  /** ms since the epoch */
  clock?: () => number
  faults?: FaultRule[]
  /** bytes; 5 MiB as in S3 */
  minPartSize?: number
  /** What S3 computes where the client names no checksum; `none` saves the time. */
  defaultChecksum?: Algorithm | 'none'
  /** ms without a byte of a body being sent, before `RequestTimeout`; 20,000 */
  idleTimeout?: number
  /** How many requests are remembered; 20,000 */
  logLimit?: number
}

/** What was asked and answered. `status` is 0 while, or when, nothing was answered. */
export interface RequestRecord {
  id: string
  /** ms since the epoch, by the server's clock */
  time: number
  method: string
  operation: string
  bucket: string | undefined
  key: string | undefined
  query: Readonly<Record<string, string>>
  headers: http.IncomingHttpHeaders
  status: number
  /** S3 error code */
  code?: string
  /** the planted fault that struck */
  fault?: Fault
  /** counts connections from 1: tells whether one was reused */
  connection: number
}

export interface S3Server {
  /** `http://127.0.0.1:1234`, without a slash at the end */
  readonly url: string
  readonly port: number
  readonly region: string
  readonly credentials: Credential[]
  readonly faults: FaultRules
  /** The last requests, oldest first. To forget them: `requests.length = 0`. */
  readonly requests: RequestRecord[]
  /** Drops every connection, waits for what is under way, closes the files. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

interface Operation {
  name: string
  run: (call: Call) => Promise<Reply>
}

const operation = (name: string, run: (call: Call) => Promise<Reply>): Operation => ({ name, run })

/** Sub-resources of S3. One that is asked for and not in the table below is refused, never taken for its parent. */
const SUBRESOURCES = new Set([
  'accelerate',
  'acl',
  'analytics',
  'attributes',
  'cors',
  'delete',
  'encryption',
  'intelligent-tiering',
  'inventory',
  'legal-hold',
  'lifecycle',
  'location',
  'logging',
  'metadataConfiguration',
  'metadataTable',
  'metrics',
  'notification',
  'object-lock',
  'ownershipControls',
  'policy',
  'policyStatus',
  'publicAccessBlock',
  'renameObject',
  'replication',
  'requestPayment',
  'restore',
  'retention',
  'select',
  'session',
  'tagging',
  'torrent',
  'uploadId',
  'uploads',
  'versioning',
  'versions',
  'website',
])

const SERVICE: Record<string, Operation> = { GET: operation('ListBuckets', listBuckets) }

const BUCKET: Record<string, Operation> = {
  GET: operation('ListObjectsV2', listObjects),
  HEAD: operation('HeadBucket', headBucket),
  PUT: operation('CreateBucket', createBucket),
  DELETE: operation('DeleteBucket', deleteBucket),
  'GET location': operation('GetBucketLocation', getBucketLocation),
  'GET versions': operation('ListObjectVersions', listObjectVersions),
  'GET uploads': operation('ListMultipartUploads', listMultipartUploads),
  'GET versioning': operation('GetBucketVersioning', getBucketVersioning),
  'PUT versioning': operation('PutBucketVersioning', putBucketVersioning),
  'GET policyStatus': operation('GetBucketPolicyStatus', getBucketPolicyStatus),
  'POST delete': operation('DeleteObjects', deleteObjects),
}
for (const kind of DOCUMENTS) {
  BUCKET[`GET ${kind.param}`] = operation(kind.get, call => getDocument(call, kind))
  BUCKET[`PUT ${kind.param}`] = operation(kind.put, call => putDocument(call, kind))
  if (kind.delete) BUCKET[`DELETE ${kind.param}`] = operation(kind.delete, call => deleteDocument(call, kind))
}

const OBJECT: Record<string, Operation> = {
  GET: operation('GetObject', getObject),
  HEAD: operation('HeadObject', getObject),
  PUT: operation('PutObject', putObject),
  DELETE: operation('DeleteObject', deleteObject),
  'PUT copy': operation('CopyObject', copyObject),
  'GET tagging': operation('GetObjectTagging', getObjectTagging),
  'PUT tagging': operation('PutObjectTagging', putObjectTagging),
  'DELETE tagging': operation('DeleteObjectTagging', deleteObjectTagging),
  'POST uploads': operation('CreateMultipartUpload', createMultipartUpload),
  'PUT uploadId': operation('UploadPart', uploadPart),
  'PUT uploadId copy': operation('UploadPartCopy', uploadPartCopy),
  'GET uploadId': operation('ListParts', listParts),
  'POST uploadId': operation('CompleteMultipartUpload', completeMultipartUpload),
  'DELETE uploadId': operation('AbortMultipartUpload', abortMultipartUpload),
}

interface Target {
  bucket: string
  key: string
  path: string
  pairs: [string, string][]
  query: Map<string, string>
}

/** Path and query, percent-decoded. S3 reads `+` as a space in both. */
function parseTarget(url: string): Target {
  const at = url.indexOf('?')
  const rawPath = at === -1 ? url : url.slice(0, at)
  const decode = (text: string) => {
    if (!text.includes('%') && !text.includes('+')) return text
    try {
      return decodeURIComponent(text.replace(/\+/g, ' '))
    } catch {
      throw new S3Error(400, 'InvalidURI', "Couldn't parse the specified URI.", { URI: rawPath })
    }
  }
  const path = decode(rawPath)
  const pairs: [string, string][] = []
  if (at !== -1) {
    for (const pair of url.slice(at + 1).split('&')) {
      if (pair === '') continue
      const equals = pair.indexOf('=')
      pairs.push(
        equals === -1 ? [decode(pair), ''] : [decode(pair.slice(0, equals)), decode(pair.slice(equals + 1))],
      )
    }
  }
  const slash = path.indexOf('/', 1)
  return {
    bucket: slash === -1 ? path.slice(1) : path.slice(1, slash),
    key: slash === -1 ? '' : path.slice(slash + 1),
    path,
    pairs,
    query: new Map(pairs),
  }
}

function route(request: IncomingMessage, target: Target): Operation | undefined {
  const table = target.bucket === '' ? SERVICE : target.key === '' ? BUCKET : OBJECT
  const asked = [...target.query.keys()].filter(name => SUBRESOURCES.has(name))
  if (asked.length > 1) return undefined
  const words = [request.method ?? '', ...asked]
  if (request.headers['x-amz-copy-source'] !== undefined) words.push('copy')
  return table[words.join(' ')]
}

/** Bodies up to this size (bytes) are read and sent in one go. */
const SMALL = 256 * 1024

/** A planted fault took the connection: there is nothing to answer. */
class Dropped extends Error {
  override readonly name = 'Dropped'
}

/**
 * Starts the server. State found in `dir` is taken up, down to uploads in progress.
 * @throws Error EADDRINUSE and the like; S3Error InvalidBucketName
 */
export async function startS3Server(options: S3ServerOptions): Promise<S3Server> {
  const { host = '127.0.0.1', region = 'us-east-1', clock = Date.now } = options
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
    const bucket: BucketOptions = typeof item === 'string' ? { name: item } : item
    if (!disk.buckets.has(bucket.name)) makeBucket(disk, bucket.name, bucket.region ?? region, clock())
    if (bucket.versioning && disk.buckets.get(bucket.name)?.versioning !== bucket.versioning) {
      disk.commit({ do: 'versioning', bucket: bucket.name, status: bucket.versioning })
    }
    if (bucket.cors !== undefined) {
      disk.commit({ do: 'document', bucket: bucket.name, name: 'cors', body: bucket.cors })
    }
  }
  const faults = new FaultRules()
  for (const rule of options.faults ?? []) faults.add(rule)
  const requests: RequestRecord[] = []
  const connections = new WeakMap<object, number>()
  let connectionCount = 0
  let requestCount = 0
  const running = new Set<Promise<void>>()
  const closing = new AbortController()

  const sleep = (ms: number) =>
    new Promise<void>((resolve, reject) => {
      const stop = () => {
        clearTimeout(timer)
        reject(new Dropped('the server closed'))
      }
      const timer = setTimeout(() => {
        closing.signal.removeEventListener('abort', stop)
        resolve()
      }, ms)
      closing.signal.addEventListener('abort', stop, { once: true })
    })

  async function handle(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) {
    const count = ++requestCount
    const id = count.toString(16).toUpperCase().padStart(16, '0')
    const hostId = Buffer.from(`autodj${id}`).toString('base64')
    const record: RequestRecord = {
      id,
      time: clock(),
      method: request.method ?? '',
      operation: 'Unknown',
      bucket: undefined,
      key: undefined,
      query: {},
      headers: request.headers,
      status: 0,
      connection: connections.get(request.socket) ?? 0,
    }
    requests.push(record)
    if (requests.length > logLimit * 1.1) requests.splice(0, requests.length - logLimit)
    const common: Record<string, string> = {
      'x-amz-request-id': id,
      'x-amz-id-2': hostId,
      server: 'AmazonS3',
    }
    let reply: Reply
    let fault: Fault | undefined
    let target: Target | undefined
    try {
      target = parseTarget(request.url ?? '/')
      record.bucket = target.bucket || undefined
      record.key = target.key || undefined
      record.query = Object.fromEntries(target.pairs)
      const origin = request.headers.origin
      if (request.method === 'OPTIONS') record.operation = 'Preflight'
      const chosen = request.method === 'OPTIONS' ? undefined : route(request, target)
      if (chosen) record.operation = chosen.name
      fault = faults.next({
        operation: record.operation,
        method: record.method,
        ...(record.bucket !== undefined && { bucket: record.bucket }),
        ...(record.key !== undefined && { key: record.key }),
      })
      if (fault) {
        record.fault = fault
        await strikeEarly(fault, request, record)
      }
      if (request.method === 'OPTIONS') reply = preflight(request, target)
      else {
        if (origin !== undefined) {
          const bucket = disk.buckets.get(target.bucket)
          Object.assign(common, bucket && corsHeaders(bucket, origin, request.method ?? '', []))
        }
        reply = await dispatch(request, response, target, chosen, fault, expectsContinue)
      }
    } catch (error) {
      if (error instanceof ClientGone || error instanceof Dropped) return
      const refusal =
        error instanceof S3Error
          ? error
          : new S3Error(
              500,
              'InternalError',
              `We encountered an internal error. Please try again. (${error instanceof Error ? error.stack : error})`,
            )
      record.code = refusal.code
      if (!request.complete && expectsContinue) common['connection'] = 'close'
      reply = {
        status: refusal.status,
        headers: { 'content-type': 'application/xml', ...refusal.headers },
        body: errorDocument(refusal, target?.path ?? '/', id, hostId),
      }
    }
    try {
      if (fault && 'loseResponse' in fault) {
        request.socket.resetAndDestroy()
        return
      }
      record.status = reply.status
      await send(request, response, reply, common, fault)
    } finally {
      if (reply.content) disk.release(reply.content.segments)
    }
  }

  /** Faults that strike before the request is looked at. */
  async function strikeEarly(fault: Fault, request: IncomingMessage, record: RequestRecord): Promise<void> {
    if ('status' in fault) {
      throw new S3Error(fault.status, fault.code, fault.message ?? 'Planted fault.', {}, fault.headers ?? {})
    }
    if ('delay' in fault) await sleep(fault.delay)
    if ('reset' in fault && fault.afterBytes === undefined) {
      request.socket.resetAndDestroy()
      throw new Dropped('reset by a planted fault')
    }
    if ('stall' in fault && fault.afterBytes === undefined) {
      if (fault.stall !== 'forever') await sleep(fault.stall)
      else {
        record.status = 0
        throw new Dropped('stalled by a planted fault')
      }
    }
  }

  function preflight(request: IncomingMessage, target: Target): Reply {
    const origin = request.headers.origin
    const method = request.headers['access-control-request-method']
    if (origin === undefined || method === undefined) {
      throw new S3Error(400, 'BadRequest', 'Insufficient information. Origin request header needed.')
    }
    const bucket = disk.buckets.get(target.bucket)
    if (!bucket) throw noSuchBucket(target.bucket)
    const asked = (request.headers['access-control-request-headers'] ?? '')
      .split(',')
      .map(h => h.trim())
      .filter(h => h !== '')
    const headers = corsHeaders(bucket, origin, method, asked)
    if (!headers) {
      throw new S3Error(
        403,
        'AccessForbidden',
        bucket.documents.has('cors')
          ? "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
          : 'CORSResponse: CORS is not enabled for this bucket.',
        { Method: method, ResourceType: target.key === '' ? 'BUCKET' : 'OBJECT' },
      )
    }
    return { status: 200, headers }
  }

  async function dispatch(
    request: IncomingMessage,
    response: ServerResponse,
    target: Target,
    chosen: Operation | undefined,
    fault: Fault | undefined,
    expectsContinue: boolean,
  ): Promise<Reply> {
    const now = clock()
    const auth = authenticate(
      {
        method: request.method ?? '',
        path: target.path,
        query: target.pairs,
        headers: request.headersDistinct,
      },
      options.credentials,
      now,
    )
    const bucket = disk.buckets.get(target.bucket)
    const home = bucket?.region ?? region
    if (auth.region !== home) {
      if (bucket && auth.region === region) {
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
        bodyFaults: {
          ...(fault && 'corruptBody' in fault && { corrupt: true }),
          ...(fault && 'reset' in fault && { resetAfter: fault.afterBytes }),
        },
        beforeBody: () => {
          if (!continued) response.writeContinue()
          continued = true
        },
      }),
    )
  }

  async function send(
    request: IncomingMessage,
    response: ServerResponse,
    reply: Reply,
    common: Record<string, string>,
    fault: Fault | undefined,
  ): Promise<void> {
    const { status, content } = reply
    const headers: Record<string, string> = { ...common, ...reply.headers }
    const head = request.method === 'HEAD'
    if (!content) {
      const body = reply.body === undefined ? undefined : Buffer.from(reply.body)
      if (body && headers['content-type'] === undefined) headers['content-type'] = 'application/xml'
      if (status !== 204 && status !== 304 && !(head && body)) {
        headers['content-length'] = String(body?.length ?? 0)
      }
      if (head || !body) response.writeHead(status, headers).end()
      else await sendPieces(request, response.writeHead(status, headers), [body], fault)
      return
    }
    response.writeHead(status, headers)
    if (head || content.size === 0) response.end()
    else if (content.size <= SMALL) {
      await sendPieces(request, response, [disk.readSmall(content.segments, content.size)], fault)
    } else await sendPieces(request, response, disk.read(content.segments), fault)
  }

  async function sendPieces(
    request: IncomingMessage,
    response: ServerResponse,
    pieces: Iterable<Buffer> | AsyncIterable<Buffer>,
    fault: Fault | undefined,
  ): Promise<void> {
    const strikes = fault && ('truncateBody' in fault || 'reset' in fault || 'stall' in fault)
    let left = Number.POSITIVE_INFINITY
    if (strikes) left = 'truncateBody' in fault ? fault.truncateBody : (fault.afterBytes ?? left)
    let corrupt = fault !== undefined && 'corruptBody' in fault && request.method === 'GET'
    for await (const whole of pieces) {
      if (response.destroyed) return
      let piece = whole
      if (corrupt) {
        corrupt = false
        piece = Buffer.from(piece)
        piece[0] = piece[0]! ^ 1
      }
      if (fault && piece.length >= left) {
        await write(response, piece.subarray(0, left))
        if ('stall' in fault && fault.stall !== 'forever') {
          await sleep(fault.stall)
          piece = piece.subarray(left)
          left = Number.POSITIVE_INFINITY
        } else {
          if ('reset' in fault) request.socket.resetAndDestroy()
          else if ('truncateBody' in fault) request.socket.destroySoon()
          return
        }
      }
      left -= piece.length
      await write(response, piece)
    }
    response.end()
  }

  /** Resolves once the response takes more; a connection that is gone resolves too. */
  function write(response: ServerResponse, piece: Buffer): Promise<void> | undefined {
    if (piece.length === 0 || response.write(piece) || response.destroyed) return undefined
    return new Promise(resolve => {
      const done = () => {
        response.off('drain', done).off('close', done)
        resolve()
      }
      response.on('drain', done).on('close', done)
    })
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
      await disk.close()
    })()
    return closed
  }
  return {
    url: `${options.tls ? 'https' : 'http'}://${host}:${port}`,
    port,
    region,
    credentials: options.credentials,
    faults,
    requests,
    close,
    [Symbol.asyncDispose]: close,
  }
}
