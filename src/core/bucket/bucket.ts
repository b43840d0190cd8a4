/**
 * The settings of a bucket that holds audio for a CDN, against good practice. Pure: what was observed and what is
 * wished for go in, checks and changes come out. A change never drops a rule that is not ours.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
 */
import {
  type Assessment,
  documentOf,
  fine,
  type ObservedBucket,
  ourRules,
  together,
  told,
  untold,
  type Wishes,
  wrongInBucket,
} from './assessment.ts'
import { lifecycle } from './lifecycle.ts'
import type { BucketSetting, JsonObject } from './plan.ts'

/** Assesses one setting. @param value its document; null: it is not set */
type Assess = (value: JsonObject | null, wishes: Wishes, observed: ObservedBucket) => Assessment

const allBlocked = {
  BlockPublicAcls: true,
  IgnorePublicAcls: true,
  BlockPublicPolicy: true,
  RestrictPublicBuckets: true,
}
const maximumCorsRules = 100

/** Checks and changes for the bucket by itself; the distribution's part is in `distribution.ts`. */
export function assessBucket(observed: ObservedBucket, wishes: Wishes): Assessment {
  const assessments: readonly (readonly [BucketSetting, Assess])[] = [
    ['encryption', encryption],
    ['versioning', versioning],
    ['object-ownership', ownership],
    ['cors', cors],
    ['lifecycle', lifecycle],
    ['access-logging', logging],
    // Last: what the CDN read through public access must have another way by then.
    ['public-access-block', publicAccess],
  ]
  return together(
    assessments.map(([setting, assess]) => {
      const seen = observed[setting]
      return seen.state === 'unknown'
        ? untold(setting, seen.reason)
        : assess(documentOf(seen), wishes, observed)
    }),
  )
}

const publicAccess: Assess = value => {
  const open = Object.keys(allBlocked).filter(name => value?.[name] !== true)
  if (open.length === 0) return fine('public-access-block', 'all public access is blocked')
  return wrongInBucket(
    'public-access-block',
    'failure',
    `public access is possible: ${open.join(', ')} off`,
    {
      was: value,
      becomes: allBlocked,
      why: 'audio is served through the CDN only; nothing in this bucket has to be public',
    },
  )
}

const ownership: Assess = value => {
  const owner = (value?.['Rules'] as JsonObject[] | undefined)?.[0]?.['ObjectOwnership']
  if (owner === 'BucketOwnerEnforced')
    return fine('object-ownership', 'ACLs are off: the bucket owner owns every object')
  return wrongInBucket('object-ownership', 'warning', `${owner ?? 'ObjectWriter'}: ACLs can grant access`, {
    was: value,
    becomes: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
    why: 'access is granted in one place, the bucket policy; S3 refuses this while the bucket ACL grants others',
  })
}

const encryption: Assess = value => {
  const rule = (value?.['Rules'] as JsonObject[] | undefined)?.[0] ?? {}
  const algorithm = (rule['ApplyServerSideEncryptionByDefault'] as JsonObject | undefined)?.['SSEAlgorithm']
  if (algorithm === undefined) {
    return wrongInBucket('encryption', 'failure', 'no default encryption', {
      was: value,
      becomes: { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] },
      why: 'objects are encrypted at rest with keys managed by S3, at no cost',
    })
  }
  if (algorithm === 'AES256') return fine('encryption', 'keys of S3 (AES256)')
  if (rule['BucketKeyEnabled'] === true) return fine('encryption', `${algorithm} with a bucket key`)
  const found = `${algorithm} without a bucket key: a KMS request for every read`
  return wrongInBucket('encryption', 'warning', found, {
    was: value,
    becomes: { ...value, Rules: [{ ...rule, BucketKeyEnabled: true }] },
    why: 'a bucket key replaces up to 99 % of the requests to KMS',
    cost: 'saves up to $0.03 for 10,000 reads by the CDN; new objects only',
  })
}

const versioning: Assess = (value, wishes) => {
  if (value?.['Status'] === 'Enabled')
    return fine('versioning', 'on: whatever is deleted or overwritten can be brought back')
  const found = `${value?.['Status'] === 'Suspended' ? 'suspended' : 'off'}: whatever is deleted or overwritten is gone`
  if (!wishes.versioning)
    return told('versioning', 'warning', found, 'Turn it on with `autodj bucket apply --versioning`.')
  return wrongInBucket('versioning', 'failure', found, {
    was: value,
    becomes: { Status: 'Enabled' },
    why: 'whatever is deleted or overwritten can be brought back; it can be suspended later, never turned off',
    cost: 'old versions are stored, and paid for, until a lifecycle rule expires them',
  })
}

/** S3's patterns: one `*` at most. */
function matchesOrigin(pattern: string, origin: string): boolean {
  const [before, after] = pattern.split('*')
  if (after === undefined) return pattern === origin
  return origin.length >= pattern.length - 1 && origin.startsWith(before!) && origin.endsWith(after)
}

const cors: Assess = (value, { origins }) => {
  const rules = (value?.['CORSRules'] as JsonObject[] | undefined) ?? []
  if (origins.length === 0) {
    const found = `${rules.length} rules; pass --origin to check them for the pages that play the audio`
    return told('cors', 'skipped', found)
  }
  const allows = (rule: JsonObject, origin: string) =>
    (rule['AllowedOrigins'] as string[]).some(pattern => matchesOrigin(pattern, origin)) &&
    ['GET', 'HEAD'].every(method => (rule['AllowedMethods'] as string[]).includes(method))
  const missing = origins.filter(origin => !rules.some(rule => allows(rule, origin)))
  if (missing.length === 0) return fine('cors', `GET and HEAD allowed for ${origins.join(', ')}`)
  const found = `no rule allows ${missing.join(', ')}`
  const ours = rules.find(rule => rule['ID'] === ourRules.cors)
  const others = rules.filter(rule => rule !== ours)
  if (others.length >= maximumCorsRules)
    return told('cors', 'failure', found, `S3 takes ${maximumCorsRules} rules: remove one.`)
  const allowed = [...new Set([...((ours?.['AllowedOrigins'] as string[]) ?? []), ...origins])]
  return wrongInBucket('cors', 'failure', found, {
    was: value,
    becomes: {
      ...value,
      CORSRules: [
        ...others,
        {
          ID: ourRules.cors,
          AllowedOrigins: allowed,
          AllowedMethods: ['GET', 'HEAD'],
          AllowedHeaders: ['*'],
          ExposeHeaders: ['Content-Length', 'Content-Range', 'ETag', 'Accept-Ranges'],
          MaxAgeSeconds: 86_400,
        },
      ],
    },
    why: 'pages of these origins may read the audio (Web Audio, waveforms, offline use)',
  })
}

const logging: Assess = (value, { logBucket, bucket }) => {
  const enabled = value?.['LoggingEnabled'] as JsonObject | undefined
  if (enabled) return fine('access-logging', `to ${enabled['TargetBucket']}/${enabled['TargetPrefix'] ?? ''}`)
  if (logBucket === undefined) {
    const found = 'off: reads and deletions are not recorded'
    return told('access-logging', 'warning', found, 'Pass --log-bucket to turn it on.')
  }
  return wrongInBucket('access-logging', 'failure', 'off', {
    was: value,
    becomes: { LoggingEnabled: { TargetBucket: logBucket, TargetPrefix: `s3/${bucket}/` } },
    why: 'reads and deletions are recorded; the log bucket must let logging.s3.amazonaws.com write',
    cost: 'storage of the logs',
  })
}
