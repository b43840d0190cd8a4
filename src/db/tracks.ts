import type { Knex } from 'knex'
import type { FileSource } from '../core/audio-source.ts'
import { type BulkColumn, slices, unnest } from './bulk.ts'
import { cursorPages } from './cursor.ts'
import { selectPlacedIds } from './id-list.ts'
import { refuseKeptByPolicy } from './row-security.ts'

/** What autodj reads of a track. */
export interface Track {
  id: string
  spotifyId: string
  title: string
  artist: string
  album: string | null
  /** Seconds. */
  duration: number | null
  /** As whoever wrote it says it (see `core/audio-path`); may point at a file that is gone. */
  filePath: string | null
  fileSource: FileSource | null
  /** Bytes. */
  fileSize: number | null
  s3ObjectKey: string | null
  updatedAt: Date | null
}

/** Columns of a `Track`, for a select from `tracks`. */
export const trackColumns = {
  id: 'tracks.id',
  spotifyId: 'tracks.spotify_id',
  title: 'tracks.title',
  artist: 'tracks.artist',
  album: 'tracks.album',
  duration: 'tracks.duration',
  filePath: 'tracks.file_path',
  fileSource: 'tracks.file_source',
  fileSize: 'tracks.file_size',
  s3ObjectKey: 'tracks.s3_object_key',
  updatedAt: 'tracks.updated_at',
}

/** Which tracks. What is left out does not filter. */
export interface TrackFilter {
  /** Any of these; null means rows without a source. */
  sources?: readonly (FileSource | null)[]
  /** With a `file_path`, or without one. */
  hasFile?: boolean
  /** With an `s3_object_key`, or without one. */
  hasKey?: boolean
  /** With audio that a player would get: an object, or a local file. */
  hasAudio?: true
  /**
   * `missing`: never analysed; `outdated`: by a version before this one; `failed`: an error is recorded, here or in the
   * ledger.
   */
  analysis?: 'missing' | { olderThan: string } | 'failed'
  /** No track that was analysed at that time or later. */
  notAnalyzedSince?: Date
  /** `s3_object_key` begins so. */
  keyPrefix?: string
  ids?: readonly string[]
  /** Nor any other than these: what --include and the like select. */
  selected?: readonly string[] | undefined
  /** Only tracks with an item of that command in the ledger, by track id: `--retry-failed`. */
  failedIn?: string
  /** No track with an item of that command and state `skipped`. */
  notSkippedIn?: string
  /** No track with an item of that command recorded by that run: what it tried already. */
  notRecordedBy?: { command: string; runId: string }
}

/** Sorts before every UUID that a row could have: where keyset paging begins. */
export const firstId = '00000000-0000-0000-0000-000000000000'

function applyFilter(query: Knex.QueryBuilder, knex: Knex, filter: TrackFilter): void {
  applyRowFilter(query, filter)
  const items = (command: string): Knex.QueryBuilder =>
    knex('autodj_ledger.items as i')
      .select(knex.raw('1'))
      .where('i.command', command)
      .whereRaw('i.track_id = tracks.id')
  if (filter.failedIn !== undefined) query.whereExists(items(filter.failedIn))
  if (filter.notSkippedIn !== undefined) {
    query.whereNotExists(items(filter.notSkippedIn).where('i.state', 'skipped'))
  }
  if (filter.notRecordedBy !== undefined) {
    const { command, runId } = filter.notRecordedBy
    query.whereNotExists(items(command).where('i.run_id', runId))
  }
}

/** What a row says by itself, without the ledger. */
function applyRowFilter(query: Knex.QueryBuilder, filter: TrackFilter): void {
  if (filter.sources !== undefined) {
    const named = filter.sources.filter(source => source !== null)
    query.where(either => {
      either.whereRaw('tracks.file_source = any(?::filesource[])', [named])
      if (named.length < filter.sources!.length) either.orWhereNull('tracks.file_source')
    })
  }
  if (filter.hasFile === true) query.whereNotNull('tracks.file_path')
  if (filter.hasFile === false) query.whereNull('tracks.file_path')
  if (filter.hasKey === true) query.whereNotNull('tracks.s3_object_key')
  if (filter.hasKey === false) query.whereNull('tracks.s3_object_key')
  if (filter.hasAudio) {
    query.whereRaw(
      `(tracks.file_source = 'S3' and tracks.s3_object_key is not null
        or tracks.file_source in ('LOCAL', 'YOUTUBE') and tracks.file_path is not null)`,
    )
  }
  if (filter.analysis !== undefined) applyAnalysis(query, filter.analysis)
  if (filter.notAnalyzedSince !== undefined) {
    query.whereRaw('(tracks.analyzed_at is null or tracks.analyzed_at < ?)', [filter.notAnalyzedSince])
  }
  if (filter.keyPrefix !== undefined)
    query.whereRaw('starts_with(tracks.s3_object_key, ?)', [filter.keyPrefix])
  if (filter.selected !== undefined) query.whereRaw('tracks.id = any(?::uuid[])', [[...filter.selected]])
  if (filter.ids !== undefined) query.whereRaw('tracks.id = any(?::uuid[])', [[...filter.ids]])
}

function applyAnalysis(query: Knex.QueryBuilder, which: NonNullable<TrackFilter['analysis']>): void {
  if (which === 'missing') query.whereRaw('(tracks.analysis_version is null or tracks.analyzed_at is null)')
  else if (which === 'failed') {
    query.whereRaw(
      `(tracks.analysis_error is not null
        or exists (select 1 from autodj_ledger.items i where i.command = 'analyze' and i.track_id = tracks.id))`,
    )
  } else {
    // By number, so that 2.10.0 comes after 2.9.0; what is no version is older than any.
    query.whereRaw(
      `tracks.analysis_version is not null
       and case when tracks.analysis_version ~ '^[0-9]{1,6}([.][0-9]{1,6}){0,3}$'
                then string_to_array(tracks.analysis_version, '.')::int[] < string_to_array(?, '.')::int[]
                else true end`,
      [which.olderThan],
    )
  }
}

/** A page of tracks after `afterId`, in the order of their ids. Shorter than `limit` only at the end. */
export async function trackPage(
  knex: Knex,
  { afterId = firstId, limit, filter = {} }: { afterId?: string; limit: number; filter?: TrackFilter },
): Promise<Track[]> {
  const query = knex('tracks').select(trackColumns).where('tracks.id', '>', afterId)
  applyFilter(query, knex, filter)
  return query.orderBy('tracks.id').limit(limit)
}

/**
 * Every track that passes the filter, in pages; memory stays flat however many there are. Which they are is read first, in
 * one scan, and the pages are in the order of that: looked up by ever higher ids they would lie all over the table. A page
 * has its tracks as they are when it comes; those that no longer pass are left out.
 *
 * @param inOrder of the ids, for whoever stops after a few: nothing is read of the rest
 */
export async function* trackPages(
  knex: Knex,
  {
    filter = {},
    pageSize = 1_000,
    signal,
    inOrder = false,
  }: { filter?: TrackFilter; pageSize?: number; signal?: AbortSignal; inOrder?: boolean } = {},
): AsyncGenerator<Track[], void> {
  if (inOrder) return yield* trackPagesInOrder(knex, { filter, pageSize, signal })
  const query = knex('tracks').select('tracks.id', 'tracks.ctid')
  applyFilter(query, knex, filter)
  const { sql, bindings } = query.toSQL()
  const rows = await selectPlacedIds(knex, sql, bindings)
  for await (const page of rows.pages(pageSize)) {
    signal?.throwIfAborted()
    // One by one where it lay, or through the key if it has been changed since and lies elsewhere. For a page the planner
    // would rather read a table of up to some 100,000 rows as a whole, page after page; `limit` keeps it from that.
    const now = knex.select(trackColumns).orderBy('wanted.place')
    now.joinRaw(
      `from unnest(?::uuid[], ?::tid[]) with ordinality as wanted(id, ctid, place),
         lateral (select * from tracks where tracks.ctid = wanted.ctid and id = wanted.id
                  union all select * from tracks where id = wanted.id limit 1) as tracks`,
      [page.map(({ id }) => id), page.map(({ ctid }) => ctid)],
    )
    applyRowFilter(now, filter)
    const tracks: Track[] = await now
    if (tracks.length > 0) yield tracks
  }
}

/** Every track in one scan, for whoever works on its pages at once: until the end it holds a connection and a transaction. */
export async function* scanTracks(
  knex: Knex,
  { pageSize = 1_000, signal }: { pageSize?: number; signal?: AbortSignal } = {},
): AsyncGenerator<Track[], void> {
  const { sql, bindings } = knex('tracks').select(trackColumns).toSQL()
  for await (const page of cursorPages<Track>(knex, sql, bindings, pageSize)) {
    signal?.throwIfAborted()
    yield page
  }
}

async function* trackPagesInOrder(
  knex: Knex,
  { filter, pageSize, signal }: { filter: TrackFilter; pageSize: number; signal: AbortSignal | undefined },
): AsyncGenerator<Track[], void> {
  for (let afterId = firstId; ; ) {
    signal?.throwIfAborted()
    const page = await trackPage(knex, { afterId, limit: pageSize, filter })
    if (page.length > 0) yield page
    if (page.length < pageSize) return
    afterId = page.at(-1)!.id
  }
}

/** Whether there are no rows at all: of none nothing can be said. */
export async function hasNoRows({ knex }: { readonly knex: Knex }): Promise<boolean> {
  return (await knex('tracks').first('id')) === undefined
}

/** How many tracks pass the filter, and their bytes as far as the rows say. */
export async function countTracks(
  knex: Knex,
  filter: TrackFilter = {},
): Promise<{ tracks: number; bytes: number; withoutSize: number }> {
  const query = knex('tracks').first(
    knex.raw('count(*) as tracks'),
    knex.raw('coalesce(sum(tracks.file_size), 0) as bytes'),
    knex.raw('count(*) filter (where tracks.file_size is null) as without_size'),
  )
  applyFilter(query, knex, filter)
  const row = (await query) as { tracks: string; bytes: number; without_size: string }
  return { tracks: Number(row.tracks), bytes: row.bytes, withoutSize: Number(row.without_size) }
}

/** A page of claims. */
interface ClaimedPage {
  /** those that this run has now, which may be none although more remain */
  readonly tracks: Track[]
  /** ids of rows that another transaction held locked: to be asked for again */
  readonly locked: string[]
  /** where to continue; null at the end */
  readonly nextAfterId: string | null
}

/**
 * Claims the next tracks for a run, in one statement. Two runs never get the same track: the primary key of
 * `claims` settles that. Nobody is waited for: a row that another transaction has locked (the application, or another
 * run that is claiming it) is named, and left to a later page. Claims of a run whose lease ran out are taken over. What
 * this run claimed before, it gets again.
 */
export async function claimTracks(
  knex: Knex,
  claim: { kind: string; runId: string; afterId?: string; limit: number; filter?: TrackFilter },
): Promise<ClaimedPage> {
  const { kind, runId, afterId = firstId, limit, filter = {} } = claim
  const wanted = knex('tracks')
    .select('tracks.id')
    .where('tracks.id', '>', afterId)
    .whereNotExists(
      knex('autodj_ledger.claims as c')
        .join('autodj_ledger.runs as r', 'r.id', 'c.run_id')
        .select(knex.raw('1'))
        .where('c.kind', kind)
        .whereRaw('c.track_id = tracks.id')
        .where('c.run_id', '<>', runId)
        .whereRaw('r.lease_until > now()'),
    )
  applyFilter(wanted, knex, filter)
  wanted.orderBy('tracks.id').limit(limit)
  const picked = knex('tracks').select(trackColumns).whereRaw('tracks.id in (select id from wanted)')
  // Once more: a row that changed since is looked at as it is now, when its lock is taken.
  applyRowFilter(picked, filter)
  picked.orderBy('tracks.id').forNoKeyUpdate('tracks').skipLocked()

  const rows = (await knex
    .withMaterialized('wanted', wanted)
    .with('picked', picked)
    .with(
      'claimed',
      knex.raw(
        `insert into autodj_ledger.claims as c (kind, track_id, run_id)
           select ?::text, id, ?::uuid from picked order by id
           on conflict (kind, track_id) do update set run_id = excluded.run_id, claimed_at = now()
             where c.run_id = excluded.run_id
                or not exists (select 1 from autodj_ledger.runs r where r.id = c.run_id and r.lease_until > now())
           returning track_id`,
        [kind, runId],
      ),
    )
    .select('picked.*', 'wanted.id as wantedId', knex.raw('claimed.track_id is not null as claimed'))
    .from('wanted')
    .leftJoin('picked', 'picked.id', 'wanted.id')
    .leftJoin('claimed', 'claimed.track_id', 'picked.id')
    .orderBy('wanted.id')) as ((Track | { id: null }) & { wantedId: string; claimed: boolean })[]

  return {
    tracks: rows.flatMap(({ claimed, wantedId: _, ...row }) => (claimed ? [row as Track] : [])),
    locked: rows.flatMap(row => (row.id === null ? [row.wantedId] : [])),
    nextAfterId: rows.at(-1)?.wantedId ?? null,
  }
}

/** Who has one of these rows locked, as far as the server tells: "psql (pid 17, since 09:30:00Z)". */
export async function lockHolder(knex: Knex, ids: readonly string[]): Promise<string | undefined> {
  const { rows } = await knex.raw<{ rows: { name: string; pid: number; since: Date }[] }>(
    `select coalesce(nullif(a.application_name, ''), a.usename) as name, a.pid, a.xact_start as since
     from tracks t
     join pg_locks l on l.locktype = 'transactionid' and l.granted and l.transactionid = t.xmax
     join pg_stat_activity a on a.pid = l.pid
     where t.id = any(?::uuid[]) order by a.xact_start limit 1`,
    [ids.slice(0, 1_000)],
  )
  const [holder] = rows
  return holder && `${holder.name} (pid ${holder.pid}, since ${holder.since.toISOString().slice(11, 19)}Z)`
}

/** A row to be made for an audio file. */
export interface NewTrack {
  id: string
  spotifyId: string
  title: string
  artist: string
  album: string | null
  /** Seconds. */
  duration: number | null
  filePath: string
  fileSource: FileSource
  /** Bytes. */
  fileSize: number
}

const newTrack: readonly BulkColumn<NewTrack>[] = [
  ['id', 'uuid', track => track.id],
  ['spotify_id', 'text', track => track.spotifyId],
  ['title', 'text', track => track.title],
  ['artist', 'text', track => track.artist],
  ['album', 'text', track => track.album],
  ['duration', 'float8', track => track.duration],
  ['duration_ms', 'float8', track => (track.duration === null ? null : track.duration * 1000)],
  ['file_path', 'text', track => track.filePath],
  ['file_source', 'filesource', track => track.fileSource],
  ['file_size', 'float8', track => track.fileSize],
]

/** Makes rows; one whose `spotify_id` already exists is left out. Gives the ids of those made. */
export async function insertTracks(knex: Knex, tracks: readonly NewTrack[]): Promise<Set<string>> {
  const made = new Set<string>()
  const names = newTrack.map(([name]) => name).join(', ')
  for (const slice of slices(tracks)) {
    const { sql, bindings } = unnest('u', newTrack, slice)
    const { rows } = await knex.raw<{ rows: { id: string }[] }>(
      `insert into tracks (${names}) select ${names} from ${sql}
       on conflict (spotify_id) do nothing returning id`,
      bindings,
    )
    for (const { id } of rows) made.add(id)
  }
  return made
}

/** The tracks with these `spotify_id`s, those that exist. */
export async function tracksBySpotifyId(knex: Knex, spotifyIds: readonly string[]): Promise<Track[]> {
  const found: Track[] = []
  for (const slice of slices(spotifyIds)) {
    found.push(
      ...(await knex('tracks')
        .select(trackColumns)
        .whereRaw('tracks.spotify_id = any(?::text[])', [[...slice]])),
    )
  }
  return found
}

/** The tracks with these ids, those that exist, in the order of their ids. */
export async function tracksById(knex: Knex, ids: readonly string[]): Promise<Track[]> {
  const found: Track[] = []
  for (const slice of slices([...new Set(ids)].sort())) {
    found.push(
      ...(await knex('tracks')
        .select(trackColumns)
        .whereRaw('tracks.id = any(?::uuid[])', [[...slice]])
        .orderBy('tracks.id')),
    )
  }
  return found
}

/** Ids of the tracks whose `file_path` or id is one of these, in the order of their ids. */
export async function trackIdsByFilePath(
  knex: Knex,
  pathsOrIds: readonly string[],
): Promise<{ ids: string[]; unknown: { count: number; first: string } }> {
  const found = new Set<string>()
  const unknown = { count: 0, first: '' }
  for (const slice of slices(pathsOrIds)) {
    const rows = (await knex('tracks')
      .select('id', 'file_path as path')
      .whereRaw('file_path = any(?::text[]) or id::text = any(?::text[])', [[...slice], [...slice]])) as {
      id: string
      path: string | null
    }[]
    const named = new Set<string | null>()
    for (const { id, path } of rows) {
      found.add(id)
      named.add(id).add(path)
    }
    for (const one of slice) {
      if (named.has(one)) continue
      if (unknown.count++ === 0) unknown.first = one
    }
  }
  return { ids: [...found].sort(), unknown }
}

/** What a command read of a track before it decided; the change is made only if the row still says so. */
export type PlannedTrack = Pick<Track, 'id' | 'filePath' | 'fileSource' | 's3ObjectKey'>

/** New values of a track's file columns; undefined leaves a column as it is. */
export interface TrackChange {
  planned: PlannedTrack
  filePath?: string | null
  fileSource?: FileSource | null
  fileSize?: number | null
  s3ObjectKey?: string | null
}

/**
 * What became of a change. `changed`: the row is no longer what was planned, and was left alone; `deleted`: there is
 * no longer such a row; `set-back`: a trigger of the database undid it as it was made.
 */
export type ChangeOutcome = 'done' | 'changed' | 'deleted' | 'set-back'

const changeColumns: readonly BulkColumn<TrackChange>[] = [
  ['id', 'uuid', change => change.planned.id],
  ['set_path', 'bool', change => change.filePath !== undefined],
  ['file_path', 'text', change => change.filePath],
  ['set_source', 'bool', change => change.fileSource !== undefined],
  ['file_source', 'filesource', change => change.fileSource],
  ['set_size', 'bool', change => change.fileSize !== undefined],
  ['file_size', 'float8', change => change.fileSize],
  ['set_key', 'bool', change => change.s3ObjectKey !== undefined],
  ['s3_object_key', 'text', change => change.s3ObjectKey],
]

/**
 * Changes the file columns of many tracks, each only if its row still is what was planned (or already is what it
 * would become: a run that was cut off before it heard of its commit finds its own work done). Rows are locked in the
 * order of their ids, so that two of these never deadlock. Call it in a transaction where more belongs to it.
 *
 * @returns the outcome for each track id
 */
export async function changeTracks(
  knex: Knex,
  changes: readonly TrackChange[],
): Promise<Map<string, ChangeOutcome>> {
  return (await change(knex, changes, false)) as Map<string, ChangeOutcome>
}

/** As {@link changeTracks}, and waits for nobody: a row that another transaction has locked is left as it is. */
export async function changeUnlockedTracks(
  knex: Knex,
  changes: readonly TrackChange[],
): Promise<Map<string, ChangeOutcome | 'locked'>> {
  return change(knex, changes, true)
}

/** Whether a row that was written says what it said before, or another source than was written. */
function isUndone(row: PlannedTrack, { planned, fileSource, filePath, s3ObjectKey }: TrackChange): boolean {
  const stays = <T>(wanted: T | undefined, now: T, before: T) =>
    wanted !== undefined && now !== wanted && now === before
  return (
    (fileSource ?? row.fileSource) !== row.fileSource ||
    stays(filePath, row.filePath, planned.filePath) ||
    stays(s3ObjectKey, row.s3ObjectKey, planned.s3ObjectKey)
  )
}

async function change(
  knex: Knex,
  changes: readonly TrackChange[],
  skipLocked: boolean,
): Promise<Map<string, ChangeOutcome | 'locked'>> {
  const outcomes = new Map<string, ChangeOutcome | 'locked'>()
  const sorted = changes.toSorted((a, b) => (a.planned.id < b.planned.id ? -1 : 1))
  for (const slice of slices(sorted)) {
    await knex.transaction(async trx => {
      const current = new Map<string, PlannedTrack & Pick<Track, 'fileSize'>>()
      const ids = slice.map(change => change.planned.id)
      const locking = trx('tracks')
        .select('id', 'file_path as filePath', 'file_source as fileSource', 'file_size as fileSize')
        .select('s3_object_key as s3ObjectKey')
        .whereRaw('id = any(?::uuid[])', [ids])
        .orderBy('id')
        .forNoKeyUpdate()
      if (skipLocked) locking.skipLocked()
      for (const row of (await locking) as (PlannedTrack & Pick<Track, 'fileSize'>)[])
        current.set(row.id, row)
      const missing = ids.filter(id => !current.has(id))
      const locked = skipLocked ? await existingTracks(trx, missing) : new Set<string>()
      await refuseKeptByPolicy(trx, locked)

      const due: TrackChange[] = []
      for (const change of slice) {
        const { planned } = change
        const row = current.get(planned.id)
        if (row === undefined) outcomes.set(planned.id, locked.has(planned.id) ? 'locked' : 'deleted')
        else if (isMade(row, change)) outcomes.set(planned.id, 'done')
        else if (
          row.filePath === planned.filePath &&
          row.fileSource === planned.fileSource &&
          row.s3ObjectKey === planned.s3ObjectKey
        ) {
          outcomes.set(planned.id, 'done')
          due.push(change)
        } else outcomes.set(planned.id, 'changed')
      }
      if (due.length === 0) return
      const { sql, bindings } = unnest('u', changeColumns, due)
      const { rows } = await trx.raw<{ rows: PlannedTrack[] }>(
        `update tracks as t set
           file_path = case when u.set_path then u.file_path else t.file_path end,
           file_source = case when u.set_source then u.file_source else t.file_source end,
           file_size = case when u.set_size then u.file_size else t.file_size end,
           s3_object_key = case when u.set_key then u.s3_object_key else t.s3_object_key end,
           updated_at = now()
         from ${sql} where t.id = u.id
         returning t.id, t.file_source as "fileSource", t.file_path as "filePath",
           t.s3_object_key as "s3ObjectKey"`,
        bindings,
      )
      const written = new Map(rows.map(row => [row.id, row]))
      for (const change of due) {
        const row = written.get(change.planned.id)
        if (row === undefined || isUndone(row, change)) outcomes.set(change.planned.id, 'set-back')
      }
    })
  }
  return outcomes
}

/**
 * Locks rows until the transaction ends, those that no other one has locked. What is in neither set has no row.
 *
 * @throws what {@link refuseKeptByPolicy} throws
 */
export async function lockUnlocked(
  trx: Knex,
  ids: readonly string[],
): Promise<{ free: Set<string>; locked: Set<string> }> {
  const free = new Set<string>(
    await trx('tracks')
      .whereRaw('id = any(?::uuid[])', [[...ids]])
      .orderBy('id')
      .forNoKeyUpdate()
      .skipLocked()
      .pluck('id'),
  )
  const missing = ids.filter(id => !free.has(id))
  const locked = await existingTracks(trx, missing)
  await refuseKeptByPolicy(trx, locked)
  return { free, locked }
}

/** Those of these ids that have a row, locked or not. */
export async function existingTracks(knex: Knex, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set()
  return new Set(
    await knex('tracks')
      .whereRaw('id = any(?::uuid[])', [[...ids]])
      .pluck('id'),
  )
}

function isMade(row: PlannedTrack & Pick<Track, 'fileSize'>, change: TrackChange): boolean {
  return (
    (change.filePath === undefined || change.filePath === row.filePath) &&
    (change.fileSource === undefined || change.fileSource === row.fileSource) &&
    (change.fileSize === undefined || change.fileSize === row.fileSize) &&
    (change.s3ObjectKey === undefined || change.s3ObjectKey === row.s3ObjectKey)
  )
}

/** Paths that rows have, of at most this many rows: a sample, since ids are random. */
export async function filePathSample(knex: Knex, limit = 2_000): Promise<string[]> {
  const rows = await knex('tracks').whereNotNull('file_path').orderBy('id').limit(limit).select('file_path')
  return rows.map(row => row.file_path as string)
}

/** A new name of a row. */
interface TrackRename {
  readonly planned: Pick<Track, 'id' | 'title' | 'artist'>
  readonly title: string
  readonly artist: string
}

const rename: readonly BulkColumn<TrackRename>[] = [
  ['id', 'uuid', ({ planned }) => planned.id],
  ['old_title', 'text', ({ planned }) => planned.title],
  ['old_artist', 'text', ({ planned }) => planned.artist],
  ['title', 'text', ({ title }) => title],
  ['artist', 'text', ({ artist }) => artist],
]

/**
 * Changes title and artist of rows that still have the ones that were planned, and that no other transaction has locked.
 * Call it in a transaction. Gives what became of each, by its id.
 */
export async function renameTracks(
  knex: Knex,
  renames: readonly TrackRename[],
): Promise<Map<string, 'done' | 'changed' | 'locked'>> {
  const ends = new Map<string, 'done' | 'changed' | 'locked'>()
  for (const slice of slices(renames)) {
    const { locked } = await lockUnlocked(
      knex,
      slice.map(({ planned }) => planned.id),
    )
    for (const { planned } of slice) ends.set(planned.id, locked.has(planned.id) ? 'locked' : 'changed')
    const due = slice.filter(({ planned }) => !locked.has(planned.id))
    if (due.length === 0) continue
    const { sql, bindings } = unnest('u', rename, due)
    const { rows } = await knex.raw<{ rows: { id: string }[] }>(
      `update tracks as t set title = u.title, artist = u.artist, updated_at = now()
       from ${sql} where t.id = u.id and t.title = u.old_title and t.artist = u.old_artist returning t.id`,
      bindings,
    )
    for (const { id } of rows) ends.set(id, 'done')
  }
  return ends
}

/** Artist and title of every track whose row names no object, or says that its audio is elsewhere. */
export async function* namesWithoutKey(
  knex: Knex,
): AsyncGenerator<{ id: string; artist: string; title: string }[]> {
  const pages = cursorPages<[id: string, artist: string, title: string]>(
    knex,
    `select id, artist, title from tracks where s3_object_key is null or file_source is distinct from 'S3'`,
    [],
    2_000,
    { rowMode: 'array' },
  )
  for await (const rows of pages) yield rows.map(([id, artist, title]) => ({ id, artist, title }))
}
