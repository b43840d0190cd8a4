/**
 * Form: sections on bar lines, introduction and outro, where to mix. Boundaries are where the sound of the bars
 * before differs from that of the bars after (Foote, "Automatic audio segmentation using a measure of audio
 * novelty", ICME 2000: a checkerboard along the diagonal of the self-similarity).
 */
import { bandCount, dbUnit, frameRate, type Spectra } from './frontend.ts'
import { loudnessShare } from './loudness.ts'
import type { Rhythm } from './rhythm.ts'

export interface Section {
  /** Seconds; both on bar lines if the track has bars. */
  readonly start: number
  readonly end: number
  /** Mean energy as in `Form.energyProfile`, 0 to 1. */
  readonly energy: number
  readonly kind: 'intro' | 'body' | 'break' | 'outro'
}

export interface MixableSection extends Section {
  readonly bars: number
  /** 0 to 1: how even the energy and how strong the beat is over the section. */
  readonly stability: number
}

interface Form {
  readonly sections: readonly Section[]
  /**
   * Loudness over the track as `loudnessShare` counts it, one entry a bar (or every 2 s if there are no bars): on the
   * same scale in every track, so that one's end can be compared with another's beginning.
   */
  readonly energyProfile: readonly { readonly time: number; readonly energy: number }[]
  /** Seconds: the bar line where the introduction gives way to the body; the first sound if there is none. */
  readonly introEnd: number
  /** Seconds: the bar line where the outro begins; the end of sound if there is none. */
  readonly outroStart: number
  /** Mean energy, 0 to 1, before `introEnd` and after `outroStart`; of the first or last bar where they are empty. */
  readonly introEnergy: number
  readonly outroEnergy: number
  /** Seconds: the first bar line with sound, where an incoming track is set on. */
  readonly mixInPoint: number
  /**
   * Seconds: the bar line where a transition out should begin: `outroStart` where the outro is at least four bars,
   * otherwise eight bars before the end of sound.
   */
  readonly mixOutPoint: number
  /** At least four bars of even energy with a beat; longest first within the track's order. */
  readonly mixableSections: readonly MixableSection[]
}

/** Below this a bar is taken for silence: 45 LU under the loudest. */
const silence = 45

interface Bar {
  readonly start: number
  readonly end: number
  readonly loudness: number
  readonly beat: number
  readonly sound: Float32Array
}

function barLines(rhythm: Rhythm | undefined, duration: number): number[] {
  const lines: number[] = []
  if (rhythm && rhythm.beats.length > rhythm.beatsPerBar)
    for (const index of rhythm.downbeats) lines.push(rhythm.beats[index]!)
  else for (let time = 0; time < duration; time += 2) lines.push(time)
  // A rest of a bar at the end belongs to the one before.
  const [last, before] = [lines.at(-1), lines.at(-2)]
  if (last !== undefined && before !== undefined && duration - last < (last - before) / 2) lines.pop()
  return lines
}

/** What the bands sound like in each tenth of a second: rows of bandCount mean levels in dbUnit, no lower than -80 dB. */
export function soundOfTenths({ bands, frames }: Pick<Spectra, 'bands' | 'frames'>): Int16Array {
  const each = frameRate / 10
  const count = Math.ceil(frames / each)
  const sound = new Int16Array(bandCount * count)
  for (let tenth = 0; tenth < count; tenth++) {
    const from = tenth * each
    const to = Math.min(frames, from + each)
    for (let b = 0; b < bandCount; b++) {
      let sum = 0
      for (let t = from; t < to; t++) sum += Math.max(-80 / dbUnit, bands[t * bandCount + b]!)
      sound[tenth * bandCount + b] = Math.round(sum / (to - from))
    }
  }
  return sound
}

function describeBars(
  sounds: Int16Array,
  tenths: Float32Array,
  duration: number,
  rhythm: Rhythm | undefined,
): Bar[] {
  const lines = barLines(rhythm, duration)
  const last = sounds.length / bandCount - 1
  let k = 0
  return lines.map((start, i) => {
    const end = lines[i + 1] ?? duration
    const from = Math.round(start * 10)
    const to = Math.max(Math.round(end * 10), from + 1)
    let power = 0
    const sound = new Float32Array(bandCount)
    for (let t = from; t < to; t++) {
      power += 10 ** ((tenths[t] ?? -120) / 10)
      const row = Math.min(t, last) * bandCount
      if (row >= 0) for (let b = 0; b < bandCount; b++) sound[b]! += (sounds[row + b]! * dbUnit) / (to - from)
    }
    let beat = 0
    let beats = 0
    if (rhythm)
      for (; k < rhythm.beats.length && rhythm.beats[k]! < end - 0.01; k++)
        if (rhythm.beats[k]! >= start - 0.01) {
          beat += rhythm.beatStrengths[k]!
          beats++
        }
    const loudness = 10 * Math.log10(power / (to - from))
    return { start, end, loudness, beat: beats > 0 ? beat / beats : 0, sound }
  })
}

/** Indices of bars that begin a section. */
function boundaries(bars: readonly Bar[]): number[] {
  const reach = 4
  const novelty = bars.map((_, i) => {
    if (i < 2 || i > bars.length - 2) return 0
    const mean = (from: number, to: number): Float32Array => {
      const sum = new Float32Array(bandCount)
      for (let k = from; k < to; k++)
        for (let b = 0; b < bandCount; b++) sum[b]! += bars[k]!.sound[b]! / (to - from)
      return sum
    }
    const before = mean(Math.max(0, i - reach), i)
    const after = mean(i, Math.min(bars.length, i + reach))
    return Math.sqrt(before.reduce((sum, value, b) => sum + (value - after[b]!) ** 2, 0) / bandCount)
  })
  const found = [0]
  for (let i = 1; i < bars.length; i++) {
    const value = novelty[i]!
    // 4 dB a band apart is a different arrangement; less is variation within one.
    if (value < 4) continue
    let peak = true
    for (let k = Math.max(0, i - 3); k <= Math.min(bars.length - 1, i + 3); k++)
      if (novelty[k]! > value || (novelty[k]! === value && k < i)) peak = false
    if (peak && i - found.at(-1)! >= 2) found.push(i)
  }
  return found
}

/** 0 to 1, in thousandths: these are written as JSON. */
const share = (value: number): number => Math.round(1000 * Math.max(0, Math.min(1, value))) / 1000

/**
 * @param sounds as of `soundOfTenths`.
 * @param tenths loudness of each tenth of a second, LUFS.
 * @param duration seconds.
 */
export function analyzeForm(
  sounds: Int16Array,
  tenths: Float32Array,
  duration: number,
  rhythm: Rhythm | undefined,
): Form {
  const bars = describeBars(sounds, tenths, duration, rhythm)
  const loudest = bars.reduce((most, bar) => Math.max(most, bar.loudness), -120)
  const energyOf = ({ loudness }: { loudness: number }): number => share(loudnessShare(loudness))
  /** Within the track: 0 at 30 LU below the loudest bar or lower, 1 at the loudest. */
  const levelOf = ({ loudness }: { loudness: number }): number => share((loudness - loudest + 30) / 30)
  const energyProfile = bars.map(bar => ({ time: bar.start, energy: energyOf(bar) }))
  const sounding = (bar: Bar): boolean => bar.loudness > loudest - silence && bar.loudness > -70
  const first = bars.findIndex(sounding)
  if (first < 0 || loudest <= -70)
    return {
      sections: [],
      energyProfile,
      introEnd: 0,
      outroStart: duration,
      introEnergy: 0,
      outroEnergy: 0,
      mixInPoint: 0,
      mixOutPoint: duration,
      mixableSections: [],
    }
  const last = bars.length - 1 - [...bars].reverse().findIndex(sounding)
  const starts = boundaries(bars)
  const spans = starts.map((from, i) => ({ from, to: (starts[i + 1] ?? bars.length) - 1 }))
  const mean = (from: number, to: number, value: (bar: Bar) => number): number => {
    let sum = 0
    for (let i = from; i <= to; i++) sum += value(bars[i]!)
    return sum / Math.max(1, to - from + 1)
  }
  // The body is what is about as loud as the loud half of the track; before and after it lie introduction and outro.
  const ranked = bars
    .slice(first, last + 1)
    .map(levelOf)
    .sort((a, b) => a - b)
  const body = ranked[Math.floor(ranked.length * 0.6)]! - 0.15
  const isBody = (span: { from: number; to: number }): boolean => mean(span.from, span.to, levelOf) >= body
  const firstBody = spans.find(isBody) ?? spans[0]!
  const lastBody = spans.findLast(isBody) ?? spans.at(-1)!
  const introBar = firstBody.from > bars.length / 2 ? first : Math.max(first, firstBody.from)
  const outroBar = lastBody.to < bars.length / 2 ? last : Math.min(last, lastBody.to)
  const introEnd = bars[introBar]!.start
  const outroStart = bars[outroBar]!.end
  const sections = spans.map((span): Section => {
    const level = mean(span.from, span.to, levelOf)
    const kind =
      span.to < introBar ? 'intro' : span.from > outroBar ? 'outro' : level < body - 0.1 ? 'break' : 'body'
    const energy = share(mean(span.from, span.to, energyOf))
    return { start: bars[span.from]!.start, end: bars[span.to]!.end, energy, kind }
  })
  const mixableSections = rhythm
    ? spans.flatMap((span, i): MixableSection[] => {
        const count = span.to - span.from + 1
        if (count < 4) return []
        const level = mean(span.from, span.to, bar => bar.loudness)
        const spread = Math.sqrt(mean(span.from, span.to, bar => (bar.loudness - level) ** 2))
        const beat = mean(span.from, span.to, bar => bar.beat)
        const stability = share(share(1 - spread / 6) * share(beat * 1.5))
        return stability >= 0.4 ? [{ ...sections[i]!, bars: count, stability }] : []
      })
    : []
  const outroBars = last - outroBar
  return {
    sections,
    energyProfile,
    introEnd,
    outroStart,
    introEnergy: introBar > first ? share(mean(first, introBar - 1, energyOf)) : energyOf(bars[first]!),
    outroEnergy: outroBars > 0 ? share(mean(outroBar + 1, last, energyOf)) : energyOf(bars[last]!),
    mixInPoint: bars[first]!.start,
    mixOutPoint: outroBars >= 4 ? outroStart : bars[Math.max(first, last - 7)]!.start,
    mixableSections,
  }
}
