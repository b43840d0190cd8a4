import { type BinaryLike, createHash, createHmac, type Hash, type Hmac } from 'node:crypto'
import { SignatureV4 } from '@smithy/signature-v4'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  createSigner,
  encodeKey,
  encodeRfc3986,
  type SignableRequest,
  unsignedPayload,
} from '../../../src/storage/sigv4.ts'

/** "Examples: Signature Calculations in AWS Signature Version 4", Amazon S3 API reference. */
const published = {
  credentials: {
    accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  },
  date: new Date('2013-05-24T00:00:00Z'),
  host: 'examplebucket.s3.amazonaws.com',
}
const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

test.for<{ name: string; request: SignableRequest; signature: string }>([
  {
    name: 'GET object',
    request: { method: 'GET', path: '/test.txt', headers: { range: 'bytes=0-9' }, payloadHash: empty },
    signature: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  },
  {
    name: 'PUT object',
    request: {
      method: 'PUT',
      path: '/test%24file.text',
      headers: { date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' },
      payloadHash: '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
    },
    signature: '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
  },
  {
    name: 'GET bucket lifecycle',
    request: { method: 'GET', path: '/', query: { lifecycle: '' }, headers: {}, payloadHash: empty },
    signature: 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
  },
  {
    name: 'GET bucket (list objects)',
    request: {
      method: 'GET',
      path: '/',
      query: { prefix: 'J', 'max-keys': '2' },
      headers: {},
      payloadHash: empty,
    },
    signature: '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
  },
])('published example: $name', ({ request, signature }) => {
  const headers: Record<string, string> = { ...request.headers, host: published.host }
  createSigner('us-east-1')({ ...request, headers }, published.credentials, published.date)
  expect(headers['authorization']).toMatch(
    /^AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE\/20130524\/us-east-1\/s3\//,
  )
  expect(headers['authorization']?.split('Signature=')[1]).toBe(signature)
})

class Sha256 {
  readonly #hash: Hash | Hmac
  constructor(secret?: unknown) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as BinaryLike)
  }
  update(data: unknown) {
    this.#hash.update(data as BinaryLike)
  }
  reset() {}
  digest() {
    return Promise.resolve(new Uint8Array(this.#hash.digest()))
  }
}

describe('signs as @smithy/signature-v4 does', () => {
  const secret = fc.string({ minLength: 1, maxLength: 60 }).filter(text => text.trim() !== '')
  // `__proto__` is no property of its own in an object literal, neither here nor in the SDK.
  const queryName = fc.string({ unit: 'grapheme', minLength: 1 }).filter(name => name !== '__proto__')
  const headerValue = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map(n => String.fromCharCode(n)),
  })

  test('for any key, query, headers, credentials and day', async () => {
    // One signer throughout: its cached key must follow day and secret.
    const sign = createSigner('eu-central-1')
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'grapheme', minLength: 1 }),
        fc.dictionary(queryName, fc.string({ unit: 'grapheme' }), {
          maxKeys: 3,
          noNullPrototype: true,
        }),
        fc.dictionary(fc.stringMatching(/^x-amz-meta-[a-z0-9-]{1,8}$/), headerValue, {
          maxKeys: 3,
          noNullPrototype: true,
        }),
        fc.record({
          accessKeyId: fc.stringMatching(/^[A-Z0-9]{16}$/),
          secretAccessKey: secret,
          sessionToken: fc.option(fc.stringMatching(/^[A-Za-z0-9+/=]{1,40}$/), { nil: undefined }),
        }),
        fc.date({ min: new Date('2000-01-01'), max: new Date('2099-12-31'), noInvalidDate: true }),
        async (key, query, meta, credentials, now) => {
          fc.pre(!Object.keys(query).some(name => name.toLowerCase() === 'x-amz-signature'))
          const path = `/${encodeKey(key)}`
          const ours: Record<string, string> = { ...meta, host: 'b.s3.eu-central-1.amazonaws.com' }
          sign({ method: 'PUT', path, query, headers: ours, payloadHash: unsignedPayload }, credentials, now)
          const signer = new SignatureV4({
            credentials,
            region: 'eu-central-1',
            service: 's3',
            sha256: Sha256,
            uriEscapePath: false,
          })
          const theirs = await signer.sign(
            {
              method: 'PUT',
              protocol: 'https:',
              hostname: 'b.s3.eu-central-1.amazonaws.com',
              path,
              query,
              headers: {
                ...meta,
                host: 'b.s3.eu-central-1.amazonaws.com',
                'x-amz-content-sha256': unsignedPayload,
              },
            },
            { signingDate: now },
          )
          expect(ours['authorization']).toBe(theirs.headers['authorization'])
          expect(ours['x-amz-date']).toBe(theirs.headers['x-amz-date'])
        },
      ),
      { numRuns: 300 },
    )
  })
})

test('encoding leaves only unreserved characters, and decodes to what it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), text => {
      const encoded = encodeRfc3986(text)
      expect(encoded).toMatch(/^([A-Za-z0-9\-._~]|%[0-9A-F]{2})*$/)
      expect(decodeURIComponent(encoded)).toBe(text)
    }),
  )
  expect(encodeKey("a/b c+d#e%f?g'(*)!/é//")).toBe('a/b%20c%2Bd%23e%25f%3Fg%27%28%2A%29%21/%C3%A9//')
})
