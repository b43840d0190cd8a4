/**
 * Learns the weights of the networks of metre and phase and of the key templates from the tuning half of the clips, from
 * more clips made like it, from songs by others (Debian's freedoom, simutrans-data and lmms) and, for the phase, from tracker
 * modules (modules.ts), and writes metre-weights.ts, phase-weights.ts and key-weights.ts of src/core/audio. Never sees the
 * reporting half.
 *
 * Cross-validated by origin (a groove file, a genre, a song), so that the printed figures are of music not learned
 * from; NO_CV=1 leaves that out.
 *
 *   node training/tune.ts [--sample N] [--out FOLDER] [metre|phase|key]
 *
 * --sample N    from N clips only (of modules, too): minutes, to see that it runs and is repeatable
 * --out FOLDER  writes there instead
 */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import pLimit from 'p-limit'
import { hashOf } from '../bench/audio/random.ts'
import { mirexScore } from '../bench/audio/score.ts'
import { keyFeatureCount, pitchClasses } from '../src/core/audio/key.ts'
import { featureCount } from '../src/core/audio/metre.ts'
import { unpack } from '../src/core/audio/network.ts'
import type { PackedNetwork } from '../src/core/audio/packed-network.ts'
import { scoresOf, trainKey } from './learn-key.ts'
import { type MetreScores, pack, testMetre, trainMetre } from './learn-metre.ts'
import { type KeySample, keySamples, type MetreSample, metreSamples, moduleSamples } from './samples.ts'

const foldCount = 4

/** Networks whose mean is taken. */
const members = 8

/** What a network is learned for. */
type Counting = 'metre' | 'phase'

const originOf = (name: string): string =>
  name
    .replace(/[~@]\d+$/, '')
    .replace(/^(fof-.*)-\d+$/, '$1')
    .replace(/^(own-\w+)-\d+$/, '$1')

async function folds<T extends { name: string }>(
  samples: readonly T[],
  test: (train: T[], held: T[]) => Promise<void> | void,
): Promise<void> {
  for (let fold = 0; fold < foldCount; fold++) {
    const held = (sample: T): boolean => hashOf(`fold:${originOf(sample.name)}`) % foldCount === fold
    await test(
      samples.filter(sample => !held(sample)),
      samples.filter(held),
    )
  }
}

const { values: flags, positionals } = parseArgs({
  options: { sample: { type: 'string', default: 'Infinity' }, out: { type: 'string' } },
  allowPositionals: true,
})
const target = (name: string): string =>
  join(flags.out ?? fileURLToPath(new URL('../src/core/audio', import.meta.url)), name)

interface Lesson {
  readonly samples: readonly MetreSample[]
  readonly seed: number
}

/** One network in a thread of its own. */
async function learnOne(lesson: Lesson): Promise<PackedNetwork> {
  const [network] = await once(new Worker(new URL(import.meta.url), { workerData: lesson }), 'message')
  return network
}

const thread = pLimit(availableParallelism())

const learn = (samples: readonly MetreSample[]): Promise<PackedNetwork[]> =>
  Promise.all(
    Array.from({ length: members }, (_, member) => thread(() => learnOne({ samples, seed: 7 + member }))),
  )

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

function weightsOf(what: Counting, networks: readonly PackedNetwork[]): string {
  const row = ([scale, bytes]: PackedNetwork['rows'][number]): string => `[${scale}, '${bytes}'],`
  const one = ({ rows, bias, output }: PackedNetwork): string =>
    `{rows: [${rows.map(row).join('\n')}],\nbias: [${bias.join(', ')}],\noutput: [${output.join(', ')}]},`
  return `import type { PackedNetwork } from './packed-network.ts'

/** Written by training/tune.ts: learned, not to be edited. */
// biome-ignore format: a row a line
export const ${what}Networks: readonly PackedNetwork[] = [
${networks.map(one).join('\n')}
]
`
}

async function tune(what: Counting, samples: readonly MetreSample[]): Promise<void> {
  if (!process.env['NO_CV']) {
    const ofBench: MetreScores[] = []
    const all: MetreScores[] = []
    await folds(samples, async (train, held) => {
      const network = unpack(await learn(train), featureCount)
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
  const networks = await learn(samples)
  say('learned', [testMetre(unpack(networks, featureCount), samples)])
  writeFileSync(target(`${what}-weights.ts`), weightsOf(what, networks))
}

async function tuneKey(samples: readonly KeySample[]): Promise<void> {
  const total = { exact: 0, mirex: 0, clips: 0 }
  const nameOf = (k: number): string => pitchClasses[k % 12]! + (k < 12 ? '' : 'm')
  await folds(samples, (train, held) => {
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
    `[${[...weights.subarray(from, from + keyFeatureCount)].map(value => Number(value.toFixed(2))).join(', ')}]`
  writeFileSync(
    target('key-weights.ts'),
    `import type { KeyTemplates } from './key.ts'

/** Written by training/tune.ts: learned, not to be edited. In the order of keyFeatureCount in key.ts. */
export const keyTemplates: KeyTemplates = {
  weights: [
    ${line(0)},
    ${line(keyFeatureCount)},
  ],
  bias: [${weights[2 * keyFeatureCount]!.toFixed(3)}, ${weights[2 * keyFeatureCount + 1]!.toFixed(3)}],
}
`,
  )
}

if (isMainThread) {
  const asked = positionals[0]
  const count = Number(flags.sample)
  if (asked !== 'key') {
    const samples = await metreSamples(count)
    if (asked !== 'phase') await tune('metre', samples)
    if (asked !== 'metre') await tune('phase', [...samples, ...(await moduleSamples(count))])
  }
  if (asked === undefined || asked === 'key') await tuneKey(await keySamples(count))
} else {
  const { samples, seed } = workerData as Lesson
  parentPort!.postMessage(pack(trainMetre(samples, seed)))
}
