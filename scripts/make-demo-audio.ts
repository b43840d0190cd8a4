/**
 * Makes the tracks in `assets/demo/`: a small synthesiser (kick, snare, hat, bass, chords, arpeggio), then FFmpeg
 * for the encoding. Run by hand; its results are committed:
 *
 *     node scripts/make-demo-audio.ts
 *
 * Everything is derived from the table below and a seeded generator, so a second run makes the same samples.
 * Stored names are plain ASCII because not every checkout and archive keeps others; `manifest.json` says under which
 * name the demo puts each file into its library.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const rate = 44_100
const demoFolder = new URL('../assets/demo/', import.meta.url).pathname

type Mode = 'major' | 'minor'
type Groove = 'four' | 'broken' | 'half'

interface Piece {
  /** stored name, and the seed of its generator */
  file: string
  /** name in the demo's library; its Unicode form is given by `form` */
  as: string
  form?: 'NFD'
  artist: string
  title: string
  album: string
  tagged: boolean
  bpm: number
  tonic: string
  mode: Mode
  bars: number
  groove: Groove
  /** scale degrees of the chords' roots, one a bar, repeated */
  chords: number[]
  /** peak of the master, dB below full scale */
  peakDb: number
  encode: string[]
  channels?: 1 | 2
  rate?: number
}

const mp3 = ['-c:a', 'libmp3lame', '-b:a', '112k', '-id3v2_version', '3']
const flac = ['-c:a', 'flac', '-compression_level', '12', '-sample_fmt', 's16']
const aac = ['-c:a', 'aac', '-b:a', '112k', '-movflags', '+faststart']
const vorbis = ['-c:a', 'libvorbis', '-q:a', '3']
const opus = ['-c:a', 'libopus', '-b:a', '88k', '-vbr', 'off']

const album = 'Forty Watt Sketches'

const pieces: Piece[] = [
  {
    file: '01-first-light.mp3',
    as: 'Tape Orchard/First Light.mp3',
    artist: 'Tape Orchard',
    title: 'First Light',
    album,
    tagged: true,
    bpm: 120,
    tonic: 'C',
    mode: 'major',
    bars: 7,
    groove: 'four',
    chords: [0, 4, 5, 3],
    peakDb: 1,
    encode: mp3,
  },
  {
    file: '02-harbour-lamps.flac',
    as: 'Low Tide Club/Harbour Lamps.flac',
    artist: 'Low Tide Club',
    title: 'Harbour Lamps',
    album,
    tagged: true,
    bpm: 124,
    tonic: 'A',
    mode: 'minor',
    bars: 4,
    groove: 'four',
    chords: [0, 5, 2, 6],
    peakDb: 3,
    encode: flac,
    channels: 1,
  },
  {
    file: '03-glass-stairs.m4a',
    as: 'Mira Kessel/Glass Stairs.m4a',
    artist: 'Mira Kessel',
    title: 'Glass Stairs',
    album: 'Night Bus Tapes',
    tagged: true,
    bpm: 100,
    tonic: 'F',
    mode: 'major',
    bars: 5,
    groove: 'broken',
    chords: [0, 3, 1, 4],
    peakDb: 2,
    encode: aac,
  },
  {
    file: '04-orbit-of-nine.ogg',
    as: 'Paper Satellites/Orbit of Nine.ogg',
    artist: 'Paper Satellites',
    title: 'Orbit of Nine',
    album: 'Night Bus Tapes',
    tagged: true,
    bpm: 140,
    tonic: 'E',
    mode: 'minor',
    bars: 8,
    groove: 'four',
    chords: [0, 6, 5, 6],
    peakDb: 1,
    encode: vorbis,
  },
  {
    file: '05-relay.wav',
    as: 'Dust & Diodes/Relay.wav',
    artist: 'Dust & Diodes',
    title: 'Relay',
    album,
    tagged: true,
    bpm: 112,
    tonic: 'D',
    mode: 'minor',
    bars: 3,
    groove: 'broken',
    chords: [0, 2, 6],
    peakDb: 6,
    encode: ['-c:a', 'pcm_s16le'],
    channels: 1,
    rate: 22_050,
  },
  {
    file: '06-rain-on-the-motorway.opus',
    as: '夜行バス/雨の高速道路.opus',
    artist: '夜行バス',
    title: '雨の高速道路',
    album: '真夜中',
    tagged: true,
    bpm: 92,
    tonic: 'G',
    mode: 'minor',
    bars: 5,
    groove: 'half',
    chords: [0, 3, 5, 4],
    peakDb: 2,
    encode: opus,
  },
  {
    file: '07-moonlight.mp3',
    as: 'ليلى ناصر/ضوء القمر.mp3',
    artist: 'ليلى ناصر',
    title: 'ضوء القمر',
    album: 'سماء',
    tagged: true,
    bpm: 84,
    tonic: 'B',
    mode: 'minor',
    bars: 4,
    groove: 'half',
    chords: [0, 5, 3, 4],
    peakDb: 3,
    encode: mp3,
  },
  {
    file: '08-one-hundred-per-cent.mp3',
    as: 'Plus+Minus/100% #1 (Why Not?).mp3',
    artist: 'Plus+Minus',
    title: '100% #1 (Why Not?)',
    album,
    tagged: true,
    bpm: 128,
    tonic: 'Bb',
    mode: 'minor',
    bars: 7,
    groove: 'four',
    chords: [0, 5, 6, 4],
    peakDb: 0.5,
    encode: mp3,
  },
  {
    file: '09-deja-vu.m4a',
    as: 'Café Zoë/Déjà vu à São Tomé.m4a',
    form: 'NFD',
    artist: 'Café Zoë',
    title: 'Déjà vu à São Tomé',
    album: 'Praça',
    tagged: true,
    bpm: 105,
    tonic: 'G',
    mode: 'major',
    bars: 5,
    groove: 'broken',
    chords: [0, 1, 4, 0],
    peakDb: 4,
    encode: aac,
  },
  {
    file: '10-otter-disco.ogg',
    as: 'Neon Otter/Otter Disco 🦦✨.ogg',
    artist: 'Neon Otter',
    title: 'Otter Disco 🦦✨',
    album: 'Night Bus Tapes',
    tagged: true,
    bpm: 132,
    tonic: 'Eb',
    mode: 'major',
    bars: 7,
    groove: 'four',
    chords: [0, 5, 3, 4],
    peakDb: 1,
    encode: vorbis,
  },
  {
    // FLAC under the wrong extension: Content-Type and key come from the bytes.
    file: '11-wrong-label.flac',
    as: 'Low Tide Club/Wrong Label.mp3',
    artist: 'Low Tide Club',
    title: 'Wrong Label',
    album,
    tagged: true,
    bpm: 118,
    tonic: 'F#',
    mode: 'minor',
    bars: 3,
    groove: 'broken',
    chords: [0, 3, 6],
    peakDb: 5,
    encode: flac,
    channels: 1,
    rate: 32_000,
  },
  {
    file: '12-slow-crossing.mp3',
    as: 'Hollow Ferry/Slow Crossing.mp3',
    artist: 'Hollow Ferry',
    title: 'Slow Crossing',
    album: '',
    tagged: false,
    bpm: 76,
    tonic: 'Ab',
    mode: 'major',
    bars: 4,
    groove: 'half',
    chords: [0, 4, 5, 3],
    peakDb: 2,
    encode: mp3,
  },
  {
    file: '13-second-signal.aiff',
    as: 'Nightshift Radio/Second Signal.aiff',
    artist: 'Nightshift Radio',
    title: 'Second Signal',
    album: '',
    tagged: false,
    bpm: 126,
    tonic: 'C#',
    mode: 'minor',
    bars: 3,
    groove: 'four',
    chords: [0, 5, 6],
    peakDb: 6,
    encode: ['-c:a', 'pcm_s16be'],
    channels: 1,
    rate: 22_050,
  },
]

/** Further names for a file above: the same content twice, as in real libraries. */
const copies = [{ file: '01-first-light.mp3', as: 'Unsorted/First Light.mp3' }]

const semitone: Record<string, number> = {
  C: 0,
  'C#': 1,
  D: 2,
  Eb: 3,
  E: 4,
  F: 5,
  'F#': 6,
  G: 7,
  Ab: 8,
  A: 9,
  Bb: 10,
  B: 11,
}
const scaleSteps: Record<Mode, number[]> = { major: [0, 2, 4, 5, 7, 9, 11], minor: [0, 2, 3, 5, 7, 8, 10] }

/** mulberry32: 32 bits of state are plenty for hats. */
function generator(seed: string): () => number {
  let state = 0x9e3779b9
  for (const character of seed) state = Math.imul(state ^ character.codePointAt(0)!, 0x85ebca6b) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const hertz = (midi: number) => 440 * 2 ** ((midi - 69) / 12)
/** Naive waveforms alias; a few partials do not, and encode smaller. */
function partials(phase: number, count: number, oddOnly: boolean): number {
  let sum = 0
  for (let k = 1; k <= count; k += oddOnly ? 2 : 1) sum += Math.sin(2 * Math.PI * k * phase) / k
  return sum
}

function render(piece: Piece): { left: Float64Array; right: Float64Array } {
  const random = generator(piece.file)
  const beat = 60 / piece.bpm
  const length = Math.round((piece.bars * 4 * beat + 0.6) * rate)
  const left = new Float64Array(length)
  const right = new Float64Array(length)

  /** Adds a voice: `wave(t)` for `seconds` from `start`, `pan` -1 to 1. */
  const play = (start: number, seconds: number, pan: number, wave: (t: number) => number) => {
    const first = Math.round(start * rate)
    const count = Math.min(length - first, Math.round(seconds * rate))
    const toLeft = Math.cos(((pan + 1) * Math.PI) / 4)
    const toRight = Math.sin(((pan + 1) * Math.PI) / 4)
    for (let i = 0; i < count; i++) {
      const value = wave(i / rate)
      left[first + i]! += value * toLeft
      right[first + i]! += value * toRight
    }
  }
  const kick = (at: number) =>
    play(at, 0.3, 0, t => {
      const phase = 48 * t + (120 / 28) * (1 - Math.exp(-28 * t))
      return 1.15 * Math.sin(2 * Math.PI * phase) * Math.exp(-9 * t)
    })
  const snare = (at: number) =>
    play(at, 0.18, 0.1, t => {
      const noise = (random() * 2 - 1) * Math.exp(-26 * t)
      return 0.38 * noise + 0.35 * Math.sin(2 * Math.PI * 185 * t) * Math.exp(-22 * t)
    })
  const hat = (at: number, level: number) => {
    let previous = 0
    play(at, 0.05, -0.35, t => {
      const noise = random() * 2 - 1
      const bright = noise - previous
      previous = noise
      return level * bright * Math.exp(-70 * t)
    })
  }
  const bass = (at: number, seconds: number, midi: number) => {
    const f = hertz(midi)
    play(at, seconds, 0, t => {
      const envelope = Math.min(1, t * 200) * Math.exp(-2.2 * t) * Math.min(1, (seconds - t) * 60)
      return 0.42 * partials(f * t, 5, false) * envelope
    })
  }
  const pad = (at: number, seconds: number, midi: number, pan: number) => {
    const f = hertz(midi)
    play(at, seconds, pan, t => {
      const envelope = Math.min(1, t / 0.12) * Math.min(1, (seconds - t) / 0.2)
      return 0.075 * (partials(f * t, 4, false) + partials(f * 1.004 * t, 4, false)) * envelope
    })
  }
  const pluck = (at: number, midi: number, level: number, pan: number) => {
    const f = hertz(midi)
    play(at, 0.35, pan, t => level * partials(f * t, 7, true) * Math.exp(-11 * t) * Math.min(1, t * 400))
  }

  const tonic = semitone[piece.tonic]!
  const scale = scaleSteps[piece.mode]
  const degree = (step: number) => scale[((step % 7) + 7) % 7]! + 12 * Math.floor(step / 7)
  const order = Array.from({ length: 8 }, () => Math.floor(random() * 4))

  for (let bar = 0; bar < piece.bars; bar++) {
    const start = bar * 4 * beat
    const root = piece.chords[bar % piece.chords.length]!
    const chord = [root, root + 2, root + 4]
    for (const [voice, step] of chord.entries()) {
      pad(start, 4 * beat, 48 + ((tonic + degree(step)) % 12) + (voice === 0 ? 0 : 12), (voice - 1) * 0.6)
    }

    const bassNote = 36 + ((tonic + degree(root)) % 12)
    const bassAt = piece.groove === 'half' ? [0, 1.5, 2, 3.5] : [0, 0.5, 1.5, 2, 2.5, 3.5]
    for (const at of bassAt) bass(start + at * beat, 0.45 * beat, bassNote + (at === 3.5 ? 12 : 0))

    const kicks = { four: [0, 1, 2, 3], broken: [0, 0.75, 2, 2.5], half: [0, 2.5] }[piece.groove]
    for (const at of kicks) kick(start + at * beat)
    for (const at of piece.groove === 'half' ? [2] : [1, 3]) snare(start + at * beat)
    for (let eighth = 0; eighth < 8; eighth++) {
      hat(start + (eighth / 2) * beat, eighth % 2 === 1 ? 0.16 : 0.07)
    }

    // The arpeggio comes in with the second bar and answers itself from the other side.
    if (bar > 0) {
      for (let sixteenth = 0; sixteenth < 16; sixteenth += piece.groove === 'half' ? 2 : 1) {
        const tone = order[sixteenth % order.length]!
        const step = tone === 3 ? root + 7 : chord[tone]!
        const midi = 72 + tonic + degree(step) - (tonic > 6 ? 12 : 0)
        const at = start + (sixteenth / 4) * beat
        pluck(at, midi, 0.1, 0.4)
        pluck(at + 0.75 * beat, midi, 0.035, -0.7)
      }
    }
  }

  let peak = 0
  for (const channel of [left, right]) {
    for (let i = 0; i < length; i++) {
      channel[i] = Math.tanh(0.8 * channel[i]!)
      peak = Math.max(peak, Math.abs(channel[i]!))
    }
  }
  const gain = 10 ** (-piece.peakDb / 20) / peak
  const fade = Math.round(0.5 * rate)
  for (const channel of [left, right]) {
    for (let i = 0; i < length; i++) channel[i]! *= gain * Math.min(1, (length - i) / fade)
  }
  return { left, right }
}

/** Interleaved 16-bit little-endian samples. */
function samples({ left, right }: { left: Float64Array; right: Float64Array }): Buffer {
  const bytes = Buffer.alloc(left.length * 4)
  for (let i = 0; i < left.length; i++) {
    bytes.writeInt16LE(Math.round(left[i]! * 32_767), i * 4)
    bytes.writeInt16LE(Math.round(right[i]! * 32_767), i * 4 + 2)
  }
  return bytes
}

function tags(piece: Piece): string[] {
  if (!piece.tagged) return []
  const fields: Record<string, string> = {
    title: piece.title,
    artist: piece.artist,
    album: piece.album,
    genre: 'Electronic',
    date: '2026',
  }
  if (piece.file.endsWith('.mp3')) fields['TBPM'] = String(piece.bpm)
  if (/\.(flac|ogg|opus)$/.test(piece.file)) fields['BPM'] = String(piece.bpm)
  return Object.entries(fields).flatMap(([name, value]) => ['-metadata', `${name}=${value}`])
}

mkdirSync(demoFolder, { recursive: true })
const work = mkdtempSync(join(tmpdir(), 'autodj-demo-audio-'))
let total = 0
try {
  for (const piece of pieces) {
    const raw = join(work, 'samples.raw')
    writeFileSync(raw, samples(render(piece)))
    const target = join(demoFolder, piece.file)
    execFileSync('ffmpeg', [
      '-v',
      'error',
      '-y',
      '-f',
      's16le',
      '-ar',
      String(rate),
      '-ac',
      '2',
      '-i',
      raw,
      '-map_metadata',
      '-1',
      '-fflags',
      '+bitexact',
      '-flags:a',
      '+bitexact',
      '-ac',
      String(piece.channels ?? 2),
      '-ar',
      String(piece.rate ?? (piece.encode === opus ? 48_000 : rate)),
      ...tags(piece),
      ...piece.encode,
      target,
    ])
    const { size } = statSync(target)
    total += size
    console.log(`${String(size).padStart(8)}  ${piece.file}`)
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
console.log(`${String(total).padStart(8)}  in all`)

const manifest = [
  ...pieces.map(({ file, as, form, artist, title, tagged, bpm, tonic, mode }) => ({
    file,
    as,
    ...(form && { form }),
    artist,
    title,
    tagged,
    bpm,
    key: `${tonic} ${mode}`,
  })),
  ...copies,
]
writeFileSync(join(demoFolder, 'manifest.json'), `${JSON.stringify({ files: manifest }, undefined, 2)}\n`)
