/**
 * What settings documents mean, whichever way they are written: S3 and what is compatible with it answer with another
 * document than they were given. AWS adds what is the default (`BucketKeyEnabled: false`,
 * `TransitionDefaultMinimumObjectSize`), sorts lifecycle rules, and makes a list of one a word; others write `Prefix` for
 * `Filter.Prefix`. Compared is what is left when all that is taken away.
 */
import { canonicalJson } from '../plan.ts'
import {
  type BucketSetting,
  isObject,
  type Json,
  type JsonObject,
  listOf,
  sameDocument,
  withoutNulls,
} from './plan.ts'

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
  const { And, Prefix: plain, Tag, ...sizes } = objectOf(Filter)
  const { Tags, Prefix: inner, ...andSizes } = objectOf(And)
  return {
    ...mapLists(rest, list => sorted(list)),
    Expiration: dated(withoutDefaults(objectOf(Expiration), { ExpiredObjectDeleteMarker: false })),
    prefix: plain ?? inner ?? Prefix ?? '',
    tags: sorted([...listOf(Tags), ...listOf(Tag)]),
    ...sizes,
    ...andSizes,
  }
}

function corsRule(rule: Json): Json {
  if (!isObject(rule)) return rule
  return {
    ...mapLists(rule, list => sorted(list)),
    AllowedHeaders: sorted(listOf(rule['AllowedHeaders']).map(name => String(name).toLowerCase())),
  }
}

function logging(enabled: Json): Json {
  if (!isObject(enabled)) return enabled
  const { TargetObjectKeyFormat: format, ...rest } = enabled
  return {
    ...withDefaults(rest, { TargetPrefix: '' }),
    partitioned: objectOf(format)['PartitionedPrefix'] ?? null,
  }
}

/** Source: IAM User Guide, "Grammar of the IAM JSON policy language": a value may stand for a list of one. */
function statement(one: Json): Json {
  if (!isObject(one)) return one
  return Object.fromEntries(
    Object.entries(one).map(([name, value]) => {
      switch (name) {
        case 'Action':
        case 'NotAction':
        case 'Resource':
        case 'NotResource':
          return [name, sorted(listOf(value))]
        case 'Principal':
        case 'NotPrincipal':
          return [name, lists(value === '*' ? { AWS: '*' } : value)]
        case 'Condition':
          return [name, isObject(value) ? mapMembers(value, lists) : value]
        default:
          return [name, value]
      }
    }),
  )
}

/** Every member a sorted list of texts. */
function lists(value: Json): Json {
  return isObject(value) ? mapMembers(value, one => sorted(listOf(one).map(item => String(item)))) : value
}

function mapLists(object: JsonObject, change: (list: readonly Json[]) => Json): JsonObject {
  return mapMembers(object, value => (Array.isArray(value) ? change(value.map(dated)) : value))
}

function mapMembers(object: JsonObject, change: (value: Json) => Json): JsonObject {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]))
}

/** Dates to the second, as S3 keeps them. */
function dated(value: Json): Json {
  const date = Date.parse(String(objectOf(value)['Date']))
  return Number.isNaN(date) ? value : { ...objectOf(value), Date: Math.floor(date / 1_000) }
}

function withoutDefaults(object: JsonObject, defaults: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([name, value]) => defaults[name] !== value))
}

function withDefaults(object: JsonObject, defaults: JsonObject): JsonObject {
  const given = Object.entries(object).filter(([, value]) => value !== null)
  return { ...defaults, ...Object.fromEntries(given) }
}

/** The elements as texts, in an order of their own. */
function sorted(list: readonly Json[]): Json[] {
  return list.map(one => canonicalJson(withoutNulls(one))).sort()
}

function objectOf(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {}
}
