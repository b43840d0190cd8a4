/**
 * How fast the embedded S3 server is: `node bench/s3-server.ts`. Client and server are processes of their own; both
 * share the machine. Prints medians of three rounds.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { startS3Server } from '../src/embedded/s3-server/server.ts'
import { createSigner } from '../src/storage/sigv4.ts'

const key = { accessKeyId: 'AKIA', secretAccessKey: 'secret' }

if (process.argv[2] === 'serve') {
  const server = await startS3Server({ dir: process.argv[3]!, credentials: [key], buckets: ['bench'] })
  process.send!(server.port)
  process.on('message', async () => {
    await server.close()
    process.send!(process.resourceUsage().maxRSS)
    process.disconnect()
  })
} else {
  const dir = mkdtempSync(join(tmpdir(), 'autodj-bench-'))
  const child = fork(import.meta.filename, ['serve', dir])
  const [port] = (await once(child, 'message')) as [number]
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 })
  const signer = createSigner('us-east-1')

  const send = (method: string, path: string, query: Record<string, string>, body?: Buffer, sum?: string) =>
    new Promise<number>((resolve, reject) => {
      const headers: Record<string, string> = { host: `127.0.0.1:${port}` }
      if (body) headers['content-length'] = String(body.length)
      if (sum) headers['x-amz-checksum-crc32'] = sum
      signer({ method, path, query, headers, payloadHash: 'UNSIGNED-PAYLOAD' }, key, new Date())
      const search = new URLSearchParams(query).toString()
      const request = http.request(
        { host: '127.0.0.1', port, agent, method, path: search ? `${path}?${search}` : path, headers },
        response => {
          let size = 0
          response.on('data', piece => {
            size += piece.length
          })
          response.on('end', () =>
            response.statusCode! < 300 ? resolve(size) : reject(new Error(`${response.statusCode} ${path}`)),
          )
        },
      )
      request.on('error', reject)
      request.end(body)
    })

  async function rate(
    count: number,
    concurrency: number,
    one: (i: number) => Promise<unknown>,
  ): Promise<number> {
    let next = 0
    const from = performance.now()
    await Promise.all(
      Array.from({ length: concurrency }, async () => {
        while (next < count) await one(next++)
      }),
    )
    return count / ((performance.now() - from) / 1000)
  }
  const median = async (round: (n: number) => Promise<number>) =>
    [await round(0), await round(1), await round(2)].sort((a, b) => a - b)[1]!

  const crc = (body: Buffer) => {
    const out = Buffer.alloc(4)
    out.writeUInt32BE(crc32(body))
    return out.toString('base64')
  }
  const small = Buffer.alloc(4096, 'x')
  const smallSum = crc(small)
  const big = Buffer.alloc(32 << 20, 'y')
  const bigSum = crc(big)
  const put = (path: string) => send('PUT', path, {}, small, smallSum)
  const puts = await median(n => rate(4000, 16, i => put(`/bench/small/${n}/${i}`)))
  console.log(`puts of 4 KiB, 16 at once: ${puts.toFixed(0)}/s`)
  const gets = await median(() => rate(4000, 16, i => send('GET', `/bench/small/0/${i}`, {})))
  console.log(`gets of 4 KiB, 16 at once: ${gets.toFixed(0)}/s`)
  const up = await median(n => rate(24, 4, i => send('PUT', `/bench/big/${n}-${i % 4}`, {}, big, bigSum)))
  console.log(`puts of 32 MiB with CRC32, 4 at once: ${(up * 33.554).toFixed(0)} MB/s`)
  const down = await median(() => rate(24, 4, i => send('GET', `/bench/big/0-${i % 4}`, {})))
  console.log(`gets of 32 MiB, 4 at once: ${(down * 33.554).toFixed(0)} MB/s`)
  await rate(88_000, 16, i => put(`/bench/many/${i}`))
  const list = async () => {
    const from = performance.now()
    await send('GET', '/bench', { 'list-type': '2', 'start-after': 'many/5' })
    return performance.now() - from
  }
  console.log(`first page of 1,000 from 100,000 keys: ${(await list()).toFixed(0)} ms`)
  console.log(`a page after that: ${(await median(list)).toFixed(1)} ms`)
  child.send('stop')
  const [rss] = (await once(child, 'message')) as [number]
  console.log(`server's peak memory: ${(rss / 1024).toFixed(0)} MiB`)
  agent.destroy()
  rmSync(dir, { recursive: true, force: true })
}
