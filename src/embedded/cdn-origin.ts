/** How the CDN stand-in asks its origin: signed, as an origin access control does. */
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { createSigner, type SigningCredentials } from '../storage/sigv4.ts'
import { decodePath } from './cdn-answer.ts'

export interface CdnOrigin {
  /** of the S3 server, without a slash at the end */
  url: string
  region: string
  bucket: string
  credentials: SigningCredentials
  /** PEM of a certificate to trust, for an origin with TLS of its own */
  ca?: string
}

/** What the origin is asked, and how it is signed. */
export interface OriginRequest {
  /** as on the wire, without the bucket */
  path: string
  region: string
  credentials: SigningCredentials
}

interface OriginAnswer {
  status: number
  headers: http.IncomingHttpHeaders
  stream: IncomingMessage
}

export class OriginClient {
  readonly #origin: CdnOrigin
  readonly #clock: () => number
  readonly #url: URL
  readonly #transport: typeof http | typeof https
  readonly #agent: http.Agent
  /** by region */
  readonly #signers = new Map<string, ReturnType<typeof createSigner>>()

  constructor(origin: CdnOrigin, clock: () => number) {
    this.#origin = origin
    this.#clock = clock
    this.#url = new URL(origin.url)
    this.#transport = this.#url.protocol === 'https:' ? https : http
    this.#agent = new this.#transport.Agent({
      keepAlive: true,
      maxSockets: 64,
      ...(origin.ca && { ca: origin.ca }),
    })
  }

  /** What the viewer sent goes along only as far as CloudFront would pass it on. @throws Error of the network */
  request(
    method: string,
    viewerPath: string,
    headers: Record<string, string>,
    ask: (request: OriginRequest) => OriginRequest,
  ): Promise<OriginAnswer> {
    const { path, region, credentials } = ask({ ...this.#origin, path: viewerPath })
    let signer = this.#signers.get(region)
    if (!signer) {
      signer = createSigner(region)
      this.#signers.set(region, signer)
    }
    const signed: Record<string, string> = { host: this.#url.host, ...headers }
    const wire = `/${this.#origin.bucket}${path}`
    // The origin reads the path percent-decoded, `+` as a space, and checks the signature of that.
    const canonical = decodePath(wire)
      .split('/')
      .map(part =>
        encodeURIComponent(part).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
      )
      .join('/')
    signer(
      { method, path: canonical, headers: signed, payloadHash: 'UNSIGNED-PAYLOAD' },
      credentials,
      new Date(this.#clock()),
    )
    return new Promise((resolve, reject) => {
      const outgoing = this.#transport.request(
        {
          host: this.#url.hostname,
          port: this.#url.port,
          method,
          path: wire,
          headers: signed,
          agent: this.#agent,
        },
        stream => resolve({ status: stream.statusCode ?? 502, headers: stream.headers, stream }),
      )
      outgoing.on('error', reject)
      outgoing.end()
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}
