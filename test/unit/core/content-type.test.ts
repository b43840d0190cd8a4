import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ByteSource } from '../../../src/core/containers/bytes.ts'
import { detectAudio } from '../../../src/core/content-type.ts'

const folder = new URL('../../fixtures/formats/', import.meta.url)
const fixture = (name: string) => readFileSync(new URL(name, folder))
const demo = (name: string) => readFileSync(new URL(`../../../assets/demo/${name}`, import.meta.url))
const verdict = async (source: Uint8Array | ByteSource) => {
  const type = await detectAudio(source)
  return type && `${type.contentType} ${type.extension} ${type.container}`
}
const latin = (text: string, length = text.length) => Buffer.concat([Buffer.from(text, 'latin1')], length)

const files: Record<string, string | undefined> = {
  'aac.m4a': 'audio/mp4 m4a mp4',
  'adts.aac': 'audio/aac aac adts',
  'aifc.aifc': 'audio/aiff aifc aiff',
  'aiff.aiff': 'audio/aiff aiff aiff',
  'alac.m4a': 'audio/mp4 m4a mp4',
  'au.au': 'audio/basic au au',
  'bare.mp3': 'audio/mpeg mp3 mpeg',
  'bwf.wav': 'audio/wav wav wav',
  'caf.caf': 'audio/x-caf caf caf',
  'film.avi': undefined,
  'film.mp4': 'video/mp4 mp4 mp4',
  'film.ogv': 'video/ogg ogv ogg',
  'film.webm': 'video/webm webm webm',
  'film.wmv': 'video/x-ms-wmv wmv asf',
  'flac.flac': 'audio/flac flac flac',
  'flac.oga': 'audio/ogg oga ogg',
  'matroska.mka': 'audio/matroska mka matroska',
  'mp2.mp2': 'audio/mpeg mp2 mpeg',
  'opus.opus': 'audio/ogg opus ogg',
  'README.md': undefined,
  'rf64.wav': 'audio/wav wav wav',
  'silent.mp4': undefined,
  'silent.ogv': undefined,
  'silent.webm': undefined,
  'silent.wmv': undefined,
  'sound-only.mp4': 'audio/mp4 m4a mp4',
  'sound.3gp': 'audio/3gpp 3gp mp4',
  'sound.webm': 'audio/webm webm webm',
  'speex.spx': 'audio/ogg spx ogg',
  'vorbis.ogg': 'audio/ogg ogg ogg',
  'wav.wav': 'audio/wav wav wav',
  'wavpack.wv': 'audio/x-wavpack wv wavpack',
  'wma.wma': 'audio/x-ms-wma wma asf',
}

/** An ID3v2.4 tag with `size` bytes of padding. */
function id3(size: number): Buffer {
  const header = latin('ID3\x04\0\0', 10)
  for (let i = 0; i < 4; i++) header[6 + i] = (size >> (7 * (3 - i))) & 0x7f
  return Buffer.concat([header, Buffer.alloc(size)])
}
const mp3 = fixture('bare.mp3')
const frames = (count: number, head: string, length: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => latin(head, length)))

const made: [string, Buffer, string | undefined][] = [
  [
    'TTA',
    Buffer.concat([latin('TTA1\x01\0\x02\0\x10\0\x44\xac\0\0'), Buffer.alloc(60)]),
    'audio/x-tta tta tta',
  ],
  ['a text that begins TTA1', latin('TTA1 is a text about sound files, and no sound'), undefined],
  ['TAK', latin('tBaK', 64), 'audio/x-tak tak tak'],
  [
    'Wave64',
    Buffer.concat([
      latin('riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0', 24),
      latin('wave\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a', 40),
    ]),
    'audio/x-w64 w64 w64',
  ],
  ['AC-3', frames(3, '\x0b\x77\0\0\x14\x40\x40', 768), 'audio/ac3 ac3 ac3'],
  ['E-AC-3', frames(3, '\x0b\x77\x01\x7f\x34\x80\0', 768), 'audio/eac3 eac3 eac3'],
  ['DTS', frames(3, '\x7f\xfe\x80\x01\xfc\x3c\x3f\xf0\xb6', 1024), 'audio/vnd.dts dts dts'],
  ['one frame of AC-3 and then none', latin('\x0b\x77\0\0\x14\x40\x40', 4000), undefined],
  ['no byte at all', Buffer.alloc(0), undefined],
  ['zeros', Buffer.alloc(100_000), undefined],
  ['text', latin('This is no music.\n'.repeat(500)), undefined],
  [
    'UTF-16 text, whose mark looks like a frame',
    Buffer.from(`\ufeff${'Noten '.repeat(2000)}`, 'utf16le'),
    undefined,
  ],
  ['text that begins with a signature: MAC', latin('MAC address list\n'.repeat(20)), undefined],
  ['text that begins with a signature: MP+', latin('MP+ is a format\n'.repeat(20)), undefined],
  ['text that begins with a signature: DSD', latin('DSD is a format\n'.repeat(20)), undefined],
  ['text that begins with a signature: ID3', latin('ID3 tags explained\n'.repeat(20)), undefined],
  ['text that begins with a signature: .snd', latin('.snd files\n'.repeat(20)), undefined],
  ['a picture in an IFF file', latin('FORM\0\0\0\x20ILBMBMHD', 64), undefined],
  ['a JPEG', latin('\xff\xd8\xff\xe0\0\x10JFIF\0', 4000), undefined],
  ['a zip archive that holds an MP3', Buffer.concat([latin('PK\x03\x04\x0a\0\0\0\0\0', 40), mp3]), undefined],
  [
    'one frame header and nothing behind it',
    Buffer.concat([mp3.subarray(0, 4), Buffer.alloc(60_000, 7)]),
    undefined,
  ],
  ['MP3 behind an ID3 tag', Buffer.concat([id3(200), mp3]), 'audio/mpeg mp3 mpeg'],
  ['MP3 behind 3 MB of ID3 tag', Buffer.concat([id3(3_000_000), mp3]), 'audio/mpeg mp3 mpeg'],
  ['MP3 behind two ID3 tags', Buffer.concat([id3(2000), id3(9000), mp3]), 'audio/mpeg mp3 mpeg'],
  [
    'MP3 behind an ID3 tag and 3,000 zeros',
    Buffer.concat([id3(200), Buffer.alloc(3000), mp3]),
    'audio/mpeg mp3 mpeg',
  ],
  ['MP3 cut off in its ID3 tag', id3(3_000_000).subarray(0, 100_000), 'audio/mpeg mp3 mpeg'],
  ['MP3 cut off in its third frame', mp3.subarray(0, 500), 'audio/mpeg mp3 mpeg'],
  ['MP3 after rubble', Buffer.concat([Buffer.alloc(777, 0x55), mp3]), 'audio/mpeg mp3 mpeg'],
  ['MP3 with an ID3v1 tag at its end', Buffer.concat([mp3, latin('TAG', 128)]), 'audio/mpeg mp3 mpeg'],
  ['text behind an ID3 tag', Buffer.concat([id3(200), latin('no music '.repeat(900))]), undefined],
  ['FLAC behind an ID3 tag', Buffer.concat([id3(5000), fixture('flac.flac')]), 'audio/flac flac flac'],
  ['FLAC cut off after its header', fixture('flac.flac').subarray(0, 60), 'audio/flac flac flac'],
  ['AAC behind an ID3 tag', Buffer.concat([id3(100), fixture('adts.aac')]), 'audio/aac aac adts'],
  ['M4A without its index', fixture('aac.m4a').subarray(0, 64), 'audio/mp4 m4a mp4'],
  ['MP4 of no audio brand without its index', fixture('sound-only.mp4').subarray(0, 64), undefined],
  ["Monkey's Audio", latin('MAC \x96\x0f\0\0\x34\0\0\0\x18\0\0\0', 200), 'audio/x-ape ape ape'],
  ["Monkey's Audio of its first version", latin('MAC \x80\x0c\0\0', 200), 'audio/x-ape ape ape'],
  ["Monkey's Audio of its last version", latin('MAC \x00\x10\0\0', 200), 'audio/x-ape ape ape'],
  ["what Monkey's Audio never was: older", latin('MAC \xff\x0b\0\0', 200), undefined],
  ["what Monkey's Audio never was: newer", latin('MAC \x00\x11\0\0', 200), undefined],
  ['Sun audio of its last encoding', latin('.snd\0\0\0\x18\0\0\0\0\0\0\0\x1b', 200), 'audio/basic au au'],
  ['Sun audio of an encoding that is none', latin('.snd\0\0\0\x18\0\0\0\0\0\0\0\x1c', 200), undefined],
  ['Sun audio whose header is too short', latin('.snd\0\0\0\x17\0\0\0\0\0\0\0\x1b', 200), undefined],
  ['Sun audio, cut off in its header', latin('.snd\0\0\0\x18\0\0\0\0\0\0\0\x1b', 23), undefined],
  ['Sun audio, its header alone', latin('.snd\0\0\0\x18\0\0\0\0\0\0\0\x1b', 24), 'audio/basic au au'],
  ['MP3 behind many zeros', Buffer.concat([Buffer.alloc(100_000), mp3]), 'audio/mpeg mp3 mpeg'],
  [
    'MP3 behind as much that begins with a zero',
    Buffer.concat([Buffer.alloc(1), Buffer.alloc(99_999, 7), mp3]),
    undefined,
  ],
  ['Musepack SV7', latin('MP+\x07\x20\0\0\0', 200), 'audio/x-musepack mpc musepack'],
  ['Musepack SV8', latin('MPCKSH\x0f', 200), 'audio/x-musepack mpc musepack'],
  ['DSF', latin('DSD \x1c\0\0\0\0\0\0\0', 200), 'audio/x-dsf dsf dsf'],
  ['DSDIFF', latin('FRM8\0\0\0\0\0\0\x10\0DSD FVER', 200), 'audio/x-dff dff dff'],
  ['AMR', latin('#!AMR\n', 200), 'audio/amr amr amr'],
  ['demo: MP3 with ID3', demo('01-first-light.mp3'), 'audio/mpeg mp3 mpeg'],
  ['demo: FLAC', demo('11-wrong-label.flac'), 'audio/flac flac flac'],
  ['demo: M4A', demo('09-deja-vu.m4a'), 'audio/mp4 m4a mp4'],
]

describe('detectAudio', () => {
  test('there is a verdict for every fixture', () => {
    expect(readdirSync(folder).toSorted()).toEqual(Object.keys(files).toSorted())
  })
  test.each(Object.entries(files))('%s: %s', async (name, expected) => {
    expect(await verdict(fixture(name))).toBe(expected)
  })
  test.each(made)('%s', async (_what, bytes, expected) => {
    expect(await verdict(bytes)).toBe(expected)
  })

  test('reads little of a large file, and finds an MP4 index at its end', async () => {
    const m4a = fixture('aac.m4a')
    const gap = 2 ** 40
    const sizes = [Buffer.alloc(16)]
    sizes[0]!.writeUInt32BE(1, 0)
    sizes[0]!.write('free', 4, 'latin1')
    sizes[0]!.writeBigUInt64BE(BigInt(gap + 16), 8)
    // ftyp, then a box of a terabyte that is never read, then the rest
    const ftyp = m4a.readUInt32BE(0)
    let read = 0
    const pieces: [number, Buffer][] = [
      [0, Buffer.concat([m4a.subarray(0, ftyp), ...sizes])],
      [ftyp + 16 + gap, m4a.subarray(ftyp)],
    ]
    const file: ByteSource = {
      size: ftyp + 16 + gap + m4a.length - ftyp,
      read: async (offset, length) => {
        const answer = Buffer.alloc(length)
        for (const [at, piece] of pieces) {
          for (let i = 0; i < length; i++) answer[i] ||= piece[offset + i - at] ?? 0
        }
        read += length
        return answer
      },
    }
    expect(await verdict(file)).toBe('audio/mp4 m4a mp4')
    expect(read).toBeLessThan(50_000)
  })

  test('an error of the source is passed on, not taken for silence', async () => {
    const failing: ByteSource = { size: 10, read: () => Promise.reject(new Error('EIO')) }
    await expect(detectAudio(failing)).rejects.toThrow('EIO')
  })

  test('never throws on random bytes, and does not take them for audio', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 4000 }), async bytes => {
        expect(await detectAudio(bytes)).toBeUndefined()
      }),
      { numRuns: 300 },
    )
  })

  test('never throws on damaged files of any format, and stays within its reads', async () => {
    const all = Object.keys(files).map(fixture)
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...all),
        fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 12 }),
        fc.nat(9000),
        async (original, damage, cut) => {
          const bytes = Buffer.from(original.subarray(0, cut))
          for (const [at, value] of damage) if (at < bytes.length) bytes[at] = value
          let reads = 0
          await detectAudio({
            size: bytes.length,
            read: async (offset, length) => {
              reads++
              return bytes.subarray(offset, offset + length)
            },
          })
          expect(reads).toBeLessThanOrEqual(4096)
        },
      ),
      { numRuns: 500 },
    )
  })

  test('a million nested boxes end soon', async () => {
    const box = latin('\0\0\0\0trak')
    const nested = Buffer.concat([
      latin('\0\0\0\x10ftypisom\0\0\0\0\0\0\0\0moov'),
      ...Array(100_000).fill(box),
    ])
    expect(await verdict(nested)).toBeUndefined()
    const mdia = Buffer.concat([
      latin('\0\0\0\x10ftypisom\0\0\0\0\0\0\0\0moov\0\0\0\0trak'),
      ...Array(100_000).fill(latin('\0\0\0\0mdia')),
    ])
    expect(await verdict(mdia)).toBeUndefined()
  })
})
