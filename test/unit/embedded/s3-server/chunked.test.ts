/** The arithmetic and the framing inside the embedded S3 server. */
import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ChunkSigner, sha256OfNothing } from '../../../../src/embedded/s3-server/auth.ts'
import { AwsChunkedDecoder } from '../../../../src/embedded/s3-server/chunked.ts'
import { S3Error } from '../../../../src/embedded/s3-server/xml.ts'
import { sha256 } from '../../../support/sums.ts'

describe('aws-chunked', () => {
  const signer: ChunkSigner = {
    key: Buffer.from('key'),
    date: '20260102T030405Z',
    scope: '20260102/us-east-1/s3/aws4_request',
    seedSignature: 'seed',
  }
  const sign = (kind: string, previous: string, ...hashes: string[]) =>
    createHmac('sha256', signer.key)
      .update([`AWS4-HMAC-SHA256-${kind}`, signer.date, signer.scope, previous, ...hashes].join('\n'))
      .digest('hex')

  function encode(chunks: Buffer[], trailer?: string): Buffer {
    let previous = signer.seedSignature
    const out: Buffer[] = []
    for (const chunk of [...chunks, Buffer.alloc(0)]) {
      previous = sign('PAYLOAD', previous, sha256OfNothing, sha256(chunk))
      out.push(Buffer.from(`${chunk.length.toString(16)};chunk-signature=${previous}\r\n`), chunk)
      if (chunk.length > 0) out.push(Buffer.from('\r\n'))
    }
    if (trailer !== undefined) {
      out.push(
        Buffer.from(
          `${trailer}\r\nx-amz-trailer-signature:${sign('TRAILER', previous, sha256(`${trailer}\n`))}\r\n`,
        ),
      )
    }
    out.push(Buffer.from('\r\n'))
    return Buffer.concat(out)
  }

  function decode(wire: Buffer, cuts: number[], trailer: boolean) {
    const data: Buffer[] = []
    const decoder = new AwsChunkedDecoder({ signer, trailer, onData: slice => data.push(slice) })
    let from = 0
    for (const cut of [...cuts.map(c => c % wire.length).sort((a, b) => a - b), wire.length]) {
      decoder.push(wire.subarray(from, cut))
      from = cut
    }
    decoder.finish()
    return { data: Buffer.concat(data), trailers: Object.fromEntries(decoder.trailers) }
  }

  const chunks = [Buffer.alloc(8192, 'a'), Buffer.alloc(9000, 'b'), Buffer.from('end')]

  test('signed chunks and a signed trailer, cut anywhere', () => {
    const wire = encode(chunks, 'x-amz-checksum-crc32:AAAAAA==')
    fc.assert(
      fc.property(fc.array(fc.nat()), cuts => {
        const { data, trailers } = decode(wire, cuts, true)
        expect(data.equals(Buffer.concat(chunks))).toBe(true)
        expect(trailers).toEqual({ 'x-amz-checksum-crc32': 'AAAAAA==' })
      }),
    )
    expect(decode(encode(chunks), [], false).data.length).toBe(17_195)
  })

  test('one flipped bit anywhere is refused', () => {
    const wire = encode([Buffer.from('some bytes')], 'x-amz-checksum-crc32:AAAAAA==')
    for (let at = 0; at < wire.length; at++) {
      // The case of a trailer's name and that of a hexadecimal size mean nothing.
      const flipped = Buffer.from(wire)
      flipped[at] = flipped[at]! ^ 1
      expect(() => decode(flipped, [], true), `byte ${at}`).toThrow(S3Error)
    }
  })

  test('cut short or with a small chunk in the middle: refused', () => {
    const wire = encode(chunks)
    for (const length of [0, 10, 8200, wire.length - 40, wire.length - 2]) {
      expect(() => decode(wire.subarray(0, length), [], false), `${length} bytes`).toThrow(S3Error)
    }
    expect(() => decode(encode([Buffer.from('small'), ...chunks]), [], false)).toThrow(/less than 8192/)
  })
})
