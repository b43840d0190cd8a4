/** Looking at objects and reading them. */
import type { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { GetObjectCommand, type GetObjectCommandOutput } from '@aws-sdk/client-s3'
import { encodeCrc32 } from '../core/crc32.ts'
import { systemErrorCode } from '../errors.ts'
import { persistently } from './persistently.ts'
import type { S3Connection } from './s3-connection.ts'
import { type RequestContext, storeErrorOf, toStoreError } from './s3-errors.ts'
import { headOf, wireHead } from './s3-fields.ts'
import type { ByteRange, ObjectContent, ObjectHead, ObjectStore, StoreError } from './store.ts'

/** No failure that passes: to ask again brings the same answer. */
function rangeIgnored(where: RequestContext): StoreError {
  const message = 'the whole object came instead of a part of it: byte ranges are ignored'
  return storeErrorOf({ code: 'NotImplemented', message, status: 200 }, where)
}

/** A key without a character, which a row may have: asked for it, the bucket itself answers. */
const isBucket = (key: string): boolean => key === ''

export function readObjects({
  bucket,
  bodies,
  client,
  context,
  readAttempts,
  run,
}: S3Connection): Pick<ObjectStore, 'head' | 'get' | 'getInto'> {
  async function head(
    key: string,
    { versionId, signal }: { versionId?: string; signal?: AbortSignal } = {},
  ): Promise<ObjectHead | undefined> {
    if (isBucket(key)) return undefined
    const where = await context('look at', { key, signal })
    const query = versionId === undefined ? {} : { query: { versionId } }
    const look = () =>
      persistently(signal, readAttempts, async () => {
        const headers = { 'x-amz-checksum-mode': 'ENABLED' }
        const answer = await bodies.head({ key, headers, ...query }, where)
        return wireHead(key, answer.headers, where)
      })
    try {
      try {
        return await look()
      } catch (thrown) {
        const error = toStoreError(thrown, where)
        if (error.status !== 400) throw error
      }
      // A 400 to HEAD has no body that would say why (an expired token, for one): a GET of one byte has.
      const first = { key, headers: { range: 'bytes=0-0' }, into: new Uint8Array(1), ...query }
      await bodies.get(first, where).catch((thrown: unknown) => {
        const error = toStoreError(thrown, where)
        const isThere = error.status === 416 || systemErrorCode(error.cause) === 'ERR_BODY_SIZE'
        if (!isThere) throw error
      })
      return await look()
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind === 'missing') return undefined
      throw error
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
    if (isBucket(key)) return undefined
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
      if (range !== undefined && range.start > 0 && output.ContentRange === undefined) {
        ;(output.Body as Readable).destroy()
        throw rangeIgnored(where)
      }
      return contentOf(key, output, range !== undefined, where)
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind === 'missing') return undefined
      throw error
    }
  }

  const getInto: ObjectStore['getInto'] = async (key, into, { start, ifMatch, signal } = {}) => {
    if (isBucket(key)) return undefined
    const where = await context('get', { key, signal, condition: 'if-match' })
    const range = start === undefined ? undefined : { start, end: start + into.byteLength - 1 }
    try {
      const { status, headers, received } = await bodies.get(
        {
          key,
          headers: {
            ...(range && { range: `bytes=${range.start}-${range.end}` }),
            'x-amz-checksum-mode': 'ENABLED',
            ...(ifMatch !== undefined && { 'if-match': `"${ifMatch}"` }),
          },
          into,
        },
        where,
      )
      // A store that knows no ranges sends the whole object, which fitted.
      // By what it says of itself: rclone answers a part with 200.
      if (start && headers['content-range'] === undefined && status === 200) throw rangeIgnored(where)
      return { head: wireHead(key, headers, where), bytes: received }
    } catch (thrown) {
      const error = toStoreError(thrown, where)
      if (error.kind === 'missing') return undefined
      // An empty object has no range at all.
      const empty = error.status === 416 && start === 0 ? await head(key, { signal }) : undefined
      if (empty?.size === 0) return { head: empty, bytes: 0 }
      if (systemErrorCode(error.cause) !== 'ERR_BODY_SIZE') throw error
    }
    // No Content-Length, or more than was asked for: some proxies and stores answer so.
    const content = await get(key, { range, ifMatch, signal })
    if (content === undefined) return undefined
    if (range === undefined && content.head.size > into.byteLength) {
      content.body.destroy()
      const message = `it has ${content.head.size} bytes, but ${into.byteLength} were expected`
      throw storeErrorOf({ code: 'InvalidRange', message, status: 416 }, where)
    }
    let bytes = 0
    for await (const chunk of content.body) {
      const mine = chunk.subarray(0, into.byteLength - bytes)
      into.set(mine, bytes)
      bytes += mine.byteLength
      if (mine.byteLength < chunk.byteLength) break
    }
    return { head: content.head, bytes }
  }

  return { head, get, getInto }
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
        let sum = 0
        try {
          for await (const chunk of stream as AsyncIterable<Buffer>) {
            if (expected !== undefined) sum = crc32(chunk, sum)
            yield chunk
          }
        } catch (thrown) {
          throw toStoreError(thrown, where)
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
