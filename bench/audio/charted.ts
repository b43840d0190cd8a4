/**
 * Real records whose tempo people wrote down: what is below a folder and has a chart of StepMania (`.sm`, `.ssc`), of Friday
 * Night Funkin' (`Inst.ogg` and `Voices.ogg` in a folder of the song's name, a chart in JSON in another one) or of Beat Saber
 * (`Info.dat`), or stands in a list, `tempi.tsv`: path of the file beside it, tabulator, beats per minute. No package holds the
 * songs of rhythm games, and most have no licence: nothing is learned from them.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Truth } from '../../training/compose.ts'
import type { Clip } from './clips.ts'
import { cacheFolder, type Rendered } from './render.ts'

const run = promisify(execFile)

/** What a chart says. */
interface Chart {
  /** Every tempo that it has. */
  readonly tempi: readonly number[]
  /** When its first beat is, seconds; undefined where only the tempo was written. */
  readonly start: number | undefined
  /** Whether it stands still somewhere. */
  readonly stops: boolean
}

interface Song extends Chart {
  readonly name: string
  /** Played together. */
  readonly audio: readonly string[]
}

const isAudio = (name: string): boolean => /\.(mp3|ogg|egg|opus|m4a|flac|wav)$/i.test(name)

const jsonOf = (file: string): Record<string, unknown> | undefined => {
  try {
    return JSON.parse(readFileSync(file, 'utf8').replace(/^\uFEFF|\0+$/g, ''))
  } catch {
    return undefined
  }
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile())
    .map(entry => path.join(entry.parentPath, entry.name))
    .sort()
}

/** `#NAME:value;`, as in https://github.com/stepmania/stepmania/wiki/sm */
function stepmania(file: string, files: readonly string[]): Song[] {
  const text = readFileSync(file, 'utf8').replace(/\/\/.*$/gm, '')
  const value = (name: string): string => new RegExp(`#${name}:([^;]*);`).exec(text)?.[1]?.trim() ?? ''
  const tempi = value('BPMS')
    .split(',')
    .map(pair => Number(pair.split('=')[1]))
    .filter(bpm => bpm > 0)
  const beside = files.filter(other => path.dirname(other) === path.dirname(file) && isAudio(other))
  const named = beside.find(other => path.basename(other).toLowerCase() === value('MUSIC').toLowerCase())
  const audio = named ?? beside[0]
  if (audio === undefined) return []
  const start = -Number(value('OFFSET') || 0)
  return [{ name: file, audio: [audio], tempi, start, stops: value('STOPS') !== '' }]
}

const plain = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')

interface FunkinChart {
  readonly bpm: number
  readonly notes: readonly { readonly changeBPM?: boolean; readonly bpm?: number }[]
}

/** Charts of one song, one for each difficulty, by the folder of the game and the song's. */
function funkinCharts(files: readonly string[]): Map<string, FunkinChart[]> {
  const charts = new Map<string, FunkinChart[]>()
  for (const file of files.filter(name => name.endsWith('.json'))) {
    const song = jsonOf(file)?.['song'] as Partial<FunkinChart> | undefined
    if (typeof song?.bpm !== 'number' || !Array.isArray(song.notes)) continue
    const name = plain(path.basename(path.dirname(file)))
    charts.set(name, [...(charts.get(name) ?? []), song as FunkinChart])
  }
  return charts
}

function funkin(file: string, files: readonly string[], charts: ReadonlyMap<string, FunkinChart[]>): Song[] {
  const folder = path.dirname(file)
  const found = charts.get(plain(path.basename(folder)))
  if (!found) return []
  const { name: stem, ext } = path.parse(file)
  // Games ship a song in both formats: one is the other.
  if (ext === '.mp3' && files.includes(path.join(folder, `${stem}.ogg`))) return []
  const tempi = found.flatMap(({ bpm, notes }) => [
    bpm,
    ...notes.flatMap(({ changeBPM, bpm: other }) => (changeBPM && other ? [other] : [])),
  ])
  const voices = files.filter(
    other =>
      path.dirname(other) === folder && /^voices/i.test(path.basename(other)) && path.extname(other) === ext,
  )
  return [{ name: file, audio: [file, ...voices], tempi, start: 0, stops: false }]
}

/** Versions 2 and 4 of `Info.dat`, https://bsmg.wiki/mapping/map-format/info.html */
function beatSaber(file: string, files: readonly string[]): Song[] {
  const info = jsonOf(file)
  const audio = info?.['audio'] as { bpm?: number; songFilename?: string } | undefined
  const bpm = Number(info?.['_beatsPerMinute'] ?? audio?.bpm)
  const name = info?.['_songFilename'] ?? audio?.songFilename
  const sound = files.find(other => other === path.join(path.dirname(file), String(name)))
  if (!(bpm > 0) || sound === undefined) return []
  return [
    { name: file, audio: [sound], tempi: [bpm], start: Number(info?.['_songTimeOffset'] ?? 0), stops: false },
  ]
}

/** Lines of which each is a path and a tempo; more columns are notes. */
function listed(file: string, files: readonly string[]): Song[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap(line => {
      const [name, bpm] = line.split('\t')
      const sound = path.join(path.dirname(file), name!)
      if (!(Number(bpm) > 0) || !files.includes(sound)) return []
      return [{ name: sound, audio: [sound], tempi: [Number(bpm)], start: undefined, stops: false }]
    })
}

/** What has a chart, games in folders of their own below `folder`. */
export function songsIn(folder: string): Song[] {
  // Games apart: two may have a song of one name.
  const games = readdirSync(folder, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(({ name }) => filesBelow(path.join(folder, name)))
  return games.flatMap(files => {
    const charts = funkinCharts(files)
    return files.flatMap(file => {
      const name = path.basename(file)
      if (/\.(sm|ssc)$/i.test(name)) return stepmania(file, files)
      if (/^inst\.(ogg|mp3)$/i.test(name)) return funkin(file, files, charts)
      if (/^info\.dat$/i.test(name)) return beatSaber(file, files)
      return name === 'tempi.tsv' ? listed(file, files) : []
    })
  })
}

/** The song as a WAVE file, its tracks mixed as the game plays them. */
async function soundOf({ audio }: Song, hash: string): Promise<string> {
  const folder = path.join(cacheFolder(), 'charted')
  mkdirSync(folder, { recursive: true })
  const wav = path.join(folder, `${hash}.wav`)
  if (existsSync(wav)) return wav
  const mix = `amix=inputs=${audio.length}:normalize=0,alimiter`
  const filters = audio.length > 1 ? ['-filter_complex', mix] : []
  const part = `${wav}.part.wav`
  const inputs = audio.flatMap(file => ['-i', file])
  const format = ['-ar', '44100', '-ac', '2', '-c:a', 'pcm_s16le']
  await run('ffmpeg', ['-v', 'error', '-y', ...inputs, ...filters, ...format, part])
  renameSync(part, wav)
  return wav
}

/** Every song once whose chart has one tempo, by the hash of its sound. */
export async function chartedSongs(folder: string): Promise<Rendered[]> {
  const songs = new Map<string, Rendered>()
  for (const song of songsIn(folder)) {
    const { tempi, start, stops } = song
    const bpm = tempi[0]
    if (bpm === undefined || stops || Math.max(...tempi) / Math.min(...tempi) > 1.005) continue
    const sound = readFileSync(song.audio[0]!)
    const hash = createHash('sha256').update(sound).digest('hex').slice(0, 16)
    // Shorter ones are sounds of the game.
    if (sound.length < 200_000 || songs.has(hash)) continue
    const wav = await soundOf(song, hash)
    const duration = statSync(wav).size / (44_100 * 4)
    const beats =
      start === undefined
        ? []
        : Array.from(
            { length: Math.max(0, Math.floor(((duration - start) * bpm) / 60)) },
            (_, i) => start + (i * 60) / bpm,
          ).filter(time => time >= 0)
    const truth: Truth = { bpm, constant: true, changes: false, beats, downbeats: [], key: null }
    const name = path.relative(folder, song.name)
    const clip: Clip = {
      name,
      group: 'songs',
      half: 'reporting',
      duration,
      source: { kind: 'audio', files: song.audio, start: 0 },
      truth: () => truth,
    }
    songs.set(hash, { clip, wav, truth })
  }
  return [...songs.values()]
}
