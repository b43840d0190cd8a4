/**
 * The audio bench: accuracy and speed of the analysis on clips whose tempo, beats and key are known, beside its peers.
 * Only the half of the clips that nothing was tuned on is reported.
 *
 *   npm run bench:audio -- [--quick] [--clips N] [--no-peers] [--slow-peers] [--part accuracy,loudness,speed,essentia,memory]
 *
 * --quick       twelve clips, fast peers, small loads: minutes, to see that it runs; its figures mean little
 * --clips N     at most N clips of the reporting half, chosen by the hash of their names
 * --no-peers    ours alone
 * --slow-peers  all clips for RhythmExtractor2013 multifeature too, which takes longer than all the rest together; it
 *               gets 60 otherwise
 *
 * Wants fluidsynth, fluid-soundfont-gm and ffmpeg; says what else would make it fuller. Keeps what it renders and what
 * peers answer under AUTODJ_BENCH_CACHE (default ~/.cache/autodj-bench/audio).
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { analyseFile } from '../../src/audio/analyse.ts'
import { ffmpegDecoder, npmDecoder } from '../../src/audio/decode.ts'
import { allClips, type Clip } from './clips.ts'
import { ebuSignals } from './ebu.ts'
import { type Answer, answersOf, peers } from './peers.ts'
import { hashOf } from './random.ts'
import { cacheFolder, type Rendered, render } from './render.ts'
import { beatF, mirexScore, tempoA1, tempoA2, tempoExact } from './score.ts'
import { writeWav } from './wav.ts'

const run = promisify(execFile)

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    clips: { type: 'string' },
    'no-peers': { type: 'boolean', default: false },
    'slow-peers': { type: 'boolean', default: false },
    part: { type: 'string', default: 'accuracy,loudness,speed,essentia,memory' },
  },
})
const parts = new Set(flags.part.split(','))

interface Result {
  readonly what: string
  readonly value: number
  readonly bar: string
  readonly holds: boolean
}
const results: Result[] = []
/** Notes a figure against its bar, `>= 0.92` or `<= 2`. */
function claim(what: string, value: number, bar: string): void {
  const limit = Number(bar.slice(3))
  const holds = bar.startsWith('>=') ? value >= limit : bar.startsWith('<=') ? value <= limit : value > limit
  results.push({ what, value: Number(value.toFixed(4)), bar, holds })
}

const table = (rows: readonly (readonly string[])[]): void => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => (row[column] ?? '').length)))
  for (const row of rows)
    console.log(
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
    )
  console.log('')
}

const mean = (numbers: readonly number[]): number =>
  numbers.length > 0 ? numbers.reduce((a, b) => a + b, 0) / numbers.length : Number.NaN
const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!
const share = (flags: readonly boolean[]): number => mean(flags.map(Number))
const percent = (value: number): string => (Number.isNaN(value) ? '' : value.toFixed(3))

async function checkTools(): Promise<boolean> {
  const missing: string[] = []
  for (const command of ['fluidsynth', 'ffmpeg'])
    await run('sh', ['-c', `command -v ${command}`]).catch(() => missing.push(command))
  if (!existsSync('/usr/share/sounds/sf2/FluidR3_GM.sf2')) missing.push('fluid-soundfont-gm')
  if (missing.length > 0) console.log(`cannot run: apt-get install ${missing.join(' ')}`)
  const fuller: [string, string][] = [
    ['/usr/share/mma/lib', 'mma'],
    ['/usr/share/games/openttd/baseset/openmsx', 'openttd-openmsx'],
    ['/usr/share/games/fretsonfire/data/songs/muldjord', 'fretsonfire-songs-muldjord'],
    ['/usr/share/games/fretsonfire/data/songs/sectoid', 'fretsonfire-songs-sectoid'],
  ]
  for (const [path, name] of fuller)
    if (!existsSync(path)) console.log(`fewer clips: ${name} is not installed (apt-get install ${name})`)
  return missing.length === 0
}

/** So many of them, chosen by the hash of their names. */
const sampleBy = <T>(items: readonly T[], nameOf: (item: T) => string, count: number): T[] =>
  items.toSorted((a, b) => hashOf(`order:${nameOf(a)}`) - hashOf(`order:${nameOf(b)}`)).slice(0, count)
const sample = (items: readonly Rendered[], count: number): Rendered[] =>
  sampleBy(items, ({ clip }) => clip.name, count)

async function clips(): Promise<Rendered[]> {
  const wanted = flags.quick ? 12 : Number(flags.clips ?? Number.POSITIVE_INFINITY)
  const reporting = allClips().filter(clip => clip.half === 'reporting')
  const chosen = sampleBy(reporting, ({ name }) => name, wanted)
  const rendered: Rendered[] = []
  let next = 0
  const work = async (): Promise<void> => {
    for (let clip: Clip | undefined = chosen[next++]; clip; clip = chosen[next++]) {
      const outcome = await render(clip)
      if ('failed' in outcome) console.log(`left out: ${clip.name}: ${outcome.failed}`)
      else rendered.push(outcome)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  return rendered.sort((a, b) => (a.clip.name < b.clip.name ? -1 : 1))
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
    beats: of(mean(items.map(item => beatF(answer(item).beats ?? [], item.truth.beats))), 'beats'),
    key: of(share(keyed.map(item => answer(item).key === item.truth.key)), 'key'),
    mirex: of(
      mean(keyed.map(item => (answer(item).key ? mirexScore(answer(item).key!, item.truth.key!) : 0))),
      'key',
    ),
  }
}

const row = (name: string, count: number, scores: Scores, rate: number): string[] => [
  name,
  String(count),
  ...[scores.a1, scores.a2, scores.exact, scores.beats, scores.key, scores.mirex].map(percent),
  Number.isNaN(rate) ? '' : `${rate.toFixed(0)}x`,
]

async function accuracy(items: readonly Rendered[]): Promise<void> {
  const decoder = ffmpegDecoder()
  const ours = new Map<string, Answer>()
  for (const { wav } of items) {
    const started = process.cpuUsage()
    const { analysis } = await analyseFile(decoder, wav)
    const { user, system } = process.cpuUsage(started)
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
  const seconds = items.reduce((sum, { clip }) => sum + clip.duration, 0)
  const rateOf = (answers: ReadonlyMap<string, Answer>): number => {
    const spent = items.map(({ wav }) => answers.get(wav)?.cpuSeconds)
    return spent.includes(undefined)
      ? Number.NaN
      : seconds / spent.reduce<number>((sum, cpu) => sum + cpu!, 0)
  }
  const head = ['', 'clips', 'A1', 'A2', '0.1 BPM', 'beat F', 'key', 'MIREX', 'x rt']
  const total = score(items, ours)
  const rows = [head, row('autodj', items.length, total, rateOf(ours))]
  for (const group of ['own', 'mma', 'msx', 'fof']) {
    const some = items.filter(({ clip }) => clip.group === group)
    if (some.length > 0) rows.push(row(`  of these ${group}`, some.length, score(some, ours), Number.NaN))
  }
  console.log(
    `\nAccuracy on the reporting half (${items.length} clips, ${(seconds / 60).toFixed(0)} minutes)\n`,
  )

  claim('BPM A1, no hints', total.a1, '>= 0.92')
  claim('BPM A2', total.a2, '>= 0.99')
  claim('within 0.1 BPM, octave apart, constant tempo', total.exact, '>= 0.98')
  claim('key exact', total.key, '>= 0.78')
  claim('key MIREX', total.mirex, '>= 0.85')

  const loudness: string[][] = [
    ['loudness against', 'clips', 'LUFS, largest', 'LU, largest', 'dBTP, largest', 'x rt'],
  ]
  if (!flags['no-peers'])
    for (const peer of peers) {
      if (!(await peer.available())) {
        console.log(`skipped: ${peer.name} is not installed (${peer.install})`)
        continue
      }
      const asked = peer.slow && !flags['slow-peers'] ? sample(items, 60) : items
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
}

async function loudness(): Promise<void> {
  const folder = join(cacheFolder(), 'ebu')
  mkdirSync(folder, { recursive: true })
  const rows = [['EBU signal', 'expected', 'measured']]
  let worst = 0
  let within = true
  for (const { name, wav, measure, expected, below, above } of ebuSignals) {
    const path = join(folder, `${name.replaceAll(/\W+/g, '-')}.wav`)
    writeWav(path, wav())
    const { analysis } = await analyseFile(npmDecoder(), path)
    const value =
      measure === 'integrated'
        ? analysis.loudness!
        : measure === 'range'
          ? analysis.loudnessRange
          : analysis.truePeak!
    if (measure === 'integrated') worst = Math.max(worst, Math.abs(value - expected))
    within &&= value - expected <= above && expected - value <= below
    rows.push([name, String(expected), value.toFixed(3)])
  }
  table(rows)
  claim('EBU Tech 3341 integrated loudness, largest error, LU', worst, '<= 0.1')
  claim('EBU Tech 3341 and 3342 signals all within tolerance (1 is yes)', Number(within), '>= 1')
}

const loadScript = fileURLToPath(new URL('./load.ts', import.meta.url))

/** Runs load.ts and gives what it printed and its CPU with that of all its children. */
async function load(
  prefix: readonly string[],
  ...args: string[]
): Promise<{ cpu: number; report: Record<string, number> & { megabytes: number[] } }> {
  const command = [...prefix, process.execPath, loadScript, ...args]
  const { stdout } = await run('bash', ['-c', '"$@"; times', 'bash', ...command], { maxBuffer: 2 ** 26 })
  const lines = stdout.trimEnd().split('\n')
  const times = [...lines.at(-1)!.matchAll(/(\d+)m([\d.,]+)s/g)]
  const cpu = times.reduce((sum, [, m, s]) => sum + 60 * Number(m) + Number(s!.replace(',', '.')), 0)
  return { cpu, report: JSON.parse(lines[0]!) }
}

/** A mixed programme of four minutes, as MP3 at 192 kbit/s. */
async function fourMinutes(items: readonly Rendered[]): Promise<string> {
  const path = join(cacheFolder(), 'four-minutes.mp3')
  if (existsSync(path)) return path
  const six = items.slice(0, 6)
  const inputs = six.flatMap(({ wav }) => ['-i', wav])
  await run('ffmpeg', [
    '-v',
    'error',
    '-y',
    ...inputs,
    '-filter_complex',
    `concat=n=${six.length}:v=0:a=1`,
    '-t',
    '240',
    '-b:a',
    '192k',
    path,
  ])
  return path
}

/** Ours against essentia.js's three extractors for the same measures, on the same clips one after another. */
async function againstEssentia(items: readonly Rendered[]): Promise<void> {
  const some = sample(items, flags.quick ? 2 : 8)
  const seconds = some.reduce((sum, { clip }) => sum + clip.duration, 0)
  const decoder = ffmpegDecoder()
  // Compiled first, as essentia.js is when its answers begin.
  await analyseFile(decoder, some[0]!.wav)
  const started = process.cpuUsage()
  for (const { wav } of some) await analyseFile(decoder, wav)
  const { user, system } = process.cpuUsage(started)
  const ours = (user + system) / 1e6
  const parts: string[] = []
  let theirs = 0
  for (const peer of peers.filter(({ name }) => /multifeature|KeyExtractor|LoudnessEBUR128/.test(name))) {
    let spent = 0
    for await (const { cpuSeconds } of peer.ask(some.map(({ wav }) => wav))) spent += cpuSeconds!
    theirs += spent
    parts.push(`${peer.name} ${spent.toFixed(1)} s`)
  }
  console.log(
    `${some.length} clips, ${seconds} s of audio, CPU of the computing alone: ours ${ours.toFixed(2)} s ` +
      `(${(seconds / ours).toFixed(0)}x rt); ${parts.join(', ')}\n`,
  )
  claim(
    'times as fast as essentia.js RhythmExtractor2013 + KeyExtractor + LoudnessEBUR128',
    theirs / ours,
    '>= 3',
  )
}

async function speed(items: readonly Rendered[]): Promise<void> {
  const file = await fourMinutes(items)
  const rounds = flags.quick ? 1 : 3
  const perTrack: number[] = []
  const firstTrack: number[] = []
  for (let i = 0; i < rounds; i++) {
    const one = await load([], 'one', file, '1')
    const many = await load([], 'one', file, '6')
    firstTrack.push(one.cpu)
    perTrack.push((many.cpu - one.cpu) / 5)
  }
  console.log(
    `A 4-minute MP3, CPU of ours and of ffmpeg together: ${median(perTrack).toFixed(2)} s (${(240 / median(perTrack)).toFixed(0)}x rt); ` +
      `the first in a process, starting Node included: ${median(firstTrack).toFixed(2)} s\n`,
  )
  claim('CPU seconds for a 4-minute MP3, decoding included', median(perTrack), '<= 2')
  const files = Array.from({ length: flags.quick ? 4 : 16 }, () => file)
  const pinned = await run('taskset', ['-c', '0', 'true']).then(
    () => true,
    () => false,
  )
  if (!pinned || availableParallelism() < 2) {
    console.log('skipped: two cores against one (wants taskset of util-linux and two cores)\n')
    return
  }
  // One core, because a single worker already shares two with its ffmpeg.
  const gains: number[] = []
  const dearer: number[] = []
  for (let i = 0; i < rounds; i++) {
    const one = await load(['taskset', '-c', '0'], 'pool', '1', ...files)
    const two = await load(['taskset', '-c', '0,1'], 'pool', '2', ...files)
    gains.push(one.report['seconds']! / two.report['seconds']!)
    dearer.push(two.cpu / one.cpu)
  }
  console.log(
    `Two workers on two cores against one on one: ${gains.map(gain => gain.toFixed(2)).join(', ')} times as fast; ` +
      `CPU for the same work ${dearer.map(ratio => ratio.toFixed(2)).join(', ')} times as much\n`,
  )
  claim('two cores against one, times as fast (wall clock: wants an idle machine)', median(gains), '>= 1.9')
}

async function memory(items: readonly Rendered[]): Promise<void> {
  const file = await fourMinutes(items)
  const count = flags.quick ? 12 : 200
  const { report } = await load([], 'pool', '1', ...Array.from({ length: count }, () => file))
  const { megabytes } = report
  const early = median(megabytes.slice(Math.floor(count * 0.1), Math.floor(count * 0.3)))
  const late = median(megabytes.slice(Math.floor(count * 0.8)))
  console.log(
    `${count} tracks of 4 minutes in a row, one worker: ${early.toFixed(0)} MB resident early, ${late.toFixed(0)} MB late, ` +
      `${Math.max(...megabytes).toFixed(0)} MB at most\n`,
  )
  claim(
    `resident MB of the process with one worker, most over ${count} tracks`,
    Math.max(...megabytes),
    '<= 400',
  )
  claim('late memory against early', late / early, '<= 1.15')
}

if (await checkTools()) {
  const items = await clips()
  if (parts.has('accuracy')) await accuracy(items)
  if (parts.has('loudness')) await loudness()
  if (parts.has('speed')) await speed(items)
  if (parts.has('essentia')) await againstEssentia(items)
  if (parts.has('memory')) await memory(items)
  for (const { what, value, bar, holds } of results)
    console.log(`${holds ? 'holds' : 'FAILS'}  ${what}: ${value} (${bar})`)
  console.log(JSON.stringify({ bench: 'audio', results }))
} else process.exitCode = 1
