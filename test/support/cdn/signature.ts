/** Signed URLs as CloudFront checks them. */
import { createVerify, type KeyObject } from 'node:crypto'
import { matchesWildcards } from '../../../src/core/bucket/wildcards.ts'
import type { CdnAnswer } from '../../../src/embedded/cdn-answer.ts'

/** CloudFront's own URL-safe base64. */
const fromCloudFrontBase64 = (text: string): Buffer =>
  Buffer.from(text.replace(/-/g, '+').replace(/_/g, '=').replace(/~/g, '/'), 'base64')

const signatureError = (code: string, message: string): CdnAnswer => ({
  status: 403,
  headers: { 'content-type': 'text/xml', 'x-cache': 'Error from cloudfront' },
  body: Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  ),
})

/** Is the URL signed, by a key that is trusted, for this resource, and still valid? Undefined when it is. */
export function signatureFault(
  query: URLSearchParams,
  resource: string,
  keys: ReadonlyMap<string, KeyObject>,
  now: number,
): CdnAnswer | undefined {
  const denied = () => signatureError('AccessDenied', 'Access denied')
  const keyPairId = query.get('Key-Pair-Id')
  if (keyPairId === null)
    return signatureError('MissingKey', 'Missing Key-Pair-Id query parameter or cookie value')
  const key = keys.get(keyPairId)
  if (!key) return signatureError('InvalidKey', 'Unknown Key')
  const signature = query.get('Signature')
  const expires = query.get('Expires')
  const policyText = query.get('Policy')
  if (signature === null) return denied()
  let policy: string
  if (policyText !== null) policy = fromCloudFrontBase64(policyText).toString('utf8')
  else if (expires !== null) {
    policy = `{"Statement":[{"Resource":"${resource}","Condition":{"DateLessThan":{"AWS:EpochTime":${expires}}}}]}`
  } else return signatureError('MissingPolicy', 'Missing Expires or Policy query parameter or cookie value')
  const algorithm = (query.get('Hash-Algorithm') ?? 'SHA1').toUpperCase() === 'SHA256' ? 'sha256' : 'sha1'
  const verified = createVerify(algorithm).update(policy).verify(key, fromCloudFrontBase64(signature))
  if (!verified) return denied()
  try {
    const [statement] = JSON.parse(policy).Statement
    const { DateLessThan, DateGreaterThan } = statement.Condition
    const covered =
      statement.Resource === resource ||
      (policyText !== null && matchesWildcards(String(statement.Resource), resource))
    if (!covered || now / 1000 >= DateLessThan['AWS:EpochTime']) return denied()
    if (DateGreaterThan && now / 1000 < DateGreaterThan['AWS:EpochTime']) return denied()
  } catch {
    return signatureError('MalformedPolicy', 'Malformed Policy')
  }
  return undefined
}

/** What is left of a viewer's query once the signature is taken out, as CloudFront signs and sees it. */
export function withoutSignature(rawQuery: string): string {
  const own = /^(Expires|Policy|Signature|Key-Pair-Id|Hash-Algorithm)(=|$)/
  return rawQuery
    .split('&')
    .filter(pair => pair !== '' && !own.test(pair))
    .join('&')
}
