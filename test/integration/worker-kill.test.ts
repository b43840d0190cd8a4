/**
 * Three workers on one PostgreSQL, one of them killed -9 again and again: every job done, none twice, nothing left lying
 * about. Kills follow the work and not the clock, so that they strike on any machine.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { countJobs, isEmpty } from '../../src/queue/counts.ts'
import { addObject } from '../contract/analyze.ts'
import type { TestBed } from '../support/bed.ts'
import { realBed } from '../support/beds.ts'
import { postgresTestDatabase } from '../support/database.ts'
import { urlOf } from '../support/listening.ts'
import { type Finished, start } from '../support/process.ts'
import { testPostgres, testS3 } from '../support/servers.ts'
import { sha256 } from '../support/sums.ts'

const postgres = testPostgres()
const s3 = testS3()

/** AUTODJ_WORKER_JOBS=2000 is the whole of it and takes minutes: a killed worker's jobs come back after some 50 s. */
const jobs = Number(process.env['AUTODJ_WORKER_JOBS'] ?? 120)
const uploads = Math.round(0.6 * jobs)
const fetches = Math.round(0.15 * jobs)
const analyses = jobs - uploads - 2 * fetches
const kills = Math.max(4, Math.round(jobs / 80))
const clip = fileURLToPath(new URL('../fixtures/audio/music.mp3', import.meta.url))

describe.skipIf(!postgres || !s3)('three workers, killed by turns', () => {
  const closing: (() => unknown)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })

  test(`${kills} kills over ${jobs} jobs: every job done, none twice, no temporary file left`, {
    timeout: 1_800_000,
  }, async () => {
    const bed = await realBed(await postgresTestDatabase(postgres!), s3!)
    closing.push(() => bed.close())
    const { knex } = bed.database
    const temp = path.join(bed.dir, 'tmp')
    mkdirSync(temp)
    const previews = createServer((_request, response) => response.end(readFileSync(clip))).listen(
      0,
      '127.0.0.1',
    )
    closing.push(() => previews.close())
    await once(previews, 'listening')
    const preview = `${urlOf(previews)}/preview.mp3`
    const env = { ...bed.env, TMPDIR: temp, FETCH_COMMAND: `cp ${clip} {output}` }

    const byCommand: string[] = []
    const byPreview: string[] = []
    const analysed: string[] = []
    await bed.addTracks(uploads, 60_000)
    for (let number = 0; number < fetches; number++) {
      byCommand.push(await bed.addTrack({ path: null, source: 'UNAVAILABLE' }))
      byPreview.push(await bed.addTrack({ path: null, source: 'UNAVAILABLE' }))
    }
    await knex('tracks').whereIn('id', byPreview).update({ preview_url: preview })
    for (let number = 0; number < analyses; number++)
      analysed.push(await addObject(bed, `audio/clip ${number}.mp3`, readFileSync(clip)))
    await countCommits(bed)

    const enqueue = async (...argv: string[]) => {
      const done = await start([...argv, '--enqueue', '--json'], env).finished
      expect(done, argv.join(' ')).toMatchObject({ code: 0, stderr: '' })
    }
    const named = (ids: readonly string[]) => ids.flatMap(id => ['--track', id])
    await enqueue('upload-local')
    await enqueue('fetch', '--from', 'command', ...named(byCommand))
    await enqueue('fetch', '--from', 'preview', ...named(byPreview))
    await enqueue('analyze', ...named(analysed))

    const workers = new Map<ChildProcess, Promise<Finished>>()
    const startWorker = () => {
      const { child, finished } = start(
        ['worker', '--fetch', '4', '--upload', '4', '--analyze', '2', '--json'],
        env,
      )
      workers.set(child, finished)
    }
    closing.push(() => {
      for (const child of workers.keys()) child.kill('SIGKILL')
    })
    for (let worker = 0; worker < 3; worker++) startWorker()

    let killed = 0
    let killedAtWork = 0
    for (let ended = 0; ended < jobs; ) {
      await sleep(50)
      for (const [child, finished] of workers)
        if (child.exitCode !== null) throw new Error(`a worker ended by itself: ${(await finished).stderr}`)
      ended = await endedJobs(bed)
      if (killed === kills || ended < ((killed + 0.5) * jobs) / (kills + 1)) continue
      // One that has work in hand, where there is one.
      const busy = await busyProcesses(bed)
      const victim = [...workers.keys()].find(child => busy.has(child.pid!)) ?? [...workers.keys()][0]!
      if (busy.has(victim.pid!)) killedAtWork++
      victim.kill('SIGKILL')
      await workers.get(victim)
      workers.delete(victim)
      startWorker()
      killed++
    }
    expect(killed).toBe(kills)
    expect(killedAtWork).toBeGreaterThan(kills / 2)
    // A job whose worker was killed between the commit and its word to the queue comes back, and is found done.
    while (!isEmpty(await countJobs(knex), ['fetch', 'upload', 'analyze'])) await sleep(50)

    const ends = [...workers].map(([child, finished]) => {
      child.kill('SIGTERM')
      return finished
    })
    workers.clear()
    for (const { code, signal, stderr } of await Promise.all(ends))
      expect({ code, signal, stderr }).toMatchObject({ code: 0 })

    expect(
      await knex('analysis_jobs')
        .select('status', 'failed_tracks')
        .sum('total_tracks as total')
        .groupBy('status', 'failed_tracks'),
    ).toEqual([{ status: 'COMPLETED', failed_tracks: 0, total: String(jobs) }])
    expect(await countJobs(knex)).toMatchObject(
      ['fetch', 'upload', 'analyze'].map(kind => ({ kind, queued: 0, active: 0, givenUp: 0 })),
    )
    // What a job is for happened to its row once: the trigger saw every change.
    const { rows: twice } = await knex.raw(
      'select track_id, what, count(*) from test_commits group by 1, 2 having count(*) > 1',
    )
    expect(twice).toEqual([])
    expect(
      await knex('test_commits').select('what').count('* as rows').groupBy('what').orderBy('what'),
    ).toEqual([
      { what: 'analysed', rows: String(analyses) },
      { what: 'stored', rows: String(uploads + 2 * fetches) },
    ])
    expect(await knex('autodj_ledger.items')).toEqual([])
    expect(await knex('autodj_ledger.claims')).toEqual([])
    expect(await knex('autodj_ledger.analyses').count('* as rows')).toEqual([{ rows: String(analyses) }])

    const objects = await bed.objects()
    const rows = [...(await bed.tracks()).values()]
    expect(new Set(rows.map(row => row.s3_object_key)).size).toBe(jobs)
    expect([...objects.keys()].sort()).toEqual(rows.map(row => row.s3_object_key).sort())
    expect(await knex('autodj_ledger.objects').count('* as rows')).toEqual([{ rows: String(jobs) }])
    for (const row of rows.filter(one => one.file_path !== null)) {
      const content = await bed.content(row.s3_object_key!)
      expect(content && sha256(content), row.file_path!).toBe(
        sha256(readFileSync(path.join(bed.audioRoot, row.file_path!))),
      )
    }
    expect(await bed.openUploads()).toEqual([])
    expect(readdirSync(temp)).toEqual([])
  })
})

/** Every time that a row gets its object, or an analysis. */
async function countCommits({ database: { knex } }: TestBed): Promise<void> {
  await knex.raw('create table test_commits (track_id uuid not null, what text not null)')
  await knex.raw(`create function test_commit() returns trigger language plpgsql as $$ begin
    if new.s3_object_key is distinct from old.s3_object_key then insert into test_commits values (new.id, 'stored'); end if;
    if new.analyzed_at is distinct from old.analyzed_at then insert into test_commits values (new.id, 'analysed'); end if;
    return null; end $$`)
  await knex.raw(
    'create trigger test_commit after update on tracks for each row execute function test_commit()',
  )
}

async function endedJobs({ database: { knex } }: TestBed): Promise<number> {
  const [row] = await knex('autodj_ledger.job_tracks').whereNot({ state: 'pending' }).count('* as rows')
  return Number(row?.['rows'])
}

async function busyProcesses({ database: { knex } }: TestBed): Promise<Set<number>> {
  const rows = await knex('autodj_ledger.claims as c')
    .join('autodj_ledger.runs as r', 'r.id', 'c.run_id')
    .distinct('r.pid')
  return new Set(rows.map(row => row.pid as number))
}
