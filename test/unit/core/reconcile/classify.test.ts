import { describe, expect, it } from 'vitest'
import type { FileSource } from '../../../../src/core/audio-source.ts'
import {
  classifyMatched,
  classifyWithoutKey,
  nextLook,
  sameContent,
} from '../../../../src/core/reconcile/classify.ts'
import type { HeadFacts, ObjectFacts, Proof, RowFacts } from '../../../../src/core/reconcile/facts.ts'

const A = 'a'.repeat(64)
const B = 'b'.repeat(64)
const cacheControl = 'public, max-age=31536000, immutable'
const proof: Proof = { size: 10, etag: 'e1', sha256: A, contentType: 'audio/mpeg', at: 1000 }
const row = (over: Partial<RowFacts> = {}): RowFacts => ({
  trackId: 't',
  key: 'audio/x.mp3',
  source: 'S3',
  size: 10,
  path: null,
  ...over,
})
const object = (over: Partial<ObjectFacts> = {}): ObjectFacts => ({
  key: 'audio/x.mp3',
  size: 10,
  etag: 'e1',
  lastModified: 900,
  ...over,
})
const head = (over: Partial<HeadFacts> = {}): HeadFacts => ({
  contentType: 'audio/mpeg',
  cacheControl,
  ...over,
})

describe('classifyMatched', () => {
  const table: [what: string, RowFacts, ObjectFacts, expected: string[]][] = [
    ['all agree by listing', row({ proof }), object(), []],
    ['no proof, listing only', row(), object(), []],
    ['row without size', row({ size: null }), object(), []],
    ['row size', row({ size: 11 }), object(), ['size-differs']],
    ['proved size', row({ size: null, proof }), object({ size: 9, etag: 'e2' }), ['checksum-differs']],
    ['ETag changed, bytes the same', row({ proof }), object({ etag: 'e2', contentSha256: A }), []],
    [
      'ETag changed, bytes changed',
      row({ proof }),
      object({ etag: 'e2', contentSha256: B }),
      ['checksum-differs'],
    ],
    ['ETag changed, nothing else known', row({ proof }), object({ etag: 'e2' }), []],
    [
      'server checksum against proof',
      row({ proof }),
      object({ head: head({ sums: { sha256: B } }) }),
      ['checksum-differs'],
    ],
    [
      'server checksum against declared',
      row(),
      object({ head: head({ sums: { sha256: B }, declaredSha256: A }) }),
      ['checksum-differs'],
    ],
    [
      'bytes against declared',
      row(),
      object({ head: head({ declaredSha256: A }), contentSha256: B }),
      ['checksum-differs'],
    ],
    ['declared alone proves nothing', row({ proof }), object({ head: head({ declaredSha256: B }) }), []],
    [
      'type against proof',
      row({ proof }),
      object({ head: head({ contentType: 'binary/octet-stream' }) }),
      ['metadata-differs'],
    ],
    [
      'type against bytes',
      row(),
      object({ head: head({ contentType: 'audio/ogg' }), sniffedType: 'audio/mpeg' }),
      ['metadata-differs'],
    ],
    [
      'type parameters and case are no difference',
      row({ proof }),
      object({ head: head({ contentType: 'Audio/MPEG; x=1' }) }),
      [],
    ],
    [
      'bytes of no known type',
      row(),
      object({ head: head({ contentType: 'audio/ogg' }), sniffedType: '' }),
      [],
    ],
    [
      'no Cache-Control',
      row({ proof }),
      object({ head: head({ cacheControl: undefined }) }),
      ['metadata-differs'],
    ],
    [
      'as the application uploads',
      row({ proof }),
      object({ head: head({ cacheControl: 'public, max-age=31536000' }) }),
      [],
    ],
    ['LOCAL', row({ source: 'LOCAL' }), object(), ['wrong-source']],
    ['YOUTUBE', row({ source: 'YOUTUBE' }), object(), ['wrong-source']],
    ['UNAVAILABLE', row({ source: 'UNAVAILABLE' }), object(), ['wrong-source']],
    ['null source', row({ source: null }), object(), ['wrong-source']],
    [
      'everything at once',
      row({ proof, size: 11, source: null }),
      object({ head: head({ contentType: 'x/y', cacheControl: 'no-store', sums: { sha256: B } }) }),
      ['size-differs', 'checksum-differs', 'metadata-differs', 'metadata-differs', 'wrong-source'],
    ],
  ]
  it.each(table)('%s', (_, r, o, expected) => {
    const comparison = classifyMatched(r, o, { cacheControl })
    expect(comparison.differences.map(d => d.class)).toEqual(expected)
    expect(comparison.differences.every(d => d.severity === 'drift' && d.detail !== '')).toBe(true)
    expect(comparison.sigil).toBe(expected.length === 0 ? '=' : '*')
  })
})

describe('what a reader is told of a row and its object', () => {
  const none: Proof = { size: 10, etag: 'e1', at: 1000 }
  const seen = (more: Partial<HeadFacts>, rest: Partial<ObjectFacts> = {}) =>
    object({ head: head(more), ...rest })
  const table: [RowFacts, ObjectFacts, string[]][] = [
    [row({ size: 11 }), object(), ['row 11 bytes, object 10 bytes']],
    [row({ size: null, proof }), object({ size: 9, etag: 'e2' }), ['9 bytes, proved were 10']],
    [row({ size: null, proof: none }), object({ size: 9 }), ['9 bytes, proved were 10']],
    // What the sums say is not said again of the size.
    [
      row({ size: null, proof }),
      object({ size: 9, contentSha256: B }),
      ['SHA-256 bbbbbbbbbbbb…, should be aaaaaaaaaaaa…'],
    ],
    [row({ size: null, proof }), object({ size: 9, contentSha256: A }), []],
    [
      row({ proof: { ...none, crc32: 'abcd==' } }),
      seen({ sums: { crc32: 'wxyz==' } }),
      ['CRC-32 wxyz==…, should be abcd==…'],
    ],
    [
      row({ proof: { ...none, crc32: 'abcd==', crc64nvme: 'abcdefghijk=' } }),
      seen({ sums: { crc32: 'wxyz==', crc64nvme: 'ABCDEFGHIJK=' } }),
      ['CRC-64/NVME ABCDEFGHIJK=…, should be abcdefghijk=…'],
    ],
    [row({ proof: { ...none, crc32: 'abcd==' } }), seen({ sums: { crc64nvme: 'ABCDEFGHIJK=' } }), []],
    [row({ proof }), seen({ contentType: undefined }), ['Content-Type none, should be audio/mpeg']],
    [
      row({ proof }),
      seen({ contentType: 'audio/ogg' }, { sniffedType: 'audio/ogg' }),
      ['Content-Type audio/ogg, should be audio/mpeg'],
    ],
    [row(), seen({ contentType: 'a/b' }), []],
    [row({ proof }), seen({ cacheControl: undefined }), [`Cache-Control none, should be ${cacheControl}`]],
    [
      row({ proof }),
      seen({ cacheControl: 'no-store' }),
      [`Cache-Control no-store, should be ${cacheControl}`],
    ],
    [row({ proof }), seen({ archive: 'archived' }), ['its bytes are in an archive, nobody can play it']],
    [row({ proof }), seen({ archive: 'restoring' }), ['its bytes are in an archive, being restored']],
    [row({ source: null }), object(), ['file_source null, but the object is there']],
    [row({ source: 'LOCAL' }), object(), ['file_source LOCAL, but the object is there']],
  ]
  it.each(table)('%#', (r, o, details) => {
    const comparison = classifyMatched(r, o, { cacheControl })
    expect(comparison).toMatchObject({ name: o.key, row: r, object: o })
    expect(comparison.differences.map(({ detail }) => detail)).toEqual(details)
  })

  it('Cache-Control is not judged where none is wanted', () => {
    expect(classifyMatched(row({ proof }), seen({ cacheControl: undefined }), {}).differences).toEqual([])
  })
})

describe('what a reader is told of a row without key', () => {
  const said = (over: Partial<RowFacts>, look: Parameters<typeof classifyWithoutKey>[1]) =>
    classifyWithoutKey(row({ key: null, path: 'x.mp3', ...over }), look).differences.map(
      ({ detail }) => detail,
    )
  it.each([
    [{ path: null }, undefined, ['file_source S3, no key, no file_path']],
    [{ path: null }, 'outside', ['file_source S3, no key, no file_path']],
    [{ source: 'LOCAL', label: 'A – B' }, false, ['A – B: file_source LOCAL, no key, no file at x.mp3']],
    [{ source: null }, 'outside', ['file_source null, no key, file_path is outside the audio folder: x.mp3']],
    [{}, 'empty', ['file_source S3, no key, the file is empty: x.mp3']],
    [{}, true, ['file_source S3, but the file is there']],
    [{}, undefined, ['file_source S3, but there is no key']],
    [{ source: 'LOCAL' }, true, []],
  ] as const)('%j, %s', (over, look, details) => {
    expect(said(over, look)).toEqual(details)
    expect(classifyWithoutKey(row({ key: null }), undefined)).toMatchObject({
      name: 't',
      row: { trackId: 't' },
    })
  })
})

describe('classifyWithoutKey', () => {
  const sources: (FileSource | null)[] = ['LOCAL', 'YOUTUBE', 'S3', 'UNAVAILABLE', null]
  const expected: Record<string, string[]> = {
    yes: ['=', '=', '* wrong-source', '* wrong-source', '* wrong-source'],
    no: ['+ no-audio', '+ no-audio', '+ no-audio', '= (no-audio)', '= (no-audio)'],
    outside: ['+ no-audio', '+ no-audio', '+ no-audio', '= (no-audio)', '= (no-audio)'],
    empty: ['+ no-audio', '+ no-audio', '+ no-audio', '= (no-audio)', '= (no-audio)'],
    'not looked': ['=', '=', '* wrong-source', '=', '='],
    'no path': ['+ no-audio', '+ no-audio', '+ no-audio', '= (no-audio)', '= (no-audio)'],
  }
  const looks = {
    yes: true,
    no: false,
    outside: 'outside',
    empty: 'empty',
    'not looked': undefined,
    'no path': undefined,
  } as const
  for (const [look, there] of Object.entries(looks)) {
    it.each(sources.map((source, index) => [source, expected[look]?.[index]] as const))(
      `file ${look}, file_source %s`,
      (source, cell) => {
        const path = look === 'no path' ? null : 'x.mp3'
        const comparison = classifyWithoutKey(row({ key: null, source, path }), there)
        const { sigil, differences } = comparison
        // Whether it is there is only said where it was seen, or cannot be.
        const seen = { yes: true, no: false, empty: false, 'no path': false }[look]
        expect(comparison.fileThere).toBe(seen)
        const said = differences.map(d => (d.severity === 'note' ? ` (${d.class})` : ` ${d.class}`)).join('')
        expect(sigil + said).toBe(cell)
      },
    )
  }
})

describe('nextLook', () => {
  const table: [what: string, RowFacts, ObjectFacts, expected: string | undefined][] = [
    ['vouched for by the ledger', row({ proof }), object(), undefined],
    ['written the moment it was proved', row({ proof }), object({ lastModified: 1000 }), undefined],
    ['of a class that only a HEAD tells of', row({ proof }), object({ mayBeArchived: true }), 'head'],
    [
      'of such a class, seen',
      row({ proof }),
      object({ mayBeArchived: true, head: head({ contentType: 'x/y' }) }),
      undefined,
    ],
    [
      'in an archive, nothing of which can be read',
      row({ proof }),
      object({ etag: 'e2', head: head({ archive: 'archived', contentType: 'x/y' }) }),
      undefined,
    ],
    [
      'another ETag, no SHA-256 proved',
      row({ proof: { size: 10, etag: 'e1', contentType: 'a', at: 0 } }),
      object({ etag: 'e2', head: head() }),
      undefined,
    ],
    ['written anew as it was', row({ proof }), object({ lastModified: 1001, head: head() }), undefined],
    [
      'proved without a type',
      row({ proof: { size: 10, etag: 'e1', at: 0 } }),
      object({ head: head({ contentType: 'x/y' }) }),
      'type',
    ],
    [
      'bytes that told nothing',
      row(),
      object({ head: head({ contentType: 'x/y' }), sniffedType: '' }),
      undefined,
    ],
    ['no type', row(), object({ head: head({ contentType: undefined }) }), 'type'],
    ['no extension', row(), object({ key: 'audio/x', head: head() }), 'type'],
    // What every object in JavaScript has a member of.
    [
      'an extension that is a word of JavaScript',
      row(),
      object({ key: 'x.constructor', head: head() }),
      'type',
    ],
    ['a dot in a folder', row(), object({ key: 'audio.mp3/x', head: head() }), 'type'],
    [
      'letter case, parameters',
      row(),
      object({ key: 'a.b/X.MP3', head: head({ contentType: ' Audio/MPEG ; x' }) }),
      undefined,
    ],
    ['written after it was proved', row({ proof }), object({ lastModified: 1001 }), 'head'],
    ['another ETag', row({ proof }), object({ etag: 'e2' }), 'head'],
    ['not in the ledger', row(), object(), 'head'],
    ['not in the ledger, head seen', row(), object({ head: head() }), undefined],
    ['another ETag, server has no checksum', row({ proof }), object({ etag: 'e2', head: head() }), 'content'],
    [
      'another ETag, server has one',
      row({ proof }),
      object({ etag: 'e2', head: head({ sums: { sha256: A } }) }),
      undefined,
    ],
    [
      'another ETag, the same CRC, no SHA-256 declared',
      row({ proof: { ...proof, crc32: 'c' } }),
      object({ etag: 'e2', head: head({ sums: { crc32: 'c' } }) }),
      'content',
    ],
    [
      'another ETag, the same CRC, another SHA-256 declared',
      row({ proof: { ...proof, crc64nvme: 'c' } }),
      object({ etag: 'e2', head: head({ sums: { crc64nvme: 'c' }, declaredSha256: B }) }),
      'content',
    ],
    [
      'another ETag, the same CRC and SHA-256 declared',
      row({ proof: { ...proof, crc32: 'c' } }),
      object({ etag: 'e2', head: head({ sums: { crc32: 'c' }, declaredSha256: A }) }),
      undefined,
    ],
    [
      'another ETag, another CRC',
      row({ proof: { ...proof, crc32: 'c' } }),
      object({ etag: 'e2', head: head({ sums: { crc32: 'd' } }) }),
      undefined,
    ],
    [
      'another ETag, bytes seen',
      row({ proof }),
      object({ etag: 'e2', head: head(), contentSha256: A }),
      undefined,
    ],
    [
      'another ETag and size: different without a look',
      row({ proof }),
      object({ etag: 'e2', size: 9, head: head() }),
      undefined,
    ],
    [
      'type that does not fit the name',
      row(),
      object({ head: head({ contentType: 'binary/octet-stream' }) }),
      'type',
    ],
    [
      'its bytes seen',
      row(),
      object({ head: head({ contentType: 'x/y' }), sniffedType: 'audio/mpeg' }),
      undefined,
    ],
    [
      'type is in the ledger',
      row({ proof }),
      object({ lastModified: 1001, head: head({ contentType: 'x/y' }) }),
      undefined,
    ],
  ]
  it.each(table)('%s', (_, r, o, expected) => {
    expect(nextLook(r, o)).toBe(expected)
  })

  it.each([
    ['mp3', 'audio/mpeg'],
    ['flac', 'audio/flac audio/x-flac'],
    ['wav', 'audio/wav audio/vnd.wave audio/x-wav audio/wave'],
    ['ogg', 'audio/ogg'],
    ['oga', 'audio/ogg'],
    ['opus', 'audio/ogg audio/opus'],
    ['m4a', 'audio/mp4 audio/x-m4a'],
    ['mp4', 'audio/mp4 video/mp4'],
    ['aac', 'audio/aac'],
    ['aif', 'audio/aiff audio/x-aiff'],
    ['aiff', 'audio/aiff audio/x-aiff'],
    ['webm', 'audio/webm video/webm'],
  ])('.%s is not looked into as %s', (extension, types) => {
    const look = (contentType: string) =>
      nextLook(row(), object({ key: `x.${extension}`, head: head({ contentType }) }))
    for (const type of types.split(' ')) expect([type, look(type)]).toEqual([type, undefined])
    for (const type of ['audio/x', 'binary/octet-stream', '']) expect(look(type)).toBe('type')
  })
})

describe('sameContent', () => {
  const table: [what: string, RowFacts, ObjectFacts, expected: string][] = [
    ['ETag and size as proved', row({ proof }), object({ key: 'y' }), 'same'],
    ['another size', row({ proof }), object({ size: 9 }), 'different'],
    ['another ETag, same SHA-256', row({ proof }), object({ etag: 'e2', contentSha256: A }), 'same'],
    [
      'another ETag, other SHA-256',
      row({ proof }),
      object({ etag: 'e2', head: head({ declaredSha256: B }) }),
      'different',
    ],
    [
      'another ETag, other SHA-256, the same CRC',
      row({ proof: { ...proof, crc32: 'c' } }),
      object({ etag: 'e2', head: head({ sums: { crc32: 'c' }, declaredSha256: B }) }),
      'different',
    ],
    ['another ETag, no SHA-256', row({ proof }), object({ etag: 'e2' }), 'unknown'],
    [
      'another ETag, the same SHA-256 declared',
      row({ proof }),
      object({ etag: 'e2', head: head({ declaredSha256: A }) }),
      'same',
    ],
    [
      'another ETag, a SHA-256 declared that none proved',
      row({ proof: { size: 10, etag: 'e1', at: 0 } }),
      object({ etag: 'e2', head: head({ declaredSha256: A }) }),
      'unknown',
    ],
    ['the size of the row is not asked where there is proof', row({ size: 11, proof }), object(), 'same'],
    ['another ETag, and the size of the row', row({ size: 11, proof }), object({ etag: 'e2' }), 'different'],
    [
      'another ETag, another CRC',
      row({ proof: { ...proof, crc32: 'c' } }),
      object({ etag: 'e2', head: head({ sums: { crc32: 'd' } }) }),
      'different',
    ],
    ['no proof, same size', row(), object(), 'unknown'],
    ['no proof, other size', row(), object({ size: 9 }), 'different'],
    ['no proof, no size', row({ size: null }), object(), 'unknown'],
  ]
  it.each(table)('%s', (_, r, o, expected) => {
    expect(sameContent(r, o)).toBe(expected)
  })
})
