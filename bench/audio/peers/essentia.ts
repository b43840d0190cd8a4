/**
 * essentia.js's own extractors on the files named on stdin, one line of JSON each:
 *   node essentia.ts multifeature|degara|percival|key|loudness
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { readWav } from '../wav.ts'

// Loading it adds handlers that print the whole bundle and crash.
process.removeAllListeners('uncaughtException')
process.removeAllListeners('unhandledRejection')

const { Essentia, EssentiaWASM } = createRequire(import.meta.url)('essentia.js')
const es = new Essentia(EssentiaWASM)
const what = process.argv[2]
const sharps: Record<string, string> = { Ab: 'G#', Bb: 'A#', Eb: 'D#', Db: 'C#', Gb: 'F#' }

for (const path of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const { channels } = readWav(path)
  const [left, right] = channels as [Float32Array, Float32Array]
  const started = process.cpuUsage()
  const vectors: { delete: () => void }[] = []
  const vector = (samples: Float32Array): { delete: () => void } => {
    const made = es.arrayToVector(samples)
    vectors.push(made)
    return made
  }
  const mono = (): { delete: () => void } => vector(left.map((value, i) => (value + right[i]!) / 2))
  let answer: Record<string, unknown> = {}
  if (what === 'multifeature' || what === 'degara') {
    const found = es.RhythmExtractor2013(mono(), 208, what, 40)
    vectors.push(found.ticks, found.estimates, found.bpmIntervals)
    answer = { bpm: found.bpm, beats: Array.from(es.vectorToArray(found.ticks)) }
  } else if (what === 'percival') answer = { bpm: es.PercivalBpmEstimator(mono()).bpm }
  else if (what === 'key') {
    const { key, scale } = es.KeyExtractor(
      mono(),
      true,
      16384,
      8192,
      36,
      3500,
      60,
      25,
      0.2,
      'shaath',
      44100,
      0.0001,
      440,
      'cosine',
      'hann',
    )
    answer = { key: (sharps[key] ?? key) + (scale === 'minor' ? 'm' : '') }
  } else if (what === 'loudness') {
    const found = es.LoudnessEBUR128(vector(left), vector(right))
    vectors.push(found.momentaryLoudness, found.shortTermLoudness)
    answer = { integrated: found.integratedLoudness, range: found.loudnessRange }
  } else throw new Error(`essentia.ts does not know ${what}`)
  for (const made of vectors) made.delete()
  const { user, system } = process.cpuUsage(started)
  console.log(JSON.stringify({ ...answer, cpuSeconds: (user + system) / 1e6 }))
}
