/**
 * Whether answers follow what is done to a song: played higher or lower, faster or slower, encoded, quieter, begun later.
 * It needs nobody's labels, so any music will do. Each peer is asked about the same files.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { analyzeFile } from '../../src/audio/analyze.ts'
import { ffmpegDecoder } from '../../src/audio/decode.ts'
import { pitchClasses } from '../../src/core/audio/key.ts'
import { type Answer, answersOf, installedPeers } from './peers.ts'
import { cacheFolder, type Rendered } from './render.ts'
import { claim, percent, share, table } from './report.ts'
import { mirexScore } from './score.ts'

const run = promisify(execFile)

interface Change {
  readonly name: string
  readonly group: 'pitch' | 'speed' | 'encoding' | 'gain and start'
  /** Filter of ffmpeg, and what the sound is encoded as on the way. */
  readonly filter?: string
  readonly codec?: readonly [extension: string, ...options: string[]]
  readonly semitones?: number
  readonly speed?: number
}

const changes: readonly Change[] = [
  ...[-3, -2, -1, 1, 2, 3].map(
    (semitones): Change => ({
      name: `pitch ${semitones}`,
      group: 'pitch',
      filter: `asetrate=${Math.round(44_100 * 2 ** (semitones / 12))},aresample=44100,atempo=${2 ** (-semitones / 12)}`,
      semitones,
    }),
  ),
  ...[0.88, 0.94, 0.97, 1.03, 1.06, 1.12].map(
    (speed): Change => ({
      name: `speed ${speed}`,
      group: 'speed',
      filter: `atempo=${speed}`,
      speed,
    }),
  ),
  ...[96, 128, 320].map(
    (rate): Change => ({
      name: `MP3 ${rate}`,
      group: 'encoding',
      codec: ['mp3', '-c:a', 'libmp3lame', '-b:a', `${rate}k`],
    }),
  ),
  { name: 'Ogg Vorbis 96', group: 'encoding', codec: ['ogg', '-c:a', 'libvorbis', '-b:a', '96k'] },
  { name: 'Opus 96', group: 'encoding', codec: ['opus', '-c:a', 'libopus', '-b:a', '96k'] },
  { name: 'gain -12 dB', group: 'gain and start', filter: 'volume=-12dB' },
  ...[0.1, 1, 10].map(
    (seconds): Change => ({
      name: `begun at ${seconds} s`,
      group: 'gain and start',
      filter: `atrim=start=${seconds},asetpts=PTS-STARTPTS`,
    }),
  ),
]

/** The changed song as a WAVE file. */
async function changed({ clip, wav }: Rendered, { name, filter, codec }: Change): Promise<string> {
  const folder = join(cacheFolder(), 'stability')
  mkdirSync(folder, { recursive: true })
  const base = join(folder, `${clip.name} ${name}`.replaceAll(/[^\w.-]+/g, '_'))
  const out = `${base}.wav`
  if (existsSync(out)) return out
  let from = wav
  if (codec) {
    const [extension, ...options] = codec
    from = `${base}.${extension}`
    await run('ffmpeg', ['-v', 'error', '-y', '-i', wav, ...options, from])
  }
  const filters = filter ? ['-af', filter] : []
  const part = `${base}.part.wav`
  await run('ffmpeg', [
    '-v',
    'error',
    '-y',
    '-i',
    from,
    ...filters,
    '-ar',
    '44100',
    '-ac',
    '2',
    '-c:a',
    'pcm_s16le',
    part,
  ])
  await run('mv', [part, out])
  return out
}

function raised(key: string, semitones: number): string {
  const minor = key.endsWith('m')
  const tonic = pitchClasses.indexOf((minor ? key.slice(0, -1) : key) as (typeof pitchClasses)[number])
  return pitchClasses[(tonic + semitones + 12) % 12]! + (minor ? 'm' : '')
}

const groups = ['pitch', 'speed', 'encoding', 'gain and start'] as const

/** What was answered of a changed song, beside what was of the song itself. */
interface Pair {
  readonly change: Change
  readonly before: Answer
  readonly after: Answer
}

/** Share of keys that follow, and a row of shares of answers that do. */
function judge(pairs: readonly Pair[]): { key: number; row: string[] } {
  const keyed = pairs.filter(({ before }) => before.key !== undefined)
  const expected = ({ change, before }: Pair): string => raised(before.key!, change.semitones ?? 0)
  const follows = (pair: Pair): boolean => pair.after.key === expected(pair)
  const tempoFollows = ({ change, before, after }: Pair): boolean =>
    Math.abs((after.bpm ?? 0) / ((before.bpm ?? 1) * (change.speed ?? 1)) - 1) < 0.01
  const of = (group: Change['group'], some: readonly Pair[]) =>
    some.filter(({ change }) => change.group === group)
  const key = share(keyed.map(follows))
  const unrelated = share(
    keyed.map(pair => pair.after.key === undefined || mirexScore(pair.after.key, expected(pair)) === 0),
  )
  const timed = pairs.filter(({ before }) => before.bpm !== undefined)
  return {
    key,
    row: [
      ...groups.map(group => percent(share(of(group, keyed).map(follows)))),
      percent(key),
      percent(unrelated),
      ...groups.map(group => percent(share(of(group, timed).map(tempoFollows)))),
    ],
  }
}

/** Everybody is asked song by song, and it is said how it stands: a run that is cut short has figures too. */
export async function stability(
  songs: readonly Rendered[],
  { noPeers, minutes }: { readonly noPeers: boolean; readonly minutes: number },
): Promise<void> {
  const asked = noPeers ? [] : await installedPeers(/Queen Mary|degara|shaath/)
  const decoder = ffmpegDecoder()
  const pairsOf = new Map<string, Pair[]>(
    ['autodj', ...asked.map(({ name }) => name)].map(name => [name, []]),
  )
  const end = performance.now() + minutes * 60_000
  let heard = 0
  for (const song of songs) {
    if (performance.now() > end) break
    const files = new Map<Change, string>()
    for (const change of changes) files.set(change, await changed(song, change))
    const wavs = [song.wav, ...files.values()]
    const ours = new Map<string, Answer>()
    for (const wav of wavs) {
      const { bpm, key } = (await analyzeFile(decoder, wav)).analysis
      ours.set(wav, { ...(bpm !== undefined && { bpm }), ...(key !== undefined && { key }) })
    }
    const note = (name: string, answers: ReadonlyMap<string, Answer>): void => {
      const before = answers.get(song.wav)
      for (const [change, wav] of files) {
        const after = answers.get(wav)
        if (before && after) pairsOf.get(name)!.push({ change, before, after })
      }
    }
    note('autodj', ours)
    for (const peer of asked) note(peer.name, await answersOf(peer, wavs))
    heard++
    const stand = [...pairsOf].map(([name, pairs]) => [name, judge(pairs).key] as const)
    console.log(
      `${heard} of ${songs.length} songs: keys follow ` +
        stand.flatMap(([name, key]) => (Number.isNaN(key) ? [] : [`${name} ${key.toFixed(3)}`])).join(', '),
    )
  }
  if (heard < songs.length)
    console.log(`left out: ${songs.length - heard} songs, for which ${minutes} minutes were too short`)
  const own = judge(pairsOf.get('autodj')!)
  claim('keys that follow, whatever is done to a song', own.key, '>= 0.95')
  const head = ['', ...groups.map(group => `key, ${group}`), 'key, all', 'unrelated']
  const rows = [[...head, ...groups.map(group => `tempo, ${group}`)]]
  for (const [name, pairs] of pairsOf) {
    const theirs = judge(pairs)
    rows.push([name, ...theirs.row])
    if (name !== 'autodj' && !Number.isNaN(theirs.key))
      claim(`keys that follow, above ${name}`, own.key, `>  ${theirs.key.toFixed(4)}`)
  }
  console.log(`\nStability: ${heard} songs, ${changes.length} changes of each\n`)
  table(rows)
}
