/**
 * The settings of a bucket that holds audio for a CDN, against good practice. Pure: what was observed and what is
 * wished for go in, checks and changes come out. A change never drops a rule that is not ours.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
 */
import {
  type Assess,
  type Assessment,
  documentOf,
  fine,
  type ObservedBucket,
  ourRules,
  planCure,
  untold,
  type Wishes,
} from './assessment.ts'
import { lifecycle } from './lifecycle.ts'
import type { JsonObject } from './plan.ts'

const allBlocked = {
  BlockPublicAcls: true,
  IgnorePublicAcls: true,
  BlockPublicPolicy: true,
  RestrictPublicBuckets: true,
}
const maximumCorsRules = 100
/** Checks and changes for the bucket by itself; the distribution's part is in `distribution.ts`. */
export function assessBucket(observed: ObservedBucket, wishes: Wishes): Assessment {
  const parts = [
    encryption(observed, wishes),
    versioning(observed, wishes),
    ownership(observed, wishes),
    cors(observed, wishes),
    lifecycle(observed, wishes),
    logging(observed, wishes),
    // Last: what the CDN read through public access must have another way by then.
    publicAccess(observed, wishes),
  ]
  return { checks: parts.flatMap(part => part.checks), changes: parts.flatMap(part => part.changes) }
}

const publicAccess: Assess = ({ 'public-access-block': observed }) => {
  const setting = 'public-access-block'
  if (observed.state === 'unknown') return untold(setting, observed.reason)
  const value = documentOf(observed)
  const open = Object.keys(allBlocked).filter(name => value?.[name] !== true)
  if (open.length === 0) return fine(setting, 'all public access is blocked')
  return {
    checks: [
      {
        setting,
        state: 'failure',
        found: `public access is possible: ${open.join(', ')} off`,
        cure: planCure,
      },
    ],
    changes: [
      {
        target: 'bucket',
        setting,
        was: value,
        becomes: allBlocked,
        why: 'audio is served through the CDN only; nothing in this bucket has to be public',
      },
    ],
  }
}

const ownership: Assess = ({ 'object-ownership': observed }) => {
  const setting = 'object-ownership'
  if (observed.state === 'unknown') return untold(setting, observed.reason)
  const value = documentOf(observed)
  const owner = (value?.['Rules'] as JsonObject[] | undefined)?.[0]?.['ObjectOwnership']
  if (owner === 'BucketOwnerEnforced')
    return fine(setting, 'ACLs are off: the bucket owner owns every object')
  return {
    checks: [
      {
        setting,
        state: 'warning',
        found: `${owner ?? 'ObjectWriter'}: ACLs can grant access`,
        cure: planCure,
      },
    ],
    changes: [
      {
        target: 'bucket',
        setting,
        was: value,
        becomes: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
        why: 'access is granted in one place, the bucket policy; S3 refuses this while the bucket ACL grants others',
      },
    ],
  }
}

const encryption: Assess = ({ encryption: observed }) => {
  const setting = 'encryption'
  if (observed.state === 'unknown') return untold(setting, observed.reason)
  const value = documentOf(observed)
  const rule = (value?.['Rules'] as JsonObject[] | undefined)?.[0]
  const algorithm = (rule?.['ApplyServerSideEncryptionByDefault'] as JsonObject | undefined)?.['SSEAlgorithm']
  if (rule === undefined || algorithm === undefined) {
    return {
      checks: [{ setting, state: 'failure', found: 'no default encryption', cure: planCure }],
      changes: [
        {
          target: 'bucket',
          setting,
          was: value,
          becomes: { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] },
          why: 'objects are encrypted at rest with keys managed by S3, at no cost',
        },
      ],
    }
  }
  if (algorithm !== 'AES256' && rule['BucketKeyEnabled'] !== true) {
    return {
      checks: [
        {
          setting,
          state: 'warning',
          found: `${algorithm} without a bucket key: a KMS request for every read`,
          cure: planCure,
        },
      ],
      changes: [
        {
          target: 'bucket',
          setting,
          was: value,
          becomes: { ...value, Rules: [{ ...rule, BucketKeyEnabled: true }] },
          why: 'a bucket key replaces up to 99 % of the requests to KMS',
          cost: 'saves up to $0.03 for 10,000 reads by the CDN; new objects only',
        },
      ],
    }
  }
  return fine(setting, algorithm === 'AES256' ? 'keys of S3 (AES256)' : `${algorithm} with a bucket key`)
}

const versioning: Assess = ({ versioning: observed }, wishes) => {
  const setting = 'versioning'
  if (observed.state === 'unknown') return untold(setting, observed.reason)
  const value = documentOf(observed)
  if (value?.['Status'] === 'Enabled')
    return fine(setting, 'on: whatever is deleted or overwritten can be brought back')
  const found = `${value?.['Status'] === 'Suspended' ? 'suspended' : 'off'}: whatever is deleted or overwritten is gone`
  if (!wishes.versioning) {
    return {
      checks: [
        { setting, state: 'warning', found, cure: 'Turn it on with `autodj bucket apply --versioning`.' },
      ],
      changes: [],
    }
  }
  return {
    checks: [{ setting, state: 'failure', found, cure: planCure }],
    changes: [
      {
        target: 'bucket',
        setting,
        was: value,
        becomes: { Status: 'Enabled' },
        why: 'whatever is deleted or overwritten can be brought back; it can be suspended later, never turned off',
        cost: 'old versions are stored, and paid for, until a lifecycle rule expires them',
      },
    ],
  }
}

/** S3's patterns: one `*` at most. */
function matchesOrigin(pattern: string, origin: string): boolean {
  const [before, after] = pattern.split('*')
  if (after === undefined) return pattern === origin
  return origin.length >= pattern.length - 1 && origin.startsWith(before!) && origin.endsWith(after)
}

const cors: Assess = ({ cors: observed }, { origins }) => {
  const setting = 'cors'
  if (observed.state === 'unknown') return untold(setting, observed.reason)
  const value = documentOf(observed)
  const rules = (value?.['CORSRules'] as JsonObject[] | undefined) ?? []
  if (origins.length === 0) {
    return {
      checks: [
        {
          setting,
          state: 'skipped',
          found: `${rules.length} rules; pass --origin to check them for the pages that play the audio`,
        },
      ],
      changes: [],
    }
  }
  const allows = (rule: JsonObject, origin: string) =>
    (rule['AllowedOrigins'] as string[]).some(pattern => matchesOrigin(pattern, origin)) &&
    ['GET', 'HEAD'].every(method => (rule['AllowedMethods'] as string[]).includes(method))
  const missing = origins.filter(origin => !rules.some(rule => allows(rule, origin)))
  if (missing.length === 0) return fine(setting, `GET and HEAD allowed for ${origins.join(', ')}`)
  const ours = rules.find(rule => rule['ID'] === ourRules.cors)
  const others = rules.filter(rule => rule !== ours)
  const cure = others.length < maximumCorsRules ? planCure : `S3 takes ${maximumCorsRules} rules: remove one.`
  return {
    checks: [{ setting, state: 'failure', found: `no rule allows ${missing.join(', ')}`, cure }],
    changes:
      others.length >= maximumCorsRules
        ? []
        : [
            {
              target: 'bucket',
              setting,
              was: value,
              becomes: {
                ...value,
                CORSRules: [
                  ...others,
                  {
                    ID: ourRules.cors,
                    AllowedOrigins: [
                      ...new Set([...((ours?.['AllowedOrigins'] as string[]) ?? []), ...origins]),
                    ],
                    AllowedMethods: ['GET', 'HEAD'],
                    AllowedHeaders: ['*'],
                    ExposeHeaders: ['Content-Length', 'Content-Range', 'ETag', 'Accept-Ranges'],
                    MaxAgeSeconds: 86_400,
                  },
                ],
              },
              why: 'pages of these origins may read the audio (Web Audio, waveforms, offline use)',
            },
          ],
  }
}

const logging: Assess = ({ 'access-logging': observed }, { logBucket, bucket }) => {
  const setting = 'access-logging'
  if (observed.state === 'unknown') return untold(setting, observed.reason)
  const value = documentOf(observed)
  const enabled = value?.['LoggingEnabled'] as JsonObject | undefined
  if (enabled) return fine(setting, `to ${enabled['TargetBucket']}/${enabled['TargetPrefix'] ?? ''}`)
  if (logBucket === undefined) {
    return {
      checks: [
        {
          setting,
          state: 'warning',
          found: 'off: reads and deletions are not recorded',
          cure: 'Pass --log-bucket to turn it on.',
        },
      ],
      changes: [],
    }
  }
  const becomes = { LoggingEnabled: { TargetBucket: logBucket, TargetPrefix: `s3/${bucket}/` } }
  return {
    checks: [{ setting, state: 'failure', found: 'off', cure: planCure }],
    changes: [
      {
        target: 'bucket',
        setting,
        was: value,
        becomes,
        why: 'reads and deletions are recorded; the log bucket must let logging.s3.amazonaws.com write',
        cost: 'storage of the logs',
      },
    ],
  }
}
