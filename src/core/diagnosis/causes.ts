/**
 * Every cause of a track not being served as it should be: what it is called, what it means, what to change.
 * {@link diagnose} in `diagnosis.ts` picks them.
 */
import { printable } from '../units.ts'

type Severity = 'failure' | 'warning'

export interface Finding {
  cause: Cause
  severity: Severity
  /** one line: what is wrong */
  title: string
  /** the observations that the cause rests on, one line each, without control characters or secrets */
  evidence: readonly string[]
  /** one line: what to change */
  cure: string
}

interface CauseText {
  title: string
  cure: string
  severity?: Severity
  /** the same request may succeed a moment later */
  transient?: boolean
  /** other bytes came than those of the object */
  otherBytes?: boolean
}

const allowDistribution =
  'Attach an origin access control (SigV4, always sign) to the S3 origin and allow s3:GetObject in the bucket ' +
  'policy for this distribution: `autodj bucket plan` prints both.'
const contentTypeCure =
  'Set the Content-Type: `autodj reconcile` offers it if the bytes are audio, which `autodj analyze --check` finds out.'
const uploadCure = 'Run `autodj reconcile`, then `autodj upload-local` (or `autodj fetch`) for this track.'

/** Every cause there is a name for. Names are part of the `--json` contract. */
export const causes = {
  // the CDN did not answer
  dns: {
    title: 'the CDN domain does not resolve',
    cure: 'Check CLOUDFRONT_DOMAIN, and its DNS record (an alias needs a CNAME or ALIAS to the distribution).',
  },
  refused: {
    title: 'nothing is listening at the CDN domain',
    cure: 'Check that CLOUDFRONT_DOMAIN points to a CloudFront distribution.',
  },
  timeout: {
    title: 'no answer in time',
    cure: 'Run it again; if it persists, check network, firewall and origin.',
    transient: true,
  },
  reset: {
    title: 'the connection broke before the answer was complete',
    cure: 'Run it again; if it persists, look for a proxy or firewall between here and the CDN.',
    transient: true,
  },
  'tls-certificate': {
    title: "the domain's certificate is not trusted",
    cure: 'Attach an ACM certificate (us-east-1) that covers the alias to the distribution, and renew it in time.',
  },
  'tls-handshake': {
    title: 'no TLS connection to the domain',
    cure:
      'Add the host name to the alternate domain names of the distribution, with a certificate; check that no ' +
      'proxy intercepts TLS.',
  },
  // CloudFront refused the viewer
  'signature-missing': {
    title: 'the distribution requires signed URLs',
    cure: 'Set CLOUDFRONT_KEY_PAIR_ID and CLOUDFRONT_PRIVATE_KEY_PATH, or turn off "Restrict viewer access".',
  },
  'signature-unknown-key': {
    title: 'CloudFront does not know the key pair id',
    cure: 'Add the public key of CLOUDFRONT_KEY_PAIR_ID to the key group of the cache behaviour.',
  },
  'signature-expired': {
    title: 'the signed URL had expired',
    cure: 'Check the clock of this machine (NTP); run it again.',
  },
  'signature-rejected': {
    title: 'CloudFront does not accept the signature',
    cure: 'The private key does not belong to CLOUDFRONT_KEY_PAIR_ID: point CLOUDFRONT_PRIVATE_KEY_PATH to the matching key.',
  },
  'https-only': {
    title: 'the distribution answers HTTPS only and was asked over HTTP',
    cure: 'Use https:// URLs, or set the viewer protocol policy to "Redirect HTTP to HTTPS".',
  },
  'alias-unknown': {
    title: 'CloudFront has no distribution for this host name',
    cure: 'Add the host name to the alternate domain names of the distribution, or correct CLOUDFRONT_DOMAIN.',
  },
  'waf-blocked': {
    title: 'AWS WAF blocked the request',
    cure: 'Allow GET of audio in the web ACL of the distribution (look at its sampled requests).',
  },
  'geo-blocked': {
    title: 'the distribution blocks the country of this machine',
    cure: 'Change the geographic restrictions of the distribution, or verify from an allowed country.',
  },
  'edge-function': {
    title: 'a function at the edge failed',
    cure: 'Look at the logs of the Lambda@Edge or CloudFront function of the cache behaviour.',
  },
  'cdn-throttled': {
    title: 'the CDN asked to slow down',
    cure: 'Run it again with a lower --concurrency.',
    transient: true,
  },
  'bot-challenge': {
    title: 'the CDN asks for proof that a browser is there: players cannot give it',
    cure: 'Let requests for audio past the bot protection of the CDN.',
  },
  'viewer-refused': {
    title: 'the CDN refuses the request by a rule of its own',
    cure: 'Look at the access rules of the distribution (web ACL, edge functions, restrictions).',
  },
  'object-too-large': {
    title: 'the object is larger than the CDN delivers',
    cure: "Raise the CDN's limit on the size of an object, or have it cut into segments.",
  },
  // CloudFront did not reach its origin
  'origin-tls': {
    title: 'CloudFront cannot make a TLS connection to its origin',
    cure:
      'Make the origin the bucket (BUCKET.s3.REGION.amazonaws.com, no dots in its name), or give it a valid ' +
      'certificate and TLS 1.2.',
  },
  'origin-dns': {
    title: "the origin's domain does not resolve",
    cure: 'Set the origin domain to BUCKET.s3.REGION.amazonaws.com.',
  },
  'origin-unreachable': {
    title: 'CloudFront cannot connect to its origin',
    cure:
      'Set the origin domain to BUCKET.s3.REGION.amazonaws.com; an origin of your own must answer at that name and ' +
      'port, with a valid certificate for it where CloudFront connects over HTTPS.',
    transient: true,
  },
  'origin-throttled': {
    title: 'S3 asked to slow down',
    cure: 'Run it again with a lower --concurrency.',
    transient: true,
  },
  'origin-error': {
    title: 'S3 failed',
    cure: 'Run it again; if it persists, look at the AWS Health dashboard.',
    transient: true,
  },
  // S3 refused CloudFront
  'oac-missing': {
    title: 'the object is there, but S3 does not let CloudFront read it',
    cure: allowDistribution,
  },
  'origin-denied': {
    title: 'S3 refused CloudFront; it could not be checked whether the object exists',
    cure: `Give this command credentials that may read the bucket, and run it again. If the object exists: ${allowDistribution}`,
  },
  'oac-sigv4': {
    title: 'CloudFront signs its requests to S3 in a way this bucket does not accept',
    cure: 'Replace the origin access identity with an origin access control with SigV4: `autodj bucket plan` prints it.',
  },
  'kms-denied': {
    title: 'the object is encrypted with a KMS key that CloudFront may not use',
    cure:
      'Allow kms:Decrypt in the key policy to cloudfront.amazonaws.com with the distribution as AWS:SourceArn ' +
      '(an aws/s3 managed key cannot: use a customer managed key, or SSE-S3).',
  },
  'auth-forwarded': {
    title: "the viewer's signature or Authorization header is passed on to S3",
    cure: 'Do not forward query strings and the Authorization header to the origin (managed policy CachingOptimized).',
  },
  'host-forwarded': {
    title: "the viewer's Host header is passed on to S3",
    cure: 'Do not forward Host to an S3 origin: use the managed origin request policy CORS-S3Origin, or none.',
  },
  'origin-signature': {
    title: "S3 does not accept CloudFront's signature",
    cure: 'An edge function or origin request policy changes the request after it is signed: forward fewer headers.',
  },
  'wrong-region-endpoint': {
    title: "the origin is not the bucket's regional endpoint",
    cure: 'Set the origin domain to BUCKET.s3.REGION.amazonaws.com with the region of the bucket.',
  },
  'bucket-missing': {
    title: "the origin's bucket does not exist",
    cure: 'Correct the origin domain of the distribution.',
  },
  'website-endpoint': {
    title: "the origin is the bucket's website endpoint",
    cure: 'Use the REST endpoint BUCKET.s3.REGION.amazonaws.com with an origin access control instead.',
  },
  'object-archived': {
    title: 'the object is in an archive storage class',
    cure: 'Restore it, and let the lifecycle rules leave audio out of Glacier and Deep Archive tiers.',
  },
  // the object is not where the URL points
  'row-without-key': {
    title: 'the row says S3, but has no object key',
    cure: 'Run `autodj reconcile`: it finds the object or sets the row back.',
  },
  'object-missing': { title: 'the object is not in the bucket', cure: uploadCure },
  'key-normalisation': {
    title: 'the key is in another Unicode normalisation form (NFC against NFD)',
    cure: 'The row and the object must spell the key in the same form: `autodj reconcile` repairs the row.',
  },
  'key-plus': {
    title: 'a + and a space are mixed up in the key',
    cure: 'Encode every segment with encodeURIComponent (+ as %2B); `autodj reconcile` repairs a row that is wrong.',
  },
  'key-encoding': {
    title: 'the key is percent-encoded once too often or not at all',
    cure: 'Store keys unencoded and encode them once, in the URL; `autodj reconcile` repairs a row that is wrong.',
  },
  'key-slash': {
    title: 'there is a slash too many, or one missing, at the start of the key',
    cure: 'Store keys without a leading slash; `autodj reconcile` repairs a row that is wrong.',
  },
  'key-unaddressable': {
    title: 'no browser can request this key',
    cure: 'Rename the object to a key without "." and ".." segments.',
  },
  'origin-path': {
    title: 'the origin path of the distribution changes the key',
    cure: 'Leave the origin path empty: keys are whole, prefix included.',
  },
  'wrong-bucket': {
    title: 'the object is in the bucket, but the origin cannot find it',
    cure: 'The origin is another bucket, or a function rewrites the path: compare the origin domain with S3_BUCKET_NAME.',
  },
  'stale-error': {
    title: 'the edge still serves an error from before the object was uploaded',
    cure: 'Wait for the error caching minimum TTL (10 s unless set), or create an invalidation for the path.',
  },
  'stale-object': {
    title: 'the edge serves an older object',
    cure: 'Create an invalidation for the path; keys should change when content does.',
    otherBytes: true,
  },
  'size-mismatch': {
    title: 'the size differs from what the database says',
    cure: 'Run `autodj reconcile`: the object was replaced or cut short.',
    otherBytes: true,
  },
  'etag-mismatch': {
    title: 'the object is not the one recorded in the database',
    cure: 'Run `autodj reconcile`: the object was replaced.',
    otherBytes: true,
  },
  'object-replaced': {
    title: 'CDN and bucket agree on an object that is not the one recorded in the database',
    cure: 'Run `autodj reconcile`: the object was replaced since it was recorded.',
    otherBytes: true,
  },
  'content-differs': {
    title: 'the bytes served by the CDN differ from those in S3',
    cure: 'Create an invalidation for the path; then check edge functions and any proxy in between.',
    otherBytes: true,
  },
  'not-compared': {
    title: 'the bytes served by the CDN could not be compared with those in S3',
    cure: 'Give this command credentials with s3:GetObject (`autodj policy verify`), or leave out --bytes and --full.',
  },
  'empty-object': { title: 'the object has no bytes', cure: uploadCure },
  // the object is served, but wrongly
  'not-cached': {
    title: 'the CDN does not cache it: every play is fetched from the store',
    cure: 'Look at the caching rules of the CDN for this path and extension.',
    severity: 'warning',
  },
  'cors-stale': {
    title: 'a cached answer lacks the CORS header that the CDN would send now',
    cure: "Purge the CDN's cache: cached answers keep the headers they came with.",
  },
  compressed: {
    title: 'the CDN compresses audio, which breaks byte ranges',
    cure: 'Turn off "Compress objects automatically" for the cache behaviour, or store no Content-Encoding.',
    otherBytes: true,
  },
  'range-ignored': {
    title: 'byte ranges are ignored: players cannot seek',
    cure: 'Forward the Range header: no edge function, proxy or cache policy may drop it.',
  },
  'range-wrong': {
    title: 'the answer is not the range that was requested',
    cure: 'Look for a function or proxy that rewrites responses.',
    otherBytes: true,
  },
  'custom-error-page': {
    title: 'an HTML page was served instead of audio',
    cure: 'Remove the custom error response that turns 403 or 404 into a page (usually for a single-page app).',
    otherBytes: true,
  },
  'content-type': {
    title: 'the Content-Type is not audio',
    cure: contentTypeCure,
  },
  'content-type-generic': {
    title: 'the Content-Type does not say that it is audio',
    cure: contentTypeCure,
    severity: 'warning',
  },
  'cors-missing': {
    title: 'no CORS header for the requesting origin',
    cure:
      'Attach a response headers policy (SimpleCORS) to the cache behaviour, or a CORS rule to the bucket with the ' +
      'origin request policy CORS-S3Origin.',
  },
  'cors-other-origin': {
    title: 'the CORS header names another origin',
    cure: 'Allow this origin too; put the Origin header into the cache key, or the answer to the first client is cached for all.',
  },
  'accept-ranges-none': {
    title: 'byte ranges are served, but the Accept-Ranges header denies it',
    cure: 'Players that believe it do not seek: look for a policy that sets this response header.',
    severity: 'warning',
  },
  'caching-headers': {
    title: 'browsers may not cache the audio',
    cure: 'Store objects with Cache-Control: public, max-age=31536000, immutable: `autodj reconcile` offers the repair.',
    severity: 'warning',
  },
  'not-cloudfront': {
    title: 'the answer did not come through CloudFront',
    cure: 'CLOUDFRONT_DOMAIN does not lead to CloudFront: point its DNS record at the distribution.',
    severity: 'warning',
  },
  'other-cdn': {
    title: 'the answer came through another CDN than CDN_PROVIDER says',
    cure: 'Correct CDN_PROVIDER, or the DNS record of CLOUDFRONT_DOMAIN.',
    severity: 'warning',
  },
  'no-cdn': {
    title: 'nothing in the answer says that a CDN sent it',
    cure: 'See where CLOUDFRONT_DOMAIN leads; if it is a CDN that leaves no trace, set CDN_PROVIDER=other.',
    severity: 'warning',
  },
  redirected: {
    title: 'the CDN redirects instead of serving',
    cure: 'Look for an edge function, or a viewer protocol policy, that redirects this URL.',
  },
  // around the objects
  'public-object': {
    title: 'the bucket serves the object to anyone, bypassing the CDN',
    cure: 'Turn on Block Public Access: `autodj bucket plan` prints it.',
  },
  'direct-unknown': {
    title: 'it could not be checked whether the bucket serves the object, bypassing the CDN',
    cure: "Ask from a network that reaches the bucket's own address, or leave out --direct.",
    severity: 'warning',
  },
  'http-open': {
    title: 'the domain serves audio over plain HTTP',
    cure: 'Set the viewer protocol policy to "Redirect HTTP to HTTPS".',
    severity: 'warning',
  },
  'tls-old': {
    title: 'the domain accepts TLS older than 1.2',
    cure: 'Set the security policy of the distribution to TLSv1.2_2021 or later.',
    severity: 'warning',
  },
  'certificate-expiring': {
    title: "the domain's certificate expires soon",
    cure: 'Put the validation record into DNS, and ACM renews it by itself; renew an imported certificate by hand.',
    severity: 'warning',
  },
  unexplained: {
    title: 'the answer matches no known cause',
    cure: 'See the evidence; the X-Amz-Cf-Id is what AWS Support asks for.',
  },
} as const satisfies Readonly<Record<string, CauseText>>

export type Cause = keyof typeof causes

/** Whether the same request may succeed a moment later: worth one more try before it is called a failure. */
export function isTransient(cause: Cause): boolean {
  return (causes[cause] as CauseText).transient ?? false
}

/** The causes that say: other bytes arrived through the CDN than those of the object. */
export const otherBytesCauses: readonly Cause[] = (Object.keys(causes) as Cause[]).filter(
  cause => (causes[cause] as CauseText).otherBytes,
)

/** A finding from its cause: title, cure and severity come from the table. */
export function finding(cause: Cause, evidence: readonly string[], cure?: string): Finding {
  const text: CauseText = causes[cause]
  return {
    cause,
    severity: text.severity ?? 'failure',
    title: text.title,
    evidence: evidence.map(line => clean(line)),
    cure: cure ?? text.cure,
  }
}

/** One line for a terminal or log: control and direction characters escaped, 400 characters at most. */
export function clean(line: string): string {
  return printable(line.length > 400 ? `${line.slice(0, 400)}…` : line)
}
