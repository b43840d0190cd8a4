/** Renders the bench's clips to 44.1 kHz stereo WAV files in a cache outside the repository. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Truth } from '../../training/compose.ts'
import type { Clip } from './clips.ts'

const run = promisify(execFile)

/** `AUTODJ_BENCH_CACHE`, or autodj-bench in the user's cache folder. */
export const cacheFolder = (): string =>
  process.env['AUTODJ_BENCH_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'autodj-bench', 'audio')

const soundfont = '/usr/share/sounds/sf2/FluidR3_GM.sf2'

export interface Rendered {
  readonly clip: Clip
  readonly wav: string
  readonly truth: Truth
}

const making = new Map<string, Promise<void>>()

/** Makes a file unless it is there, under another name until it is whole; passages of one song wait for each other. */
function once(file: string, make: (to: string) => Promise<unknown>): Promise<void> {
  const made =
    making.get(file) ??
    (async () => {
      if (existsSync(file)) return
      const part = `${file}.${process.pid}.part.wav`
      await make(part)
      renameSync(part, file)
    })()
  making.set(file, made)
  return made
}

/** Where the sound of the whole song lies that a passage is cut from. */
const wholeSong = ({ name }: Clip): string =>
  join(cacheFolder(), 'clips', `${name.replace(/@\d+$/, '')}.whole.wav`)

const moduleFiles = (clip: Clip): { readonly sound: string; readonly rows: string } => ({
  sound: wholeSong(clip),
  rows: `${wholeSong(clip)}.rows`,
})

/** As much of a module as passages are cut from, seconds. */
const moduleSeconds = 120

/** A module's sound, and when its rows begin (training/module-rows.c, which is compiled first). */
async function playModule(file: string, { sound, rows }: ReturnType<typeof moduleFiles>): Promise<void> {
  const player = join(cacheFolder(), 'module-rows')
  const source = fileURLToPath(new URL('../../training/module-rows.c', import.meta.url))
  await once(player, to => run('cc', ['-O2', '-o', to, source, '-lopenmpt']))
  // The rows first: they are there if the sound is.
  await once(sound, to => run(player, [file, to, rows, String(moduleSeconds)], { timeout: 120_000 }))
}

/** The clip's sound and truth; rendered once, then taken from the cache. Null where a tool failed, with why. */
export async function render(
  clip: Clip,
): Promise<Rendered | { readonly clip: Clip; readonly failed: string }> {
  const folder = join(cacheFolder(), 'clips')
  mkdirSync(folder, { recursive: true })
  const wav = join(folder, `${clip.name}.wav`)
  const mid = join(folder, `${clip.name}.mid`)
  try {
    let midi: Buffer = Buffer.alloc(0)
    if (clip.source.kind === 'midi') midi = clip.source.midi
    if (clip.source.kind === 'mma') {
      const chart = join(folder, `${clip.name}.mma`)
      if (!existsSync(mid) || readFileSync(chart, 'utf8') !== clip.source.chart) {
        writeFileSync(chart, clip.source.chart)
        rmSync(wav, { force: true })
        await run('mma', [chart, '-f', mid], { timeout: 60_000 })
      }
      midi = readFileSync(mid)
    }
    if (clip.source.kind === 'module') {
      await playModule(clip.source.file, moduleFiles(clip))
      midi = readFileSync(moduleFiles(clip).rows)
    }
    const truth = clip.truth(midi)
    if (clip.source.kind === 'midi' && existsSync(mid) && !readFileSync(mid).equals(midi))
      rmSync(wav, { force: true })
    if (existsSync(wav)) return { clip, wav, truth }
    const part = `${wav}.part.wav`
    const { source } = clip
    if (source.kind === 'audio') {
      const { files, start } = source
      const inputs = files.flatMap(file => ['-ss', String(start), '-t', String(clip.duration), '-i', file])
      const mix = `amix=inputs=${files.length}:normalize=0,aresample=44100`
      await run('ffmpeg', ['-v', 'error', '-y', ...inputs, '-filter_complex', mix, '-ac', '2', part])
    } else {
      const start = 'start' in source ? (source.start ?? 0) : 0
      const whole = start > 0 ? wholeSong(clip) : `${wav}.raw.wav`
      if (source.kind === 'midi') writeFileSync(mid, midi)
      await once(whole, to =>
        source.kind === 'lmms'
          ? run('lmms', ['--allowroot', 'render', source.project, '-o', to, '-f', 'wav', '-s', '44100'], {
              timeout: 300_000,
              env: { ...process.env, QT_QPA_PLATFORM: 'offscreen' },
            })
          : run('fluidsynth', ['-niq', '-r', '44100', '-g', '0.4', '-F', to, soundfont, mid], {
              timeout: 300_000,
            }),
      )
      const cut = ['-ss', String(start), '-i', whole, '-t', String(clip.duration), '-ac', '2', part]
      await run('ffmpeg', ['-v', 'error', '-y', ...cut])
      if (start === 0) rmSync(whole)
      else if (statSync(part).size < clip.duration * 44_100 * 4)
        throw new Error('ends before its passage does')
    }
    renameSync(part, wav)
    return { clip, wav, truth }
  } catch (error) {
    return { clip, failed: error instanceof Error ? error.message.split('\n')[0]! : String(error) }
  }
}
