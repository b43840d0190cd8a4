import type { Random } from '../bench/audio/random.ts'

export const pitches = ['C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B'] as const

export interface Chord {
  /** Semitones above the tonic. */
  readonly root: number
  /** Semitones above the root. */
  readonly tones: readonly number[]
  /** What MMA calls it. */
  readonly suffix: string
}

const quality: Record<string, { tones: number[]; suffix: string }> = {
  M: { tones: [0, 4, 7], suffix: '' },
  m: { tones: [0, 3, 7], suffix: 'm' },
  M7: { tones: [0, 4, 7, 11], suffix: 'M7' },
  m7: { tones: [0, 3, 7, 10], suffix: 'm7' },
  '7': { tones: [0, 4, 7, 10], suffix: '7' },
  d: { tones: [0, 3, 6], suffix: 'dim' },
  h: { tones: [0, 3, 6, 10], suffix: 'm7b5' },
  s: { tones: [0, 5, 7], suffix: 'sus4' },
  '5': { tones: [0, 7], suffix: '5' },
}

/** Progressions, one chord a bar: semitones above the tonic and a quality. Common ones of each style. */
const progressions: Record<'major' | 'minor', Record<string, readonly string[]>> = {
  major: {
    pop: [
      '0M 7M 9m 5M',
      '0M 9m 5M 7M',
      '0M 5M 7M 5M',
      '0M 5M 9m 7M',
      '9m 5M 0M 7M',
      '0M 4m 5M 7M',
      '5M 7M 9m 0M',
      '0M 10M 5M 0M',
      '0M 2m 5M 0M',
      '0M 0M 5M 7M',
      '0M 7M 2m 5M',
      '0M 5M 5m 0M',
      '0M 2M 5M 0M',
    ],
    jazz: [
      '2m7 77 0M7 9m7',
      '0M7 97 2m7 77',
      '0M7 5M7 4m7 97 2m7 77 0M7 0M7',
      '0M7 1d 2m7 77',
      '4m7 97 2m7 77 0M7 5M7 2m7 77',
      '0M7 0M7 2m7 77',
      '5M7 107 0M7 97 2m7 77 0M7 0M7',
    ],
    blues: ['07 07 07 07 57 57 07 07 77 57 07 77', '07 57 07 07 57 57 07 97 2m7 77 07 77'],
    dance: ['0M 0M 9m 5M', '5M 7M 9m 0M', '0M 0M 0M 10M', '0M 7M 5M 5M'],
  },
  minor: {
    pop: [
      '0m 8M 3M 10M',
      '0m 10M 8M 10M',
      '0m 5m 8M 7M',
      '0m 3M 10M 5m',
      '0m 8M 5m 7M',
      '0m 10M 8M 7M',
      '0m 0m 5m 7m',
      '8M 10M 0m 0m',
      '0m 3M 5m 7M',
    ],
    jazz: ['2h 77 0m7 0m7', '0m7 5m7 2h 77', '0m7 5m7 107 3M7 8M7 2h 77 0m7', '0m7 0m7 5m7 77'],
    blues: ['0m7 0m7 0m7 0m7 5m7 5m7 0m7 0m7 87 77 0m7 77', '0m7 5m7 0m7 0m7 5m7 5m7 0m7 0m7 77 5m7 0m7 77'],
    dance: [
      '0m 0m 8M 10M',
      '0m 0m 0m 0m',
      '0m 3M 8M 10M',
      '8M 10M 0m 7m',
      '0m 10M 0m 8M',
      '0m7 0m7 5m7 5m7',
      '0m 0m 3M 10M',
    ],
  },
}

const parse = (text: string): Chord => {
  const [, root, kind] = /^(\d+?)(M7|m7|M|m|7|d|h|s|5)$/.exec(text) ?? []
  const { tones, suffix } = quality[kind ?? '']!
  return { root: Number(root), tones, suffix }
}

export type Style = 'pop' | 'jazz' | 'blues' | 'dance'

export function chooseProgression(random: Random, mode: 'major' | 'minor', style: Style): Chord[] {
  return random.pick(progressions[mode][style]!).split(' ').map(parse)
}

export const scales = {
  major: [0, 2, 4, 5, 7, 9, 11],
  minor: [0, 2, 3, 5, 7, 8, 10],
} as const
