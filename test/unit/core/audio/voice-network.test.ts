import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import wabt from 'wabt'
import { trackAnalyzer } from '../../../../src/core/audio/analysis.ts'
import {
  readVoiceNetwork,
  voiceFeatures,
  voiceListener,
  voiceRate,
} from '../../../../src/core/audio/voice-network.ts'
import { music } from '../../../support/music.ts'

const root = path.join(import.meta.dirname, '../../../..')
const file = readFileSync(path.join(root, 'assets/voice/network.bin'))
const network = readVoiceNetwork(file)
const [size, binHz] = [1024, 22_050 / 1024]

/** The same from the first frame to the last at once, in plain loops: no blocks, no kernel. */
function atOnce(powers: readonly Float32Array[]): number[] {
  const features = voiceFeatures(network, size, binHz)
  const rows = powers.map(power => {
    const row = new Float32Array(80)
    features(power, row)
    return row
  })
  const dense = (x: readonly Float32Array[], layer: number, rectify: boolean): Float32Array[] => {
    const { depth, width, weights, bias } = network.dense[layer]!
    return x.map(row =>
      Float32Array.from({ length: width }, (_, n) => {
        let sum = bias[n]!
        for (let k = 0; k < depth; k++) sum += row[k]! * weights[k * width + n]!
        return rectify ? Math.max(0, sum) : sum
      }),
    )
  }
  let x = [...rows]
  for (const [i, taps] of network.taps.entries()) {
    const p = dense(dense(x, 2 * i, true), 2 * i + 1, i === 0)
    const width = p[0]!.length
    const count = taps.length / width
    // 19 frames of 10 ms before, 20 after, at this rate
    const before = Math.ceil((19 * voiceRate) / 100)
    const skip = i === 0 ? undefined : x
    x = p.map((_, t) =>
      Float32Array.from({ length: width }, (_, c) => {
        let sum = skip === undefined ? 0 : skip[t]![c]!
        for (let k = 0; k < count; k++) sum += taps[k * width + c]! * (p[t + k - before]?.[c] ?? 0)
        return sum
      }),
    )
  }
  return dense(dense(x, 16, true), 17, false).flatMap(row =>
    [...row.slice(0, 2)].map(v => 1 / (1 + Math.exp(-v))),
  )
}

/** Power spectra that change now and then, some of them silent. */
function spectra(frames: number): Float32Array[] {
  let seed = 1
  const random = (): number => {
    seed = (seed * 16_807) % 2_147_483_647
    return seed / 2_147_483_647
  }
  return Array.from({ length: frames }, (_, t) => {
    const level = t % 97 < 9 ? 0 : 10 ** (-4 * random())
    return Float32Array.from({ length: size / 2 + 1 }, (_, k) => (level * random()) / (1 + k / 40))
  })
}

describe('the network that hears voices', () => {
  it('holds the kernel of kernel.wat', async () => {
    const { parseWat } = await wabt()
    const text = readFileSync(path.join(root, 'training/voice/kernel.wat'), 'utf8')
    const { buffer } = parseWat('kernel.wat', text, { simd: true }).toBinary({})
    expect(file.readUInt32LE(0)).toBe(buffer.length)
    expect(file.subarray(4, 4 + buffer.length).equals(Buffer.from(buffer))).toBe(true)
  })
  it.each([1, 40, 127, 128, 129, 300])('hears %i frames in blocks as it would at once', count => {
    const every = 100 / voiceRate
    const powers = spectra(count)
    const listener = voiceListener(network, size, binHz)
    // Of the frames of the front end every so many are looked at.
    for (const power of powers) for (let i = 0; i < every; i++) listener.push(power)
    const found = listener.finish(count / voiceRate)
    const right = atOnce(powers)
    expect(found).toHaveLength(2 * count)
    expect(Math.max(...right.map((value, i) => Math.abs(value - found[i]!)))).toBeLessThan(1e-3)
  })
  it('hears two tracks at once, and one after another, as each alone', () => {
    const [a, b] = [spectra(700), spectra(1000).slice(300)]
    const alone = (powers: readonly Float32Array[]) => {
      const listener = voiceListener(readVoiceNetwork(file), size, binHz)
      for (const power of powers) listener.push(power)
      return listener.finish(7)
    }
    for (let round = 0; round < 2; round++) {
      const [first, second] = [voiceListener(network, size, binHz), voiceListener(network, size, binHz)]
      for (const [i, power] of a.entries()) {
        first.push(power)
        second.push(b[i]!)
      }
      expect(first.finish(7)).toEqual(alone(a))
      expect(second.finish(7)).toEqual(alone(b))
    }
  })
  it('forgets frames behind the end', () => {
    const listener = voiceListener(network, size, binHz)
    for (const power of spectra(500)) listener.push(power)
    expect(listener.finish(2)).toHaveLength(2 * 2 * voiceRate)
  })
  it('refuses a file that is cut off or longer', () => {
    expect(() => readVoiceNetwork(file.subarray(0, file.length - 8))).toThrow()
    expect(() => readVoiceNetwork(Buffer.concat([file, Buffer.alloc(8)]))).toThrow(/not the one/)
  })
})

describe('voices in a track', () => {
  const voiceOf = (sound: Float32Array, rate: number) => {
    const analyzer = trackAnalyzer(rate, 1, undefined, network)
    analyzer.push([sound], sound.length)
    return analyzer.finish().voice
  }
  const song = (sampleRate: number): Float32Array =>
    music({ sampleRate, seconds: 12, bpm: 120, chords: ['C', 'F', 'G', 'C'] })
  it.each([16_000, 44_100, 48_000])('hears nobody in what instruments play at %i Hz', rate => {
    const found = voiceOf(song(rate), rate)!
    expect(found.vocalSections).toEqual([])
    expect(found.instrumentalness).toBe(1)
  })
  it('says nothing of less than 16 kHz, and of silence', () => {
    expect(voiceOf(song(8000), 8000)).toBeUndefined()
    const silence = { vocalSections: [], instrumentalSections: [], instrumentalness: undefined }
    expect(voiceOf(new Float32Array(16_000 * 8), 16_000)).toEqual(silence)
  })
})
