/**
 * The whole journey on S3 servers that others wrote: every step is right, or refused plainly (an error with a cause, a
 * cure and an exit code) with nothing lost. `npm run test:stores` writes what it saw into docs/stores.md.
 */
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CreateBucketCommand,
  PutBucketVersioningCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, describe, expect, test } from 'vitest'
import { createS3Store } from '../../src/storage/s3.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import { type Cdn, startCdn } from '../support/cdn/cdn.ts'
import { cli } from '../support/cli.ts'
import { start } from '../support/process.ts'
import { type Store, stores } from '../support/stores.ts'
import { sha256 } from '../support/sums.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const assets = new URL('../../assets/demo/', import.meta.url)
const names = ['Björk/Jóga + 100%.mp3', "AC_DC/it's #1 [live] (x).flac", 'Мумий Тролль/東京 🎧.wav']
const MiB = 1024 * 1024
/** What installs within minutes, without versions: for CI. */
const quick = process.env['TEST_STORES'] === 'quick'

/** A sound that can be decoded, of that many bytes. */
function wave(bytes: number, seed: number): Buffer {
  const file = Buffer.alloc(bytes)
  for (let at = 44; at + 4 <= bytes; at += 4) {
    const value = Math.round(8_000 * Math.sin((at / 4) * (0.05 + seed / 100)))
    file.writeInt16LE(value, at)
    file.writeInt16LE(value, at + 2)
  }
  file.write('RIFF')
  file.writeUInt32LE(bytes - 8, 4)
  file.write('WAVEfmt ', 8)
  for (const [value, size, at] of [
    [16, 4, 16],
    [1, 2, 20],
    [2, 2, 22],
    [44_100, 4, 24],
    [176_400, 4, 28],
    [4, 2, 32],
    [16, 2, 34],
  ] as const) {
    file.writeUIntLE(value, at, size)
  }
  file.write('data', 36)
  file.writeUInt32LE(bytes - 44, 40)
  return file
}

type Outcome = 'right' | 'refused plainly' | 'not reached'
const seen: { store: string; step: string; outcome: Outcome; note: string }[] = []
const lacks = new Map<string, Set<string>>()

class Journey {
  readonly name: string
  readonly dir: string
  readonly env: Record<string, string>
  readonly store: ObjectStore
  readonly admin: S3Client
  /** SHA-256 of everything that was ever in the library */
  readonly library = new Set<string>()

  constructor(name: string, dir: string, env: Record<string, string>, store: ObjectStore, admin: S3Client) {
    this.name = name
    this.dir = dir
    this.env = env
    this.store = store
    this.admin = admin
  }

  run = async (...argv: string[]) => {
    const result = await cli(argv, { cwd: this.dir, env: this.env })
    const told = lacks.get(this.name) ?? new Set()
    lacks.set(this.name, told)
    for (const [, line] of result.stderr.matchAll(/warning:? (this store [^\n:]+)/g)) told.add(line as string)
    return result
  }

  /** @param work throws what is wrong; @returns whether the next step can rest on it */
  async step(step: string, work: () => Promise<void>): Promise<boolean> {
    let last: Awaited<ReturnType<typeof cli>> | undefined
    const run = this.run
    this.run = async (...argv) => {
      last = await run(...argv)
      return last
    }
    try {
      await work()
      seen.push({ store: this.name, step, outcome: 'right', note: '' })
      return true
    } catch (wrong) {
      // An error, and what to do about it; never a bug of ours, and never success with something wrong.
      // doctor's checks and items that failed are data, on stdout.
      const [, note] =
        /(?:error|failed|failure)\b:? ([^\n]+)/.exec(last?.stderr ?? '') ??
        /^(?:failure|failed) +([^\n]+)/m.exec(last?.stdout ?? '') ??
        []
      const plain = last !== undefined && last.exitCode !== 0 && !last.stderr.includes('bug in autodj')
      if (!plain) throw wrong
      seen.push({
        store: this.name,
        step,
        outcome: 'refused plainly',
        note: note ?? last?.stderr.split('\n')[0] ?? '',
      })
      return false
    } finally {
      this.run = run
    }
  }

  async objects(prefix = 'audio/'): Promise<Map<string, string>> {
    const found = new Map<string, string>()
    // By the SDK alone: the store of autodj refuses listings that are out of order.
    const pages = paginateListObjectsV2({ client: this.admin }, { Bucket: this.store.bucket, Prefix: prefix })
    for await (const { Contents = [] } of pages) {
      for (const { Key = '' } of Contents) {
        const content = await this.store.get(Key)
        if (content) found.set(Key, sha256(Buffer.concat(await Array.fromAsync(content.body))))
      }
    }
    return found
  }

  async files(): Promise<string[]> {
    const found = await readdir(path.join(this.dir, 'audio'), { recursive: true, withFileTypes: true })
    const hashes: string[] = []
    for (const entry of found) {
      if (entry.isFile()) hashes.push(sha256(await readFile(path.join(entry.parentPath, entry.name))))
    }
    return hashes
  }
}

async function open(name: string, { endpoint, credentials }: Store, versions: boolean) {
  const bucket = `autodj-${Math.random().toString(36).slice(2, 10)}`
  const admin = new S3Client({ endpoint, region: 'us-east-1', credentials, forcePathStyle: true })
  await admin.send(new CreateBucketCommand({ Bucket: bucket }))
  if (versions) {
    const VersioningConfiguration = { Status: 'Enabled' } as const
    await admin.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }))
  }
  const dir = temporaryFolder('journey')
  const cdn: Cdn = await startCdn({ origin: { url: endpoint, region: 'us-east-1', bucket, credentials } })
  const env = {
    S3_BUCKET_NAME: bucket,
    S3_ENDPOINT: endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    CLOUDFRONT_DOMAIN: cdn.url,
    DATABASE_URL: `pglite:${path.join(dir, 'db')}`,
    AUDIO_STORAGE_PATH: path.join(dir, 'audio'),
    FETCH_COMMAND: `cp ${path.join(dir, 'fetched.wav')} {output}`,
  }
  const store = createS3Store({ bucket, endpoint, credentials: { ...credentials } })
  const journey = new Journey(name, dir, env, store, admin)
  const [mp3, flac] = ['01-first-light.mp3', '02-harbour-lamps.flac'].map(one => new URL(one, assets))
  for (const file of names) await mkdir(path.join(dir, 'audio', path.dirname(file)), { recursive: true })
  await copyFile(mp3!, path.join(dir, 'audio', names[0]!))
  await copyFile(flac!, path.join(dir, 'audio', names[1]!))
  await writeFile(path.join(dir, 'audio', names[2]!), wave(17 * MiB, 1))
  await writeFile(path.join(dir, 'fetched.wav'), wave(9 * MiB, 3))
  for (const hash of await journey.files()) journey.library.add(hash)
  return {
    journey,
    async close() {
      store.close()
      admin.destroy()
      await cdn.close()
    },
  }
}

async function travel(journey: Journey): Promise<void> {
  const { dir, store, library } = journey
  const ok = async (...argv: string[]) => {
    const result = await journey.run(...argv)
    expect([argv.join(' '), result.exitCode, result.stderr]).toEqual([argv.join(' '), 0, expect.any(String)])
    return result
  }
  const inStore = async () => new Set((await journey.objects()).values())

  await journey.step('migrate, import', async () => {
    await ok('migrate')
    await ok('import')
  })
  await journey.step('doctor', async () => {
    await ok('doctor')
    expect([...(await journey.objects('')).keys()].filter(key => key.includes('.autodj-doctor'))).toEqual([])
  })
  await journey.step('upload, small and in parts', async () => {
    await ok('upload-local')
    expect(await inStore()).toEqual(library)
  })
  await journey.step('kill and resume', async () => {
    await writeFile(path.join(dir, 'audio', 'killed.wav'), wave(33 * MiB, 2))
    for (const hash of await journey.files()) library.add(hash)
    await ok('import')
    // At this rate it takes half a minute: long enough to be met in the middle of it, on any machine.
    const { child, finished } = start(['upload-local', '--bwlimit', '1M'], journey.env)
    for (let tries = 0; tries < 50; tries++) {
      const uploads = await Array.fromAsync(store.listUploads()).catch(() => [])
      if (uploads.flat().length > 0) break
      await sleep(200)
    }
    child.kill('SIGKILL')
    // Not done, and not refused: it was in the middle of it.
    expect((await finished).signal).toBe('SIGKILL')
    await ok('upload-local')
    expect(await inStore()).toEqual(library)
    expect((await Array.fromAsync(store.listUploads())).flat()).toEqual([])
  })
  await journey.step('reconcile', async () => void (await ok('reconcile')))
  const [lost] = [...(await journey.objects()).keys()]
  await journey.step('planted differences: plan, apply, undo', async () => {
    await journey.run('reconcile')
    const kept = Buffer.concat(await Array.fromAsync((await store.get(lost!))!.body))
    const { metadata, contentType } = (await store.head(lost!))!
    const moved = `audio/moved by hand/${path.posix.basename(lost!)}`
    await store.put(moved, kept, { headers: { contentType: contentType!, metadata }, checksums: {} })
    await store.delete([{ key: lost! }])
    const planned = await journey.run('reconcile', '--plan', 'plan.json', '--min-age', '0s', '--force')
    expect(planned.exitCode).toBe(4)
    await ok('apply', 'plan.json', '--force')
    expect(await inStore()).toEqual(library)
    await ok('undo', 'plan.json')
    expect(await inStore()).toEqual(library)
    // As it was before somebody moved it.
    await store.put(lost!, kept, { headers: { contentType: contentType!, metadata }, checksums: {} })
    await store.delete([{ key: moved }])
  })
  await journey.step('verify', async () => void (await ok('verify', '--full')))
  await journey.step('analyze', async () => void (await ok('analyze', '--limit', '1')))
  await journey.step('cleanup, local copies', async () => {
    const before = await inStore()
    await ok('cleanup', '--apply', '--older-than', '0s')
    expect(await inStore()).toEqual(before)
    // What a step before was refused to upload still has its file.
    expect(new Set([...before, ...(await journey.files())])).toEqual(library)
  })
  await journey.step('restore', async () => {
    await ok('restore')
    expect(new Set(await journey.files())).toEqual(library)
  })
  await journey.step('fetch, a stream', async () => {
    await ok('upload-local')
    library.add(sha256(await readFile(path.join(dir, 'fetched.wav'))))
    await ok('import')
    await ok('fetch')
    expect((await Array.fromAsync(store.listUploads())).flat()).toEqual([])
  })
  // Whatever was refused: nothing that ever was in the library is gone.
  const everywhere = new Set([...(await journey.files()), ...(await inStore())])
  for (const hash of library)
    if (hash !== sha256(await readFile(path.join(dir, 'fetched.wav')))) expect(everywhere).toContain(hash)
}

for (const { name, versions, quickly = false, start: startStore } of stores) {
  describe(name, () => {
    if (startStore === undefined || (quick && !quickly)) {
      test.skip(`SKIPPED: ${name} is not installed (scripts/stores.sh), or not asked for`, () => undefined)
      return
    }
    for (const versioned of versions && !quick ? [false, true] : [false]) {
      test(versioned ? 'versions kept' : 'no versions', async () => {
        const store = await startStore()
        const { journey, close } = await open(`${name}${versioned ? ', versions' : ''}`, store, versioned)
        try {
          await travel(journey)
        } finally {
          await close()
          await store.close()
        }
      })
    }
  })
}

afterAll(async () => {
  if (process.env['STORES_WRITE'] === undefined || seen.length === 0) return
  const columns = [...new Set(seen.map(({ store }) => store))]
  const steps = [...new Set(seen.map(({ step }) => step))]
  const cell = (store: string, step: string) =>
    seen.find(one => one.store === store && one.step === step)?.outcome ?? 'not reached'
  const versions = stores.filter(one => columns.some(column => column.startsWith(one.name)))
  const notes = seen.filter(({ outcome }) => outcome !== 'right')
  const text = [
    '# Stores',
    '',
    'Made by `npm run test:stores`: the whole journey on S3 servers that others wrote. *right*: done, and every byte',
    'compared; *refused plainly*: an error with its cause and cure, nothing lost and nothing claimed.',
    '',
    `| step | ${columns.join(' | ')} |`,
    `| --- | ${columns.map(() => '---').join(' | ')} |`,
    ...steps.map(step => `| ${step} | ${columns.map(store => cell(store, step)).join(' | ')} |`),
    '',
    `Versions: ${versions.map(one => `${one.name} ${one.version()}`).join(', ')}.`,
    '',
    ...(notes.length === 0 ? [] : ['## Refused', '']),
    ...notes.map(
      ({ store, step, note }) =>
        `- ${store}, ${step}: ${note.replaceAll(/autodj-[a-z0-9]{6,}|http:\/\/127\S+/g, '…')}`,
    ),
    '',
    '## What they lack, found out and said by autodj',
    '',
    ...columns.map(store => `- ${store}: ${[...(lacks.get(store) ?? [])].join('; ') || 'nothing'}`),
    '',
  ].join('\n')
  // STORES_WRITE=1 writes the table; a path leads it elsewhere, for a run of some of them (-t).
  const place = process.env['STORES_WRITE'] === '1' ? '../../docs/stores.md' : process.env['STORES_WRITE']
  await writeFile(new URL(place, import.meta.url), text)
})
