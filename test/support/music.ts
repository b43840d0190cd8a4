/** Sounds made up for the tests: nothing recorded, nothing licensed. */

const names = ['C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B']

export interface MusicOptions {
  readonly sampleRate?: number
  readonly seconds: number
  readonly bpm: number
  /** Root and quality of the chord of each bar of four beats, as in `Am` or `F`. */
  readonly chords: readonly string[]
  /** Seconds before the first beat. */
  readonly start?: number
}

/** Kick on the beat, snare on two and four, hats on the eighths, a bass and a triad: mono, peak about 0.8. */
export function music({ sampleRate = 44_100, seconds, bpm, chords, start = 0 }: MusicOptions): Float32Array {
  const out = new Float32Array(Math.round(seconds * sampleRate))
  const beat = 60 / bpm
  let noise = 12345
  const random = (): number => {
    noise = (Math.imul(noise, 1103515245) + 12345) >>> 0
    return noise / 2 ** 31 - 1
  }
  const add = (at: number, length: number, sound: (t: number) => number): void => {
    const from = Math.round(at * sampleRate)
    const to = Math.min(out.length, from + Math.round(length * sampleRate))
    for (let i = Math.max(0, from); i < to; i++) out[i]! += sound((i - from) / sampleRate)
  }
  for (let n = 0; start + n * beat < seconds; n++) {
    const at = start + n * beat
    add(
      at,
      0.15,
      t => 0.4 * Math.exp(-t * 25) * Math.sin(2 * Math.PI * (50 * t + 8 * (1 - Math.exp(-t * 40)))),
    )
    if (n % 2 === 1) add(at, 0.12, t => 0.2 * Math.exp(-t * 30) * random())
    for (const half of [0, 0.5]) add(at + half * beat, 0.03, t => 0.06 * Math.exp(-t * 120) * random())
    if (n % 4 !== 0) continue
    const chord = chords[(n / 4) % chords.length]!
    const minor = chord.endsWith('m')
    const root = names.indexOf(chord.replace('m', ''))
    for (const [semitones, gain] of [
      [root - 24, 0.12],
      [root, 0.06],
      [root + (minor ? 3 : 4), 0.06],
      [root + 7, 0.06],
    ] as const)
      for (const [partial, share] of [
        [1, 1],
        [2, 0.4],
        [3, 0.2],
      ] as const) {
        const hz = 261.6256 * 2 ** (semitones / 12) * partial
        add(
          at,
          4 * beat,
          t => gain * share * Math.min(1, t * 100) * Math.exp(-t * 0.6) * Math.sin(2 * Math.PI * hz * t),
        )
      }
  }
  return out
}

export interface Tone {
  readonly hz: number
  readonly seconds: number
  /** dBFS of the peak. */
  readonly level: number
  readonly phase?: number
}

/** Sines one after another. */
export function tones(sampleRate: number, parts: readonly Tone[]): Float32Array {
  const length = parts.reduce((sum, { seconds }) => sum + Math.round(seconds * sampleRate), 0)
  const out = new Float32Array(length)
  let at = 0
  for (const { hz, seconds, level, phase = 0 } of parts) {
    const count = Math.round(seconds * sampleRate)
    const gain = 10 ** (level / 20)
    for (let i = 0; i < count; i++) out[at + i] = gain * Math.sin((2 * Math.PI * hz * i) / sampleRate + phase)
    at += count
  }
  return out
}

/** A WAVE file of float or 16-bit samples. */
export function wavFile(channels: readonly Float32Array[], sampleRate: number, bits: 16 | 32 = 16): Buffer {
  const count = channels.length
  const length = channels[0]!.length
  const width = bits / 8
  const file = Buffer.alloc(44 + width * count * length)
  file.write('RIFF', 0)
  file.writeUInt32LE(file.length - 8, 4)
  file.write('WAVEfmt ', 8)
  file.writeUInt32LE(16, 16)
  file.writeUInt16LE(bits === 32 ? 3 : 1, 20)
  file.writeUInt16LE(count, 22)
  file.writeUInt32LE(sampleRate, 24)
  file.writeUInt32LE(width * count * sampleRate, 28)
  file.writeUInt16LE(width * count, 32)
  file.writeUInt16LE(bits, 34)
  file.write('data', 36)
  file.writeUInt32LE(width * count * length, 40)
  for (let i = 0; i < length; i++)
    for (let c = 0; c < count; c++) {
      const at = 44 + width * (i * count + c)
      const value = channels[c]![i]!
      if (bits === 32) file.writeFloatLE(value, at)
      else file.writeInt16LE(Math.max(-32768, Math.min(32767, Math.round(value * 32767))), at)
    }
  return file
}
