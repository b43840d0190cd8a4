/** Learns the network of src/core/audio/network.ts from readings, and says how right one is. */

import { type Random, randomFrom } from '../bench/audio/random.ts'
import { tempoA1, tempoA2 } from '../bench/audio/score.ts'
import { harmonyFeatureCount } from '../src/core/audio/harmonic-rhythm.ts'
import { featureCount } from '../src/core/audio/metre.ts'
import { type Network, scoreReading } from '../src/core/audio/network.ts'
import type { PackedNetwork } from '../src/core/audio/packed-network.ts'
import { optimiser } from './optimiser.ts'
import type { MetreSample } from './samples.ts'

const hidden = 20
const epochs = 30
const batchSize = 8
const decay = 0.01
/** Shares of the inputs and of the hidden units that are left out at a time (Srivastava et al., "Dropout", JMLR 2014). */
const inputsOut = 0.15
const hiddenOut = 0.2
/** How often all of the harmony is left out, so that a track whose chords say nothing is counted as well. */
const harmonyOut = 0.5
/**
 * What is added to the score of a reading whose tempo is no octave of the true one while learning, so that it must be
 * beaten by a margin: half or double is minded less (softmax-margin; Gimpel and Smith, NAACL 2010).
 */
const margin = 3

const input = hidden * featureCount
const size = input + 2 * hidden

/** Adds what one sample asks for to the gradient: softmax over its readings, the loss is what falls on wrong ones. */
function addGradient(
  weights: Float64Array,
  { features, right, tempi, bpm }: MetreSample,
  random: Random,
  gradient: Float64Array,
): void {
  const kept = Float64Array.from({ length: featureCount }, () => (random.next() < inputsOut ? 0 : 1))
  if (random.next() < harmonyOut) kept.fill(0, featureCount - harmonyFeatureCount)
  const units = Float64Array.from({ length: hidden }, () =>
    random.next() < hiddenOut ? 0 : 1 / (1 - hiddenOut),
  )
  const masked = Float64Array.from({ length: input }, (_, i) => weights[i]! * kept[i % featureCount]!)
  const count = right.length
  const activations = new Float64Array(count * hidden)
  const scores = Float64Array.from(tempi, tempo => (tempoA2(tempo, bpm) ? 0 : margin))
  for (let row = 0; row < count; row++)
    for (let h = 0; h < hidden; h++) {
      if (units[h] === 0) continue
      let sum = weights[input + h]!
      for (let f = 0, w = h * featureCount, x = row * featureCount; f < featureCount; f++)
        sum += masked[w++]! * features[x++]!
      const activation = Math.tanh(sum)
      activations[row * hidden + h] = activation
      scores[row]! += weights[input + hidden + h]! * activation * units[h]!
    }
  const top = Math.max(...scores)
  const shares = scores.map(score => Math.exp(score - top))
  const all = shares.reduce((a, b) => a + b, 0)
  const good = shares.reduce((sum, share, row) => sum + (right[row] ? share : 0), 0)
  for (let row = 0; row < count; row++) {
    const delta = shares[row]! / all - (right[row] ? shares[row]! / good : 0)
    if (Math.abs(delta) < 1e-5) continue
    for (let h = 0; h < hidden; h++) {
      if (units[h] === 0) continue
      const activation = activations[row * hidden + h]!
      gradient[input + hidden + h]! += delta * activation * units[h]!
      const inner = delta * weights[input + hidden + h]! * units[h]! * (1 - activation * activation)
      gradient[input + h]! += inner
      for (let f = 0, w = h * featureCount, x = row * featureCount; f < featureCount; f++, w++)
        gradient[w]! += inner * kept[f]! * features[x++]!
    }
  }
}

/** One network; another seed, another beginning and order. */
export function trainMetre(all: readonly MetreSample[], seed: number): Float64Array {
  const samples = all.filter(({ right }) => right.includes(1))
  const random = randomFrom(seed)
  const weights = Float64Array.from({ length: size }, (_, i) =>
    i < input ? 0.1 * (random.next() - 0.5) : i < input + hidden ? 0 : random.next() - 0.5,
  )
  const update = optimiser(size)
  const order = samples.map((_, i) => i)
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(random.next() * (i + 1))
      ;[order[i], order[j]] = [order[j]!, order[i]!]
    }
    const rate = 3e-3 * (1 - epoch / epochs) + 5e-5
    for (let start = 0; start < order.length; start += batchSize) {
      const batch = order.slice(start, start + batchSize)
      const gradient = new Float64Array(size)
      for (const index of batch) addGradient(weights, samples[index]!, random, gradient)
      for (let i = 0; i < size; i++) gradient[i]! /= batch.length
      update(weights, gradient, rate, decay)
    }
  }
  return weights
}

const rounded = (values: Float64Array): number[] => [...values].map(value => Number(value.toFixed(4)))

/** As it is written down: rows as signed bytes, each with a scale of its own. */
export function pack(weights: Float64Array): PackedNetwork {
  const rows = Array.from({ length: hidden }, (_, h) => {
    const row = weights.subarray(h * featureCount, (h + 1) * featureCount)
    const scale = Number((Math.max(...row.map(Math.abs)) / 127).toPrecision(5))
    const bytes = Int8Array.from(row, value => Math.max(-127, Math.min(127, Math.round(value / scale))))
    return [scale, Buffer.from(bytes.buffer).toString('base64')] as const
  })
  return {
    rows,
    bias: rounded(weights.subarray(input, input + hidden)),
    output: rounded(weights.subarray(input + hidden)),
  }
}

export interface MetreScores {
  readonly clips: number
  readonly a1: number
  readonly a2: number
  /** Tempo, phase and which of two beats is first. */
  readonly reading: number
  /** Clips whose true tempo is among no reading's. */
  readonly unheard: number
  /** What was answered for the wrong ones, as name and ratio to the truth. */
  readonly wrong: readonly string[]
}

/** Counts over samples. */
export function testMetre(network: Network, samples: readonly MetreSample[]): MetreScores {
  const scores = { clips: samples.length, a1: 0, a2: 0, reading: 0, unheard: 0, wrong: [] as string[] }
  for (const { name, features, right, tempi, bpm } of samples) {
    const rows = Float64Array.from(right, (_, row) => scoreReading(network, features, row * featureCount))
    const byTempo = new Map<number, number>()
    for (const [row, score] of rows.entries())
      byTempo.set(tempi[row]!, (byTempo.get(tempi[row]!) ?? 0) + Math.exp(score))
    const best = [...byTempo].reduce((a, b) => (b[1] > a[1] ? b : a))[0]
    if (tempoA1(best, bpm)) scores.a1++
    if (tempoA2(best, bpm)) scores.a2++
    else scores.wrong.push(`${name} ${(best / bpm).toFixed(2)}`)
    if (right[rows.indexOf(Math.max(...rows))]) scores.reading++
    if (!tempi.some(tempo => tempoA1(tempo, bpm))) scores.unheard++
  }
  return scores
}
