/**
 * Decoder of `aws-chunked` bodies: `size[;chunk-signature=hex]CRLF data CRLF ... 0[;chunk-signature=hex]CRLF
 * [trailers] CRLF`. "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks",
 * Amazon S3 API Reference. Works on slices as they come, holds nothing but one header line.
 */
import { createHash, type Hash } from 'node:crypto'
import { type ChunkSigner, hmacHex, sha256OfNothing } from './auth.ts'
import { S3Error } from './xml.ts'

const maxLine = 16 * 1024
/** Every chunk but the last has at least that many bytes, or S3 refuses the body. */
const minChunk = 8 * 1024

const State = { head: 0, data: 1, dataEnd: 2, trailer: 3, done: 4 } as const

const incomplete = () =>
  new S3Error(
    400,
    'IncompleteBody',
    'The request body terminated unexpectedly or is not valid aws-chunked encoding.',
  )

export class AwsChunkedDecoder {
  /** Names in lower case, without the trailer's own signature. Complete after {@link finish}. */
  readonly trailers = new Map<string, string>()
  readonly #signer: ChunkSigner | undefined
  readonly #expectTrailer: boolean
  readonly #onData: (slice: Buffer) => void
  #state: (typeof State)[keyof typeof State] = State.head
  #line = ''
  #remaining = 0
  #chunkSize = minChunk
  #signature = ''
  #previous: string
  #hash: Hash | undefined
  #trailerSignature: string | undefined

  /** @param signer when the chunks are signed, what with */
  constructor(options: { signer?: ChunkSigner; trailer: boolean; onData: (slice: Buffer) => void }) {
    this.#signer = options.signer
    this.#expectTrailer = options.trailer
    this.#onData = options.onData
    this.#previous = options.signer?.seedSignature ?? ''
  }

  /** @throws S3Error on malformed framing or a chunk whose signature is wrong */
  push(buffer: Buffer): void {
    let at = 0
    while (at < buffer.length) {
      if (this.#state === State.data) {
        const slice = buffer.subarray(at, at + this.#remaining)
        at += slice.length
        this.#remaining -= slice.length
        this.#hash?.update(slice)
        this.#onData(slice)
        if (this.#remaining === 0) this.#state = State.dataEnd
        continue
      }
      if (this.#state === State.done) throw incomplete()
      const newline = buffer.indexOf(10, at)
      const end = newline === -1 ? buffer.length : newline
      this.#line += buffer.toString('latin1', at, end)
      if (this.#line.length > maxLine) throw incomplete()
      at = end + 1
      if (newline === -1) return
      const line = this.#line.endsWith('\r') ? this.#line.slice(0, -1) : this.#line
      this.#line = ''
      if (this.#state === State.head) this.#head(line)
      else if (this.#state === State.dataEnd) {
        if (line !== '') throw incomplete()
        this.#checkChunk()
        this.#state = State.head
      } else this.#trailerLine(line)
    }
  }

  /** To be called when the body has ended. @throws S3Error when it ended too early or a trailer is missing */
  finish(): void {
    if (this.#state !== State.done) throw incomplete()
  }

  #head(line: string): void {
    const m = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line)
    if (!m || (this.#signer && m[2] === undefined)) throw incomplete()
    const size = Number.parseInt(m[1]!, 16)
    if (size > 0 && this.#chunkSize < minChunk) {
      throw new S3Error(
        403,
        'InvalidChunkSizeError',
        'Only the last chunk is allowed to have a size less than 8192 bytes',
      )
    }
    this.#chunkSize = size
    this.#signature = m[2] ?? ''
    this.#remaining = size
    if (this.#signer) this.#hash = createHash('sha256')
    if (size > 0) {
      this.#state = State.data
    } else {
      this.#checkChunk()
      this.#state = State.trailer
    }
  }

  #checkChunk(): void {
    if (!this.#signer || !this.#hash) return
    const { key, date, scope } = this.#signer
    const expected = hmacHex(
      key,
      `AWS4-HMAC-SHA256-PAYLOAD\n${date}\n${scope}\n${this.#previous}\n${sha256OfNothing}\n${this.#hash.digest('hex')}`,
    )
    if (expected !== this.#signature) throw this.#mismatch()
    this.#previous = expected
  }

  #trailerLine(line: string): void {
    if (line === '') {
      // The reference shows an empty line between the trailers and their signature, clients do not send it.
      if (this.#signer && this.#expectTrailer && this.#trailerSignature === undefined) {
        if (this.trailers.size > 0) return
        throw incomplete()
      }
      this.#checkTrailer()
      this.#state = State.done
      return
    }
    const at = line.indexOf(':')
    if (!this.#expectTrailer || at <= 0) {
      throw new S3Error(
        400,
        'MalformedTrailerError',
        'The request contained trailing data that was not well-formed or did not conform to our published schema.',
      )
    }
    const name = line.slice(0, at).toLowerCase()
    const value = line.slice(at + 1).replace(/^[ \t]+|[ \t]+$/g, '')
    if (name === 'x-amz-trailer-signature') this.#trailerSignature = value
    else this.trailers.set(name, value)
  }

  #checkTrailer(): void {
    if (!this.#signer || !this.#expectTrailer) return
    const { key, date, scope } = this.#signer
    const text = [...this.trailers].map(([name, value]) => `${name}:${value}\n`).join('')
    const digest = createHash('sha256').update(text).digest('hex')
    const expected = hmacHex(key, `AWS4-HMAC-SHA256-TRAILER\n${date}\n${scope}\n${this.#previous}\n${digest}`)
    if (expected !== this.#trailerSignature) throw this.#mismatch()
  }

  #mismatch(): S3Error {
    return new S3Error(
      403,
      'SignatureDoesNotMatch',
      'The chunk signature we calculated does not match the signature you provided.',
    )
  }
}
