/**
 * Learns the weights of the metre network and of the key templates from the tuning half of the clips and from more
 * clips made like it, and writes src/core/audio/metre-weights.ts and key-weights.ts. Never sees the reporting half.
 * Cross-validated by origin (a groove file, a song), so that the printed figures are of music not learned from.
 *
 *   node bench/audio/tune.ts [metre|key]
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { trackBeats } from '../../src/core/audio/beats.ts'
import { tonality } from '../../src/core/audio/chroma.ts'
import { frontEnd } from '../../src/core/audio/frontend.ts'
import { KEY_FEATURES, keyFeatures, PITCH_CLASSES } from '../../src/core/audio/key.ts'
import { FEATURES, foldPattern, readingFeatures, SHIFTS, STEPS } from '../../src/core/audio/metre.ts'
import { onsetStrength } from '../../src/core/audio/onsets.ts'
import { PULSE_TIGHTNESS, rhythmCorrelations } from '../../src/core/audio/readings.ts'
import { tempoHypotheses } from '../../src/core/audio/tempo.ts'
import { allClips, type Clip, extraTuningClips } from './clips.ts'
import type { Truth } from './compose.ts'
import { hashOf, randomFrom } from './random.ts'
import { render } from './render.ts'
import { mirexScore } from './score.ts'
import { readWav } from './wav.ts'

const HIDDEN = 16
const EPOCHS = Number(process.env['EPOCHS'] ?? 30)
const DECAY = Number(process.env['DECAY'] ?? 0.01)
const FOLDS = 4

interface MetreSample {
  readonly name: string
  readonly features: Float32Array
  readonly tempi: Float64Array
  /** Which readings are right: tempo, phase and, in even metres, which of two beats is first. */
  readonly right: Uint8Array
  readonly bpm: number
}

interface KeySample {
  readonly name: string
  readonly features: Float32Array
  readonly key: number
}

function metreSample(
  name: string,
  truth: Truth,
  onsets: ReturnType<typeof onsetStrength>,
): MetreSample | undefined {
  const correlations = rhythmCorrelations(onsets)
  const hypotheses = tempoHypotheses(correlations.novelty)
  const count = hypotheses.length * SHIFTS.length * 2
  const features = new Float32Array(count * FEATURES)
  const tempi = new Float64Array(count)
  const right = new Uint8Array(count)
  const { beats: true_, downbeats } = truth
  const downIndices = downbeats.map(time => true_.indexOf(time))
  const bar = downIndices.length > 1 ? downIndices[1]! - downIndices[0]! : 4
  let row = 0
  for (const bpm of hypotheses) {
    const beats = trackBeats(onsets.novelty, bpm, PULSE_TIGHTNESS)
    const pattern = foldPattern(onsets, beats)
    for (const shift of SHIFTS)
      for (let first = 0; first < 2; first++, row++) {
        readingFeatures(
          pattern,
          shift + first * STEPS,
          bpm,
          correlations,
          onsets.shares,
          features,
          row * FEATURES,
        )
        tempi[row] = bpm
        if (Math.abs(bpm / truth.bpm - 1) > 0.04) continue
        let near = 0
        let inStep = 0
        let all = 0
        for (let i = 0; i + 1 < beats.length; i++) {
          const period = beats[i + 1]! - beats[i]!
          const time = beats[i]! + (period * shift) / STEPS
          if (time > true_.at(-1)! + 0.1) break
          all++
          const j = nearest(true_, time)
          if (Math.abs(true_[j]! - time) > 0.14 * period) continue
          near++
          const down = downIndices.findLast(index => index <= j) ?? downIndices[0] ?? 0
          if ((((j - down) % 2) + 2) % 2 === (i + first) % 2) inStep++
        }
        if (near > 0.6 * all && (bar % 2 === 1 || inStep > 0.5 * near)) right[row] = 1
      }
  }
  return right.includes(1) ? { name, features, tempi, right, bpm: truth.bpm } : undefined
}

function nearest(times: readonly number[], time: number): number {
  let low = 0
  let high = times.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (times[middle]! < time) low = middle + 1
    else high = middle
  }
  return low > 0 && Math.abs(times[low - 1]! - time) < Math.abs(times[low]! - time) ? low - 1 : low
}

async function collect(): Promise<{ metre: MetreSample[]; key: KeySample[] }> {
  const metre: MetreSample[] = []
  const key: KeySample[] = []
  const clips = [...allClips().filter(clip => clip.half === 'tuning'), ...extraTuningClips()]
  let next = 0
  const work = async (): Promise<void> => {
    for (let clip: Clip | undefined = clips[next++]; clip; clip = clips[next++]) {
      const rendered = await render(clip)
      if ('failed' in rendered) {
        console.error(`${clip.name}: ${rendered.failed}`)
        continue
      }
      const { sampleRate, channels } = readWav(rendered.wav)
      const [left, right] = channels as [Float32Array, Float32Array]
      const front = frontEnd(sampleRate)
      front.push(
        left.map((value, i) => (value + right[i]!) / 2),
        left.length,
      )
      const spectra = front.finish()
      const { truth } = rendered
      if (!truth.changes) {
        const sample = metreSample(clip.name, truth, onsetStrength(spectra))
        if (sample) metre.push(sample)
        else console.error(`${clip.name}: no reading is right (${truth.bpm.toFixed(1)})`)
      }
      if (truth.key !== null) {
        const minor = truth.key.endsWith('m')
        const tonic = PITCH_CLASSES.indexOf(truth.key.replace('m', '') as (typeof PITCH_CLASSES)[number])
        key.push({ name: clip.name, features: keyFeatures(tonality(spectra)), key: tonic + (minor ? 12 : 0) })
      }
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1)
  return { metre: metre.sort(byName), key: key.sort(byName) }
}

/** Adam (Kingma and Ba 2015) with decoupled weight decay. */
function optimiser(
  size: number,
): (weights: Float64Array, gradient: Float64Array, rate: number, decay: number) => void {
  const first = new Float64Array(size)
  const second = new Float64Array(size)
  let step = 0
  return (weights, gradient, rate, decay) => {
    step++
    const c1 = 1 - 0.9 ** step
    const c2 = 1 - 0.999 ** step
    for (let i = 0; i < size; i++) {
      const g = gradient[i]!
      first[i] = 0.9 * first[i]! + 0.1 * g
      second[i] = 0.999 * second[i]! + 0.001 * g * g
      weights[i]! -= rate * (first[i]! / c1 / (Math.sqrt(second[i]! / c2) + 1e-8) + decay * weights[i]!)
    }
  }
}

const INPUT = HIDDEN * FEATURES
const SIZE = INPUT + 2 * HIDDEN

function forward(
  weights: Float64Array,
  x: Float32Array,
  row: number,
  activations: Float64Array,
  mask?: Uint8Array,
): number {
  let score = 0
  const offset = row * FEATURES
  for (let h = 0; h < HIDDEN; h++) {
    let sum = weights[INPUT + h]!
    const base = h * FEATURES
    if (mask) {
      for (let f = 0; f < FEATURES; f++) if (mask[f]) sum += weights[base + f]! * x[offset + f]!
    } else for (let f = 0; f < FEATURES; f++) sum += weights[base + f]! * x[offset + f]!
    const activation = Math.tanh(sum)
    activations[h] = activation
    score += weights[INPUT + HIDDEN + h]! * activation
  }
  return score
}

/** Softmax over all readings of a clip; the loss is what falls on wrong ones. */
function trainMetre(samples: readonly MetreSample[]): Float64Array {
  const random = randomFrom(7)
  const weights = Float64Array.from({ length: SIZE }, (_, i) =>
    i < INPUT ? 0.1 * (random.next() - 0.5) : i < INPUT + HIDDEN ? 0 : random.next() - 0.5,
  )
  const update = optimiser(SIZE)
  const order = samples.map((_, i) => i)
  const mask = new Uint8Array(FEATURES)
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(random.next() * (i + 1))
      ;[order[i], order[j]] = [order[j]!, order[i]!]
    }
    const rate = 3e-3 * (1 - epoch / EPOCHS) + 5e-5
    for (let start = 0; start < order.length; start += 8) {
      const batch = order.slice(start, start + 8)
      const gradient = new Float64Array(SIZE)
      for (const index of batch) {
        const { features, right } = samples[index]!
        for (let f = 0; f < FEATURES; f++) mask[f] = random.next() < 0.15 ? 0 : 1
        const activations = right.map(() => 0).length
        const hidden = Array.from({ length: activations }, () => new Float64Array(HIDDEN))
        const scores = Float64Array.from(right, (_, row) =>
          forward(weights, features, row, hidden[row]!, mask),
        )
        const top = Math.max(...scores)
        let all = 0
        let good = 0
        for (const [row, score] of scores.entries()) {
          all += Math.exp(score - top)
          if (right[row]) good += Math.exp(score - top)
        }
        for (const [row, score] of scores.entries()) {
          const weight = Math.exp(score - top)
          const delta = weight / all - (right[row] ? weight / good : 0)
          if (Math.abs(delta) < 1e-5) continue
          for (let h = 0; h < HIDDEN; h++) {
            const activation = hidden[row]![h]!
            gradient[INPUT + HIDDEN + h]! += (delta * activation) / batch.length
            const inner =
              (delta * weights[INPUT + HIDDEN + h]! * (1 - activation * activation)) / batch.length
            gradient[INPUT + h]! += inner
            const base = h * FEATURES
            for (let f = 0; f < FEATURES; f++)
              if (mask[f]) gradient[base + f]! += inner * features[row * FEATURES + f]!
          }
        }
      }
      update(weights, gradient, rate, DECAY)
    }
  }
  return weights
}

function testMetre(
  weights: Float64Array,
  samples: readonly MetreSample[],
): { tempo: number; reading: number } {
  let tempo = 0
  let reading = 0
  const activations = new Float64Array(HIDDEN)
  for (const { features, right, tempi, bpm } of samples) {
    const scores = Float64Array.from(right, (_, row) => forward(weights, features, row, activations))
    const byTempo = new Map<number, number>()
    for (const [row, score] of scores.entries())
      byTempo.set(tempi[row]!, (byTempo.get(tempi[row]!) ?? 0) + Math.exp(score))
    const best = [...byTempo].reduce((a, b) => (b[1] > a[1] ? b : a))[0]
    if (Math.abs(best / bpm - 1) < 0.04) tempo++
    if (right[scores.indexOf(Math.max(...scores))]) reading++
  }
  return { tempo, reading }
}

const KEY_SIZE = 2 * KEY_FEATURES + 2

function trainKey(samples: readonly KeySample[]): Float64Array {
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

function scoresOf(weights: Float64Array, features: Float32Array): Float64Array {
  return Float64Array.from({ length: 24 }, (_, k) => {
    const mode = k < 12 ? 0 : 1
    let score = weights[2 * KEY_FEATURES + mode]!
    for (let f = 0; f < KEY_FEATURES; f++)
      score += weights[mode * KEY_FEATURES + f]! * features[k * KEY_FEATURES + f]!
    return score
  })
}

const originOf = (name: string): string =>
  name
    .replace(/~\d+$/, '')
    .replace(/^(fof-.*)-\d+$/, '$1')
    .replace(/^(own-\w+)-\d+$/, '$1')

function folds<T extends { name: string }>(
  samples: readonly T[],
  test: (train: T[], held: T[]) => void,
): void {
  for (let fold = 0; fold < FOLDS; fold++) {
    const held = (sample: T): boolean => hashOf(`fold:${originOf(sample.name)}`) % FOLDS === fold
    // Learned from everything, tested on the clips of the bench itself.
    test(
      samples.filter(sample => !held(sample)),
      samples.filter(sample => held(sample) && !/~|^own-\w+-\d\d|^own-\w+-[6-9]/.test(sample.name)),
    )
  }
}

const target = (name: string): string =>
  fileURLToPath(new URL(`../../src/core/audio/${name}`, import.meta.url))

/** Numbers as base64 of signed bytes, each row with a scale of its own. */
function quantise(values: Float64Array): { scale: number; bytes: string } {
  const scale = Math.max(...values.map(Math.abs)) / 127
  return {
    scale,
    bytes: Buffer.from(Int8Array.from(values, value => Math.round(value / scale)).buffer).toString('base64'),
  }
}

const { metre, key } = await collect()
const what = process.argv[2]
if (what !== 'key') {
  console.log(`metre: ${metre.length} clips`)
  if (!process.env['NO_CV']) {
    const total = { tempo: 0, reading: 0, clips: 0 }
    folds(metre, (train, held) => {
      const result = testMetre(trainMetre(train), held)
      total.tempo += result.tempo
      total.reading += result.reading
      total.clips += held.length
    })
    console.log(
      `held out: tempo ${(total.tempo / total.clips).toFixed(3)}, reading ${(total.reading / total.clips).toFixed(3)}`,
    )
  }
  const weights = trainMetre(metre)
  console.log('learned:', testMetre(weights, metre), 'of', metre.length)
  const rows = Array.from({ length: HIDDEN }, (_, h) =>
    quantise(weights.subarray(h * FEATURES, (h + 1) * FEATURES)),
  )
  const numbers = (values: Float64Array): string =>
    `[${[...values].map(value => Number(value.toFixed(4))).join(', ')}]`
  writeFileSync(
    target('metre-weights.ts'),
    `/** Written by bench/audio/tune.ts: learned, not to be edited. Rows are signed bytes in base64, times their scale. */
export const METRE_ROWS: readonly (readonly [scale: number, bytes: string])[] = [
${rows.map(({ scale, bytes }) => `  [\n    ${Number(scale.toPrecision(5))},\n    '${bytes}',\n  ],`).join('\n')}
]
export const METRE_BIAS: readonly number[] = ${numbers(weights.subarray(INPUT, INPUT + HIDDEN))}
export const METRE_OUTPUT: readonly number[] = ${numbers(weights.subarray(INPUT + HIDDEN))}
`,
  )
}
if (what !== 'metre') {
  console.log(`key: ${key.length} clips`)
  const total = { exact: 0, mirex: 0, clips: 0 }
  const nameOf = (k: number): string => PITCH_CLASSES[k % 12]! + (k < 12 ? '' : 'm')
  const guess = (weights: Float64Array, { features }: KeySample): number => {
    const scores = scoresOf(weights, features)
    return scores.indexOf(Math.max(...scores))
  }
  folds(key, (train, held) => {
    const weights = trainKey(train)
    for (const sample of held) {
      const answer = guess(weights, sample)
      if (answer === sample.key) total.exact++
      total.mirex += mirexScore(nameOf(answer), nameOf(sample.key))
      total.clips++
    }
  })
  console.log(
    `held out: exact ${(total.exact / total.clips).toFixed(3)}, MIREX ${(total.mirex / total.clips).toFixed(3)}`,
  )
  const weights = trainKey(key)
  const line = (from: number): string =>
    `[${[...weights.subarray(from, from + KEY_FEATURES)].map(value => Number(value.toFixed(2))).join(', ')}]`
  writeFileSync(
    target('key-weights.ts'),
    `import type { KeyTemplates } from './key.ts'

/** Written by bench/audio/tune.ts: learned, not to be edited. In the order of KEY_FEATURES in key.ts. */
export const KEY_TEMPLATES: KeyTemplates = {
  weights: [
    ${line(0)},
    ${line(KEY_FEATURES)},
  ],
  bias: [${weights[2 * KEY_FEATURES]!.toFixed(3)}, ${weights[2 * KEY_FEATURES + 1]!.toFixed(3)}],
}
`,
  )
}
