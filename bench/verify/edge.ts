/** The server side of bench:verify, a process of its own: the embedded S3 server and CDN, and an edge that has all. */

import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startCdn } from '../../src/embedded/cdn.ts'
import { startS3Server } from '../../src/embedded/s3-server/server.ts'
import { createS3Store } from '../../src/storage/s3.ts'

export interface EdgeReady {
  /** the embedded CDN in front of the embedded S3 server */
  cdn: string
  s3: string
  /** answers for any key, as a cached object of `size` bytes: for more tracks than a test wants to upload */
  edge: string
}

export const bucket = 'music'
export const size = 2_000
export const credentials = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' }
export const keyOf = (n: number): string => `audio/Beyonc\u00e9 + ДДТ/50% #${n}?_${n}.mp3`

if (import.meta.main) {
  const objects = Number(process.argv[2])
  const dir = await mkdtemp(path.join(tmpdir(), 'autodj-bench-verify-'))
  const s3 = await startS3Server({ dir, credentials: [credentials], buckets: [bucket] })
  const cdn = await startCdn({ origin: { url: s3.url, region: 'us-east-1', bucket, credentials } })
  const store = createS3Store({ bucket, endpoint: s3.url, credentials })
  const body = Buffer.alloc(size, 'music ')
  let next = 0
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let n = next++; n < objects; n = next++) {
        await store.put(keyOf(n), body, {
          headers: { contentType: 'audio/mpeg', cacheControl: 'public, max-age=31536000, immutable' },
          checksums: {},
        })
      }
    }),
  )
  store.close()
  const edge = http.createServer((_, response) => {
    response
      .writeHead(206, {
        'content-type': 'audio/mpeg',
        'content-range': `bytes 0-0/${size}`,
        'content-length': '1',
        'accept-ranges': 'bytes',
        'cache-control': 'public, max-age=31536000, immutable',
        'x-cache': 'Hit from cloudfront',
        'x-amz-cf-pop': 'BENCH-1',
      })
      .end('m')
  })
  edge.listen(0, '127.0.0.1', () => {
    const { port } = edge.address() as AddressInfo
    process.send?.({ cdn: cdn.url, s3: s3.url, edge: `http://127.0.0.1:${port}` } satisfies EdgeReady)
  })
  process.once('disconnect', async () => {
    edge.closeAllConnections()
    await cdn.close()
    await s3.close()
    await rm(dir, { recursive: true, force: true })
    process.exit()
  })
}
