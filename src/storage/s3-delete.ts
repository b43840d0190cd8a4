/** Deleting objects: in batches, or one by one where a condition has to hold. */
import { DeleteObjectCommand, DeleteObjectsCommand } from '@aws-sdk/client-s3'
import pLimit from 'p-limit'
import type { Conditions } from './s3-conditions.ts'
import type { S3Connection } from './s3-connection.ts'
import { type RequestContext, storeErrorOf, toStoreError } from './s3-errors.ts'
import type { DeleteOutcome, DeleteRequest, ObjectStore } from './store.ts'

/** S3's limit for one DeleteObjects. */
const deleteBatch = 1000
/** Requests at a time. */
const deleteConcurrency = 16

export function deleteObjects(
  { bucket, client, lacks, context, run }: S3Connection,
  { deleteOnly }: Pick<Conditions, 'deleteOnly'>,
): Pick<ObjectStore, 'delete'> {
  async function deleteOne(request: DeleteRequest, signal?: AbortSignal): Promise<DeleteOutcome> {
    const { key, versionId, ifMatch } = request
    const outcome = identified(request)
    const where = await context('delete', { key, signal, condition: 'if-match' })
    try {
      const send = (etag: string | undefined) =>
        run(where, () =>
          client.send(
            new DeleteObjectCommand({
              Bucket: bucket,
              Key: key,
              VersionId: versionId,
              IfMatch: etag === undefined ? undefined : `"${etag}"`,
            }),
            { abortSignal: signal },
          ),
        )
      const output =
        ifMatch === undefined
          ? await send(undefined)
          : await deleteOnly(where, { key, versionId, ifMatch }, send)
      if (output === undefined) return outcome
      const marker = output.DeleteMarker && versionId === undefined ? output.VersionId : undefined
      return { ...outcome, ...(marker !== undefined && { deleteMarkerVersionId: marker }) }
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      return error.kind === 'missing' ? outcome : { ...outcome, error }
    }
  }

  async function deleteMany(
    requests: readonly DeleteRequest[],
    signal?: AbortSignal,
  ): Promise<DeleteOutcome[]> {
    const where = await context('delete from', { signal })
    const named = (key: string): RequestContext => ({ ...where, operation: 'delete', key })
    try {
      const output = await run(where, () =>
        client.send(
          new DeleteObjectsCommand({
            Bucket: bucket,
            Delete: { Objects: requests.map(({ key, versionId }) => ({ Key: key, VersionId: versionId })) },
          }),
          { abortSignal: signal },
        ),
      )
      const identity = (key = '', versionId = '') => `${versionId} ${key}`
      const deleted = new Map(output.Deleted?.map(item => [identity(item.Key, item.VersionId), item]))
      const failed = new Map(output.Errors?.map(item => [identity(item.Key, item.VersionId), item]))
      return requests.map((request): DeleteOutcome => {
        const { key, versionId } = request
        const outcome = identified(request)
        const failure = failed.get(identity(key, versionId)) ?? failed.get(identity(key))
        if (failure) {
          const error = storeErrorOf(
            { code: failure.Code, message: failure.Message, status: 200 },
            named(key),
          )
          return error.kind === 'missing' ? outcome : { ...outcome, error }
        }
        const item = deleted.get(identity(key, versionId)) ?? deleted.get(identity(key))
        if (!item) {
          const failure = { code: 'InternalError', message: 'the answer does not mention this key' }
          return { ...outcome, error: storeErrorOf(failure, named(key)) }
        }
        const marker = versionId === undefined ? item.DeleteMarkerVersionId : undefined
        return { ...outcome, ...(marker !== undefined && { deleteMarkerVersionId: marker }) }
      })
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      // What refuses the request itself, and not what it asks for, may know the plainer one.
      if (error.kind === 'unsupported' || error.kind === 'invalid' || error.kind === 'missing') {
        const outcomes = await deleteEach(requests, signal)
        if (outcomes.some(({ error }) => error === undefined)) lacks.found('batch-delete')
        return outcomes
      }
      return requests.map(request => ({ ...identified(request), error }))
    }
  }

  function deleteEach(
    requests: readonly DeleteRequest[],
    signal: AbortSignal | undefined,
  ): Promise<DeleteOutcome[]> {
    const limit = pLimit(deleteConcurrency)
    return Promise.all(requests.map(request => limit(() => deleteOne(request, signal))))
  }

  async function deleteAll(
    requests: readonly DeleteRequest[],
    signal?: AbortSignal,
  ): Promise<DeleteOutcome[]> {
    const outcomes: DeleteOutcome[] = new Array(requests.length)
    const batched: number[] = []
    const single: number[] = []
    requests.forEach(({ key, ifMatch }, index) => {
      // XML 1.0 has no way to write these, escaped or not.
      const unspeakable = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(key)
      const alone = ifMatch !== undefined || unspeakable || lacks.has('batch-delete')
      ;(alone ? single : batched).push(index)
    })
    const limit = pLimit(deleteConcurrency)
    const work = single.map(index =>
      limit(async () => {
        outcomes[index] = await deleteOne(requests[index]!, signal)
      }),
    )
    for (let at = 0; at < batched.length; at += deleteBatch) {
      const indexes = batched.slice(at, at + deleteBatch)
      work.push(
        limit(async () => {
          const results = await deleteMany(
            indexes.map(index => requests[index]!),
            signal,
          )
          results.forEach((outcome, i) => {
            outcomes[indexes[i]!] = outcome
          })
        }),
      )
    }
    await Promise.all(work)
    return outcomes
  }

  return { delete: deleteAll }
}

function identified({ key, versionId }: DeleteRequest): DeleteOutcome {
  return { key, ...(versionId !== undefined && { versionId }) }
}
