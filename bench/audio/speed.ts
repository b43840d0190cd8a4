/** What the analysis takes of CPU and memory. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { analyzeFile } from '../../src/audio/analyze.ts'
import { ffmpegDecoder } from '../../src/audio/decode.ts'
import { peers } from './peers.ts'
import { sampleBy } from './random.ts'
import { cacheFolder, type Rendered } from './render.ts'
import { claim, median } from './report.ts'

const run = promisify(execFile)

const loadScript = fileURLToPath(new URL('./load.ts', import.meta.url))

/** Runs load.ts and gives what it printed and its CPU with that of all its children. */
export async function load(
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
export async function fourMinutes(items: readonly Rendered[]): Promise<string> {
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
export async function againstEssentia(items: readonly Rendered[], quick: boolean): Promise<void> {
  const some = sampleBy(items, ({ clip }) => clip.name, quick ? 2 : 8)
  const seconds = some.reduce((sum, { clip }) => sum + clip.duration, 0)
  const decoder = ffmpegDecoder()
  // Compiled first, as essentia.js is when its answers begin.
  await analyzeFile(decoder, some[0]!.wav)
  const started = process.cpuUsage()
  for (const { wav } of some) await analyzeFile(decoder, wav)
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

export async function speed(items: readonly Rendered[], quick: boolean): Promise<void> {
  const file = await fourMinutes(items)
  const rounds = quick ? 1 : 3
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
  const files = Array.from({ length: quick ? 4 : 16 }, () => file)
  const pinned = await run('taskset', ['-c', '0', 'true']).then(
    () => true,
    () => false,
  )
  if (!pinned || availableParallelism() < 2) {
    console.log('skipped: two cores against one (wants taskset of util-linux and two cores)\n')
    return
  }
  // Of a dozen files each costs less than the one before, as V8 goes on optimising what it has seen. Two threads learn it
  // twice, with half of the files each: until they have, they are no twice as fast.
  const warm = quick ? '2' : '12'
  // One core, because a single worker already shares two with its ffmpeg. Two processes that share nothing, each on a
  // core of its own, are the most that this machine gives: cores share caches, memory and a power budget.
  const gains: number[] = []
  const ceilings: number[] = []
  const half = files.slice(0, files.length / 2)
  for (let i = 0; i < rounds; i++) {
    const one = await load(['taskset', '-c', '0'], 'pool', '1', warm, ...files)
    const two = await load(['taskset', '-c', '0,1'], 'pool', '2', warm, ...files)
    const apart = await Promise.all(
      ['0', '1'].map(core => load(['taskset', '-c', core], 'pool', '1', warm, ...half)),
    )
    const alone = one.report['seconds']!
    gains.push(alone / two.report['seconds']!)
    ceilings.push(alone / Math.max(...apart.map(({ report }) => report['seconds']!)))
  }
  const times = (ratios: readonly number[]): string => ratios.map(ratio => ratio.toFixed(2)).join(', ')
  console.log(
    `Two workers on two cores against one on one: ${times(gains)} times as fast; ` +
      `two processes that share nothing: ${times(ceilings)}\n`,
  )
  claim('two cores against one, times as fast (wall clock: wants an idle machine)', median(gains), '>= 1.9')
  claim('two workers against two processes that share nothing', median(gains) / median(ceilings), '>= 0.95')
}

export async function memory(items: readonly Rendered[], quick: boolean): Promise<void> {
  const file = await fourMinutes(items)
  const count = quick ? 12 : 200
  const { report } = await load([], 'pool', '1', '2', ...Array.from({ length: count }, () => file))
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
