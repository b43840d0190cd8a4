/** `upload-local` killed -9 again and again, on PostgreSQL: nothing lost, nothing twice, no stray part. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed, realBed } from '../support/beds.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { killUploads, NarrowLink } from '../support/narrow-link.ts'
import { start } from '../support/process.ts'
import type { S3Server } from '../support/s3-server/server.ts'
import { testPostgres, testS3 } from '../support/servers.ts'
import { sha256 } from '../support/sums.ts'

const MiB = 1024 ** 2
const postgres = testPostgres()
const s3 = testS3()

async function expectAllProved(bed: TestBed, count: number): Promise<void> {
  const rows = [...(await bed.tracks()).values()]
  expect(rows.filter(row => row.file_source === 'S3')).toHaveLength(count)
  for (const row of rows) {
    const file = readFileSync(path.join(bed.audioRoot, row.file_path as string))
    const object = await bed.content(row.s3_object_key as string)
    expect(object && sha256(object), row.file_path as string).toBe(sha256(file))
  }
  expect((await bed.objects()).size).toBe(count)
  expect(await bed.openUploads()).toEqual([])
}

describe.skipIf(!postgres || !s3)('against a real S3 server', () => {
  test('20 kills over 200 files; then one run: 200 objects, 200 rows, every checksum equal', async () => {
    if (!postgres || !s3) return
    const bed = await realBed(await postgresTestDatabase(postgres), s3)
    const link = await NarrowLink.open(s3.endpoint)
    try {
      await bed.addTracks(199, 60_000)
      await bed.addTrack({ path: 'large.flac', content: fakeAudio(40 * MiB, 1_000) })
      const total = 199 * 60_000 + 40 * MiB
      const argv = ['upload-local', '-q', '-c', '4', '--part-size', '5M']
      await killUploads(link, { kills: 20, total, largest: 5 * MiB }, argv, bed.env)
      // That they were runs at work: much of it is done, and not all.
      expect(link.stored).toBeGreaterThan(total / 4)
      expect((await bed.objects()).size).toBeLessThan(200)
      const last = await start(['upload-local', '--json', '--part-size', '5M'], bed.env).finished
      expect(last.stderr).toBe('')
      expect(last.code).toBe(0)
      await expectAllProved(bed, 200)
    } finally {
      await link.close()
      await bed.close()
    }
  })
})

describe.skipIf(!postgres)('against a server that counts', () => {
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })

  async function openBed(): Promise<{ bed: TestBed; server: S3Server }> {
    const opened = await embeddedBed(await postgresTestDatabase(postgres as string), { logLimit: 1_000_000 })
    closing.push(() => opened.bed.close())
    return opened
  }

  const kills = Number(process.env['AUTODJ_KILLS'] ?? 100)

  test(`${kills} kills over large files: no confirmed part is sent twice, no upload is left`, {
    timeout: 900_000,
  }, async () => {
    const { bed, server } = await openBed()
    for (let number = 0; number < 4; number++) {
      await bed.addTrack({ path: `set ${number}.flac`, content: fakeAudio(150 * MiB + number, number) })
    }
    const link = await NarrowLink.open(server.url)
    closing.push(() => link.close())
    const argv = ['upload-local', '-q', '-c', '3', '--part-size', '5M']
    await killUploads(link, { kills, total: 4 * 150 * MiB + 6, largest: 5 * MiB }, argv, bed.env)
    const last = await start(['upload-local', '-q', '--part-size', '5M'], bed.env).finished
    expect(last.code).toBe(0)
    const confirmed = server.requests.filter(one => one.operation === 'UploadPart' && one.status === 200)
    const parts = confirmed.map(one => `${one.key} ${one.query['partNumber']}`)
    expect(parts.filter((part, index) => parts.indexOf(part) !== index)).toEqual([])
    // A part whose answer the killed process never heard is stored as well: not in this count, nor sent again.
    expect(parts.length).toBeLessThanOrEqual(4 * 31)
    await expectAllProved(bed, 4)
  })

  test('three processes, one of them killed: every file exactly once', async () => {
    const { bed, server } = await openBed()
    await bed.addTracks(600, 50_000)
    // Each is held up after some files, until all three are at work at once.
    const links: NarrowLink[] = []
    const runs = []
    for (let number = 0; number < 3; number++) {
      const link = await NarrowLink.open(server.url)
      closing.push(() => link.close())
      const heldUp = link.carry(5 * 50_000 + Math.random() * 250_000)
      const run = start(['upload-local', '-q', '-c', '2'], { ...bed.env, S3_ENDPOINT: link.url })
      expect(await Promise.race([heldUp, run.finished])).toBeUndefined()
      links.push(link)
      runs.push(run)
    }
    runs[1]?.child.kill('SIGKILL')
    await runs[1]?.finished
    await links[1]?.hangUp()
    for (const link of links) link.carry(Number.POSITIVE_INFINITY)
    const [first, second, third] = await Promise.all(runs.map(run => run.finished))
    expect([first?.code, second?.signal, third?.code]).toEqual([0, 'SIGKILL', 0])
    const left = await start(['upload-local', '-q'], bed.env).finished
    expect(left.code).toBe(0)
    await expectAllProved(bed, 600)
    const stored = server.requests.filter(one => one.operation === 'PutObject' && one.status === 200)
    expect(stored).toHaveLength(600)
  })
})

afterAll(() => {
  if (!postgres || !s3)
    console.warn('some upload tests were skipped: they need TEST_POSTGRES_URL and TEST_S3_ENDPOINT')
})
