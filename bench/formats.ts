/**
 * What autodj makes of a folder of audio files, beside what FFmpeg makes of them:
 *
 *     npm run bench:formats -- --dir FOLDER [--limit N] [--only TEXT] [--no-decode] [--all]
 *
 * For each file: whether both take it for audio; the row that `import` would make (title, artist, album, duration within
 * 0.1 s) beside what `ffprobe` reads, and for the length what `ffmpeg` decodes, as ffprobe often guesses that; and the verdicts of both decoders of `analyze` beside each other (loudness within 0.1 LU, length,
 * damage). Only disagreements are listed, then counted by kind. They are for a person to judge: FFmpeg errs as well.
 * Nothing is written.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { type Decoder, ffmpegDecoder, npmDecoder } from '../src/audio/decode.ts'
import { loudnessMeter } from '../src/core/audio/loudness.ts'
import { cleanName, trackName } from '../src/core/names.ts'
import { formatCount } from '../src/core/units.ts'
import { AppError } from '../src/errors.ts'
import { Inspector } from '../src/import/inspect.ts'
import { readTags } from '../src/import/tags.ts'

const { values: options } = parseArgs({
  options: {
    dir: { type: 'string' },
    limit: { type: 'string' },
    only: { type: 'string' },
    'no-decode': { type: 'boolean' },
    all: { type: 'boolean' },
  },
})
if (options.dir === undefined) {
  console.error(
    'usage: npm run bench:formats -- --dir FOLDER [--limit N] [--only TEXT] [--no-decode] [--all]',
  )
  process.exit(2)
}

interface Probe {
  /** seconds, as ffprobe has it */
  duration: number | undefined
  tags: Map<string, string>
  codec: string
}

/** What one decoder says of a file. */
interface Verdict {
  text: string
  loudness?: number | undefined
  duration?: number
  damaged?: boolean
  unsupported?: boolean
}

const dir = path.resolve(options.dir)
const decoders = options['no-decode'] ? [] : [ffmpegDecoder(), npmDecoder()]
const kinds = new Map<string, number>()
const totals = { files: 0, audio: 0, rows: 0, compared: 0, agreed: 0 }

let files = readdirSync(dir, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile())
  .map(entry => path.relative(dir, path.join(entry.parentPath, entry.name)))
  .filter(file => options.only === undefined || file.includes(options.only))
  .sort()
if (options.limit !== undefined) files = files.slice(0, Number(options.limit))

const inspector = new Inspector(dir, dir)
for (const file of files) await look(file)

console.log(
  `\n${formatCount(totals.files)} files, ${formatCount(totals.audio)} audio, ${formatCount(totals.rows)} rows without a disagreement; ` +
    `verdicts compared: ${formatCount(totals.compared)}, alike: ${formatCount(totals.agreed)}`,
)
for (const [kind, count] of [...kinds].sort((a, b) => b[1] - a[1]))
  console.log(`${String(count).padStart(7)}  ${kind}`)

async function look(file: string): Promise<void> {
  totals.files++
  const absolute = path.join(dir, file)
  const seen = await inspector.inspect(file)
  const probe = probed(absolute)
  const lines: string[] = []
  const note = (kind: string, text: string): void => {
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    lines.push(`${kind}: ${text}`)
  }
  if (seen.kind !== 'audio') {
    if (probe) note('not audio', `ffprobe says ${probe.codec}; here: ${seen.reason}`)
    return print(file, lines)
  }
  totals.audio++
  if (!probe) note('ffprobe takes it for no audio', 'here it is')
  const tags = await readTags(absolute, file)
  if (tags.warning) note('warning', tags.warning)
  if (probe) compareNames(file, tags, probe, note)
  const verdicts: Verdict[] = []
  for (const decoder of decoders) verdicts.push(await decoded(decoder, absolute))
  const lengths = [probe?.duration, verdicts[0]?.duration].filter(length => length !== undefined)
  if (lengths.length > 0 && !lengths.some(length => Math.abs((tags.duration ?? 0) - length) <= 0.1))
    note(
      'duration',
      `${tags.duration?.toFixed(2)} here, ${probe?.duration?.toFixed(2)} by ffprobe, ${verdicts[0]?.duration?.toFixed(2)} decoded by ffmpeg`,
    )
  if (lines.length === 0) totals.rows++
  compareVerdicts(verdicts, note)
  if (options.all && lines.length === 0) lines.push(verdicts.map(({ text }) => text).join(' | '))
  print(file, lines)
}

function print(file: string, lines: readonly string[]): void {
  if (lines.length > 0) console.log(`${JSON.stringify(file)}\n    ${lines.join('\n    ')}`)
}

function probed(absolute: string): Probe | undefined {
  const { stdout } = spawnSync(
    'ffprobe',
    ['-v', 'quiet', '-of', 'json', '-show_format', '-show_streams', '-i', `file:${absolute}`],
    { encoding: 'utf8', maxBuffer: 2 ** 28, timeout: 60_000 },
  )
  let answer: {
    format?: { duration?: string; tags?: Record<string, string>; format_name?: string }
    streams?: { codec_type?: string; codec_name?: string; tags?: Record<string, string> }[]
  }
  try {
    answer = JSON.parse(stdout)
  } catch {
    return undefined
  }
  const stream = answer.streams?.find(({ codec_type }) => codec_type === 'audio')
  if (!stream) return undefined
  const tags = new Map<string, string>()
  for (const [key, value] of Object.entries({ ...stream.tags, ...answer.format?.tags }))
    tags.set(key.toLowerCase(), value)
  const duration = Number(answer.format?.duration)
  return {
    duration: Number.isFinite(duration) ? duration : undefined,
    tags,
    codec: `${stream.codec_name} in ${answer.format?.format_name}`,
  }
}

function compareNames(
  file: string,
  tags: Awaited<ReturnType<typeof readTags>>,
  probe: Probe,
  note: (kind: string, text: string) => void,
): void {
  const name = trackName(file, tags)
  const theirs = trackName(file, {
    title: probe.tags.get('title'),
    artist: probe.tags.get('artist') ?? probe.tags.get('album_artist') ?? probe.tags.get('author'),
  })
  // Several values of one kind: FFmpeg joins them by a semicolon, autodj as the application does.
  const plain = (text: string): string => cleanName(text).replace(/\s*[;,/]\s*/g, ', ')
  const rows = [
    ['title', name.title, theirs.title],
    ['artist', name.artist, theirs.artist],
    ['album', cleanName(tags.album ?? ''), cleanName(probe.tags.get('album') ?? '')],
  ] as const
  for (const [what, ours, other] of rows)
    if (plain(ours) !== plain(other))
      note(what, `${JSON.stringify(ours)} here, ${JSON.stringify(other)} by ffprobe`)
}

async function decoded(decoder: Decoder, absolute: string): Promise<Verdict> {
  let meter: ReturnType<typeof loudnessMeter> | undefined
  try {
    const { decodedDuration, problems, damage } = await decoder.decode(
      absolute,
      {
        start: ({ sampleRate, channels }) => {
          meter = loudnessMeter(sampleRate, channels)
        },
        push: (channels, length) => meter!.push(channels, length),
      },
      { signal: AbortSignal.timeout(300_000) },
    )
    const loudness = meter?.finish().integrated
    return {
      text: `${decodedDuration.toFixed(2)} s, ${loudness?.toFixed(2) ?? 'silent'} LUFS${problems.length > 0 ? `, ${problems.join('; ')}` : ''}`,
      loudness,
      duration: decodedDuration,
      damaged: damage !== undefined,
    }
  } catch (error) {
    if (!(error instanceof AppError)) return { text: `BUG ${String(error)}` }
    return { text: `${error.code}: ${error.message}`, unsupported: error.code === 'audio.unsupported' }
  }
}

function compareVerdicts(verdicts: readonly Verdict[], note: (kind: string, text: string) => void): void {
  const [ffmpeg, npm] = verdicts
  if (!ffmpeg || !npm) return
  const both = `ffmpeg ${ffmpeg.text} | npm ${npm.text}`
  if (ffmpeg.text.startsWith('BUG') || npm.text.startsWith('BUG')) {
    note('bug', both)
    return
  }
  if (ffmpeg.unsupported) note('ffmpeg does not take it', both)
  if (npm.unsupported) return
  totals.compared++
  if (ffmpeg.damaged) note('damaged', both)
  if ((ffmpeg.duration === undefined) !== (npm.duration === undefined)) note('one decoder fails', both)
  else if (ffmpeg.duration === undefined) note('both decoders fail', both)
  else if (ffmpeg.damaged !== npm.damaged) note('damage by one decoder only', both)
  else if (Math.abs(ffmpeg.duration - npm.duration!) > 0.1) note('lengths decoded', both)
  else if (Math.abs((ffmpeg.loudness ?? -70) - (npm.loudness ?? -70)) > 0.1) note('loudness', both)
  else totals.agreed++
}
