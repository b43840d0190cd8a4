import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ByteSource } from '../../../src/core/containers/bytes.ts'
import { detectAudio, locateAudio } from '../../../src/core/content-type.ts'
import { be, box, le, moov, mp3Frames, oggPage } from '../../support/audio-bytes.ts'

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

/** An element of EBML (RFC 8794): its size in `width` bytes, all ones if it is unknown. */
function element(id: string, content: Buffer, { width = 1, unknown = false } = {}): Buffer {
  const size = unknown ? Buffer.alloc(width, 0xff) : be(content.length, width)
  // As many zeros before the first bit as bytes follow.
  size[0] = unknown ? 0xff >> (width - 1) : size[0]! | (0x80 >> (width - 1))
  return Buffer.concat([Buffer.from(id, 'hex'), size, content])
}
const doc = (type: string) => element('1a45dfa3', element('4282', latin(type)), { width: 8 })
const hex = (text: string) => Buffer.from(text, 'hex')
/** Of a Matroska file, by the values of RFC 9559, 5.1.4.1.3: 1 video, 2 audio, 0x11 subtitles. */
const entry = (type: number) =>
  element(
    'ae',
    Buffer.concat([element('d7', be(1, 1)), element('83', be(type, 1)), element('86', latin('A'))]),
  )
const tracks = (...types: number[]) => element('1654ae6b', Buffer.concat(types.map(entry)), { width: 2 })
const segment = (...content: Buffer[]) => element('18538067', Buffer.concat(content), { width: 8 })
const pause = (length: number, width: number, options = {}) =>
  element('ec', Buffer.alloc(length), { width, ...options })
const live = { unknown: true }

const matroskaFiles: [string, Buffer[], string | undefined][] = [
  ['sound', [doc('matroska'), segment(tracks(2))], 'audio/matroska mka matroska'],
  ['sound, then video', [doc('matroska'), segment(tracks(2, 1))], 'video/matroska mkv matroska'],
  ['video, then sound', [doc('matroska'), segment(tracks(1, 2))], 'video/matroska mkv matroska'],
  ['sound with subtitles', [doc('matroska'), segment(tracks(0x11, 2))], 'audio/matroska mka matroska'],
  ['subtitles alone', [doc('matroska'), segment(tracks(0x11))], undefined],
  ['WebM', [doc('webm'), segment(tracks(2))], 'audio/webm webm webm'],
  ['WebM with video', [doc('webm'), segment(tracks(1, 2))], 'video/webm webm webm'],
  ['WebM, its type padded', [doc('webm\0\0'), segment(tracks(2))], 'audio/webm webm webm'],
  [
    'WebM, its type written over a longer one, which ends at the first zero',
    [doc('webm\0ska'), segment(tracks(2))],
    'audio/webm webm webm',
  ],
  ['no type', [element('1a45dfa3', pause(3, 1)), segment(tracks(2))], 'audio/matroska mka matroska'],
  [
    'a size of 127 in two bytes, which is not unknown',
    [doc('webm'), segment(pause(127, 2), tracks(2))],
    'audio/webm webm webm',
  ],
  ['a size that ends in ones', [doc('webm'), segment(pause(255, 2), tracks(2))], 'audio/webm webm webm'],
  [
    'a size that begins with ones',
    [doc('webm'), segment(pause(0x3ffe, 2), tracks(2))],
    'audio/webm webm webm',
  ],
  [
    'a segment of unknown length, in one byte',
    [doc('webm'), element('18538067', Buffer.concat([pause(300, 2), tracks(2)]), live)],
    'audio/webm webm webm',
  ],
  [
    'a segment of unknown length, in eight',
    [doc('webm'), element('18538067', Buffer.concat([pause(300, 2), tracks(2)]), { ...live, width: 8 })],
    'audio/webm webm webm',
  ],
  [
    'a cluster of unknown length, and tracks in it: they come before',
    [doc('webm'), segment(element('1f43b675', pause(200, 2), live), tracks(2))],
    undefined,
  ],
  [
    'what begins like tracks, in another element',
    [doc('webm'), segment(element('1549a966', tracks(2)))],
    undefined,
  ],
  ['an entry that is none', [doc('webm'), segment(element('1654ae6b', element('ac', entry(2))))], undefined],
  [
    'another element in the tracks, with a track type in it',
    [doc('webm'), segment(element('1654ae6b', element('ec', element('83', be(2, 1)))))],
    undefined,
  ],
  ['a second segment', [doc('webm'), segment(tracks(1)), segment(tracks(2))], undefined],
  ['tracks of one segment twice', [doc('webm'), segment(tracks(1), tracks(2))], undefined],
  ['a file cut before its tracks', [doc('webm'), segment(pause(9, 1), tracks(2)).subarray(0, 24)], undefined],
  [
    'another element before the segment',
    [doc('webm'), pause(40, 1), segment(tracks(2))],
    'audio/webm webm webm',
  ],
]

/** An object of ASF (its specification, 3 and 4). */
const object = (guid: string, ...content: Buffer[]) => {
  const body = Buffer.concat(content)
  return Buffer.concat([hex(guid), le(24 + body.length, 8), body])
}
const asfSound = '409e69f84d5bcf11a8fd00805f5c442b'
const asfPicture = 'c0ef19bc4d5bcf11a8fd00805f5c442b'
const stream = (type: string) => object('9107dcb7b7a9cf118ee600c00c205365', hex(type), Buffer.alloc(38))
const padding = (length: number) => object('74d40618dfca0945a4ba9aabcb96aae8', Buffer.alloc(length))
const extension = (...content: Buffer[]) => {
  const body = Buffer.concat(content)
  return object(
    'b503bf5f2ea9cf118ee300c00c205365',
    hex('11d2d3abbaa9cf118ee600c00c205365'),
    le(6, 2),
    le(body.length, 4),
    body,
  )
}
/** Extended Stream Properties (4.1): names, extensions of payloads, and perhaps the properties themselves. */
const extended = (names: string[], extensions: Buffer[], ...content: Buffer[]) =>
  object(
    'cba5e61472c632438399a96952065b5a',
    Buffer.alloc(60),
    le(names.length, 2),
    le(extensions.length, 2),
    ...names.flatMap(name => [le(0, 2), le(2 * name.length, 2), Buffer.from(name, 'utf16le')]),
    ...extensions.flatMap(info => [Buffer.alloc(16, 0xaa), le(4, 2), le(info.length, 4), info]),
    ...content,
  )
const asfHeader = (...objects: Buffer[]) =>
  object('3026b2758e66cf11a6d900aa0062ce6c', le(objects.length, 4), Buffer.from([1, 2]), ...objects)
const wma = 'audio/x-ms-wma wma asf'
const wmv = 'video/x-ms-wmv wmv asf'

const asfFiles: [string, Buffer, string | undefined][] = [
  ['sound', asfHeader(stream(asfSound)), wma],
  ['sound, then video', asfHeader(stream(asfSound), stream(asfPicture)), wmv],
  ['video, then sound', asfHeader(stream(asfPicture), padding(60), stream(asfSound)), wmv],
  ['video alone', asfHeader(stream(asfPicture)), undefined],
  ['no stream', asfHeader(padding(300)), undefined],
  ['sound behind an extension', asfHeader(extension(padding(40)), stream(asfSound)), wma],
  ['a hidden stream', asfHeader(extension(padding(40), extended([], [], stream(asfSound)))), wma],
  [
    'a hidden stream with names and extensions',
    asfHeader(extension(extended(['Ton', 'Sound'], [Buffer.alloc(3), Buffer.alloc(70)], stream(asfSound)))),
    wma,
  ],
  [
    'a hidden stream of pictures beside one of sound',
    asfHeader(extension(extended(['Film'], [], stream(asfPicture))), stream(asfSound)),
    wmv,
  ],
  [
    'streams known by more than one object',
    asfHeader(extension(extended([], []), extended([], [Buffer.alloc(2)])), stream(asfSound)),
    wma,
  ],
  [
    'an extension that claims to be longer than the header ends with it',
    Buffer.concat([
      hex('3026b2758e66cf11a6d900aa0062ce6c'),
      le(30 + 46, 8),
      le(1, 4),
      Buffer.from([1, 2]),
      extension(stream(asfSound)),
    ]),
    undefined,
  ],
  ['sound behind the header', Buffer.concat([asfHeader(padding(1)), stream(asfSound)]), undefined],
  [
    'an object too short to be one',
    asfHeader(Buffer.concat([padding(0).subarray(0, 16), le(23, 8)]), stream(asfSound)),
    undefined,
  ],
  ['cut within its head', asfHeader(stream(asfSound)).subarray(0, 29), undefined],
  ['cut behind the type of its stream', asfHeader(stream(asfSound)).subarray(0, 30 + 40), wma],
  ['cut within the type of its stream', asfHeader(stream(asfSound)).subarray(0, 30 + 39), undefined],
  ['behind an ID3 tag', Buffer.concat([id3(300), asfHeader(stream(asfSound))]), wma],
]

const brand = (name: string) => box('ftyp', latin(name), be(0, 4))
/** A track of pictures: its handler and its codec. */
const pictures = (codec: string) =>
  box(
    'trak',
    box(
      'mdia',
      box('hdlr', be(0, 8), latin('vide'), be(0, 13)),
      box('minf', box('stbl', box('stsd', be(0, 4), be(1, 4), box(codec, be(0, 78))))),
    ),
  )
const movie = (...more: Buffer[]) => box('moov', moov(1).subarray(8), ...more)

const mp4Files: [string, Buffer[], string | undefined][] = [
  ['sound', [brand('isom'), movie()], 'audio/mp4 m4a mp4'],
  ['sound and film', [brand('isom'), movie(pictures('avc1'))], 'video/mp4 mp4 mp4'],
  ['film, no sound', [brand('isom'), box('moov', pictures('avc1'))], undefined],
  ['film, no sound, of an audio brand', [brand('M4A '), box('moov', pictures('avc1'))], undefined],
  ...['jpeg', 'mjpa', 'mjpb', 'png ', 'gif ', 'tiff'].map((codec): [string, Buffer[], string] => [
    `sound and a cover: ${codec}`,
    [brand('isom'), movie(pictures(codec))],
    'audio/mp4 m4a mp4',
  ]),
  ['an audio brand with a film', [brand('M4A '), movie(pictures('avc1'))], 'audio/mp4 m4a mp4'],
  ['an audiobook', [brand('M4B '), movie()], 'audio/mp4 m4b mp4'],
  ...['M4A ', 'M4P ', 'F4A '].map((name): [string, Buffer[], string] => [
    `${name}without an index`,
    [brand(name)],
    'audio/mp4 m4a mp4',
  ]),
  ['M4V without an index', [brand('M4V ')], undefined],
  ['QuickTime, a film', [brand('qt  '), movie(pictures('avc1'))], 'video/quicktime mov mp4'],
  ['QuickTime, sound', [brand('qt  '), movie()], 'audio/mp4 m4a mp4'],
  ['3GPP, sound', [brand('3gp5'), movie()], 'audio/3gpp 3gp mp4'],
  ['3GPP, a film', [brand('3gp5'), movie(pictures('s263'))], 'video/3gpp 3gp mp4'],
  ['3GPP2, sound', [brand('3g2a'), movie()], 'audio/3gpp2 3g2 mp4'],
  ['3GPP2, a film', [brand('3g2a'), movie(pictures('s263'))], 'video/3gpp2 3g2 mp4'],
  [
    'the index behind the samples',
    [brand('isom'), box('free'), box('mdat', be(0, 5000)), movie()],
    'audio/mp4 m4a mp4',
  ],
  ['a track outside the index', [brand('isom'), moov(1).subarray(8)], undefined],
  ['behind an ID3 tag', [id3(64), brand('M4B '), movie()], 'audio/mp4 m4b mp4'],
]

/** A page that begins a stream. */
const begins = (packet: string, serial = 1) => oggPage(serial, 0, 0, [latin(packet, packet.length + 20)], 2)
const oggFiles: [string, Buffer[], string | undefined][] = [
  ['Vorbis', [begins('\x01vorbis')], 'audio/ogg ogg ogg'],
  ['Opus', [begins('OpusHead')], 'audio/ogg opus ogg'],
  ['FLAC', [begins('\x7fFLAC')], 'audio/ogg oga ogg'],
  ['Speex', [begins('Speex   ')], 'audio/ogg spx ogg'],
  ['Theora alone', [begins('\x80theora')], undefined],
  ['Theora and Vorbis', [begins('\x80theora'), begins('\x01vorbis', 2)], 'video/ogg ogv ogg'],
  ['Vorbis and Theora', [begins('\x01vorbis'), begins('\x80theora', 2)], 'video/ogg ogv ogg'],
  ['Dirac and Vorbis', [begins('BBCD\0'), begins('\x01vorbis', 2)], 'video/ogg ogv ogg'],
  ['OGM', [begins('\x01video\0\0'), begins('\x01vorbis', 2)], 'video/ogg ogv ogg'],
  ['Skeleton and Opus', [begins('fishead\0'), begins('OpusHead', 2)], 'audio/ogg opus ogg'],
  ['two streams: named by the first', [begins('\x01vorbis'), begins('OpusHead', 2)], 'audio/ogg ogg ogg'],
  [
    'a page that begins none ends them',
    [begins('fishead\0'), oggPage(1, 1, 0, [latin('index')]), begins('OpusHead', 2)],
    undefined,
  ],
  ['a page that begins no stream', [oggPage(1, 0, 0, [latin('OpusHead', 19)])], undefined],
  [
    'a first page of more than one segment',
    [oggPage(1, 0, 0, [latin('fishead\0', 700), latin('x', 255)], 2), begins('OpusHead', 2)],
    'audio/ogg opus ogg',
  ],
]

describe('containers that hold sound, pictures or films', () => {
  test.each(matroskaFiles)('Matroska: %s', async (_what, bytes, expected) => {
    expect(await verdict(Buffer.concat(bytes))).toBe(expected)
  })
  test.each(asfFiles)('ASF: %s', async (_what, bytes, expected) => {
    expect(await verdict(bytes)).toBe(expected)
  })
  test.each(mp4Files)('MP4: %s', async (_what, bytes, expected) => {
    expect(await verdict(Buffer.concat(bytes))).toBe(expected)
  })
  test.each(oggFiles)('Ogg: %s', async (_what, bytes, expected) => {
    expect(await verdict(Buffer.concat(bytes))).toBe(expected)
  })
  test.each<[string, string | undefined]>([
    ['RIFF\0\0\0\0WAVE', 'audio/wav wav wav'],
    ['RIFX\0\0\0\0WAVE', 'audio/wav wav wav'],
    ['RF64\xff\xff\xff\xffWAVE', 'audio/wav wav wav'],
    ['BW64\xff\xff\xff\xffWAVE', 'audio/wav wav wav'],
    ['RIFF\0\0\0\0WEBP', undefined],
    ['FORM\0\0\0\0AIFF', 'audio/aiff aiff aiff'],
    ['FORM\0\0\0\0AIFC', 'audio/aiff aifc aiff'],
    ['FORM\0\0\0\0DJVU', undefined],
    ['riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0\0\0\0\0\0\0\0\0list', undefined],
    ['riff raff and other words of the same kind', undefined],
    ['TTA2\x03\0\x20\0', 'audio/x-tta tta tta'],
    ['TTA1\x04\0\x02\0', undefined],
    ['TTA1\x01\0\x21\0', undefined],
    ['MP+\x17', 'audio/x-musepack mpc musepack'],
    ['MP+\x08', undefined],
    ['DSD \x1d\0', undefined],
    ['DSD \x1c\x01', undefined],
  ])('what follows a signature: %j', async (head, expected) => {
    expect(await verdict(latin(head, 64))).toBe(expected)
  })
  test('the head of a TTA file, and one byte less', async () => {
    const head = latin('TTA1\x01\0\x02\0', 22)
    expect(await verdict(head)).toBe('audio/x-tta tta tta')
    expect(await verdict(head.subarray(0, 21))).toBeUndefined()
  })
})

describe('where the sound begins', () => {
  const sound = mp3Frames(6)
  /** That many bytes, and the sound behind them; everything else is zeros. */
  const sparse = (at: number, piece: Buffer, fill = 0): ByteSource => ({
    size: at + piece.length,
    read: async (offset, length) => {
      const answer = Buffer.alloc(Math.max(0, Math.min(length, at + piece.length - offset)), fill)
      if (offset + answer.length > at) piece.copy(answer, Math.max(0, at - offset), Math.max(0, offset - at))
      return answer
    },
  })
  const mebi = 2 ** 20
  test.each<[string, number, number, boolean]>([
    ['rubble, the last place from which the heads of four frames are seen', 65_536 - 3 * 417 - 4, 0x55, true],
    ['rubble, one byte further', 65_536 - 3 * 417 - 3, 0x55, false],
    ['zeros up to the end of a window', mebi - 1, 0, true],
    ['zeros of a whole window', mebi, 0, true],
    ['zeros of more than a window', mebi + 1, 0, true],
    ['zeros of three windows and a half', 3.5 * mebi, 0, true],
    ['zeros of just less than 64 MiB', 64 * mebi - 4 * 418, 0, true],
    ['zeros of 64 MiB', 64 * mebi, 0, false],
  ])('MP3 behind %s', async (_what, at, fill, isFound) => {
    const found = await locateAudio(sparse(at, sound, fill))
    expect(found).toEqual(
      isFound ? { contentType: 'audio/mpeg', extension: 'mp3', container: 'mpeg', start: at } : undefined,
    )
  })
  test.each([
    ['the end of a window', mebi - 1],
    ['a window and a half', 1.5 * mebi],
  ])('FLAC behind zeros up to %s', async (_what, at) => {
    expect(await locateAudio(sparse(at, fixture('flac.flac')))).toMatchObject({
      container: 'flac',
      start: at,
    })
  })
  test('what stands first counts: FLAC before frames, frames before FLAC', async () => {
    const flac = latin('fLaC\0\0\0"', 500)
    const rubble = Buffer.alloc(50, 0x55)
    expect(await locateAudio(Buffer.concat([rubble, flac, sound]))).toMatchObject({
      container: 'flac',
      start: 50,
    })
    expect(await locateAudio(Buffer.concat([rubble, sound, flac]))).toMatchObject({
      container: 'mpeg',
      start: 50,
    })
  })
  test.each([
    ['the last block of metadata', 'fLaC\x80\0\0"', 'flac'],
    ['a block of another type', 'fLaC\x04\0\0"', undefined],
    ['a block of another length', 'fLaC\0\0\0#', undefined],
  ])('FLAC in rubble whose first block is %s', async (_what, head, container) => {
    const bytes = Buffer.concat([Buffer.alloc(50, 0x55), latin(`f${head}`, 100)])
    expect((await locateAudio(bytes))?.container).toBe(container)
  })
  test('in rubble, four frames are asked for, and three at the end of a file are none', async () => {
    expect(await locateAudio(Buffer.concat([Buffer.alloc(50, 0x55), mp3Frames(4)]))).toMatchObject({
      start: 50,
    })
    expect(await locateAudio(Buffer.concat([Buffer.alloc(50, 0x55), mp3Frames(3)]))).toBeUndefined()
  })
  test.each([
    ['a file of one frame', 0, 1],
    ['one frame behind a tag', 200, 1],
    ['one frame behind a tag longer than what is read at first', 40_000, 1],
    ['frames behind a tag', 200, 3],
  ])('%s', async (_what, tag, count) => {
    const before = tag > 0 ? id3(tag) : Buffer.alloc(0)
    expect(await locateAudio(Buffer.concat([before, mp3Frames(count)]))).toEqual({
      contentType: 'audio/mpeg',
      extension: 'mp3',
      container: 'mpeg',
      start: before.length,
    })
  })
  test('a file that ends within its tag', async () => {
    expect(await locateAudio(id3(500).subarray(0, 300))).toMatchObject({ container: 'mpeg', start: 300 })
  })
})

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
