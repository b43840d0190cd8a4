/** Learns the key templates of src/core/audio/key.ts: multinomial logistic regression, the same weights for each tonic. */
import { KEY_FEATURES } from '../src/core/audio/key.ts'
import { optimiser } from './optimiser.ts'
import type { KeySample } from './samples.ts'

const KEY_SIZE = 2 * KEY_FEATURES + 2

export function trainKey(samples: readonly KeySample[]): Float64Array {
  const weights = new Float64Array(KEY_SIZE)
  const update = optimiser(KEY_SIZE)
  const epochs = 300
  for (let epoch = 0; epoch < epochs; epoch++) {
    const gradient = new Float64Array(KEY_SIZE)
    for (const { features, key } of samples) {
      const scores = scoresOf(weights, features)
      const top = Math.max(...scores)
      const all = scores.reduce((sum, score) => sum + Math.exp(score - top), 0)
      for (let k = 0; k < 24; k++) {
        const delta = (Math.exp(scores[k]! - top) / all - (k === key ? 1 : 0)) / samples.length
        const mode = k < 12 ? 0 : 1
        gradient[2 * KEY_FEATURES + mode]! += delta
        for (let f = 0; f < KEY_FEATURES; f++)
          gradient[mode * KEY_FEATURES + f]! += delta * features[k * KEY_FEATURES + f]!
      }
    }
    for (let i = 0; i < 2 * KEY_FEATURES; i++) gradient[i]! += 0.0005 * weights[i]!
    update(weights, gradient, 0.1 * (1 - epoch / epochs), 0)
  }
  return weights
}

/** Of the 24 keys. */
export function scoresOf(weights: Float64Array, features: Float32Array): Float64Array {
  return Float64Array.from({ length: 24 }, (_, k) => {
    const mode = k < 12 ? 0 : 1
    let score = weights[2 * KEY_FEATURES + mode]!
    for (let f = 0; f < KEY_FEATURES; f++)
      score += weights[mode * KEY_FEATURES + f]! * features[k * KEY_FEATURES + f]!
    return score
  })
}
