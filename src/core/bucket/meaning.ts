/**
 * What settings documents mean, whichever way they are written: S3 and what is compatible with it answer with another
 * document than they were given. AWS adds what is the default (`BucketKeyEnabled: false`,
 * `TransitionDefaultMinimumObjectSize`), sorts lifecycle rules, and makes a list of one a word; others write `Prefix` for
 * `Filter.Prefix`. Compared is what is left when all that is taken away.
 */
import { canonicalJson } from '../plan.ts'
import { type BucketSetting, type Json, type JsonObject, sameDocument } from './plan.ts'

/** Whether two documents of a setting mean the same; null: it is not set. */
export function sameSetting(setting: BucketSetting, a: Json, b: Json): boolean {
  return sameDocument(meaningOf(setting, a), meaningOf(setting, b))
}

function meaningOf(setting: BucketSetting, document: Json): Json {
  if (!isObject(document)) return document
  switch (setting) {
    case 'public-access-block':
      return withDefaults(document, {
        BlockPublicAcls: false,
        IgnorePublicAcls: false,
        BlockPublicPolicy: false,
        RestrictPublicBuckets: false,
      })
    case 'versioning':
      return withoutDefaults(document, { MFADelete: 'Disabled' })
    case 'encryption':
      return { Rules: sorted(listOf(document['Rules']).map(encryptionRule)) }
    case 'lifecycle':
      return {
        ...withoutDefaults(document, { TransitionDefaultMinimumObjectSize: 'all_storage_classes_128K' }),
        Rules: sorted(listOf(document['Rules']).map(lifecycleRule)),
      }
    case 'cors':
      // The first rule that matches counts: their order is part of what they mean.
      return { CORSRules: listOf(document['CORSRules']).map(corsRule) }
    case 'access-logging':
      return { LoggingEnabled: logging(document['LoggingEnabled'] ?? null) }
    case 'bucket-policy':
      return { Statement: sorted(listOf(document['Statement']).map(statement)) }
    case 'object-ownership':
      return document
  }
}

function encryptionRule(rule: Json): Json {
  return isObject(rule) ? withoutDefaults(rule, { BucketKeyEnabled: false }) : rule
}

function lifecycleRule(rule: Json): Json {
  if (!isObject(rule)) return rule
  const { Prefix, Filter, Expiration, ...rest } = rule
  const filter = isObject(Filter ?? null) ? (Filter as JsonObject) : {}
  const { And, Prefix: plain, ...others } = filter
  const and = isObject(And ?? null) ? (And as JsonObject) : {}
  const tags = sorted([...listOf(and['Tags']), ...(others['Tag'] == null ? [] : [others['Tag'] as Json])])
  const { Tag: _tag, ...sizes } = others
  const { Tags: _tags, Prefix: inner, ...andSizes } = and
  return {
    ...mapLists(rest, list => sorted(list)),
    ...(Expiration == null
      ? {}
      : {
          Expiration: dated(withoutDefaults(Expiration as JsonObject, { ExpiredObjectDeleteMarker: false })),
        }),
    prefix: plain ?? inner ?? Prefix ?? '',
    ...(tags.length === 0 ? {} : { tags }),
    ...sizes,
    ...andSizes,
  }
}

function corsRule(rule: Json): Json {
  if (!isObject(rule)) return rule
  const lower = (value: Json) => (typeof value === 'string' ? value.toLowerCase() : value)
  return {
    ...mapLists(rule, list => sorted(list)),
    ...(rule['AllowedHeaders'] == null
      ? {}
      : { AllowedHeaders: sorted(listOf(rule['AllowedHeaders']).map(lower)) }),
  }
}

function logging(enabled: Json): Json {
  if (!isObject(enabled)) return enabled
  const { TargetObjectKeyFormat: format, ...rest } = enabled
  const isPlain = format == null || (isObject(format) && format['PartitionedPrefix'] == null)
  return {
    ...withDefaults(rest, { TargetPrefix: '' }),
    ...(isPlain ? {} : { TargetObjectKeyFormat: format as Json }),
  }
}

/** Source: IAM User Guide, "Grammar of the IAM JSON policy language": a value may stand for a list of one. */
function statement(one: Json): Json {
  if (!isObject(one)) return one
  return Object.fromEntries(
    Object.entries(one).map(([name, value]) => {
      if (/^(Not)?(Action|Resource)$/.test(name)) return [name, sorted(listOf(value))]
      if (/^(Not)?Principal$/.test(name)) {
        return [name, value === '*' ? { AWS: ['*'] } : isObject(value) ? lists(value) : value]
      }
      if (name !== 'Condition' || !isObject(value)) return [name, value]
      return [
        name,
        Object.fromEntries(
          Object.entries(value).map(([test, keys]) => [test, isObject(keys) ? lists(keys) : keys]),
        ),
      ]
    }),
  )
}

/** Every member a sorted list of texts. */
function lists(object: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [name, sorted(listOf(value).map(item => String(item)))]),
  )
}

function mapLists(object: JsonObject, change: (list: readonly Json[]) => Json): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [
      name,
      Array.isArray(value) ? change(value.map(dated)) : value,
    ]),
  )
}

/** Dates to the second, as S3 keeps them. */
function dated(value: Json): Json {
  if (!isObject(value) || typeof value['Date'] !== 'string') return value
  const date = Date.parse(value['Date'])
  return Number.isNaN(date) ? value : { ...value, Date: Math.floor(date / 1_000) }
}

function withoutDefaults(object: JsonObject, defaults: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([name, value]) => defaults[name] !== value))
}

function withDefaults(object: JsonObject, defaults: JsonObject): JsonObject {
  const given = Object.entries(object).filter(([, value]) => value !== null)
  return { ...defaults, ...Object.fromEntries(given) }
}

function listOf(value: Json | undefined): readonly Json[] {
  if (value === undefined || value === null) return []
  return Array.isArray(value) ? value : [value as Json]
}

function sorted(list: readonly Json[]): Json[] {
  return list.toSorted((a, b) => (canonicalJson(a) < canonicalJson(b) ? -1 : 1))
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
