/** A library with at least three of every difference that `reconcile` knows, and as many tracks that are right. */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Knex } from 'knex'
import type { FileSource } from '../../src/core/audio-source.ts'
import { cacheControl } from '../../src/core/keys.ts'
import type { DifferenceClass } from '../../src/core/reconcile/facts.ts'
import { type ObjectRecord, upsertObjects } from '../../src/db/ledger.ts'
import type {} from '../../src/db/tracks.ts'
import type { ObjectHeaders, ObjectStore } from '../../src/storage/store.ts'
import { crc32Text, sha256 } from './sums.ts'

export interface FixtureLibrary {
  /** every line that is to come out: sigil, name, classes; rows without key are named by their track id */
  expected: { sigil: string; name: string; classes: DifferenceClass[] }[]
  /** lines that say nothing but that row and object agree */
  agree: number
  rows: number
}

/** Long ago: whatever is in the bucket was written after it. */
const longAgo = new Date('2020-01-01T00:00:00Z')
/** Far ahead: whatever is in the bucket was written before it. */
const vouched = new Date('2100-01-01T00:00:00Z')

export async function makeFixtureLibrary(
  { knex, store, audioRoot }: { knex: Knex; store: ObjectStore; audioRoot: string },
  prefix = 'audio/',
): Promise<FixtureLibrary> {
  const mp3 = await readFile(new URL('../../assets/demo/01-first-light.mp3', import.meta.url))
  let contents = 0
  const content = (): Buffer => {
    contents += 1
    return Buffer.concat([mp3.subarray(0, 4_000), Buffer.from(`content ${contents}`)])
  }

  async function put(key: string, bytes: Uint8Array, headers: Partial<ObjectHeaders> = {}): Promise<string> {
    const { etag } = await store.put(prefix + key, bytes, {
      headers: { contentType: 'audio/mpeg', cacheControl, metadata: { sha256: sha256(bytes) }, ...headers },
      checksums: { crc32: crc32Text(bytes) },
    })
    return etag
  }
  const records: ObjectRecord[] = []
  function prove(key: string, bytes: Uint8Array, etag: string, at = vouched): void {
    records.push({
      bucket: store.bucket,
      key: prefix + key,
      size: bytes.length,
      etag,
      sha256: sha256(bytes),
      contentType: 'audio/mpeg',
      uploadedAt: at,
    })
  }
  const rows: Record<string, unknown>[] = []
  function row(values: {
    key?: string | null
    source?: FileSource | null
    size?: number | null
    path?: string | null
  }): string {
    const id = randomUUID()
    const { key = null, source = 'S3', size = null, path: file = null } = values
    rows.push({
      id,
      spotify_id: `fixture-${id}`,
      title: `Track ${rows.length}`,
      artist: 'Fixture',
      s3_object_key: key === null ? null : prefix + key,
      file_source: source,
      file_size: size,
      file_path: file,
    })
    return id
  }
  async function file(name: string, bytes: Uint8Array): Promise<string> {
    const absolute = path.join(audioRoot, name)
    await mkdir(path.dirname(absolute), { recursive: true })
    await writeFile(absolute, bytes)
    return name
  }
  const expected: FixtureLibrary['expected'] = []
  const expect = (sigil: string, name: string, ...classes: DifferenceClass[]): void => {
    expected.push({ sigil, name, classes })
  }
  let agree = 0

  /* What is right. */
  for (const index of [1, 2, 3]) {
    const bytes = content()
    const key = `right/proved ${index} +#?%.mp3`
    prove(key, bytes, await put(key, bytes))
    row({ key, size: bytes.length })
    agree += 1
  }
  for (const index of [1, 2, 3]) {
    const bytes = content()
    const key = `right/Björk 😀 ${index}.mp3`
    await put(key, bytes)
    row({ key, size: index === 1 ? null : bytes.length, path: await file(`right/copy ${index}.mp3`, bytes) })
    agree += 1
  }
  const shared = content()
  await put('right/shared.mp3', shared)
  row({ key: 'right/shared.mp3', size: shared.length })
  row({ key: 'right/shared.mp3', size: shared.length })
  agree += 2
  for (const [index, source] of (['LOCAL', 'YOUTUBE'] as const).entries()) {
    row({ source, path: await file(`right/só local ${index}.mp3`.normalize('NFD'), content()) })
    agree += 1
  }
  // The row's spelling is NFC, the disk's is NFD, as macOS used to have it.
  await file('right/é.mp3'.normalize('NFD'), content())
  row({ source: 'LOCAL', path: 'right/é.mp3'.normalize('NFC') })
  agree += 1
  await file('cover.jpg', Buffer.from('no audio'))
  await file('right/._copy 1.mp3', Buffer.from('left by macOS'))

  /* missing-object: with a file, without, without even a path */
  row({ key: 'missing/1.mp3', size: 100, path: await file('missing/1.mp3', content()) })
  row({ key: 'missing/2.mp3', size: 100, path: 'missing/gone.mp3' })
  row({ key: 'missing/3.mp3', size: 100, source: 'LOCAL' })
  for (const index of [1, 2, 3]) expect('+', `${prefix}missing/${index}.mp3`, 'missing-object')

  /* orphan-object */
  for (const name of ['orphan/1.mp3', 'orphan/2 +#.mp3', 'orphan/três.mp3']) {
    await put(name, content())
    expect('-', prefix + name, 'orphan-object')
  }

  /* size-differs */
  for (const index of [1, 2, 3]) {
    const bytes = content()
    const key = `size/${index}.mp3`
    prove(key, bytes, await put(key, bytes))
    row({ key, size: bytes.length + index })
    expect('*', prefix + key, 'size-differs')
  }

  /* checksum-differs: other bytes of the same size, with the right file at hand, without; declared by the uploader */
  for (const index of [1, 2]) {
    const right = content()
    const wrong = Buffer.from(right)
    wrong[wrong.length - 5]! ^= 1
    const key = `checksum/${index}.mp3`
    prove(key, right, '0'.repeat(32), longAgo)
    await put(key, wrong, { metadata: { sha256: sha256(right) } })
    row({ key, size: right.length, path: index === 1 ? await file(`checksum/${index}.mp3`, right) : null })
    expect('*', prefix + key, 'checksum-differs')
  }
  const proved = content()
  prove('checksum/3.mp3', proved, '1'.repeat(32), longAgo)
  await put('checksum/3.mp3', content().subarray(0, 3_000))
  row({ key: 'checksum/3.mp3' })
  expect('*', `${prefix}checksum/3.mp3`, 'checksum-differs')

  /* metadata-differs: type against the ledger, Cache-Control, type against the bytes */
  for (const [index, headers] of [
    [1, { contentType: 'binary/octet-stream' }],
    [2, { cacheControl: 'no-store' }],
    [3, { contentType: 'application/octet-stream' }],
  ] as const) {
    const bytes = index === 3 ? Buffer.from(mp3) : content()
    const key = `metadata/${index}.mp3`
    const etag = await put(key, bytes, headers)
    if (index < 3) prove(key, bytes, etag, longAgo)
    row({ key, size: bytes.length })
    expect('*', prefix + key, 'metadata-differs')
  }

  /* wrong-source */
  for (const source of ['LOCAL', 'YOUTUBE', 'UNAVAILABLE', null] as const) {
    const bytes = content()
    const key = `source/${source}.mp3`
    prove(key, bytes, await put(key, bytes))
    row({ key, source, size: bytes.length })
    expect('*', prefix + key, 'wrong-source')
  }
  expect('*', row({ source: 'S3', path: await file('source/s3.mp3', content()) }), 'wrong-source')

  /* nfc-twin: row and object in other forms; an orphan beside the object that has a row */
  for (const [index, rowForm, objectForm] of [
    [1, 'NFD', 'NFC'],
    [2, 'NFC', 'NFD'],
  ] as const) {
    const bytes = content()
    const key = `nfc/Sigur Rós ${index}.mp3`
    await put(key.normalize(objectForm), bytes)
    row({ key: key.normalize(rowForm), size: bytes.length })
    expect('*', prefix + key.normalize(rowForm), 'nfc-twin')
  }
  for (const form of ['NFC', 'NFD'] as const) {
    const bytes = content()
    const key = 'nfc/Mötley 3.mp3'.normalize(form)
    await put(key, bytes)
    if (form === 'NFC') row({ key, size: bytes.length })
    else expect('-', prefix + key, 'orphan-object', 'nfc-twin')
  }
  agree += 1

  /* case-twin: the same */
  for (const index of [1, 2]) {
    const bytes = content()
    await put(`case/song ${index}.mp3`, bytes)
    row({ key: `case/Song ${index}.mp3`, size: bytes.length })
    expect('*', `${prefix}case/Song ${index}.mp3`, 'case-twin')
  }
  for (const key of ['case/ÉTÉ 3.mp3', 'case/été 3.mp3']) {
    const bytes = content()
    await put(key, bytes)
    if (key.includes('É')) row({ key, size: bytes.length })
    else expect('-', prefix + key, 'orphan-object', 'case-twin')
  }
  agree += 1

  /* moved: by ETag; by SHA-256; two rows to one object */
  for (const index of [1, 2, 3]) {
    const bytes = content()
    const etag = await put(`moved/here ${index}.mp3`, bytes)
    const key = `moved/there ${index}.mp3`
    prove(key, bytes, index === 2 ? '2'.repeat(32) : etag)
    row({ key, size: bytes.length })
    expect('*', prefix + key, 'moved')
  }

  /* duplicate-content: two objects with rows each; an orphan that repeats one with a row */
  for (const index of [1, 2, 3]) {
    const bytes = content()
    for (const copy of ['a', 'b']) {
      const key = `duplicate/${index}${copy}.mp3`
      await put(key, bytes)
      if (index < 3 || copy === 'a') {
        row({ key, size: bytes.length })
        agree += 1
      }
    }
    if (index < 3) expect('=', `${prefix}duplicate/${index}b.mp3`, 'duplicate-content')
    else expect('-', `${prefix}duplicate/${index}b.mp3`, 'orphan-object', 'duplicate-content')
  }

  /* no-audio */
  expect('+', row({ source: 'LOCAL', path: 'no/such.mp3' }), 'no-audio')
  expect('+', row({ source: 'YOUTUBE' }), 'no-audio')
  expect('+', row({ source: 'S3' }), 'no-audio')
  expect('=', row({ source: 'UNAVAILABLE' }), 'no-audio')

  /* local-file-without-row */
  for (const name of ['stray/1.mp3', 'stray/dois 😀.flac', 'stray/three.WAV']) {
    await file(name, content())
    expect('-', name, 'local-file-without-row')
  }

  await upsertObjects(knex, records)
  for (const values of rows) await knex('tracks').insert(values)
  return { expected, agree, rows: rows.length }
}
