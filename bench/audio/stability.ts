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
import { type Answer, answersOf, peers } from './peers.ts'
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

export async function stability(songs: readonly Rendered[], noPeers: boolean): Promise<void> {
  const files = new Map<string, { song: Rendered; change: Change | undefined }>()
  for (const song of songs) {
    files.set(song.wav, { song, change: undefined })
    for (const change of changes) files.set(await changed(song, change), { song, change })
  }
  const decoder = ffmpegDecoder()
  const ours = new Map<string, Answer>()
  for (const file of files.keys()) {
    const { bpm, key } = (await analyzeFile(decoder, file)).analysis
    ours.set(file, { ...(bpm !== undefined && { bpm }), ...(key !== undefined && { key }) })
  }
  const groups = ['pitch', 'speed', 'encoding', 'gain and start'] as const
  const rows = [
    [
      '',
      ...groups.map(group => `key, ${group}`),
      'key, all',
      'unrelated',
      ...groups.map(group => `tempo, ${group}`),
    ],
  ]
  /** Shares of answers that follow. */
  const judge = (answers: ReadonlyMap<string, Answer>): { key: number; row: string[] } => {
    const pairs = [...files].flatMap(([file, { song, change }]) => {
      const [before, after] = [answers.get(song.wav), answers.get(file)]
      return change && before && after ? [{ change, before, after }] : []
    })
    const keyed = pairs.filter(({ before }) => before.key !== undefined)
    const follows = ({ change, before, after }: (typeof pairs)[number]): boolean =>
      after.key === raised(before.key!, change.semitones ?? 0)
    const tempoFollows = ({ change, before, after }: (typeof pairs)[number]): boolean =>
      Math.abs((after.bpm ?? 0) / ((before.bpm ?? 1) * (change.speed ?? 1)) - 1) < 0.01
    const of = (group: Change['group'], some: typeof pairs) =>
      some.filter(({ change }) => change.group === group)
    const key = share(keyed.map(follows))
    const unrelated = share(
      keyed.map(
        ({ change, before, after }) =>
          after.key === undefined || mirexScore(after.key, raised(before.key!, change.semitones ?? 0)) === 0,
      ),
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
  const own = judge(ours)
  rows.push(['autodj', ...own.row])
  claim('keys that follow, whatever is done to a song', own.key, '>= 0.95')
  if (!noPeers)
    for (const peer of peers.filter(({ name }) => /Queen Mary|degara|shaath/.test(name))) {
      if (!(await peer.available())) {
        console.log(`skipped: ${peer.name} is not installed (${peer.install})`)
        continue
      }
      const theirs = judge(await answersOf(peer, [...files.keys()]))
      rows.push([peer.name, ...theirs.row])
      if (!Number.isNaN(theirs.key))
        claim(`keys that follow, above ${peer.name}`, own.key, `>  ${theirs.key.toFixed(4)}`)
    }
  console.log(`\nStability: ${songs.length} songs, ${changes.length} changes of each\n`)
  table(rows)
}
