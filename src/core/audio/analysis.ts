/**
 * The whole analysis of a track as a pure function of its PCM, window by window. What the application stores, with
 * the definition and range of each value; what cannot be measured honestly is not in here and its columns are left
 * as they were: `valence`, `acousticness`, `liveness`, `speechiness`, `dominant_style`, `style_scores`,
 * `style_confidence` (docs/decisions/0063).
 */
import { tonality } from './chroma.ts'
import { frameRate, frontEnd, type Spectra } from './frontend.ts'
import { estimateKey, type KeyStretch, keysOverTime } from './key.ts'
import { keyTemplates } from './key-weights.ts'
import { loudnessMeter, loudnessShare } from './loudness.ts'
import { featureCount } from './metre.ts'
import { learnedNetworks } from './network.ts'
import { type Onsets, onsetStrength } from './onsets.ts'
import type { TempoPart } from './pulse.ts'
import type { TempoHints } from './readings.ts'
import { analyzeRhythm, fourPlaces, type Rhythm, type TempoChange } from './rhythm.ts'
import { analyzeForm, type MixableSection, type Section, soundOfTenths } from './sections.ts'
import { analysisVersion } from './version.ts'
import { describeVoice, type Voice } from './voice.ts'
import { type VoiceListener, type VoiceNetwork, voiceListener } from './voice-network.ts'
import { type Waveform, waveformBuilder } from './waveform.ts'

export interface TrackAnalysis {
  readonly analysisVersion: string
  /** Seconds of audio analysed. */
  readonly duration: number

  /** Beats per minute; undefined if there is no pulse (silence, or less than a few beats). Column `bpm`. */
  readonly bpm: number | undefined
  /** Probability, 0 to 1, that `bpm` is the tempo and not a multiple or fraction of it. */
  readonly bpmConfidence: number
  /** Other tempi with a probability of 0.02 or more. */
  readonly bpmAlternatives: readonly { readonly bpm: number; readonly probability: number }[]
  /** Whether one tempo and an even grid hold from end to end. */
  readonly constantTempo: boolean
  /** Where the tempo moves and stays. */
  readonly tempoChanges: readonly TempoChange[]
  /** The track from one change to the next: what holds for each part. */
  readonly tempoParts: readonly TempoPart[]
  /** Seconds, ascending. Column `beat_timestamps`. */
  readonly beatTimestamps: readonly number[]
  /** Seconds from each beat to the next, one fewer than beats. Column `beat_intervals`. */
  readonly beatIntervals: readonly number[]
  /** Onset strength at each beat against the strongest eighth of beats, 0 to 1. Column `beat_confidence_scores`. */
  readonly beatConfidenceScores: readonly number[]
  /** Their mean, 0 to 1. Column `beat_confidence`. */
  readonly beatConfidence: number | undefined
  /** 1 less the coefficient of variation of the tracked intervals, before the grid, 0 to 1. Column `beat_regularity`. */
  readonly beatRegularity: number | undefined
  /** Mean of `beatIntervals`, seconds. Column `average_beat_interval`. */
  readonly averageBeatInterval: number | undefined
  /** Beats in a bar, 3 or 4, and the first beat that begins one, seconds; how clear that is, 0 to 1. */
  readonly beatsPerBar: number | undefined
  readonly firstDownbeat: number | undefined
  readonly downbeatConfidence: number
  /** Every beat that begins a bar, seconds, ascending. */
  readonly downbeats: readonly number[]
  /** Probability, 0 to 1, that beats lie where `beatTimestamps` has them and not between, given the tempo. */
  readonly phaseConfidence: number

  /** As in `C` or `F#m`, sharps only; undefined if nothing has a pitch. Column `key`. */
  readonly key: string | undefined
  /** Probability of the key, 0 to 1. */
  readonly keyConfidence: number
  /** Camelot wheel code of the key. */
  readonly camelot: string | undefined
  /** The key of each quarter of a minute or so. */
  readonly keyProfile: readonly KeyStretch[]
  /** Deviation from A = 440 Hz, cents, -50 to 50. */
  readonly tuning: number

  /** Integrated loudness, LUFS (EBU R 128); undefined for silence. Column `loudness`. */
  readonly loudness: number | undefined
  /** Loudness range, LU (EBU Tech 3342). */
  readonly loudnessRange: number
  /** True peak, dBTP (BS.1770-4); undefined for digital silence. */
  readonly truePeak: number | undefined

  /**
   * 0 to 1, half of it loudness (-30 LUFS is 0, -6 is 1), a quarter each onsets a second (0 to 8) and brightness
   * (spectral centroid, 500 Hz to 4 kHz, logarithmic). Column `energy`.
   */
  readonly energy: number
  /**
   * 0 to 1, the mean of pulse clarity (autocorrelation at the beat), regularity, and nearness of the tempo to 118 a
   * minute (van Noorden and Moelants, "Resonance in the perception of musical pulse", 1999); 0 without a pulse.
   * Column `danceability`.
   */
  readonly danceability: number

  /** As in `Form` of sections.ts. Columns of the same names. */
  readonly introEnd: number
  readonly outroStart: number
  readonly introEnergy: number
  readonly outroEnergy: number
  readonly energyProfile: readonly { readonly time: number; readonly energy: number }[]
  readonly mixInPoint: number
  readonly mixOutPoint: number
  readonly mixableSections: readonly MixableSection[]
  readonly sections: readonly Section[]

  readonly waveform: Waveform

  /** Undefined below 16 kHz, or if the analyser was given no network that hears voices. Columns of the same names. */
  readonly voice: Voice | undefined
}

const networks = learnedNetworks(featureCount)

interface TrackAnalyzer {
  /** Takes the next samples, one array a channel in WAVE order (L R C LFE Ls Rs); arrays may be reused after. */
  readonly push: (channels: readonly Float32Array[], length: number) => void
  readonly finish: (hints?: TempoHints) => TrackAnalysis
}

/**
 * @param expected seconds of sound that are to come, as far as is known; only memory depends on it.
 * @param voices what hears voices; without it nothing is said of them.
 * @throws RangeError for a sample rate outside 4,000 to 768,000 Hz or less than one channel.
 */
export function trackAnalyzer(
  sampleRate: number,
  channels: number,
  expected?: number,
  voices?: VoiceNetwork,
): TrackAnalyzer {
  const meter = loudnessMeter(sampleRate, channels)
  let listener: VoiceListener | undefined
  const front = frontEnd(sampleRate, expected, (size, binHz) => {
    // The network was learned on sound up to 8 kHz; without the upper half of it, it takes instruments for voices.
    if (voices && sampleRate >= 16_000) listener = voiceListener(voices, size, binHz)
    return listener?.push
  })
  const overview = waveformBuilder(sampleRate)
  let mono = new Float32Array(0)
  return {
    push: (input, length) => {
      if (mono.length < length) mono = new Float32Array(length)
      const mix = mono
      // The mean, not the sum: ffmpeg's own downmix would be 3 dB louder and clip.
      const [left, right] = input as [Float32Array, Float32Array]
      if (channels === 1) mix.set(length === left.length ? left : left.subarray(0, length))
      else if (channels === 2) for (let i = 0; i < length; i++) mix[i] = (left[i]! + right[i]!) * 0.5
      else
        for (let i = 0; i < length; i++) {
          let sum = 0
          for (let c = 0; c < channels; c++) sum += input[c]![i]!
          mix[i] = sum / channels
        }
      meter.push(input, length)
      front.push(mix, length)
      overview.push(mix, length)
    },
    finish: hints => {
      const loudness = meter.finish()
      const { onsets, tones, sound, centroid, duration } = listen(front.finish())
      const rhythm =
        loudness.integrated === undefined ? undefined : analyzeRhythm(onsets, networks, tones.changeAt, hints)
      const key = estimateKey(tones, keyTemplates)
      const { sections, ...form } = analyzeForm(sound, loudness.tenths, duration, rhythm)
      return {
        analysisVersion: analysisVersion,
        duration,
        ...describeRhythm(rhythm),
        key: key?.key,
        keyConfidence: key?.confidence ?? 0,
        camelot: key?.camelot,
        keyProfile: keysOverTime(tones, keyTemplates, duration),
        tuning: tones.tuning * 100,
        loudness: loudness.integrated,
        loudnessRange: loudness.range,
        truePeak: loudness.truePeak,
        energy: energy(loudness.integrated, onsets, centroid),
        danceability: danceability(rhythm),
        ...form,
        sections,
        waveform: overview.finish(),
        voice:
          listener && describeVoice(listener.finish(duration), duration, loudness.integrated === undefined),
      }
    },
  }
}

/** What the rest of the analysis needs of the spectra, which are most of a long set's memory and end here. */
function listen(spectra: Spectra) {
  const { centroid, duration } = spectra
  return {
    onsets: onsetStrength(spectra),
    tones: tonality(spectra),
    sound: soundOfTenths(spectra),
    centroid,
    duration,
  }
}

const clamp = (value: number): number => Math.max(0, Math.min(1, value))

function describeRhythm(rhythm: Rhythm | undefined) {
  const beats = [...(rhythm?.beats ?? [])]
  const intervals = beats.slice(1).map((time, i) => fourPlaces(time - beats[i]!))
  const scores = Array.from(rhythm?.beatStrengths ?? [], value => Math.round(value * 1000) / 1000)
  return {
    bpm: rhythm && fourPlaces(rhythm.bpm),
    bpmConfidence: rhythm?.confidence ?? 0,
    bpmAlternatives: (rhythm?.alternatives ?? []).map(other => ({
      ...other,
      bpm: fourPlaces(other.bpm),
    })),
    constantTempo: rhythm?.constant ?? false,
    tempoChanges: (rhythm?.changes ?? []).map(change => ({ ...change, bpm: fourPlaces(change.bpm) })),
    tempoParts: (rhythm?.parts ?? []).map(part => ({ ...part, bpm: fourPlaces(part.bpm) })),
    beatTimestamps: beats,
    beatIntervals: intervals,
    beatConfidenceScores: scores,
    beatConfidence: scores.length > 0 ? scores.reduce((a, b) => a + b, 0) / scores.length : undefined,
    beatRegularity: rhythm?.regularity,
    averageBeatInterval: beats.length > 1 ? (beats.at(-1)! - beats[0]!) / (beats.length - 1) : undefined,
    beatsPerBar: rhythm?.beatsPerBar,
    firstDownbeat: rhythm ? beats[rhythm.downbeats[0] ?? 0] : undefined,
    downbeatConfidence: rhythm?.downbeatConfidence ?? 0,
    downbeats: (rhythm?.downbeats ?? []).map(index => beats[index]!),
    phaseConfidence: rhythm?.phaseConfidence ?? 0,
  }
}

function energy(
  loudness: number | undefined,
  { novelty, frames }: Onsets,
  centroid: number | undefined,
): number {
  if (loudness === undefined) return 0
  let peaks = 0
  for (let t = 2; t + 2 < frames; t++) {
    const value = novelty[t]!
    if (
      value > 2 &&
      value > novelty[t - 1]! &&
      value >= novelty[t + 1]! &&
      value > novelty[t - 2]! &&
      value > novelty[t + 2]!
    )
      peaks++
  }
  const brightness = centroid === undefined ? 0 : Math.log2(centroid / 500) / 3
  const rate = (peaks * frameRate) / Math.max(1, frames)
  return 0.5 * loudnessShare(loudness) + 0.25 * clamp(rate / 8) + 0.25 * clamp(brightness)
}

function danceability(rhythm: Rhythm | undefined): number {
  if (!rhythm) return 0
  const tempo = Math.exp(-0.5 * (Math.log2(rhythm.bpm / 118) / 0.5) ** 2)
  return clamp((clamp(rhythm.clarity * 1.6) + rhythm.regularity + tempo) / 3)
}
