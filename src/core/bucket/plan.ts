/** Changes to the settings of a bucket and its distribution as data: made, shown, saved, applied and taken back. */
import { FatalError } from '../../errors.ts'
import { canonicalJson } from '../plan.ts'

/** A document of the AWS API, as the SDK gives it and JSON keeps it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }
export type JsonObject = { readonly [name: string]: Json }

/** Settings of the bucket that have a document of their own. */
export const bucketSettings = [
  'public-access-block',
  'object-ownership',
  'encryption',
  'versioning',
  'cors',
  'lifecycle',
  'access-logging',
  'bucket-policy',
] as const
export type BucketSetting = (typeof bucketSettings)[number]

/** One value inside the distribution's configuration. */
export interface ConfigEdit {
  path: readonly (string | number)[]
  /** undefined members of the API are null here */
  was: Json
  becomes: Json
}

/** An origin access control to be made; edits name it by {@link newOac} until it has an id. */
export interface NewOac {
  Name: string
  Description: string
  OriginAccessControlOriginType: 's3'
  SigningBehavior: 'always'
  SigningProtocol: 'sigv4'
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A member that may stand for a list of one, or be missing, as a list. */
export function listOf(value: Json | undefined): readonly Json[] {
  if (value === undefined || value === null) return []
  return Array.isArray(value) ? value : [value as Json]
}

/** Stands for the id of the origin access control that the same change makes. */
export const newOac = '$new-origin-access-control'

/** One change, with what it rests on: it is applied only while `was` still holds. */
export type SettingChange =
  | {
      target: 'bucket'
      setting: BucketSetting
      /** null: not set */
      was: Json
      becomes: Json
      why: string
      /** what it costs or saves, in words */
      cost?: string
    }
  | {
      target: 'distribution'
      setting: string
      edits: readonly ConfigEdit[]
      create?: NewOac
      why: string
      cost?: string
    }

export interface SettingsPlan {
  type: 'autodj-settings-plan'
  schema: 1
  bucket: string
  distribution: string | null
  /** ISO 8601, UTC */
  createdAt: string
  /** in the order in which they are applied */
  changes: readonly SettingChange[]
}

/**
 * The plan that takes this one back: each change turned around, last first. Versioning cannot be taken back to what
 * a bucket is born with; it is suspended. An origin access control that was made stays, unused.
 */
export function undoPlan(plan: SettingsPlan, createdAt: Date): SettingsPlan {
  return {
    ...plan,
    createdAt: createdAt.toISOString(),
    changes: plan.changes.toReversed().map(change => {
      const why = `takes back: ${change.why}`
      if (change.target === 'bucket') {
        const { setting, was, becomes } = change
        const before = setting === 'versioning' && was === null ? { Status: 'Suspended' } : was
        return { target: 'bucket', setting, was: becomes, becomes: before, why }
      }
      const { setting, edits } = change
      return {
        target: 'distribution',
        setting,
        edits: edits.toReversed().map(({ path, was, becomes }) => ({ path, was: becomes, becomes: was })),
        why,
      }
    }),
  }
}

/** @throws FatalError `plan.damaged` when it is not such a plan */
export function parseSettingsPlan(text: string): SettingsPlan {
  const damaged = (how: string) =>
    new FatalError(`this is not a plan made by \`autodj bucket plan\`: ${how}`, {
      code: 'plan.damaged',
      cure: 'Make a new one with `autodj bucket plan --output FILE`.',
    })
  let plan: Partial<SettingsPlan>
  try {
    plan = JSON.parse(text) as Partial<SettingsPlan>
  } catch {
    throw damaged('it is not JSON')
  }
  if (plan?.type !== 'autodj-settings-plan') throw damaged('it has another type')
  if (plan.schema !== 1) throw damaged(`it has schema ${plan.schema}, this version of autodj reads schema 1`)
  if (typeof plan.bucket !== 'string' || !Array.isArray(plan.changes))
    throw damaged('parts of it are missing')
  for (const change of plan.changes as SettingChange[]) {
    const known =
      change.target === 'bucket'
        ? bucketSettings.includes(change.setting) && change.was !== undefined && change.becomes !== undefined
        : change.target === 'distribution' && Array.isArray(change.edits)
    if (!known) throw damaged(`it has an unknown change: ${JSON.stringify(change).slice(0, 100)}`)
  }
  return plan as SettingsPlan
}

/** Whether two documents are the same; members that are null or missing are alike. */
export function sameDocument(a: Json | undefined, b: Json | undefined): boolean {
  return canonicalJson(withoutNulls(a ?? null)) === canonicalJson(withoutNulls(b ?? null))
}

/** A document whose members that are null are missing. */
export function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== null)
      .map(([name, member]) => [name, withoutNulls(member)]),
  )
}

/** What changes from one document to another: by member, and inside lists (rules, statements) by element. */
interface Difference {
  /** `CORSRules`; empty if a document is none */
  member: string
  removed: readonly Json[]
  added: readonly Json[]
  /** elements of the list that stay as they are */
  kept: number
}

/** @returns members that differ, in the order of the old document, new ones last; nothing for documents alike */
export function differences(was: Json, becomes: Json): Difference[] {
  if (sameDocument(was, becomes)) return []
  if (!isObject(was ?? {}) || !isObject(becomes ?? {})) {
    return [{ member: '', removed: [was], added: [becomes], kept: 0 }]
  }
  const first = (was ?? {}) as JsonObject
  const last = (becomes ?? {}) as JsonObject
  return [...new Set([...Object.keys(first), ...Object.keys(last)])].flatMap(member => {
    const [old, now] = [first[member] ?? null, last[member] ?? null]
    if (sameDocument(old, now)) return []
    const has = (list: readonly Json[], one: Json) => list.some(other => sameDocument(other, one))
    const [before, after] = [listOf(old), listOf(now)]
    const removed = before.filter(one => !has(after, one))
    const added = after.filter(one => !has(before, one))
    return [{ member, removed, added, kept: before.length - removed.length }]
  })
}

/** The value at a path, null if there is none. */
export function valueAt(document: Json, path: readonly (string | number)[]): Json {
  let at: Json | undefined = document
  for (const step of path) {
    if (typeof at !== 'object' || at === null) return null
    at = (at as { readonly [name: string | number]: Json })[step]
  }
  return at ?? null
}

/** A copy with the value at a path replaced; null removes it. Objects on the way are made. */
export function withValueAt(
  document: Json,
  [step, ...rest]: readonly (string | number)[],
  value: Json,
): Json {
  if (step === undefined) return value
  if (Array.isArray(document)) {
    return document.map((item: Json, index) => (index === step ? withValueAt(item, rest, value) : item))
  }
  const object = isObject(document) ? document : {}
  const inner = withValueAt(object[step] ?? null, rest, value)
  if (inner === null) {
    const { [step]: _, ...others } = object
    return others
  }
  return { ...object, [step]: inner }
}
