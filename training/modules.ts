/**
 * Tracker modules of Debian packages of free games, for tuning alone (tune.ts): music by others, with samples of theirs,
 * whose beats are known, as it is written in rows of which four make a beat. Electronic dance music above all, whose
 * bass lies between the beats: heard from rendered MIDI files alone, such songs were counted half a beat off.
 *
 * All of Debian's main section. Files of the packages black-box, ceferino-data, circuslinux-data, criticalmass-data,
 * fb-music-high, freedroid-data, gltron, gweled, heroes-sound-tracks, madbomber-data, njam-data, open-invaders-data,
 * penguin-command, pingus-data, powermanga-data, ri-li-data, tecnoballz-data, tomatoes-data, vectoroids (GPL of some
 * version), rafkill-data, solarwolf (LGPL) and monsterz-data (public domain). What is not installed is left out.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clip } from '../bench/audio/clips.ts'
import { clipSeconds, type Truth } from './compose.ts'

const folders = [
  '/usr/share/black-box/sound',
  '/usr/share/games/ceferino/music',
  '/usr/share/games/circuslinux/data/music',
  '/usr/share/games/criticalmass',
  '/usr/share/games/freedroid/sound',
  '/usr/share/games/frozen-bubble/snd',
  '/usr/share/games/gltron/music',
  '/usr/share/games/heroes/mod',
  '/usr/share/games/madbomber/music',
  '/usr/share/games/monsterz/sound',
  '/usr/share/games/njam/data',
  '/usr/share/games/penguin-command/sound',
  '/usr/share/games/pingus/data/music',
  '/usr/share/games/powermanga/sounds',
  '/usr/share/games/rafkill',
  '/usr/share/games/ri-li/Ri-li/Sounds',
  '/usr/share/games/solarwolf/data/music',
  '/usr/share/games/tecnoballz/musics',
  '/usr/share/games/vectoroids/music',
  '/usr/share/open-invaders',
  '/usr/share/sounds/gweled',
  '/usr/share/tomatoes/music',
]

/** Where passages begin, seconds. */
const starts = [4, 38, 72]

/** Whether it is one of the four formats, by their signatures. */
function isModule(file: Buffer): boolean {
  const at = (from: number, to: number): string => file.toString('latin1', from, to)
  return (
    at(0, 4) === 'IMPM' ||
    at(0, 17) === 'Extended Module: ' ||
    at(44, 48) === 'SCRM' ||
    /^(M\.K\.|M!K!|FLT[48]|[468]CHN)$/.test(at(1080, 1084))
  )
}

interface Row {
  readonly time: number
  /** In its pattern. */
  readonly index: number
  readonly ofPattern: number
}

/**
 * Beats of a passage, of four rows each; of eight, where four would be more than 205 a minute.
 * @param text as module-rows.c writes it.
 * @throws Error where rows are of no one length, or patterns no bars in four.
 */
function truthOf(text: string, start: number): Truth {
  const rows = text
    .trim()
    .split('\n')
    .map((line): Row => {
      const [time, index, ofPattern] = line.split(' ').map(Number) as [number, number, number]
      return { time, index, ofPattern }
    })
  const gaps = rows.slice(1).map(({ time }, i) => time - rows[i]!.time)
  const row = gaps.toSorted((a, b) => a - b)[gaps.length >> 1] ?? 0
  const even = gaps.filter(gap => Math.abs(gap / row - 1) < 0.1).length
  if (!(even > 0.95 * gaps.length)) throw new Error('its rows are of several lengths')
  const perBeat = 60 / (4 * row) > 205 ? 8 : 4
  const bpm = 60 / (perBeat * row)
  if (bpm < 60) throw new Error('its rows are too long for quarters of a beat')
  if (rows.some(({ ofPattern }) => ofPattern % 16 !== 0)) throw new Error('its patterns are no bars in four')
  const within = rows.filter(({ time }) => time >= start && time < start + clipSeconds)
  const every = (count: number): number[] =>
    within.filter(({ index }) => index % count === 0).map(({ time }) => time - start)
  return {
    bpm,
    constant: even === gaps.length,
    changes: false,
    beats: every(perBeat),
    downbeats: every(4 * perBeat),
    key: null,
  }
}

export function moduleSongs(): Clip[] {
  return folders
    .flatMap(folder =>
      existsSync(folder)
        ? readdirSync(folder, { recursive: true, withFileTypes: true })
            .filter(entry => entry.isFile())
            .map(entry => join(entry.parentPath, entry.name))
        : [],
    )
    .sort()
    .filter(path => isModule(readFileSync(path)))
    .flatMap(path =>
      starts.map(
        (start): Clip => ({
          name: `module-${path.slice('/usr/share/'.length).toLowerCase().replaceAll(/\W+/g, '_')}@${start}`,
          group: 'songs',
          half: 'tuning',
          duration: clipSeconds,
          source: { kind: 'module', file: path, start },
          truth: rows => truthOf(rows.toString('utf8'), start),
        }),
      ),
    )
}
