/** A picture of an analysis: waveform, beats, bar lines, sections, voices, tempo and key over time, as an SVG file. */
import path from 'node:path'
import * as Plot from '@observablehq/plot'
import type { Knex } from 'knex'
import { parseHTML } from 'linkedom'
import { writeOutput } from '../cli/write-output.ts'
import type { Context } from '../context.ts'
import { formatDuration, printable } from '../core/units.ts'
import { FatalError } from '../errors.ts'

/** What is drawn; all times in seconds. */
export interface AnalysisPicture {
  readonly title: string
  readonly duration: number
  /** As in the ledger: three bytes a point, lowest and highest sample and root mean square. */
  readonly waveform: Uint8Array
  readonly beats: readonly number[]
  readonly downbeats: readonly number[]
  readonly sections: readonly { start: number; end: number; kind: string }[]
  readonly tempoParts: readonly { start: number; end: number; bpm: number; constant: boolean }[]
  readonly keys: readonly { start: number; end: number; key?: string; confidence: number }[]
  /** Where somebody sings or speaks. */
  readonly voices: readonly { start: number; end: number; confidence: number }[]
  readonly mixIn: number
  readonly mixOut: number
}

/** Rows of the picture, from the top, as spans of y. */
const rows = {
  waveform: [50, 100],
  beats: [44, 49],
  sections: [36, 42],
  voice: [30, 34],
  tempo: [16, 27],
  keys: [4, 12],
} as const

const colors: Readonly<Record<string, string>> = {
  intro: '#8ecae6',
  body: '#219ebc',
  break: '#bde0fe',
  outro: '#8ecae6',
}

const { document } = parseHTML('<!doctype html><html><body></body></html>')

/** `3:07` */
const clock = (seconds: number): string =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`

/** Width of a letter, pixels, on the safe side. */
const letter = 6.5

/** Those of names, in the order of their places, that do not run into the one that is written before them. */
function legible<T>(all: readonly T[], place: (item: T) => number, name: (item: T) => string): T[] {
  let free = -Infinity
  return all.filter(item => {
    if (place(item) < free) return false
    free = place(item) + letter * name(item).length + 8
    return true
  })
}

/** The picture as SVG; six pixels a second, at least 1,000 in all. */
export function drawAnalysis(picture: AnalysisPicture): string {
  const { title, duration, waveform, beats, downbeats, sections, tempoParts, keys, voices, mixIn, mixOut } =
    picture
  const bytes = new Int8Array(waveform.buffer, waveform.byteOffset, waveform.length)
  const count = Math.floor(waveform.length / 3)
  const [bottom, top] = rows.waveform
  const middle = (bottom + top) / 2
  const level = (value: number): number => middle + (value / 128) * ((top - bottom) / 2)
  const points = Array.from({ length: count }, (_, i) => ({
    time: ((i + 0.5) * duration) / count,
    low: level(bytes[3 * i]!),
    high: level(bytes[3 * i + 1]!),
  }))
  const tempi = beats.slice(1).map((time, i) => ({ time, bpm: 60 / (time - beats[i]!) }))
  const told = tempoParts.length > 0 ? tempoParts.map(({ bpm }) => bpm) : tempi.map(({ bpm }) => bpm)
  const slowest = Math.min(...told, 300) / 1.05
  const fastest = Math.max(...told, slowest) * 1.05
  const [tempoLow, tempoHigh] = rows.tempo
  const atTempo = (bpm: number): number =>
    tempoLow +
    ((Math.min(fastest, Math.max(slowest, bpm)) - slowest) / (fastest - slowest)) * (tempoHigh - tempoLow)
  const tempoName = ({ bpm, constant }: { bpm: number; constant: boolean }): string =>
    `${Number(bpm.toFixed(2))} BPM${constant ? '' : ', drifting'}`
  const width = Math.max(1000, 6 * duration)
  const perSecond = width / duration
  /** Whether a name has room in its stretch. */
  const fits = ({ start, end }: { start: number; end: number }, name: string): boolean =>
    letter * name.length <= (end - start) * perSecond
  const namedTempi = legible(tempoParts, ({ start }) => start * perSecond, tempoName)
  const step = duration > 1_800 ? 300 : duration > 600 ? 60 : 15
  const ticks = Array.from({ length: Math.floor(duration / step) + 1 }, (_, i) => i * step)
  const names = Object.entries(rows).map(([name, [low, high]]) => ({ name, y: (low + high) / 2 }))
  const marks = [
    Plot.areaY(points, { x: 'time', y1: 'low', y2: 'high', fill: '#457b9d', curve: 'step' }),
    Plot.ruleX(beats, { y1: rows.beats[0], y2: rows.beats[1], stroke: '#555', strokeWidth: 0.6 }),
    Plot.ruleX(downbeats, {
      y1: rows.beats[0],
      y2: rows.waveform[1],
      stroke: '#c1121f',
      strokeWidth: 0.7,
      strokeOpacity: 0.55,
    }),
    Plot.rect(sections, {
      x1: 'start',
      x2: 'end',
      y1: rows.sections[0],
      y2: rows.sections[1],
      fill: (section: { kind: string }) => colors[section.kind] ?? '#ccc',
      stroke: 'white',
    }),
    Plot.text(
      sections.filter(section => fits(section, section.kind)),
      {
        x: ({ start, end }: { start: number; end: number }) => (start + end) / 2,
        y: (rows.sections[0] + rows.sections[1]) / 2,
        text: 'kind',
      },
    ),
    Plot.rect(voices, {
      x1: 'start',
      x2: 'end',
      y1: rows.voice[0],
      y2: rows.voice[1],
      fill: '#7b2cbf',
      fillOpacity: (section: { confidence: number }) => 0.7 * section.confidence,
    }),
    Plot.line(tempi, {
      x: 'time',
      y: ({ bpm }: { bpm: number }) => atTempo(bpm),
      stroke: '#e76f51',
      strokeWidth: 1,
    }),
    Plot.text(namedTempi, {
      x: 'start',
      y: tempoHigh + 1,
      text: tempoName,
      textAnchor: 'start',
      fill: '#9c3d22',
      dx: 3,
    }),
    Plot.ruleX(
      tempoParts.slice(1).map(({ start }) => start),
      { y1: 0, y2: 100, stroke: '#e76f51', strokeDasharray: '6 4' },
    ),
    Plot.rect(keys, {
      x1: 'start',
      x2: 'end',
      y1: rows.keys[0],
      y2: rows.keys[1],
      fill: '#2a9d8f',
      fillOpacity: (stretch: { confidence: number }) => 0.1 + 0.6 * stretch.confidence,
      stroke: 'white',
    }),
    Plot.text(keys, {
      x: ({ start, end }: { start: number; end: number }) => (start + end) / 2,
      y: (rows.keys[0] + rows.keys[1]) / 2,
      text: ({ key }: { key?: string }) => key ?? '',
    }),
    Plot.ruleX([mixIn, mixOut], { y1: 0, y2: 100, stroke: '#2b9348', strokeWidth: 1.5 }),
    Plot.text(
      [
        { time: mixIn, text: 'mix in', textAnchor: 'start' },
        { time: mixOut, text: 'mix out', textAnchor: 'start' },
      ],
      { x: 'time', y: 100, text: 'text', textAnchor: 'start', dx: 3, dy: -6, fill: '#2b9348' },
    ),
    Plot.text(names, { frameAnchor: 'left', y: 'y', text: 'name', textAnchor: 'end', dx: -6 }),
  ]
  const svg = Plot.plot({
    document: document as never,
    width: Math.round(width) + 100,
    height: 360,
    marginLeft: 80,
    marginTop: 34,
    style: { fontSize: '11px', background: 'white', overflow: 'visible' },
    x: { domain: [0, duration], label: null, tickFormat: clock, ticks },
    y: { axis: null, domain: [0, 100] },
    marks,
  })
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  svg.setAttribute('role', 'img')
  const heading = document.createElementNS('http://www.w3.org/2000/svg', 'title')
  heading.textContent = title
  svg.insertBefore(heading as never, svg.firstChild)
  const caption = document.createElementNS('http://www.w3.org/2000/svg', 'text')
  caption.setAttribute('x', '80')
  caption.setAttribute('y', '14')
  caption.setAttribute('fill', 'black')
  caption.setAttribute('text-anchor', 'start')
  caption.textContent = `${title} · ${formatDuration(1_000 * duration)}`
  svg.append(caption as never)
  return `${svg.outerHTML}\n`
}

interface Row {
  readonly title: string
  readonly artist: string | null
  readonly beat_timestamps: unknown
  readonly vocal_sections: unknown
  readonly mix_in_point: number | null
  readonly mix_out_point: number | null
  readonly duration: number
  readonly waveform: Uint8Array
  readonly sections: unknown
  readonly tempo_parts: unknown
  readonly key_profile: unknown
  readonly downbeats: unknown
}

/** PGlite gives JSON parsed, some drivers as text. */
const parsed = <T>(value: unknown): T => (typeof value === 'string' ? JSON.parse(value) : (value ?? [])) as T

/** The last analysis of a track as it stands in the database; undefined if it has none. */
export async function readPicture(knex: Knex, trackId: string): Promise<AnalysisPicture | undefined> {
  const row = await knex<Row>('autodj_ledger.analyses as a')
    .join('tracks as t', 't.id', 'a.track_id')
    .where('a.track_id', trackId)
    .first(
      't.title',
      't.artist',
      't.beat_timestamps',
      't.vocal_sections',
      't.mix_in_point',
      't.mix_out_point',
      'a.duration',
      'a.waveform',
      'a.sections',
      'a.tempo_parts',
      'a.key_profile',
      'a.downbeats',
    )
  if (row === undefined) return undefined
  return {
    title: printable(row.artist ? `${row.artist}: ${row.title}` : row.title),
    duration: row.duration,
    waveform: row.waveform,
    beats: parsed(row.beat_timestamps),
    downbeats: parsed(row.downbeats),
    sections: parsed(row.sections),
    tempoParts: parsed(row.tempo_parts),
    keys: parsed(row.key_profile),
    voices: parsed(row.vocal_sections),
    mixIn: row.mix_in_point ?? 0,
    mixOut: row.mix_out_point ?? row.duration,
  }
}

/**
 * Draws the last analysis of a track into a file, in one step.
 *
 * @throws FatalError if the track has no analysis; UsageError where the file cannot be written
 */
export async function plotTrack(
  { cwd, report, database }: Pick<Context, 'cwd' | 'report' | 'database'>,
  trackId: string,
  output: string,
): Promise<void> {
  const { knex } = await database()
  const picture = await readPicture(knex, trackId)
  if (picture === undefined)
    throw new FatalError(`track ${trackId} has no analysis to draw`, {
      code: 'analysis.missing',
      cure: `Run \`autodj analyze --track ${trackId}\` and see what it reports.`,
    })
  const file = path.resolve(cwd, output)
  await writeOutput('--plot', file, drawAnalysis(picture))
  report.note(`drew ${file}`, { plot: file })
}
