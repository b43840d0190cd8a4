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
    ['no proof, same size', row(), object(), 'unknown'],
    ['no proof, other size', row(), object({ size: 9 }), 'different'],
    ['no proof, no size', row({ size: null }), object(), 'unknown'],
  ]
  it.each(table)('%s', (_, r, o, expected) => {
    expect(sameContent(r, o)).toBe(expected)
  })
})
