/**
 * What every decoder must do. Runs against the decoders from npm always, and against ffmpeg where it is installed;
 * where it is, both must lead to the same analysis.
 */
import { spawnSync } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { analyseFile } from '../../src/audio/analyse.ts'
import {
  checkFile,
  type Decoder,
  ffmpegDecoder,
  npmDecoder,
  type PcmFormat,
  WINDOW,
} from '../../src/audio/decode.ts'
import { AppError } from '../../src/errors.ts'
import { music, tones, wavFile } from '../helpers/music.ts'

const hasFfmpeg = spawnSync('ffmpeg', ['-version'], { stdio: 'ignore' }).status === 0
if (!hasFfmpeg) console.warn('decoder contract: ffmpeg is not on the PATH, only the npm decoders are tested')
const decoders: Decoder[] = hasFfmpeg ? [npmDecoder(), ffmpegDecoder()] : [npmDecoder()]

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/audio/${name}`, import.meta.url))

let folder: string
const temp = (name: string): string => join(folder, name)
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'autodj-decoder-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

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
        expect(length).toBeLessThanOrEqual(WINDOW)
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
  it('reads the tempo tag', async () => {
    expect((await checkFile(decoder, fixture('music.mp3'))).container.tagBpm).toBe(120)
  })

  it.each(['music.mp3', 'music.flac', 'music.ogg', 'music.opus'])(
    'says that half of %s is missing',
    async name => {
      const bytes = await readFile(fixture(name))
      await writeFile(temp(name), bytes.subarray(0, bytes.length / 2))
      const decoded = await checkFile(decoder, temp(name))
      expect(decoded.decodedDuration).toBeGreaterThan(3)
      expect(decoded.decodedDuration).toBeLessThan(9)
      expect(decoded.problems.join()).toMatch(/truncated/)
    },
  )
  it.each(['music.mp3', 'music.ogg', 'music.flac'])(
    'survives a garbled %s and reports it or an error',
    async name => {
      const bytes = await readFile(fixture(name))
      for (let i = 0; i < 3000; i++) bytes[Math.floor(bytes.length * 0.5) + i] = (i * 197 + 11) & 255
      await writeFile(temp(name), bytes)
      const outcome = await checkFile(decoder, temp(name)).then(
        ({ decodedDuration, problems }) => ({ decodedDuration, problems }),
        (error: unknown) => error,
      )
      if (outcome instanceof AppError) expect(outcome.code).toBe('audio.undecodable')
      else expect(outcome).toMatchObject({ decodedDuration: expect.any(Number) })
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
      const { analysis, decoded } = await analyseFile(decoder, temp('garbled.mp3'))
      // Ungated these files are 20 to 84 LUFS loud, and up to 217,000 times full scale.
      const { analysis: whole } = await analyseFile(decoder, fixture('music.mp3'))
      expect(Math.abs(analysis.loudness! - whole.loudness!)).toBeLessThan(3)
      expect(analysis.truePeak).toBeLessThan(12.1)
      expect(decoded.problems.join()).toMatch(/garbled: .*taken for silence/)
    },
  )
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

describe('AAC and ALAC', () => {
  it.each(['music.m4a', 'music.alac.m4a'])('%s needs ffmpeg, and the npm decoders say so', async name => {
    expect(await codeOf(checkFile(npmDecoder(), fixture(name)))).toBe('audio.unsupported')
  })
  it.runIf(hasFfmpeg).each(['music.m4a', 'music.alac.m4a'])('ffmpeg decodes %s', async name => {
    const { decodedDuration, problems } = await checkFile(ffmpegDecoder(), fixture(name))
    expect(decodedDuration).toBeCloseTo(12, 1)
    expect(problems).toEqual([])
  })
})

describe.runIf(hasFfmpeg)('both decoders', () => {
  it.each(['music.mp3', 'music.flac', 'music.ogg', 'music.opus'])(
    'lead to the same analysis of %s',
    async name => {
      const [a, b] = await Promise.all(
        [ffmpegDecoder(), npmDecoder()].map(decoder => analyseFile(decoder, fixture(name))),
      )
      const [one, two] = [a!.analysis, b!.analysis]
      expect(two.duration).toBeCloseTo(one.duration, 2)
      expect(two.bpm).toBeCloseTo(one.bpm!, 2)
      expect(two.key).toBe(one.key)
      expect(two.loudness).toBeCloseTo(one.loudness!, 1)
      expect(two.truePeak).toBeCloseTo(one.truePeak!, 1)
      expect(two.energy).toBeCloseTo(one.energy, 2)
      expect(two.beatTimestamps).toHaveLength(one.beatTimestamps.length)
      for (const [i, time] of two.beatTimestamps.entries())
        expect(time).toBeCloseTo(one.beatTimestamps[i]!, 2)
    },
  )
})
