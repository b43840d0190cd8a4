/**
 * What `restore` makes of one object in every state of its place and of what is known of its content: all in one run, each
 * compared with the rule it follows. Nothing that is there is ever overwritten, and nothing unproved is given a name.
 */

import { spawnSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { requireDisk } from '../../src/audio-files/mounted.ts'
import { plainFolder } from '../../src/core/audio-path.ts'
import { draftPrefix } from '../../src/core/prefixes.ts'
import { upsertObjects } from '../../src/db/ledger.ts'
import { type AppError, ExitCode } from '../../src/errors.ts'
import { observeFileEffects } from '../../src/file-effects.ts'
import { requireWritable, restorePath } from '../../src/restore/restore.ts'
import type { ObjectHead } from '../../src/storage/store.ts'
import { fakeAudio, type TestBed } from '../support/bed.ts'
import { embeddedBed } from '../support/beds.ts'
import { pgliteTestDatabase } from '../support/database.ts'
import { crc32Text, sha256 } from '../support/sums.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { restore } from './safety.ts'

let bed: TestBed
let elsewhere: string
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
  elsewhere = temporaryFolder('elsewhere')
})
afterAll(() => bed.close())
beforeEach(() => bed.reset())

const content = fakeAudio(3_000, 5)
const other = fakeAudio(3_000, 6)
const at = (...names: string[]) => path.join(bed.audioRoot, ...names)
const write = (file: string, bytes: Uint8Array = content) => {
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, bytes)
}

/** A row in S3, its object, and where its file goes. */
async function add(name: string, { ledger, bytes = content }: { ledger?: string; bytes?: Uint8Array } = {}) {
  const key = `audio/${name.replaceAll('/', '-')}`
  const { etag } = await bed.store.put(key, bytes, { headers: { contentType: 'audio/flac' }, checksums: {} })
  const id = await bed.addTrack({ path: name, source: 'S3', key })
  await bed.database.knex('tracks').where({ id }).update({ file_size: bytes.length })
  if (ledger !== undefined)
    await upsertObjects(bed.database.knex, [
      {
        bucket: bed.store.bucket,
        key,
        size: bytes.length,
        etag,
        sha256: ledger,
        verifiedAt: new Date(),
      } as never,
    ])
  return id
}
const drafts = () =>
  readdirSync(bed.audioRoot, { recursive: true, encoding: 'utf8' }).filter(name =>
    path.basename(name).startsWith(draftPrefix),
  )

test('an empty folder is written to, unless its disk seems to be missing', async () => {
  await add('a.flac', { ledger: sha256(content) })
  const { knex } = bed.database
  const folder = plainFolder(at('place/audio'))
  const fstab = path.join(elsewhere, 'fstab')
  const mounts = path.join(elsewhere, 'mounts')
  const devices = new Map([
    ['/', 1n],
    [folder.root, 1n],
  ])
  const end = (isAudioFolder: boolean, force = false) =>
    requireDisk({ knex }, folder, {
      force,
      isAudioFolder,
      files: { fstab, mounts },
      device: async one => devices.get(one),
    }).then(
      () => 'written to',
      error => `${(error as AppError).exitCode} ${(error as Error).message}`,
    )
  // No fstab at all, then one that does not name it, then one that does.
  expect(await end(true)).toBe('written to')
  writeFileSync(fstab, '/dev/sda1 / ext4 defaults 0 1\n')
  writeFileSync(mounts, '22 1 8:1 / / rw - ext4 /dev/sda1 rw\n')
  expect(await end(true)).toBe('written to')
  writeFileSync(fstab, `/dev/sdb1 ${at('place')} ext4 defaults 0 1\n`)
  for (const isAudioFolder of [true, false])
    expect(await end(isAudioFolder)).toMatch(
      /^7 .* looks unmounted: it is empty, and .*fstab names .*place, and nothing/,
    )
  expect(await end(true, true)).toBe('written to')
  writeFileSync(mounts, `22 1 8:17 / ${at('place')} rw - ext4 /dev/sdb1 rw\n`)
  expect(await end(true)).toBe('written to')

  // Files that this machine saw on another disk, and the folder is on the system's now.
  const file = {
    path: 'a.flac',
    size: 1,
    mtime_ns: 1,
    ctime_ns: 1,
    inode: 1,
    sha256: sha256(content),
    crc32: 'AAAAAA==',
  }
  await knex('autodj_ledger.files').insert({ ...file, device: 2 })
  const run = {
    id: randomUUID(),
    command: 'import',
    args: '{}',
    pid: 1,
    version: '1',
    lease_until: new Date(),
  }
  await knex('autodj_ledger.runs').insert({ ...run, host: 'another-machine pid:[1]' })
  expect(await end(true)).toBe('written to')
  await knex('autodj_ledger.runs').update({ host: `${hostname()} pid:[1]` })
  expect(await end(true)).toMatch(/^7 .* it was on another disk than the system/)
  expect(await end(false)).toBe('written to')
  devices.set(folder.root, 3n)
  expect(await end(true)).toBe('written to')
  devices.set(folder.root, 1n)
  await knex('autodj_ledger.files').update({ device: 1 })
  expect(await end(true)).toBe('written to')
  await knex('autodj_ledger.files').update({ device: 2 })
  write(path.join(folder.root, 'b.flac'))
  expect(await end(true)).toBe('written to')
})

test('what is in its place', async () => {
  const cases: [name: string, make: (file: string) => unknown, end: 'restored' | 'there-already' | string][] =
    [
      ['nothing', () => {}, 'restored'],
      ['the same file', file => write(file), 'there-already'],
      ['another of its size', file => write(file, other), 'file.exists'],
      ['a shorter one', file => write(file, content.subarray(0, 2_999)), 'file.exists'],
      ['an empty one', file => write(file, Buffer.alloc(0)), 'file.exists'],
      ['a folder', file => mkdirSync(file, { recursive: true }), 'file.exists'],
      ['a FIFO', file => void spawnSync('mkfifo', [file]), 'file.exists'],
      ['a link to the same file inside', file => symlinkSync(at('inside/same'), file), 'there-already'],
      ['a link to another inside', file => symlinkSync(at('inside/other'), file), 'file.exists'],
      [
        'a link to the same file outside',
        file => symlinkSync(path.join(elsewhere, 'same'), file),
        'file.refused',
      ],
      ['a link to nowhere', file => symlinkSync(at('inside/nothing'), file), 'file.refused'],
      ['a link to itself', file => symlinkSync(path.basename(file), file), 'file.ELOOP'],
    ]
  const ways: [name: string, make: (folder: string) => unknown, end: string | undefined][] = [
    ['no folder', () => {}, undefined],
    ['folders of folders', () => {}, undefined],
    ['a file for a folder', folder => write(folder, other), 'file.exists'],
    ['a link to a folder inside', folder => symlinkSync(at('inside/folder'), folder), undefined],
    ['a link to a folder outside', folder => symlinkSync(elsewhere, folder), 'file.refused'],
    [
      'a link to a folder that is not there',
      folder => symlinkSync(at('inside/gone'), folder),
      'file.refused',
    ],
    [
      'a link to a folder outside that is not there',
      folder => symlinkSync(path.join(elsewhere, 'gone'), folder),
      'file.refused',
    ],
    ['a link to the root', folder => symlinkSync(bed.audioRoot, folder), undefined],
  ]
  write(at('inside/same'))
  write(at('inside/other'), other)
  write(path.join(elsewhere, 'same'))
  mkdirSync(at('inside/folder'))
  mkdirSync(at('places'), { recursive: true })
  mkdirSync(at('ways'), { recursive: true })
  const all: [string, string, string, string][] = []
  for (const [name, make, end] of cases) {
    const file = `places/${name}.flac`
    make(at(file))
    all.push([name, await add(file), file, end])
  }
  for (const [name, make, end] of ways) {
    make(at('ways', name))
    const file = `ways/${name}/${name === 'folders of folders' ? 'a/b/c/' : ''}${name}.flac`
    all.push([name, await add(file), file, end ?? 'restored'])
  }
  const before = new Map(cases.map(([name]) => [name, seen(at(`places/${name}.flac`))]))
  const run = await restore(bed, { keepObjects: true })
  const rows = await bed.tracks()
  for (const [name, id, file, end] of all) {
    const item = run.items.find(one => one['track_id'] === id)
    const isThere = ['restored', 'there-already'].includes(end)
    expect([name, item?.['code'] ?? item?.['state'] ?? 'restored', rows.get(id)?.file_source]).toEqual([
      name,
      isThere ? (item?.['state'] ?? 'restored') : end,
      isThere ? 'LOCAL' : 'S3',
    ])
    if (isThere) expect([name, readFileSync(at(file)).equals(content)]).toEqual([name, true])
    const was = before.get(name)
    if (was !== undefined && end !== 'restored') expect([name, seen(at(file))]).toEqual([name, was])
  }
  expect(run.summary).toMatchObject({ failed: all.filter(([, , , end]) => end.includes('.')).length })
  expect(drafts()).toEqual([])
  expect(readdirSync(elsewhere).filter(name => !['fstab', 'mounts'].includes(name))).toEqual(['same'])
  expect(existsSync(at('inside/gone'))).toBe(false)
})

test('a link that comes to lead out of the folder while one is made in it is not followed', async () => {
  const id = await add('late/a/b.flac')
  const end = observeFileEffects(({ kind, path: folder }) => {
    if (kind === 'mkdir' && folder === at('late/a')) symlinkSync(elsewhere, at('late'))
  })
  const run = await restore(bed, { keepObjects: true }).finally(end)
  expect(run.items).toMatchObject([{ track_id: id, code: 'file.refused' }])
  expect(readdirSync(path.join(elsewhere, 'a'))).toEqual([])
  rmSync(path.join(elsewhere, 'a'), { recursive: true })
})

/** What is at a path, without following links. */
function seen(file: string): string | undefined {
  const stats = lstatSync(file, { throwIfNoEntry: false })
  if (stats === undefined) return undefined
  return `${stats.ino} ${stats.mode} ${stats.size} ${stats.isFile() ? sha256(readFileSync(file)) : ''}`
}

test('what is known of its content, the strongest of it', async () => {
  const md5 = createHash('md5').update(content).digest('hex')
  const base64 = (hex: string) => Buffer.from(hex, 'hex').toString('base64')
  const none = { checksums: {}, metadata: {}, etag: `${md5}-2` }
  type Known = Partial<Pick<ObjectHead, 'checksums' | 'metadata' | 'etag'>>
  const right = sha256(content)
  const wrong = sha256(other)
  const crc32 = crc32Text(content)
  const cases: [name: string, known: Known, ledger: string | undefined, end: 'restored' | string][] = [
    ['nothing', {}, undefined, 'restore.no-checksum'],
    ['by the ledger', {}, right, 'restored'],
    ['by the ledger, wrongly', {}, wrong, 'restore.corrupt'],
    [
      'by the ledger, wrongly, whatever the store says',
      { checksums: { sha256: base64(right) }, etag: md5 },
      wrong,
      'restore.corrupt',
    ],
    ['by the store', { checksums: { sha256: base64(right) } }, undefined, 'restored'],
    [
      'by the store, wrongly',
      { checksums: { sha256: base64(wrong) }, metadata: { sha256: right } },
      undefined,
      'restore.corrupt',
    ],
    ['by whoever put it there', { metadata: { sha256: right } }, undefined, 'restored'],
    [
      'by whoever put it there, wrongly',
      { metadata: { sha256: wrong }, etag: md5 },
      undefined,
      'restore.corrupt',
    ],
    [
      'by a word that is no sum, and its ETag',
      { metadata: { sha256: 'none' }, etag: md5 },
      undefined,
      'restored',
    ],
    [
      'by one that is longer than a sum',
      { metadata: { sha256: `${wrong}0` } },
      undefined,
      'restore.no-checksum',
    ],
    [
      'by one that begins with something else',
      { metadata: { sha256: `0${wrong}` } },
      undefined,
      'restore.no-checksum',
    ],
    ['by its ETag', { etag: md5 }, undefined, 'restored'],
    [
      'by its ETag, wrongly',
      { etag: createHash('md5').update(other).digest('hex') },
      undefined,
      'restore.corrupt',
    ],
    ['by an ETag that is none of MD5', { etag: md5.slice(1) }, undefined, 'restore.no-checksum'],
    ['by a longer ETag', { etag: `${md5}0` }, undefined, 'restore.no-checksum'],
    ['by its CRC-32', { checksums: { crc32 } }, undefined, 'restored'],
    [
      'by its CRC-32, and a wrong SHA-256',
      { checksums: { crc32 }, metadata: { sha256: wrong } },
      undefined,
      'restore.corrupt',
    ],
  ]
  const knownOf = new Map<string, Known>()
  const ids: string[] = []
  for (const [number, [, known, ledger]] of cases.entries()) {
    ids.push(await add(`${number}.flac`, { ...(ledger !== undefined && { ledger }) }))
    knownOf.set(`audio/${number}.flac`, { ...none, ...known })
  }
  const alter = <T extends ObjectHead | undefined>(head: T): T =>
    head && { ...head, ...knownOf.get(head.key) }
  const run = await restore(
    bed,
    { keepObjects: true },
    {
      hooks: {
        head: { after: head => alter(head) },
        getInto: { after: got => got && { ...got, head: alter(got.head) } },
      },
    },
  )
  const rows = await bed.tracks()
  for (const [number, [name, , , end]] of cases.entries()) {
    const item = run.items.find(one => one['track_id'] === ids[number])
    expect([name, item?.['code'] ?? 'restored', rows.get(ids[number] as string)?.file_source]).toEqual([
      name,
      end,
      end === 'restored' ? 'LOCAL' : 'S3',
    ])
    expect([name, existsSync(at(`${number}.flac`))]).toEqual([name, end === 'restored'])
  }
  expect(drafts()).toEqual([])
})

test('a file that is there is the object by what is known of it, too, and not while that lies in an archive', async () => {
  const cases: [
    name: string,
    bytes: Uint8Array,
    ledger: string | undefined,
    archive: ObjectHead['archive'],
    end: string,
  ][] = [
    ['the same', content, undefined, undefined, 'there'],
    ['the same, as the ledger says', content, sha256(content), undefined, 'there'],
    ['the same, and the ledger says otherwise', content, sha256(other), undefined, 'file.exists'],
    ['another', other, undefined, undefined, 'file.exists'],
    ['another, of which the ledger speaks', other, sha256(other), undefined, 'file.exists'],
    ['the same, archived', content, undefined, 'archived', 'object.archived'],
    ['the same, being restored', content, undefined, 'restoring', 'object.archived'],
  ]
  const ids: string[] = []
  const archives = new Map<string, ObjectHead['archive']>()
  for (const [number, [, bytes, ledger, archive]] of cases.entries()) {
    write(at(`${number}.flac`), bytes)
    ids.push(await add(`${number}.flac`, ledger === undefined ? {} : { ledger }))
    if (archive !== undefined) archives.set(`audio/${number}.flac`, archive)
  }
  const gone = await bed.addTrack({ path: 'gone.flac', source: 'S3', key: 'audio/gone.flac' })
  write(at('gone.flac'))
  const never = await bed.addTrack({ path: 'never.flac', source: 'S3', key: 'audio/never.flac' })
  const run = await restore(
    bed,
    { keepObjects: true },
    {
      hooks: {
        head: {
          after: head => {
            const archive = archives.get(head?.key ?? '')
            return head && archive !== undefined ? { ...head, archive } : undefined
          },
        },
      },
    },
  )
  const rows = await bed.tracks()
  const itemOf = (id: string | undefined) => run.items.find(one => one['track_id'] === id)
  for (const [number, [name, bytes, , archive, end]] of cases.entries()) {
    expect([name, itemOf(ids[number])?.['code'] ?? 'there']).toEqual([name, end])
    expect([name, rows.get(ids[number] as string)?.file_source]).toEqual([
      name,
      end === 'there' ? 'LOCAL' : 'S3',
    ])
    expect(readFileSync(at(`${number}.flac`)).equals(bytes)).toBe(true)
    if (archive !== undefined)
      expect(itemOf(ids[number])?.['reason']).toBe(
        `the object is in an archive storage class${archive === 'restoring' ? ', from which being restored' : ''}`,
      )
  }
  expect([itemOf(gone)?.['code'], itemOf(never)?.['code']]).toEqual(['object.missing', 'object.missing'])
})

test('a folder that cannot be written to is told by what ails it, and nothing is left in it', async () => {
  for (const [code, expected] of [
    ['ENOSPC', { exitCode: ExitCode.temporary }],
    ['EIO', { code: 'system.disk' }],
    ['EACCES', { code: 'restore.unwritable' }],
  ] as const) {
    const end = observeFileEffects(({ kind }) => {
      if (kind === 'write') throw Object.assign(new Error(code), { code })
    })
    await expect(requireWritable(bed.audioRoot).finally(end)).rejects.toMatchObject(expected)
    expect(drafts()).toEqual([])
  }
  await requireWritable(bed.audioRoot)
  expect(drafts()).toEqual([])
})

test('where a file goes: where its row says, else by its key, and never out of the folder', () => {
  const place = (filePath: string | null, s3ObjectKey = 'audio/A/T.flac', folder = '/to') =>
    restorePath(
      { filePath, s3ObjectKey },
      { folder, audioFolder: plainFolder('/music'), keyPrefix: 'audio/' },
    )
  expect(place('B/c.flac')).toBe('/to/B/c.flac')
  expect(place('/music/B/c.flac')).toBe('/to/B/c.flac')
  expect(place(null)).toBe('/to/A/T.flac')
  expect(place(null, 'other/T.flac')).toBe('/to/other/T.flac')
  expect(place(null, 'audio//_d6b906c6.mp3')).toBe('/to/_/_d6b906c6.mp3')
  expect(place(null, 'audio/')).toBe('/to/_')
  for (const key of ['audio/../x', 'audio/..', 'audio/.', 'audio/a\0b', 'audio/a/../../../etc/passwd'])
    expect([key, place(null, key)]).toEqual([key, undefined])
  expect(place('../x')).toBeUndefined()
})
