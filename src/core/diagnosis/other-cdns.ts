/**
 * What the causes mean, and what to change, if the CDN is not CloudFront. Texts of `causes.ts` that name nothing of
 * CloudFront's hold for all and are not here; a test looks that no other is left.
 */
import { type CdnProvider, cdnNames } from '../cdn-provider.ts'
import { type Cause, causes, type Finding, finding } from './causes.ts'

type OtherProvider = Exclude<CdnProvider, 'cloudfront'>

interface Text {
  /** default: the common one, with the CDN's name for CloudFront's */
  readonly title?: string
  readonly cure: string
}

const readable =
  'Allow the CDN to read the bucket: let it sign its requests to the store, or allow its addresses.'
const originAddress =
  "Set the CDN's origin to the store's own address of the bucket, and see that it answers there (port, firewall, certificate)."

/** For every CDN that is not CloudFront, if it has no line of its own below. */
const general = {
  dns: {
    cure: "Check CLOUDFRONT_DOMAIN (any CDN's domain stands there) and its DNS record.",
  },
  refused: { cure: 'Check that CLOUDFRONT_DOMAIN leads to the CDN and that it listens on that port.' },
  'tls-certificate': {
    cure: 'Give the CDN a certificate that covers CLOUDFRONT_DOMAIN, and renew it in time.',
  },
  'tls-handshake': {
    cure: 'Add the host name and a certificate for it at the CDN; check that no proxy intercepts TLS.',
  },
  'signature-missing': {
    title: 'the CDN wants signed URLs',
    cure: "Turn off the CDN's URL tokens for the audio: autodj signs for CloudFront only.",
  },
  'signature-unknown-key': {
    cure: 'Unset CLOUDFRONT_KEY_PAIR_ID: its signatures are for CloudFront only.',
  },
  'signature-rejected': {
    cure: 'Unset CLOUDFRONT_KEY_PAIR_ID: its signatures are for CloudFront only.',
  },
  'https-only': {
    title: 'the CDN answers HTTPS only and was asked over HTTP',
    cure: 'Use https:// URLs, or redirect HTTP to HTTPS at the CDN.',
  },
  'alias-unknown': {
    title: 'the CDN does not serve this host name',
    cure: 'Add the host name to the service at the CDN, or correct CLOUDFRONT_DOMAIN.',
  },
  'waf-blocked': {
    title: "the CDN's firewall blocked the request",
    cure: 'Allow GET of audio in the firewall rules of the CDN.',
  },
  'geo-blocked': {
    title: 'the CDN blocks the country of this machine',
    cure: "Change the CDN's rules for countries, or verify from an allowed country.",
  },
  'edge-function': { cure: 'Look at the logs of the script that runs at the edge.' },
  'viewer-refused': { cure: "Look at the CDN's access rules (tokens, referrers, addresses, countries)." },
  'origin-tls': { cure: originAddress },
  'origin-dns': { cure: originAddress },
  'origin-unreachable': { cure: originAddress },
  'oac-missing': { cure: readable },
  'origin-denied': {
    cure: `Give this command credentials that may read the bucket, and run it again. If the object exists: ${readable}`,
  },
  'oac-sigv4': { cure: 'Let the CDN sign its requests with AWS Signature Version 4.' },
  'kms-denied': { cure: "Let the key that the CDN signs with use the object's KMS key (kms:Decrypt)." },
  'auth-forwarded': {
    cure: "Do not forward the viewer's query string and Authorization header to the store.",
  },
  'host-forwarded': { cure: "Send the store's own host name as Host, not the viewer's." },
  'origin-signature': {
    cure: 'Something changes the request after it is signed: forward fewer headers, and the path as it is.',
  },
  'wrong-region-endpoint': {
    title: "the origin is not the store's address for the region of this bucket",
    cure: originAddress,
  },
  'bucket-missing': { cure: 'Correct the bucket in the origin of the CDN.' },
  'website-endpoint': { cure: "Use the store's S3 address as the origin instead." },
  'origin-path': {
    title: 'the path that the CDN puts before the key changes the key',
    cure: 'Put nothing but the bucket before the path: keys are whole, prefix included.',
  },
  'wrong-bucket': {
    cure: 'The origin is another bucket, or a rule rewrites the path: compare the origin with S3_BUCKET_NAME.',
  },
  'stale-error': { cure: 'Purge the path, and let errors be cached for seconds only.' },
  'stale-object': { cure: 'Purge the path; keys should change when content does.' },
  'content-differs': { cure: 'Purge the path; then check scripts at the edge and any proxy in between.' },
  compressed: { cure: 'Turn off compression for audio at the CDN, or store no Content-Encoding.' },
  'range-ignored': { cure: 'Let the CDN answer byte ranges, and forward the Range header.' },
  'cors-missing': {
    cure: 'Let the CDN add Access-Control-Allow-Origin, or give the bucket a CORS rule and keep the Origin header in the cache key.',
  },
  'caching-headers': {
    cure: "Store objects with Cache-Control: public, max-age=31536000, immutable (`autodj reconcile` offers it); see that the CDN's browser cache setting respects it.",
  },
  'public-object': {
    cure: 'Close the bucket to anonymous reads: the CDN must sign, or be let in by its address.',
  },
  'http-open': { cure: 'Redirect HTTP to HTTPS at the CDN.' },
  'tls-old': { cure: 'Set the minimum TLS version of the CDN to 1.2.' },
  'certificate-expiring': { cure: 'See why the CDN (or certbot) has not renewed it.' },
  redirected: { cure: 'Look for a rule of the CDN that redirects this URL.' },
  unexplained: { cure: "See the evidence; the CDN's support asks for its request id." },
} as const satisfies Partial<Record<Cause, Text>>

const nginxPath =
  'Give proxy_pass no path of its own (or $request_uri), so that nginx passes the path on as it came; set merge_slashes off.'

const own: Readonly<Record<Exclude<OtherProvider, 'other'>, Partial<Record<Cause, Text>>>> = {
  cloudflare: {
    'tls-certificate': {
      cure: 'See SSL/TLS → Edge Certificates: the universal certificate covers one level of subdomains only.',
    },
    'waf-blocked': { cure: 'See Security → Events for the rule; add a skip rule for the path of the audio.' },
    'geo-blocked': { cure: 'See Security → WAF: a custom rule blocks this country.' },
    'bot-challenge': {
      cure: 'Add a WAF rule that skips challenges for the path of the audio; Bot Fight Mode and "I\'m under attack" cannot be skipped on the free plan: turn them off.',
    },
    'alias-unknown': {
      cure: 'Add the host name to the zone (or to the R2 bucket as a custom domain), proxied; it must not be a CNAME into another account.',
    },
    'cdn-throttled': {
      cure: 'Run it again with a lower --concurrency; see the rate limiting rules of the zone.',
    },
    'origin-dns': { cure: "The origin's DNS record does not resolve: correct it in the zone." },
    'origin-unreachable': {
      cure: 'The origin refuses or does not answer Cloudflare: check its address in the zone, its port and its firewall.',
    },
    'origin-tls': {
      cure: 'Give the origin a valid certificate (SSL/TLS mode Full (strict) requires one), or set the mode to match the origin.',
    },
    'oac-missing': {
      cure: 'Cloudflare does not sign for a private S3 bucket: sign in a Worker, use R2 with a custom domain, or allow the published addresses of Cloudflare in the bucket policy.',
    },
    'not-cached': {
      cure: 'Add a cache rule "eligible for cache" for the host: by default Cloudflare keeps mp3, flac and ogg, but not m4a, opus, wav or aiff.',
    },
    'cors-missing': {
      cure: 'Give the bucket a CORS rule, or add the header with a response header transform rule.',
    },
    'tls-old': { cure: 'Set SSL/TLS → Edge Certificates → Minimum TLS Version to 1.2.' },
    'http-open': { cure: 'Turn on SSL/TLS → Edge Certificates → Always Use HTTPS.' },
  },
  fastly: {
    'alias-unknown': { cure: 'Add the domain to the Fastly service and activate the version.' },
    'origin-unreachable': {
      cure: "Check the service's host (backend): address, port, override host, health check, first byte timeout.",
    },
    'origin-tls': {
      cure: "Set the backend's certificate hostname and SNI hostname to the store's name.",
    },
    'object-too-large': { cure: 'Turn on segmented caching for the audio in the Fastly service.' },
    'oac-missing': {
      cure: 'Let Fastly sign its requests to the bucket (AWS Signature Version 4 in VCL, or the S3 private bucket setting of the backend).',
    },
    'cors-missing': {
      cure: 'Add a header Access-Control-Allow-Origin to responses in the Fastly service, or let Vary: Origin of the bucket through.',
    },
  },
  bunny: {
    'signature-missing': {
      title: 'the CDN wants signed URLs',
      cure: 'Turn off Token Authentication in the security settings of the pull zone: autodj signs for CloudFront only.',
    },
    'alias-unknown': { cure: 'Add the host name to the pull zone; see that the zone is not suspended.' },
    'viewer-refused': {
      cure: 'See Security of the pull zone: token authentication, blocked countries, addresses and referrers.',
    },
    'origin-unreachable': { cure: 'See Monitoring → Origin Errors of the pull zone; check its origin URL.' },
    'oac-missing': {
      cure: 'Turn on S3 authentication in Origin of the pull zone: a key that may read the bucket, and its region.',
    },
    'host-forwarded': { cure: 'Turn off "Forward host header" in Origin of the pull zone.' },
    'cors-missing': {
      cure: 'Turn on "Add CORS headers" in Headers of the pull zone, and add mp3, flac, m4a, ogg, opus and wav to its extensions.',
    },
    'tls-old': { cure: 'Turn off TLS 1.0 and 1.1 in the security settings of the pull zone.' },
    'http-open': { cure: 'Turn on "Force SSL" for the host name.' },
  },
  nginx: {
    'viewer-refused': {
      cure: 'See error.log; look for allow, deny, auth_request and secure_link in this location.',
    },
    'alias-unknown': { cure: 'Add the host name to server_name, or correct CLOUDFRONT_DOMAIN.' },
    'cdn-throttled': { cure: 'Run it again with a lower --concurrency; see limit_req and limit_conn.' },
    'origin-unreachable': {
      cure: "See error.log; proxy_pass must name the store's address, and it must answer nginx.",
    },
    'origin-tls': {
      cure: "See error.log; set proxy_ssl_server_name on, and proxy_ssl_name to the store's name.",
    },
    'oac-missing': {
      cure: 'Let the bucket policy allow the address of nginx, which does not sign its requests, or put a signing gateway between them.',
    },
    'host-forwarded': { cure: "Set proxy_set_header Host to the store's host name." },
    'bucket-missing': { cure: 'Put the bucket into proxy_pass, or into proxy_set_header Host.' },
    'object-missing': {
      cure: 'Run `autodj reconcile`, then `autodj upload-local`; see that location and proxy_pass lead to the bucket.',
    },
    'key-plus': { cure: nginxPath },
    'key-encoding': { cure: nginxPath },
    'key-slash': { cure: nginxPath },
    'range-ignored': {
      cure: 'Set proxy_force_ranges on; where slice is used, pass $slice_range on as Range.',
    },
    compressed: { cure: 'Leave audio out of gzip_types.' },
    'stale-error': {
      cure: 'Set proxy_cache_valid for 403 and 404 to seconds; delete the file from the cache folder.',
    },
    'stale-object': {
      cure: 'Delete the file from the cache folder (or proxy_cache_purge); keys should change when content does.',
    },
    'cors-missing': {
      cure: 'Set `add_header Access-Control-Allow-Origin "*" always`, or put $http_origin into proxy_cache_key and give the bucket a CORS rule.',
    },
    'not-cached': { cure: 'See proxy_cache_bypass, proxy_no_cache and proxy_cache_valid of this location.' },
    'http-open': { cure: 'Put `return 301 https://$host$request_uri;` into the server of port 80.' },
    'tls-old': { cure: 'Set ssl_protocols TLSv1.2 TLSv1.3.' },
  },
}

/** How what is cached is taken back. */
const purgeCures: Readonly<Record<CdnProvider, string>> = {
  cloudfront: 'Create an invalidation for /*.',
  cloudflare: 'Purge everything (a purge by URL keeps CORS headers).',
  fastly: 'Purge the service.',
  bunny: 'Purge the pull zone.',
  nginx: 'Empty the cache folder.',
  other: 'Purge the cache.',
}

/** What to do about answers that were cached without the right CORS header: the policy, then what is cached. */
export function policyAndPurgeCure(provider: CdnProvider): string {
  const [policyCure, purgeCure] = [worded(finding('cors-missing', []), provider).cure, purgeCures[provider]]
  return `${policyCure.slice(0, -1)}; then ${purgeCure[0]!.toLowerCase()}${purgeCure.slice(1, -1)}: cached answers keep the headers they came with.`
}

/** The policy is right already. */
export const purgeCureOf = (provider: CdnProvider): string => purgeCures[provider]

/** The finding in the words of the CDN that is there. A cure of the finding's own is left as it is. */
export function worded(found: Finding, provider: CdnProvider): Finding {
  const common = causes[found.cause]
  if (provider === 'cloudfront') return found
  const specific: Text | undefined =
    (provider === 'other' ? undefined : own[provider][found.cause]) ??
    (general as Partial<Record<Cause, Text>>)[found.cause]
  const title =
    specific?.title ?? (general as Partial<Record<Cause, Text>>)[found.cause]?.title ?? common.title
  return {
    ...found,
    title: title.replaceAll('CloudFront', cdnNames[provider]),
    cure: found.cure === common.cure ? (specific?.cure ?? common.cure) : found.cure,
  }
}
