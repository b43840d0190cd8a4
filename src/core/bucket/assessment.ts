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
  /** objects moved aside by reconcile are deleted after so many days */
  /** `days`: until the bucket deletes what is there, without a look; undefined: it is not to */
  quarantine: { prefix: string; days: number | undefined }
  /** what `fetch` has on its way */
  stagingPrefix: string
  /** storage class for audio, after so many days */
  tiering?: { storageClass: 'INTELLIGENT_TIERING' | 'STANDARD_IA'; days: number }
  /** bucket for access logs */
  logBucket?: string
  /** for the cost of it, where known */
  library?: { objects: number; bytes: number }
}

type SettingState = 'ok' | 'warning' | 'failure' | 'skipped'

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

export type Assess = (observed: ObservedBucket, wishes: Wishes) => Assessment

export const fine = (setting: string, found: string): Assessment => ({
  checks: [{ setting, state: 'ok', found }],
  changes: [],
})
export const untold = (setting: string, reason: string): Assessment => ({
  checks: [{ setting, state: 'skipped', found: `could not be read: ${reason}` }],
  changes: [],
})
export const documentOf = (observed: Observed): JsonObject | null =>
  observed.state === 'set' ? observed.value : null
