import { generateKeyPairSync, type KeyObject, verify } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createUrlSigner } from '../../../src/cdn/sign.ts'
import { cdnUrl, parseCdnDomain } from '../../../src/core/cdn-url.ts'
import { FatalError, UsageError } from '../../../src/errors.ts'

const domain = parseCdnDomain('d111111abcdef8.cloudfront.net')
const expires = new Date('2030-01-02T03:04:05Z')
const pairs = {
  RSA: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ECDSA: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
}
const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString()

/** What CloudFront does with a canned policy: rebuild it from the URL as it came, and check the signature. */
function cloudFrontAccepts(signed: string, publicKey: KeyObject): boolean {
  const at = signed.lastIndexOf('?')
  const resource = signed.slice(0, at)
  const query = new URLSearchParams(signed.slice(at + 1))
  const policy =
    `{"Statement":[{"Resource":"${resource}","Condition":` +
    `{"DateLessThan":{"AWS:EpochTime":${query.get('Expires')}}}}]}`
  const signature = query.get('Signature')!.replaceAll('-', '+').replaceAll('_', '=').replaceAll('~', '/')
  return (
    query.get('Hash-Algorithm') === 'SHA256' &&
    verify('sha256', Buffer.from(policy), publicKey, Buffer.from(signature, 'base64'))
  )
}

describe.each(['RSA', 'ECDSA'] as const)('%s', async type => {
  const signer = await createUrlSigner({
    keyPairId: 'K2JCJMDEHXQW5F',
    privateKey: pem(pairs[type].privateKey),
  })

  test('says what it signs with', () => {
    expect(signer.keyType).toBe(type)
  })

  test('the signed URL is the object URL, a query, and a signature that the public key confirms', () => {
    fc.assert(
      fc.property(
        fc
          .array(
            fc.oneof(
              fc.constantFrom(
                '%25',
                '%2525',
                '?',
                '..',
                '//',
                '+',
                '#',
                '%',
                '🎧',
                'é',
                'e\u0301',
                '*',
                "'",
                '&',
                '=',
              ),
              fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }),
            ),
            { minLength: 1, maxLength: 8 },
          )
          .map(parts => parts.join(''))
          .filter(key => key.isWellFormed()),
        key => {
          const url = cdnUrl(domain, key)
          const signed = signer.sign(url, expires)
          expect(
            signed.startsWith(`${url}?Expires=${expires.getTime() / 1000}&Key-Pair-Id=K2JCJMDEHXQW5F&`),
          ).toBe(true)
          expect(cloudFrontAccepts(signed, pairs[type].publicKey)).toBe(true)
        },
      ),
      { numRuns: 200 },
    )
  })

  test('a signature is good for one object, one time and one key', () => {
    const signed = signer.sign(cdnUrl(domain, 'audio/a.mp3'), expires)
    expect(cloudFrontAccepts(signed.replace('a.mp3', 'b.mp3'), pairs[type].publicKey)).toBe(false)
    expect(cloudFrontAccepts(signed.replace(/Expires=\d/, 'Expires=9'), pairs[type].publicKey)).toBe(false)
    const other =
      type === 'RSA'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: 'P-256' })
    expect(cloudFrontAccepts(signed, other.publicKey)).toBe(false)
  })

  test('a URL that the SDK would rewrite is refused, not signed for another object', () => {
    for (const path of ['/a%2fb.mp3', '/50%.mp3', '/a+b.mp3', '/a.mp3?x=é']) {
      expect(() => signer.sign(`https://d111111abcdef8.cloudfront.net${path}`, expires)).toThrow(FatalError)
    }
  })
})

test('an ECDSA URL is shorter', async () => {
  const signers = (['RSA', 'ECDSA'] as const).map(type =>
    createUrlSigner({ keyPairId: 'K1', privateKey: pem(pairs[type].privateKey) }),
  )
  const [rsa, ec] = (await Promise.all(signers)).map(signer => signer.sign(cdnUrl(domain, 'a'), expires))
  expect(ec!.length).toBeLessThan(rsa!.length - 200)
})

describe('keys that CloudFront would not take are refused, and never shown', () => {
  const encrypted = pairs.RSA.privateKey.export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  })
  test.each([
    ['RSA of 4096 bits', pem(generateKeyPairSync('rsa', { modulusLength: 4096 }).privateKey), /4096/],
    ['P-384', pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey), /secp384r1/],
    ['Ed25519', pem(generateKeyPairSync('ed25519').privateKey), /ed25519/],
    ['a public key', pairs.RSA.publicKey.export({ type: 'spki', format: 'pem' }).toString(), /public key/],
    ['a passphrase', encrypted.toString(), /passphrase/],
    ['no PEM', 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC', /not a PEM/],
  ])('%s', async (_, privateKey, why) => {
    const error = await createUrlSigner({ keyPairId: 'K1', privateKey }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(UsageError)
    expect((error as UsageError).message).toMatch(why)
    expect((error as UsageError).message).not.toContain(privateKey.slice(30, 60))
  })

  test('a key pair id with anything else in it', async () => {
    const asked = createUrlSigner({ keyPairId: 'K1&x=', privateKey: pem(pairs.ECDSA.privateKey) })
    await expect(asked).rejects.toThrow(UsageError)
  })
})
