/** What an assessment of settings is made of: what was seen, what is wished for, what is said of each setting. */
import type { BucketSetting, Json, JsonObject, SettingChange } from './plan.ts'

/** A document, as read: there, not there, or not told (and why). */
export type Observed<T extends Json = JsonObject> =
  | { state: 'set'; value: T }
  | { state: 'unset' }
  /** `unsupported`: the store has no such setting; else it may not be read */
  | { state: 'unknown'; reason: string; unsupported?: boolean }

export type ObservedBucket = { readonly [S in BucketSetting]: Observed }

/** What the operator wants beyond what is always good practice. */
export interface Wishes {
  bucket: string
  /** ends in `/` or is empty */
  keyPrefix: string
  /** pages that play the audio */
  origins: readonly string[]
  versioning: boolean
  /** objects moved aside by reconcile are deleted after this many days */
  /** `days`: until the bucket deletes what is there, without a look; undefined: it is not to */
  quarantine: { prefix: string; days: number | undefined }
  /** what `fetch` has on its way */
  stagingPrefix: string
  /** storage class for audio, after this many days */
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
  /** one line: what to do, if it is not ok */
  cure?: string
}

export interface Assessment {
  checks: readonly SettingCheck[]
  changes: readonly SettingChange[]
}

export const planCure = '`autodj bucket plan` shows the change, `autodj bucket apply` makes it.'

/** Ids of rules that are ours, and may be replaced. */
export const ourRules = {
  cors: 'autodj',
  abort: 'autodj-abort-incomplete-uploads',
  quarantine: 'autodj-expire-quarantine',
  stagingVersions: 'autodj-expire-staging-versions',
  quarantineVersions: 'autodj-expire-quarantine-versions',
  tiering: 'autodj-tiering',
} as const

/** What is found of one setting: nothing to change, or one change that makes it right. */
export const told = (
  setting: string,
  state: SettingState,
  found: string,
  cure?: string,
  changes: readonly SettingChange[] = [],
): Assessment => ({
  checks: [{ setting, state, found, ...(cure === undefined ? {} : { cure }) }],
  changes,
})
export const fine = (setting: string, found: string): Assessment => told(setting, 'ok', found)
export const untold = (setting: string, reason: string): Assessment =>
  told(setting, 'skipped', `could not be read: ${reason}`)
export const together = (parts: readonly Assessment[]): Assessment => ({
  checks: parts.flatMap(part => part.checks),
  changes: parts.flatMap(part => part.changes),
})

/** A change of one of the bucket's settings. */
type BucketChange = Omit<Extract<SettingChange, { target: 'bucket' }>, 'target' | 'setting'>

/** What is not right of one of the bucket's settings, and the change that makes it so. */
export const wrongInBucket = (
  setting: BucketSetting,
  state: SettingState,
  found: string,
  change: BucketChange,
): Assessment => told(setting, state, found, planCure, [{ target: 'bucket', setting, ...change }])

export const documentOf = (observed: Observed): JsonObject | null =>
  observed.state === 'set' ? observed.value : null
