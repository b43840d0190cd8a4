/**
 * A library in which every state of row, object, ledger and file stands once, reconciled in one run: what is said of
 * each, and what the plan would do. Contents differ from state to state, so that none is taken for another's.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localTrackId } from '../../src/core/import/content-id.ts'
import { parseInventoryUrl } from '../../src/core/inventory-url.ts'
import { cacheControl, objectKey } from '../../src/core/keys.ts'
import { rememberFiles, upsertObjects } from '../../src/db/ledger.ts'
import type { ReconcileFlags } from '../../src/reconcile/flags.ts'
import { type ObjectHead, StoreError } from '../../src/storage/store.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { hooked, once, type StoreHooks } from '../support/hooked-store.ts'
import { putInventory } from '../support/inventory.ts'
import { crc32Text, sha256 } from '../support/sums.ts'
import { reconcile } from './safety.ts'

let bed: TestBed
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
})
afterAll(() => bed.close())

interface RowOf {
  key?: string | null
  source?: string | null
  size?: number | null
  path?: string | null
  artist?: string
  title?: string
  /** the file at its path */
  file?: Uint8Array
  spotifyId?: string
}
interface ObjectOf {
  key?: string
  bytes?: Uint8Array
  metadata?: Record<string, string>
  contentType?: string
  /** the store computes its SHA-256 */
  summed?: boolean
}
type State = [
  name: string,
  world: (at: {
    key: string
    bytes: Buffer
    row: (of?: RowOf) => Promise<string>
    put: (of?: ObjectOf) => Promise<string>
    known: (of?: {
      key?: string
      etag?: string
      sha256?: string
      size?: number
      contentType?: string | undefined
      verifiedAt?: Date
    }) => Promise<void>
  }) => Promise<unknown>,
  expected: readonly string[],
]

let seed = 100
async function build(states: readonly State[]): Promise<(run: BedRun) => Record<string, string[]>> {
  const names = new Map<string, string>()
  for (const [name, world] of states) {
    const bytes = fakeAudio(3_000, seed++)
    const key = `audio/${name}.flac`
    names.set(name, name)
    const etags = new Map<string, string>()
    await world({
      key,
      bytes,
      row: async ({ file, spotifyId, size = 3_000, ...row } = {}) => {
        const id = await bed.addTrack({
          path: row.path ?? null,
          source: row.source === undefined ? 'S3' : row.source,
          ...(row.key === null ? {} : { key: row.key ?? key }),
          ...(file === undefined ? {} : { content: file }),
          title: row.title ?? name,
          artist: row.artist ?? 'Nobody',
        })
        await bed.database
          .knex('tracks')
          .where({ id })
          .update({ file_size: size, ...(spotifyId === undefined ? {} : { spotify_id: spotifyId }) })
        names.set(id, name)
        return id
      },
      put: async ({ key: at = key, bytes: body = bytes, metadata = {}, ...more } = {}) => {
        const { contentType = 'audio/flac', summed = false } = more
        const { etag } = await bed.store.put(at, body, {
          headers: { contentType, cacheControl, metadata },
          checksums: summed ? { sha256: Buffer.from(sha256(body), 'hex').toString('base64') } : {},
        })
        names.set(at, name)
        etags.set(at, etag)
        return etag
      },
      known: async ({
        key: at = key,
        etag = etags.get(at) ?? 'none',
        sha256: sum = sha256(bytes),
        size = 3_000,
        ...more
      } = {}) => {
        await upsertObjects(bed.database.knex, [
          {
            bucket: bed.store.bucket,
            key: at,
            size,
            etag,
            sha256: sum,
            contentType: 'audio/flac',
            verifiedAt: new Date(Date.now() + 60_000),
            ...more,
          },
        ])
      },
    })
  }
  const ids = [...names.keys()].sort((a, b) => b.length - a.length)
  return run => {
    const found: Record<string, string[]> = Object.fromEntries(states.map(([name]) => [name, []]))
    const note = (text: string, line: string) => {
      const id = ids.find(one => text.includes(one))
      found[(id && names.get(id)) ?? '?'] ??= []
      found[(id && names.get(id)) ?? '?']?.push(line)
    }
    for (const item of run.items) {
      const classes = (item['differences'] as { class: string }[]).map(one => one.class)
      const text = JSON.stringify(item)
      const blind = text.includes('cannot be looked at') ? 'cannot be looked at' : ''
      note(text, `${item['sigil']} ${classes.join(' ')} ${blind}`.trim())
    }
    if (file !== undefined)
      for (const line of readFileSync(file, 'utf8').trim().split('\n')) {
        const { action, becomes, from } = JSON.parse(line)
        if (typeof action !== 'string') continue
        note(line, [action, becomes?.source, from && 'from quarantine'].filter(Boolean).join(' '))
      }
    return found
  }
}
let file: string | undefined
async function found(states: readonly State[], flags: Partial<ReconcileFlags> = {}, hooks: StoreHooks = {}) {
  await bed.reset()
  file = path.join(bed.dir, 'p.plan')
  rmSync(file, { force: true })
  const read = await build(states)
  const run = await reconcile(
    bed,
    { plan: file, maxDelete: { percent: 100 }, force: true, ...flags },
    { hooks },
  )
  expect(run.error).toBeUndefined()
  return { found: read(run), summary: run.summary, run }
}
const expectedOf = (states: readonly State[]) =>
  Object.fromEntries(states.map(([name, , lines]) => [name, lines]))

const remember = (name: string, bytes: Buffer) =>
  rememberFiles(bed.database.knex, [
    {
      path: name,
      size: bytes.length,
      mtimeNs: 1n,
      ctimeNs: 1n,
      inode: 1n,
      device: 1n,
      sha256: sha256(bytes),
      crc32: crc32Text(bytes),
    },
  ])
const lost = { source: 'UNAVAILABLE', key: null, size: null } as const
const states: State[] = [
  ['agrees, and was proved', async ({ row, put, known }) => [await put(), await known(), await row()], []],
  ['agrees, unproved', async ({ row, put }) => [await put(), await row()], []],
  [
    'agrees, its file is there',
    async ({ row, put, bytes }) => [await put(), await row({ path: 'there.flac', file: bytes })],
    [],
  ],
  ['agrees with two rows', async ({ row, put }) => [await put(), await row(), await row()], []],
  [
    'agrees with two rows, and was proved',
    async ({ row, put, known }) => [await put(), await known(), await row(), await row()],
    [],
  ],
  ['agrees, without a size', async ({ row, put }) => [await put(), await row({ size: null })], []],
  [
    'proved as another',
    async ({ row, put, known }) => [
      await put(),
      await known({ sha256: sha256(Buffer.from('x')) }),
      await row(),
    ],
    [],
  ],
  [
    'of another etag than was proved',
    async ({ row, put, known }) => [await put(), await known({ etag: 'other' }), await row()],
    [],
  ],
  [
    'of another size than the row',
    async ({ row, put }) => [await put(), await row({ size: 2_999 })],
    ['* size-differs'],
  ],
  [
    'says another sum',
    async ({ row, put }) => [await put({ metadata: { sha256: sha256(Buffer.from('y')) } }), await row()],
    [],
  ],
  [
    'of another sum and size than is said',
    async ({ row, put }) => [
      await put({ metadata: { sha256: sha256(Buffer.from('y')) }, summed: true }),
      await row({ size: 2_999, path: 'sum.flac', file: Buffer.from('x') }),
    ],
    ['* size-differs checksum-differs', 'update-row LOCAL', 'remove-object'],
  ],
  [
    'of a wrong type',
    async ({ row, put }) => [await put({ contentType: 'text/plain' }), await row()],
    ['* metadata-differs', 'set-headers'],
  ],
  [
    'written anew, with a wrong type',
    async ({ row, put, known }) => [
      await put({ contentType: 'text/plain' }),
      await known({ etag: 'other', contentType: undefined }),
      await row(),
    ],
    ['* metadata-differs', 'set-headers'],
  ],
  [
    'its row says LOCAL',
    async ({ row, put }) => [await put(), await row({ source: 'LOCAL', path: 'l.flac' })],
    ['* wrong-source', 'update-row S3'],
  ],
  ['missing, no file', async ({ row }) => row(), ['+ missing-object', 'update-row UNAVAILABLE']],
  [
    'missing, its file is there',
    async ({ row, bytes }) => row({ path: 'm.flac', file: bytes }),
    ['+ missing-object', 'update-row LOCAL'],
  ],
  [
    'missing, its content is elsewhere',
    async ({ row, put, known, bytes }) => [
      await known(),
      await row(),
      await put({ key: 'audio/elsewhere.flac', metadata: { sha256: sha256(bytes) } }),
    ],
    ['* moved', 'update-row S3'],
  ],
  [
    "missing, its content is another's, as was proved once",
    async ({ row, put, known, key }) => [
      await known(),
      await row(),
      await put({ key: `${key}.other` }),
      await known({ key: `${key}.other`, verifiedAt: new Date(0) }),
      await row({ key: `${key}.other` }),
    ],
    ['* moved', 'update-row S3'],
  ],
  [
    "missing, its content is another's, as the ledger vouches",
    async ({ row, put, known, key }) => [
      await known(),
      await row(),
      await put({ key: `${key}.other` }),
      await known({ key: `${key}.other` }),
      await row({ key: `${key}.other` }),
    ],
    ['* moved', 'update-row S3'],
  ],
  [
    "missing, its content is another's, as the store says",
    async ({ row, put, known, key }) => [
      await known(),
      await row(),
      await put({ key: `${key}.other`, summed: true }),
      await row({ key: `${key}.other` }),
    ],
    ['* moved', 'update-row S3'],
  ],
  [
    "missing, its content is another's no more",
    async ({ row, put, known, key }) => [
      await known(),
      await row(),
      await put({ key: `${key}.other`, bytes: fakeAudio(2_000, seed++) }),
      await known({ key: `${key}.other`, etag: 'another', verifiedAt: new Date(0) }),
      await row({ key: `${key}.other`, size: 2_000 }),
    ],
    ['* checksum-differs', '+ missing-object', 'update-row UNAVAILABLE'],
  ],
  [
    'in quarantine by a plan',
    async ({ row, put, key }) => [await put({ key: `quarantine/${randomUUID()}/${key}` }), await row()],
    ['+ missing-object', 'bring-back-object from quarantine'],
  ],
  [
    'in quarantine of a track whose row names it',
    async ({ row, put, known, key, bytes }) => [
      await put({ key: `quarantine/${randomUUID()}/${key}` }),
      await known(),
      await row({ spotifyId: localTrackId(sha256(bytes)) }),
    ],
    ['+ missing-object', 'bring-back-object from quarantine'],
  ],
  [
    'in quarantine as damaged',
    async ({ row, put, key }) => [await put({ key: `quarantine/damaged/${key}` }), await row()],
    ['+ missing-object', 'update-row UNAVAILABLE'],
  ],
  [
    'removed, and its track has no audio',
    async ({ row, put, known, key }) => [
      await put({ key: `quarantine/${randomUUID()}/${key}` }),
      await known(),
      await row({ ...lost, spotifyId: 'x' }),
    ],
    [],
  ],
  [
    'removed, of a track by its content',
    async ({ row, put, known, key, bytes }) => [
      await put({ key: `quarantine/${randomUUID()}/${key}` }),
      await known(),
      await row({ ...lost, spotifyId: localTrackId(sha256(bytes)) }),
    ],
    ['- unlinked-object', 'bring-back-object from quarantine'],
  ],
  [
    'removed, of another prefix',
    async ({ row, put, known, bytes }) => [
      await put({ key: `quarantine/${randomUUID()}/other/removed.flac` }),
      await known({ key: 'other/removed.flac' }),
      await row({ ...lost, spotifyId: localTrackId(sha256(bytes)) }),
    ],
    [],
  ],
  [
    'removed, and empty',
    async ({ row, put, known, key, bytes }) => [
      await put({ key: `quarantine/${randomUUID()}/${key}`, bytes: Buffer.alloc(0) }),
      await known(),
      await row({ ...lost, spotifyId: localTrackId(sha256(bytes)) }),
    ],
    [],
  ],
  ['orphan without a mark', async ({ put }) => put(), []],
  ['key that no row can hold', async ({ put, key }) => put({ key: `${key}\0` }), []],
  [
    'orphan that the ledger knows',
    async ({ put, known }) => [await put(), await known()],
    ['- orphan-object', 'remove-object'],
  ],
  [
    'orphan with the mark of nobody',
    async ({ put }) => put({ metadata: { 'track-id': randomUUID(), sha256: sha256(Buffer.from('z')) } }),
    ['- orphan-object', 'remove-object'],
  ],
  [
    'orphan that says what it is',
    async ({ put, bytes }) => put({ metadata: { sha256: sha256(bytes) } }),
    ['- orphan-object', 'remove-object'],
  ],
  [
    'orphan of a track without audio',
    async ({ put, row }) => put({ metadata: { 'track-id': await row(lost) } }),
    ['- unlinked-object', 'update-row S3'],
  ],
  [
    'orphan of a track in capitals',
    async ({ put, row }) => put({ metadata: { 'track-id': (await row(lost)).toUpperCase() } }),
    ['- unlinked-object', 'update-row S3'],
  ],
  [
    'orphan of a track whose file is out of reach',
    async ({ put, row }) =>
      put({ metadata: { 'track-id': await row({ ...lost, source: 'LOCAL', path: '../out.flac' }) } }),
    ['+ no-audio', '- unlinked-object cannot be looked at', 'update-row S3'],
  ],
  ...[
    ['no id', () => 'a track'],
    ['more than an id', () => `${randomUUID()}0`],
    ['an id and more before', () => `0${randomUUID()}`],
  ].map(
    ([what, id]): State => [
      `orphan of what is ${what}`,
      async ({ put }) => put({ metadata: { 'track-id': (id as () => string)() } }),
      ['- orphan-object', 'remove-object'],
    ],
  ),
  [
    'orphan of another library, of what is no id',
    async ({ put }) => put({ metadata: { library: randomUUID(), 'track-id': 'a track' } }),
    [],
  ],
  [
    'row without a key, though there is an object called null',
    async ({ put, row }) => [
      await put({ key: 'null' }),
      await put({ metadata: { 'track-id': await row(lost) } }),
    ],
    ['- unlinked-object', 'update-row S3'],
  ],
  [
    'orphan of a track by what its file was',
    async ({ put, row, bytes }) => {
      await put({ metadata: { sha256: sha256(bytes) } })
      await row({ ...lost, source: 'LOCAL', path: 'hashed once.flac' })
      await remember('hashed once.flac', bytes)
    },
    ['- unlinked-object', 'update-row S3'],
  ],
  [
    'orphan of what no row names any longer',
    async ({ put, bytes }) => {
      await put({ metadata: { sha256: sha256(bytes) } })
      await remember('nobody.flac', bytes)
    },
    ['- orphan-object', 'remove-object'],
  ],
  [
    'orphan of a track that has its file',
    async ({ put, row, bytes }) =>
      put({
        metadata: { 'track-id': await row({ ...lost, source: 'LOCAL', path: 'own.flac', file: bytes }) },
      }),
    ['- orphan-object', 'remove-object'],
  ],
  [
    'orphan of a track whose file is gone',
    async ({ put, row }) =>
      put({ metadata: { 'track-id': await row({ ...lost, source: 'LOCAL', path: 'gone.flac' }) } }),
    ['- unlinked-object', 'update-row S3'],
  ],
  [
    'orphan of a track that has its object',
    async ({ put, row, key }) => [
      await put({ key: `${key}.own` }),
      await put({ metadata: { 'track-id': await row({ key: `${key}.own` }) } }),
    ],
    ['- orphan-object duplicate-content', 'remove-object'],
  ],
  [
    'orphan of another library',
    async ({ put }) => put({ metadata: { library: randomUUID(), 'track-id': randomUUID() } }),
    [],
  ],
  [
    'orphan of another library, and of a track here',
    async ({ put, row, bytes }) => {
      const id = await row({ ...lost, source: 'LOCAL', path: 'both.flac', file: bytes })
      await put({ metadata: { library: randomUUID(), 'track-id': id.toUpperCase() } })
    },
    ['- orphan-object', 'remove-object'],
  ],
  [
    'orphan of another library, known to the ledger',
    async ({ put, known }) => [
      await put({ metadata: { library: randomUUID(), 'track-id': randomUUID() } }),
      await known(),
    ],
    ['- orphan-object', 'remove-object'],
  ],
  [
    'orphan of a track by content',
    async ({ put, row, bytes }) => [
      await put({ metadata: { sha256: sha256(bytes) } }),
      await row({ ...lost, spotifyId: localTrackId(sha256(bytes)) }),
    ],
    ['- unlinked-object', 'update-row S3'],
  ],
  [
    'orphan of a track by content, known to the ledger',
    async ({ put, row, known, bytes }) => [
      await put(),
      await known(),
      await row({ ...lost, spotifyId: localTrackId(sha256(bytes)) }),
    ],
    ['- unlinked-object', 'update-row S3'],
  ],
  [
    'orphan of a track by content, known as another object',
    async ({ put, row, known, bytes }) => [
      await put(),
      await known({ etag: 'other' }),
      await row({ ...lost, spotifyId: localTrackId(sha256(bytes)) }),
    ],
    ['- orphan-object', 'remove-object'],
  ],
  [
    'orphan, empty, of a track',
    async ({ put, row }) => put({ bytes: Buffer.alloc(0), metadata: { 'track-id': await row(lost) } }),
    ['- orphan-object', 'remove-object'],
  ],
  [
    'orphan deeper, with the mark of nobody',
    async ({ put }) =>
      put({ key: 'audio/library/audio/deeper.flac', metadata: { 'track-id': randomUUID() } }),
    [],
  ],
  [
    'orphan deeper, known to the ledger',
    async ({ put, known }) => [
      await put({ key: 'audio/library/audio/deeper known.flac', metadata: { 'track-id': randomUUID() } }),
      await known({ key: 'audio/library/audio/deeper known.flac' }),
    ],
    ['- orphan-object', 'remove-object'],
  ],
  [
    'row by a URL',
    async ({ row, put, key }) => [await put(), await row({ key: `s3://music/${key}` })],
    ['* misspelt-key', 'update-row S3'],
  ],
  [
    'row by a URL that nobody encoded',
    async ({ row, put }) => [
      await put({ key: 'audio/%41 URL that nobody encoded.flac' }),
      await row({ key: 'https://cdn.example/audio/%41 URL that nobody encoded.flac' }),
    ],
    ['* misspelt-key', 'update-row S3'],
  ],
  [
    'row without the prefix',
    async ({ row, put }) => [await put(), await row({ key: 'row without the prefix.flac' })],
    ['* misspelt-key', 'update-row S3'],
  ],
  [
    'row of another bucket',
    async ({ row }) => row({ key: 's3://others/audio/x.flac' }),
    ['+ missing-object'],
  ],
  [
    'object outside the prefix',
    async ({ row, put }) => [await put({ key: 'outside.flac' }), await row({ key: 'outside.flac' })],
    [],
  ],
]

/** Of a track by the names that its key is made of. */
const named = (artist: string, bytes: Uint8Array): ObjectOf => ({
  key: objectKey({ prefix: 'audio/', artist, title: 'By Name', sha256: sha256(bytes), extension: 'flac' }),
  metadata: { sha256: sha256(bytes) },
})
const byName: State[] = [
  [
    'orphan of a track by name',
    async ({ put, row, bytes }) => [
      await put(named('Ann', bytes)),
      await row({ ...lost, artist: 'Ann', title: 'By Name' }),
    ],
    ['- unlinked-object', 'update-row S3'],
  ],
  [
    'orphan of a name that two tracks have',
    async ({ put, row, bytes }) => [
      await put(named('Eve', bytes)),
      await row({ ...lost, source: 'LOCAL', path: 'eve.flac', file: bytes, artist: 'Eve', title: 'By Name' }),
      await row({ ...lost, artist: 'Eve', title: 'By Name' }),
    ],
    ['- unlinked-object', 'update-row S3'],
  ],
  [
    'orphan of a name that has its audio',
    async ({ put, row, bytes }) => [
      await put(named('Bob', bytes)),
      await row({ ...lost, source: 'LOCAL', path: 'bob.flac', file: bytes, artist: 'Bob', title: 'By Name' }),
    ],
    ['- orphan-object', 'remove-object'],
  ],
]

test('what is said of each, and what the plan would do', async () => {
  const { found: lines, summary } = await found([...states, ...byName])
  expect(lines).toEqual(expectedOf([...states, ...byName]))
  expect(summary).toMatchObject({
    rows: 56,
    rows_with_key: 36,
    objects: 53,
    bytes: 155_000,
    changed: 0,
    unread: 0,
    agree: 22,
    heads: 64,
    hashed: 2,
  })
  expect(summary['found']).toMatchObject({ 'foreign-object': 5 })
})

test('what is not there any longer at the second look is not judged, and what cannot be looked at is told', async () => {
  const hooks = (answer: () => unknown): StoreHooks => ({
    head: {
      before: key => void (key.includes('unreadable') && denied()),
      after: (_, key) => (key.includes('gone') ? answer() : undefined),
    },
  })
  const denied = () => {
    throw new StoreError('denied', 'no')
  }
  const some: State[] = [
    ['gone orphan', async ({ put, known }) => [await put(), await known()], []],
    ['unreadable orphan', async ({ put, known }) => [await put(), await known()], ['!']],
    [
      'gone match',
      async ({ put, row }) => [await put(), await row()],
      ['+ missing-object', 'update-row UNAVAILABLE'],
    ],
    ['unreadable match', async ({ put, row }) => [await put(), await row()], ['!']],
    ['unreadable missing', async ({ row }) => row(), ['!']],
    ['agrees', async ({ put, row }) => [await put(), await row()], []],
  ]
  const {
    found: lines,
    summary,
    run,
  } = await found(
    some,
    { head: 'all' },
    hooks(() => null),
  )
  expect(lines).toEqual(expectedOf(some))
  const unread = run.items.filter(({ sigil }) => sigil === '!')
  expect(unread.map(({ differences }) => differences)).toEqual([[], [], []])
  expect(summary).toMatchObject({ changed: 1, unread: 3, agree: 1 })
})

test('a store that answers to a key which is none has the object of its reading', async () => {
  const some: State[] = [
    ['agrees', async ({ put, row }) => [await put(), await row()], []],
    [
      'its key begins with a slash',
      async ({ put, row, key }) => [await put(), await row({ key: `/${key}` })],
      ['* misspelt-key', 'update-row S3'],
    ],
  ]
  const hooks: StoreHooks = {
    head: {
      after: async (_, key) =>
        key.startsWith('/') ? { ...(await bed.store.head(key.slice(1))), key } : undefined,
    },
  }
  expect((await found(some, {}, hooks)).found).toEqual(expectedOf(some))
})

test('rows that change while it looks are not judged', async () => {
  const some: State[] = [
    ['missing', async ({ row }) => row(), ['+ missing-object', 'update-row UNAVAILABLE']],
    ['changing', async ({ row }) => row(), []],
    ['going', async ({ row }) => row(), []],
    ['agrees', async ({ put, row }) => [await put(), await row()], []],
  ]
  let isDone = false
  // The last page of the listing comes before the rows without objects are looked at.
  const change = async () => {
    if (isDone) return
    isDone = true
    const { knex } = bed.database
    await knex('tracks').where({ title: 'changing' }).update({ s3_object_key: 'audio/agrees.flac' })
    await knex('tracks').where({ title: 'going' }).delete()
  }
  const { found: lines, summary } = await found(some, { head: 'all' }, { head: { before: change } })
  expect(lines).toEqual(expectedOf(some))
  expect(summary).toMatchObject({ changed: 2 })
})

describe('how closely it looks', () => {
  const some: State[] = [
    ['proved', async ({ put, known, row }) => [await put(), await known(), await row()], []],
    ['unproved', async ({ put, row }) => [await put(), await row()], []],
    ['of a wrong type', async ({ put, row }) => [await put({ contentType: 'text/plain' }), await row()], []],
    [
      'of a wrong type, proved',
      async ({ put, known, row }) => [await put({ contentType: 'text/plain' }), await known(), await row()],
      [],
    ],
    [
      'said to be another',
      async ({ put, row }) => [
        await put({ metadata: { sha256: sha256(Buffer.from('y')) } }),
        await row({ path: 'there.flac', file: Buffer.from('x') }),
      ],
      [],
    ],
    [
      'proved as another',
      async ({ put, known, row }) => [
        await put(),
        await known({ sha256: sha256(Buffer.from('y')) }),
        await row(),
      ],
      [],
    ],
    ['of another size', async ({ put, row }) => [await put(), await row({ size: 1 })], []],
    [
      'its row says LOCAL',
      async ({ put, known, row }) => [
        await put(),
        await known(),
        await row({ source: 'LOCAL', path: 'gone.flac' }),
      ],
      [],
    ],
  ]
  const look = async (flags: Partial<ReconcileFlags>) => {
    const { found: lines, summary } = await found(some, flags)
    const kept = Object.fromEntries(Object.entries(lines).filter(([, said]) => said.length > 0))
    const { heads, hashed } = summary
    return { heads, hashed, ...kept }
  }
  const always = {
    'its row says LOCAL': ['* wrong-source', 'update-row S3'],
    'of another size': ['* size-differs'],
  }
  const headers = ['* metadata-differs', 'set-headers']
  test('at what the ledger does not vouch for', async () => {
    // A size that differs is looked at in any case.
    expect(await look({})).toEqual({ ...always, heads: 4, hashed: 0, 'of a wrong type': headers })
  })
  test('at nothing but what differs', async () => {
    expect(await look({ head: 'none' })).toEqual({ ...always, heads: 1, hashed: 0 })
  })
  const allHeaders = { 'of a wrong type': headers, 'of a wrong type, proved': headers }
  test('at everything', async () => {
    expect(await look({ head: 'all' })).toEqual({ ...always, ...allHeaders, heads: 8, hashed: 0 })
  })
  test('at all bytes', async () => {
    expect(await look({ deep: true })).toEqual({
      ...always,
      ...allHeaders,
      heads: 8,
      hashed: 8,
      'proved as another': ['* checksum-differs'],
      // Its file is there: that is the track's audio.
      'said to be another': ['* checksum-differs', 'update-row LOCAL', 'remove-object'],
    })
  })
  test('what the store computed is remembered where it is what was declared', async () => {
    const declared: State[] = [
      [
        'declared and computed',
        async ({ put, row, bytes }) => [
          await put({ metadata: { sha256: sha256(bytes) }, summed: true }),
          await row(),
        ],
        [],
      ],
      [
        'declared',
        async ({ put, row, bytes }) => [await put({ metadata: { sha256: sha256(bytes) } }), await row()],
        [],
      ],
    ]
    expect((await found(declared)).found).toEqual(expectedOf(declared))
    const [known, ...more] = await bed.database.knex('autodj_ledger.objects')
    const key = 'audio/declared and computed.flac'
    const { size, etag, metadata, contentType } = (await bed.store.head(key)) as ObjectHead
    expect(known).toMatchObject({
      key,
      size: String(size),
      etag,
      sha256: metadata['sha256'],
      content_type: contentType,
    })
    expect(more).toEqual([])
    // And what was read, whatever the store computes.
    await found(declared, { deep: true })
    const read = await bed.database.knex('autodj_ledger.objects').orderBy('key').pluck('sha256')
    const said = declared.map(
      async ([name]) => (await bed.store.head(`audio/${name}.flac`))?.metadata['sha256'],
    )
    expect(read.toSorted()).toEqual((await Promise.all(said)).toSorted())
  })
  test('what was looked at and found right is remembered, and nothing else', async () => {
    const objects = () => bed.database.knex('autodj_ledger.objects')
    await found(
      some,
      { deep: true },
      { list: { before: once(() => objects().update({ content_type: null })) } },
    )
    const rows = await objects().select('key', 'content_type', 'verified_at')
    const now = rows.filter(({ verified_at }) => verified_at.getTime() < Date.now() + 30_000)
    expect(now).toMatchObject([{ key: 'audio/proved.flac', content_type: 'audio/flac' }])
    expect(rows).toHaveLength(4)
  })
})

describe('by an inventory', () => {
  const before: State[] = [
    ['agrees', async ({ put, known, row }) => [await put(), await known(), await row()], []],
    ['orphan', async ({ put, known }) => [await put(), await known()], ['- orphan-object', 'remove-object']],
    ['in an archive', async ({ put, known, row }) => [await put(), await known(), await row()], []],
    ['left out', async ({ put, row }) => [await put(), await row()], []],
    ['left out, and young', async ({ put, row }) => [await put(), await row()], []],
    ['another prefix', async ({ put }) => put({ key: 'other/x.flac' }), []],
    ['of a console', async ({ put }) => put({ key: 'audio/folder/', bytes: Buffer.alloc(0) }), []],
    ['in quarantine', async ({ put }) => put({ key: 'quarantine/mine/x.flac' }), []],
  ]
  const removed: State = [
    'removed, of a track by content',
    async ({ row, put, known, key, bytes }) => [
      await put({ key: `quarantine/${randomUUID()}/${key}` }),
      await known(),
      await row({ ...lost, spotifyId: localTrackId(sha256(bytes)) }),
    ],
    ['- unlinked-object', 'bring-back-object from quarantine'],
  ]
  const since: State[] = [
    ['since', async ({ put, known, row }) => [await put(), await known(), await row()], []],
    ['orphan since', async ({ put, known }) => [await put(), await known()], []],
    ['of a console since', async ({ put }) => put({ key: 'audio/later/', bytes: Buffer.alloc(0) }), []],
  ]
  const missing: State = ['lost', async ({ row }) => row(), ['+ missing-object', 'update-row UNAVAILABLE']]

  async function byInventory(states: readonly State[], twice = false) {
    await bed.reset()
    file = path.join(bed.dir, 'p.plan')
    await build(before)
    const listed = (await Array.fromAsync(bed.store.list())).flat()
    const entries = listed
      .filter(({ key }) => !key.includes('left out'))
      .map(one => (one.key.includes('archive') ? { ...one, storageClass: 'GLACIER' } : one))
    if (twice) entries.push(...entries)
    const url = await putInventory(hooked(bed.store, { list: { after: () => entries } }), 'CSV')
    await build(states)
    const old = new Date(Date.now() - 25 * 3_600_000)
    const run = await reconcile(
      bed,
      { inventory: parseInventoryUrl(url), plan: file, maxDelete: { percent: 100 }, force: true },
      {
        hooks: {
          head: {
            after: (head, key) =>
              head && key.endsWith('left out.flac') ? { ...head, lastModified: old } : undefined,
          },
        },
      },
    )
    return { summary: run.summary, told: JSON.stringify(run.messages), error: run.error }
  }

  test('that lists a key twice is damaged, and none', async () => {
    expect((await byInventory([], true)).error).toMatchObject({ code: 'inventory.damaged' })
  })

  test('is as good as a listing for what it knows; what came later is looked at where a row names it', async () => {
    const { summary, told } = await byInventory(since)
    // Three by the inventory, and one that it should have had; what is as young as it is none of it.
    expect(summary).toMatchObject({ objects: 4, rows: 5, agree: 5, heads: 5, changed: 0 })
    expect(summary['found']).toMatchObject({ 'orphan-object': 1, 'missing-object': 0 })
    expect(told).not.toContain('inventory is not enough')
  })

  test('and where a row would look lost by it, what it could not know is listed after all', async () => {
    const { summary, told } = await byInventory([...since, missing, removed])
    expect(summary['found']).toMatchObject({
      'orphan-object': 2,
      'missing-object': 1,
      'duplicate-content': 0,
      // Listed once, though rows were missed twice.
      'unlinked-object': 1,
    })
    expect(told).toContain('inventory is not enough: 1 row would look lost by it')
  })
})
