/**
 * A store whose buckets are names before the host, as a real server serves them: versitygw with a domain of its own. That
 * domain is nobody's: a proxy knows where it leads, so that no resolver has to.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { enterNetwork, plainNetwork } from '../../src/network.ts'
import { fakeAudio } from '../support/bed.ts'
import { cli } from '../support/cli.ts'
import { pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { freePort } from '../support/listening.ts'
import { startProxy, type TestProxy } from '../support/proxy.ts'
import { versitygw } from '../support/stores.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const program = versitygw()
if (program === undefined)
  console.warn('versitygw is not installed (scripts/tools.sh): virtual hosts are skipped')
const domain = 's3.test'
const bucket = 'autodj-virtual'
const credentials = { accessKeyId: 'autodj', secretAccessKey: 'autodj-secret' }

describe.skipIf(program === undefined)('virtual hosts', () => {
  let home: string
  let proxy: TestProxy
  let database: TestDatabase
  let stop: () => Promise<void>
  let env: Record<string, string>

  beforeAll(async () => {
    home = temporaryFolder('virtual')
    for (const folder of ['data', 'audio']) await mkdir(path.join(home, folder))
    const port = await freePort()
    const child = spawn(
      program!,
      [
        ...['--access', credentials.accessKeyId, '--secret', credentials.secretAccessKey],
        ...['--port', `127.0.0.1:${port}`, '--virtual-domain', domain, '--quiet'],
        ...['posix', path.join(home, 'data')],
      ],
      { stdio: 'ignore' },
    )
    stop = async () => {
      child.kill()
      await once(child, 'exit')
    }
    for (let tries = 0; tries < 100; tries++) {
      if (
        await fetch(`http://127.0.0.1:${port}`).then(
          () => true,
          () => false,
        )
      )
        break
      await sleep(100)
    }
    // By path it needs no name.
    const admin = new S3Client({
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-east-1',
      credentials,
      forcePathStyle: true,
    })
    await admin.send(new CreateBucketCommand({ Bucket: bucket }))
    admin.destroy()
    proxy = await startProxy({ [domain]: port, [`${bucket}.${domain}`]: port })
    database = await pgliteTestDatabase()
    env = {
      S3_BUCKET_NAME: bucket,
      S3_ENDPOINT: `http://${domain}`,
      S3_ADDRESSING: 'virtual',
      HTTP_PROXY: proxy.url,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      DATABASE_URL: database.url,
      AUDIO_STORAGE_PATH: path.join(home, 'audio'),
    }
  }, 60_000)
  afterAll(async () => {
    await enterNetwork(plainNetwork)
    await proxy?.close()
    await stop?.()
    await database?.drop()
  })

  test('every request goes to the host of the bucket, and all is as it should be', async () => {
    await writeFile(path.join(home, 'audio', 'AC+DC 50% #1?.flac'), fakeAudio(70_000, 1))
    await writeFile(path.join(home, 'audio', 'large \u{1f3a7}.flac'), fakeAudio(17 * 1024 * 1024, 2))
    for (const command of [
      ['migrate'],
      ['import'],
      ['doctor'],
      ['upload-local'],
      ['reconcile', '--deep'],
      ['cleanup', '--apply', '--older-than', '0s'],
      ['restore'],
    ]) {
      const { exitCode, stderr, stdout } = await cli(command, { env })
      expect([command, exitCode, exitCode === 0 ? '' : stdout + stderr]).toEqual([command, 0, ''])
    }
    const objects = proxy.asked.filter(line => line.includes('/audio/') || line.includes('list-type'))
    expect(objects.length).toBeGreaterThan(10)
    expect(objects.filter(line => !line.includes(`http://${bucket}.${domain}/`))).toEqual([])
  }, 180_000)

  test('by path the same server serves the same objects', async () => {
    const { exitCode, stdout } = await cli(['reconcile'], { env: { ...env, S3_ADDRESSING: 'path' } })
    expect([exitCode, stdout]).toEqual([4, expect.stringContaining('orphan-object')])
  })
})
