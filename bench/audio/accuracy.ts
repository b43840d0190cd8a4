/** How right our answers and those of the peers are, on the same clips. */
import { analyzeFile } from '../../src/audio/analyze.ts'
import { ffmpegDecoder } from '../../src/audio/decode.ts'
import type { TrackAnalysis } from '../../src/core/audio/analysis.ts'
import type { TempoHints } from '../../src/core/audio/readings.ts'
import type { Truth } from '../../training/compose.ts'
import { type Answer, answersOf, installedPeers, peers } from './peers.ts'
import { sampleBy } from './random.ts'
import type { Rendered } from './render.ts'
import { claim, mean, percent, share, table } from './report.ts'
import { beatF, mirexScore, tempoA1, tempoA2, tempoExact } from './score.ts'

interface AccuracyFlags {
  readonly noPeers: boolean
  /** All clips for the slow peers too. */
  readonly slowPeers: boolean
}

interface Scores {
  readonly a1: number
  readonly a2: number
  readonly exact: number
  readonly beats: number
  readonly key: number
  readonly mirex: number
}

function score(items: readonly Rendered[], answers: ReadonlyMap<string, Answer>): Scores {
  const tempo = items.filter(({ truth }) => !truth.changes)
  const keyed = items.filter(({ truth }) => truth.key !== null)
  const beaten = items.filter(({ truth }) => truth.beats.length > 0)
  const answer = ({ wav }: Rendered): Answer => answers.get(wav) ?? {}
  const some = (field: keyof Answer): boolean => items.some(item => answer(item)[field] !== undefined)
  const of = (value: number, field: keyof Answer): number => (some(field) ? value : Number.NaN)
  return {
    a1: of(share(tempo.map(item => tempoA1(answer(item).bpm ?? 0, item.truth.bpm))), 'bpm'),
    a2: of(share(tempo.map(item => tempoA2(answer(item).bpm ?? 0, item.truth.bpm))), 'bpm'),
    exact: of(
      share(
        tempo
          .filter(({ truth }) => truth.constant)
          .map(item => tempoExact(answer(item).bpm ?? 0, item.truth.bpm)),
      ),
      'bpm',
    ),
    beats: of(mean(beaten.map(item => beatF(answer(item).beats ?? [], item.truth.beats))), 'beats'),
    key: of(share(keyed.map(item => answer(item).key === item.truth.key)), 'key'),
    mirex: of(
      mean(keyed.map(item => (answer(item).key ? mirexScore(answer(item).key!, item.truth.key!) : 0))),
      'key',
    ),
  }
}

const head = ['', 'clips', 'A1', 'A2', '0.1 BPM', 'beat F', 'key', 'MIREX', 'x rt']

const row = (name: string, count: number, scores: Scores, rate: number): string[] => [
  name,
  String(count),
  ...[scores.a1, scores.a2, scores.exact, scores.beats, scores.key, scores.mirex].map(percent),
  Number.isNaN(rate) ? '' : `${rate.toFixed(0)}x`,
]

/** What no peer answers: whether one tempo holds, and bars. */
function sayMore(items: readonly Rendered[], analyses: ReadonlyMap<string, TrackAnalysis>): void {
  const said = (some: readonly Rendered[], constant: boolean): string =>
    `${some.filter(({ wav }) => analyses.get(wav)!.constantTempo === constant).length} of ${some.length}`
  const constant = items.filter(({ truth }) => truth.constant)
  const moving = items.filter(({ truth }) => !truth.constant)
  const barOf = ({ beats, downbeats }: Truth): number =>
    beats.indexOf(downbeats[1]!) - beats.indexOf(downbeats[0]!)
  const barred = items.filter(({ truth }) => [3, 4].includes(barOf(truth)))
  const downbeats = ({ wav }: Rendered): number[] => {
    const { beatTimestamps, beatsPerBar, firstDownbeat } = analyses.get(wav)!
    const first = beatTimestamps.indexOf(firstDownbeat ?? 0)
    return beatTimestamps.filter((_, i) => i >= first && (i - first) % (beatsPerBar ?? 4) === 0)
  }
  const inBar = barred.filter(({ wav, truth }) => analyses.get(wav)!.beatsPerBar === barOf(truth)).length
  console.log(
    `Constant tempo said of ${said(constant, true)} that are, denied of ${said(moving, false)} that are not. ` +
      `Of ${barred.length} in three or four: metre right of ${inBar}, ` +
      `downbeat F ${mean(barred.map(item => beatF(downbeats(item), item.truth.downbeats))).toFixed(3)}\n`,
  )
}

/**
 * Whether beats lie where they should or half a beat off, of those whose tempo is right, and whether the confidence of
 * the phase tells the one from the other.
 */
function sayPhase(items: readonly Rendered[], analyses: ReadonlyMap<string, TrackAnalysis>): void {
  const judged = items.flatMap(({ wav, truth }) => {
    const { bpm, beatTimestamps, phaseConfidence } = analyses.get(wav)!
    if (truth.changes || !tempoA1(bpm ?? 0, truth.bpm)) return []
    const right = beatF(beatTimestamps, truth.beats)
    const between = truth.beats.slice(1).map((at, i) => (at + truth.beats[i]!) / 2)
    const off = beatF(beatTimestamps, between)
    return Math.max(right, off) < 0.5 ? [] : [{ right: right >= off, phaseConfidence }]
  })
  if (judged.length === 0) return
  const right = judged.filter(({ right }) => right)
  const wrong = judged.filter(({ right }) => !right)
  const above = right.flatMap(a =>
    wrong.map(b =>
      a.phaseConfidence > b.phaseConfidence ? 1 : a.phaseConfidence === b.phaseConfidence ? 0.5 : 0,
    ),
  )
  const of = (some: typeof judged): string =>
    mean(some.map(({ phaseConfidence }) => phaseConfidence)).toFixed(3)
  console.log(
    `Of ${judged.length} with the right tempo the beats of ${right.length} lie on the beat, ${wrong.length} between; ` +
      `confidence of phase ${of(right)} and ${of(wrong)}, right one above wrong one ${mean(above).toFixed(3)}` +
      `\nwrong: ${wrong.map(({ phaseConfidence }) => phaseConfidence.toFixed(2)).join(' ')}\n`,
  )
  claim('beats on the beat, of those with the right tempo', right.length / judged.length, '>= 0.97')
}

/** Our own answers, without hints. */
async function analyzeAll(items: readonly Rendered[]): Promise<{
  ours: ReadonlyMap<string, Answer>
  analyses: ReadonlyMap<string, TrackAnalysis>
}> {
  const decoder = ffmpegDecoder()
  const ours = new Map<string, Answer>()
  const analyses = new Map<string, TrackAnalysis>()
  for (const { wav } of items) {
    const started = process.cpuUsage()
    const { analysis } = await analyzeFile(decoder, wav)
    const { user, system } = process.cpuUsage(started)
    analyses.set(wav, analysis)
    const { bpm, key, beatTimestamps, loudness, loudnessRange, truePeak } = analysis
    ours.set(wav, {
      ...(bpm !== undefined && { bpm }),
      ...(key !== undefined && { key }),
      beats: beatTimestamps,
      ...(loudness !== undefined && { integrated: loudness }),
      range: loudnessRange,
      ...(truePeak !== undefined && { truePeak }),
      cpuSeconds: (user + system) / 1e6,
    })
  }
  return { ours, analyses }
}

/** Ours alone on the fresh clips (clips.ts): what the tempo figures are where nothing was tuned or looked at. */
export async function fresh(items: readonly Rendered[]): Promise<void> {
  const { ours } = await analyzeAll(items)
  const total = score(items, ours)
  table([head, row('fresh', items.length, total, Number.NaN), ...groupRows(items, ours)])
  claimTempo('fresh: ', total)
}

/**
 * Ours and the quick peers on songs whose charts or lists say the tempo (charted.ts). A chart that belongs to another version of its
 * song is told by nobody hearing its tempo, or a double or third of it, and left out.
 */
export async function charted(
  items: readonly Rendered[],
  { noPeers }: Pick<AccuracyFlags, 'noPeers'>,
): Promise<void> {
  const { ours, analyses } = await analyzeAll(items)
  const asked = new Map([['autodj', ours]])
  const files = items.map(({ wav }) => wav)
  const quick = noPeers ? [] : await installedPeers(/aubio|bpm-tools|Queen Mary|degara|TempoCNN/)
  for (const peer of quick) asked.set(peer.name, await answersOf(peer, files))
  const heard = items.filter(({ wav, truth }) =>
    [...asked.values()].some(answers => tempoA2(answers.get(wav)?.bpm ?? 0, truth.bpm)),
  )
  console.log(
    `${items.length - heard.length} of ${items.length} charts are of another version of their song\n`,
  )
  const rows = [...asked].map(([name, answers]) => row(name, heard.length, score(heard, answers), Number.NaN))
  const limits = [0, 120, 160, 200, Number.POSITIVE_INFINITY]
  const byTempo = limits.slice(1).flatMap((limit, i) => {
    const some = heard.filter(({ truth }) => truth.bpm >= limits[i]! && truth.bpm < limit)
    return some.length > 0
      ? [row(`  autodj, ${limits[i]} to ${limit}`, some.length, score(some, ours), Number.NaN)]
      : []
  })
  table([head, ...rows, ...byTempo])
  for (const { clip, wav, truth } of heard)
    if (!tempoA1(ours.get(wav)?.bpm ?? 0, truth.bpm))
      console.log(
        `${truth.bpm} heard as ${ours.get(wav)?.bpm?.toFixed(1)}, ` +
          `confidence ${analyses.get(wav)!.bpmConfidence.toFixed(2)}: ${clip.name}`,
      )
  sayMore(heard, analyses)
  sayPhase(heard, analyses)
}

/** A row for each group of clips that there are. */
function groupRows(items: readonly Rendered[], ours: ReadonlyMap<string, Answer>): string[][] {
  return ['own', 'mma', 'msx', 'fof'].flatMap(group => {
    const some = items.filter(({ clip }) => clip.group === group)
    return some.length > 0 ? [row(`  of these ${group}`, some.length, score(some, ours), Number.NaN)] : []
  })
}

function claimTempo(of: string, { a1, a2, exact }: Scores): void {
  claim(`${of}BPM A1, no hints`, a1, '>= 0.92')
  claim(`${of}BPM A2`, a2, '>= 0.99')
  claim(`${of}within 0.1 BPM, octave apart, constant tempo`, exact, '>= 0.98')
}

export async function accuracy(
  items: readonly Rendered[],
  { noPeers, slowPeers }: AccuracyFlags,
): Promise<void> {
  const { ours, analyses } = await analyzeAll(items)
  const seconds = items.reduce((sum, { clip }) => sum + clip.duration, 0)
  const rateOf = (answers: ReadonlyMap<string, Answer>): number => {
    const spent = items.map(({ wav }) => answers.get(wav)?.cpuSeconds)
    return spent.includes(undefined)
      ? Number.NaN
      : seconds / spent.reduce<number>((sum, cpu) => sum + cpu!, 0)
  }
  const total = score(items, ours)
  const rows = [head, row('autodj', items.length, total, rateOf(ours)), ...groupRows(items, ours)]
  console.log(
    `\nAccuracy on the reporting half (${items.length} clips, ${(seconds / 60).toFixed(0)} minutes)\n`,
  )

  claimTempo('', total)
  claim('key exact', total.key, '>= 0.78')
  claim('key MIREX', total.mirex, '>= 0.85')

  const loudness: string[][] = [
    ['loudness against', 'clips', 'LUFS, largest', 'LU, largest', 'dBTP, largest', 'x rt'],
  ]
  if (!noPeers)
    for (const peer of await installedPeers(/./)) {
      const asked = peer.slow && !slowPeers ? sampleBy(items, ({ clip }) => clip.name, 60) : items
      const files = asked.map(({ wav }) => wav)
      const answers = await answersOf(peer, files)
      const answered = asked.filter(({ wav }) => answers.has(wav))
      if (answered.length < asked.length)
        console.log(`${peer.name}: no answer for ${asked.length - answered.length} clips`)
      const first = answers.get(files[0]!) ?? {}
      if (first.integrated !== undefined) {
        const furthest = (field: 'integrated' | 'range' | 'truePeak'): string => {
          const apart = answered
            .map(({ wav }) =>
              Math.abs((answers.get(wav)![field] ?? Number.NaN) - (ours.get(wav)![field] ?? Number.NaN)),
            )
            .filter(value => !Number.isNaN(value))
          if (apart.length === 0) return ''
          if (field === 'integrated' && !peer.name.startsWith('essentia'))
            claim(`loudness within 0.1 LU of ${peer.name}`, Math.max(...apart), '<= 0.1')
          return Math.max(...apart).toFixed(3)
        }
        loudness.push([
          peer.name,
          String(answered.length),
          furthest('integrated'),
          furthest('range'),
          furthest('truePeak'),
          Number.isNaN(rateOf(answers)) ? '' : `${rateOf(answers).toFixed(0)}x`,
        ])
      } else {
        const theirs = score(answered, answers)
        const same = score(answered, ours)
        rows.push(row(peer.name, answered.length, theirs, rateOf(answers)))
        // Beaten only where ours is better on the very clips that the peer answered.
        const measures = [
          ['BPM A1', theirs.a1, same.a1],
          ['BPM A2', theirs.a2, same.a2],
          ['within 0.1 BPM', theirs.exact, same.exact],
          ['beat F', theirs.beats, same.beats],
          ['key exact', theirs.key, same.key],
          ['key MIREX', theirs.mirex, same.mirex],
        ] as const
        for (const [measure, their, our] of measures)
          if (!Number.isNaN(their)) claim(`${measure} above ${peer.name}`, our, `>  ${their.toFixed(4)}`)
      }
    }
  console.log('\nx rt: of essentia.js and of ours the computing alone, of the others with decoding\n')
  table(rows)
  table(loudness)
  sayMore(items, analyses)
  sayPhase(items, analyses)
}

/** What hints do: the row's old value, as the application's librosa left it, and a right tempo tag. */
export async function hints(items: readonly Rendered[], { noPeers }: AccuracyFlags): Promise<void> {
  const tempo = items.filter(({ truth }) => !truth.changes)
  const librosa = peers.find(({ name }) => name.startsWith('librosa'))!
  if (noPeers || !(await librosa.available())) return
  const old = await answersOf(
    librosa,
    tempo.map(({ wav }) => wav),
  )
  const decoder = ffmpegDecoder()
  const right = { old: 0, none: 0, row: 0, tag: 0 }
  for (const { wav, truth } of tempo) {
    const rowBpm = old.get(wav)?.bpm
    const bpmWith = async (given: TempoHints): Promise<number> =>
      (await analyzeFile(decoder, wav, { hints: given })).analysis.bpm ?? 0
    right.old += Number(tempoA1(rowBpm ?? 0, truth.bpm))
    right.none += Number(tempoA1(await bpmWith({}), truth.bpm))
    right.row += Number(tempoA1(await bpmWith({ rowBpm }), truth.bpm))
    right.tag += Number(tempoA1(await bpmWith({ tagBpm: Math.round(truth.bpm) }), truth.bpm))
  }
  const a1 = (count: number): string => (count / tempo.length).toFixed(3)
  console.log(
    `A1 with hints: none ${a1(right.none)}, the row's old value from librosa (right of ${a1(right.old)}) ` +
      `${a1(right.row)}, a right tempo tag ${a1(right.tag)}\n`,
  )
  claim(
    'A1 with an old value of librosa in the row, against none',
    (right.row - right.none) / tempo.length,
    '>= 0',
  )
}
