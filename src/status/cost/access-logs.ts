/** Traffic from CloudFront's standard access logs in a bucket: streamed, so that memory does not depend on their size. */
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { AccessLogCounter } from '../../core/cost/access-log.ts'
import { toError, UsageError } from '../../errors.ts'
import type { Progress } from '../../report/reporter.ts'
import type { ObjectStore } from '../../storage/store.ts'

/** `s3://bucket/prefix` → bucket and prefix. @throws UsageError */
export function parseLogsUrl(url: string): { bucket: string; prefix: string } {
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(url) ?? []
  if (bucket !== undefined) return { bucket, prefix }
  throw new UsageError(`--logs: "${url}" is not the URL of logs (example: s3://my-logs/cdn/)`, {
    code: 'usage.flag',
  })
}

/** Counts every log below the prefix that was written since; a file that cannot be read is told and left out. */
export async function countLogs(
  store: ObjectStore,
  {
    prefix,
    since,
    progress,
    signal,
    warn,
  }: { prefix: string; since: Date; progress: Progress; signal: AbortSignal; warn(text: string): void },
): Promise<{ counter: AccessLogCounter; files: number }> {
  const counter = new AccessLogCounter(since)
  let files = 0
  for await (const page of store.list({ prefix, signal })) {
    for (const { key, size, lastModified } of page) {
      if (lastModified < since || size === 0) continue
      try {
        const found = await store.get(key, { signal })
        if (found === undefined) continue
        counter.begin()
        const body = Readable.from(found.body)
        const plain = key.endsWith('.gz') ? body.pipe(createGunzip()) : body
        if (plain !== body) body.on('error', error => plain.destroy(error))
        for await (const line of createInterface({ input: plain, crlfDelay: Number.POSITIVE_INFINITY }))
          counter.line(line)
        files++
        progress.advance({ items: 1, bytes: size })
      } catch (error) {
        signal.throwIfAborted()
        warn(`${key}: ${toError(error).message}`)
      }
    }
  }
  return { counter, files }
}
