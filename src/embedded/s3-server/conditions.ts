/** Conditional requests: RFC 9110, section 13, as S3 reads it. */
import { type Call, noSuchKey, type Reply } from './call.ts'
import type { Bucket, Version } from './disk.ts'
import { current } from './versions.ts'
import { S3Error } from './xml.ts'

export const preconditionFailed = (condition: string) =>
  new S3Error(412, 'PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', {
    Condition: condition,
  })

const unquote = (etag: string): string =>
  etag
    .trim()
    .replace(/^W\//, '')
    .replace(/^"(.*)"$/, '$1')

/** Does an If-Match / If-None-Match list name this ETag? */
export const etagMatches = (list: string, etag: string): boolean =>
  list.split(',').some(item => item.trim() === '*' || unquote(item) === etag)

/** RFC 9110, section 13.2.2, with S3's: If-Match beats If-Unmodified-Since, If-None-Match beats If-Modified-Since. */
export function checkReadConditions(
  version: Version,
  condition: (name: string) => string | undefined,
): 'ok' | 'not-modified' {
  const ifMatch = condition('if-match')
  const unmodifiedSince = condition('if-unmodified-since')
  if (ifMatch !== undefined) {
    if (!etagMatches(ifMatch, version.etag)) throw preconditionFailed('If-Match')
  } else if (unmodifiedSince !== undefined && version.time > Date.parse(unmodifiedSince)) {
    throw preconditionFailed('If-Unmodified-Since')
  }
  const ifNoneMatch = condition('if-none-match')
  const modifiedSince = condition('if-modified-since')
  if (ifNoneMatch !== undefined) {
    if (etagMatches(ifNoneMatch, version.etag)) return 'not-modified'
  } else if (modifiedSince !== undefined && version.time <= Date.parse(modifiedSince)) {
    return 'not-modified'
  }
  return 'ok'
}

/** If-Match and If-None-Match of a write. @throws S3Error 412, 404, 501 */
export function checkWriteConditions(call: Call, bucket: Bucket): void {
  const ifNoneMatch = call.header('if-none-match')
  const ifMatch = call.header('if-match')
  if (ifNoneMatch === undefined && ifMatch === undefined) return
  if (ifNoneMatch !== undefined && (ifNoneMatch.trim() !== '*' || ifMatch !== undefined)) {
    throw new S3Error(
      501,
      'NotImplemented',
      'A header you provided implies functionality that is not implemented',
      { Header: 'If-None-Match' },
    )
  }
  const version = current(bucket.entries.get(call.key))
  if (ifNoneMatch !== undefined && version) throw preconditionFailed('If-None-Match')
  if (ifMatch !== undefined) {
    if (!version) throw noSuchKey(call.key)
    if (!etagMatches(ifMatch, version.etag)) throw preconditionFailed('If-Match')
  }
}

/**
 * Runs a conditional write: conditions before, so that a body is not sent in vain, and again when it is about to
 * count. A delete of the key in between is a conflict (409): try again.
 */
export async function conditionally<T>(
  call: Call,
  prepare: () => Promise<T>,
  commit: (prepared: T) => Reply,
  discard: (prepared: T) => void,
): Promise<Reply> {
  const { bucket, key } = call
  checkWriteConditions(call, bucket)
  const conditional = call.header('if-none-match') !== undefined || call.header('if-match') !== undefined
  const token = { disturbed: false }
  if (conditional) {
    const tokens = bucket.writers.get(key) ?? new Set()
    bucket.writers.set(key, tokens.add(token))
  }
  try {
    const prepared = await prepare()
    try {
      if (token.disturbed) {
        throw new S3Error(
          409,
          'ConditionalRequestConflict',
          'The conditional request cannot succeed due to a conflicting operation against this resource.',
          { Condition: call.header('if-match') === undefined ? 'If-None-Match' : 'If-Match', Key: key },
        )
      }
      checkWriteConditions(call, call.bucket)
      return commit(prepared)
    } catch (error) {
      discard(prepared)
      throw error
    }
  } finally {
    if (conditional) {
      const tokens = bucket.writers.get(key)
      tokens?.delete(token)
      if (tokens?.size === 0) bucket.writers.delete(key)
    }
  }
}
