/** What tune.ts learns from: readings of clips with which of them are right, and their harmony with its key. */
import { availableParallelism } from 'node:os'
import { allClips, type Clip, extraTuningClips } from '../bench/audio/clips.ts'
import { hashOf, sampleBy } from '../bench/audio/random.ts'
import { tempoA1 } from '../bench/audio/score.ts'
import { trackBeats } from '../src/core/audio/beats.ts'
import { tonality } from '../src/core/audio/chroma.ts'
import type { Spectra } from '../src/core/audio/frontend.ts'
import { keyFeatures, pitchClasses } from '../src/core/audio/key.ts'
import {
  type Evidence,
  featureCount,
  fold,
  gatherEvidence,
  readingFeatures,
  shifts,
  steps,
} from '../src/core/audio/metre.ts'
import { onsetStrength } from '../src/core/audio/onsets.ts'
import { pulseTightness } from '../src/core/audio/readings.ts'
import { tempoHypotheses } from '../src/core/audio/tempo.ts'
import type { Truth } from './compose.ts'
import { hear } from './heard.ts'
import { moduleSongs } from './modules.ts'
import { otherSongs } from './songs.ts'

interface Sample {
  readonly name: string
  /** Whether it is a clip of the bench itself; otherwise one more to learn from. */
  readonly ofBench: boolean
}

export interface MetreSample extends Sample {
  /** A row of FEATURES for each reading. */
  readonly features: Float32Array
  /** Of each reading, beats per minute. */
  readonly tempi: Float64Array
  /** Of each reading, whether it is right: tempo, phase and, in even metres, which of two beats is first. */
  readonly right: Uint8Array
  readonly bpm: number
}

export interface KeySample extends Sample {
  readonly features: Float32Array
  /** 0 to 11 major, 12 to 23 minor. */
  readonly key: number
}

/** Index of the nearest of ascending times. */
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

/** Whether beats moved on by `shift` steps are the true ones, and every second from `first` a strong one. */
function isRight(truth: Truth, pulse: Float64Array, shift: number, first: number): boolean {
  const { beats, downbeats } = truth
  const downIndices = downbeats.map(time => beats.indexOf(time))
  const bar = downIndices.length > 1 ? downIndices[1]! - downIndices[0]! : 4
  let near = 0
  let inStep = 0
  let all = 0
  for (let i = 0; i + 1 < pulse.length; i++) {
    const period = pulse[i + 1]! - pulse[i]!
    const time = pulse[i]! + (period * shift) / steps
    if (time > beats.at(-1)! + 0.1) break
    all++
    const j = nearest(beats, time)
    if (Math.abs(beats[j]! - time) > 0.14 * period) continue
    near++
    const down = downIndices.findLast(index => index <= j) ?? downIndices[0] ?? 0
    if ((((j - down) % 2) + 2) % 2 === (i + first) % 2) inStep++
  }
  return near > 0.6 * all && (bar % 2 === 1 || inStep > 0.5 * near)
}

function metreSample(sample: Sample, truth: Truth, evidence: Evidence): MetreSample {
  const hypotheses = tempoHypotheses(evidence.correlations[0])
  const count = hypotheses.length * shifts.length * 2
  const features = new Float32Array(count * featureCount)
  const tempi = new Float64Array(count)
  const right = new Uint8Array(count)
  let row = 0
  for (const bpm of hypotheses) {
    const beats = trackBeats(evidence.onsets.novelty, bpm, pulseTightness)
    const folded = fold(evidence, beats)
    for (const shift of shifts)
      for (let first = 0; first < 2; first++, row++) {
        readingFeatures(evidence, folded, shift + first * steps, bpm, features, row * featureCount)
        tempi[row] = bpm
        if (tempoA1(bpm, truth.bpm) && isRight(truth, beats, shift, first)) right[row] = 1
      }
  }
  return { ...sample, features, tempi, right, bpm: truth.bpm }
}

/**
 * Grooves of the tuning half that sound otherwise than they are written (bench/README.md, "What the labels are worth"):
 * two who read the scores were sure of another beat, and of the same. Left out.
 */
const soundsOtherwise = /^mma-(casio-slowrock|zoom-(bald|rock)34)(~|$)/

/** They took another pulse for the beat here too, though not both were sure: only the key is learned. */
const doubtful = /^mma-stdlib-(afro-cuban|arpeggio68)(~|$)/

const byName = (a: Sample, b: Sample): number => (a.name < b.name ? -1 : 1)

/** So many of the extra clips, by the hash of their names, are what the key is learned from: rendering all takes hours. */
const keyLessons = 139

const ofTuning = (): Clip[] => allClips().filter(({ half }) => half === 'tuning')

/** Each clip as it sounds; what a tool cannot render is left out, aloud. */
async function hearAll(
  clips: readonly Clip[],
  take: (clip: Clip, truth: Truth, spectra: Spectra) => void,
): Promise<void> {
  let next = 0
  const work = async (): Promise<void> => {
    for (let clip: Clip | undefined = clips[next++]; clip; clip = clips[next++]) {
      const heard = await hear(clip)
      if ('failed' in heard) console.error(`${clip.name}: ${heard.failed}`)
      else take(clip, heard.truth, heard.spectra)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
}

async function readingsOf(clips: readonly Clip[], ofBench: ReadonlySet<string>): Promise<MetreSample[]> {
  const samples: MetreSample[] = []
  await hearAll(clips, ({ name }, truth, spectra) => {
    if (truth.changes) return
    const evidence = gatherEvidence(onsetStrength(spectra), tonality(spectra).changeAt)
    samples.push(metreSample({ name, ofBench: ofBench.has(name) }, truth, evidence))
  })
  return samples.sort(byName)
}

/** So many of them, chosen by the hash of their names. */
const some = (clips: readonly Clip[], count: number): Clip[] => sampleBy(clips, ({ name }) => name, count)

/**
 * Every clip of the tuning half, every extra one and songs by others, as readings.
 * @param count at most so many of them.
 */
export async function metreSamples(count = Number.POSITIVE_INFINITY): Promise<MetreSample[]> {
  const ofBench = ofTuning()
  const clips = [...ofBench, ...extraTuningClips(), ...otherSongs()].filter(
    ({ name }) => !soundsOtherwise.test(name) && !doubtful.test(name),
  )
  return readingsOf(some(clips, count), new Set(ofBench.map(({ name }) => name)))
}

/** How often each passage of a module is learned from: there are a few for ten of all others. */
const moduleTimes = 3

/**
 * Passages of tracker modules as readings, for the phase alone: their rows say where beats lie, but what is written at 75
 * beats a minute is written at 150 as well.
 */
export async function moduleSamples(count = Number.POSITIVE_INFINITY): Promise<MetreSample[]> {
  const samples = await readingsOf(some(moduleSongs(), count), new Set())
  return Array.from({ length: moduleTimes }, () => samples).flat()
}

/** Every clip of the tuning half that has a key, and `keyLessons` extra ones; at most `count` of them. */
export async function keySamples(count = Number.POSITIVE_INFINITY): Promise<KeySample[]> {
  const ofBench = ofTuning()
  const names = new Set(ofBench.map(({ name }) => name))
  const extra = extraTuningClips().toSorted((a, b) => hashOf(`o:${a.name}`) - hashOf(`o:${b.name}`))
  const samples: KeySample[] = []
  await hearAll(some([...ofBench, ...extra.slice(0, keyLessons)], count), ({ name }, { key }, spectra) => {
    if (key === null) return
    const tonic = pitchClasses.indexOf(key.replace('m', '') as (typeof pitchClasses)[number])
    samples.push({
      name,
      ofBench: names.has(name),
      features: keyFeatures(tonality(spectra)),
      key: tonic + (key.endsWith('m') ? 12 : 0),
    })
  })
  return samples.sort(byName)
}
