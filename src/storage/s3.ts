/** The {@link ObjectStore} on Amazon S3 and what is compatible with it. */
import { GetBucketVersioningCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { conditionsOf } from './s3-conditions.ts'
import { connectS3, type S3StoreOptions } from './s3-connection.ts'
import { copyObjects } from './s3-copy.ts'
import { deleteObjects } from './s3-delete.ts'
import { storeErrorOf, toStoreError } from './s3-errors.ts'
import { notS3 } from './s3-fields.ts'
import { isNoListing, listObjects, listParts, listPrefixes, listUploads, listVersions } from './s3-listing.ts'
import { readObjects } from './s3-read.ts'
import { writeObjects } from './s3-write.ts'
import { type ObjectStore, StoreError } from './store.ts'

const MiB = 1024 * 1024

/** Opens a store. Nothing is sent until a method is called. `close()` it to let its sockets go. */
export function createS3Store(options: S3StoreOptions): ObjectStore {
  const s3 = connectS3(options)
  const { bucket, client, context, run } = s3
  const reading = readObjects(s3)
  const { head } = reading
  const conditions = conditionsOf(s3, { head })

  const partsOf: ObjectStore['listParts'] = async (key, uploadId, signal) => {
    if (s3.lacks.has('part-listing')) return undefined
    try {
      return await listParts(s3, key, uploadId, signal)
    } catch (thrown) {
      if (thrown instanceof StoreError && (thrown.kind === 'no-upload' || thrown.kind === 'missing')) {
        return undefined
      }
      if (!isNoListing(thrown)) throw thrown
      s3.lacks.found('part-listing')
      return undefined
    }
  }

  const { withUpload, ...writing } = writeObjects(s3, {
    streamPartSize: options.streamPartSize ?? 8 * MiB,
    head,
    listParts: partsOf,
    createOnly: conditions.createOnly,
  })
  const copying = copyObjects(s3, {
    head,
    get: reading.get,
    withUpload,
    completeUpload: writing.completeUpload,
    putStream: writing.putStream,
    singleMax: options.copy?.singleMax ?? 5 * 1024 * MiB,
    partSize: options.copy?.partSize ?? 512 * MiB,
  })
  async function checkBucket(signal: AbortSignal | undefined): Promise<void> {
    // A listing of one, not HeadBucket: its error has a body that says what is wrong.
    const where = await context('use', { signal })
    try {
      const page = await run(where, () =>
        client.send(new ListObjectsV2Command({ Bucket: bucket, MaxKeys: 1 }), { abortSignal: signal }),
      )
      if (page.IsTruncated === undefined) throw notS3('no listing', where)
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      throw error.kind === 'missing' ? storeErrorOf({ code: 'NoSuchBucket', status: 404 }, where) : error
    }
  }

  return {
    bucket,
    signsPayload: s3.signsPayload,
    ...reading,
    ...writing,
    ...copying,
    ...deleteObjects(s3, conditions),
    listParts: partsOf,
    list: (options = {}) => listObjects(s3, options),
    listPrefixes: (prefix, signal) => listPrefixes(s3, prefix, signal),
    listVersions: (options = {}) => listVersions(s3, options),
    listUploads: (options = {}) => listUploads(s3, options),

    checkBucket,

    async time(signal) {
      if (s3.serverTime() === undefined) await checkBucket(signal)
      // Every HTTP server with a clock sends its time (RFC 9110, section 6.6.1); one without has ours.
      return new Date(s3.serverTime() ?? Date.now())
    },

    async versioning(signal) {
      const where = await context('read the versioning of', { signal })
      try {
        const output = await run(where, () =>
          client.send(new GetBucketVersioningCommand({ Bucket: bucket }), { abortSignal: signal }),
        )
        return output.Status ?? 'Off'
      } catch (thrown) {
        // A store that knows no versions keeps none.
        if (thrown instanceof StoreError && thrown.kind === 'unsupported') return 'Off'
        throw thrown
      }
    },

    close: () => s3.close(),
  }
}
