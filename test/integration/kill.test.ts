/**
 * Whatever is killed, and whenever: no content ever loses its last copy. 200 rounds of random commands on one library,
 * most of them cut off by kill -9 at a random step of their work, with the application's own changes in between.
 *
 * TEST_KILL_ROUNDS is for fewer or more of them, TEST_SEED for others.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { migrateUp } from '../../src/db/migrate.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { WaitingClis } from '../support/killed-cli.ts'
import { realBucket } from '../support/real-s3.ts'
import { testPostgres, testS3 } from '../support/servers.ts'
import { sha256 } from '../support/sums.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const postgres = testPostgres()
const s3 = testS3()
const rounds = Number(process.env['TEST_KILL_ROUNDS'] ?? 200)
const seed = Number(process.env['TEST_SEED'] ?? 20_260_131)

type Verb = 'reconcile' | 'apply' | 'undo' | 'cleanup' | 'restore' | 'upload-local' | 'mischief'

const round = fc.record({
  verb: fc.oneof(
    { weight: 5, arbitrary: fc.constant<Verb>('reconcile') },
    { weight: 6, arbitrary: fc.constant<Verb>('apply') },
    { weight: 4, arbitrary: fc.constant<Verb>('undo') },
    { weight: 3, arbitrary: fc.constant<Verb>('cleanup') },
    { weight: 2, arbitrary: fc.constant<Verb>('restore') },
    { weight: 3, arbitrary: fc.constant<Verb>('upload-local') },
    { weight: 6, arbitrary: fc.constant<Verb>('mischief') },
  ),
  /** which plan, row or object */
  pick: fc.nat(),
  /** how far it gets, in parts of what the verb last took to end; undefined: left to end */
  kill: fc.option(fc.integer({ min: 1, max: 100 }), { freq: 4, nil: undefined }),
})

describe.skipIf(postgres === undefined || s3 === undefined)('kill -9 at any moment', () => {
  it.each([false, true])(
    'never loses the last copy of anything (versioned bucket: %s)',
    async versioned => {
      const home = temporaryFolder('kill')
      const audio = path.join(home, 'audio')
      await mkdir(audio)
      const database = await postgresTestDatabase(postgres!)
      const bucket = await realBucket(s3!, { versioned })
      const { store } = bucket
      const db = await database.open()
      const env = { ...bucket.env, DATABASE_URL: database.url, AUDIO_STORAGE_PATH: audio }
      const clis = new WaitingClis(2)
      try {
        await migrateUp(db)
        const mp3 = await readFile(new URL('../../assets/demo/01-first-light.mp3', import.meta.url))
        const contents = new Map<string, string>()
        /** A track of its own content, on a local file. */
        async function newTrack(): Promise<void> {
          const index = contents.size
          const bytes = Buffer.concat([mp3.subarray(0, 3_000), Buffer.from(`content ${index}`)])
          contents.set(sha256(bytes), `content ${index}`)
          await writeFile(path.join(audio, `${index}.mp3`), bytes)
          const id = randomUUID()
          const row = { id, spotify_id: id, title: `T${index}`, artist: 'A' }
          await db.knex('tracks').insert({ ...row, file_source: 'LOCAL', file_path: `${index}.mp3` })
        }
        for (let index = 0; index < 16; index += 1) await newTrack()

        /** Contents of which no copy is left: neither file, nor object, nor (where kept) a version. */
        async function lost(): Promise<string[]> {
          const found = new Set<string>()
          for (const name of await readdir(audio, { recursive: true })) {
            const file = path.join(audio, name)
            if ((await stat(file)).isFile()) found.add(sha256(await readFile(file)))
          }
          const look = async (key: string, versionId?: string): Promise<void> => {
            const content = await store.get(key, versionId === undefined ? {} : { versionId })
            if (content !== undefined) found.add(sha256(Buffer.concat(await Array.fromAsync(content.body))))
          }
          if (versioned) {
            for await (const page of store.listVersions()) {
              for (const version of page)
                if (!version.isDeleteMarker) await look(version.key, version.versionId)
            }
          } else for await (const page of store.list()) for (const { key } of page) await look(key)
          return [...contents].filter(([sum]) => !found.has(sum)).map(([, name]) => name)
        }

        /** What goes wrong without autodj: objects renamed, doubled, given other headers; rows changed by hand. */
        async function mischief(pick: number): Promise<void> {
          const objects = []
          for await (const page of store.list({ prefix: 'audio/' })) objects.push(...page)
          const rows = await db.knex('tracks').orderBy('title')
          const row = rows[pick % rows.length]
          const object = objects[pick % Math.max(1, objects.length)]
          if (pick % 8 === 0) await db.knex('tracks').where({ id: row.id }).update({ file_size: pick })
          else if (pick % 8 === 1) {
            await db
              .knex('tracks')
              .where({ id: row.id })
              .whereNotNull('file_path')
              .update({ file_source: 'LOCAL' })
          } else if (pick % 8 >= 5) {
            // The track is deleted in the application: its object is an orphan now, and the last copy.
            await db.knex('tracks').where({ id: row.id }).del()
            await newTrack()
          } else if (object === undefined) return
          else if (pick % 8 === 2) {
            const to = `audio/renamed ${pick % 9}.mp3`
            if ((await store.head(to)) !== undefined) return
            await store.copy(object.key, to)
            await store.delete([{ key: object.key }])
          } else if (pick % 8 === 3) {
            const to = `audio/double ${pick % 9}.mp3`
            if ((await store.head(to)) === undefined) await store.copy(object.key, to)
          } else {
            await store.copy(object.key, object.key, { headers: { contentType: 'text/plain' } })
          }
        }

        const plans: string[] = []
        const planFor = (pick: number): string | undefined =>
          plans[plans.length - 1 - (pick % Math.min(3, plans.length))]
        function argvOf(verb: Verb, pick: number): string[] | undefined {
          const plan = planFor(pick)
          switch (verb) {
            case 'reconcile': {
              plans.push(`${plans.length}.plan`)
              return ['reconcile', '--disk', '--min-age', '0s', '--force', '--plan', plans.at(-1) as string]
            }
            case 'apply':
              return plan === undefined ? undefined : ['apply', plan, '--max-delete', '100%']
            case 'undo':
              return plan === undefined ? undefined : ['undo', plan]
            case 'cleanup':
              return ['cleanup', '--apply', '--older-than', '0s', '--force']
            case 'restore': {
              const some = ['restore', '--limit', String(1 + (pick % 6))]
              if (pick % 2 === 0) return some
              // What is restored is removed by a plan: of objects that no row names any more.
              plans.push(`${plans.length}.plan`)
              return [...some, '--plan', plans.at(-1) as string]
            }
            case 'upload-local':
              return ['upload-local']
            default:
              return undefined
          }
        }

        const counts: Record<string, number> = {}
        const count = (what: string): void => {
          counts[what] = (counts[what] ?? 0) + 1
        }
        const history: string[] = []
        /** Steps that a verb took when it last came to its end; until then it is not killed. */
        const usualSteps = new Map<Verb, number>()
        for (const [index, { verb, pick, kill }] of fc.sample(round, { numRuns: rounds, seed }).entries()) {
          if (verb === 'mischief') await mischief(pick)
          const argv = argvOf(verb, pick)
          if (argv !== undefined) {
            const usual = usualSteps.get(verb)
            // A plan that was never written is no test of what applies it: every other reconcile is left to end.
            const spared =
              kill === undefined || usual === undefined || (verb === 'reconcile' && pick % 2 === 0)
            const killAt = spared ? undefined : Math.ceil((usual * kill) / 100)
            const result = await clis.run({ argv, env, cwd: home, killAt })
            if (result.steps !== undefined && [0, 4].includes(result.exitCode ?? -1))
              usualSteps.set(verb, result.steps)
            history.push(
              `${index}: ${argv.join(' ')} ${killAt === undefined ? '' : `(step ${killAt}) `}→ ${result.exitCode ?? 'killed'}`,
            )
            count(`${verb} ${result.exitCode === undefined ? 'killed' : result.exitCode}`)
            // 2: the plan was never written, its maker having been killed. 1 would be a bug.
            expect([history.at(-1), result.exitCode === 1 ? result.output : '']).toEqual([history.at(-1), ''])
          }
          expect([await lost(), history.slice(-6)]).toEqual([[], history.slice(-6)])
        }

        // Removals are what is dangerous: of them there were plenty, of which many were of last copies.
        let removals = 0
        for (const plan of plans) {
          const items = await readFile(path.join(home, plan), 'utf8').catch(() => '')
          const journal = await readFile(path.join(home, `${plan}.journal`), 'utf8').catch(() => '')
          const seqs = items.split('\n').flatMap(line => /"remove-object".*"seq":(\d+)/.exec(line)?.[1] ?? [])
          removals += seqs.filter(seq => journal.includes(`{"seq":${seq},"state":"done"`)).length
        }
        console.info(`${rounds} rounds, ${removals} removals: ${JSON.stringify(counts)}`)

        // That it was a test: every command was both killed and left to end, and plans were applied and taken back.
        const killed = Object.entries(counts).filter(([what]) => what.endsWith('killed'))
        expect(killed.reduce((sum, [, times]) => sum + times, 0)).toBeGreaterThan(rounds / 8)
        if (rounds >= 100) {
          expect(removals).toBeGreaterThan(rounds / 20)
          const verbs = ['apply', 'undo', 'cleanup', 'restore', 'upload-local']
          const never = verbs.flatMap(verb => [`${verb} killed`, `${verb} 0`]).filter(what => !counts[what])
          expect(never).toEqual([])
        }

        // And all is mended in the end: every track plays from somewhere.
        for (const argv of [
          ['reconcile', '--disk', '--min-age', '0s', '--force', '--plan', 'last.plan'],
          ['apply', 'last.plan', '--max-delete', '100%'],
          ['upload-local'],
        ]) {
          expect([0, 3, 4]).toContain((await clis.run({ argv, env, cwd: home, killAt: undefined })).exitCode)
        }
        expect(await lost()).toEqual([])
      } finally {
        await clis.close()
        await db.close()
        await bucket.close()
        await database.drop()
      }
    },
    1_800_000,
  )
})
