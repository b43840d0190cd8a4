/**
 * Where a track has a voice and where it has none, of what the network hears (voice-network.ts): its probabilities are
 * averaged over a second, a pause shorter than a breath between two phrases belongs to them, and what is no longer than a
 * word is no section.
 */
import { voiceRate } from './voice-network.ts'

interface VoiceSection {
  /** Seconds. */
  readonly start: number
  readonly end: number
  /** Probability, 0 to 1, of what is said of the section, on average over it. */
  readonly confidence: number
}

export interface Voice {
  /** Where somebody sings, raps or speaks, and the rest; what is unclear is in neither. */
  readonly vocalSections: readonly VoiceSection[]
  readonly instrumentalSections: readonly VoiceSection[]
  /** Share of the track without a voice, 0 to 1; undefined if too much of it is unclear. */
  readonly instrumentalness: number | undefined
}

/** Seconds. */
const averaged = 1
const longestPause = 2
const shortestSection = 1

/** A section of which less is sure is not told. */
const leastConfidence = 0.7

/**
 * What the surest section with a voice has to reach if any is to be told. A flute or a lead synthesizer is taken for a voice
 * now and then, but hardly ever so surely; whoever sings is heard surely somewhere.
 */
const surestVoice = 0.85

/** Of the track, at least so much has to be told for its share. */
const leastTold = 0.8

interface Run {
  readonly hasVoice: boolean
  from: number
  to: number
}

/**
 * @param heard as `VoiceListener.finish` gives it.
 * @param duration seconds.
 * @param isSilent of silence nothing is said.
 */
export function describeVoice(heard: Float32Array, duration: number, isSilent = false): Voice {
  if (isSilent) return { vocalSections: [], instrumentalSections: [], instrumentalness: undefined }
  const voice = smoothed(heard)
  const sections = runs(voice).map(({ hasVoice, from, to }, i, all) => {
    let sum = 0
    for (let t = from; t < to; t++) sum += voice[t]!
    const mean = sum / (to - from)
    return {
      hasVoice,
      start: from / voiceRate,
      end: i === all.length - 1 ? duration : to / voiceRate,
      confidence: Math.round((hasVoice ? mean : 1 - mean) * 1000) / 1000,
    }
  })
  const surest = Math.max(...sections.map(({ hasVoice, confidence }) => (hasVoice ? confidence : 0)))
  const told = sections.filter(
    ({ hasVoice, confidence }) => confidence >= leastConfidence && (!hasVoice || surest >= surestVoice),
  )
  const those = (wanted: boolean): VoiceSection[] =>
    told.flatMap(({ hasVoice, ...section }) => (hasVoice === wanted ? [section] : []))
  const length = (list: readonly VoiceSection[]): number =>
    list.reduce((sum, { start, end }) => sum + end - start, 0)
  const [vocalSections, instrumentalSections] = [those(true), those(false)]
  const both = length(told)
  return {
    vocalSections,
    instrumentalSections,
    instrumentalness:
      both > 0 && both >= leastTold * duration
        ? Math.round((length(instrumentalSections) / both) * 1000) / 1000
        : undefined,
  }
}

/** Speech or singing, whichever is likelier, averaged. */
function smoothed(heard: Float32Array): Float32Array {
  const frames = heard.length / 2
  const sums = new Float64Array(frames + 1)
  for (let t = 0; t < frames; t++) sums[t + 1] = sums[t]! + Math.max(heard[2 * t]!, heard[2 * t + 1]!)
  const reach = Math.round((averaged * voiceRate) / 2)
  return Float32Array.from({ length: frames }, (_, t) => {
    const [from, to] = [Math.max(0, t - reach), Math.min(frames, t + reach + 1)]
    return (sums[to]! - sums[from]!) / (to - from)
  })
}

function runs(voice: Float32Array): Run[] {
  let found: Run[] = []
  for (let t = 0; t < voice.length; t++) {
    const hasVoice = voice[t]! > 0.5
    const last = found.at(-1)
    if (last?.hasVoice === hasVoice) last.to = t + 1
    else found.push({ hasVoice, from: t, to: t + 1 })
  }
  // Pauses first, so that words of a slow song are not taken for stray ones.
  found = joined(found, ({ hasVoice, from, to }, i) => {
    const isPause = i > 0 && i < found.length - 1
    return hasVoice || to - from < (isPause ? longestPause : shortestSection) * voiceRate
  })
  return joined(found, ({ hasVoice, from, to }) => hasVoice && to - from >= shortestSection * voiceRate)
}

/** Runs said anew, neighbours that are the same then made one. */
function joined(before: readonly Run[], hasVoice: (run: Run, index: number) => boolean): Run[] {
  const after: Run[] = []
  for (const [i, run] of before.entries()) {
    const now = hasVoice(run, i)
    const last = after.at(-1)
    if (last?.hasVoice === now) last.to = run.to
    else after.push({ hasVoice: now, from: run.from, to: run.to })
  }
  return after
}
