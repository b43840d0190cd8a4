/**
 * The peers beside us: each is asked about a WAVE file, its answers kept in the cache (they do not change). A peer
 * that is not installed is skipped, aloud, with what would install it.
 */
import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { cacheFolder } from './render.ts'

const run = promisify(execFile)

export interface Answer {
  readonly bpm?: number
  readonly beats?: readonly number[]
  readonly key?: string
  readonly integrated?: number
  readonly range?: number
  readonly truePeak?: number
  readonly cpuSeconds?: number
}

interface Peer {
  readonly name: string
  /** What to do where it is missing. */
  readonly install: string
  readonly available: () => Promise<boolean>
  /** Its tempo is then taken from its beats. */
  readonly givesBeatsOnly?: boolean
  /** Asked about 60 clips only, unless told: at 5 to 25 times real time all would take half an hour. */
  readonly slow?: boolean
  /** Answers for files, in their order. */
  readonly ask: (files: readonly string[]) => AsyncGenerator<Answer>
}

const here = (name: string): string => fileURLToPath(new URL(`./peers/${name}`, import.meta.url))

const onPath = async (command: string): Promise<boolean> =>
  run('sh', ['-c', `command -v ${command}`]).then(
    () => true,
    () => false,
  )

/**
 * Tempo of a peer that only gives beats: the mean of the gaps near the median one, which is fairer to it than the
 * median itself, a multiple of its hop.
 */
const tempoOf = (beats: readonly number[]): number => {
  const gaps = beats.slice(1).map((time, i) => time - beats[i]!)
  gaps.sort((a, b) => a - b)
  const median = gaps[Math.floor(gaps.length / 2)]
  if (median === undefined) return 0
  const near = gaps.filter(gap => Math.abs(gap / median - 1) < 0.1)
  return 60 / (near.reduce((sum, gap) => sum + gap, 0) / near.length)
}

/** One process for each file; `script` gets it as `$1`. */
const each = (script: string, parse: (stdout: string) => Answer): Peer['ask'] =>
  async function* (files) {
    for (const file of files) {
      // The shell's own `times` prints what the children took.
      const { stdout } = await run('bash', ['-c', `${script}; times`, 'bash', file], { maxBuffer: 2 ** 26 })
      const lines = stdout.trimEnd().split('\n')
      const cpu = [...lines.at(-1)!.matchAll(/(\d+)m([\d.,]+)s/g)]
      const cpuSeconds = cpu.reduce((sum, [, m, s]) => sum + Number(m) * 60 + Number(s!.replace(',', '.')), 0)
      yield { ...parse(lines.slice(0, -2).join('\n')), cpuSeconds }
    }
  }

/** One process for all files, a line of JSON for each. */
const stream = (
  command: () => readonly [string, ...string[]],
  parse: (answer: Answer) => Answer = a => a,
): Peer['ask'] =>
  async function* (files) {
    const [program, ...args] = command()
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.end(files.map(file => `${file}\n`).join(''))
    let text = ''
    for await (const chunk of child.stdout.setEncoding('utf8')) {
      text += chunk
      const lines = text.split('\n')
      text = lines.pop()!
      for (const line of lines) if (line.startsWith('{')) yield parse(JSON.parse(line) as Answer)
    }
  }

const mono = `ffmpeg -nostdin -v error -i "$1" -af 'pan=mono|c0=.5*c0+.5*c1' -ar 44100 -f f32le -`
const number = (pattern: RegExp, text: string): number => Number(pattern.exec(text)?.[1] ?? Number.NaN)

const python = (): string =>
  process.env['AUTODJ_BENCH_PYTHON'] ?? join(cacheFolder(), 'librosa', 'bin', 'python')
const tempoCnn = (): string => join(cacheFolder(), 'tempocnn', 'bin', 'python')
const qm = (): string => join(cacheFolder(), 'qm')
const qmKeys = ['C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B']

const essentia = (what: string, title: string): Peer => ({
  name: `essentia.js ${title}`,
  install: 'npm ci',
  available: async () => true,
  ask: stream(() => [process.execPath, here('essentia.ts'), what]),
})

export const peers: readonly Peer[] = [
  {
    name: 'ffmpeg ebur128',
    install: 'apt-get install ffmpeg',
    available: () => onPath('ffmpeg'),
    ask: each(
      `ffmpeg -nostdin -hide_banner -nostats -i "$1" -af ebur128=peak=true -f null - 2>&1 | tail -14`,
      text => ({
        integrated: number(/I: +(\S+) LUFS/, text),
        range: number(/LRA: +(\S+) LU/, text),
        truePeak: number(/Peak: +(\S+) dBFS/, text),
      }),
    ),
  },
  {
    name: 'libebur128 (loudgain)',
    install: 'apt-get install loudgain',
    available: () => onPath('loudgain'),
    ask: each(`loudgain "$1" 2>&1`, text => ({
      integrated: number(/Loudness: +(\S+) LUFS/, text),
      range: number(/Range: +(\S+) /, text),
      truePeak: number(/Peak: +\S+ \((\S+) dBTP\)/, text),
    })),
  },
  { ...essentia('loudness', 'LoudnessEBUR128'), slow: true },
  {
    name: 'aubio',
    givesBeatsOnly: true,
    install: 'apt-get install aubio-tools',
    available: () => onPath('aubiotrack'),
    ask: each(`aubiotrack -i "$1"`, text => {
      const beats = text
        .split('\n')
        .map(Number)
        .filter(time => time > 0)
      return { beats }
    }),
  },
  {
    name: 'bpm-tools',
    install: 'apt-get install bpm-tools',
    available: () => onPath('bpm'),
    ask: each(`${mono} | bpm`, text => ({ bpm: Number(text) })),
  },
  {
    name: 'Queen Mary (as in Mixxx)',
    givesBeatsOnly: true,
    install: 'apt-get install libqm-dsp-dev g++',
    available: async () => {
      if (existsSync(qm()) && statSync(qm()).mtimeMs > statSync(here('qm.cpp')).mtimeMs) return true
      return run('g++', ['-O2', '-I/usr/include/qm-dsp', '-o', qm(), here('qm.cpp'), '-lqm-dsp']).then(
        () => true,
        () => false,
      )
    },
    ask: async function* (files) {
      yield* each(`${mono} | "${qm()}"`, text => {
        const { key, beats } = JSON.parse(text) as { key: number; beats: number[] }
        return {
          beats,
          key: key === 0 ? 'C' : qmKeys[(key - 1) % 12]! + (key > 12 ? 'm' : ''),
        }
      })(files)
    },
  },
  essentia('degara', 'RhythmExtractor2013 degara'),
  { ...essentia('percival', 'PercivalBpmEstimator'), slow: true },
  essentia('key', 'KeyExtractor shaath'),
  {
    name: 'librosa (as the application used it)',
    install: `python3 -m venv ${join(cacheFolder(), 'librosa')} && ${python()} -m pip install librosa`,
    available: async () => existsSync(python()),
    ask: stream(() => [python(), here('librosa_app.py')]),
  },
  {
    name: 'TempoCNN',
    install: `python3.11 -m venv ${join(cacheFolder(), 'tempocnn')} && ${tempoCnn()} -m pip install tempocnn`,
    available: async () => existsSync(tempoCnn()),
    ask: stream(() => [tempoCnn(), here('tempo_cnn.py')]),
  },
  { ...essentia('multifeature', 'RhythmExtractor2013 multifeature'), slow: true },
]

/** Those of the peers of such names that are installed; of the others it is said. */
export async function installedPeers(names: RegExp): Promise<Peer[]> {
  const installed: Peer[] = []
  for (const peer of peers.filter(({ name }) => names.test(name)))
    if (await peer.available()) installed.push(peer)
    else console.log(`skipped: ${peer.name} is not installed (${peer.install})`)
  return installed
}

/** A peer's answers by file, from the cache where they are; asks for the rest. */
export async function answersOf(peer: Peer, files: readonly string[]): Promise<Map<string, Answer>> {
  const folder = join(cacheFolder(), 'peers')
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${peer.name.replaceAll(/\W+/g, '-')}.json`)
  const kept: Record<string, Answer> = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
  const keyOf = (file: string): string =>
    `${file.split('/').at(-1)} ${statSync(file).size} ${statSync(file).mtimeMs}`
  const wanted = files.filter(file => !(keyOf(file) in kept))
  let index = 0
  for await (const answer of peer.ask(wanted)) {
    kept[keyOf(wanted[index++]!)] = answer
    if (index % 10 === 0) writeFileSync(path, JSON.stringify(kept))
  }
  if (index > 0) writeFileSync(path, JSON.stringify(kept))
  const found = new Map<string, Answer>()
  for (const file of files) {
    const answer = kept[keyOf(file)]
    if (answer)
      found.set(file, peer.givesBeatsOnly ? { ...answer, bpm: tempoOf(answer.beats ?? []) } : answer)
  }
  return found
}
