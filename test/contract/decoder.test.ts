/**
 * What every decoder must do. Runs against the decoders from npm always, and against ffmpeg where it is installed;
 * where it is, both must lead to the same analysis.
 */
import { spawnSync } from 'node:child_process'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { analyzeFile } from '../../src/audio/analyze.ts'
import { checkFile, type Decoder, ffmpegDecoder, npmDecoder } from '../../src/audio/decode.ts'
import { type PcmFormat, windowSamples } from '../../src/audio/pcm.ts'
import { hann, realFft } from '../../src/core/audio/fft.ts'
import { AppError } from '../../src/errors.ts'
import { oggPage } from '../support/audio-bytes.ts'
import { music, tones, wavFile } from '../support/music.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const hasFfmpeg = spawnSync('ffmpeg', ['-version'], { stdio: 'ignore' }).status === 0
if (!hasFfmpeg) console.warn('decoder contract: ffmpeg is not on the PATH, only the npm decoders are tested')
const decoders: Decoder[] = hasFfmpeg ? [npmDecoder(), ffmpegDecoder()] : [npmDecoder()]

const asset = (name: string): string => fileURLToPath(new URL(`../../assets/${name}`, import.meta.url))
const format = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/formats/${name}`, import.meta.url))
const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/audio/${name}`, import.meta.url))

let folder: string
const temp = (name: string): string => join(folder, name)
beforeAll(async () => {
  folder = temporaryFolder('decoder')
})

/** Everything a file decodes to. */
async function pcm(decoder: Decoder, path: string): Promise<{ format: PcmFormat; channels: Float32Array[] }> {
  let format: PcmFormat | undefined
  const parts: Float32Array[][] = []
  await decoder.decode(
    path,
    {
      start: started => {
        format = started
      },
      push: (channels, length) => {
        expect(length).toBeGreaterThan(0)
        expect(length).toBeLessThanOrEqual(windowSamples)
        for (const channel of channels) expect(channel.length).toBe(length)
        parts.push(channels.map(channel => channel.slice()))
      },
    },
    {},
  )
  const channels = Array.from({ length: format!.channels }, (_, c) =>
    Float32Array.from(parts.flatMap(part => [...part[c]!])),
  )
  return { format: format!, channels }
}

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise
  } catch (error) {
    expect(error).toBeInstanceOf(AppError)
    expect((error as AppError).cure).toBeTruthy()
    return (error as AppError).code
  }
  return 'none'
}

describe.each(decoders.map(decoder => [decoder.name, decoder] as const))('decoder %s', (_, decoder) => {
  it.each([
    ['music.mp3', 44_100, 2],
    ['music.flac', 22_050, 1],
    ['music.ogg', 44_100, 2],
    ['music.opus', 48_000, 2],
    ['music.m4a', 44_100, 2],
    ['music.alac.m4a', 22_050, 1],
  ])('decodes %s to its full length', async (name, sampleRate, channels) => {
    const decoded = await checkFile(decoder, fixture(name))
    expect(decoded.format).toEqual({ sampleRate, channels })
    expect(decoded.decodedDuration).toBeCloseTo(12, 1)
    expect(decoded.problems).toEqual([])
    expect(decoded.decoder).toBe(decoder.name)
  })
  it.each([16, 32] as const)('gives the very samples of a WAVE file of %i bits', async bits => {
    const left = music({ seconds: 2, bpm: 120, chords: ['C'], sampleRate: 22_050 })
    const right = left.map(value => -0.5 * value)
    await writeFile(temp('exact.wav'), wavFile([left, right], 22_050, bits))
    const { format, channels } = await pcm(decoder, temp('exact.wav'))
    expect(format).toEqual({ sampleRate: 22_050, channels: 2 })
    expect(channels[0]).toHaveLength(left.length)
    const worst = channels[1]!.reduce((most, value, i) => Math.max(most, Math.abs(value - right[i]!)), 0)
    expect(worst).toBeLessThan(bits === 16 ? 1 / 16_000 : 1e-7)
  })
  it.each([
    ['mono at 8 kHz', 8000, 1],
    ['5.1', 48_000, 6],
    ['stereo at 192 kHz', 192_000, 2],
  ])('keeps rate and channels: %s', async (_name, sampleRate, count) => {
    const channels = Array.from({ length: count }, (_, c) =>
      tones(sampleRate, [{ hz: 300, seconds: 0.5, level: -6 - 3 * c }]),
    )
    await writeFile(temp('rate.wav'), wavFile(channels, sampleRate))
    const decoded = await pcm(decoder, temp('rate.wav'))
    expect(decoded.format).toEqual({ sampleRate, channels: count })
    for (const [c, channel] of decoded.channels.entries())
      expect(20 * Math.log10(channel.reduce((a, b) => Math.max(a, b), 0))).toBeCloseTo(-6 - 3 * c, 1)
  })
  it.each([
    ['he-aac.m4a', 8.13],
    ['he-aac-v2.m4a', 8.17],
    ['he-aac-v2.aac', 8.17],
  ])('takes %s for what is heard of it: both halves of the spectrum, stereo', async (name, duration) => {
    const { analysis, decoded } = await analyzeFile(decoder, fixture(name))
    expect(decoded).toMatchObject({ format: { sampleRate: 44_100, channels: 2 }, problems: [] })
    expect(decoded.decodedDuration).toBeCloseTo(duration, 2)
    expect(Math.abs(analysis.bpm! - 120)).toBeLessThan(0.5)
    expect(Math.abs(analysis.loudness! - -12.2)).toBeLessThan(0.1)
    // Replicated from 6 kHz up; at most the decoder's upsampling would be there otherwise, 60 dB below.
    const { channels } = await pcm(decoder, fixture(name))
    for (const channel of channels) expect(treble(channel, 44_100, 11_025)).toBeGreaterThan(-35)
  })
  it('hears who speaks, and that nobody does where instruments play', async () => {
    const { voice, duration } = (await analyzeFile(decoder, fixture('speech.opus'))).analysis
    expect(voice).toMatchObject({ instrumentalSections: [], instrumentalness: 0 })
    expect(voice!.vocalSections).toEqual([{ start: 0, end: duration, confidence: expect.closeTo(0.9, 1) }])
    const played = (await analyzeFile(decoder, fixture('music.mp3'))).analysis
    expect(played.voice).toMatchObject({ vocalSections: [], instrumentalness: 1 })
  })
  it('reads the tempo tag', async () => {
    expect((await checkFile(decoder, fixture('music.mp3'))).container.tagBpm).toBe(120)
  })

  it('decodes AIFF, bare AAC and an MP4 file with its index first', async () => {
    const checked = async (path: string) => {
      const { format, decodedDuration, problems } = await checkFile(decoder, path)
      return { ...format, decodedDuration, problems }
    }
    const aiff = await checked(asset('demo/13-second-signal.aiff'))
    expect(aiff).toMatchObject({ sampleRate: 22_050, channels: 1, problems: [] })
    expect(aiff.decodedDuration).toBeGreaterThan(5)
    const adts = await checked(format('adts.aac'))
    expect(adts).toMatchObject({ sampleRate: 44_100, channels: 1, problems: [] })
    // A bare stream does not say how much of its ends is padding: one frame more or less.
    expect(adts.decodedDuration).toBeGreaterThan(0.14)
    expect(adts.decodedDuration).toBeLessThan(0.2)
    const indexFirst = await checked(fixture('index-first.m4a'))
    expect(indexFirst).toMatchObject({ sampleRate: 44_100, channels: 2, problems: [] })
    expect(indexFirst.decodedDuration).toBeCloseTo(6, 1)
  })

  it.each(['music.mp3', 'music.flac', 'music.ogg', 'music.opus', 'index-first.m4a', 'wav', 'aiff'])(
    'says that half of %s is missing',
    async name => {
      const bytes = await readFile(
        name === 'wav' || name === 'aiff'
          ? asset(name === 'wav' ? 'demo/05-relay.wav' : 'demo/13-second-signal.aiff')
          : fixture(name),
      )
      await writeFile(temp('whole'), bytes)
      await writeFile(temp('half'), bytes.subarray(0, bytes.length / 2))
      const [whole, half] = [await checkFile(decoder, temp('whole')), await checkFile(decoder, temp('half'))]
      expect(whole.damage).toBeUndefined()
      expect(half.damage).toMatch(/^truncated.* s could be decoded$/)
      expect(half.decodedDuration / whole.decodedDuration).toBeGreaterThan(0.25)
      expect(half.decodedDuration / whole.decodedDuration).toBeLessThan(0.75)
    },
  )
  it.each(['music.m4a', 'music.alac.m4a'])(
    'says why half of %s, whose index comes last, is nothing',
    async name => {
      const bytes = await readFile(fixture(name))
      await writeFile(temp('half'), bytes.subarray(0, bytes.length / 2))
      await expect(checkFile(decoder, temp('half'))).rejects.toMatchObject({
        code: 'audio.undecodable',
        message: expect.stringMatching(/truncated before its index/),
      })
    },
  )
  it.each(['music.mp3', 'music.flac', 'music.ogg', 'music.opus', 'music.m4a', 'music.alac.m4a'])(
    'makes of a garbled %s a plausible result or an error',
    async name => {
      const whole = await readFile(fixture(name))
      const reference = (await analyzeFile(decoder, fixture(name))).analysis
      let state = 1
      const random = (): number => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
        return state / 2 ** 32
      }
      for (let round = 0; round < 4; round++) {
        const bytes = Buffer.from(whole)
        // The first and last parts hold what the rest cannot be read without.
        for (let place = 0; place < 1 + 8 * round; place++) {
          const at = Math.floor(bytes.length * (0.1 + 0.7 * random()))
          for (let i = 0; i < 400; i++) bytes[at + i] = Math.floor(256 * random())
        }
        await writeFile(temp('garbled'), bytes)
        try {
          const { analysis, decoded } = await analyzeFile(decoder, temp('garbled'))
          expect(decoded.decodedDuration).toBeLessThan(12.5)
          expect(Number.isFinite(analysis.energy)).toBe(true)
          if (analysis.loudness === undefined) continue
          expect(analysis.loudness).toBeLessThan(reference.loudness! + 12)
          // Between samples at the limit (12 dB) the peak is higher.
          expect(analysis.truePeak).toBeLessThan(20)
        } catch (error) {
          expect(error).toMatchObject({ code: 'audio.undecodable', cure: expect.any(String) })
        }
      }
    },
  )
  it.each([1, 2, 4, 6])(
    'does not take the noise of a garbled MP3 for its loudness (garbling %i)',
    async seed => {
      const bytes = await readFile(fixture('music.mp3'))
      let state = seed * 7919
      const random = (): number => {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0
        return state / 2 ** 32
      }
      for (let i = 2000; i < bytes.length; i++) if (random() < 1 / 300) bytes[i] = Math.floor(random() * 256)
      await writeFile(temp('garbled.mp3'), bytes)
      const { analysis, decoded } = await analyzeFile(decoder, temp('garbled.mp3'))
      // Ungated these files are 20 to 84 LUFS loud, and up to 217,000 times full scale.
      const { analysis: whole } = await analyzeFile(decoder, fixture('music.mp3'))
      expect(Math.abs(analysis.loudness! - whole.loudness!)).toBeLessThan(3)
      expect(analysis.truePeak).toBeLessThan(12.1)
      expect(decoded.problems.join()).toMatch(/garbled: .*taken for silence/)
    },
  )
  it('takes what decodes to no sound at all as silence, and says so', async () => {
    const sound = tones(44_100, [{ hz: 440, seconds: 4, level: -20 }])
    for (const [i, value] of [Number.NaN, 3e30, Number.POSITIVE_INFINITY, -3e30].entries())
      sound[44_100 + i * 20_000] = value
    await writeFile(temp('absurd.wav'), wavFile([sound], 44_100, 32))
    const { analysis, decoded } = await analyzeFile(decoder, temp('absurd.wav'))
    expect(decoded.damage).toMatch(/^garbled: .* 0\.\d+ s there were taken for silence/)
    expect(analysis.loudness).toBeCloseTo(-23.9, 0)
    expect(analysis.truePeak).toBeLessThan(-15)
  })

  it.each([
    ['silence', [new Float32Array(88_200)], 44_100],
    ['1 s of music', [music({ seconds: 1, bpm: 120, chords: ['C'] })], 44_100],
    ['a tenth of a second', [tones(44_100, [{ hz: 440, seconds: 0.1, level: -12 }])], 44_100],
    ['8 kHz', [music({ seconds: 12, bpm: 120, chords: ['C', 'F'], sampleRate: 8000 })], 8000],
    ['192 kHz', [music({ seconds: 4, bpm: 120, chords: ['C', 'F'], sampleRate: 192_000 })], 192_000],
    ['5.1', surround(), 48_000],
  ] as const)('gives an analysis of %s', async (_name, channels, sampleRate) => {
    await writeFile(temp('edge.wav'), wavFile(channels, sampleRate))
    const { analysis, decoded } = await analyzeFile(decoder, temp('edge.wav'))
    expect(decoded.format).toEqual({ sampleRate, channels: channels.length })
    expect(decoded.problems).toEqual([])
    expect(analysis.duration).toBeCloseTo(channels[0]!.length / sampleRate, 3)
    expect(analysis.energy).toBeGreaterThanOrEqual(0)
    expect(analysis.energy).toBeLessThanOrEqual(1)
    for (const value of [analysis.introEnd, analysis.outroStart, analysis.mixInPoint, analysis.mixOutPoint]) {
      expect(value).toBeGreaterThanOrEqual(0)
      expect(value).toBeLessThanOrEqual(analysis.duration + 1e-6)
    }
    // Nothing that a database or JSON cannot hold.
    expect(JSON.stringify(analysis)).not.toMatch(/NaN|Infinity/)
    const numbers = Object.values(analysis).filter(value => typeof value === 'number')
    expect(numbers.every(Number.isFinite)).toBe(true)
    if (_name === 'silence')
      expect(analysis).toMatchObject({ bpm: undefined, key: undefined, loudness: undefined })
    else if (analysis.duration > 0.4) expect(analysis.loudness).toBeLessThan(0)
  })
  it('has an error of its own for what is no audio', async () => {
    await writeFile(temp('empty.mp3'), '')
    expect(await codeOf(checkFile(decoder, temp('empty.mp3')))).toBe('audio.empty')
    await writeFile(temp('text.mp3'), 'These are words, not music.\n'.repeat(200))
    expect(['audio.unknown', 'audio.undecodable']).toContain(
      await codeOf(checkFile(decoder, temp('text.mp3'))),
    )
    await writeFile(temp('list.mp3'), "ffconcat version 1.0\nfile '/etc/passwd'\n")
    expect(['audio.unknown', 'audio.undecodable']).toContain(
      await codeOf(checkFile(decoder, temp('list.mp3'))),
    )
    await writeFile(temp('none.wav'), wavFile([new Float32Array(0)], 44_100))
    expect(['audio.unknown', 'audio.undecodable']).toContain(
      await codeOf(checkFile(decoder, temp('none.wav'))),
    )
    expect(await codeOf(checkFile(decoder, temp('missing.mp3')))).toBe('audio.unreadable')
  })
  it('loses nothing of a FLAC file, wherever its frames begin', async () => {
    const bytes = await readFile(fixture('music.flac'))
    const headers: number[] = []
    for (let at = 70_000; headers.length < 12 && at < bytes.length; at++)
      if (bytes[at] === 0xff && bytes[at + 1] === 0xf8) headers.push(at)
    expect(headers).toHaveLength(12)
    for (const [i, header] of headers.entries()) {
      // A block of padding behind STREAMINFO, so that the header is split by the end of a read of 64 KiB.
      const size = 131_072 - (1 + i) - header - 4
      const padding = Buffer.alloc(4 + size)
      padding.writeUInt32BE((1 << 24) + size)
      await writeFile(
        temp('shifted.flac'),
        Buffer.concat([bytes.subarray(0, 42), padding, bytes.subarray(42)]),
      )
      const decoded = await checkFile(decoder, temp('shifted.flac'))
      expect(decoded.decodedDuration, `split after ${1 + i} bytes`).toBe(12)
    }
  })
  it('is not confused by names', async () => {
    for (const name of ['-v.mp3', 'a b;$(id) "q".mp3', '日本語 é 50%.mp3', 'concat:x.mp3']) {
      await copyFile(fixture('music.mp3'), temp(name))
      expect((await checkFile(decoder, temp(name))).decodedDuration).toBeCloseTo(12, 1)
    }
  })
  it('stops when it is told to', async () => {
    const reason = new Error('enough')
    expect(
      await checkFile(decoder, fixture('music.mp3'), { signal: AbortSignal.abort(reason) }).catch(e => e),
    ).toBe(reason)
    const control = new AbortController()
    const sink = { start: () => control.abort(reason), push: () => {} }
    expect(await decoder.decode(fixture('music.mp3'), sink, { signal: control.signal }).catch(e => e)).toBe(
      reason,
    )
  })
  it('passes on what the sink throws', async () => {
    const sink = {
      start: () => {},
      push: () => {
        throw new Error('full')
      },
    }
    await expect(decoder.decode(fixture('music.mp3'), sink, {})).rejects.toThrow('full')
  })
})

/** Power above a frequency over that of all, dB. */
function treble(samples: Float32Array, sampleRate: number, above: number): number {
  const size = 4096
  const [fft, window, bins] = [realFft(size), hann(size), new Float32Array(size / 2 + 1)]
  let [high, all] = [0, 0]
  for (let at = 0; at + size <= samples.length; at += size) {
    fft.power(
      samples.slice(at, at + size).map((value, i) => value * window[i]!),
      bins,
    )
    for (const [bin, power] of bins.entries()) {
      all += power
      if ((bin * sampleRate) / size > above) high += power
    }
  }
  return 10 * Math.log10(high / all)
}

/** The same music in every channel but the fourth, quieter from one to the next. */
function surround(): Float32Array[] {
  const sound = music({ seconds: 4, bpm: 120, chords: ['C', 'F'], sampleRate: 48_000 })
  return Array.from({ length: 6 }, (_, c) => sound.map(value => (c === 3 ? 0 : value / (c + 2))))
}

describe('without ffmpeg', () => {
  it.each(['wavpack.wv', 'wma.wma', 'matroska.mka', 'speex.spx'])(
    '%s needs it, and that is said',
    async name => {
      expect(await codeOf(checkFile(npmDecoder(), format(name)))).toBe('audio.unsupported')
    },
  )
  it.each(['caf.caf', 'rf64.wav', 'au.au', 'aifc.aifc'])('%s does not', async name => {
    const { decodedDuration, damage } = await checkFile(npmDecoder(), format(name))
    expect(decodedDuration).toBeCloseTo(0.15, 3)
    expect(damage).toBeUndefined()
  })
  it('a form of AAC that no decoder from npm knows needs it, and is not called damaged', async () => {
    const bytes = await readFile(fixture('he-aac.m4a'))
    const config = bytes.indexOf('2b920800', 0, 'hex')
    expect(config).toBeGreaterThan(0)
    // Object type 42, by its escape: xHE-AAC.
    bytes.writeUInt16BE(0xf94e, config)
    await writeFile(temp('usac.m4a'), bytes)
    await expect(checkFile(npmDecoder(), temp('usac.m4a'))).rejects.toMatchObject({
      code: 'audio.unsupported',
      message: 'this form of AAC needs ffmpeg',
    })
    // Nor if ffmpeg does not know it either.
    const message = 'Error while opening decoder for input stream #0:0 : Function not implemented'
    await writeFile(temp('old-ffmpeg'), `#!/bin/sh\necho "${message}" >&2\nexit 1\n`, { mode: 0o755 })
    await expect(checkFile(ffmpegDecoder(temp('old-ffmpeg')), temp('usac.m4a'))).rejects.toMatchObject({
      code: 'audio.unsupported',
      message: 'this ffmpeg does not know AAC',
      cure: expect.stringContaining('a newer ffmpeg'),
    })
  })
  it('what ffmpeg refuses is shown to the other decoders before it is called damaged', async () => {
    await writeFile(temp('strict'), '#!/bin/sh\necho "Header processing failed" >&2\nexit 1\n', {
      mode: 0o755,
    })
    const strict = ffmpegDecoder(temp('strict'))
    expect(await checkFile(strict, fixture('music.ogg'))).toMatchObject({ decoder: 'npm', problems: [] })
    // What none of them takes is told in ffmpeg's words.
    await writeFile(temp('headers.ogg'), (await readFile(fixture('music.ogg'))).subarray(0, 3961))
    await expect(checkFile(strict, temp('headers.ogg'))).rejects.toMatchObject({
      code: 'audio.undecodable',
      message: expect.stringContaining('Header processing failed'),
    })
  })
  // As in music of HyperRogue: no version of ffmpeg up to 9 takes it, every player does.
  it.runIf(hasFfmpeg)('Vorbis whose headers come twice is whole', async () => {
    const bytes = await readFile(fixture('music.ogg'))
    // Its three headers are the packets of two pages: 30 bytes, then those of 16 segments.
    const headers = bytes.subarray(0, 58 + 27 + 16 + 3860)
    const body = headers.subarray(58 + 27 + 16)
    const comments = body.indexOf('\u0005vorbis')
    const again = oggPage(bytes.readUInt32LE(14), 2, -1, [
      headers.subarray(28, 58),
      body.subarray(0, comments),
      body.subarray(comments),
    ])
    await writeFile(temp('twice.ogg'), Buffer.concat([headers, again, bytes.subarray(headers.length)]))
    expect(await checkFile(ffmpegDecoder(), temp('twice.ogg'))).toMatchObject({
      decoder: 'npm',
      damage: undefined,
    })
  })
  it.runIf(hasFfmpeg).each(['caf.caf', 'wma.wma', 'matroska.mka', 'rf64.wav', 'au.au', 'sound.3gp'])(
    'with it, %s is decoded',
    async name => {
      expect((await checkFile(ffmpegDecoder(), format(name))).decodedDuration).toBeGreaterThan(0.1)
    },
  )
})

describe.runIf(hasFfmpeg)('both decoders', () => {
  it.each([
    'music.mp3',
    'music.flac',
    'music.ogg',
    'music.opus',
    'music.m4a',
    'music.alac.m4a',
    'index-first.m4a',
    'he-aac.m4a',
    'he-aac-v2.m4a',
    'he-aac-v2.aac',
    'wav',
    'aiff',
  ])('lead to the same analysis of %s', async name => {
    const path =
      name === 'wav'
        ? asset('demo/05-relay.wav')
        : name === 'aiff'
          ? asset('demo/13-second-signal.aiff')
          : fixture(name)
    const [a, b] = await Promise.all(
      [ffmpegDecoder(), npmDecoder()].map(decoder => analyzeFile(decoder, path)),
    )
    const [one, two] = [a!.analysis, b!.analysis]
    // ffmpeg leaves the padding at the end of AAC in, a quarter of a frame of it here.
    expect(two.duration).toBeCloseTo(one.duration, name.endsWith('m4a') ? 1 : 2)
    expect(two.bpm).toBeCloseTo(one.bpm!, 2)
    expect(two.key).toBe(one.key)
    // Parametric stereo is made of the decoder's own reverberation, or left mono.
    expect(Math.abs(two.loudness! - one.loudness!)).toBeLessThan(name.includes('v2') ? 0.1 : 0.05)
    // AAC fills bands with noise of the decoder's own (perceptual noise substitution).
    const aac = /m4a$|aac$/.test(name) && !name.includes('alac')
    expect(Math.abs(two.truePeak! - one.truePeak!)).toBeLessThan(aac ? 1.5 : 0.1)
    expect(two.energy).toBeCloseTo(one.energy, 2)
    expect(two.beatTimestamps).toHaveLength(one.beatTimestamps.length)
    for (const [i, time] of two.beatTimestamps.entries()) expect(time).toBeCloseTo(one.beatTimestamps[i]!, 2)
  })
})
