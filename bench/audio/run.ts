/**
 * The audio bench: accuracy and speed of the analysis on clips whose tempo, beats and key are known, beside its peers.
 * Only the half of the clips that nothing was tuned on is reported.
 *
 *   npm run bench:audio -- [--quick] [--clips N] [--no-peers] [--slow-peers] [--seed S] [--minutes N] [--part accuracy,hints,loudness,speed,essentia,memory,end-to-end,long]
 *
 * --quick       twelve clips, fast peers, small loads: minutes, to see that it runs; its figures mean little
 * --clips N     at most N clips of the reporting half, chosen by the hash of their names
 * --seed S      another draw: other clips where --clips says how many, other splices of each song
 * --minutes N   `changes` and `stability` begin no further song after them, and say how many they left out
 * --no-peers    ours alone
 * --slow-peers  all clips for the slow extractors of essentia.js too; they get 60 otherwise
 *
 * These run only where named: `fresh` scores our tempi and beats on other clips that nothing was tuned on either;
 * `changes` splices songs whose tempo is constant, part of which is faster or slower (`--half tuning`: of the other half);
 * `stability` asks whether answers follow what is done to a song, on music of Debian packages
 * that has no labels (singularity-music, warzone2100-music, xmoto-data, hyperrogue-music);
 * `voices` hears songs whose words are put in time, of `--songs FOLDER` (see voices.ts);
 * `charted` those whose tempo people have written, players of rhythm games or in a list, of `--songs FOLDER` (see charted.ts).
 * end-to-end wants TEST_POSTGRES_URL, and Go for versitygw; long is a set of three hours, by either decoder.
 *
 * Wants fluidsynth, fluid-soundfont-gm and ffmpeg; says what else would make it fuller. Keeps what it renders and what
 * peers answer under AUTODJ_BENCH_CACHE (default ~/.cache/autodj-bench/audio).
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs, promisify } from 'node:util'
import { accuracy, charted, fresh, hints } from './accuracy.ts'
import { changes } from './changes.ts'
import { chartedSongs } from './charted.ts'
import { allClips, type Clip, freshClips, longClips, songClips } from './clips.ts'
import { fromServer, longSet } from './end-to-end.ts'
import { loudness } from './loudness.ts'
import { sampleBy } from './random.ts'
import { type Rendered, render } from './render.ts'
import { results } from './report.ts'
import { againstEssentia, memory, speed } from './speed.ts'
import { stability } from './stability.ts'
import { voices } from './voices.ts'

const run = promisify(execFile)

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    clips: { type: 'string' },
    seed: { type: 'string', default: '' },
    minutes: { type: 'string', default: 'Infinity' },
    'no-peers': { type: 'boolean', default: false },
    'slow-peers': { type: 'boolean', default: false },
    half: { type: 'string', default: 'reporting' },
    songs: { type: 'string' },
    part: { type: 'string', default: 'accuracy,hints,loudness,speed,essentia,memory,end-to-end,long' },
  },
})
const parts = new Set(flags.part.split(','))

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

async function clips(of: readonly Clip[]): Promise<Rendered[]> {
  const wanted = flags.quick ? 12 : Number(flags.clips ?? Number.POSITIVE_INFINITY)
  const chosen = sampleBy(of, ({ name }) => `${flags.seed}${name}`, wanted)
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

if (await checkTools()) {
  if (parts.delete('fresh')) await fresh(await clips(freshClips()))
  const limits = { noPeers: flags['no-peers'], minutes: Number(flags.minutes) }
  if (parts.delete('changes')) {
    const half = flags.half === 'tuning' ? 'tuning' : 'reporting'
    await changes(await clips(longClips(half)), { ...limits, seed: flags.seed })
  }
  if (parts.delete('voices')) {
    if (flags.songs === undefined) throw new Error('--part voices wants --songs FOLDER')
    await voices(flags.songs)
  }
  if (parts.delete('charted')) {
    if (flags.songs === undefined) throw new Error('--part charted wants --songs FOLDER')
    await charted(await chartedSongs(flags.songs), limits)
  }
  if (parts.delete('stability')) await stability(await clips(songClips()), limits)
  const items = parts.size > 0 ? await clips(allClips().filter(clip => clip.half === 'reporting')) : []
  const asked = { noPeers: flags['no-peers'], slowPeers: flags['slow-peers'] }
  if (parts.has('accuracy')) await accuracy(items, asked)
  if (parts.has('hints')) await hints(items, asked)
  if (parts.has('loudness')) await loudness()
  if (parts.has('speed')) await speed(items, flags.quick)
  if (parts.has('essentia')) await againstEssentia(items, flags.quick)
  if (parts.has('memory')) await memory(items, flags.quick)
  if (parts.has('end-to-end')) await fromServer(items, flags.quick)
  if (parts.has('long')) await longSet(items, flags.quick)
  for (const { what, value, bar, holds } of results)
    console.log(`${holds ? 'holds' : 'FAILS'}  ${what}: ${value} (${bar})`)
  console.log(JSON.stringify({ bench: 'audio', results }))
} else process.exitCode = 1
