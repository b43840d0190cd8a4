/** Reads and writes the settings documents of a bucket. */
import {
  DeleteBucketCorsCommand,
  DeleteBucketEncryptionCommand,
  DeleteBucketLifecycleCommand,
  DeleteBucketOwnershipControlsCommand,
  DeleteBucketPolicyCommand,
  DeletePublicAccessBlockCommand,
  GetBucketCorsCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketLoggingCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetBucketVersioningCommand,
  GetPublicAccessBlockCommand,
  type LifecycleRule,
  PutBucketCorsCommand,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketLoggingCommand,
  PutBucketOwnershipControlsCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutPublicAccessBlockCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import type { Observed, ObservedBucket } from '../core/bucket/assessment.ts'
import { type BucketSetting, bucketSettings, type Json, type JsonObject } from '../core/bucket/plan.ts'
import { AppError, FatalError, TemporaryError, toError } from '../errors.ts'
import { credentialsError } from '../storage/s3-errors.ts'

interface Access {
  /** the document, undefined if there is none */
  read(client: S3Client, bucket: string, signal?: AbortSignal): Promise<Json | undefined>
  write(client: S3Client, bucket: string, document: never): Promise<unknown>
  /** where writing nothing is another request; without it the setting cannot be taken away */
  remove?(client: S3Client, bucket: string): Promise<unknown>
}

/** What S3 answers where a setting has no document. */
const absent = new Set([
  'NoSuchPublicAccessBlockConfiguration',
  'OwnershipControlsNotFoundError',
  'ServerSideEncryptionConfigurationNotFoundError',
  'NoSuchCORSConfiguration',
  'NoSuchLifecycleConfiguration',
  'NoSuchBucketPolicy',
])

const plain = (value: unknown): Json => (value === undefined ? null : JSON.parse(JSON.stringify(value)))

const access: Readonly<Record<BucketSetting, Access>> = {
  'public-access-block': {
    read: async (client, Bucket, abortSignal) =>
      plain(
        (await client.send(new GetPublicAccessBlockCommand({ Bucket }), { abortSignal }))
          .PublicAccessBlockConfiguration,
      ),
    write: (client, Bucket, PublicAccessBlockConfiguration) =>
      client.send(new PutPublicAccessBlockCommand({ Bucket, PublicAccessBlockConfiguration })),
    remove: (client, Bucket) => client.send(new DeletePublicAccessBlockCommand({ Bucket })),
  },
  'object-ownership': {
    read: async (client, Bucket, abortSignal) =>
      plain(
        (await client.send(new GetBucketOwnershipControlsCommand({ Bucket }), { abortSignal }))
          .OwnershipControls,
      ),
    write: (client, Bucket, OwnershipControls) =>
      client.send(new PutBucketOwnershipControlsCommand({ Bucket, OwnershipControls })),
    remove: (client, Bucket) => client.send(new DeleteBucketOwnershipControlsCommand({ Bucket })),
  },
  encryption: {
    read: async (client, Bucket, abortSignal) =>
      plain(
        (await client.send(new GetBucketEncryptionCommand({ Bucket }), { abortSignal }))
          .ServerSideEncryptionConfiguration,
      ),
    write: (client, Bucket, ServerSideEncryptionConfiguration) =>
      client.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration })),
    remove: (client, Bucket) => client.send(new DeleteBucketEncryptionCommand({ Bucket })),
  },
  versioning: {
    async read(client, Bucket, abortSignal) {
      const { Status } = await client.send(new GetBucketVersioningCommand({ Bucket }), { abortSignal })
      return Status === undefined ? undefined : { Status }
    },
    write: (client, Bucket, VersioningConfiguration) =>
      client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration })),
  },
  cors: {
    async read(client, Bucket, abortSignal) {
      const { CORSRules } = await client.send(new GetBucketCorsCommand({ Bucket }), { abortSignal })
      return { CORSRules: plain(CORSRules) }
    },
    write: (client, Bucket, CORSConfiguration) =>
      client.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration })),
    remove: (client, Bucket) => client.send(new DeleteBucketCorsCommand({ Bucket })),
  },
  lifecycle: {
    async read(client, Bucket, abortSignal) {
      const { Rules, TransitionDefaultMinimumObjectSize } = await client.send(
        new GetBucketLifecycleConfigurationCommand({ Bucket }),
        { abortSignal },
      )
      return {
        Rules: plain(Rules),
        ...(TransitionDefaultMinimumObjectSize === undefined ? {} : { TransitionDefaultMinimumObjectSize }),
      }
    },
    write(client, Bucket, { Rules, TransitionDefaultMinimumObjectSize }: JsonObject) {
      return client.send(
        new PutBucketLifecycleConfigurationCommand({
          Bucket,
          LifecycleConfiguration: { Rules: withDates(Rules ?? []) as LifecycleRule[] },
          TransitionDefaultMinimumObjectSize: TransitionDefaultMinimumObjectSize as
            | 'all_storage_classes_128K'
            | 'varies_by_storage_class'
            | undefined,
        }),
      )
    },
    remove: (client, Bucket) => client.send(new DeleteBucketLifecycleCommand({ Bucket })),
  },
  'access-logging': {
    async read(client, Bucket, abortSignal) {
      const { LoggingEnabled } = await client.send(new GetBucketLoggingCommand({ Bucket }), { abortSignal })
      return LoggingEnabled === undefined ? undefined : { LoggingEnabled: plain(LoggingEnabled) }
    },
    write: (client, Bucket, BucketLoggingStatus) =>
      client.send(new PutBucketLoggingCommand({ Bucket, BucketLoggingStatus })),
    remove: (client, Bucket) => client.send(new PutBucketLoggingCommand({ Bucket, BucketLoggingStatus: {} })),
  },
  'bucket-policy': {
    async read(client, Bucket, abortSignal) {
      const { Policy } = await client.send(new GetBucketPolicyCommand({ Bucket }), { abortSignal })
      return Policy === undefined ? undefined : (JSON.parse(Policy) as Json)
    },
    write: (client, Bucket, policy) =>
      client.send(new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify(policy) })),
    remove: (client, Bucket) => client.send(new DeleteBucketPolicyCommand({ Bucket })),
  },
}

/** The API takes dates as such; JSON made them text. They are members named `Date` of expirations and transitions. */
function withDates(value: Json): unknown {
  if (Array.isArray(value)) return value.map(withDates)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      name === 'Date' && typeof member === 'string' ? new Date(member) : withDates(member as Json),
    ]),
  )
}

/**
 * One setting.
 * @throws AppError for what no setting of any bucket would answer: credentials, network, no such bucket
 */
export async function readSetting(
  client: S3Client,
  bucket: string,
  setting: BucketSetting,
  signal?: AbortSignal,
): Promise<Observed> {
  try {
    const value = await access[setting].read(client, bucket, signal)
    return value === undefined || value === null
      ? { state: 'unset' }
      : { state: 'set', value: value as JsonObject }
  } catch (thrown) {
    signal?.throwIfAborted()
    const error = toError(thrown)
    if (absent.has(error.name)) return { state: 'unset' }
    const status = (thrown as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
    if (error.name === 'AccessDenied')
      return { state: 'unknown', reason: 'access denied (`autodj policy "bucket check"`)' }
    const reason = unsupported(error, status)
    if (reason !== undefined) return { state: 'unknown', reason, unsupported: true }
    throw settingError(error, `read ${setting} of ${bucket}`, status)
  }
}

/** Codes by which stores say that they have no such setting; another 404 says so too, unless the bucket is missing. */
const unknownSetting =
  /^(NotImplemented|XNotImplemented|MethodNotAllowed|NotSupported|UnsupportedOperation|InvalidArgument|InvalidRequest|MalformedXML|UnsupportedArgument)$/

/**
 * Why a store that is compatible with S3 has not the setting that it was asked for; undefined if something else is
 * wrong. Some answer a page that is no XML, or no XML of that setting.
 */
function unsupported(error: Error, status: number | undefined): string | undefined {
  if (status === 405 || status === 501) return 'this store does not have it'
  if (status === 404 && error.name !== 'NoSuchBucket') return 'this store does not have it'
  if (status === 400 && unknownSetting.test(error.name)) return `this store does not have it (${error.name})`
  const garbled =
    /deserialization|not well-?formed|invalid xml|unexpected (token|character|end)|unclosed|closing tag/i
  if (error instanceof SyntaxError || (status !== undefined && status < 300) || garbled.test(error.message))
    return 'this store answers with something other than this setting'
  return undefined
}

/** All settings. @throws as {@link readSetting} */
export async function observeBucket(
  client: S3Client,
  bucket: string,
  signal?: AbortSignal,
): Promise<ObservedBucket> {
  const observed = await Promise.all(
    bucketSettings.map(
      async setting => [setting, await readSetting(client, bucket, setting, signal)] as const,
    ),
  )
  return Object.fromEntries(observed) as ObservedBucket
}

/**
 * Writes one setting; null takes it away. Not cut off by a signal: half a change is worse than a late stop.
 * @returns why not, if the store has no such setting
 */
export async function writeSetting(
  client: S3Client,
  bucket: string,
  setting: BucketSetting,
  document: Json,
): Promise<string | undefined> {
  const { write, remove } = access[setting]
  try {
    if (document !== null) await write(client, bucket, document as never)
    else if (remove !== undefined) await remove(client, bucket)
    else {
      throw new FatalError(`${setting} cannot be removed`, {
        code: 'bucket.setting',
        cure: 'Change it instead.',
      })
    }
    return undefined
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    const status = (thrown as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
    const { name, message } = toError(thrown)
    const reason = unsupported(toError(thrown), status)
    // What is refused is told in the store's words: it may lack a part of the setting only.
    if (reason !== undefined) return status === 400 ? `refused: ${name}: ${message}` : reason
    throw settingError(toError(thrown), `change ${setting} of ${bucket}`, status)
  }
}

/** What AWS said to `doing`, as a typed error. */
export function settingError(error: Error, doing: string, status: number | undefined): AppError {
  const refused = credentialsError(error, doing)
  if (refused !== undefined) return refused
  const message = `cannot ${doing}: ${error.name}: ${error.message}`
  if (error.name === 'AccessDenied' || status === 403) {
    return new FatalError(message, { code: 'bucket.denied', cause: error })
  }
  if (error.name === 'NoSuchBucket') {
    return new FatalError(message, { code: 'bucket.missing', cause: error })
  }
  if (status !== undefined && status < 500) {
    return new FatalError(message, { code: 'bucket.setting', cause: error })
  }
  return new TemporaryError(message, { code: 'bucket.away', cause: error })
}
