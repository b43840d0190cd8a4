/** Lifecycle rules: what is removed by itself, what moves to another storage class, and what that costs. */
import { formatBytes, formatCount } from '../units.ts'
import {
  type Assessment,
  documentOf,
  type ObservedBucket,
  ourRules,
  planCure,
  type SettingCheck,
  type Wishes,
} from './assessment.ts'
import type { JsonObject, SettingChange } from './plan.ts'

const abortDays = 7
/** What autodj deleted at its own prefixes can be brought back for so long, where versions are kept. */
const oldVersionDays = 7

/** One purpose of lifecycle rules: how it is served, and the rule that would serve it. */
interface Purpose {
  check: SettingCheck
  rule?: JsonObject
  why?: string
  cost?: string
}

/** The rules as they are. */
interface Rules {
  /** the enabled ones that may serve the purpose of our rule of this id */
  enabledFor(id: string): readonly JsonObject[]
  /** a new rule, in the form that these have */
  make(ID: string, prefix: string, action: JsonObject): JsonObject
}

export function lifecycle(value: JsonObject | null, wishes: Wishes, observed: ObservedBucket): Assessment {
  const rules = rulesOf(value)
  const enabled = rules.filter(rule => rule['Status'] === 'Enabled')
  // S3 takes rules with Filter, or old ones with Prefix, never both in one configuration.
  const old = rules.some(rule => rule['Prefix'] !== undefined && rule['Filter'] === undefined)
  // A rule under one of our ids serves that purpose only: for any other it may be gone with the next change.
  const ours: readonly unknown[] = Object.values(ourRules)
  const seen: Rules = {
    enabledFor: id => enabled.filter(rule => rule['ID'] === id || !ours.includes(rule['ID'])),
    make: (ID, prefix, action) => ({
      ID,
      Status: 'Enabled',
      ...(old ? { Prefix: prefix } : { Filter: { Prefix: prefix } }),
      ...action,
    }),
  }
  const purposes = [
    abandonedUploads(seen),
    quarantine(seen, wishes),
    ...oldVersions(seen, wishes, documentOf(observed.versioning)),
    ...archive(enabled, wishes),
    ...tiering(seen, wishes),
  ]
  const checks = purposes.map(({ check }) => check)
  const additions = purposes.flatMap(({ rule }) => (rule === undefined ? [] : [rule]))
  if (additions.length === 0) return { checks, changes: [] }
  const replaced = new Set(additions.map(rule => rule['ID']))
  const cost = purposes.flatMap(purpose => purpose.cost ?? []).join('; ')
  const change: SettingChange = {
    target: 'bucket',
    setting: 'lifecycle',
    was: value,
    becomes: {
      ...value,
      Rules: [...rules.filter(rule => !replaced.has(rule['ID'] ?? null)), ...additions],
    },
    why: purposes.flatMap(({ why }) => why ?? []).join('; '),
    ...(cost === '' ? {} : { cost }),
  }
  return { checks, changes: [change] }
}

function abandonedUploads({ enabledFor, make }: Rules): Purpose {
  const setting = 'lifecycle-uploads'
  const days = (rule: JsonObject) =>
    Number((rule['AbortIncompleteMultipartUpload'] as JsonObject | undefined)?.['DaysAfterInitiation'])
  if (enabledFor(ourRules.abort).some(rule => covers(rule, '') && days(rule) <= abortDays)) {
    return { check: { setting, state: 'ok', found: 'abandoned multipart uploads are removed' } }
  }
  return {
    check: {
      setting,
      state: 'warning',
      found: 'parts of abandoned multipart uploads stay, unseen, and cost money',
      cure: planCure,
    },
    rule: make(ourRules.abort, '', { AbortIncompleteMultipartUpload: { DaysAfterInitiation: abortDays } }),
    why: `abandoned multipart uploads are removed after ${abortDays} days`,
  }
}

function quarantine({ enabledFor, make }: Rules, { quarantine: { prefix, days } }: Wishes): Purpose {
  const setting = 'lifecycle-quarantine'
  const expiration = (rule: JsonObject) => (rule['Expiration'] ?? {}) as JsonObject
  if (days === undefined) {
    // A rule cannot look whether a row has come to need an object, as `cleanup` does.
    const blind = enabledFor(ourRules.quarantine).find(
      rule => overlaps(rule, prefix) && (expiration(rule)['Days'] ?? expiration(rule)['Date']) !== undefined,
    )
    if (blind === undefined)
      return {
        check: {
          setting,
          state: 'ok',
          found: `${prefix} is emptied by \`autodj cleanup\` alone, which looks at the rows first`,
        },
      }
    return {
      check: {
        setting,
        state: 'warning',
        found: `a lifecycle rule deletes what is in ${prefixOf(blind).startsWith(prefix) ? prefixOf(blind) : prefix} ${when(expiration(blind))}, even if a row has lost its object`,
        cure: 'Remove the rule: `autodj cleanup` empties it and looks at the rows first. Or accept it with --quarantine-days.',
      },
    }
  }
  if (
    enabledFor(ourRules.quarantine).some(
      rule =>
        isLimitedByPrefixAlone(rule) && prefixOf(rule) === prefix && Number(expiration(rule)['Days']) <= days,
    )
  ) {
    return { check: { setting, state: 'ok', found: `${prefix} expires` } }
  }
  return {
    check: {
      setting,
      state: 'warning',
      found: `what reconcile moves to ${prefix} stays there for good`,
      cure: planCure,
    },
    rule: make(ourRules.quarantine, prefix, { Expiration: { Days: days } }),
    why: `what reconcile moved to ${prefix} is deleted after ${days} days`,
  }
}

/**
 * Where versions are kept, or were: what is deleted at the prefixes that are autodj's own stays as an old version. Never
 * at keys of audio: those versions are how a deleted track comes back, and whose they are is not for us to say.
 */
function oldVersions(
  { enabledFor, make }: Rules,
  { stagingPrefix, quarantine: { prefix: quarantinePrefix }, versioning }: Wishes,
  observed: JsonObject | null,
): Purpose[] {
  if (observed?.['Status'] === undefined && !versioning) return []
  const own = [
    ['lifecycle-staging-versions', ourRules.stagingVersions, stagingPrefix, 'what fetch was downloading to'],
    [
      'lifecycle-quarantine-versions',
      ourRules.quarantineVersions,
      quarantinePrefix,
      'what cleanup deleted in',
    ],
  ] as const
  return own.map(([setting, id, prefix, what]) => {
    const serves = (rule: JsonObject) => {
      const { NoncurrentDays, NewerNoncurrentVersions } = (rule['NoncurrentVersionExpiration'] ??
        {}) as JsonObject
      return (
        covers(rule, prefix) &&
        Number(NoncurrentDays) <= oldVersionDays &&
        NewerNoncurrentVersions === undefined
      )
    }
    if (enabledFor(id).some(serves))
      return { check: { setting, state: 'ok', found: `old versions in ${prefix} expire` } }
    return {
      check: {
        setting,
        state: 'warning',
        found: `${what} ${prefix} stays as old versions, unseen, and costs money`,
        cure: planCure,
      },
      rule: make(id, prefix, {
        NoncurrentVersionExpiration: { NoncurrentDays: oldVersionDays },
        Expiration: { ExpiredObjectDeleteMarker: true },
      }),
      why: `old versions in ${prefix} are deleted after ${oldVersionDays} days`,
    }
  })
}

/** A rule that takes audio away from the CDN. */
function archive(enabled: readonly JsonObject[], { keyPrefix }: Wishes): Purpose[] {
  const found = enabled.find(
    rule =>
      overlaps(rule, keyPrefix) &&
      transitionsOf(rule).some(({ StorageClass }) =>
        ['GLACIER', 'DEEP_ARCHIVE'].includes(String(StorageClass)),
      ),
  )
  if (found === undefined) return []
  return [
    {
      check: {
        setting: 'lifecycle-archive',
        state: 'failure',
        found: `rule ${String(found['ID'] ?? '(no id)')} moves audio to an archive, where the CDN cannot read it`,
        cure: 'Limit that rule to other prefixes, or use GLACIER_IR; it is not one of ours, so it is left to you.',
      },
    },
  ]
}

function tiering({ enabledFor, make }: Rules, wishes: Wishes): Purpose[] {
  if (wishes.tiering === undefined) return []
  const setting = 'lifecycle-tiering'
  const { storageClass, days } = wishes.tiering
  const serves = (rule: JsonObject) =>
    covers(rule, wishes.keyPrefix) &&
    transitionsOf(rule).some(transition => transition['StorageClass'] === storageClass)
  if (enabledFor(ourRules.tiering).some(serves)) {
    return [{ check: { setting, state: 'ok', found: `audio goes to ${storageClass}` } }]
  }
  return [
    {
      check: { setting, state: 'failure', found: `audio does not go to ${storageClass}`, cure: planCure },
      rule: make(ourRules.tiering, wishes.keyPrefix, {
        Transitions: [{ Days: days, StorageClass: storageClass }],
      }),
      why: `audio goes to ${storageClass} ${days === 0 ? 'at once' : `after ${days} days`}`,
      cost: tieringCost(storageClass, wishes.library),
    },
  ]
}

const rulesOf = (value: JsonObject | null) => (value?.['Rules'] as JsonObject[] | undefined) ?? []
const transitionsOf = (rule: JsonObject) => (rule['Transitions'] as JsonObject[] | undefined) ?? []

/** When a rule deletes: S3 takes days, or a date. */
function when({ Days, Date: date }: JsonObject): string {
  return Days === undefined ? `on ${String(date).slice(0, 10)}` : `after ${Days} days`
}

/** The prefix that a rule is limited to, whatever else it is limited by. */
function prefixOf(rule: JsonObject): string {
  const { And, Prefix } = (rule['Filter'] ?? rule) as JsonObject
  return String(Prefix ?? (And as JsonObject | undefined)?.['Prefix'] ?? '')
}

/** Whether a rule is for every object below the prefix that it names, whatever its size and tags. */
function isLimitedByPrefixAlone(rule: JsonObject): boolean {
  return Object.keys((rule['Filter'] ?? {}) as JsonObject).every(name => name === 'Prefix')
}

/** Whether a rule is for every object below a prefix: it can be relied on. */
function covers(rule: JsonObject, prefix: string): boolean {
  return isLimitedByPrefixAlone(rule) && prefix.startsWith(prefixOf(rule))
}

/** Whether a rule may be for some objects below a prefix: it has to be reckoned with. */
function overlaps(rule: JsonObject, prefix: string): boolean {
  return prefix.startsWith(prefixOf(rule)) || prefixOf(rule).startsWith(prefix)
}

/** Prices of us-east-1, USD, December 2025: https://aws.amazon.com/s3/pricing/ */
const prices = {
  standard: 0.023,
  infrequent: 0.0125,
  infrequentRetrieval: 0.01,
  transitionPer1000: 0.01,
  monitoringPer1000: 0.0025,
}

/** What a storage class costs and saves, for the library where its size is known, and when it pays. */
export function tieringCost(
  storageClass: 'INTELLIGENT_TIERING' | 'STANDARD_IA',
  library: Wishes['library'],
): string {
  const { standard, infrequent, infrequentRetrieval, transitionPer1000, monitoringPer1000 } = prices
  const gigabytes = (library?.bytes ?? 0) / 1024 ** 3
  const thousands = (library?.objects ?? 0) / 1_000
  const saved = standard - infrequent
  /** of this library, in brackets */
  const here = (text: string) => (library === undefined ? '' : ` (${text})`)
  const transition = `$${transitionPer1000} once per 1,000 objects${here(dollars(transitionPer1000 * thousands))}`
  const common =
    'prices of us-east-1' +
    (library === undefined
      ? ''
      : `, for ${formatCount(library.objects)} objects of ${formatBytes(library.bytes)}`)
  if (storageClass === 'INTELLIGENT_TIERING') {
    return (
      `what nobody has read for 30 days costs $${infrequent} instead of $${standard} a GB-month` +
      `${here(`saves up to ${dollars(saved * gigabytes)} a month`)}, reading is free; ` +
      `monitoring fee $${monitoringPer1000} a month per 1,000 objects` +
      `${here(`${dollars(monitoringPer1000 * thousands)} a month`)}, moving ${transition}; ` +
      'worth it for rarely played files over 0.25 MB; objects under 128 KB are left alone; ' +
      common
    )
  }
  return (
    `storing costs $${infrequent} instead of $${standard} a GB-month` +
    `${here(`saves ${dollars(saved * gigabytes)} a month`)}, but each GB that the CDN fetches $${infrequentRetrieval}` +
    `${here(`${dollars(infrequentRetrieval * gigabytes)} each time all of it is fetched`)}, moving ${transition}; ` +
    'each object is charged for at least 30 days and 128 KB; ' +
    'worth it while the CDN fetches less than all of it once a month; ' +
    common
  )
}

/** A sum of money, in words where it is next to nothing. */
function dollars(amount: number): string {
  return amount === 0 ? '$0' : amount < 0.01 ? 'under $0.01' : `$${amount.toFixed(2)}`
}
