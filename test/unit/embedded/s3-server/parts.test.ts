/** The arithmetic and the framing inside the embedded S3 server. */
import { createHash, createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ChunkSigner, sha256OfNothing } from '../../../../src/embedded/s3-server/auth.ts'
import { checksumOf, isCrc, joinCrcs, startChecksum } from '../../../../src/embedded/s3-server/checksums.ts'
import { AwsChunkedDecoder } from '../../../../src/embedded/s3-server/chunked.ts'
import { SortedKeys } from '../../../../src/embedded/s3-server/keys.ts'
import { S3Error } from '../../../../src/embedded/s3-server/xml.ts'

describe('checksums', () => {
  // The catalogue of parametrised CRC algorithms gives these check values for "123456789".
  test.each([
    ['CRC32', 'cbf43926'],
    ['CRC32C', 'e3069283'],
    ['CRC64NVME', 'ae8b14860a799888'],
  ] as const)('%s of the check string', (algorithm, hex) => {
    expect(checksumOf(algorithm, Buffer.from('123456789'))).toBe(Buffer.from(hex, 'hex').toString('base64'))
  })

  test('in pieces or at once, the same; joined from parts, the same', () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 8 })
    fc.assert(
      fc.property(
        fc.constantFrom('CRC32' as const, 'CRC32C' as const, 'CRC64NVME' as const),
        pieces,
        (algorithm, parts) => {
          const whole = checksumOf(algorithm, Buffer.concat(parts))
          const running = startChecksum(algorithm)
          for (const part of parts) running.update(part)
          expect(running.digest()).toBe(whole)
          expect(isCrc(algorithm)).toBe(true)
          const joined = parts.map(part => ({ checksum: checksumOf(algorithm, part), size: part.length }))
          expect(joinCrcs(algorithm, joined)).toBe(whole)
        },
      ),
    )
  })
})

describe('keys in order', () => {
  const key = fc.string({
    unit: fc.constantFrom('a', 'é', '\u{1f3a7}', '\uffee', '\ud7ff', '/', '\ue000'),
    maxLength: 5,
  })

  test('as Buffer.compare has it, whatever came and went', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('add', 'remove', 'walk'), key), { maxLength: 60 })
    fc.assert(
      fc.property(steps, key, (all, start) => {
        const keys = new SortedKeys<{ key: string }>()
        const model = new Set<string>()
        for (const [what, k] of all) {
          if (what === 'add' && !model.has(k)) {
            model.add(k)
            keys.add({ key: k })
          } else if (what === 'remove') {
            model.delete(k)
            keys.remove(k)
          } else keys.walk('').next()
        }
        const expected = [...model]
          .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
          .filter(k => Buffer.compare(Buffer.from(k), Buffer.from(start)) >= 0)
        expect([...keys.walk(start)].map(item => item.key)).toEqual(expected)
      }),
    )
  })

  test('a leap goes past all of a prefix and nothing else', () => {
    fc.assert(
      fc.property(fc.uniqueArray(key, { maxLength: 40 }), all => {
        const keys = new SortedKeys<{ key: string }>()
        for (const k of all) keys.add({ key: k })
        const group = (k: string) => (k.includes('/') ? k.slice(0, k.indexOf('/') + 1) : undefined)
        const sorted = all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        const expected = sorted.filter((k, i) => {
          const g = group(k)
          return g === undefined || !sorted.slice(0, i).some(before => before.startsWith(g))
        })
        const seen: string[] = []
        const walk = keys.walk('')
        for (let step = walk.next(); !step.done; ) {
          seen.push(step.value.key)
          step = walk.next(group(step.value.key))
        }
        expect(seen).toEqual(expected)
      }),
    )
  })
})

describe('aws-chunked', () => {
  const signer: ChunkSigner = {
    key: Buffer.from('key'),
    date: '20260102T030405Z',
    scope: '20260102/us-east-1/s3/aws4_request',
    seedSignature: 'seed',
  }
  const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
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
