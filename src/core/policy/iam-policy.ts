/**
 * The least-privilege IAM policy of each command: what it calls, on what, and nothing more. Pure data; a test derives
 * from the calls that the commands really make that a policy allows all of them and has no action too many.
 *
 * https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
 */
import { UsageError } from '../../errors.ts'

interface PolicyPlace {
  bucket: string
  /** ends in `/` or is empty */
  keyPrefix: string
  distributionId?: string
  /** ARN of the key that objects are encrypted with */
  kmsKey?: string
  /** upload-local with `--tag`, `--acl` */
  tags?: boolean
  acl?: boolean
  /** reconcile with `--inventory`: the manifest's URL */
  inventory?: string
  /** `aws`, `aws-cn` or `aws-us-gov` */
  partition?: string
}

interface IamStatement {
  Sid: string
  Effect: 'Allow'
  Action: readonly string[]
  Resource: readonly string[]
}

export interface IamPolicy {
  Version: '2012-10-17'
  Statement: readonly IamStatement[]
}

/** What a command needs. Objects: `new` below the key prefix, `all` in the bucket (keys that came from elsewhere). */
interface Grants {
  bucket?: readonly string[]
  new?: readonly string[]
  all?: readonly string[]
  quarantine?: readonly string[]
  /** where fetch streams to before the content's hash, and so the key, is known */
  staging?: readonly string[]
  probe?: readonly string[]
  distribution?: readonly string[]
  /** of CloudFront and CloudWatch, where AWS knows no narrower resource */
  anything?: readonly string[]
  ownKeys?: readonly string[]
  writes?: boolean
  note?: string
}

const multipart = ['s3:AbortMultipartUpload', 's3:ListMultipartUploadParts']

const upload: Grants = {
  bucket: ['s3:ListBucket', 's3:ListBucketMultipartUploads'],
  new: ['s3:PutObject', 's3:GetObject', ...multipart],
  writes: true,
  note: 'a row that has a key outside the prefix keeps it: uploading that one needs s3:PutObject there too',
}
const fetch: Grants = {
  ...upload,
  new: ['s3:PutObject', ...multipart],
  // A row without audio may name an object anywhere in the bucket.
  all: ['s3:GetObject'],
  staging: ['s3:DeleteObject'],
}
const analyze: Grants = { bucket: ['s3:ListBucket'], all: ['s3:GetObject'] }

const readSettings: Grants = {
  bucket: [
    's3:GetBucketPublicAccessBlock',
    's3:GetBucketOwnershipControls',
    's3:GetEncryptionConfiguration',
    's3:GetBucketVersioning',
    's3:GetBucketCORS',
    's3:GetLifecycleConfiguration',
    's3:GetBucketLogging',
    's3:GetBucketPolicy',
  ],
  distribution: ['cloudfront:GetDistribution'],
  anything: ['cloudfront:GetOriginAccessControl', 'cloudfront:GetCachePolicy'],
  ownKeys: ['iam:ListAccessKeys'],
}

const nothing: Grants = { note: 'makes no AWS request that needs a permission' }

/** By command; the order is that of the journey. */
const grantsOfSteps: Readonly<Record<string, Grants>> = {
  init: { bucket: ['s3:ListBucket'], distribution: ['cloudfront:GetDistribution'] },
  doctor: {
    bucket: [
      's3:ListBucket',
      's3:GetBucketVersioning',
      's3:ListBucketVersions',
      's3:ListBucketMultipartUploads',
    ],
    probe: [
      's3:PutObject',
      's3:GetObject',
      's3:GetObjectAcl',
      's3:DeleteObject',
      's3:DeleteObjectVersion',
      ...multipart,
    ],
    writes: true,
    note: 's3:DeleteObjectVersion is for a versioned bucket, where the probe would leave a version behind',
  },
  migrate: nothing,
  import: nothing,
  'upload-local': upload,
  fetch,
  analyze,
  reconcile: {
    bucket: ['s3:ListBucket', 's3:ListBucketVersions', 's3:GetBucketVersioning'],
    all: ['s3:GetObject'],
    note: 's3:ListBucketVersions finds, in a versioned bucket, the objects that a delete marker hides from their rows',
  },
  apply: {
    bucket: ['s3:ListBucket', 's3:GetBucketVersioning'],
    all: ['s3:GetObject', 's3:GetObjectAcl', 's3:PutObject', 's3:DeleteObject'],
    writes: true,
    note: 's3:PutObject copies to quarantine and sets headers; objects that others may read by an access list of their own need s3:PutObjectAcl, too',
  },
  undo: {
    bucket: ['s3:ListBucket', 's3:ListBucketVersions'],
    all: ['s3:GetObject', 's3:GetObjectAcl', 's3:PutObject', 's3:DeleteObject', 's3:DeleteObjectVersion'],
    writes: true,
    note: 's3:DeleteObjectVersion takes delete markers away in a versioned bucket',
  },
  verify: {
    bucket: ['s3:ListBucket'],
    all: ['s3:GetObject'],
    note: 'verify asks the CDN, which needs no permission; S3 is asked about failures, and for --bytes and --full',
  },
  cleanup: {
    bucket: ['s3:ListBucket', 's3:ListBucketMultipartUploads'],
    all: ['s3:GetObject', 's3:AbortMultipartUpload', 's3:ListMultipartUploadParts'],
    quarantine: ['s3:DeleteObject'],
  },
  restore: { bucket: ['s3:ListBucket', 's3:GetBucketVersioning'], all: ['s3:GetObject'] },
  'bucket check': readSettings,
  'bucket plan': readSettings,
  'bucket apply': {
    ...readSettings,
    bucket: [
      ...readSettings.bucket!,
      's3:PutBucketPublicAccessBlock',
      's3:PutBucketOwnershipControls',
      's3:PutEncryptionConfiguration',
      's3:PutBucketVersioning',
      's3:PutBucketCORS',
      's3:PutLifecycleConfiguration',
      's3:PutBucketLogging',
      's3:PutBucketPolicy',
      's3:DeleteBucketPolicy',
    ],
    distribution: ['cloudfront:GetDistribution', 'cloudfront:UpdateDistribution'],
    anything: [
      ...readSettings.anything!,
      'cloudfront:ListOriginAccessControls',
      'cloudfront:CreateOriginAccessControl',
    ],
  },
  status: {
    note: 'status reads the database only; with --storage listing it needs s3:ListBucket on the bucket, with --storage cloudwatch cloudwatch:GetMetricData',
  },
  report: nothing,
  cost: {
    anything: ['cloudwatch:GetMetricData'],
    note: '--logs needs s3:ListBucket and s3:GetObject on the bucket of the logs',
  },
  serve: {
    bucket: ['s3:ListBucket'],
    note: 'serve asks S3 for /health alone, whether the bucket is there; without the permission that says degraded, and all else works',
  },
  worker: {
    ...fetch,
    note: 'for all kinds of jobs; a worker that takes one kind needs the policy of that command',
  },
}

const grants: Readonly<Record<string, Grants>> = {
  ...grantsOfSteps,
  get run() {
    return merged(nightlySteps.map(name => grantsOfSteps[name] as Grants))
  },
}
const nightlySteps = ['upload-local', 'fetch', 'analyze', 'verify', 'reconcile', 'cleanup']

/** @throws UsageError for a command that is none */
function grantOf(command: string, { tags, acl }: PolicyPlace): Grants {
  const grant = Object.hasOwn(grants, command) ? grants[command] : undefined
  if (grant === undefined) {
    throw new UsageError(`no policy exists for "${command}"`, {
      cure: `Name one of: ${policyCommands.join(', ')}.`,
    })
  }
  if (grant.new === undefined || command === 'fetch') return grant
  const more = [...(tags ? ['s3:PutObjectTagging'] : []), ...(acl ? ['s3:PutObjectAcl'] : [])]
  return { ...grant, new: [...grant.new, ...more] }
}

const kinds = [
  'bucket',
  'new',
  'all',
  'quarantine',
  'staging',
  'probe',
  'distribution',
  'anything',
  'ownKeys',
] as const

/** What several commands need together: an action that is granted on all objects is not granted again on some. */
function merged(several: readonly Grants[]): Grants {
  const [only] = several
  if (several.length === 1 && only !== undefined) return only
  const of = (kind: (typeof kinds)[number]): string[] => several.flatMap(grant => grant[kind] ?? [])
  const everywhere = new Set(of('all'))
  const ofObjects: readonly string[] = ['new', 'quarantine', 'staging', 'probe']
  const notes = [
    ...new Set(several.flatMap(({ note, ...grant }) => (note && Object.keys(grant).length > 0 ? note : []))),
  ]
  const lists = kinds.map(kind => {
    const actions = of(kind).filter(action => !ofObjects.includes(kind) || !everywhere.has(action))
    return [kind, actions.length === 0 ? undefined : [...new Set(actions)]]
  })
  return {
    ...Object.fromEntries(lists),
    writes: several.some(grant => grant.writes),
    ...(notes.length === 0 ? {} : { note: notes.join('; ') }),
  }
}

/** The commands that words name: `bucket apply upload-local` are two. */
export function commandsNamed(words: readonly string[]): string[] {
  const names: string[] = []
  for (let at = 0; at < words.length; at++) {
    const two = `${words[at]} ${words[at + 1]}`
    const isTwo = Object.hasOwn(grants, two)
    names.push(isTwo ? two : (words[at] as string))
    if (isTwo) at++
  }
  return names
}

/** Commands that a policy can be asked for. */
export const policyCommands: readonly string[] = Object.keys(grants)

/**
 * @throws UsageError for a command that is none
 * @returns the policy (without statements if none is needed), and what should be known about it
 */
export function iamPolicy(
  command: string | readonly string[],
  place: PolicyPlace,
): { policy: IamPolicy; note?: string } {
  const grant = merged([command].flat().map(name => grantOf(name, place)))
  const { bucket, keyPrefix, distributionId, kmsKey, partition = 'aws' } = place
  const arn = `arn:${partition}:s3:::${bucket}`
  const statement = (
    Sid: string,
    actions: readonly string[] | undefined,
    ...Resource: string[]
  ): IamStatement[] =>
    actions === undefined || actions.length === 0
      ? []
      : [{ Sid, Effect: 'Allow', Action: [...actions].sort(), Resource }]
  /** The manifest lies three folders below the place of all reports, their data files beside it. */
  const inventoryStatement = (url: string | undefined): IamStatement[] => {
    const [, where, key = ''] = /^s3:\/\/([^/]+)\/(.+)$/.exec(url ?? '') ?? []
    if (where === undefined) return []
    const folder = key.split('/').slice(0, -2).join('/')
    const below = folder === '' ? '*' : `${folder}/*`
    return statement('Inventory', ['s3:GetObject'], `arn:${partition}:s3:::${where}/${below}`)
  }
  const kms =
    kmsKey === undefined || !(grant.all ?? grant.new ?? grant.probe)
      ? []
      : statement('Key', ['kms:Decrypt', ...(grant.writes ? ['kms:GenerateDataKey'] : [])], kmsKey)
  return {
    policy: {
      Version: '2012-10-17',
      Statement: [
        ...statement('Bucket', grant.bucket, arn),
        ...statement('NewObjects', grant.new, `${arn}/${keyPrefix}*`),
        ...statement('Objects', grant.all, `${arn}/*`),
        ...([command].flat().includes('reconcile') ? inventoryStatement(place.inventory) : []),
        ...statement('Quarantine', grant.quarantine, `${arn}/quarantine/*`),
        ...statement('Staging', grant.staging, `${arn}/${keyPrefix}.incoming/*`),
        ...statement('ProbeObject', grant.probe, `${arn}/${keyPrefix}.autodj-doctor/*`),
        ...(distributionId === undefined
          ? []
          : [
              ...statement(
                'Distribution',
                grant.distribution,
                `arn:${partition}:cloudfront::*:distribution/${distributionId}`,
              ),
              ...statement('CloudFront', grant.anything, '*'),
            ]),
        ...statement('OwnAccessKeys', grant.ownKeys, `arn:${partition}:iam::*:user/\${aws:username}`),
        ...kms,
      ],
    },
    ...(grant.note === undefined ? {} : { note: grant.note }),
  }
}
