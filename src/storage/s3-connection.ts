/**
 * How requests reach a bucket: clients, sockets, credentials, and where the bucket is.
 *
 * Two SDK clients share sockets and credentials: one retries (reads and idempotent changes), one does not (requests
 * whose second attempt would see the first one's effect; their retry is the caller's decision). Bodies go out through
 * the lean path in `http-client.ts`.
 */
import { createSecureContext, type SecureContext } from 'node:tls'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { isLoopback } from '../core/loopback.ts'
import { proxyFor } from '../core/proxy.ts'
import { type Agents, type Network, openAgents, plainNetwork } from '../network.ts'
import { createHttpClient, type HttpClient, type HttpTarget } from './http-client.ts'
import { Lacks } from './lacks.ts'
import { keepPace } from './pace.ts'
import { noteAnswered, type RequestContext, storeErrorOf, toStoreError } from './s3-errors.ts'
import type { SigningCredentials } from './sigv4.ts'
import { StoreError } from './store.ts'

/** Credentials that may expire; `expiration` is when. */
type StoreCredentials = SigningCredentials & { expiration?: Date }

export interface S3StoreOptions {
  bucket: string
  /** Default: what the SDK finds (AWS_REGION, profile); with an `endpoint`: `us-east-1`. */
  region?: string
  /** An S3-compatible store; may have a path, which comes before the bucket. */
  endpoint?: string
  /** What named the endpoint, for messages: a variable, or a profile. */
  endpointFrom?: string
  /** Fixed credentials, or a provider that is asked again when they expire. Default: the SDK's whole chain. */
  credentials?: StoreCredentials | (() => Promise<StoreCredentials>)
  /** Profile that the chain takes credentials and region from, if there are no `credentials`. */
  profile?: string
  /** The profiles there are, for the message where that one is not among them. */
  profiles?: readonly string[]
  /** Sockets kept open to the store: the caller's concurrency. Default 64. */
  maxSockets?: number
  timeouts?: {
    /** ms to a connection, TLS included. Default 10,000 */
    connectMs?: number
    /** ms without a byte in either direction. Default 60,000 */
    idleMs?: number
  }
  /**
   * Sign the SHA-256 of every body sent. Default: over plain HTTP to another machine. TLS protects it otherwise; to this
   * machine itself it passes nobody, and is checked as over TLS.
   */
  signPayload?: boolean
  /**
   * Where the bucket's name goes: into the path, or before the host. `auto` (default): before the host at AWS, into the
   * path at an `endpoint`, unless that says that it wants it the other way.
   */
  addressing?: 'path' | 'virtual' | 'auto'
  /** Whoever asks pays, not the owner of the bucket: said with each request. */
  requesterPays?: boolean
  /** The way out of this machine. Default: no proxy. */
  network?: Network
  /** Called with a sentence, once, for each thing that the store turns out to lack. */
  onLack?: (text: string) => void
  /** Named in the User-Agent header. */
  userAgent?: string
  /** Bytes above which a copy goes in parts, and their size. Default 5 GiB (S3's limit) and 512 MiB. */
  copy?: { singleMax?: number; partSize?: number }
  /** Attempts at requests that may be repeated (not puts: their retry is the caller's). Default 4. */
  readAttempts?: number
  /** Bytes a part of `putStream`; 5 MiB at least. Default 8 MiB, which allows 78 GiB. */
  streamPartSize?: number
}

const maximumKeyBytes = 1024

const requesterPays = { 'x-amz-request-payer': 'requester' }

/** How stores say that a bucket's name belongs before the host: Alibaba OSS, Tencent COS, Volcengine TOS. */
const pathRefused: ReadonlySet<string> = new Set([
  'SecondLevelDomainForbidden',
  'PathStyleDomainForbidden',
  'InvalidPathAccess',
])

/** Whether it is Amazon S3 itself that is asked, and not something compatible with it. */
export function isAws(endpoint: string | undefined): boolean {
  return (
    endpoint === undefined || /^https:\/\/[^/]*\.(amazonaws\.com(\.cn)?|api\.aws)(:443)?(\/|$)/.test(endpoint)
  )
}

/** A bucket that requests can be sent to. */
export interface S3Connection {
  readonly bucket: string
  readonly client: S3Client
  /** its requests are sent once, whatever comes back */
  readonly onceClient: S3Client
  readonly bodies: HttpClient
  /** the SHA-256 of every body is signed */
  readonly signsPayload: boolean
  /** times that a request is sent that may be repeated */
  readonly readAttempts: number
  /** what the store has turned out to lack */
  readonly lacks: Lacks
  /** what errors of a request say about it; refuses keys that are too long */
  context(
    operation: string,
    extra?: Pick<RequestContext, 'key' | 'condition' | 'signal'>,
  ): Promise<RequestContext>
  /** Runs one SDK request; an expired token is renewed through the provider chain once. */
  run<T>(where: RequestContext, request: () => Promise<T>): Promise<T>
  /** ms since 1970 by the store's clock, from the newest answer that told it; undefined before there was one */
  serverTime(): number | undefined
  close(): void
}

/** Where objects of the bucket are, for requests and as errors tell it. */
interface Place {
  target: HttpTarget
  region: string
  endpoint: string
}

/** Nothing is sent until a request is. */
export function connectS3(options: S3StoreOptions): S3Connection {
  const {
    bucket,
    endpoint,
    maxSockets = 64,
    userAgent = 'autodj',
    addressing = 'auto',
    readAttempts = 4,
  } = options
  const timeouts = {
    connectMs: options.timeouts?.connectMs ?? 10_000,
    idleMs: options.timeouts?.idleMs ?? 60_000,
  }
  // One secure context for all connections: by itself Node.js reads the trusted certificates anew for each.
  let secureContext: SecureContext | undefined
  const getSecureContext = () => (secureContext ??= createSecureContext())
  const network = options.network ?? plainNetwork
  const lacks = new Lacks(isAws(endpoint), options.onLack ?? (() => {}))
  // A store may take only so many connections. Whoever gets none asks the other for those that lie idle.
  const { client, onceClient, closeIdle, destroy } = openClients({
    ...options,
    maxSockets,
    userAgent,
    addressing,
    network,
    readAttempts,
    timeouts,
    getSecureContext,
    onUnanswered: () => bodies.closeIdle(),
  })
  const state = { closed: false }
  const clients = [client, onceClient]
  const serverTime = notingServerTime(clients)
  const extraHeaders = options.requesterPays === true ? requesterPays : {}
  addHeaders(clients, extraHeaders)

  let place: Promise<Place> | undefined
  function findPlace(): Promise<Place> {
    place ??= findTarget(client, onceClient, { bucket, userAgent })
      .then(target => ({
        target,
        region: target.signingRegion,
        endpoint: endpoint ?? `${target.protocol}//${target.hostname}${target.port ? `:${target.port}` : ''}`,
      }))
      .catch(thrown => {
        place = undefined
        const where = { endpoint: endpoint ?? 'AWS', region: options.region ?? 'unknown' }
        if (thrown instanceof Error && thrown.message.includes('Region is missing')) {
          throw new StoreError('invalid', `no region is set for bucket ${bucket}`, {
            cure: 'Set AWS_REGION to the region of the bucket, for example AWS_REGION=eu-west-1.',
            details: { bucket },
          })
        }
        throw toStoreError(thrown, {
          operation: 'reach',
          bucket,
          profile: options.profile,
          profiles: options.profiles,
          ...where,
        })
      })
    return place
  }

  async function context(
    operation: string,
    extra: Pick<RequestContext, 'key' | 'condition' | 'signal'> = {},
  ): Promise<RequestContext> {
    const { region, endpoint } = await findPlace()
    const where: RequestContext = {
      operation,
      bucket,
      endpoint,
      endpointFrom: options.endpointFrom,
      region,
      profile: options.profile,
      profiles: options.profiles,
      proxy: proxyFor(endpoint, network.proxies),
      ...extra,
      get closed() {
        return state.closed
      },
    }
    // S3's limit, kept here because not every compatible store keeps it.
    const { key = '' } = extra
    if (key.length * 3 > maximumKeyBytes && Buffer.byteLength(key) > maximumKeyBytes) {
      const message = `the key has ${Buffer.byteLength(key)} bytes, ${maximumKeyBytes} is the limit`
      throw storeErrorOf({ code: 'KeyTooLongError', message, status: 400 }, where)
    }
    return where
  }

  /** Some stores serve no bucket by path, and say so. @returns whether the request may be sent again */
  function addressAnotherWay({ details }: StoreError): boolean {
    if (addressing !== 'auto' || !client.config.forcePathStyle) return false
    if (!pathRefused.has(String(details?.['s3Code']))) return false
    client.config.forcePathStyle = false
    onceClient.config.forcePathStyle = false
    place = undefined
    return true
  }

  async function run<T>(where: RequestContext, request: () => Promise<T>): Promise<T> {
    try {
      return await withFreshToken(client, where, request)
    } catch (thrown) {
      if (!(thrown instanceof StoreError) || !addressAnotherWay(thrown)) throw thrown
      return await withFreshToken(client, where, request)
    }
  }

  const signsPayload = options.signPayload ?? !isProtectedWay(endpoint, network)
  const bodies = createHttpClient({
    target: async () => (await findPlace()).target,
    maxSockets,
    secureContext: getSecureContext,
    credentials: fresh => client.config.credentials(fresh ? { forceRefresh: true } : undefined),
    signPayload: signsPayload,
    proxyFor: url => proxyFor(url, network.proxies),
    extraHeaders,
    timeouts,
    onUnanswered: closeIdle,
    clock: {
      get offset() {
        return client.config.systemClockOffset
      },
      set offset(ms) {
        client.config.systemClockOffset = ms
        onceClient.config.systemClockOffset = ms
      },
    },
  })

  return {
    bucket,
    client,
    onceClient,
    bodies,
    signsPayload,
    readAttempts,
    lacks,
    context,
    run,
    serverTime,
    close() {
      state.closed = true
      destroy()
      bodies.destroy()
    },
  }
}

type ClientOptions = Omit<S3StoreOptions, 'timeouts'> &
  Required<Pick<S3StoreOptions, 'maxSockets' | 'userAgent' | 'addressing' | 'network' | 'readAttempts'>> & {
    timeouts: { connectMs: number; idleMs: number }
    getSecureContext(): SecureContext
    /** a request got no answer */
    onUnanswered(): void
  }

/** One that retries and one that does not, on the same sockets and credentials. */
function openClients(options: ClientOptions): {
  client: S3Client
  onceClient: S3Client
  /** lets the sockets go that nobody uses now */
  closeIdle(): void
  destroy(): void
} {
  const { endpoint, maxSockets, addressing, timeouts, readAttempts } = options
  let agents: Promise<Agents> | undefined
  const agentOptions = {
    keepAlive: true,
    maxSockets,
    maxFreeSockets: maxSockets,
    // lifo keeps few sockets warm rather than many lukewarm
    scheduling: 'lifo' as const,
    get secureContext() {
      return options.getSecureContext()
    },
  }
  const requestHandler = new NodeHttpHandler(async () => {
    agents ??= openAgents(options.network, agentOptions)
    const { http, https } = await agents
    return {
      httpAgent: http,
      httpsAgent: https,
      connectionTimeout: timeouts.connectMs,
      socketTimeout: timeouts.idleMs,
      // Requests waiting for a socket are how concurrency is bounded here, nothing to warn of.
      socketAcquisitionWarningTimeout: 2 ** 31 - 1,
    }
  })
  const handle = requestHandler.handle.bind(requestHandler)
  requestHandler.handle = async (...args) => {
    try {
      const answered = await handle(...args)
      keepPace(answered.response.body, timeouts.idleMs)
      noteAnswered(answered.response)
      return answered
    } catch (error) {
      options.onUnanswered()
      throw error
    }
  }
  const shared = {
    region: options.region ?? (endpoint === undefined ? undefined : 'us-east-1'),
    endpoint,
    forcePathStyle: addressing === 'auto' ? endpoint !== undefined : addressing === 'path',
    expectContinueHeader: false,
    // We send and verify checksums ourselves: the SDK's wrapping of response streams hides a body cut short.
    requestChecksumCalculation: 'WHEN_REQUIRED' as const,
    responseChecksumValidation: 'WHEN_REQUIRED' as const,
    customUserAgent: options.userAgent,
    requestHandler,
  }
  const client = new S3Client({
    ...shared,
    maxAttempts: readAttempts,
    ...(options.credentials !== undefined && { credentials: options.credentials }),
    ...(options.profile !== undefined && { profile: options.profile }),
  })
  const onceClient = new S3Client({ ...shared, maxAttempts: 1, credentials: client.config.credentials })
  return {
    client,
    onceClient,
    closeIdle() {
      void agents?.then(({ http, https }) => {
        for (const agent of [http, https])
          for (const sockets of Object.values(agent.freeSockets))
            for (const socket of sockets ?? []) socket.destroy()
      })
    },
    destroy() {
      client.destroy()
      onceClient.destroy()
      void agents?.then(({ http, https }) => {
        http.destroy()
        https.destroy()
      })
    },
  }
}

/** Whether nobody on the way to a store can change what is sent. */
function isProtectedWay(endpoint: string | undefined, network: Network): boolean {
  const url = endpoint === undefined ? null : URL.parse(endpoint)
  if (url === null || url.protocol !== 'http:') return true
  return isLoopback(url.hostname) && proxyFor(url.href, network.proxies) === undefined
}

/** @returns ms since 1970 by the store's clock, from the newest answer to any of these that told it */
function notingServerTime(clients: readonly S3Client[]): () => number | undefined {
  /** what the newest answer's `Date` said, and when that was by a clock that nobody sets */
  let told: { server: number; since: number } | undefined
  for (const one of clients) {
    one.middlewareStack.add(
      next => async args => {
        const result = await next(args)
        const { headers = {} } = result.response as { headers?: Record<string, string> }
        const server = Date.parse(headers['date'] ?? '')
        // `Date` has whole seconds: the second is taken at its end, so that what was stored before is not of the future.
        if (!Number.isNaN(server)) told = { server: server + 999, since: performance.now() }
        return result
      },
      // Nearest to the wire, so that it sees the answer as it came.
      { step: 'deserialize', priority: 'low', name: 'noteServerTime' },
    )
  }
  return () => told && told.server + (performance.now() - told.since)
}

/** Sent, and signed, with each request of these. */
function addHeaders(clients: readonly S3Client[], headers: Readonly<Record<string, string>>): void {
  for (const one of clients) {
    one.middlewareStack.add(
      next => args => {
        Object.assign((args.request as { headers: Record<string, string> }).headers, headers)
        return next(args)
      },
      { step: 'build', name: 'addHeaders' },
    )
  }
}

/** Asks the SDK where objects of this bucket are, endpoint rules, profiles and environment included. */
async function findTarget(
  client: S3Client,
  onceClient: S3Client,
  { bucket, userAgent }: { bucket: string; userAgent: string },
): Promise<HttpTarget> {
  let found: HttpTarget | undefined
  const probe = new PutObjectCommand({ Bucket: bucket, Key: 'x' })
  const region = await client.config.region()
  probe.middlewareStack.add(
    (_next, context) => async args => {
      const { protocol, hostname, port, path, headers } = args.request as {
        protocol: string
        hostname: string
        port?: number
        path: string
        headers: Record<string, string>
      }
      const scheme = context.endpointV2?.properties?.['authSchemes']?.[0]
      found = {
        protocol: protocol === 'http:' ? 'http:' : 'https:',
        hostname,
        port,
        basePath: path.slice(0, -1),
        signingRegion: typeof scheme?.['signingRegion'] === 'string' ? scheme['signingRegion'] : region,
        userAgent: headers['user-agent'] ?? userAgent,
      }
      // Answered here: nothing goes out.
      return { response: {}, output: { $metadata: {} } }
    },
    { step: 'build', priority: 'low' },
  )
  await onceClient.send(probe)
  return found!
}

/** Sends again with fresh credentials where those in use have expired. */
async function withFreshToken<T>(
  client: S3Client,
  where: RequestContext,
  request: () => Promise<T>,
): Promise<T> {
  let used: StoreCredentials | undefined
  try {
    used = await client.config.credentials()
    return await request()
  } catch (thrown) {
    const error = toStoreError(thrown, where)
    if (error.kind !== 'expired-token' || used === undefined) throw error
  }
  try {
    const fresh = await client.config.credentials({ forceRefresh: true })
    const renewed = fresh.accessKeyId !== used.accessKeyId || fresh.sessionToken !== used.sessionToken
    if (!renewed) throw storeErrorOf({ code: 'ExpiredToken', status: 400 }, where)
    return await request()
  } catch (thrown) {
    throw toStoreError(thrown, where)
  }
}
