/** Takes in a request body: decodes it, hashes it on the way to disk in constant memory, and believes nothing. */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import {
  type Algorithm,
  algorithms,
  checksumBytes,
  checksumHeader,
  type RunningChecksum,
  startChecksum,
} from './checksums.ts'
import type { Disk, Segment } from './disk.ts'
import { S3Error } from './xml.ts'

/** Bodies up to this size (bytes) are gathered in memory and written in one go. */
const small = 256 * 1024
const maxObject = 5 * 1024 ** 3
const largestDocument = 2 * 1024 ** 2
/** Not to be taken for something that says nothing of the body. */
const unknownChecksums = ['x-amz-checksum-crc32c', 'x-amz-checksum-sha1', 'x-amz-trailer']

export interface BodyOptions {
  /** that was signed, hex; undefined if none was */
  sha256: string | undefined
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
  /** base64 */
  checksum: string | undefined
  contentMd5: string | undefined
}

const invalid = (message: string) => new S3Error(400, 'InvalidRequest', message)

function checkedValue(algorithm: Algorithm, value: string): string {
  const bytes = Buffer.from(value, 'base64')
  if (bytes.length !== checksumBytes[algorithm] || bytes.toString('base64') !== value) {
    throw invalid(`Value for ${checksumHeader(algorithm)} header is invalid.`)
  }
  return value
}

/** What the headers promise of the body. */
function expectation(request: IncomingMessage, { ofAnother }: BodyOptions): Expectation {
  const { headers } = request
  const text = (name: string) => {
    const value = headers[name]
    return typeof value === 'string' ? value : undefined
  }
  const length = text('content-length')
  if (length === undefined) {
    if (headers['transfer-encoding'] !== undefined) {
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
  if (unknownChecksums.some(name => headers[name] !== undefined)) {
    throw new S3Error(501, 'NotImplemented', 'Only CRC32, CRC64NVME and SHA256 are computed here.')
  }
  const named = ofAnother ? [] : algorithms.filter(a => headers[checksumHeader(a)] !== undefined)
  if (named.length > 1) {
    throw invalid('Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.')
  }
  const [algorithm] = named
  const announced = text('x-amz-sdk-checksum-algorithm')?.toUpperCase()
  if (announced !== undefined) {
    if (!algorithm) {
      throw invalid(
        'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* header was found.',
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
    checksum: algorithm && checkedValue(algorithm, text(checksumHeader(algorithm)) ?? ''),
    contentMd5,
  }
}

/** True when the request guards its body with Content-MD5 or a checksum, as some operations insist. */
export function hasIntegrityHeader(request: IncomingMessage): boolean {
  return (
    request.headers['content-md5'] !== undefined ||
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
    const { body, received } = await receiveWhole(request, expected, options)
    return { ...received, segments: disk.writeSmall(body) }
  }
  const writer = disk.startBlob()
  try {
    const received = await receive(request, expected, options, slice => writer.write(slice))
    return { ...received, segments: await writer.finish() }
  } catch (error) {
    await writer.discard()
    throw error
  }
}

/** Reads a small body (an XML or JSON document) into memory. */
export async function receiveDocument(request: IncomingMessage, options: BodyOptions): Promise<Buffer> {
  const expected = expectation(request, options)
  if (expected.size > largestDocument) {
    throw new S3Error(400, 'MaxMessageLengthExceeded', 'Your request was too big.', {
      MaxMessageLengthBytes: String(largestDocument),
    })
  }
  return (await receiveWhole(request, expected, options)).body
}

async function receiveWhole(request: IncomingMessage, expected: Expectation, options: BodyOptions) {
  const slices: Buffer[] = []
  const received = await receive(request, expected, options, slice => {
    slices.push(slice)
    return undefined
  })
  return { body: slices.length === 1 ? slices[0]! : Buffer.concat(slices), received }
}

/** Hands the body to `take`, slice by slice, and checks what was promised of it once it is through. */
async function receive(
  request: IncomingMessage,
  expected: Expectation,
  options: BodyOptions,
  take: (slice: Buffer) => Promise<unknown> | undefined,
): Promise<ReceivedBody> {
  const md5 = createHash('md5')
  const sha256 = options.sha256 === undefined ? undefined : createHash('sha256')
  const running = new Map<Algorithm, RunningChecksum>()
  for (const algorithm of [expected.algorithm, options.algorithm]) {
    if (algorithm && !running.has(algorithm)) running.set(algorithm, startChecksum(algorithm))
  }
  await pump(request, options, slice => {
    md5.update(slice)
    sha256?.update(slice)
    for (const checksum of running.values()) checksum.update(slice)
    return take(slice)
  })
  const computed = sha256?.digest('hex')
  if (options.sha256 !== computed) {
    throw new S3Error(
      400,
      'XAmzContentSHA256Mismatch',
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
      { ClientComputedContentSHA256: options.sha256 ?? '', S3ComputedContentSHA256: computed ?? '' },
    )
  }
  const digest = md5.digest()
  const { size, algorithm, contentMd5 } = expected
  if (contentMd5 !== undefined && !digest.equals(Buffer.from(contentMd5, 'base64'))) {
    throw new S3Error(400, 'BadDigest', 'The Content-MD5 you specified did not match what we received.', {
      ExpectedDigest: contentMd5,
      CalculatedDigest: digest.toString('base64'),
    })
  }
  const checksums: Partial<Record<Algorithm, string>> = {}
  for (const [name, checksum] of running) checksums[name] = checksum.digest()
  if (algorithm && expected.checksum !== checksums[algorithm]) {
    throw new S3Error(
      400,
      'BadDigest',
      `The ${algorithm} you specified did not match the calculated checksum.`,
    )
  }
  return { size, md5: digest.toString('hex'), sent: algorithm, checksums }
}

/** Moves the body into `take`, slice by slice. That it has the length it declares is seen to by Node.js. */
function pump(
  request: IncomingMessage,
  options: BodyOptions,
  take: (slice: Buffer) => Promise<unknown> | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let size = 0
    let corrupt = options.corrupt === true
    const settle = (error?: unknown) => {
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
      request.off('timeout', onTimeout)
      request.socket.setTimeout(0)
      if (error !== undefined) {
        request.on('error', () => {})
        reject(error)
      } else resolve()
    }
    const onData = (buffer: Buffer) => {
      size += buffer.length
      if (options.resetAfter !== undefined && size > options.resetAfter) {
        request.socket.resetAndDestroy()
        settle(new ClientGone('reset by a planted fault'))
        return
      }
      let bytes = buffer
      if (corrupt && buffer.length > 0) {
        corrupt = false
        bytes = Buffer.from(buffer)
        bytes[0] = bytes[0]! ^ 1
      }
      const wait = take(bytes)
      if (wait) {
        request.pause()
        wait.then(
          () => request.resume(),
          error => settle(error),
        )
      }
    }
    const onEnd = () => settle()
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
