/**
 * The pages are run as a reader types them: every `sh` block in its order, on an embedded database, S3 server and CDN
 * stand-in, with the bundled library. What a page shows of the screen is what the screen says.
 */
import { mkdir, readFile } from 'node:fs/promises'
import http from 'node:http'
import path from 'node:path'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyDemoLibrary } from '../../src/demo/library.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { cli } from '../support/cli.ts'
import { listening, portOf } from '../support/listening.ts'
import { fencedBlocks } from '../support/markdown.ts'
import { accessKey, sdk, type TestServer, testServer } from '../support/s3-server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let folder: string
let server: TestServer
let cdn: Cdn
let env: Record<string, string>
const pings: string[] = []
const health = http.createServer((request, response) => {
  pings.push(request.url ?? '')
  response.end()
})

beforeAll(async () => {
  folder = temporaryFolder('journey')
  server = await testServer()
  await sdk(server).send(new CreateBucketCommand({ Bucket: 'music' }))
  cdn = await startCdn({
    origin: server.origin,
  })
  await listening(health)
  await mkdir(path.join(folder, 'audio'))
  await copyDemoLibrary(path.join(folder, 'audio'))
  env = {
    DATABASE_URL: `pglite:${path.join(folder, 'db')}`,
    S3_BUCKET_NAME: 'music',
    S3_ENDPOINT: server.url,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: accessKey.accessKeyId,
    AWS_SECRET_ACCESS_KEY: accessKey.secretAccessKey,
    CLOUDFRONT_DOMAIN: cdn.url,
    AUDIO_STORAGE_PATH: path.join(folder, 'audio'),
  }
})
afterAll(async () => {
  await cdn?.close()
  await server?.close()
  health.close()
})

/** These have tests of their own, or ask somebody. */
const elsewhere = /^autodj (demo|init|doctor)\b/
test('docs/guide.md: every command, in its order', async () => {
  const page = await readFile('docs/guide.md', 'utf8')
  const blocks = fencedBlocks(page)
  const lines = blocks
    .filter(({ language, norun }) => language === 'sh' && norun === undefined)
    .flatMap(block => block.lines)
  expect(lines.length).toBeGreaterThan(20)
  const port = portOf(health)
  let said = ''
  for (const line of lines.filter(one => !elsewhere.test(one))) {
    const here = line.replace('https://hc-ping.com', `http://127.0.0.1:${port}`)
    const argv = [...here.matchAll(/"([^"]*)"|(\S+)/g)]
      .map(([, quoted, bare]) => quoted ?? bare ?? '')
      .slice(1)
    const { exitCode, stdout, stderr } = await cli(argv, { env, cwd: folder })
    expect([line, exitCode, exitCode === 0 ? '' : stdout + stderr]).toEqual([line, 0, ''])
    said += stdout + stderr
  }
  expect(pings).toEqual(['/UUID/start', '/UUID/0'])

  // What the page shows of the screen, apart from times, rates and places.
  const shown = blocks.filter(({ language }) => language === 'text').flatMap(block => block.lines)
  const steady = (text: string) => text.replaceAll(/\d+(\.\d+)?/g, '0').replaceAll(/\s+/g, ' ')
  const told = steady(said)
  const elsewhereShown = /^(ok|failure) |^…$|^ +→|^Paths:|in \/srv/
  const missing = shown.filter(
    line => !elsewhereShown.test(line) && !told.includes(steady(line).split(' (')[0]!),
  )
  expect(missing).toEqual([])
}, 300_000)
