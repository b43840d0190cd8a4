/**
 * The {@link ObjectStore} on Amazon S3 and what is compatible with it. Bodies go out through the lean path in
 * `put-path.ts`, everything else through the AWS SDK.
 *
 * Two SDK clients share sockets and credentials: one retries (reads and idempotent changes), one does not (requests
 * whose second attempt would see the first one's effect; their retry is the caller's decision).
 */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Readable } from 'node:stream'
import { createSecureContext, type SecureContext } from 'node:tls'
import { crc32 } from 'node:zlib'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  type ObjectCannedACL,
  PutObjectCommand,
  S3Client,
  type StorageClass,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import pLimit from 'p-limit'
import { createPutPath, header, type PutTarget } from './put-path.ts'
import { type RequestContext, storeErrorOf, toStoreError } from './s3-errors.ts'
import {
  type ListingAccess,
  listObjects,
  listParts,
  listPrefixes,
  listUploads,
  listVersions,
  unquote,
} from './s3-listing.ts'
import { encodeKey, type SigningCredentials } from './sigv4.ts'
import {
  type ByteRange,
  type Checksums,
  type DeleteOutcome,
  type DeleteRequest,
  type ObjectContent,
  type ObjectHead,
  type ObjectHeaders,
  type ObjectStore,
  type PutResult,
  StoreError,
  type UploadedPart,
} from './store.ts'

/** Credentials that may expire; `expiration` is when. */
export type StoreCredentials = SigningCredentials & { expiration?: Date }

export interface S3StoreOptions {
  bucket: string
  /** Default: what the SDK finds (AWS_REGION, profile); with an `endpoint`: `us-east-1`. */
  region?: string
  /** An S3-compatible store, addressed in path style. */
  endpoint?: string
  /** Fixed credentials, or a provider that is asked again when they expire. Default: the SDK's whole chain. */
  credentials?: StoreCredentials | (() => Promise<StoreCredentials>)
  /** Sockets kept open to the store: the caller's concurrency. Default 64. */
  maxSockets?: number
  timeouts?: {
    /** ms to a connection, TLS included. Default 10,000 */
    connectMs?: number
    /** ms without a byte in either direction. Default 60,000 */
    idleMs?: number
  }
  /** Sign the SHA-256 of every body sent. Default: over plain HTTP only; TLS protects it otherwise. */
  signPayload?: boolean
  /** Path style addressing. Default: when there is an `endpoint`. */
  pathStyle?: boolean
  /** Named in the User-Agent header. */
  userAgent?: string
  /** Bytes above which a copy goes in parts, and their size. Default 5 GiB (S3's limit) and 512 MiB. */
  copy?: { singleMax?: number; partSize?: number }
  /** Attempts at requests that may be repeated (not puts: their retry is the caller's). Default 4. */
  readAttempts?: number
  /** Bytes a part of `putStream`; 5 MiB at least. Default 8 MiB, which allows 78 GiB. */
  streamPartSize?: number
}

const MiB = 1024 * 1024
const maximumParts = 10_000
const maximumKeyBytes = 1024
/** S3's limit for one DeleteObjects. */
const deleteBatch = 1000

/** Opens a store. Nothing is sent until a method is called. `close()` it to let its sockets go. */
export function createS3Store(options: S3StoreOptions): ObjectStore {
  const { bucket, endpoint, maxSockets = 64, userAgent = 'autodj' } = options
  const timeouts = {
    connectMs: options.timeouts?.connectMs ?? 10_000,
    idleMs: options.timeouts?.idleMs ?? 60_000,
  }
  const copySingleMax = options.copy?.singleMax ?? 5 * 1024 * MiB
  const copyPartSize = options.copy?.partSize ?? 512 * MiB
  const streamPartSize = options.streamPartSize ?? 8 * MiB
  // lifo keeps few sockets warm rather than many lukewarm
  const agentOptions = {
    keepAlive: true,
    maxSockets,
    maxFreeSockets: maxSockets,
    scheduling: 'lifo' as const,
  }
  // One secure context for all connections: by itself Node.js reads the trusted certificates anew for each.
  let secureContext: SecureContext | undefined
  const agents = {
    http: new HttpAgent(agentOptions),
    https: new HttpsAgent({
      ...agentOptions,
      get secureContext() {
        secureContext ??= createSecureContext()
        return secureContext
      },
    }),
  }
  const shared = {
    region: options.region ?? (endpoint === undefined ? undefined : 'us-east-1'),
    endpoint,
    forcePathStyle: options.pathStyle ?? endpoint !== undefined,
    expectContinueHeader: false,
    // We send and verify checksums ourselves: the SDK's wrapping of response streams hides a body cut short.
    requestChecksumCalculation: 'WHEN_REQUIRED' as const,
    responseChecksumValidation: 'WHEN_REQUIRED' as const,
    customUserAgent: userAgent,
    requestHandler: new NodeHttpHandler({
      httpAgent: agents.http,
      httpsAgent: agents.https,
      connectionTimeout: timeouts.connectMs,
      socketTimeout: timeouts.idleMs,
      // Requests waiting for a socket are how concurrency is bounded here, nothing to warn of.
      socketAcquisitionWarningTimeout: 2 ** 31 - 1,
    }),
  }
  const client = new S3Client({
    ...shared,
    maxAttempts: options.readAttempts ?? 4,
    ...(options.credentials !== undefined && { credentials: options.credentials }),
  })
  const onceClient = new S3Client({ ...shared, maxAttempts: 1, credentials: client.config.credentials })
  const state = { closed: false }

  /** Asks the SDK where objects of this bucket are, endpoint rules, profiles and environment included. */
  async function findTarget(): Promise<PutTarget> {
    let found: PutTarget | undefined
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

  interface Place {
    target: PutTarget
    region: string
    endpoint: string
  }
  let place: Promise<Place> | undefined
  function findPlace(): Promise<Place> {
    place ??= findTarget()
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
            cure: 'set AWS_REGION to the region of the bucket, for example AWS_REGION=eu-west-1',
            details: { bucket },
          })
        }
        throw toStoreError(thrown, { operation: 'reach', bucket, ...where })
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
      region,
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

  /** Runs one SDK request; an expired token is renewed through the provider chain once. */
  async function run<T>(where: RequestContext, request: () => Promise<T>): Promise<T> {
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

  const sendBody = createPutPath({
    target: async () => (await findPlace()).target,
    agents,
    credentials: fresh => client.config.credentials(fresh ? { forceRefresh: true } : undefined),
    signPayload: options.signPayload,
    timeouts,
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

  const listing: ListingAccess = { client, bucket, context, run }

  async function head(
    key: string,
    { versionId, signal }: { versionId?: string; signal?: AbortSignal } = {},
  ): Promise<ObjectHead | undefined> {
    const where = await context('look at', { key, signal })
    const request = () =>
      client.send(
        new HeadObjectCommand({ Bucket: bucket, Key: key, VersionId: versionId, ChecksumMode: 'ENABLED' }),
        { abortSignal: signal },
      )
    try {
      return headOf(key, await run(where, request), where)
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind === 'missing') return undefined
      if (error.status !== 400 || error.kind !== 'invalid') throw error
    }
    // A 400 to HEAD has no body that would say why (an expired token, for one): a GET of one byte has.
    const content = await get(key, { versionId, range: { start: 0, end: 0 }, signal })
    content?.body.destroy()
    try {
      return headOf(key, await run(where, request), where)
    } catch (thrown) {
      throw toStoreError(thrown, where)
    }
  }

  async function get(
    key: string,
    {
      range,
      ifMatch,
      versionId,
      signal,
    }: { range?: ByteRange; ifMatch?: string; versionId?: string; signal?: AbortSignal } = {},
  ): Promise<ObjectContent | undefined> {
    const where = await context('get', { key, signal, condition: 'if-match' })
    const command = new GetObjectCommand({
      Bucket: bucket,
      Key: key,
      VersionId: versionId,
      Range: range === undefined ? undefined : `bytes=${range.start}-${range.end ?? ''}`,
      IfMatch: ifMatch === undefined ? undefined : `"${ifMatch}"`,
    })
    // As a header, not as ChecksumMode: that one would make the SDK wrap the body.
    command.middlewareStack.add(
      next => args => {
        ;(args.request as { headers: Record<string, string> }).headers['x-amz-checksum-mode'] = 'ENABLED'
        return next(args)
      },
      { step: 'build' },
    )
    try {
      const output = await run(where, () => client.send(command, { abortSignal: signal }))
      return contentOf(key, output, range !== undefined, where)
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind === 'missing') return undefined
      throw error
    }
  }

  async function put(
    key: string,
    body: Uint8Array,
    { headers, checksums, ifNoneMatch, signal }: Parameters<ObjectStore['put']>[2],
  ): Promise<PutResult> {
    const where = await context('put', { key, signal, condition: 'if-none-match' })
    const response = await sendBody(
      {
        key,
        headers: {
          ...wireHeaders(headers, where),
          ...checksumHeader(checksums),
          ...(ifNoneMatch && { 'if-none-match': '*' }),
        },
        body,
        sha256: checksums.sha256,
      },
      where,
    )
    const result = {
      etag: etagOf(header(response.headers, 'etag'), where),
      versionId: header(response.headers, 'x-amz-version-id'),
      checksums: checksumsOf({
        ChecksumCRC32: header(response.headers, 'x-amz-checksum-crc32'),
        ChecksumCRC64NVME: header(response.headers, 'x-amz-checksum-crc64nvme'),
        ChecksumSHA256: header(response.headers, 'x-amz-checksum-sha256'),
      }),
    }
    insistOn(checksums, result.checksums, where)
    return result
  }

  async function uploadPart(
    key: string,
    uploadId: string,
    partNumber: number,
    body: Uint8Array,
    { crc32, sha256, signal }: { crc32: string; sha256?: string; signal?: AbortSignal },
  ): Promise<UploadedPart> {
    const where = await context(`upload part ${partNumber} of`, { key, signal })
    const { headers } = await sendBody(
      {
        key,
        query: { partNumber: String(partNumber), uploadId },
        headers: { 'x-amz-checksum-crc32': crc32 },
        body,
        sha256,
      },
      where,
    )
    const stored = header(headers, 'x-amz-checksum-crc32')
    insistOn({ crc32 }, { crc32: stored }, where)
    return { partNumber, size: body.byteLength, etag: etagOf(header(headers, 'etag'), where), crc32: stored }
  }

  async function createUpload(
    key: string,
    { headers, signal }: { headers: ObjectHeaders; signal?: AbortSignal },
  ): Promise<string> {
    const where = await context('start an upload of', { key, signal })
    const output = await run(where, () =>
      onceClient.send(
        new CreateMultipartUploadCommand({
          Bucket: bucket,
          Key: key,
          ChecksumAlgorithm: 'CRC32',
          ChecksumType: 'FULL_OBJECT',
          ...headerFields(headers, where),
        }),
        { abortSignal: signal },
      ),
    )
    if (!output.UploadId) throw notS3('no upload id', where)
    return output.UploadId
  }

  async function completeUpload(
    key: string,
    uploadId: string,
    parts: readonly UploadedPart[],
    options: { checksums: Checksums; size: number; ifNoneMatch?: boolean; signal?: AbortSignal },
  ): Promise<PutResult> {
    const where = await context('complete the upload of', {
      key,
      signal: options.signal,
      condition: 'if-none-match',
    })
    const output = await run(where, () =>
      onceClient.send(
        new CompleteMultipartUploadCommand({
          Bucket: bucket,
          Key: key,
          UploadId: uploadId,
          ChecksumCRC32: options.checksums.crc32,
          ChecksumType: 'FULL_OBJECT',
          MpuObjectSize: options.size,
          IfNoneMatch: options.ifNoneMatch ? '*' : undefined,
          MultipartUpload: {
            Parts: parts.map(part => ({
              PartNumber: part.partNumber,
              ETag: `"${part.etag}"`,
              ChecksumCRC32: part.crc32,
            })),
          },
        }),
        { abortSignal: options.signal },
      ),
    )
    const result = {
      etag: etagOf(output.ETag, where),
      versionId: output.VersionId,
      checksums: checksumsOf(output),
    }
    insistOn(options.checksums, result.checksums, where)
    return result
  }

  async function abortUpload(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    const where = await context('abort the upload of', { key, signal })
    try {
      await run(where, () =>
        client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId }), {
          abortSignal: signal,
        }),
      )
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind !== 'no-upload' && error.kind !== 'missing') throw error
    }
  }

  /**
   * Runs `work` on a fresh multipart upload. When it fails, waits for what it still has in flight and aborts the
   * upload: a part that lands after the abort would stay, and be paid for.
   */
  async function withUpload<T>(
    key: string,
    headers: ObjectHeaders,
    signal: AbortSignal | undefined,
    work: (uploadId: string, track: <P>(part: Promise<P>) => Promise<P>) => Promise<T>,
  ): Promise<T> {
    const uploadId = await createUpload(key, { headers, signal })
    const inFlight = new Set<Promise<unknown>>()
    const track = <P>(part: Promise<P>): Promise<P> => {
      inFlight.add(part)
      const forget = () => inFlight.delete(part)
      part.then(forget, forget)
      return part
    }
    try {
      return await work(uploadId, track)
    } catch (thrown) {
      await Promise.allSettled(inFlight)
      // Without the caller's signal: it may be what stopped the work. The first failure is the one to tell.
      await abortUpload(key, uploadId).catch(() => undefined)
      throw thrown
    }
  }

  async function putStream(
    key: string,
    body: AsyncIterable<Uint8Array>,
    { headers, ifNoneMatch, signal }: Omit<Parameters<ObjectStore['put']>[2], 'checksums'>,
  ): Promise<PutResult & { size: number }> {
    const chunks = partsOf(body, streamPartSize)
    try {
      return await sendChunks()
    } finally {
      // Lets go of the source, whatever happened.
      await chunks.return(undefined)
    }

    async function sendChunks(): Promise<PutResult & { size: number }> {
      const first = await chunks.next()
      const start = first.done ? Buffer.alloc(0) : first.value
      const second = first.done ? first : await chunks.next()
      if (second.done) {
        const checksums = { crc32: base64Crc32(crc32(start)) }
        const result = await put(key, start, { headers, checksums, ifNoneMatch, signal })
        return { ...result, size: start.byteLength }
      }
      return withUpload(key, headers, signal, async (uploadId, track) => {
        const limit = pLimit(2)
        const parts: Promise<UploadedPart>[] = []
        let size = 0
        let whole = 0
        let failed: unknown
        const send = async (chunk: Buffer) => {
          size += chunk.byteLength
          whole = crc32(chunk, whole)
          const partNumber = parts.length + 1
          if (partNumber > maximumParts) {
            throw storeErrorOf(
              {
                status: 400,
                code: 'EntityTooLarge',
                message: `longer than ${maximumParts} parts of ${streamPartSize} bytes`,
              },
              await context('put', { key }),
            )
          }
          const part = track(
            limit(() =>
              uploadPart(key, uploadId, partNumber, chunk, { crc32: base64Crc32(crc32(chunk)), signal }),
            ),
          )
          part.catch(error => {
            failed ??= error
          })
          parts.push(part)
          // At most two parts under way and one waiting: the source is not read further ahead.
          if (parts.length > 2) await parts[parts.length - 3]
          if (failed) throw failed
        }
        await send(start)
        await send(second.value)
        for await (const chunk of chunks) await send(chunk)
        const checksums = { crc32: base64Crc32(whole) }
        const result = await completeUpload(key, uploadId, await Promise.all(parts), {
          checksums,
          size,
          ifNoneMatch,
          signal,
        })
        return { ...result, size }
      })
    }
  }

  async function copy(
    fromKey: string,
    toKey: string,
    options: NonNullable<Parameters<ObjectStore['copy']>[2]> = {},
  ): Promise<PutResult> {
    const { fromVersionId, ifMatch, ifNoneMatch, headers, signal } = options
    const source = await head(fromKey, { versionId: fromVersionId, signal })
    const where = await context(`copy ${JSON.stringify(fromKey)} to`, {
      key: toKey,
      signal,
      condition: ifNoneMatch ? 'if-none-match' : 'if-match',
    })
    if (source === undefined) {
      throw storeErrorOf({ status: 404 }, await context('copy', { key: fromKey, signal }))
    }
    if (ifMatch !== undefined && ifMatch !== source.etag) {
      throw storeErrorOf({ status: 412 }, await context('copy', { key: fromKey, condition: 'if-match' }))
    }
    // Some stores ignore If-None-Match here; the header closes the gap that a look leaves, where it is known.
    if (ifNoneMatch && (await head(toKey, { signal })) !== undefined) {
      throw storeErrorOf({ status: 412 }, where)
    }
    const from =
      `${bucket}/${encodeKey(fromKey)}` +
      (fromVersionId === undefined ? '' : `?versionId=${encodeURIComponent(fromVersionId)}`)
    const pinned = { CopySource: from, CopySourceIfMatch: `"${source.etag}"` }
    if (source.size > copySingleMax) return copyInParts(source, toKey, pinned, options)
    const output = await run(where, () =>
      onceClient.send(
        new CopyObjectCommand({
          Bucket: bucket,
          Key: toKey,
          ...pinned,
          IfNoneMatch: ifNoneMatch ? '*' : undefined,
          ...(headers === undefined
            ? { StorageClass: source.storageClass as StorageClass | undefined }
            : {
                MetadataDirective: 'REPLACE',
                ...headerFields(headers, where),
                ...(headers.tags !== undefined && { TaggingDirective: 'REPLACE' }),
              }),
        }),
        { abortSignal: signal },
      ),
    )
    const result = {
      etag: etagOf(output.CopyObjectResult?.ETag, where),
      versionId: output.VersionId,
      checksums: checksumsOf(output.CopyObjectResult ?? {}),
    }
    insistOn(source.checksums, result.checksums, where)
    return result
  }

  /** CopyObject ends at 5 GiB. Tags do not come along here, as they need a request and a permission of their own. */
  function copyInParts(
    source: ObjectHead,
    toKey: string,
    pinned: { CopySource: string; CopySourceIfMatch: string },
    { ifNoneMatch, headers, signal }: NonNullable<Parameters<ObjectStore['copy']>[2]>,
  ): Promise<PutResult> {
    const kept: ObjectHeaders = {
      contentType: source.contentType ?? 'application/octet-stream',
      cacheControl: source.cacheControl,
      contentDisposition: source.contentDisposition,
      metadata: source.metadata,
      storageClass: source.storageClass,
    }
    return withUpload(toKey, headers ?? kept, signal, async (uploadId, track) => {
      const partSize = Math.max(copyPartSize, Math.ceil(source.size / maximumParts))
      const limit = pLimit(8)
      const copyPart = async (partNumber: number): Promise<UploadedPart> => {
        const where = await context(`copy part ${partNumber} to`, {
          key: toKey,
          signal,
          condition: 'if-match',
        })
        const start = (partNumber - 1) * partSize
        const end = Math.min(start + partSize, source.size) - 1
        const { CopyPartResult } = await run(where, () =>
          client.send(
            new UploadPartCopyCommand({
              Bucket: bucket,
              Key: toKey,
              UploadId: uploadId,
              PartNumber: partNumber,
              CopySourceRange: `bytes=${start}-${end}`,
              ...pinned,
            }),
            { abortSignal: signal },
          ),
        )
        return {
          partNumber,
          size: end - start + 1,
          etag: etagOf(CopyPartResult?.ETag, where),
          crc32: CopyPartResult?.ChecksumCRC32,
        }
      }
      const numbers = Array.from({ length: Math.ceil(source.size / partSize) }, (_, index) => index + 1)
      const parts = await Promise.all(numbers.map(number => track(limit(() => copyPart(number)))))
      return completeUpload(toKey, uploadId, parts, {
        checksums: { crc32: source.checksums.crc32 },
        size: source.size,
        ifNoneMatch,
        signal,
      })
    })
  }

  async function deleteOne(request: DeleteRequest, signal?: AbortSignal): Promise<DeleteOutcome> {
    const { key, versionId, ifMatch } = request
    const outcome = identified(request)
    const where = await context('delete', { key, signal, condition: 'if-match' })
    try {
      const output = await run(where, () =>
        client.send(
          new DeleteObjectCommand({
            Bucket: bucket,
            Key: key,
            VersionId: versionId,
            IfMatch: ifMatch === undefined ? undefined : `"${ifMatch}"`,
          }),
          { abortSignal: signal },
        ),
      )
      const marker = output.DeleteMarker && versionId === undefined ? output.VersionId : undefined
      return { ...outcome, ...(marker !== undefined && { deleteMarkerVersionId: marker }) }
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      return error.kind === 'missing' ? outcome : { ...outcome, error }
    }
  }

  async function deleteMany(
    requests: readonly DeleteRequest[],
    signal?: AbortSignal,
  ): Promise<DeleteOutcome[]> {
    const where = await context('delete from', { signal })
    const named = (key: string): RequestContext => ({ ...where, operation: 'delete', key })
    try {
      const output = await run(where, () =>
        client.send(
          new DeleteObjectsCommand({
            Bucket: bucket,
            Delete: { Objects: requests.map(({ key, versionId }) => ({ Key: key, VersionId: versionId })) },
          }),
          { abortSignal: signal },
        ),
      )
      const identity = (key = '', versionId = '') => `${versionId} ${key}`
      const deleted = new Map(output.Deleted?.map(item => [identity(item.Key, item.VersionId), item]))
      const failed = new Map(output.Errors?.map(item => [identity(item.Key, item.VersionId), item]))
      return requests.map((request): DeleteOutcome => {
        const { key, versionId } = request
        const outcome = identified(request)
        const failure = failed.get(identity(key, versionId)) ?? failed.get(identity(key))
        if (failure) {
          const error = storeErrorOf(
            { code: failure.Code, message: failure.Message, status: 200 },
            named(key),
          )
          return error.kind === 'missing' ? outcome : { ...outcome, error }
        }
        const item = deleted.get(identity(key, versionId)) ?? deleted.get(identity(key))
        if (!item) {
          const failure = { code: 'InternalError', message: 'the answer does not mention this key' }
          return { ...outcome, error: storeErrorOf(failure, named(key)) }
        }
        const marker = versionId === undefined ? item.DeleteMarkerVersionId : undefined
        return { ...outcome, ...(marker !== undefined && { deleteMarkerVersionId: marker }) }
      })
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      return requests.map(request => ({ ...identified(request), error }))
    }
  }

  return {
    bucket,
    signsPayload: options.signPayload ?? endpoint?.startsWith('http:') === true,
    head,
    get,
    put,
    putStream,
    copy,
    createUpload,
    uploadPart,
    completeUpload,
    abortUpload,
    list: (options = {}) => listObjects(listing, options),
    listPrefixes: (prefix, signal) => listPrefixes(listing, prefix, signal),
    listVersions: (options = {}) => listVersions(listing, options),
    listUploads: (options = {}) => listUploads(listing, options),

    async checkBucket(signal) {
      // A listing of one, not HeadBucket: its error has a body that says what is wrong.
      const where = await context('use', { signal })
      try {
        const page = await run(where, () =>
          client.send(new ListObjectsV2Command({ Bucket: bucket, MaxKeys: 1 }), { abortSignal: signal }),
        )
        if (page.IsTruncated === undefined) throw notS3('no listing', where)
      } catch (thrown) {
        const error = toStoreError(thrown, where)
        throw error.kind === 'missing' ? storeErrorOf({ code: 'NoSuchBucket', status: 404 }, where) : error
      }
    },

    async listParts(key, uploadId, signal) {
      try {
        return await listParts(listing, key, uploadId, signal)
      } catch (thrown) {
        if (thrown instanceof StoreError && (thrown.kind === 'no-upload' || thrown.kind === 'missing')) {
          return undefined
        }
        throw thrown
      }
    },

    async delete(requests, signal) {
      const outcomes: DeleteOutcome[] = new Array(requests.length)
      const batched: number[] = []
      const single: number[] = []
      requests.forEach(({ key, ifMatch }, index) => {
        // XML 1.0 has no way to write these, escaped or not.
        const unspeakable = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(key)
        ;(ifMatch !== undefined || unspeakable ? single : batched).push(index)
      })
      const limit = pLimit(Math.min(16, maxSockets))
      const work = single.map(index =>
        limit(async () => {
          outcomes[index] = await deleteOne(requests[index]!, signal)
        }),
      )
      for (let at = 0; at < batched.length; at += deleteBatch) {
        const indexes = batched.slice(at, at + deleteBatch)
        work.push(
          limit(async () => {
            const results = await deleteMany(
              indexes.map(index => requests[index]!),
              signal,
            )
            results.forEach((outcome, i) => {
              outcomes[indexes[i]!] = outcome
            })
          }),
        )
      }
      await Promise.all(work)
      return outcomes
    },

    async versioning(signal) {
      const where = await context('read the versioning of', { signal })
      const output = await run(where, () =>
        client.send(new GetBucketVersioningCommand({ Bucket: bucket }), { abortSignal: signal }),
      )
      return output.Status ?? 'Off'
    },

    close() {
      state.closed = true
      client.destroy()
      onceClient.destroy()
      agents.http.destroy()
      agents.https.destroy()
    },
  }
}

/** The ETag without quotes. Every S3 answer about an object has one; a proxy's "200 OK" has not. */
function etagOf(etag: string | undefined, where: RequestContext): string {
  const bare = unquote(etag)
  if (bare === '') throw notS3('no ETag', where)
  return bare
}

function notS3(what: string, where: RequestContext): StoreError {
  const message = `${what} in the answer: something other than S3 is between here and the store`
  return storeErrorOf({ code: 'ServiceUnavailable', message, status: 200 }, where)
}

function identified({ key, versionId }: DeleteRequest): DeleteOutcome {
  return { key, ...(versionId !== undefined && { versionId }) }
}

/** A CRC32 as S3 writes it: base64 of four big-endian bytes. */
export function base64Crc32(value: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes.toString('base64')
}

interface ChecksumFields {
  ChecksumCRC32?: string
  ChecksumCRC64NVME?: string
  ChecksumSHA256?: string
  ChecksumType?: string
}

/** Full-object checksums only: a composite one (`…-3`) says nothing about the bytes as a whole. */
function checksumsOf(output: ChecksumFields): Checksums {
  const whole = (value: string | undefined) =>
    value === undefined || output.ChecksumType === 'COMPOSITE' || /-\d+$/.test(value) ? undefined : value
  const crc32 = whole(output.ChecksumCRC32)
  const crc64nvme = whole(output.ChecksumCRC64NVME)
  const sha256 = whole(output.ChecksumSHA256)
  return {
    ...(crc32 !== undefined && { crc32 }),
    ...(crc64nvme !== undefined && { crc64nvme }),
    ...(sha256 !== undefined && { sha256 }),
  }
}

/** Throws `bad-digest` where both sides computed a checksum and they differ. */
function insistOn(ours: Checksums, theirs: Checksums, where: RequestContext): void {
  for (const name of ['crc32', 'crc64nvme', 'sha256'] as const) {
    if (ours[name] !== undefined && theirs[name] !== undefined && ours[name] !== theirs[name]) {
      throw storeErrorOf(
        {
          code: 'BadDigest',
          message: `stored with ${name} ${theirs[name]}, ours is ${ours[name]}`,
          status: 200,
        },
        where,
      )
    }
  }
}

function checksumHeader(checksums: Checksums): Record<string, string> {
  for (const name of ['crc32', 'crc64nvme', 'sha256'] as const) {
    const value = checksums[name]
    if (value !== undefined) return { [`x-amz-checksum-${name}`]: value }
  }
  return {}
}

function headOf(
  key: string,
  output: Omit<HeadObjectCommandOutput, 'ContentLength'> & { ContentLength?: number },
  where: RequestContext,
): ObjectHead {
  const etag = etagOf(output.ETag, where)
  const parts = /-(\d+)$/.exec(etag)?.[1]
  return {
    key,
    size: output.ContentLength ?? 0,
    etag,
    versionId: output.VersionId,
    contentType: output.ContentType,
    cacheControl: output.CacheControl,
    contentDisposition: output.ContentDisposition,
    contentEncoding: output.ContentEncoding,
    encryption: encryptionOf(output.ServerSideEncryption),
    metadata: output.Metadata ?? {},
    checksums: checksumsOf(output),
    lastModified: output.LastModified ?? new Date(0),
    storageClass: output.StorageClass,
    partCount: parts === undefined ? undefined : Number(parts),
  }
}

/** Dual-layer encryption is KMS to whoever reads. */
function encryptionOf(algorithm: string | undefined): ObjectHead['encryption'] {
  if (algorithm?.startsWith('aws:kms')) return 'aws:kms'
  return algorithm === 'AES256' ? 'AES256' : undefined
}

function contentOf(
  key: string,
  output: GetObjectCommandOutput,
  ranged: boolean,
  where: RequestContext,
): ObjectContent {
  const stream = output.Body as Readable
  const total = /\/(\d+)$/.exec(output.ContentRange ?? '')?.[1]
  const size = total === undefined ? output.ContentLength : Number(total)
  const head = headOf(key, { ...output, ContentLength: size }, where)
  const expected = ranged ? undefined : head.checksums.crc32
  return {
    head,
    body: {
      async *[Symbol.asyncIterator]() {
        let bytes = 0
        let sum = 0
        try {
          for await (const chunk of stream as AsyncIterable<Buffer>) {
            bytes += chunk.byteLength
            if (expected !== undefined) sum = crc32(chunk, sum)
            yield chunk
          }
        } catch (thrown) {
          throw toStoreError(thrown, where)
        }
        if (output.ContentLength !== undefined && bytes !== output.ContentLength) {
          const message = `${bytes} of ${output.ContentLength} bytes came`
          throw storeErrorOf({ code: 'ECONNRESET', message }, where)
        }
        if (expected !== undefined && base64Crc32(sum) !== expected) {
          const message = `crc32 is ${base64Crc32(sum)}, the store has ${expected}`
          throw storeErrorOf({ code: 'BadDigest', message }, where)
        }
      },
      destroy: error => {
        stream.destroy(error)
      },
    },
  }
}

/** The SDK's fields for these headers. */
function headerFields(headers: ObjectHeaders, where: RequestContext) {
  insistOnAscii(headers, where)
  return {
    ContentType: headers.contentType,
    CacheControl: headers.cacheControl,
    ContentDisposition: headers.contentDisposition,
    Metadata: headers.metadata,
    StorageClass: headers.storageClass as StorageClass | undefined,
    ServerSideEncryption: headers.serverSideEncryption,
    SSEKMSKeyId: headers.kmsKeyId,
    Tagging: headers.tags === undefined ? undefined : taggingOf(headers.tags),
    ACL: headers.acl as ObjectCannedACL | undefined,
  }
}

/** The same headers as they go over the wire. */
function wireHeaders(headers: ObjectHeaders, where: RequestContext): Record<string, string> {
  insistOnAscii(headers, where)
  const wire: Record<string, string> = { 'content-type': headers.contentType }
  const set = (name: string, value: string | undefined) => {
    if (value !== undefined) wire[name] = value
  }
  set('cache-control', headers.cacheControl)
  set('content-disposition', headers.contentDisposition)
  set('x-amz-storage-class', headers.storageClass)
  set('x-amz-server-side-encryption', headers.serverSideEncryption)
  set('x-amz-server-side-encryption-aws-kms-key-id', headers.kmsKeyId)
  set('x-amz-tagging', headers.tags && taggingOf(headers.tags))
  set('x-amz-acl', headers.acl)
  for (const [name, value] of Object.entries(headers.metadata ?? {})) set(`x-amz-meta-${name}`, value)
  return wire
}

function taggingOf(tags: Readonly<Record<string, string>>): string {
  return new URLSearchParams(tags).toString()
}

/** S3 hands non-ASCII metadata back in another spelling, and a line break would end the header. */
function insistOnAscii(headers: ObjectHeaders, where: RequestContext): void {
  const values = { ...headers.metadata, contentDisposition: headers.contentDisposition ?? '' }
  for (const [name, value] of Object.entries(values)) {
    if (!/^[\x20-\x7e]*$/.test(value)) {
      throw storeErrorOf(
        { code: 'ERR_INVALID_CHAR', message: `header value of ${name} is not printable ASCII` },
        where,
      )
    }
  }
}

/** Regroups a stream into Buffers of `size` bytes; the last one may be shorter. Empty streams give none. */
async function* partsOf(body: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Buffer> {
  let pending = Buffer.allocUnsafe(size)
  let filled = 0
  for await (const chunk of body) {
    for (let at = 0; at < chunk.byteLength; ) {
      const piece = chunk.subarray(at, at + size - filled)
      pending.set(piece, filled)
      filled += piece.byteLength
      at += piece.byteLength
      if (filled === size) {
        yield pending
        pending = Buffer.allocUnsafe(size)
        filled = 0
      }
    }
  }
  if (filled > 0) yield pending.subarray(0, filled)
}
