/**
 * Where voices are told, against songs whose words people have put in time. No package holds such songs: `--songs FOLDER` names
 * them. Of the folder and those below it, one with an UltraStar file (`.txt` with `#BPM`) and one audio file is a song; so is
 * `X.mp3` beside `X.words.csv` with the columns word_start and word_end, seconds (JamendoLyrics); every other audio file is
 * taken for instrumental. The figures of bench/README.md are of github.com/UltraStar-Deluxe/songs and f90/jamendolyrics.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { analyzeFile } from '../../src/audio/analyze.ts'
import { ffmpegDecoder } from '../../src/audio/decode.ts'
import { mean, percent, table } from './report.ts'

type Span = readonly [start: number, end: number]

interface Song {
  readonly audio: string
  /** Empty for instrumental music. */
  readonly words: readonly Span[]
}

const isAudio = (name: string): boolean => /\.(mp3|ogg|opus|m4a|flac|wav)$/i.test(name)

/** Notes of an UltraStar file: `: start length …` in quarters of a beat. */
function notes(text: string): Span[] {
  const header = (name: string): number =>
    Number((new RegExp(`^#${name}:(.*)$`, 'm').exec(text)?.[1] ?? '0').trim().replace(',', '.'))
  const [bpm, gap] = [header('BPM'), header('GAP') / 1000]
  return [...text.matchAll(/^[:*FRG] ?(-?\d+) (\d+) /gm)].map(([, start, length]) => [
    gap + (Number(start) * 15) / bpm,
    gap + ((Number(start) + Number(length)) * 15) / bpm,
  ])
}

function words(csv: string): Span[] {
  const [head, ...lines] = csv.trim().split(/\r?\n/)
  const columns = head!.split(',')
  const [start, end] = [columns.indexOf('word_start'), columns.indexOf('word_end')]
  return lines.map(line => line.split(',').map(Number)).map(row => [row[start]!, row[end]!])
}

function songsIn(folder: string): Song[] {
  const entries = readdirSync(folder, { withFileTypes: true })
  const audio = entries.filter(({ name }) => isAudio(name)).map(({ name }) => path.join(folder, name))
  const written = entries
    .filter(({ name }) => name.endsWith('.txt'))
    .map(({ name }) => readFileSync(path.join(folder, name), 'utf8'))
    .find(text => /^#BPM:/m.test(text))
  return [
    ...entries.flatMap(entry => (entry.isDirectory() ? songsIn(path.join(folder, entry.name)) : [])),
    ...audio.map(file => {
      const timed = file.replace(/\.\w+$/, '.words.csv')
      if (existsSync(timed)) return { audio: file, words: words(readFileSync(timed, 'utf8')) }
      return { audio: file, words: written && audio.length === 1 ? notes(written) : [] }
    }),
  ]
}

/** Pauses of less than two seconds are sung through, as in the sections. */
function phrases(spans: readonly Span[]): Span[] {
  const joined: [number, number][] = []
  for (const [start, end] of [...spans].sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1)
    if (last && start - last[1] < 2) last[1] = Math.max(last[1], end)
    else joined.push([start, end])
  }
  return joined
}

/** @param folder of songs and instrumental music */
export async function voices(folder: string): Promise<void> {
  const sung: { name: string; all: number; told: number; right: number; found: number; words: number }[] = []
  const played: { name: string; share: number }[] = []
  for (const song of songsIn(folder)) {
    const { voice, duration } = (await analyzeFile(ffmpegDecoder(), song.audio)).analysis
    const name = path.relative(folder, song.audio)
    const within = (spans: readonly { start: number; end: number }[], time: number): boolean =>
      spans.some(({ start, end }) => time >= start && time < end)
    const vocal = voice?.vocalSections ?? []
    if (song.words.length === 0) {
      played.push({ name, share: vocal.reduce((sum, { start, end }) => sum + end - start, 0) / duration })
      continue
    }
    const truth = phrases(song.words).map(([start, end]) => ({ start, end }))
    const row = { name, all: 0, told: 0, right: 0, found: 0, words: 0 }
    for (let time = 0; time < duration; time += 0.1) {
      const [isSung, isVocal] = [within(truth, time), within(vocal, time)]
      const isTold = isVocal || within(voice?.instrumentalSections ?? [], time)
      row.all++
      if (isTold) row.told++
      if (isTold && isVocal === isSung) row.right++
      if (isSung) row.words++
      if (isSung && isVocal) row.found++
    }
    sung.push(row)
  }
  const total = (of: 'all' | 'told' | 'right' | 'found' | 'words'): number => mean(sung.map(row => row[of]))
  table([
    ['song', 'told', 'right', 'of its voices'],
    ...sung.map(({ name, all, told, right, found, words }) => [
      name,
      percent(told / all),
      percent(right / told),
      percent(found / words),
    ]),
    [
      `${sung.length} songs`,
      percent(total('told') / total('all')),
      percent(total('right') / total('told')),
      percent(total('found') / total('words')),
    ],
  ])
  for (const { name, share } of played) if (share > 0) console.log(`a voice in ${percent(share)} of ${name}`)
  console.log(
    `${played.length} instrumental pieces: ${played.filter(({ share }) => share > 0).length} are said to have a voice, ` +
      `${played.filter(({ share }) => share > 0.3).length} in more than three tenths of their length\n`,
  )
}
