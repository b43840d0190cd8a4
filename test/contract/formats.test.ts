/**
 * Files as people have them, made up byte by byte: what every decoder must make of them, and call damaged or not. Runs
 * without ffmpeg always, and with it if it is installed; both must agree.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkFile, type Decoder, ffmpegDecoder, npmDecoder } from '../../src/audio/decode.ts'
import { createPool } from '../../src/audio/pool.ts'
import { loudnessMeter } from '../../src/core/audio/loudness.ts'
import {
  aiff,
  au,
  be,
  caf,
  flac,
  flacFrames,
  id3v1,
  id3v2,
  iffChunk,
  latin,
  latin1,
  le,
  oggPage,
  riffChunk,
  tone,
  vorbisComments,
  wave,
} from '../support/audio-bytes.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const hasFfmpeg = spawnSync('ffmpeg', ['-version'], { stdio: 'ignore' }).status === 0
if (!hasFfmpeg) console.warn('formats: ffmpeg is not on the PATH, only the decoders from npm are tested')
const decoders: Decoder[] = hasFfmpeg ? [npmDecoder(), ffmpegDecoder()] : [npmDecoder()]

const folder = temporaryFolder('formats')
const fixture = (name: string): Buffer => readFileSync(new URL(`../fixtures/audio/${name}`, import.meta.url))
let serial = 0
/** @param name what it is called, which nobody may go by */
function put(bytes: Buffer, name = 'file.mp3'): string {
  const file = path.join(folder, `${++serial} ${name}`)
  writeFileSync(file, bytes)
  return file
}

async function measure(decoder: Decoder, file: string) {
  let meter: ReturnType<typeof loudnessMeter> | undefined
  let peak = 0
  const decoded = await decoder.decode(
    file,
    {
      start: ({ sampleRate, channels }) => {
        meter = loudnessMeter(sampleRate, channels)
      },
      push: (channels, length) => {
        for (const channel of channels)
          for (let i = 0; i < length; i++) peak = Math.max(peak, Math.abs(channel[i]!))
        meter!.push(channels, length)
      },
    },
    {},
  )
  return { ...decoded, peak, loudness: meter!.finish().integrated }
}

/** A second and a half of a tone at half of full scale, at 8 kHz. */
const seconds = 1.5
const samples = (bits: number): number[] => tone(8000 * seconds, bits)
const integers = (bits: number, little: boolean, unsigned = false): Buffer =>
  Buffer.concat(
    samples(bits).map(value => {
      const shifted = unsigned ? value + 2 ** (bits - 1) : value < 0 ? value + 2 ** bits : value
      return (little ? le : be)(shifted, bits / 8)
    }),
  )
const floats = (bits: 32 | 64, little: boolean): Buffer =>
  Buffer.concat(
    samples(24).map(value => {
      const bytes = Buffer.alloc(bits / 8)
      const sample = value / 2 ** 23
      if (bits === 32) little ? bytes.writeFloatLE(sample) : bytes.writeFloatBE(sample)
      else little ? bytes.writeDoubleLE(sample) : bytes.writeDoubleBE(sample)
      return bytes
    }),
  )
const loud = riffChunk('LIST', Buffer.alloc(40_000, 0x7f))
const oggFlac = (bits: number): Buffer => {
  const native = flac([samples(bits)], { bits, blockSize: 1200 })
  const head = Buffer.concat([latin('\x7fFLAC'), Buffer.from([1, 0]), be(1, 2), native.subarray(0, 42)])
  // Its description is not the last block: comments follow.
  head[13] = 0
  const content = vorbisComments(['TITLE=Tone'])
  const pages = [
    oggPage(3, 0, 0, [head], 2),
    oggPage(3, 1, 0, [Buffer.concat([Buffer.from([0x84]), be(content.length, 3), content])]),
  ]
  for (let at = 0; at < 8000 * seconds; at += 1200)
    pages.push(
      oggPage(3, 2 + at / 1200, at + 1200, [flacFrame(bits, at)], at + 1200 >= 8000 * seconds ? 4 : 0),
    )
  return Buffer.concat(pages)
}
/** The frame of 1,200 samples from here on, with its number. */
function flacFrame(bits: number, at: number): Buffer {
  const all = flacFrames([samples(bits)], { bits, blockSize: 1200 })
  const length = all.length / 10
  return all.subarray((at / 1200) * length, (at / 1200 + 1) * length)
}

describe.each(decoders.map(decoder => [decoder.name, decoder] as const))('decoder %s', (_, decoder) => {
  it.each<[string, Buffer]>([
    ['WAVE of 8 bits', wave(integers(8, true, true), { bits: 8 })],
    ['WAVE of 16 bits', wave(integers(16, true))],
    ['WAVE of 24 bits', wave(integers(24, true), { bits: 24 })],
    ['WAVE of 32 bits', wave(integers(32, true), { bits: 32 })],
    ['WAVE of floats', wave(floats(32, true), { format: 3, bits: 32 })],
    [
      'WAVE of floats that lie at an odd place',
      wave(floats(32, true), {
        format: 3,
        bits: 32,
        before: Buffer.concat([latin('junk'), le(1, 4), Buffer.alloc(2)]),
      }),
    ],
    ['WAVE of double floats', wave(floats(64, true), { format: 3, bits: 64 })],
    ['WAVE with loud chunks behind its samples', wave(integers(16, true), { behind: loud })],
    ['WAVE of a stream', wave(integers(16, true), { claimed: 0xffff_ffff })],
    ['WAVE called an MP4', wave(integers(16, true))],
    ['big-endian WAVE', wave(integers(16, false), { form: 'RIFX' })],
    ['RF64', wave(integers(24, true), { form: 'RF64', bits: 24 })],
    ['AIFF of 8 bits', aiff(integers(8, false), { bits: 8 })],
    ['AIFF of 16 bits', aiff(integers(16, false))],
    [
      'AIFF with loud chunks behind its samples',
      aiff(integers(16, false), { behind: iffChunk('APPL', Buffer.alloc(40_000, 0x7f)) }),
    ],
    ['AIFF of 24 bits', aiff(integers(24, false), { bits: 24 })],
    ['AIFF-C, little-endian', aiff(integers(16, true), { compression: 'sowt' })],
    ['AIFF-C of floats', aiff(floats(32, false), { compression: 'fl32', bits: 32 })],
    ['AU', au(integers(16, false))],
    ['AU with an annotation', au(integers(16, false), { annotation: Buffer.alloc(36) })],
    ['AU of floats', au(floats(32, false), { code: 6 })],
    ['CAF', caf(integers(24, false), { bits: 24 })],
    ['CAF of floats, little-endian', caf(floats(32, true), { bits: 32, flags: 3 })],
    ['FLAC', flac([samples(16)])],
    ['FLAC of 8 bits', flac([samples(8)], { bits: 8 })],
    ['FLAC of 12 bits', flac([samples(12)], { bits: 12 })],
    ['FLAC of 15 bits', flac([samples(15)], { bits: 15 })],
    ['FLAC of 20 bits', flac([samples(20)], { bits: 20 })],
    ['FLAC of 24 bits', flac([samples(24)], { bits: 24 })],
    ['FLAC of 32 bits', flac([samples(32)], { bits: 32 })],
    ['FLAC of unknown length', flac([samples(16)], { total: 0 })],
    [
      'FLAC behind an ID3 tag and before one',
      Buffer.concat([
        id3v2(3, [{ id: 'TIT2', content: latin1('Tone') }]),
        flac([samples(16)]),
        id3v1(latin('Tone'), latin('Tone')),
      ]),
    ],
    ['FLAC and one stray byte', Buffer.concat([flac([samples(16)]), Buffer.from([0xff])])],
    ['FLAC with a cover of a kind unheard of', flac([samples(16)], { blocks: [[6, cover('image/avif')]] })],
    ['FLAC with a cover that is none', flac([samples(16)], { blocks: [[6, cover('image/webp')]] })],
    [
      'FLAC with comments of 200 KB',
      flac([samples(16)], {
        blocks: [[4, vorbisComments([`COMMENT=${'x'.repeat(200_000)}`, `LYRICS=${'y\n'.repeat(50_000)}`])]],
      }),
    ],
    ['Ogg FLAC of 20 bits', oggFlac(20)],
  ])('%s: the very tone, undamaged', async (name, bytes) => {
    const { peak, decodedDuration, damage } = await measure(
      decoder,
      put(bytes, name.includes('MP4') ? 'file.m4a' : 'file.mp3'),
    )
    expect(decodedDuration).toBeCloseTo(seconds, 3)
    expect(peak).toBeGreaterThan(0.48)
    expect(peak).toBeLessThan(0.51)
    expect(damage).toBeUndefined()
  })

  const mp3 = fixture('music.mp3')
  const lyrics = latin('LYRICSBEGININD0000200000021LYRICS200')
  it.each<[string, Buffer, string]>([
    ['MP3', mp3, 'file.mp3'],
    ['MP3 called .m4a', mp3, 'file.m4a'],
    ['MP3 called .flac', mp3, 'file.flac'],
    [
      'MP3 behind a second ID3 tag',
      Buffer.concat([id3v2(4, [{ id: 'TIT2', content: latin1('x') }], { padding: 5000 }), mp3]),
      'file.mp3',
    ],
    ['MP3 before ID3v1', Buffer.concat([mp3, id3v1(latin('x'), latin('y'))]), 'file.mp3'],
    ['MP3 before Lyrics3 and ID3v1', Buffer.concat([mp3, lyrics, id3v1(latin('x'), latin('y'))]), 'file.mp3'],
    ['MP3 and one stray byte', Buffer.concat([mp3, Buffer.from([0xff])]), 'file.mp3'],
    ['MP3 behind 300 KB of zeros', Buffer.concat([id3v2(3, []), Buffer.alloc(300_000), mp3]), 'file.mp3'],
    [
      'MP3 behind a tag with a length too small',
      Buffer.concat([id3v2(3, [{ id: 'APIC', content: Buffer.alloc(150_000, 0x41) }], { size: 100 }), mp3]),
      'file.mp3',
    ],
    ['Opus called .m4a', fixture('music.opus'), 'file.m4a'],
    ['Opus without its last flag', withoutLastFlag(fixture('music.opus')), 'file.opus'],
    ['Vorbis called .mp3', fixture('music.ogg'), 'file.mp3'],
    ['Vorbis without its last flag', withoutLastFlag(fixture('music.ogg')), 'file.ogg'],
    ['Vorbis before ID3v1', Buffer.concat([fixture('music.ogg'), id3v1(latin('x'), latin('y'))]), 'file.ogg'],
    [
      'AAC before what is no box',
      Buffer.concat([fixture('music.m4a'), latin('rubbish at the end')]),
      'file.m4a',
    ],
    ['FLAC called .wav', fixture('music.flac'), 'file.wav'],
  ])('%s: as long and as loud as it is, undamaged', async (_name, bytes, name) => {
    const { loudness, decodedDuration, damage } = await measure(decoder, put(bytes, name))
    expect(decodedDuration).toBeCloseTo(12, 1)
    const original = ['music.mp3', 'music.opus', 'music.ogg', 'music.m4a', 'music.flac'].find(one =>
      bytes.includes(fixture(one).subarray(500, 4000)),
    )
    const reference = await measure(decoder, put(fixture(original!), original))
    expect(Math.abs(loudness! - reference.loudness!)).toBeLessThan(0.01)
    expect(damage).toBeUndefined()
  })
  it('ADTS behind an ID3 tag, as long as without', async () => {
    const adts = fixture('he-aac-v2.aac')
    const plain = await measure(decoder, put(adts, 'file.aac'))
    const tagged = await measure(
      decoder,
      put(
        Buffer.concat([id3v2(4, [{ id: 'TIT2', content: latin1('x') }], { padding: 3000 }), adts]),
        'file.aac',
      ),
    )
    expect(tagged.decodedDuration).toBe(plain.decodedDuration)
    expect(tagged.loudness).toBeCloseTo(plain.loudness!, 3)
    expect(tagged.damage).toBeUndefined()
  })

  /** Level of each channel, full scale is 1; the first frame of AAC is half silence. */
  const levels = async (file: string): Promise<{ rate: number; levels: number[] }> => {
    let sums: number[] = []
    let rate = 0
    let length = 0
    await decoder.decode(
      file,
      {
        start: ({ sampleRate, channels }) => {
          rate = sampleRate
          sums = Array<number>(channels).fill(0)
        },
        push: (channels, count) => {
          length += count
          for (const [c, channel] of channels.entries())
            for (let i = 0; i < count; i++) sums[c]! += channel[i]! ** 2
        },
      },
      {},
    )
    return { rate, levels: sums.map(sum => Math.sqrt((2 * sum) / length)) }
  }
  const surround = [0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.23, 0.26]
  it.each<[string, Buffer, number, number[]]>([
    ['AAC of a low rate, bare: no half of a replicated one', fixture('lc-mono-16k.aac'), 16_000, [0.5]],
    ['AAC of a low rate, in QuickTime', fixture('quicktime-aac.mov'), 16_000, [0.5]],
    ['AAC of 7.1', fixture('aac-7.1.m4a'), 48_000, surround],
    ['Apple Lossless of 5.1', fixture('alac-5.1.m4a'), 8000, surround.slice(0, 6)],
    [
      'AAC replicated without a word',
      // Object type 2, and what stood behind it to be passed over.
      replaced(fixture('he-aac.m4a'), [0x2b, 0x92, 0x08, 0x00], [0x13, 0x90, 0x00, 0x00]),
      44_100,
      [0.29, 0.29],
    ],
  ])('%s: its rate, its channels, each where it belongs', async (_name, bytes, rate, wanted) => {
    const found = await levels(put(bytes, 'file.m4a'))
    expect(found.rate).toBe(rate)
    expect(found.levels).toHaveLength(wanted.length)
    for (const [c, level] of found.levels.entries())
      expect(Math.abs(level / wanted[c]! - 1)).toBeLessThan(0.2)
    if (wanted.length > 2) expect(found.levels).toEqual(found.levels.toSorted((a, b) => a - b))
  })

  it('a mono MP3 is as loud under any name', async () => {
    const mono = fixture('../formats/bare.mp3')
    const [a, b] = [await measure(decoder, put(mono, 'a.mp3')), await measure(decoder, put(mono, 'a.m4a'))]
    expect(b.format).toEqual(a.format)
    expect(b.peak).toBe(a.peak)
  })

  it.each<[string, Buffer, RegExp]>([
    ['WAVE', wave(integers(16, true)).subarray(0, -8000), /^truncated: .* 1\.0 s of 1\.5 s could be decoded/],
    ['AIFF', aiff(integers(16, false)).subarray(0, -8000), /^truncated/],
    [
      'FLAC, its last frames missing',
      flac([samples(16)], { blockSize: 1200 }).subarray(0, -9000),
      /^truncated/,
    ],
    ['FLAC, a bit turned', turned(flac([samples(16)], { blockSize: 1200 }), 9000), /^(truncated|garbled)/],
    ['Opus, its second half missing', fixture('music.opus').subarray(0, 30_000), /^truncated/],
    ['MP3, its second half missing', mp3.subarray(0, 60_000), /^truncated/],
    ['MP4, its second half missing', fixture('index-first.m4a').subarray(0, 20_000), /^truncated/],
  ])('damaged: %s', async (_name, bytes, damage) => {
    expect((await checkFile(decoder, put(bytes))).damage).toMatch(damage)
  })

  it.each<[string, number[], string]>([
    ['AC-3 or DTS for a digital output', [0x72, 0xf8, 0x1f, 0x4e], 'audio.unsupported'],
    ['DTS of a CD', [0xff, 0x1f, 0x00, 0xe8], 'audio.unsupported'],
    ['WavPack before version 4', [...latin('wvpk')], 'audio.undecodable'],
  ])('%s in WAVE is no plain sound', async (_name, word, code) => {
    const data = Buffer.alloc(40_000)
    for (let at = 0; at < data.length; at += 4096) data.set(word, at)
    const file = put(wave(data), 'file.wav')
    // These words alone are no frames that ffmpeg knows; of frames see below.
    if (decoder.name === 'npm' || code === 'audio.undecodable')
      await expect(checkFile(decoder, file)).rejects.toMatchObject({ code })
  })

  it('what decodes to noise alone is no analysis', async () => {
    const noise = Buffer.alloc(4 * 16_000)
    for (let i = 0; i < 16_000; i++) noise.writeFloatLE(i % 2 ? 1e9 : -1e9, 4 * i)
    await expect(checkFile(decoder, put(wave(noise, { format: 3, bits: 32 })))).rejects.toMatchObject({
      code: 'audio.undecodable',
      message: expect.stringContaining('noise'),
    })
  })
})

it('a decoder that writes to the console is not heard', async () => {
  const broken = Buffer.concat([
    fixture('music.mp3').subarray(0, 20_000),
    Buffer.alloc(20_000, 0xa5),
    fixture('music.mp3').subarray(40_000, 60_000),
  ])
  const written: string[] = []
  const streams = [process.stdout, process.stderr]
  const writes = streams.map(stream => stream.write)
  for (const stream of streams)
    stream.write = ((text: unknown) => {
      written.push(String(text))
      return true
    }) as typeof stream.write
  try {
    await using pool = createPool({ decoder: 'npm', workers: 1 })
    for (const name of ['music.mp3', 'music.ogg', 'music.opus'])
      await pool.check(put(Buffer.concat([fixture(name).subarray(0, 9000), Buffer.alloc(5000, 0xa5)]), name))
    await pool.check(put(broken))
  } finally {
    for (const [i, stream] of streams.entries()) stream.write = writes[i]!
  }
  expect(written).toEqual([])
})

describe.runIf(hasFfmpeg)('with ffmpeg', () => {
  it.each(['ac3', 'dca'])('%s for a digital output in WAVE is what was encoded', async codec => {
    const { stdout } = spawnSync('ffmpeg', [
      ...['-v', 'error', '-f', 'lavfi', '-i', 'sine=f=440:d=2:r=48000', '-ac', '2', '-c:a', codec],
      ...['-strict', '-2', '-b:a', codec === 'ac3' ? '192k' : '768k', '-f', 'spdif', '-'],
    ])
    const plain = wave(stdout, { channels: 2, sampleRate: 48_000 })
    const { peak, decodedDuration } = await measure(ffmpegDecoder(), put(plain, 'file.wav'))
    expect(decodedDuration).toBeCloseTo(2, 1)
    expect(peak).toBeLessThan(0.2)
  })
  it('its own header may be as long as it likes: metadata of 200 KB make no crawl', async () => {
    const script = path.join(folder, 'chatty-ffmpeg')
    const source = put(wave(integers(16, true)))
    // A version that writes metadata all the same, and sizes that it does not know.
    const header = Buffer.concat([
      latin('RIFF'),
      be(0xffff_ffff, 4),
      latin('WAVE'),
      riffChunk('LIST', Buffer.alloc(200_000)),
      riffChunk('fmt ', Buffer.concat([le(3, 2), le(1, 2), le(8000, 4), le(32_000, 4), le(4, 2), le(32, 2)])),
      latin('data'),
      be(0xffff_ffff, 4),
      floats(32, true),
    ])
    const stream = put(header, 'stream')
    writeFileSync(script, `#!/bin/sh\ncat '${stream}'\n`, { mode: 0o755 })
    const { decodedDuration } = await checkFile(ffmpegDecoder(script), put(fixture('music.mp3')))
    expect(decodedDuration).toBeCloseTo(seconds, 3)
    expect(source).toBeTruthy()
  })
  it('what is no WAVE stream is given up early', async () => {
    const script = path.join(folder, 'endless-ffmpeg')
    writeFileSync(
      script,
      `#!/bin/sh\nprintf 'RIFF\\377\\377\\377\\377WAVELIST\\377\\377\\377\\377'\nexec cat /dev/zero\n`,
      { mode: 0o755 },
    )
    await expect(checkFile(ffmpegDecoder(script), put(fixture('music.mp3')))).rejects.toMatchObject({
      code: 'audio.undecodable',
    })
  })
})

function cover(mime: string): Buffer {
  const data = Buffer.alloc(2000, 0x55)
  return Buffer.concat([
    be(3, 4),
    be(mime.length, 4),
    latin(mime),
    be(0, 4),
    be(0, 16),
    be(data.length, 4),
    data,
  ])
}

/** The flag is part of what a page's checksum is of: that is made anew. */
function withoutLastFlag(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  const at = copy.lastIndexOf('OggS')
  const page = copy.subarray(at)
  page[5]! &= ~4
  page.writeUInt32LE(0, 22)
  let crc = 0
  for (const byte of page) {
    crc = (crc ^ (byte << 24)) >>> 0
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000_0000 ? (crc << 1) ^ 0x04c1_1db7 : crc << 1) >>> 0
  }
  page.writeUInt32LE(crc, 22)
  return copy
}

function replaced(bytes: Buffer, from: number[], to: number[]): Buffer {
  const copy = Buffer.from(bytes)
  const at = copy.indexOf(Buffer.from(from))
  expect(at).toBeGreaterThan(0)
  copy.set(to, at)
  return copy
}

function turned(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at]! ^= 0x10
  return copy
}
