/**
 * The test signals of EBU Tech 3341 (loudness metering) and EBU Tech 3342 (loudness range) that are synthetic, made
 * here, with the answers and tolerances of the documents. Those cut from programmes (3341: 7 and 8; 3342: 5 and 6)
 * are not free and left out.
 */
import type { Wav } from './wav.ts'

interface EbuSignal {
  readonly name: string
  readonly wav: () => Wav
  readonly measure: 'integrated' | 'range' | 'truePeak'
  readonly expected: number
  /** Tolerances below and above. */
  readonly below: number
  readonly above: number
}

const rate = 48_000

type Part = readonly [level: number, seconds: number]

const sines = (parts: readonly Part[]): Float32Array => {
  const out = new Float32Array(parts.reduce((sum, [, seconds]) => sum + Math.round(seconds * rate), 0))
  let at = 0
  for (const [level, seconds] of parts) {
    const gain = 10 ** (level / 20)
    const count = Math.round(seconds * rate)
    for (let i = 0; i < count; i++) out[at + i] = gain * Math.sin((2 * Math.PI * 1000 * (at + i)) / rate)
    at += count
  }
  return out
}

const stereo = (parts: readonly Part[]) => (): Wav => {
  const channel = sines(parts)
  return { sampleRate: rate, channels: [channel, channel] }
}

const loudness = (name: string, parts: readonly Part[]): EbuSignal => ({
  name: `Tech 3341 signal ${name}`,
  wav: stereo(parts),
  measure: 'integrated',
  expected: -23,
  below: 0.1,
  above: 0.1,
})

const range = (name: string, expected: number, parts: readonly Part[]): EbuSignal => ({
  name: `Tech 3342 signal ${name}`,
  wav: stereo(parts),
  measure: 'range',
  expected,
  below: 1,
  above: 1,
})

/** A tone burst whose samples miss its peak, faded in and out over a tenth of a second. */
const peak = (name: string, divisor: number, degrees: number, level: number): EbuSignal => ({
  name: `Tech 3341 signal ${name}`,
  wav: () => {
    const gain = 10 ** (level / 20)
    const channel = Float32Array.from({ length: rate }, (_, i) => {
      const fade = Math.min(1, i / (rate / 10), (rate - 1 - i) / (rate / 10))
      return gain * fade * Math.sin((2 * Math.PI * i) / divisor + (degrees * Math.PI) / 180)
    })
    return { sampleRate: rate, channels: [channel, channel] }
  },
  measure: 'truePeak',
  expected: level,
  below: 0.4,
  above: 0.2,
})

export const ebuSignals: readonly EbuSignal[] = [
  loudness('1', [[-23, 20]]),
  { ...loudness('2', [[-33, 20]]), expected: -33 },
  loudness('3', [
    [-36, 10],
    [-23, 60],
    [-36, 10],
  ]),
  loudness('4', [
    [-72, 10],
    [-36, 10],
    [-23, 60],
    [-36, 10],
    [-72, 10],
  ]),
  loudness('5', [
    [-26, 20],
    [-20, 20.1],
    [-26, 20],
  ]),
  {
    ...loudness('6', []),
    wav: () => ({
      sampleRate: rate,
      channels: [-28, -28, -24, -200, -30, -30].map(level => sines([[level, 20]])),
    }),
  },
  peak('15', 4, 0, -6),
  peak('16', 4, 45, -6),
  peak('17', 6, 60, -6),
  peak('18', 8, 67.5, -6),
  peak('19', 4, 45, 3),
  range('1', 10, [
    [-20, 20],
    [-30, 20],
  ]),
  range('2', 5, [
    [-20, 20],
    [-15, 20],
  ]),
  range('3', 20, [
    [-40, 20],
    [-20, 20],
  ]),
  range('4', 15, [
    [-50, 20],
    [-35, 20],
    [-20, 20],
    [-35, 20],
    [-50, 20],
  ]),
]
