/** What `upload-local` promises, on any database and any S3 server. Faults that must be planted are in the unit test. */

import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, linkSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { commands } from '../../src/commands.ts'
import { parseBandwidth } from '../../src/core/bandwidth.ts'
import {
  acquireRemovalLease,
  objectsByKey,
  recentRuns,
  recordItems,
  recordUpload,
  startRun,
} from '../../src/db/ledger.ts'
import type { ErrorCode } from '../../src/error-codes.ts'
import { ExitCode } from '../../src/errors.ts'
import { Throttle } from '../../src/throttle.ts'
import type { UploadFlags } from '../../src/upload/flags.ts'
import { planUpload, readUploadRequest, runUpload } from '../../src/upload/run.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { withTrigger } from '../support/database.ts'
import { itemPage } from '../support/ledger.ts'
import { portOf } from '../support/listening.ts'
import { sha256 } from '../support/sums.ts'

const MiB = 1024 ** 2

export const uploadDefaults: UploadFlags = {
  dryRun: false,
  maxDuration: undefined,
  enqueue: false,
  job: undefined,
  concurrency: undefined,
  limit: undefined,
  filesFrom: undefined,
  retryFailed: false,
  force: false,
  deleteLocal: false,
  maxOutage: 60_000,
  lockWait: 15_000,
  bwlimit: undefined,
  memory: 192 * MiB,
  multipartThreshold: 16 * MiB,
  partSize: 5 * MiB,
  storageClass: undefined,
  sse: undefined,
  kmsKeyId: undefined,
  tag: [],
  acl: undefined,
}

export function upload(
  bed: TestBed,
  flags: Partial<UploadFlags> = {},
  options: Parameters<TestBed['run']>[2] = {},
): Promise<BedRun> {
  return bed.run(
    'upload-local',
    async context => runUpload(context, await readUploadRequest(context, { ...uploadDefaults, ...flags })),
    options,
  )
}

/** A run that is told to stop at the sending of a part. */
function interrupted(bed: TestBed, atPart: number): Promise<BedRun> {
  const stopping = new AbortController()
  const { uploadPart } = bed.store
  let parts = 0
  return bed.run(
    'upload-local',
    async context => {
      const store = {
        ...bed.store,
        uploadPart: async (...args: Parameters<typeof uploadPart>) => {
          if (++parts === atPart) stopping.abort('sigint')
          return uploadPart(...args)
        },
      }
      const request = await readUploadRequest(context, { ...uploadDefaults, concurrency: 2 })
      return runUpload({ ...context, store: async () => store }, request)
    },
    { stopping },
  )
}

export function uploadContract(name: string, openBed: () => Promise<TestBed>): void {
  describe(`upload-local on ${name}`, () => {
    let bed: TestBed
    beforeAll(async () => {
      bed = await openBed()
    })
    afterAll(() => bed.close())
    beforeEach(() => bed.reset())

    test('every file becomes an object with its bytes, its row says so, and a second run does nothing', async () => {
      const ids = await bed.addTracks(12, 40_000)
      const first = await upload(bed)
      expect(first.exitCode).toBe(ExitCode.ok)
      expect(first.summary).toMatchObject({ uploaded: 12, failed: 0, bytes_sent: 12 * 40_000 })
      const tracks = await bed.tracks()
      for (const id of ids) {
        const row = tracks.get(id)
        expect(row).toMatchObject({ file_source: 'S3', file_size: 40_000, file_path: expect.any(String) })
        const file = readFileSync(path.join(bed.audioRoot, row?.file_path as string))
        expect((await bed.content(row?.s3_object_key as string))?.equals(file)).toBe(true)
      }
      expect((await bed.objects()).size).toBe(12)

      const second = await upload(bed)
      expect(second.exitCode).toBe(ExitCode.ok)
      expect(second.summary).toMatchObject({ uploaded: 0, adopted: 0, bytes_sent: 0 })
      expect(second.items).toEqual([])
    })

    test('key, headers, metadata and ledger are what the contract says', async () => {
      const content = fakeAudio(5_000, 1)
      const id = await bed.addTrack({
        path: 'x.flac',
        content,
        artist: 'AC/DC',
        title: 'T.N.T. (Live)',
        source: 'YOUTUBE',
      })
      await upload(bed)
      const key = `audio/AC_DC/T.N.T._Live_${sha256(content).slice(0, 8)}.flac`
      expect(await bed.store.head(key)).toMatchObject({
        size: 5_000,
        contentType: 'audio/flac',
        cacheControl: 'public, max-age=31536000, immutable',
        metadata: { sha256: sha256(content), 'track-id': id },
      })
      const ledger = (await objectsByKey(bed.database.knex, bed.access.bucket, [key])).get(key)
      expect(ledger).toMatchObject({
        size: 5_000,
        sha256: sha256(content),
        contentType: 'audio/flac',
        uploadedAt: expect.any(Date),
        verifiedAt: expect.any(Date),
      })
      const [run] = await recentRuns(bed.database.knex, { limit: 1 })
      expect(run).toMatchObject({
        command: 'upload-local',
        state: 'done',
        exitCode: 0,
        summary: { uploaded: 1 },
      })
    })

    test('an earlier failure to fetch what has arrived since is forgotten', async () => {
      const id = await bed.addTrack({ path: 'x.mp3', content: fakeAudio(500, 1) })
      const { knex } = bed.database
      const runId = await bed.startRun('fetch')
      const item = {
        subject: id,
        trackId: id,
        errorCode: 'fetch.nowhere',
        error: 'x',
        cure: null,
        runId,
      } as const
      await recordItems(knex, [{ ...item, command: 'fetch', state: 'failed' }])
      expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
      expect(await itemPage(knex, { command: 'fetch', limit: 9 })).toEqual([])
    })

    test("a large file goes in parts, and its whole checksum is the server's", async () => {
      const content = fakeAudio(18 * MiB + 12_345, 2)
      const id = await bed.addTrack({ path: 'set.mp3', content })
      const run = await upload(bed)
      expect(run.summary).toMatchObject({ uploaded: 1, bytes_sent: content.length })
      const key = (await bed.tracks()).get(id)?.s3_object_key as string
      expect((await bed.content(key))?.equals(content)).toBe(true)
      expect((await bed.store.head(key))?.etag).toMatch(/-4$/)
      expect(await bed.openUploads()).toEqual([])
    })

    test('two rows with one file, and two files with one content and name: one object each', async () => {
      const content = fakeAudio(9_000, 3)
      const first = await bed.addTrack({ path: 'one.mp3', content, artist: 'A', title: 'T' })
      const second = await bed.addTrack({ path: 'one.mp3', artist: 'A', title: 'T' })
      const third = await bed.addTrack({ path: 'copy.mp3', content, artist: 'A', title: 'T' })
      linkSync(path.join(bed.audioRoot, 'one.mp3'), path.join(bed.audioRoot, 'link.mp3'))
      const fourth = await bed.addTrack({ path: 'link.mp3', artist: 'A', title: 'T' })
      const run = await upload(bed)
      expect(run.exitCode).toBe(ExitCode.ok)
      const tracks = await bed.tracks()
      const keys = [first, second, third, fourth].map(id => tracks.get(id)?.s3_object_key)
      expect(new Set(keys).size).toBe(1)
      expect((await bed.objects()).size).toBe(1)
      expect(run.summary['bytes_sent']).toBe(9_000)
    })

    test('names that differ by case, or by Unicode form of different content, stay apart', async () => {
      const ids = [
        await bed.addTrack({ path: 'a.mp3', content: fakeAudio(100, 1), artist: 'ABBA', title: 'SOS' }),
        await bed.addTrack({ path: 'b.mp3', content: fakeAudio(100, 1), artist: 'Abba', title: 'Sos' }),
        await bed.addTrack({
          path: 'c.mp3',
          content: fakeAudio(100, 2),
          artist: 'Björk'.normalize('NFC'),
          title: 'x',
        }),
        await bed.addTrack({
          path: 'd.mp3',
          content: fakeAudio(100, 3),
          artist: 'Björk'.normalize('NFD'),
          title: 'x',
        }),
      ]
      expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
      const tracks = await bed.tracks()
      expect(new Set(ids.map(id => tracks.get(id)?.s3_object_key)).size).toBe(4)
      expect((await bed.objects()).size).toBe(4)
    })

    test('hostile names: found, encoded, and stored as they are', async () => {
      const names = [
        'a + b # c % d ? e.mp3',
        'emoji 🎧.mp3',
        'Déjà'.normalize('NFD'),
        '日本語/あ.mp3',
        'line\nbreak.mp3',
        '..mp3',
        ' .mp3',
      ]
      for (const [index, name] of names.entries()) {
        await bed.addTrack({ path: name, content: fakeAudio(200, index), artist: name, title: `t${index}` })
      }
      // The row has the composed form, the disk the other one.
      await bed.addTrack({ path: 'Söng.mp3'.normalize('NFC'), artist: 'x', title: 'nfc' })
      writeFileSync(path.join(bed.audioRoot, 'Söng.mp3'.normalize('NFD')), fakeAudio(200, 99))
      const run = await upload(bed)
      expect(run.items.filter(item => item['state'] !== 'uploaded')).toEqual([])
      expect(run.summary).toMatchObject({ uploaded: names.length + 1 })
      for (const row of (await bed.tracks()).values()) {
        expect(await bed.store.head(row.s3_object_key as string), row.s3_object_key as string).toBeDefined()
      }
    })

    test('what cannot be uploaded is skipped or refused with its reason, the rest is done, and the exit code says so', async () => {
      const good = await bed.addTrack({ path: 'good.mp3', content: fakeAudio(500, 1) })
      const expected: Record<string, string> = {
        [await bed.addTrack({ path: 'empty.mp3', content: '' })]: 'file.empty',
        [await bed.addTrack({ path: 'gone.mp3' })]: 'file.missing',
        [await bed.addTrack({ path: 'folder/in.mp3', content: 'x', source: 'UNAVAILABLE' })]: 'none',
        [await bed.addTrack({ path: 'folder' })]: 'file.not-a-file',
        [await bed.addTrack({ path: 'pipe.mp3' })]: 'file.not-a-file',
        [await bed.addTrack({ path: '../outside.mp3' })]: 'file.refused',
        [await bed.addTrack({ path: '/etc/hostname' })]: 'file.refused',
        [await bed.addTrack({ path: 'escape.mp3' })]: 'file.refused',
        [await bed.addTrack({ path: 'loop.mp3' })]: 'file.loop',
      }
      writeFileSync(path.join(bed.dir, 'outside.mp3'), fakeAudio(10, 1))
      symlinkSync(path.join(bed.dir, 'outside.mp3'), path.join(bed.audioRoot, 'escape.mp3'))
      symlinkSync('loop.mp3', path.join(bed.audioRoot, 'loop.mp3'))
      execFileSync('mkfifo', [path.join(bed.audioRoot, 'pipe.mp3')])
      const run = await upload(bed)
      expect(run.exitCode).toBe(ExitCode.someFailed)
      expect(run.summary).toMatchObject({ uploaded: 1, skipped: 5, failed: 3 })
      const codes = Object.fromEntries(run.items.map(item => [item['track_id'], item['code'] ?? 'ok']))
      for (const [id, code] of Object.entries(expected)) expect(codes[id] ?? 'none').toBe(code)
      for (const item of run.items)
        if (item['track_id'] !== good)
          expect(item).toMatchObject({ reason: expect.any(String), cure: expect.any(String) })
      const recorded = await itemPage(bed.database.knex, { command: 'upload-local', limit: 100 })
      expect(recorded.map(item => item.errorCode).sort()).toEqual(
        Object.values(expected)
          .filter(code => code !== 'none')
          .sort(),
      )

      // --retry-failed takes those alone, and success clears them.
      await bed.addTrack({ path: 'new.mp3', content: fakeAudio(500, 2) })
      writeFileSync(path.join(bed.audioRoot, 'empty.mp3'), fakeAudio(500, 3))
      writeFileSync(path.join(bed.audioRoot, 'gone.mp3'), fakeAudio(500, 4))
      const again = await upload(bed, { retryFailed: true })
      expect(again.summary).toMatchObject({ uploaded: 2, skipped: 3, failed: 3 })
      expect(await itemPage(bed.database.knex, { command: 'upload-local', limit: 100 })).toHaveLength(6)
    })

    test('the same bytes at the key are adopted, other bytes are never overwritten', async () => {
      const content = fakeAudio(3_000, 5)
      await bed.addTrack({ path: 'same.mp3', content, artist: 'A', title: 'Same' })
      await bed.addTrack({ path: 'other.mp3', content, artist: 'A', title: 'Other' })
      const key = (title: string) => `audio/A/${title}_${sha256(content).slice(0, 8)}.flac`
      const { put } = bed.store
      const headers = { contentType: 'audio/mpeg' }
      await put(key('Same'), content, { headers, checksums: {} })
      await put(key('Other'), fakeAudio(3_000, 6), { headers, checksums: {} })
      const run = await upload(bed)
      expect(run.exitCode).toBe(ExitCode.someFailed)
      expect(run.summary).toMatchObject({ uploaded: 0, adopted: 1, failed: 1, bytes_sent: 0 })
      expect(run.items.find(item => item['state'] === 'failed')).toMatchObject({ code: 'upload.conflict' })
      expect((await bed.content(key('Other')))?.equals(fakeAudio(3_000, 6))).toBe(true)
    })

    test('a large file that is there already is asked for first, and nothing of it is sent', async () => {
      const content = fakeAudio(17 * MiB, 4)
      const id = await bed.addTrack({ path: 'large.mp3', content })
      expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
      await bed.database.knex('tracks').where({ id }).update({ file_source: 'LOCAL', s3_object_key: null })
      const refuse = {
        before: () => {
          throw new Error('nothing is to be sent')
        },
      }
      const again = await upload(
        bed,
        {},
        { hooks: { createUpload: refuse, uploadPart: refuse, put: refuse } },
      )
      expect(again).toMatchObject({
        exitCode: ExitCode.ok,
        summary: { adopted: 1, uploaded: 0, bytes_sent: 0 },
      })
    })

    test('what is not recognised keeps the ending of its name, as far as that is one', async () => {
      const names = {
        'a.XyZ': 'xyz',
        'b.mp3': 'mp3',
        noending: 'bin',
        'c.': 'bin',
        'd.ninechars': 'bin',
        'e.eightchr': 'eightchr',
        'f.a-b': 'bin',
        'g.h/noending': 'bin',
        'i.tar.gz': 'gz',
      }
      for (const name of Object.keys(names)) await bed.addTrack({ path: name, content: `text ${name}` })
      expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
      for (const { file_path: file, s3_object_key: key } of (await bed.tracks()).values())
        expect([file, key?.split('.').at(-1)]).toEqual([file, names[file as keyof typeof names]])
    })

    test('a track whose key came from elsewhere keeps it', async () => {
      const id = await bed.addTrack({ path: 'x.mp3', content: fakeAudio(100, 1), key: 'legacy/Some Key.mp3' })
      await upload(bed)
      expect((await bed.tracks()).get(id)).toMatchObject({
        file_source: 'S3',
        s3_object_key: 'legacy/Some Key.mp3',
      })
      expect((await bed.content('legacy/Some Key.mp3'))?.length).toBe(100)
    })

    test('--delete-local: only after the proof, file_path NULL afterwards, a shared file as long as it is needed', async () => {
      const content = fakeAudio(2_000, 7)
      const done = await bed.addTrack({ path: 'done.mp3', content: fakeAudio(2_000, 8) })
      const shared = await bed.addTrack({ path: 'shared.mp3', content, artist: 'A', title: 'T' })
      await bed.addTrack({ path: 'shared.mp3', source: 'UNAVAILABLE' })
      await bed.addTrack({ path: 'bad.mp3', content: '' })
      const run = await upload(bed, { deleteLocal: true })
      expect(run.exitCode).toBe(ExitCode.someFailed)
      expect(run.summary).toMatchObject({ local_deleted: 1, local_kept: 1 })
      const tracks = await bed.tracks()
      expect(tracks.get(done)).toMatchObject({ file_source: 'S3', file_path: null })
      expect(tracks.get(shared)).toMatchObject({ file_source: 'S3', file_path: 'shared.mp3' })
      const left = ['done.mp3', 'shared.mp3', 'bad.mp3'].map(file =>
        existsSync(path.join(bed.audioRoot, file)),
      )
      expect(left).toEqual([false, true, true])
    })

    test('--delete-local: a file that two rows name is one copy', async () => {
      const content = fakeAudio(2_000, 17)
      await bed.addTrack({ path: 'two.mp3', content, title: 'T' })
      await bed.addTrack({ path: './two.mp3', title: 'U' })
      const run = await upload(bed, { deleteLocal: true })
      expect(run.summary).toMatchObject({ local_deleted: 1, local_kept: 0 })
      expect([...(await bed.tracks()).values()].map(row => row.file_path)).toEqual([null, null])
    })

    test('--delete-local with a CDN that does not serve the object keeps the file', async () => {
      await bed.addTrack({ path: 'kept.mp3', content: fakeAudio(2_000, 8) })
      const run = await upload(
        bed,
        { deleteLocal: true },
        { env: { CLOUDFRONT_DOMAIN: 'http://127.0.0.1:9' } },
      )
      expect(run.summary).toMatchObject({ uploaded: 1, local_deleted: 0, local_kept: 1 })
      expect(run.items.find(item => item['state'] === 'kept')).toMatchObject({ code: 'cdn.not-served' })
      expect(existsSync(path.join(bed.audioRoot, 'kept.mp3'))).toBe(true)
    })

    describe('--delete-local with a CDN that has', () => {
      const size = 600_000
      const content = fakeAudio(size, 8)
      /** Serves the content with the byte at `wrong` changed, and fails the first `failures` requests. */
      async function upToCdn(
        { wrong, failures = 0 }: { wrong?: number; failures?: number },
        before?: (id: string) => Promise<unknown>,
      ): Promise<{ run: BedRun; kept: boolean; ranges: string[] }> {
        const served = Buffer.from(content)
        if (wrong !== undefined) served[wrong]! ^= 1
        const ranges: string[] = []
        const cdn = createServer((request, response) => {
          if (failures-- > 0) return void response.writeHead(503).end('slow down')
          const [, from = 0, to = 0] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!
          ranges.push(`${from}-${to}`)
          response
            .writeHead(206, { 'content-range': `bytes ${from}-${to}/${size}` })
            .end(served.subarray(Number(from), Number(to) + 1))
        }).listen(0, '127.0.0.1')
        try {
          await once(cdn, 'listening')
          const port = portOf(cdn)
          const id = await bed.addTrack({ path: 'a.mp3', content })
          await before?.(id)
          const env = { CLOUDFRONT_DOMAIN: `http://127.0.0.1:${port}` }
          const run = await upload(bed, { deleteLocal: true }, { env })
          return { run, kept: existsSync(path.join(bed.audioRoot, 'a.mp3')), ranges }
        } finally {
          cdn.close()
          cdn.closeAllConnections()
        }
      }

      test('the same bytes: first, last and some between were compared, a moment of weakness forgiven', async () => {
        const { kept, ranges } = await upToCdn({ failures: 2 })
        expect(kept).toBe(false)
        expect(ranges).toHaveLength(4)
        expect(ranges).toContain('0-65535')
        expect(ranges).toContain(`${size - 65_536}-${size - 1}`)
      })

      test.each([
        ['another last byte', size - 1],
        ['another first byte', 0],
      ])('%s: the file is kept', async (_, wrong) => {
        const { run, kept } = await upToCdn({ wrong })
        expect(kept).toBe(true)
        expect(run.items.find(item => item['state'] === 'kept')).toMatchObject({ code: 'cdn.not-served' })
      })

      test('other bytes where nobody looks now, but `verify` did: the file is kept until it finds them right', async () => {
        const { knex } = bed.database
        const fail = (code: ErrorCode) => async (trackId: string) => {
          const failed = { trackId, subject: trackId, state: 'failed' as const, error: 'x', cure: null }
          const runId = await bed.startRun('verify')
          await recordItems(knex, [{ ...failed, command: 'verify', errorCode: code, runId }])
        }
        const found = await upToCdn({}, fail('verify.content-differs'))
        expect(found.kept).toBe(true)
        expect(found.run.items.find(item => item['state'] === 'kept')).toMatchObject({
          code: 'cdn.differs',
          reason: expect.stringContaining('autodj verify --retry-failed'),
        })
        await bed.reset()
        // That it was not served for another reason once is answered by its being served now.
        expect((await upToCdn({}, fail('verify.timeout'))).kept).toBe(false)
      })
    })

    test('--delete-local leaves files alone while a restore is at work', async () => {
      await bed.addTrack({ path: 'kept.mp3', content: fakeAudio(2_000, 8) })
      const { knex } = bed.database
      const runId = randomUUID()
      const host = 'another machine'
      await startRun(knex, { id: runId, command: 'restore', args: {}, host, pid: 1, version: '0' })
      await acquireRemovalLease(knex, { runId, host, pid: 1 })
      const run = await upload(bed, { deleteLocal: true })
      expect(run).toMatchObject({ exitCode: ExitCode.ok, summary: { local_deleted: 0, local_kept: 1 } })
      expect(run.items.find(item => item['state'] === 'kept')).toMatchObject({
        code: 'removal.locked',
        reason: expect.stringMatching(/^`restore` is at work/),
      })
      expect(existsSync(path.join(bed.audioRoot, 'kept.mp3'))).toBe(true)
      expect([...(await bed.tracks()).values()]).toMatchObject([{ file_source: 'S3', file_path: 'kept.mp3' }])
    })

    test('--delete-local: a row that changed while the CDN was asked keeps its file', async () => {
      const content = fakeAudio(2_000, 8)
      const id = await bed.addTrack({ path: 'kept.mp3', content })
      const cdn = createServer((request, response) => {
        const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') as unknown as string[]
        bed.database
          .knex('tracks')
          .update({ file_source: 'UNAVAILABLE' })
          .then(() => {
            const range = `bytes ${start}-${end}/${content.length}`
            response.writeHead(206, { 'content-range': range })
            response.end(content.subarray(Number(start), Number(end) + 1))
          })
      }).listen(0, '127.0.0.1')
      try {
        await once(cdn, 'listening')
        const port = portOf(cdn)
        const env = { CLOUDFRONT_DOMAIN: `http://127.0.0.1:${port}` }
        const run = await upload(bed, { deleteLocal: true }, { env })
        expect(run.items.find(item => item['state'] === 'kept')).toMatchObject({ code: 'row.changed' })
        expect((await bed.tracks()).get(id)).toMatchObject({
          file_source: 'UNAVAILABLE',
          file_path: 'kept.mp3',
        })
        expect(existsSync(path.join(bed.audioRoot, 'kept.mp3'))).toBe(true)
      } finally {
        cdn.close()
        cdn.closeAllConnections()
      }
    })

    test('reconcile --disk: an audio folder that is not there is told, though no row lives on a file any more', async () => {
      await bed.addTrack({ path: 'x.mp3', content: fakeAudio(2_000, 8) })
      await upload(bed)
      const reconcile = commands.find(({ name }) => name === 'reconcile')!
      const flags = Object.fromEntries(
        Object.entries(reconcile.flags).map(([key, one]) => [key, one.defaultValue]),
      )
      const look = (env = {}) =>
        bed.run('reconcile', context => reconcile.run(context, { ...flags, disk: true }, []), { env })
      expect(await look()).toMatchObject({ exitCode: ExitCode.ok, error: undefined })
      expect(await look({ AUDIO_STORAGE_PATH: '/not/mounted' })).toMatchObject({
        exitCode: ExitCode.fatal,
        error: { code: 'config.audio-root', message: expect.stringContaining('/not/mounted') },
      })
    })

    test('--limit, --files-from and a dry run', async () => {
      await bed.addTracks(5, 300)
      const plan = await bed.run('upload-local', async context => {
        await planUpload(context, await readUploadRequest(context, uploadDefaults))
        return ExitCode.ok
      })
      expect(plan.summary).toMatchObject({ dry_run: true, files: 5, bytes: 1_500, requests: 5 })
      expect((await bed.objects()).size).toBe(0)
      expect((await upload(bed, { limit: 2 })).summary).toMatchObject({ uploaded: 2 })
      const list = path.join(bed.dir, 'list.txt')
      const rest = [...(await bed.tracks()).values()].filter(row => row.file_source === 'LOCAL')
      writeFileSync(list, `# by path, and by id\n${rest[0]?.file_path}\r\n${rest[1]?.id}\nnot/there.mp3\n`)
      const listed = await upload(bed, { filesFrom: list })
      expect(listed.summary).toMatchObject({ uploaded: 2 })
      expect(listed.messages).toContainEqual(
        expect.objectContaining({
          message: expect.stringMatching(/1 line of 3 is not .*"not\/there\.mp3"$/),
        }),
      )
      expect((await bed.objects()).size).toBe(4)
    })

    test('that nothing is left to upload is said of what was looked at, and of no more', async () => {
      const said = async (flags: Partial<UploadFlags>, options = {}) =>
        (await upload(bed, flags, options)).summary['message']
      expect(await said({})).toMatch(/the table of tracks has no rows/)
      await bed.addTracks(1, 300)
      const stopping = new AbortController()
      stopping.abort('time-budget')
      const list = path.join(bed.dir, 'none.txt')
      writeFileSync(list, 'not/there.mp3\n')
      expect(await said({}, { stopping })).toMatch(/^Stopped before/)
      expect(await said({ retryFailed: true })).toMatch(/no earlier failures are left/)
      expect(await said({ filesFrom: list })).toMatch(/no track on the list/)
      expect(await said({})).toMatch(/^1 track uploaded/)
      expect(await said({})).toMatch(/every track with a local file is in S3/)
    })

    test('a row that changes or goes while its file is on its way is left alone', async () => {
      const changed = await bed.addTrack({ path: 'changed.mp3', content: fakeAudio(400, 1) })
      const gone = await bed.addTrack({ path: 'gone.mp3', content: fakeAudio(400, 2) })
      const { knex } = bed.database
      const put = bed.store.put.bind(bed.store)
      const run = await bed.run('upload-local', async context => {
        const store = {
          ...bed.store,
          put: async (...args: Parameters<typeof put>) => {
            const result = await put(...args)
            await knex('tracks').where({ id: changed }).update({ file_path: 'elsewhere.mp3' })
            await knex('tracks').where({ id: gone }).del()
            return result
          },
        }
        const request = await readUploadRequest(context, uploadDefaults)
        return runUpload({ ...context, store: async () => store }, request)
      })
      expect(run.exitCode).toBe(ExitCode.someFailed)
      const failed = run.items.filter(item => item['state'] === 'failed')
      expect(failed.map(item => item['code']).sort()).toEqual(['row.changed', 'row.deleted'])
      for (const { cure } of failed) expect(cure).toMatch(/The object audio\/.+ is kept; /)
      expect((await bed.tracks()).get(changed)).toMatchObject({
        file_source: 'LOCAL',
        file_path: 'elsewhere.mp3',
      })
      expect((await bed.objects()).size).toBe(2)
    })

    test('a row that a trigger sets back each time it is done: the run ends, names it, and keeps its file', async () => {
      const back = await bed.addTrack({ path: 'back.mp3', content: fakeAudio(400, 1) })
      const done = await bed.addTrack({ path: 'done.mp3', content: fakeAudio(400, 2) })
      const { knex } = bed.database
      const trigger = { body: "new.file_source := 'LOCAL'; return new;", when: `old.id = '${back}'` }
      await withTrigger(bed.database, trigger, async () => {
        const run = await upload(bed, { deleteLocal: true })
        expect(run.exitCode).toBe(ExitCode.someFailed)
        expect(run.items.filter(item => item['state'] === 'failed')).toMatchObject([
          { track_id: back, code: 'row.set-back', cure: expect.stringContaining('a trigger') },
        ])
        expect(run.summary).toMatchObject({ uploaded: 1, rows_changed: 1, local_deleted: 1 })
        expect(await itemPage(knex, { command: 'upload-local', limit: 9 })).toMatchObject([
          { trackId: back, errorCode: 'row.set-back' },
        ])
        expect(existsSync(path.join(bed.audioRoot, 'back.mp3'))).toBe(true)
        expect((await bed.tracks()).get(done)).toMatchObject({ file_source: 'S3', file_path: null })
      })
      const after = await upload(bed, { retryFailed: true })
      expect(after.exitCode).toBe(ExitCode.ok)
      expect((await bed.tracks()).get(back)?.file_source).toBe('S3')
    })

    test('what an interrupted run has half sent is taken up at the missing parts, whatever the part size is now', async () => {
      const content = fakeAudio(33 * MiB, 9)
      const id = await bed.addTrack({ path: 'long.mp3', content })
      const first = await interrupted(bed, 3)
      expect(first.exitCode).toBe(ExitCode.sigint)
      expect(first.summary).toMatchObject({ interrupted: 1, uploaded: 0 })
      expect(await bed.openUploads()).toHaveLength(1)

      const second = await upload(bed, { partSize: 8 * MiB })
      expect(second.exitCode).toBe(ExitCode.ok)
      const sent = second.summary['bytes_sent'] as number
      expect(sent).toBeLessThanOrEqual(content.length - 3 * 5 * MiB)
      const key = (await bed.tracks()).get(id)?.s3_object_key as string
      expect((await bed.content(key))?.equals(content)).toBe(true)
      expect(await bed.openUploads()).toEqual([])
    })

    test('what another run sends in parts right now is left to it; what a dead one left is aborted', async () => {
      const { knex } = bed.database
      const half = async (state: 'running' | 'abandoned') => {
        const runId = randomUUID()
        const run = { command: 'upload-local', args: {}, host: 'another machine', pid: 1, version: '0' }
        await startRun(knex, { id: runId, ...run })
        if (state === 'abandoned') await knex('autodj_ledger.runs').where({ id: runId }).update({ state })
        const key = `audio/${state}.mp3`
        const uploadId = await bed.store.createUpload(key, { headers: { contentType: 'audio/mpeg' } })
        const file = { path: `${state}.mp3`, inode: 1n, mtimeNs: 1n, size: 1, sha256: null, headers: null }
        await recordUpload(knex, {
          bucket: bed.store.bucket,
          key,
          uploadId,
          partSize: 5 * MiB,
          runId,
          ...file,
        })
        return key
      }
      const live = await half('running')
      await half('abandoned')
      await bed.addTrack({ path: 'a.mp3', content: fakeAudio(100, 1) })
      expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
      expect(await bed.openUploads()).toEqual([live])
    })

    test('--bwlimit reaches the transfers: files still wait when an unlimited run is done', async () => {
      for (const seed of [1, 2, 3])
        await bed.addTrack({ path: `slow ${seed}.mp3`, content: fakeAudio(400_000, seed) })
      const forcing = new AbortController()
      const throttle = new Throttle(parseBandwidth('1K'))
      const limited = upload(bed, {}, { forcing, throttle }).then(
        () => 'limited',
        () => 'limited',
      )
      await expect.poll(() => bed.database.knex('autodj_ledger.claims'), { timeout: 240_000 }).toHaveLength(3)
      await bed.addTrack({ path: 'fast.mp3', content: fakeAudio(400_000, 4) })
      const unlimited = upload(bed).then(() => 'unlimited')
      expect(await Promise.race([limited, unlimited])).toBe('unlimited')
      forcing.abort(new Error('enough'))
      await limited
      expect((await bed.objects()).size).toBe(1)
    })

    test('what was begun with another storage class is sent anew with the one asked for now, and that is said', async () => {
      const content = fakeAudio(21 * MiB, 12)
      await bed.addTrack({ path: 'long.mp3', content })
      await interrupted(bed, 2)
      const [begun] = await bed.openUploads()
      expect(begun).toBeDefined()
      const second = await upload(bed, { storageClass: 'STANDARD_IA' })
      expect(second.exitCode).toBe(ExitCode.ok)
      expect(second.summary).toMatchObject({ uploaded: 1, bytes_sent: content.length })
      expect(second.messages.map(one => one['message'])).toContainEqual(
        expect.stringMatching(
          /^long\.mp3: an earlier run started it with another storage class; it is sent again from the start$/,
        ),
      )
      expect(await bed.openUploads()).toEqual([])
    })

    test('an upload whose file is another by now is aborted, not mixed', async () => {
      const id = await bed.addTrack({
        path: 'long.mp3',
        content: fakeAudio(20 * MiB, 10),
        key: 'fixed/key.mp3',
      })
      await interrupted(bed, 1)
      const other = fakeAudio(20 * MiB, 11)
      writeFileSync(path.join(bed.audioRoot, 'long.mp3'), other)
      expect((await upload(bed)).summary).toMatchObject({ uploaded: 1, bytes_sent: other.length })
      expect((await bed.content('fixed/key.mp3'))?.equals(other)).toBe(true)
      expect(await bed.openUploads()).toEqual([])
      expect((await bed.tracks()).get(id)?.file_source).toBe('S3')
    })

    test('an upload that a dead run left for a file that is gone is swept', async () => {
      const headers = { contentType: 'audio/mpeg' }
      const stray = await bed.store.createUpload('audio/stray.mp3', { headers })
      await bed.database.knex('autodj_ledger.uploads').insert({
        bucket: bed.access.bucket,
        key: 'audio/stray.mp3',
        upload_id: stray,
        path: 'stray.mp3',
        mtime_ns: '1',
        size: 1,
        part_size: 5 * MiB,
      })
      expect((await upload(bed)).exitCode).toBe(ExitCode.ok)
      expect(await bed.openUploads()).toEqual([])
    })

    test('three runs at once share the work: every file exactly once', async () => {
      await bed.addTracks(60, 2_000)
      const runs = await Promise.all([1, 2, 3].map(() => upload(bed, { concurrency: 2 })))
      const states = runs.flatMap(run => run.items.map(item => item['state']))
      expect(states.filter(state => state === 'uploaded')).toHaveLength(60)
      expect(states).toHaveLength(60)
      expect((await bed.objects()).size).toBe(60)
    })
  })
}
