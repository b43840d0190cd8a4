/** Learns the key templates of src/core/audio/key.ts: multinomial logistic regression, the same weights for each tonic. */
import { randomFrom } from '../bench/audio/random.ts'
import { keyFeatureCount } from '../src/core/audio/key.ts'
import { optimiser } from './optimiser.ts'
import type { KeySample } from './samples.ts'

const keySize = 2 * keyFeatureCount + 2
const epochs = 450
const decay = 0.0003

/** Templates whose mean is taken. */
const members = 8

/**
 * The mean of several, each learned from as many samples drawn with replacement (bagging: Breiman 1996): one alone flips
 * near ties by what a few clips happen to hold.
 */
export function trainKey(samples: readonly KeySample[]): Float64Array {
  const mean = new Float64Array(keySize)
  for (let member = 0; member < members; member++) {
    const random = randomFrom(100 + member)
    const drawn = new Map<KeySample, number>()
    for (let i = 0; i < samples.length; i++) {
      const sample = random.pick(samples)
      drawn.set(sample, (drawn.get(sample) ?? 0) + 1)
    }
    for (const [i, weight] of trainOne(drawn, samples.length).entries()) mean[i]! += weight / members
  }
  return mean
}

/** @param drawn how often each sample counts, `total` in all. */
function trainOne(drawn: ReadonlyMap<KeySample, number>, total: number): Float64Array {
  const weights = new Float64Array(keySize)
  const update = optimiser(keySize)
  for (let epoch = 0; epoch < epochs; epoch++) {
    const gradient = new Float64Array(keySize)
    for (const [{ features, key }, count] of drawn) {
      const scores = scoresOf(weights, features)
      const top = Math.max(...scores)
      const all = scores.reduce((sum, score) => sum + Math.exp(score - top), 0)
      for (let k = 0; k < 24; k++) {
        const delta = (count / total) * (Math.exp(scores[k]! - top) / all - (k === key ? 1 : 0))
        const mode = k < 12 ? 0 : 1
        gradient[2 * keyFeatureCount + mode]! += delta
        for (let f = 0; f < keyFeatureCount; f++)
          gradient[mode * keyFeatureCount + f]! += delta * features[k * keyFeatureCount + f]!
      }
    }
    for (let i = 0; i < 2 * keyFeatureCount; i++) gradient[i]! += decay * weights[i]!
    update(weights, gradient, 0.1 * (1 - epoch / epochs), 0)
  }
  return weights
}

/** Of the 24 keys. */
export function scoresOf(weights: Float64Array, features: Float32Array): Float64Array {
  return Float64Array.from({ length: 24 }, (_, k) => {
    const mode = k < 12 ? 0 : 1
    let score = weights[2 * keyFeatureCount + mode]!
    for (let f = 0; f < keyFeatureCount; f++)
      score += weights[mode * keyFeatureCount + f]! * features[k * keyFeatureCount + f]!
    return score
  })
}
