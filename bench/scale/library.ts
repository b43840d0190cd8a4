/**
 * A library of any number of rows, made by SQL: the same rows for the same number, whatever was asked for before. Every
 * fifth row is a local file, the rest are in S3; every other row in S3 has its local copy still. Of a thousand objects one
 * was never seen through the CDN, and of a thousand tracks one has failed once.
 */
import type { Knex } from 'knex'

export const bucket = 'bench'

/** Bytes of every file and object. */
export const fileSize = 4_096

/** The object of row `i`, as the SQL below says it: in byte order they are in the order of their numbers. */
export const keyOf = (index: number): string =>
  `audio/Artist ${String(Math.floor(index / 20)).padStart(7, '0')}/Title ${String(index).padStart(9, '0')}.mp3`

/** Rows made by one statement. */
const chunk = 100_000

/** SQL for the path of row `i`, below the audio folder. */
const pathOf = `'Artist ' || lpad((i / 20)::text, 7, '0') || '/Title ' || lpad(i::text, 9, '0') || '.mp3'`
const hashOf = `lpad(to_hex(i), 64, '0')`
const idOf = 'md5(i::text)::uuid'

/** How a library of the bench is. */
interface LibraryShape {
  readonly rows: number
  /** every row is in S3, proved and analysed, and none has a local copy: no command has anything to do */
  readonly settled?: boolean
}

/** Fills an empty database that `migrate` has brought up. */
export async function fillLibrary(knex: Knex, { rows, settled = false }: LibraryShape): Promise<void> {
  const isLocal = settled ? 'false' : 'i % 5 = 0'
  const hasCopy = settled ? 'false' : 'i % 5 = 0 or i % 2 = 1'
  const runs = 400
  await knex.raw(
    `insert into autodj_ledger.runs (id, command, host, pid, version, started_at, heartbeat_at, lease_until, finished_at, state, exit_code)
     select md5('run' || r)::uuid, (array['verify', 'upload-local', 'nightly', 'reconcile'])[1 + r % 4], 'bench', 1, 'bench',
       now() - r * interval '6 hours', now() - r * interval '6 hours', now() - r * interval '6 hours',
       now() - r * interval '6 hours', 'done', 0
     from generate_series(1, ${runs}) as r`,
  )
  for (let from = 0; from < rows; from += chunk) {
    const series = `generate_series(${from}, ${Math.min(rows, from + chunk) - 1}) as i`
    await knex.raw(
      `insert into tracks (id, spotify_id, title, artist, album, duration, duration_ms, popularity, file_path, file_source,
         file_size, s3_object_key, bpm, key, energy, danceability, valence, loudness, analysis_version, analyzed_at,
         beat_confidence, dominant_style, created_at, updated_at)
       select ${idOf}, 'bench:' || i, 'Title ' || i, 'Artist ' || i / 20, 'Album ' || i / 10, 200 + i % 200,
         1000 * (200 + i % 200), i % 100, case when ${hasCopy} then ${pathOf} end,
         (case when ${isLocal} then 'LOCAL' else 'S3' end)::filesource, ${fileSize},
         case when not (${isLocal}) then 'audio/' || ${pathOf} end, 60 + i % 120, 'Am', 0.5, 0.5, 0.5, -9,
         case when ${settled ? 'false' : 'i % 1000 = 7'} then '0.9.0' else 'autodj-99.0.0' end, now() - interval '90 days',
         0.9, 'House', now() - interval '1 year' + i * interval '10 seconds', now() - interval '90 days'
       from ${series}`,
    )
    await knex.raw(
      `insert into autodj_ledger.objects (bucket, key, size, sha256, crc32, etag, content_type, uploaded_at, verified_at,
         served_at, run_id)
       select '${bucket}', 'audio/' || ${pathOf}, ${fileSize}, ${hashOf}, 'AAAAAA==', right(${hashOf}, 32), 'audio/mpeg',
         now() - interval '90 days', now() - interval '90 days',
         case when ${settled ? 'false' : 'i % 1000 = 1'} then null else now() - (i % 90) * interval '1 day' end,
         md5('run' || 1 + i % ${runs})::uuid
       from ${series} where not (${isLocal})`,
    )
    await knex.raw(
      `insert into autodj_ledger.files (path, size, mtime_ns, inode, device, sha256, crc32, ctime_ns)
       select ${pathOf}, ${fileSize}, 0, i, 1, ${hashOf}, 'AAAAAA==', 0 from ${series} where ${hasCopy}`,
    )
    if (!settled) {
      await knex.raw(
        `insert into autodj_ledger.items (command, subject, track_id, state, error_code, error, run_id)
         select 'verify', ${idOf}::text, ${idOf}, 'failed', 'verify.not-found', 'not there', md5('run1')::uuid
         from ${series} where i % 1000 = 1`,
      )
    }
  }
  for (const table of ['tracks', 'autodj_ledger.objects', 'autodj_ledger.files', 'autodj_ledger.items'])
    await knex.raw(`vacuum analyze ${table}`)
}
