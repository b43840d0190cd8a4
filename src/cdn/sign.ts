/**
 * CloudFront signed URLs. The policy and query string are `@aws-sdk/cloudfront-signer`'s; what is ours is the choice
 * of algorithm, the check of the key, and the guard against URL rewriting.
 */
import { createPrivateKey } from 'node:crypto'
import { FatalError, systemErrorReason, UsageError } from '../errors.ts'
import { readNamedFile } from '../named-files.ts'

export interface UrlSigner {
  /** CloudFront's id of the public key (`K…`); not a secret */
  readonly keyPairId: string
  readonly keyType: 'RSA' | 'ECDSA'
  /**
   * The URL with a canned policy: whoever has it may read this object until `expires` (whole seconds).
   * `url` comes from `cdnUrl`: encoded, without a query.
   */
  sign(url: string, expires: Date): string
}

/**
 * A signer for one key pair. Signatures are SHA-256 (`Hash-Algorithm=SHA256` in the URL; the SDK's default is SHA-1):
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/PrivateCFSignatureCodeAndExamples.html
 *
 * @param privateKey PEM of a 2048-bit RSA or a P-256 ECDSA key, the two kinds that CloudFront takes:
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-trusted-signers.html
 * @throws UsageError `cdn.signing-key` when it is not such a key; the message never holds any of it
 */
export async function createUrlSigner({
  keyPairId,
  privateKey,
}: {
  keyPairId: string
  privateKey: string
}): Promise<UrlSigner> {
  const keyType = checkKey(privateKey)
  if (!/^[A-Z0-9]+$/.test(keyPairId)) {
    throw new UsageError(`CLOUDFRONT_KEY_PAIR_ID "${keyPairId}" is not the id of a CloudFront public key`, {
      code: 'cdn.key-pair-id',
    })
  }
  const { getSignedUrl } = await import('@aws-sdk/cloudfront-signer')
  return {
    keyPairId,
    keyType,
    sign(url, expires) {
      const signed = getSignedUrl({ url, keyPairId, privateKey, dateLessThan: expires, algorithm: 'SHA256' })
      // The SDK decodes and encodes the path again before it signs. For a path from cdnUrl that changes nothing;
      // for any other (`..`, a bare %, ?) it would sign and return the URL of another object.
      if (!signed.startsWith(`${url}?Expires=`)) {
        throw new FatalError(`the URL signer changed ${url}`, { code: 'cdn.signer-rewrote' })
      }
      return signed
    },
  }
}

/**
 * The signer that the configuration asks for.
 * @throws UsageError when the key file cannot be read, or as {@link createUrlSigner}
 */
export async function openUrlSigner({
  keyPairId,
  privateKeyPath,
}: {
  keyPairId: string
  privateKeyPath: string
}): Promise<UrlSigner> {
  let privateKey: string
  try {
    privateKey = readNamedFile(privateKeyPath).toString()
  } catch (error) {
    throw new UsageError(`${privateKeyPath} cannot be read: ${systemErrorReason(error)}`, {
      code: 'cdn.signing-key',
      cure: 'Set CLOUDFRONT_PRIVATE_KEY_PATH to a private key (PEM) that this user may read.',
    })
  }
  return createUrlSigner({ keyPairId, privateKey })
}

function checkKey(pem: string): 'RSA' | 'ECDSA' {
  const refuse = (why: string, cause?: unknown) =>
    new UsageError(`the CloudFront private key cannot be used: ${why}`, {
      code: 'cdn.signing-key',
      cause,
    })
  if (/ENCRYPTED/.test(pem)) throw refuse('it is protected by a passphrase')
  let key: ReturnType<typeof createPrivateKey>
  try {
    key = createPrivateKey(pem)
  } catch (error) {
    throw refuse(/PUBLIC KEY/.test(pem) ? 'it is a public key' : 'it is not a PEM private key', error)
  }
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'rsa') {
    if (modulusLength !== 2048)
      throw refuse(`it is RSA of ${modulusLength} bits, and CloudFront takes 2048 only`)
    return 'RSA'
  }
  if (key.asymmetricKeyType === 'ec') {
    if (namedCurve !== 'prime256v1')
      throw refuse(`it is ECDSA on ${namedCurve}, and CloudFront takes P-256 only`)
    return 'ECDSA'
  }
  throw refuse(`it is a ${key.asymmetricKeyType} key`)
}
