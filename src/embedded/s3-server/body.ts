/** Takes in a request body: decodes it, hashes it on the way to disk in constant memory, and believes nothing. */
import { createHash, hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { ChunkSigner, Payload } from './auth.ts'
import {
  type Algorithm,
  algorithms,
  checksumBytes,
  checksumHeader,
  type RunningChecksum,
  startChecksum,
} from './checksums.ts'
import { AwsChunkedDecoder } from './chunked.ts'
import type { BlobWriter, Disk, Segment } from './disk.ts'
import { S3Error } from './xml.ts'

/** Bodies up to this size (bytes) are gathered in memory and written in one go. */
const small = 256 * 1024
const maxObject = 5 * 1024 ** 3

export interface BodyOptions {
  payload: Payload
  signer: ChunkSigner
  /** computed beside the one the client sent */
  algorithm?: Algorithm | undefined
  /** ms without a byte after which the request is refused */
  idleTimeout: number
  /** The checksum headers speak of an object, not of this body (CompleteMultipartUpload). */
  ofAnother?: boolean
  /** Flip a bit before anything is verified (a planted fault). */
  corrupt?: boolean
  /** Drop the connection after this many bytes (a planted fault). */
  resetAfter?: number | undefined
}

interface ReceivedBody {
  size: number
  /** hex */
  md5: string
  /** the algorithm the client named, when it named one */
  sent: Algorithm | undefined
  checksums: Partial<Record<Algorithm, string>>
}

export interface StoredBody extends ReceivedBody {
  segments: Segment[]
}

/** The client went away in mid-body: there is nobody to answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

interface Expectation {
  /** bytes, decoded */
  size: number
  algorithm: Algorithm | undefined
  /** base64; undefined when it comes in the trailer */
  checksum: string | undefined
  trailer: string | undefined
  contentMd5: string | undefined
}

const malformedTrailer = () =>
  new S3Error(
    400,
    'MalformedTrailerError',
    'The request contained trailing data that was not well-formed or did not conform to our published schema.',
  )

const invalid = (message: string) => new S3Error(400, 'InvalidRequest', message)

function checkedValue(algorithm: Algorithm, value: string): string {
  const bytes = Buffer.from(value, 'base64')
  if (bytes.length !== checksumBytes[algorithm] || bytes.toString('base64') !== value) {
    throw invalid(`Value for ${checksumHeader(algorithm)} header is invalid.`)
  }
  return value
}

/** What the headers promise of the body. */
function expectation(request: IncomingMessage, { payload, ofAnother }: BodyOptions): Expectation {
  const { headers } = request
  const text = (name: string) => {
    const value = headers[name]
    return typeof value === 'string' ? value : undefined
  }
  const chunked = payload.kind === 'chunked'
  const length = chunked ? text('x-amz-decoded-content-length') : text('content-length')
  if (length === undefined) {
    if (headers['transfer-encoding'] !== undefined && !chunked) {
      throw new S3Error(
        501,
        'NotImplemented',
        'A header you provided implies functionality that is not implemented',
        { Header: 'Transfer-Encoding' },
      )
    }
    throw new S3Error(411, 'MissingContentLength', 'You must provide the Content-Length HTTP header.')
  }
  const size = Number(length)
  if (!/^\d+$/.test(length)) {
    throw new S3Error(400, 'InvalidArgument', 'The content length is not a number.')
  }
  if (size > maxObject) {
    throw new S3Error(400, 'EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size', {
      ProposedSize: String(size),
      MaxSizeAllowed: String(maxObject),
    })
  }
  const trailer = text('x-amz-trailer')?.trim().toLowerCase()
  const named = ofAnother ? [] : algorithms.filter(a => headers[checksumHeader(a)] !== undefined)
  const trailing = algorithms.find(a => checksumHeader(a) === trailer)
  if (trailer !== undefined && (!chunked || !payload.trailer || !trailing)) {
    throw invalid('The value specified in the x-amz-trailer header is not supported')
  }
  if (named.length + (trailing ? 1 : 0) > 1) {
    throw invalid('Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.')
  }
  const algorithm = named[0] ?? trailing
  const announced = text('x-amz-sdk-checksum-algorithm')?.toUpperCase()
  if (announced !== undefined) {
    if (!algorithm) {
      throw invalid(
        'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.',
      )
    }
    if (announced !== algorithm) {
      throw invalid('Value for x-amz-sdk-checksum-algorithm header is invalid.')
    }
  }
  const contentMd5 = text('content-md5')
  if (contentMd5 !== undefined && Buffer.from(contentMd5, 'base64').length !== 16) {
    throw new S3Error(400, 'InvalidDigest', 'The Content-MD5 you specified was invalid.', {
      'Content-MD5': contentMd5,
    })
  }
  return {
    size,
    algorithm,
    checksum: named[0] ? checkedValue(named[0], text(checksumHeader(named[0])) ?? '') : undefined,
    trailer,
    contentMd5,
  }
}

/** True when the request guards its body with Content-MD5 or a checksum, as some operations insist. */
export function hasIntegrityHeader(request: IncomingMessage): boolean {
  return (
    request.headers['content-md5'] !== undefined ||
    request.headers['x-amz-trailer'] !== undefined ||
    algorithms.some(a => request.headers[checksumHeader(a)] !== undefined)
  )
}

/**
 * Reads the body onto disk. Whatever is refused leaves nothing there.
 * @throws S3Error BadDigest, XAmzContentSHA256Mismatch, IncompleteBody, RequestTimeout, ...
 * @throws ClientGone
 */
export async function receiveToDisk(
  request: IncomingMessage,
  disk: Disk,
  options: BodyOptions,
): Promise<StoredBody> {
  const expected = expectation(request, options)
  if (expected.size <= small) {
    const { body, received } = await receiveSmall(request, expected, options)
    return { ...received, segments: disk.writeSmall(body) }
  }
  const writer = disk.startBlob()
  try {
    const received = await receiveLarge(request, expected, options, writer)
    return { ...received, segments: await writer.finish() }
  } catch (error) {
    await writer.discard()
    throw error
  }
}

/** Reads a small body (an XML or JSON document) into memory. */
export async function receiveDocument(
  request: IncomingMessage,
  options: BodyOptions,
  limit = 2 << 20,
): Promise<Buffer> {
  const expected = expectation(request, options)
  if (expected.size > limit) {
    throw new S3Error(400, 'MaxMessageLengthExceeded', 'Your request was too big.', {
      MaxMessageLengthBytes: String(limit),
    })
  }
  return (await receiveSmall(request, expected, options)).body
}

async function receiveSmall(request: IncomingMessage, expected: Expectation, options: BodyOptions) {
  const slices: Buffer[] = []
  const trailers = await pump(request, expected, options, slice => {
    slices.push(slice)
    return undefined
  })
  const body = slices.length === 1 ? slices[0]! : Buffer.concat(slices)
  const running = startRunning(expected, options)
  for (const checksum of running.values()) checksum.update(body)
  const sha256 = options.payload.kind === 'hashed' ? hash('sha256', body) : undefined
  return { body, received: verified(expected, options, running, trailers, hash('md5', body), sha256) }
}

async function receiveLarge(
  request: IncomingMessage,
  expected: Expectation,
  options: BodyOptions,
  writer: BlobWriter,
): Promise<ReceivedBody> {
  const md5 = createHash('md5')
  const sha256 = options.payload.kind === 'hashed' ? createHash('sha256') : undefined
  const running = startRunning(expected, options)
  const trailers = await pump(request, expected, options, slice => {
    md5.update(slice)
    sha256?.update(slice)
    for (const checksum of running.values()) checksum.update(slice)
    return writer.write(slice)
  })
  return verified(expected, options, running, trailers, md5.digest('hex'), sha256?.digest('hex'))
}

function startRunning(expected: Expectation, options: BodyOptions): Map<Algorithm, RunningChecksum> {
  const running = new Map<Algorithm, RunningChecksum>()
  for (const algorithm of [expected.algorithm, options.algorithm]) {
    if (algorithm && !running.has(algorithm)) running.set(algorithm, startChecksum(algorithm))
  }
  return running
}

function verified(
  expected: Expectation,
  { payload }: BodyOptions,
  running: Map<Algorithm, RunningChecksum>,
  trailers: ReadonlyMap<string, string>,
  md5: string,
  sha256: string | undefined,
): ReceivedBody {
  if (payload.kind === 'hashed' && payload.sha256 !== sha256) {
    throw new S3Error(
      400,
      'XAmzContentSHA256Mismatch',
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
      { ClientComputedContentSHA256: payload.sha256, S3ComputedContentSHA256: sha256 ?? '' },
    )
  }
  if (
    expected.contentMd5 !== undefined &&
    Buffer.from(expected.contentMd5, 'base64').toString('hex') !== md5
  ) {
    throw new S3Error(400, 'BadDigest', 'The Content-MD5 you specified did not match what we received.', {
      ExpectedDigest: expected.contentMd5,
      CalculatedDigest: Buffer.from(md5, 'hex').toString('base64'),
    })
  }
  const checksums: Partial<Record<Algorithm, string>> = {}
  for (const [algorithm, checksum] of running) checksums[algorithm] = checksum.digest()
  if (expected.trailer === undefined && trailers.size > 0) throw malformedTrailer()
  if (expected.algorithm) {
    let promised = expected.checksum
    if (expected.trailer !== undefined) {
      const value = trailers.get(expected.trailer)
      if (value === undefined || trailers.size !== 1) {
        throw malformedTrailer()
      }
      promised = checkedValue(expected.algorithm, value)
    }
    if (promised !== checksums[expected.algorithm]) {
      throw new S3Error(
        400,
        'BadDigest',
        `The ${expected.algorithm} you specified did not match the calculated checksum.`,
      )
    }
  }
  return { size: expected.size, md5, sent: expected.algorithm, checksums }
}

/** Moves the body through the decoder into `take`, slice by slice, and resolves with the trailers. */
function pump(
  request: IncomingMessage,
  expected: Expectation,
  options: BodyOptions,
  take: (slice: Buffer) => Promise<unknown> | undefined,
): Promise<ReadonlyMap<string, string>> {
  return new Promise((resolve, reject) => {
    let size = 0
    let raw = 0
    let corrupt = options.corrupt === true
    let wait: Promise<unknown> | undefined
    const settle = (error: unknown, trailers?: ReadonlyMap<string, string>) => {
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
      request.off('timeout', onTimeout)
      request.socket.setTimeout(0)
      if (error !== undefined) {
        request.on('error', () => {})
        reject(error)
      } else resolve(trailers ?? new Map())
    }
    const decoded = (slice: Buffer) => {
      size += slice.length
      if (size > expected.size) {
        throw new S3Error(400, 'IncompleteBody', 'The request body has more bytes than it declared.')
      }
      let bytes = slice
      if (corrupt && slice.length > 0) {
        corrupt = false
        bytes = Buffer.from(slice)
        bytes[0] = bytes[0]! ^ 1
      }
      wait = take(bytes) ?? wait
    }
    const decoder =
      options.payload.kind === 'chunked'
        ? new AwsChunkedDecoder({
            ...(options.payload.signed && { signer: options.signer }),
            trailer: options.payload.trailer,
            onData: decoded,
          })
        : undefined
    const onData = (buffer: Buffer) => {
      raw += buffer.length
      if (options.resetAfter !== undefined && raw > options.resetAfter) {
        request.socket.resetAndDestroy()
        settle(new ClientGone('reset by a planted fault'))
        return
      }
      try {
        if (decoder) decoder.push(buffer)
        else decoded(buffer)
      } catch (error) {
        settle(error)
        return
      }
      if (wait) {
        const until = wait
        wait = undefined
        request.pause()
        until.then(
          () => request.resume(),
          error => settle(error),
        )
      }
    }
    const onEnd = () => {
      try {
        decoder?.finish()
        if (size !== expected.size) {
          throw new S3Error(
            400,
            'IncompleteBody',
            'You did not provide the number of bytes specified by the Content-Length HTTP header',
          )
        }
        settle(undefined, decoder?.trailers)
      } catch (error) {
        settle(error)
      }
    }
    const onClose = () => settle(new ClientGone('the client closed the connection in mid-body'))
    const onTimeout = () =>
      settle(
        new S3Error(
          400,
          'RequestTimeout',
          'Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.',
          {},
          { connection: 'close' },
        ),
      )
    // Node.js destroys a socket that times out unless somebody listens on the request itself.
    request.on('timeout', onTimeout)
    request.socket.setTimeout(options.idleTimeout)
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}
