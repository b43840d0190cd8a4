/** What `reconcile` must find, and must not invent, whatever database and S3 server it is run against. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { migrateUp } from '../../src/db/migrate.ts'
import type { Database } from '../../src/db/open.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import { cli } from '../support/cli.ts'
import type { TestDatabase } from '../support/database.ts'
import { type FixtureLibrary, makeFixtureLibrary } from '../support/fixture-library.ts'
import { putInventory } from '../support/inventory.ts'

export interface TestBucket {
  store: ObjectStore
  /** settings that lead the program to the same bucket */
  env: Record<string, string>
  close(): Promise<void>
}

export interface Servers {
  database(): Promise<TestDatabase>
  bucket(options?: { versioned?: boolean }): Promise<TestBucket>
}

export function reconcileContract(name: string, servers: Servers): void {
  describe(`reconcile: ${name}`, () => {
    let folder: string
    let database: TestDatabase
    let bucket: TestBucket
    let library: FixtureLibrary
    let env: Record<string, string>

    async function withDatabase<T>(work: (opened: Database) => Promise<T>): Promise<T> {
      const opened = await database.open()
      try {
        return await work(opened)
      } finally {
        await opened.close()
      }
    }
    const run = (...argv: string[]) => cli(['reconcile', ...argv], { env, cwd: folder })

    beforeAll(async () => {
      folder = await mkdtemp(path.join(tmpdir(), 'autodj-reconcile-'))
      const audioRoot = path.join(folder, 'audio')
      await mkdir(audioRoot)
      database = await servers.database()
      bucket = await servers.bucket()
      env = { ...bucket.env, DATABASE_URL: database.url, AUDIO_STORAGE_PATH: audioRoot }
      library = await withDatabase(async opened => {
        await migrateUp(opened)
        return makeFixtureLibrary({ knex: opened.knex, store: bucket.store, audioRoot })
      })
    })
    afterAll(async () => {
      await bucket.close()
      await database.drop()
      await rm(folder, { recursive: true })
    })

    it('finds at least three of every class, and invents none', async () => {
      const { exitCode, messages } = await run('--disk', '--json', '--verbose', '--combined', 'combined.txt')
      expect(exitCode).toBe(4)
      const items = messages.filter(message => message['message_type'] === 'item')
      const line = (sigil: unknown, item: unknown, classes: readonly string[]): string =>
        `${sigil} ${item}: ${[...classes].sort().join(' ')}`
      const found = items
        .filter(item => (item['differences'] as unknown[]).length > 0)
        .map(item =>
          line(
            item['sigil'],
            item['subject'],
            (item['differences'] as { class: string }[]).map(d => d.class),
          ),
        )
      const expected = library.expected.map(({ sigil, name: item, classes }) => line(sigil, item, classes))
      expect(found.sort()).toEqual(expected.sort())
      const agreeing = items.filter(
        item => item['sigil'] === '=' && (item['differences'] as unknown[]).length === 0,
      )
      expect(agreeing.length).toBe(library.agree)

      const summary = messages.find(message => message['message_type'] === 'summary')
      const counts = Object.entries(summary?.['found'] as Record<string, number>)
      for (const [kind, count] of counts) expect([kind, count >= 3]).toEqual([kind, true])
      expect(counts.length).toBe(12)
      expect(summary).toMatchObject({ rows: library.rows, unread: 0, changed: 0 })

      // rclone's form, a line for each name.
      const combined = (await readFile(path.join(folder, 'combined.txt'), 'utf8')).trimEnd().split('\n')
      expect(combined.every(one => /^[=+*!-] ./.test(one))).toBe(true)
      expect(combined.length).toBe(
        items.length -
          library.expected.filter(e => e.sigil === '=' && e.classes[0] === 'duplicate-content').length,
      )
    })

    it('finds the same again, and nothing is worn out by looking', async () => {
      const heads = async (): Promise<number> => {
        const { messages } = await run('--disk', '--json')
        const summary = messages.find(message => message['message_type'] === 'summary')
        expect(summary?.['drift']).toBe(library.expected.filter(({ sigil }) => sigil !== '=').length)
        return summary?.['heads'] as number
      }
      expect(await heads()).toBe(await heads())
    })

    it('says it in text, in the form of rclone', async () => {
      const { exitCode, stdout } = await run('--disk')
      expect(exitCode).toBe(4)
      expect(stdout).toMatch(
        /^\+ audio\/missing\/1\.mp3 {2}missing-object \(no object, the local file is there\)$/m,
      )
      expect(stdout).toMatch(/^- audio\/orphan\/1\.mp3 {2}orphan-object/m)
      expect(stdout).toMatch(/^\* audio\/size\/1\.mp3 {2}size-differs \(row \d+ bytes, object \d+ bytes\)$/m)
      expect(stdout).not.toMatch(/right\//)
    })

    it('hashes everything with --deep, and about a share of it with --sample', async () => {
      const hashed = async (...argv: string[]): Promise<number> => {
        const { messages } = await run('--deep', '--json', ...argv)
        return messages.find(message => message['message_type'] === 'summary')?.['hashed'] as number
      }
      const all = await hashed()
      expect(all).toBeGreaterThanOrEqual(25)
      const some = await hashed('--sample', '30%')
      expect(some).toBeGreaterThan(0)
      expect(some).toBeLessThan(all)
    })

    for (const format of ['CSV', 'Parquet'] as const) {
      it(`finds the same by an S3 Inventory in ${format}`, async () => {
        const url = await putInventory(bucket.store, format)
        const { exitCode, stdout } = await run('--disk', '--inventory', url)
        expect(exitCode).toBe(4)
        const lines = (text: string): string[] =>
          text
            .split('\n')
            .filter(one => /^[+*-] /.test(one))
            .sort()
        expect(lines(stdout)).toEqual(lines((await run('--disk')).stdout))
      })

      it(`refuses a damaged S3 Inventory in ${format}`, async () => {
        const url = await putInventory(bucket.store, format, bytes => bytes.subarray(0, bytes.length - 9))
        const { exitCode, stderr } = await run('--inventory', url)
        expect(exitCode).toBe(1)
        expect(stderr).toMatch(
          /inventory file .* (cannot be read|does not have its MD5|is missing, or not of its size)/,
        )
      })
    }

    it('calls an empty bucket a mistake (exit 7), unless forced', async () => {
      const elsewhere = { env: { ...env, S3_KEY_PREFIX: 'nothing/' }, cwd: folder }
      const refused = await cli(['reconcile'], elsewhere)
      expect(refused.exitCode).toBe(7)
      expect(refused.stderr).toMatch(/bucket looks empty/)
      expect(refused.stdout).toBe('')
    })

    it('calls an empty audio root a mistake (exit 7) when it is asked to look there', async () => {
      const unmounted = path.join(folder, 'unmounted')
      await mkdir(unmounted, { recursive: true })
      const options = { env: { ...env, AUDIO_STORAGE_PATH: unmounted }, cwd: folder }
      const refused = await cli(['reconcile', '--disk'], options)
      expect(refused.exitCode).toBe(7)
      expect(refused.stderr).toMatch(/looks empty or unmounted/)
    })

    it('holds back what is young (exit 7), and plans the rest', async () => {
      const refused = await run('--disk', '--plan', 'young.plan')
      expect(refused.exitCode).toBe(7)
      expect(refused.stderr).toMatch(/removals held back; the rest is in the plan/)
      const plan = await readFile(path.join(folder, 'young.plan'), 'utf8')
      expect(plan).not.toMatch(/"remove-object"/)
      expect(plan).toMatch(/"update-row"/)
    })

    it('writes no plan at all when more would go than --max-delete allows', async () => {
      const refused = await run('--min-age', '0s', '--max-delete', '2', '--plan', 'many.plan')
      expect(refused.exitCode).toBe(7)
      expect(refused.stderr).toMatch(/--max-delete allows 2/)
      await expect(readFile(path.join(folder, 'many.plan'))).rejects.toMatchObject({ code: 'ENOENT' })
    })
  })
}
