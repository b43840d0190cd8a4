/** Looking at objects and reading them. */
import type { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { GetObjectCommand, type GetObjectCommandOutput, HeadObjectCommand } from '@aws-sdk/client-s3'
import { encodeCrc32 } from '../core/crc32.ts'
import type { S3Connection } from './s3-connection.ts'
import { type RequestContext, storeErrorOf, toStoreError } from './s3-errors.ts'
import { headOf } from './s3-fields.ts'
import type { ByteRange, ObjectContent, ObjectHead, ObjectStore } from './store.ts'

export function readObjects({
  bucket,
  client,
  context,
  run,
}: S3Connection): Pick<ObjectStore, 'head' | 'get'> {
  async function head(
    key: string,
    { versionId, signal }: { versionId?: string; signal?: AbortSignal } = {},
  ): Promise<ObjectHead | undefined> {
    const where = await context('look at', { key, signal })
    const request = () =>
      client.send(
        new HeadObjectCommand({ Bucket: bucket, Key: key, VersionId: versionId, ChecksumMode: 'ENABLED' }),
        { abortSignal: signal },
      )
    try {
      return headOf(key, await run(where, request), where)
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind === 'missing') return undefined
      if (error.status !== 400 || error.kind !== 'invalid') throw error
    }
    // A 400 to HEAD has no body that would say why (an expired token, for one): a GET of one byte has.
    const content = await get(key, { versionId, range: { start: 0, end: 0 }, signal })
    content?.body.destroy()
    try {
      return headOf(key, await run(where, request), where)
    } catch (thrown) {
      throw toStoreError(thrown, where)
    }
  }

  async function get(
    key: string,
    {
      range,
      ifMatch,
      versionId,
      signal,
    }: { range?: ByteRange; ifMatch?: string; versionId?: string; signal?: AbortSignal } = {},
  ): Promise<ObjectContent | undefined> {
    const where = await context('get', { key, signal, condition: 'if-match' })
    const command = new GetObjectCommand({
      Bucket: bucket,
      Key: key,
      VersionId: versionId,
      Range: range === undefined ? undefined : `bytes=${range.start}-${range.end ?? ''}`,
      IfMatch: ifMatch === undefined ? undefined : `"${ifMatch}"`,
    })
    // As a header, not as ChecksumMode: that one would make the SDK wrap the body.
    command.middlewareStack.add(
      next => args => {
        ;(args.request as { headers: Record<string, string> }).headers['x-amz-checksum-mode'] = 'ENABLED'
        return next(args)
      },
      { step: 'build' },
    )
    try {
      const output = await run(where, () => client.send(command, { abortSignal: signal }))
      return contentOf(key, output, range !== undefined, where)
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind === 'missing') return undefined
      throw error
    }
  }

  return { head, get }
}

function contentOf(
  key: string,
  output: GetObjectCommandOutput,
  ranged: boolean,
  where: RequestContext,
): ObjectContent {
  const stream = output.Body as Readable
  const total = /\/(\d+)$/.exec(output.ContentRange ?? '')?.[1]
  const size = total === undefined ? output.ContentLength : Number(total)
  const head = headOf(key, { ...output, ContentLength: size }, where)
  const expected = ranged ? undefined : head.checksums.crc32
  return {
    head,
    body: {
      async *[Symbol.asyncIterator]() {
        let bytes = 0
        let sum = 0
        try {
          for await (const chunk of stream as AsyncIterable<Buffer>) {
            bytes += chunk.byteLength
            if (expected !== undefined) sum = crc32(chunk, sum)
            yield chunk
          }
        } catch (thrown) {
          throw toStoreError(thrown, where)
        }
        if (output.ContentLength !== undefined && bytes !== output.ContentLength) {
          const message = `${bytes} of ${output.ContentLength} bytes came`
          throw storeErrorOf({ code: 'ECONNRESET', message }, where)
        }
        if (expected !== undefined && encodeCrc32(sum) !== expected) {
          const message = `crc32 is ${encodeCrc32(sum)}, the store has ${expected}`
          throw storeErrorOf({ code: 'BadDigest', message }, where)
        }
      },
      destroy: error => {
        stream.destroy(error)
      },
    },
  }
}
