/**
 * The settings of a bucket that holds audio for a CDN, against good practice. Pure: what was observed and what is
 * wished for go in, checks and changes come out. A change never drops a rule that is not ours.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
 */
import { formatBytes, formatCount } from '../units.ts'
import { type BucketSetting, type Json, type JsonObject, type SettingChange, sameDocument } from './plan.ts'

/** A document, as read: there, not there, or not told (and why). */
export type Observed<T extends Json = JsonObject> =
  | { state: 'set'; value: T }
  | { state: 'unset' }
  | { state: 'unknown'; reason: string }

export type ObservedBucket = { readonly [S in BucketSetting]: Observed }

/** What the operator wants beyond what is always good practice. */
export interface Wishes {
  bucket: string
  /** ends in `/` or is empty */
  keyPrefix: string
  /** pages that play the audio */
  origins: readonly string[]
  versioning: boolean
  /** objects moved aside by reconcile are deleted after so many days */
  quarantine: { prefix: string; days: number }
  /** storage class for audio, after so many days */
  tiering?: { storageClass: 'INTELLIGENT_TIERING' | 'STANDARD_IA'; days: number }
  /** bucket for access logs */
  logBucket?: string
  /** for the cost of it, where known */
  library?: { objects: number; bytes: number }
}

export type SettingState = 'ok' | 'warning' | 'failure' | 'skipped'

export interface SettingCheck {
  setting: string
  state: SettingState
  /** one line: how it is */
  found: string
  /** one line: what to do, where it is not ok */
  cure?: string
}

export interface Assessment {
  checks: readonly SettingCheck[]
  changes: readonly SettingChange[]
}

const allBlocked = {
  BlockPublicAcls: true,
  IgnorePublicAcls: true,
  BlockPublicPolicy: true,
  RestrictPublicBuckets: true,
}
export const abortDays = 7
const maximumCorsRules = 100
const planCure = '`autodj bucket plan` shows the change, `autodj bucket apply` makes it'

/** Ids of rules that are ours, and may be replaced. */
export const ourRules = {
  cors: 'autodj',
  abort: 'autodj-abort-incomplete-uploads',
  quarantine: 'autodj-expire-quarantine',
  tiering: 'autodj-tiering',
} as const

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

type Assess = (observed: ObservedBucket, wishes: Wishes) => Assessment

const fine = (setting: string, found: string): Assessment => ({
  checks: [{ setting, state: 'ok', found }],
  changes: [],
})
const untold = (setting: string, reason: string): Assessment => ({
  checks: [{ setting, state: 'skipped', found: `could not be read: ${reason}` }],
  changes: [],
})
const documentOf = (observed: Observed): JsonObject | null =>
  observed.state === 'set' ? observed.value : null

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
          why: 'objects are encrypted at rest with keys of S3, at no cost',
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
          why: 'a bucket key stands for up to 99 % of the requests to KMS',
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
    return fine(setting, 'on: what is deleted or overwritten can be brought back')
  const found = `${value?.['Status'] === 'Suspended' ? 'suspended' : 'off'}: what is deleted or overwritten is gone`
  if (!wishes.versioning) {
    return {
      checks: [
        { setting, state: 'warning', found, cure: 'turn it on with `autodj bucket apply --versioning`' },
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
        why: 'what is deleted or overwritten can be brought back; it can be suspended later, never turned off',
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
          found: `${rules.length} rules; give --origin to check them for the pages that play the audio`,
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
  const cure = others.length < maximumCorsRules ? planCure : `S3 takes ${maximumCorsRules} rules: remove one`
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

const lifecycle: Assess = ({ lifecycle: observed }, wishes) => {
  const setting = 'lifecycle'
  if (observed.state === 'unknown') return untold(setting, observed.reason)
  const value = documentOf(observed)
  const rules = (value?.['Rules'] as JsonObject[] | undefined) ?? []
  const enabled = rules.filter(rule => rule['Status'] === 'Enabled')
  // S3 takes rules with Filter, or old ones with Prefix, never both in one configuration.
  const old = rules.some(rule => rule['Prefix'] !== undefined && rule['Filter'] === undefined)
  const scope = (prefix: string): JsonObject => (old ? { Prefix: prefix } : { Filter: { Prefix: prefix } })
  // A rule under one of our ids serves that purpose only: for any other it may be gone with the next change.
  const ours: readonly unknown[] = Object.values(ourRules)
  const enabledFor = (id: string) => enabled.filter(rule => rule['ID'] === id || !ours.includes(rule['ID']))
  const checks: SettingCheck[] = []
  const additions: JsonObject[] = []
  const reasons: string[] = []
  const costs: string[] = []

  const abort = (rule: JsonObject) =>
    (rule['AbortIncompleteMultipartUpload'] as JsonObject | undefined)?.['DaysAfterInitiation']
  if (enabledFor(ourRules.abort).some(rule => prefixOf(rule) === '' && Number(abort(rule)) <= abortDays)) {
    checks.push({
      setting: 'lifecycle-uploads',
      state: 'ok',
      found: 'abandoned multipart uploads are removed',
    })
  } else {
    checks.push({
      setting: 'lifecycle-uploads',
      state: 'warning',
      found: 'parts of abandoned multipart uploads stay, unseen, and are paid for',
      cure: planCure,
    })
    additions.push({
      ID: ourRules.abort,
      Status: 'Enabled',
      ...scope(''),
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: abortDays },
    })
    reasons.push(`abandoned multipart uploads are removed after ${abortDays} days`)
  }

  const { prefix, days } = wishes.quarantine
  const expires = (rule: JsonObject) => Number((rule['Expiration'] as JsonObject | undefined)?.['Days'])
  if (enabledFor(ourRules.quarantine).some(rule => prefixOf(rule) === prefix && expires(rule) <= days)) {
    checks.push({ setting: 'lifecycle-quarantine', state: 'ok', found: `${prefix} expires` })
  } else {
    checks.push({
      setting: 'lifecycle-quarantine',
      state: 'warning',
      found: `what reconcile moves to ${prefix} stays there`,
      cure: planCure,
    })
    additions.push({
      ID: ourRules.quarantine,
      Status: 'Enabled',
      ...scope(prefix),
      Expiration: { Days: days },
    })
    reasons.push(`what reconcile moved to ${prefix} is deleted after ${days} days`)
  }

  const archived = enabled.filter(
    rule =>
      coversAudio(rule, wishes.keyPrefix) &&
      ((rule['Transitions'] as JsonObject[] | undefined) ?? []).some(transition =>
        ['GLACIER', 'DEEP_ARCHIVE'].includes(String(transition['StorageClass'])),
      ),
  )
  if (archived.length > 0) {
    checks.push({
      setting: 'lifecycle-archive',
      state: 'failure',
      found: `rule ${String(archived[0]!['ID'] ?? '(no id)')} moves audio to an archive, where the CDN cannot read it`,
      cure: 'limit that rule to other prefixes, or use GLACIER_IR; it is not ours, so it is left to you',
    })
  }

  if (wishes.tiering !== undefined) {
    const { storageClass, days: after } = wishes.tiering
    const tiers = (rule: JsonObject) =>
      coversAudio(rule, wishes.keyPrefix) &&
      ((rule['Transitions'] as JsonObject[] | undefined) ?? []).some(
        transition => transition['StorageClass'] === storageClass,
      )
    if (enabledFor(ourRules.tiering).some(tiers)) {
      checks.push({ setting: 'lifecycle-tiering', state: 'ok', found: `audio goes to ${storageClass}` })
    } else {
      checks.push({
        setting: 'lifecycle-tiering',
        state: 'failure',
        found: `audio does not go to ${storageClass}`,
        cure: planCure,
      })
      additions.push({
        ID: ourRules.tiering,
        Status: 'Enabled',
        ...scope(wishes.keyPrefix),
        Transitions: [{ Days: after, StorageClass: storageClass }],
      })
      reasons.push(`audio goes to ${storageClass} after ${after} days`)
      costs.push(tieringCost(storageClass, wishes.library))
    }
  }

  if (additions.length === 0) return { checks, changes: [] }
  const replaced = new Set(additions.map(rule => rule['ID']))
  return {
    checks,
    changes: [
      {
        target: 'bucket',
        setting,
        was: value,
        becomes: {
          ...value,
          Rules: [...rules.filter(rule => !replaced.has(rule['ID'] ?? null)), ...additions],
        },
        why: reasons.join('; '),
        ...(costs.length === 0 ? {} : { cost: costs.join('; ') }),
      },
    ],
  }
}

/** The prefix that a rule is limited to; undefined where it is limited by more than that. */
function prefixOf(rule: JsonObject): string | undefined {
  if (rule['Filter'] === undefined) return String(rule['Prefix'] ?? '')
  const filter = rule['Filter'] as JsonObject
  const names = Object.keys(filter)
  if (names.length === 0) return ''
  return names.length === 1 && names[0] === 'Prefix' ? String(filter['Prefix']) : undefined
}

function coversAudio(rule: JsonObject, keyPrefix: string): boolean {
  const prefix = prefixOf(rule)
  return prefix !== undefined && (keyPrefix.startsWith(prefix) || prefix.startsWith(keyPrefix))
}

/** Prices of us-east-1, USD, December 2025: https://aws.amazon.com/s3/pricing/ */
const prices = {
  standard: 0.023,
  infrequent: 0.0125,
  infrequentRetrieval: 0.01,
  transitionPer1000: 0.01,
  monitoringPer1000: 0.0025,
}

/** What a storage class costs and saves, for the library where its size is known. */
export function tieringCost(
  storageClass: 'INTELLIGENT_TIERING' | 'STANDARD_IA',
  library: Wishes['library'],
): string {
  const dollars = (amount: number) => `$${amount < 1 ? amount.toFixed(4) : amount.toFixed(2)}`
  const { standard, infrequent, infrequentRetrieval, transitionPer1000, monitoringPer1000 } = prices
  const of = library && `${formatCount(library.objects)} objects, ${formatBytes(library.bytes)}`
  const gigabytes = (library?.bytes ?? 0) / 1024 ** 3
  const thousands = (library?.objects ?? 0) / 1_000
  if (storageClass === 'INTELLIGENT_TIERING') {
    return (
      `monitoring ${dollars(monitoringPer1000)} a month for 1,000 objects` +
      (of ? ` (${dollars(monitoringPer1000 * thousands)} for ${of})` : '') +
      `, transition ${dollars(transitionPer1000)} for 1,000; what is not read for 30 days then costs ` +
      `${dollars(infrequent)} instead of ${dollars(standard)} a GB and month` +
      (of ? ` (saves up to ${dollars((standard - infrequent) * gigabytes)} a month)` : '') +
      '; no charge for reading; prices of us-east-1'
    )
  }
  return (
    `${dollars(infrequent)} instead of ${dollars(standard)} a GB and month` +
    (of ? ` (saves ${dollars((standard - infrequent) * gigabytes)} a month for ${of})` : '') +
    `, but ${dollars(infrequentRetrieval)} for every GB that the CDN fetches, ` +
    `${dollars(transitionPer1000)} for 1,000 transitions` +
    (of ? ` (${dollars(transitionPer1000 * thousands)} once)` : '') +
    ', 30 days and 128 KB at least for each object; prices of us-east-1'
  )
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
          found: 'off: who read or deleted what is not recorded',
          cure: 'give --log-bucket',
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
        why: 'who read or deleted what is recorded; the log bucket must let logging.s3.amazonaws.com write',
        cost: 'storage of the logs',
      },
    ],
  }
}

/** Whether applying would change anything at all. */
export function isChange(change: SettingChange): boolean {
  return change.target === 'distribution'
    ? change.create !== undefined || change.edits.some(({ was, becomes }) => !sameDocument(was, becomes))
    : !sameDocument(change.was, change.becomes)
}
