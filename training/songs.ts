/**
 * Music by others, for tuning alone (tune.ts): what Debian packages of free games and of a sequencer bring along.
 * freedoom and simutrans-data have MIDI files, lmms its demonstration songs, whose tempi are their authors'. What is
 * not installed is left out.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { type Clip, gridTruth } from '../bench/audio/clips.ts'
import { clipSeconds, type Truth } from './compose.ts'
import { readMidi } from './midi.ts'

/** Where passages begin, seconds. */
const starts = [8, 64, 120]

/** Lumps of a WAD file, by name (Fennell, "The Unofficial DOOM Specs" 1.666, 1994, chapter 2). */
function lumps(wad: Buffer): { name: string; data: Buffer }[] {
  const count = wad.readUInt32LE(4)
  const directory = wad.readUInt32LE(8)
  return Array.from({ length: count }, (_, i) => {
    const entry = directory + 16 * i
    const start = wad.readUInt32LE(entry)
    const name = wad.toString('latin1', entry + 8, entry + 16).replace(/\0.*$/, '')
    return { name, data: wad.subarray(start, start + wad.readUInt32LE(entry + 4)) }
  })
}

const filesOf = (folder: string, extension: RegExp): string[] =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: 'utf8' })
        .filter(file => extension.test(file))
        .sort()
        .map(file => join(folder, file))
    : []

function midiFiles(): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  for (const wad of filesOf('/usr/share/games/doom', /^freedoom\d\.wad$/))
    for (const { name, data } of lumps(readFileSync(wad)))
      if (name.startsWith('D_') && data.toString('latin1', 0, 4) === 'MThd' && data.length > 1000)
        files.set(`freedoom-${name.slice(2).toLowerCase()}`, data)
  for (const path of filesOf('/usr/share/games/simutrans/music', /\.mid$/))
    files.set(`simutrans-${basename(path, '.mid').toLowerCase()}`, readFileSync(path))
  return files
}

/** Share of notes that a grid so many times finer than quarters explains: length of the mean of their phases, 0 to 1. */
function onGrid(quarters: readonly number[], perQuarter: number): number {
  let re = 0
  let im = 0
  for (const at of quarters) {
    re += Math.cos(2 * Math.PI * perQuarter * at)
    im += Math.sin(2 * Math.PI * perQuarter * at)
  }
  return Math.hypot(re, im) / quarters.length
}

/** Passages in which the notes lie on the grid of the file's own tempo map, in metres counted in quarters. */
function midiSongs(): Clip[] {
  const clips: Clip[] = []
  for (const [name, midi] of midiFiles()) {
    const { seconds, onsets, metres, end } = readMidi(midi)
    const length = seconds(end)
    if (length > 420) continue
    for (const start of starts.filter(start => start + clipSeconds <= length)) {
      const within = (at: number): boolean => seconds(at) >= start && seconds(at) < start + clipSeconds
      const notes = onsets.filter(within)
      const grids = [2, 3, 4, 6].map(perQuarter => onGrid(notes, perQuarter))
      if (notes.length < 60 || Math.max(...grids) < 0.6) continue
      const counted = [
        ...metres.filter(({ at }) => within(at)),
        metres.findLast(({ at }) => seconds(at) <= start)!,
      ]
      if (counted.some(({ denominator }) => denominator !== 4)) continue
      clips.push({
        name: `${name}@${start}`,
        group: 'songs',
        half: 'tuning',
        duration: clipSeconds,
        source: { kind: 'midi', midi, start },
        truth: file => gridTruth(file, 1, null, start),
      })
    }
  }
  return clips
}

/** Written at twice the tempo that anybody would tap, or too short for a passage. */
const notSongs = /Reggae|Crunk|CoolSnip|222|C64|Surrender/

function lmmsSongs(): Clip[] {
  const clips: Clip[] = []
  for (const project of filesOf('/usr/share/lmms/projects', /^(demos|shorties)\/.*\.mmpz?$/)) {
    const name = basename(project).replace(/\.mmpz?$/, '')
    if (notSongs.test(name)) continue
    const file = readFileSync(project)
    // Compressed ones begin with their length.
    const xml = (project.endsWith('z') ? inflateSync(file.subarray(4)) : file).toString('utf8')
    const bpm = Number(/<head[^>]*\bbpm="(\d+)"/.exec(xml)?.[1])
    if (!bpm) continue
    for (const start of starts) {
      const beats: number[] = []
      const downbeats: number[] = []
      for (let beat = Math.ceil((start * bpm) / 60); ; beat++) {
        const at = (beat * 60) / bpm - start
        if (at >= clipSeconds) break
        beats.push(at)
        if (beat % 4 === 0) downbeats.push(at)
      }
      const truth: Truth = { bpm, constant: true, changes: false, beats, downbeats, key: null }
      clips.push({
        name: `lmms-${name}@${start}`,
        group: 'songs',
        half: 'tuning',
        duration: clipSeconds,
        source: { kind: 'lmms', project, start },
        truth: () => truth,
      })
    }
  }
  return clips
}

export const otherSongs = (): Clip[] => [...midiSongs(), ...lmmsSongs()]
