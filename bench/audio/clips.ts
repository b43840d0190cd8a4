/**
 * The clips of the audio bench and what is true of each. Three kinds:
 * `own` written here, one function per genre; `mma`, the grooves of Musical MIDI Accompaniment (rhythm patterns
 * by its authors, chords by us); `msx` and `fof`, music by others with tempo maps of theirs (openttd-openmsx and
 * the songs of Frets on Fire). The half a clip belongs to follows from the hash of its name alone.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { clipSeconds, compose, type Flow, medianTempo, type Truth } from '../../training/compose.ts'
import { type Kit, kits } from '../../training/genres.ts'
import { chooseProgression, pitches } from '../../training/harmony.ts'
import { inventKit } from '../../training/invent.ts'
import { readMidi } from '../../training/midi.ts'
import { practiceKits } from '../../training/practice.ts'
import { hashOf, type Random, randomFrom, sampleBy } from './random.ts'

/** Where a clip's sound comes from; `start` in seconds, 0 where there is none. */
type Source =
  | { readonly kind: 'midi'; readonly midi: Buffer; readonly start?: number }
  | { readonly kind: 'mma'; readonly chart: string }
  | { readonly kind: 'audio'; readonly files: readonly string[]; readonly start: number }
  | { readonly kind: 'lmms'; readonly project: string; readonly start: number }
  | { readonly kind: 'module'; readonly file: string; readonly start: number }

export interface Clip {
  readonly name: string
  readonly group: 'own' | 'mma' | 'msx' | 'fof' | 'songs'
  readonly half: 'tuning' | 'reporting'
  /** Seconds kept. */
  readonly duration: number
  readonly source: Source
  /** Computed once the MIDI file is known (MMA writes its own); of a module, when its rows begin. */
  readonly truth: (midi: Buffer) => Truth
}

/**
 * Even hashes tune, odd ones report; what shares an origin (a groove file, a song) shares a half, so that the
 * second half is new to whatever was learned on the first.
 */
const halfOf = (origin: string): Clip['half'] => (hashOf(`half:${origin}`) % 2 === 0 ? 'tuning' : 'reporting')

/** How many bars a chord lasts: one in the bench; music has it otherwise, too, and nothing may rely on it. */
function chordLength(name: string, varied: boolean): number {
  return varied ? randomFrom(hashOf(`chords:${name}`)).pick([0.5, 0.5, 1, 1, 2, 2, 4]) : 1
}

interface OwnOptions {
  readonly half?: Clip['half']
  readonly genres?: Record<string, Kit>
  /** From this number on chords are of other lengths than a bar, too. */
  readonly variedFrom?: number
}

interface Written {
  readonly name: string
  readonly half: Clip['half']
  readonly kit: Kit
  /** Which key of the round. */
  readonly deal: number
  readonly random: Random
  readonly flowOf: () => Flow
  /** Whether chords may be of other lengths than a bar. */
  readonly varied: boolean
  /** Seconds. */
  readonly duration?: number
}

function ownClip({ name, half, kit, deal, random, flowOf, varied, duration = clipSeconds }: Written): Clip {
  const mode = random.next() < kit.minor ? 'minor' : 'major'
  const { midi, truth } = compose(
    kit,
    (deal * 7) % 12,
    mode,
    flowOf(),
    random,
    chordLength(name, varied),
    duration,
  )
  return {
    name,
    group: 'own',
    half,
    duration,
    source: { kind: 'midi', midi },
    truth: () => truth,
  }
}

/** Clips of each genre, keys dealt out so that all 24 occur; one in eight drifts, one in sixteen changes. */
function ownClips(
  from: number,
  to: number,
  { half, genres = kits, variedFrom = Number.POSITIVE_INFINITY }: OwnOptions = {},
): Clip[] {
  const clips: Clip[] = []
  let deal = from
  for (const [genre, kit] of Object.entries(genres))
    for (let n = from; n < to; n++) {
      const name = `own-${genre}-${n}`
      const random = randomFrom(hashOf(name))
      const flowOf = (): Flow => {
        const chance = random.next()
        return chance < 0.06 ? 'step' : chance < 0.18 && kit.live ? 'drift' : 'constant'
      }
      clips.push(
        ownClip({ name, half: half ?? halfOf(name), kit, deal, random, flowOf, varied: n >= variedFrom }),
      )
      deal++
    }
  return clips
}

/** Tempo range, in beats, that music of a groove's name is played at; first match wins. */
const grooveTempi: readonly (readonly [RegExp, number, number])[] = [
  [/vienese/, 160, 198],
  [/^(arpeggiowaltz)/, 100, 150],
  [/fast.*waltz/, 150, 195],
  [/waltz|34$/, 84, 165],
  [/68|blues68/, 60, 84],
  [/jazz-54/, 120, 175],
  [/dnb/, 165, 178],
  [/punk|fasttwist|thr$/, 160, 198],
  [/ballad|serenade|lullaby|hymn|bald|spiritual|oldie/, 60, 84],
  [/slow/, 60, 88],
  [/quickstep|fastbigband|fastswing|bebop/, 180, 200],
  [/bluegrass|dixie|charleston|jive|gypsy|zydeco/, 120, 190],
  [/mambo|salsa|son$|afro/, 150, 200],
  [/swing|bigband|jazz|basie|trio/, 105, 190],
  [/house|trance|techno|dance|rave/, 118, 145],
  [/hip-?hop|r\+b|rb$|rnb|trip|16shuffle/, 72, 100],
  [/reggae/, 66, 88],
  [/march|polka|foxtrot/, 104, 132],
  [/bossa|beguine|rhumba/, 100, 140],
  [/cha|tango|bolero/, 90, 128],
  [/samba/, 92, 116],
  [/ska|ragtime|boggie|boogie|twist/, 120, 170],
  [/16beat|fus/, 78, 112],
  [/funk|soul|motown|disco|boneym/, 96, 124],
  [/ambient|desert|mellow/, 66, 100],
  [/metal|mtl|hrk/, 100, 160],
  [/shuffle|blues/, 84, 136],
  [/rock|8beat|beat8|twi/, 100, 150],
  [/./, 88, 136],
]

const mmaLibrary = '/usr/share/mma/lib'
/** Not music, or a bar that MMA counts otherwise than it sounds. */
const notMusic = /metronome|none|68march|ballad68|^68ballad|intro|ending|count|mide|cresc|jazz-54x|quando/

/** A clip of each groove file; further variants have other chords, keys, tempi and grooves of the same file. */
function mmaClips(variant = 0, varied = false, duration = clipSeconds): Clip[] {
  const clips: Clip[] = []
  if (!existsSync(mmaLibrary)) return clips
  let deal = variant
  for (const folder of ['alexis', 'casio', 'kara', 'stdlib', 'yamaha', 'zoom'])
    for (const file of readdirSync(join(mmaLibrary, folder)).sort()) {
      if (!file.endsWith('.mma') || notMusic.test(file)) continue
      const style = file.slice(0, -4)
      const text = readFileSync(join(mmaLibrary, folder, file), 'latin1')
      const grooves = [...text.matchAll(/^\s*DefGroove\s+(\S+)/gim)].map(match => match[1]!)
      // Quarters in a bar, whatever is written below them: MMA takes 6/8 for 6, its beats on 1 and 4.
      const bar = Number(/^\s*Time\s+(\d+)(?:\/\d+)?\s*(?:\/\/.*)?$/im.exec(text)?.[1] ?? 4)
      const origin = `mma-${folder}-${style}`
      const name = variant === 0 ? origin : `${origin}~${variant}`
      const random = randomFrom(hashOf(name))
      const plain = grooves.filter(groove => !/intro|end|fill|break/i.test(groove))
      const groove = plain[Math.floor(random.next() * Math.min(variant === 0 ? 3 : 20, plain.length))]
      if (groove === undefined) continue
      const perBeat = bar % 6 === 0 ? 3 : 1
      const [, low, high] = grooveTempi.find(([pattern]) => pattern.test(style))!
      const bpm = Math.round(random.between(low, high) * (random.next() < 0.5 ? 1 : 10)) / 1
      const beatTempo = bpm > 300 ? bpm / 10 : bpm
      const tonic = (deal * 5) % 12
      deal++
      const jazzy = /jazz|swing|bossa|bigband|latin|broadway/.test(style)
      const mode = random.next() < 0.42 ? 'minor' : 'major'
      const chords = chooseProgression(
        random,
        mode,
        /blues|bog|boo/.test(style) ? 'blues' : jazzy ? 'jazz' : 'pop',
      )
      const bars = Math.ceil((duration * beatTempo * perBeat) / 60 / bar) + 2
      const flats = ['C', 'C#', 'D', 'Eb', 'E', 'F', 'F#', 'G', 'Ab', 'A', 'Bb', 'B']
      const lines = [`Tempo ${beatTempo * perBeat}`, `Groove ${folder}/${file.slice(0, -4)}:${groove}`]
      const length = chordLength(name, varied)
      const chordAt = (bar: number): string => {
        const { root, suffix } = chords[Math.floor(bar / length) % chords.length]!
        return `${flats[(tonic + root) % 12]}${suffix}`
      }
      for (let n = 0; n < bars; n++)
        // A slash holds the chord for another beat.
        lines.push(`${n + 1} ${chordAt(n)}${length < 1 && bar === 4 ? ` / ${chordAt(n + 0.5)} /` : ''}`)
      clips.push({
        name,
        group: 'mma',
        half: halfOf(origin),
        duration,
        source: { kind: 'mma', chart: `${lines.join('\n')}\n` },
        truth: midi => ({
          ...gridTruth(midi, perBeat, bar, 0, duration),
          key: pitches[tonic] + (mode === 'minor' ? 'm' : ''),
        }),
      })
    }
  return clips
}

/** Beats of a MIDI file's own tempo and metre maps, every `perBeat` quarters, from `start` seconds. */
export function gridTruth(
  midi: Buffer,
  perBeat: number,
  bar: number | null,
  start: number,
  duration = clipSeconds,
): Truth {
  const maps = readMidi(midi)
  const beats: number[] = []
  const downbeats: number[] = []
  let metre = 0
  let sinceMetre = 0
  for (let quarter = 0; ; quarter += perBeat) {
    const at = maps.seconds(quarter) - start
    if (at >= duration || quarter > maps.end) break
    while (metre + 1 < maps.metres.length && maps.metres[metre + 1]!.at <= quarter + 1e-6) {
      metre++
      sinceMetre = maps.metres[metre]!.at
    }
    const { numerator, denominator } = maps.metres[metre]!
    const inBar = bar ?? (numerator * 4) / denominator
    if (at >= 0) {
      beats.push(at)
      if (Math.abs((quarter - sinceMetre) % inBar) < 1e-6) downbeats.push(at)
    }
  }
  const gaps = beats.slice(1).map((at, i) => at - beats[i]!)
  const bpm = medianTempo(beats)
  const spread = Math.max(...gaps) / Math.min(...gaps)
  return { bpm, constant: spread < 1.001, changes: spread > 1.1, beats, downbeats, key: null }
}

const msxFolder = '/usr/share/games/openttd/baseset/openmsx'

function msxClips(): Clip[] {
  if (!existsSync(msxFolder)) return []
  const clips: Clip[] = []
  for (const file of readdirSync(msxFolder).sort()) {
    if (!file.endsWith('.mid')) continue
    const midi = readFileSync(join(msxFolder, file))
    const maps = readMidi(midi)
    // Without a metre other than the default or a drum part nothing says that its author meant the tempo map.
    if (!maps.hasDrums || maps.seconds(maps.end) < 30) continue
    const name = `msx-${file.slice(0, -4)}`
    clips.push({
      name,
      group: 'msx',
      half: halfOf(name),
      duration: clipSeconds,
      source: { kind: 'midi', midi },
      truth: m => gridTruth(m, 1, null, 0),
    })
  }
  return clips
}

const fofFolder = '/usr/share/games/fretsonfire/data/songs'

/** Two passages of each song: people playing to a click, mapped by hand. */
function fofClips(): Clip[] {
  if (!existsSync(fofFolder)) return []
  const clips: Clip[] = []
  for (const album of ['muldjord', 'sectoid']) {
    const folder = join(fofFolder, album)
    if (!existsSync(folder)) continue
    for (const song of readdirSync(folder, { withFileTypes: true })) {
      if (!song.isDirectory()) continue
      const path = join(folder, song.name)
      const origin = `fof-${song.name.replaceAll(/\W+/g, '_')}`
      for (const start of [20, 80])
        clips.push({
          name: `${origin}-${start}`,
          group: 'fof',
          half: halfOf(origin),
          duration: clipSeconds,
          source: { kind: 'audio', files: [join(path, 'song.ogg'), join(path, 'guitar.ogg')], start },
          truth: () => gridTruth(readFileSync(join(path, 'notes.mid')), 1, null, start),
        })
    }
  }
  return clips
}

/** Every clip, in a fixed order. */
export function allClips(): Clip[] {
  return [...ownClips(0, 6), ...mmaClips(), ...msxClips(), ...fofClips()]
}

/** Clips of grooves drawn at random (invent.ts), each an origin of its own. */
function inventedClips(count: number): Clip[] {
  return Array.from({ length: count }, (_, deal) => {
    const name = `invented-${deal}`
    const random = randomFrom(hashOf(name))
    const kit = inventKit(random)
    const flowOf = (): Flow => (kit.live && random.next() < 0.15 ? 'drift' : 'constant')
    return ownClip({ name, half: 'tuning', kit, deal, random, flowOf, varied: true })
  })
}

/**
 * More to learn from, for tune.ts alone: other clips of the genres written here, genres of practice.ts, grooves of
 * invent.ts, and other clips of the groove files that are in the tuning half. None of them is ever reported on.
 */
export function extraTuningClips(): Clip[] {
  const half = 'tuning'
  const grooves = [...[1, 2, 3].flatMap(variant => mmaClips(variant)), ...mmaClips(4, true)]
  return [
    ...ownClips(6, 18, { half, variedFrom: 15 }),
    ...ownClips(0, 10, { half, genres: practiceKits, variedFrom: 0 }),
    ...grooves.filter(clip => clip.half === half),
    ...inventedClips(250),
  ]
}

/**
 * A second set to report on, of seeds that neither the bench nor tuning has, and of the groove files of the reporting
 * half: no figure of it was known before the analysis was final. Chords of other lengths than a bar.
 */
export function freshClips(): Clip[] {
  const half = 'reporting'
  const grooves = mmaClips(40, true).filter(clip => clip.half === half)
  return [...ownClips(40, 47, { half, variedFrom: 0 }), ...grooves]
}

/** Seconds of a long clip. */
const long = 150

/**
 * Longer clips of constant tempo, for what only whole songs show (changes.ts): of seeds that neither the bench nor
 * tuning has, and whole songs of the groove files and of the two collections, by halves as everywhere.
 */
export function longClips(half: Clip['half']): Clip[] {
  const seed = half === 'reporting' ? 60 : 70
  const own = Object.entries(kits).map(([genre, kit], deal) => {
    const name = `long-own-${genre}-${seed}`
    const random = randomFrom(hashOf(name))
    return ownClip({
      name,
      half,
      kit,
      deal,
      random,
      flowOf: () => 'constant',
      varied: true,
      duration: long,
    })
  })
  const grooves = mmaClips(seed, true, long).map(clip => ({ ...clip, name: `long-${clip.name}` }))
  const songs = [...msxClips(), ...fofClips()].filter(
    ({ source }) => !('start' in source) || source.start === 20,
  )
  const whole = songs.map(clip => ({
    ...clip,
    name: `long-${clip.name}`,
    duration: long,
    truth: (midi: Buffer) =>
      clip.source.kind === 'audio'
        ? gridTruth(readFileSync(join(clip.source.files[0]!, '..', 'notes.mid')), 1, null, 20, long)
        : gridTruth(midi, 1, null, 0, long),
  }))
  return [
    ...own,
    ...sampleBy(
      grooves.filter(clip => clip.half === half),
      ({ name }) => name,
      30,
    ),
    ...whole.filter(clip => clip.half === half),
  ]
}

/** Music of free games, as its composers rendered it: nothing is known of it, and nothing was learned from it. */
const gameSongs = [
  '/usr/share/games/singularity/music', // singularity-music
  '/usr/share/games/warzone2100/music', // warzone2100-music
  '/usr/share/games/xmoto/Textures/Musics', // xmoto-data
  '/usr/share/hyperrogue/music', // hyperrogue-music
]

/** A minute of each song from the packages in SONGS that are installed. */
export function songClips(): Clip[] {
  return gameSongs
    .flatMap(folder =>
      existsSync(folder)
        ? readdirSync(folder, { recursive: true, encoding: 'utf8' })
            .filter(file => /\.(ogg|opus|mp3)$/.test(file))
            .sort()
            .map(file => join(folder, file))
        : [],
    )
    .map(file => ({
      name: `song-${file.split('/').slice(-2).join('-').replaceAll(/\W+/g, '_')}`,
      group: 'songs',
      half: 'reporting',
      duration: 60,
      source: { kind: 'audio', files: [file], start: 5 },
      truth: (): Truth => ({ bpm: 0, constant: false, changes: false, beats: [], downbeats: [], key: null }),
    }))
}
