/**
 * The network that says how much a reading of a track looks like music counted rightly: one hidden layer of tanh
 * units. Several that were learned from different beginnings are one whose hidden layers stand side by side: its score
 * is the mean of theirs, which errs less than any (Hansen and Salamon, "Neural network ensembles", IEEE TPAMI 12(10),
 * 1990).
 */

import { metreNetworks } from './metre-weights.ts'
import type { PackedNetwork } from './packed-network.ts'
import { phaseNetworks } from './phase-weights.ts'

export interface Network {
  readonly hidden: number
  /** hidden x features, row by row. */
  readonly input: Float32Array
  readonly bias: Float32Array
  readonly output: Float32Array
}

/** @throws Error if a row is not `features` long. */
export function unpack(networks: readonly PackedNetwork[], features: number): Network {
  const rows = networks.flatMap(({ rows }) => rows)
  const input = new Float32Array(rows.length * features)
  for (const [h, [scale, text]] of rows.entries()) {
    const bytes = Int8Array.from(Buffer.from(text, 'base64'))
    if (bytes.length !== features)
      throw new Error('learned weights do not fit metre.ts: run training/tune.ts')
    for (let f = 0; f < features; f++) input[h * features + f] = bytes[f]! * scale
  }
  return {
    hidden: rows.length,
    input,
    bias: Float32Array.from(networks.flatMap(({ bias }) => bias)),
    output: Float32Array.from(networks.flatMap(({ output }) => output.map(value => value / networks.length))),
  }
}

export interface Networks {
  /** Says which tempo. */
  readonly metre: Network
  /**
   * Says, given the tempo, which of its phases. To those that say the tempo come others that learned from tracker modules
   * too, whose rows say where beats lie, but not always at which of two octaves they are counted (training/modules.ts).
   */
  readonly phase: Network
}

/**
 * What those that learned from modules count for in the phase. Alone they find more of the beats of dance music, and lose
 * some of those of other music; this costs none of these in sum (bench/README.md).
 */
const phaseShare = 1 / 4

/** A network whose score is that of two, the second's counted for `share`, the first's for the rest. */
function mixed(first: Network, second: Network, share: number): Network {
  const join = (a: Float32Array, b: Float32Array): Float32Array => Float32Array.from([...a, ...b])
  return {
    hidden: first.hidden + second.hidden,
    input: join(first.input, second.input),
    bias: join(first.bias, second.bias),
    output: join(
      first.output.map(value => value * (1 - share)),
      second.output.map(value => value * share),
    ),
  }
}

/** The networks of metre-weights.ts and phase-weights.ts. */
export function learnedNetworks(features: number): Networks {
  const metre = unpack(metreNetworks, features)
  return { metre, phase: mixed(metre, unpack(phaseNetworks, features), phaseShare) }
}

/** Score of the feature vector at `offset`. */
export function scoreReading(
  { hidden, input, bias, output }: Network,
  features: Float32Array,
  offset: number,
): number {
  const length = input.length / hidden
  let score = 0
  for (let h = 0; h < hidden; h++) {
    let sum = bias[h]!
    const row = h * length
    for (let i = 0; i < length; i++) sum += input[row + i]! * features[offset + i]!
    score += output[h]! * Math.tanh(sum)
  }
  return score
}
