/**
 * Learns the weights of the metre network and of the key templates from the tuning half of the clips and from more
 * clips made like it, and writes src/core/audio/metre-weights.ts and key-weights.ts. Never sees the reporting half.
 * Cross-validated by origin (a groove file, a genre, a song), so that the printed figures are of music not learned
 * from; NO_CV=1 leaves that out.
 *
 *   node bench/audio/tune.ts [metre|key]
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { KEY_FEATURES, PITCH_CLASSES } from '../../src/core/audio/key.ts'
import { FEATURES } from '../../src/core/audio/metre.ts'
import { type PackedNetwork, unpack } from '../../src/core/audio/network.ts'
import { scoresOf, trainKey } from './learn-key.ts'
import { type MetreScores, pack, testMetre, trainMetre } from './learn-metre.ts'
import { hashOf } from './random.ts'
import { collect, type KeySample, type MetreSample } from './samples.ts'
import { mirexScore } from './score.ts'

const FOLDS = 4

/** Networks whose mean is taken. */
const MEMBERS = 5

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
    test(
      samples.filter(sample => !held(sample)),
      samples.filter(held),
    )
  }
}

const target = (name: string): string =>
  fileURLToPath(new URL(`../../src/core/audio/${name}`, import.meta.url))

const learn = (samples: readonly MetreSample[]): PackedNetwork[] =>
  Array.from({ length: MEMBERS }, (_, member) => pack(trainMetre(samples, 7 + member)))

function say(what: string, parts: readonly MetreScores[]): void {
  const sum = (of: (scores: MetreScores) => number): number => parts.reduce((a, part) => a + of(part), 0)
  const clips = sum(scores => scores.clips)
  const share = (of: (scores: MetreScores) => number): string => (sum(of) / clips).toFixed(3)
  console.log(
    `${what}: ${clips} clips, A1 ${share(({ a1 }) => a1)}, A2 ${share(({ a2 }) => a2)}, ` +
      `reading ${share(({ reading }) => reading)}; true tempo unheard in ${sum(({ unheard }) => unheard)}`,
  )
  const wrong = parts.flatMap(part => part.wrong)
  if (wrong.length > 0) console.log(`  not even an octave right (ratio to the truth): ${wrong.join(', ')}`)
}

function metreWeights(networks: readonly PackedNetwork[]): string {
  const row = ([scale, bytes]: PackedNetwork['rows'][number]): string => `[${scale}, '${bytes}'],`
  const one = ({ rows, bias, output }: PackedNetwork): string =>
    `{rows: [${rows.map(row).join('\n')}],\nbias: [${bias.join(', ')}],\noutput: [${output.join(', ')}]},`
  return `import type { PackedNetwork } from './network.ts'

/** Written by bench/audio/tune.ts: learned, not to be edited. */
// biome-ignore format: a row a line
export const METRE_NETWORKS: readonly PackedNetwork[] = [
${networks.map(one).join('\n')}
]
`
}

function tuneMetre(samples: readonly MetreSample[]): void {
  if (!process.env['NO_CV']) {
    const ofBench: MetreScores[] = []
    const all: MetreScores[] = []
    folds(samples, (train, held) => {
      const network = unpack(learn(train), FEATURES)
      all.push(testMetre(network, held))
      ofBench.push(
        testMetre(
          network,
          held.filter(sample => sample.ofBench),
        ),
      )
    })
    say('held out, of the bench', ofBench)
    say('held out, all', all)
  }
  const networks = learn(samples)
  say('learned', [testMetre(unpack(networks, FEATURES), samples)])
  writeFileSync(target('metre-weights.ts'), metreWeights(networks))
}

function tuneKey(samples: readonly KeySample[]): void {
  const total = { exact: 0, mirex: 0, clips: 0 }
  const nameOf = (k: number): string => PITCH_CLASSES[k % 12]! + (k < 12 ? '' : 'm')
  folds(samples, (train, held) => {
    const weights = trainKey(train)
    for (const { features, key } of held.filter(sample => sample.ofBench)) {
      const scores = scoresOf(weights, features)
      const answer = scores.indexOf(Math.max(...scores))
      if (answer === key) total.exact++
      total.mirex += mirexScore(nameOf(answer), nameOf(key))
      total.clips++
    }
  })
  console.log(
    `key, held out: exact ${(total.exact / total.clips).toFixed(3)}, MIREX ${(total.mirex / total.clips).toFixed(3)}`,
  )
  const weights = trainKey(samples)
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

const { metre, key } = await collect()
const what = process.argv[2]
if (what !== 'key') tuneMetre(metre)
if (what !== 'metre') tuneKey(key)
