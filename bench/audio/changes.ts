/**
 * Whether a change of tempo is noticed: constant songs part of which is played faster or slower, at once or little by
 * little, as a record is when the platter's speed is changed; so the time of every beat is known exactly.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TrackAnalysis, trackAnalyzer } from '../../src/core/audio/analysis.ts'
import { type Answer, answersOf, installedPeers } from './peers.ts'
import { hashOf, randomFrom, sampleBy } from './random.ts'
import { cacheFolder, type Rendered } from './render.ts'
import { claim, mean, percent, share, table } from './report.ts'
import { beatF } from './score.ts'
import { readWav, type Wav, writeWav } from './wav.ts'

/** Tempo against the song's own, in per cent. */
const factors = [2, -2, 3, -3, 4, -4, 6, -6, 8, -8, 10, -10, 15, -15, 25, -25]
/** Share of the song that is changed, from its end; where negative, from its beginning. */
const shares = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, -0.3, -0.5]
/** Seconds over which a gradual change goes. */
const rampSeconds = 12
const splices = 4

interface Splice {
  readonly name: string
  readonly song: Rendered
  /** Where the change begins and ends in the song as it was, seconds. */
  readonly from: number
  readonly to: number
  /** Tempo before and after against the song's own. */
  readonly before: number
  readonly after: number
}

function splicesOf(song: Rendered, seed: string): Splice[] {
  const { clip, truth } = song
  const random = randomFrom(hashOf(`splices:${seed}${clip.name}`))
  const length = Math.min(clip.duration, truth.beats.at(-1)!)
  return Array.from({ length: splices }, (_, i) => {
    const per = random.pick(factors)
    const part = random.pick(shares)
    // On a bar line, as musicians do, or anywhere, as people who cut do.
    const wanted = part > 0 ? length * (1 - part) : -part * length
    const near = truth.downbeats.reduce((a, b) => (Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a))
    const from = random.next() < 0.5 ? near : wanted
    const gradual = Math.abs(part) >= 0.2 && random.next() < 0.35
    const [before, after] = part > 0 ? [1, 1 + per / 100] : [1 + per / 100, 1]
    const way = `${per}-${100 * part}${gradual ? '-gradual' : ''}`
    return {
      name: `${clip.name}-${seed}${i}-${way}`,
      song,
      from,
      to: gradual ? from + rampSeconds : from,
      before,
      after,
    }
  })
}

/** Where a time in the song as it was is in the splice, seconds. */
function moved({ from, to, before, after }: Splice, at: number): number {
  if (at <= from) return at / before
  const ramp = to - from
  const within = Math.min(at - from, ramp)
  const slope = ramp > 0 ? (after - before) / ramp : 0
  const through = slope === 0 ? within / before : Math.log((before + slope * within) / before) / slope
  return from / before + through + Math.max(0, at - to) / after
}

/** Plays a song at the splice's speeds: cubic interpolation, and lower pitch where slower, as a record has. */
function play(splice: Splice, input: Float32Array, sampleRate: number): Float32Array {
  const length = Math.floor(moved(splice, input.length / sampleRate) * sampleRate)
  const out = new Float32Array(length)
  let position = 0
  const { from, to, before, after } = splice
  for (let i = 0; i < length; i++) {
    const k = Math.floor(position)
    const f = position - k
    const [a, b, c, d] = [input[k - 1] ?? 0, input[k] ?? 0, input[k + 1] ?? 0, input[k + 2] ?? 0]
    out[i] = b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))
    const at = position / sampleRate
    const speed =
      at < from ? before : at >= to ? after : before + ((after - before) * (at - from)) / (to - from)
    position += speed
  }
  return out
}

/** The splice's sound. */
function soundOf(splice: Splice): Wav {
  const { sampleRate, channels } = readWav(splice.song.wav)
  return { sampleRate, channels: channels.map(channel => play(splice, channel, sampleRate)) }
}

/** The splice as a file, for those who want one. */
function write(splice: Splice): string {
  const folder = join(cacheFolder(), 'changes')
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${splice.name}.wav`)
  if (!existsSync(path)) writeWav(path, soundOf(splice), 16)
  return path
}

function analyze({ sampleRate, channels }: Wav): TrackAnalysis {
  const analyzer = trackAnalyzer(sampleRate, channels.length)
  const step = 65_536
  for (let from = 0; from < channels[0]!.length; from += step) {
    const parts = channels.map(channel => channel.subarray(from, from + step))
    analyzer.push(parts, parts[0]!.length)
  }
  return analyzer.finish()
}

/** What is judged of an analysis. */
type Heard = Pick<
  TrackAnalysis,
  'constantTempo' | 'tempoChanges' | 'beatTimestamps' | 'mixOutPoint' | 'bpmConfidence'
>

/** Factors that a tempo may be counted at. */
const octaves = [1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3]

interface Score {
  readonly splice: Splice
  /** Said that it is not constant. */
  readonly denied: boolean
  /** A change within two bars of the true one. */
  readonly found: boolean
  readonly others: number
  readonly beatsAfter: number
  readonly mixOut: number
  /** `bpm_confidence`. */
  readonly confidence: number
}

function barsOf({ song }: Splice): number {
  const { downbeats } = song.truth
  return (downbeats.at(-1)! - downbeats[0]!) / (downbeats.length - 1)
}

const trueBeats = (splice: Splice): number[] => splice.song.truth.beats.map(at => moved(splice, at))

/** Beats from two bars after the change to the end. */
function beatsAfter(splice: Splice, beats: readonly number[]): number {
  const from = moved(splice, splice.to) + (2 * barsOf(splice)) / Math.min(1, splice.after)
  const to = trueBeats(splice).at(-1)! + 0.1
  const late = (times: readonly number[]): number[] => times.filter(at => at >= from && at <= to)
  return beatF(late(beats), late(trueBeats(splice)))
}

function judge(splice: Splice, analysis: Heard): Score {
  const tolerance = (2 * barsOf(splice)) / Math.min(1, splice.before, splice.after)
  const [from, to] = [moved(splice, splice.from) - tolerance, moved(splice, splice.to) + tolerance]
  const inside = analysis.tempoChanges.filter(({ at }) => at >= from && at <= to)
  const ratio = splice.after / splice.before
  const tempoAfter = splice.song.truth.bpm * splice.after
  const right = inside.some(({ bpm }) =>
    octaves.some(
      octave => Math.abs(bpm / (tempoAfter * octave) - 1) < Math.min(0.015, Math.abs(ratio - 1) / 2),
    ),
  )
  const apart = Math.min(...trueBeats(splice).map(at => Math.abs(at - analysis.mixOutPoint)))
  return {
    splice,
    denied: !analysis.constantTempo,
    found: right,
    others: analysis.tempoChanges.length - inside.length,
    beatsAfter: beatsAfter(splice, analysis.beatTimestamps),
    mixOut: apart,
    confidence: analysis.bpmConfidence,
  }
}

interface ChangesFlags {
  readonly noPeers: boolean
  /** Chooses other splices of the same songs; empty for those whose figures are written down. */
  readonly seed: string
  /** Minutes after which no further song is begun. */
  readonly minutes: number
}

const size = ({ splice: { before, after } }: Score): number => Math.round(Math.abs(after / before - 1) * 100)

/** Shorter of the two parts, bars. */
function shorterPart({ splice }: Score): number {
  const length = Math.min(splice.song.clip.duration, splice.song.truth.beats.at(-1)!)
  return Math.min(splice.from, length - splice.to) / barsOf(splice)
}

/** Whether the bar asks that a change be found: 3 % or more, eight bars or more. */
const isAsked = (score: Score): boolean => size(score) >= 3 && shorterPart(score) >= 8

/** Says how it stands after each song, so that a run that is cut short has figures too. */
export async function changes(
  songs: readonly Rendered[],
  { noPeers, seed, minutes }: ChangesFlags,
): Promise<void> {
  const whole = songs.filter(({ truth }) => truth.constant)
  // In no order of theirs, so that those which come before the time is over are like the others.
  const constant = sampleBy(whole, ({ clip }) => `${seed}${clip.name}`, whole.length)
  const scores: Score[] = []
  let heardSongs = 0
  const denied: string[] = []
  const end = performance.now() + minutes * 60_000
  for (const song of constant) {
    if (performance.now() > end) break
    const { constantTempo, bpm, tempoChanges } = analyze(readWav(song.wav))
    if (!constantTempo) {
      denied.push(song.clip.name)
      console.log(`denied: ${song.clip.name} ${bpm} ${JSON.stringify(tempoChanges)}`)
    }
    const here = splicesOf(song, seed).map(splice => judge(splice, analyze(soundOf(splice))))
    for (const score of here.filter(score => isAsked(score) && !score.found))
      console.log(
        `missed: ${score.splice.name} ${score.denied ? 'denied' : 'constant'} F ${score.beatsAfter.toFixed(2)} ` +
          `confidence ${score.confidence.toFixed(2)}`,
      )
    scores.push(...here)
    heardSongs++
    const asked = scores.filter(isAsked)
    console.log(
      `${heardSongs} of ${constant.length} songs: found ${asked.filter(({ found }) => found).length} of ` +
        `${asked.length}, denied ${denied.length}`,
    )
  }
  const left = constant.length - heardSongs
  if (left > 0) console.log(`left out: ${left} songs, for which ${minutes} minutes were too short`)
  const asked = scores.filter(isAsked)
  const rows = [
    [
      '',
      'splices',
      'not constant',
      'found',
      'others',
      'beat F after',
      'mix out on a beat',
      'sure of one tempo',
    ],
  ]
  const line = (name: string, some: readonly Score[]): void => {
    if (some.length > 0)
      rows.push([
        name,
        String(some.length),
        percent(share(some.map(({ denied }) => denied))),
        percent(share(some.map(({ found }) => found))),
        mean(some.map(({ others }) => others)).toFixed(2),
        percent(mean(some.map(({ beatsAfter }) => beatsAfter))),
        percent(share(some.map(({ mixOut }) => mixOut < 0.07))),
        percent(share(some.map(({ denied, confidence }) => !denied && confidence >= 0.9))),
      ])
  }
  line('3 % or more, eight bars or more', asked)
  line(
    '  at once',
    asked.filter(({ splice }) => splice.to === splice.from),
  )
  line(
    '  little by little',
    asked.filter(({ splice }) => splice.to > splice.from),
  )
  for (const [low, high] of [
    [3, 4],
    [5, 8],
    [9, 40],
  ] as const)
    line(
      `  of ${low} to ${high} %`,
      asked.filter(score => size(score) >= low && size(score) <= high),
    )
  line(
    '2 %',
    scores.filter(score => size(score) === 2 && shorterPart(score) >= 8),
  )
  line(
    'shorter than eight bars',
    scores.filter(score => size(score) >= 3 && shorterPart(score) < 8),
  )
  console.log(`\nChanges of tempo: ${heardSongs} songs, ${scores.length} splices\n`)
  table(rows)
  claim('changes of 3 % or more found to two bars', share(asked.map(({ found }) => found)), '>= 0.95')
  claim('constant songs denied', denied.length / heardSongs, '<= 0.01')
  if (noPeers) return
  const heard = [['', 'splices', 'beat F after']]
  const some = sampleBy(asked, ({ splice }) => splice.name, 40).map(score => ({
    ...score,
    wav: write(score.splice),
  }))
  heard.push(['autodj', String(some.length), percent(mean(some.map(({ beatsAfter }) => beatsAfter)))])
  for (const peer of await installedPeers(/Queen Mary|degara/)) {
    const answers: ReadonlyMap<string, Answer> = await answersOf(
      peer,
      some.map(({ wav }) => wav),
    )
    const theirs = mean(some.map(({ splice, wav }) => beatsAfter(splice, answers.get(wav)?.beats ?? [])))
    heard.push([peer.name, String(some.length), percent(theirs)])
  }
  table(heard)
}
