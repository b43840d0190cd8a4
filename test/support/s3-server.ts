/** An S3 server of a test's own, and clients for it: the SDK's, and one that signs whatever it is told to send. */
import { createHash, createHmac } from 'node:crypto'
import { rmSync } from 'node:fs'
import http, { type IncomingHttpHeaders } from 'node:http'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { SignatureV4 } from '@smithy/signature-v4'
import type { CdnOrigin } from '../../src/embedded/cdn-origin.ts'
import { createS3Store } from '../../src/storage/s3.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import { type S3Server, type S3ServerOptions, startS3Server } from './s3-server/server.ts'
import { sha256 } from './sums.ts'
import { temporaryFolder } from './temporary-folder.ts'

export const accessKey = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret/with+signs' }

export interface TestServer extends S3Server {
  dir: string
  /** what leads the program to its bucket `music` */
  settings: Record<string, string>
  /** the same for a CDN in front of it */
  origin: CdnOrigin
  /** A client of its own for a bucket; whoever opens closes. */
  open(bucket?: string): ObjectStore
}

export async function testServer(options: Partial<S3ServerOptions> = {}): Promise<TestServer> {
  const dir = options.dir ?? temporaryFolder('s3')
  const all = { credentials: [accessKey], buckets: ['music'], ...options, dir }
  const server = await startS3Server(all)
  const { url, region } = server
  const [credentials = accessKey] = all.credentials
  const close = async () => {
    await server.close()
    rmSync(dir, { recursive: true, force: true })
  }
  return Object.assign(Object.create(server) as S3Server, {
    dir,
    settings: {
      S3_BUCKET_NAME: 'music',
      S3_ENDPOINT: url,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
    origin: { url, region, bucket: 'music', credentials },
    open: (bucket = 'music') =>
      createS3Store({ bucket, region, endpoint: url, credentials: { ...credentials } }),
    close,
    [Symbol.asyncDispose]: close,
  })
}

export function sdk(server: S3Server, config: S3ClientConfig = {}): S3Client {
  return new S3Client({
    endpoint: server.url,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: accessKey,
    maxAttempts: 1,
    ...config,
  })
}

interface RawResponse {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  text: string
  /** S3 error code, when the body is an error document */
  code: string | undefined
}

interface RawRequest {
  method?: string
  /** percent-encoded, as it goes on the wire */
  path: string
  query?: Record<string, string>
  headers?: Record<string, string>
  body?: Buffer | string
  /** Changes what was signed before it is sent. */
  tamper?: (request: { headers: Record<string, string>; body: Buffer }) => void
  region?: string
  key?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string }
  date?: Date
  /** `x-amz-content-sha256`; the hash of the body when left out */
  payload?: string
  unsigned?: boolean
  agent?: http.Agent
}

class Sha256 {
  #hash
  constructor(secret?: unknown) {
    this.#hash = secret ? createHmac('sha256', secret as Buffer) : createHash('sha256')
  }
  update(data: string | Uint8Array): void {
    this.#hash.update(data)
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }
  reset(): void {}
}

/** A request signed by the SDK's own signer, so that the server is not checked against itself. */
export async function raw(server: S3Server, request: RawRequest): Promise<RawResponse> {
  const { method = 'GET', path, query = {}, region = 'us-east-1', key = accessKey } = request
  const body = Buffer.from(request.body ?? '')
  let headers: Record<string, string> = { host: `127.0.0.1:${server.port}`, ...request.headers }
  if (method !== 'GET' && method !== 'HEAD' && !headers['transfer-encoding'])
    headers['content-length'] ??= String(body.length)
  if (!request.unsigned) {
    headers['x-amz-content-sha256'] = request.payload ?? sha256(body)
    const signer = new SignatureV4({
      service: 's3',
      region,
      credentials: key,
      sha256: Sha256 as never,
      uriEscapePath: false,
      applyChecksum: false,
    })
    const signed = await signer.sign(
      { method, protocol: 'http:', hostname: '127.0.0.1', port: server.port, path, query, headers },
      { signingDate: request.date ?? new Date() },
    )
    headers = signed.headers
  }
  const sent = { headers, body }
  request.tamper?.(sent)
  const search = new URLSearchParams(query).toString().replace(/\+/g, '%20')
  return exchange(server, {
    ...sent,
    method,
    path: search === '' ? path : `${path}?${search}`,
    agent: request.agent,
  })
}

/** One HTTP exchange; rejects when the connection breaks before the answer is complete. */
export function exchange(
  server: { port: number },
  request: {
    method: string
    path: string
    headers: Record<string, string>
    body?: Buffer
    agent?: http.Agent | undefined
  },
): Promise<RawResponse> {
  return new Promise((resolve, reject) => {
    const outgoing = http.request(
      {
        host: '127.0.0.1',
        port: server.port,
        method: request.method,
        path: request.path,
        headers: request.headers,
        agent: request.agent ?? false,
      },
      response => {
        const pieces: Buffer[] = []
        response.on('data', piece => pieces.push(piece))
        response.on('error', reject)
        response.on('aborted', () => reject(new Error('the answer was cut off')))
        response.on('end', () => {
          const body = Buffer.concat(pieces)
          const text = body.toString('utf8')
          const code = /<Code>(\w+)<\/Code>/.exec(text)?.[1]
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body, text, code })
        })
      },
    )
    outgoing.on('error', reject)
    outgoing.end(request.body)
  })
}
