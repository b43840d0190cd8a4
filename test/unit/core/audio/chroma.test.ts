import { describe, expect, it } from 'vitest'
import { tonality } from '../../../../src/core/audio/chroma.ts'
import { lowestPitch, type PitchRows, pitchBins, pitchCount } from '../../../../src/core/audio/frontend.ts'
import { estimateKey, keysOverTime } from '../../../../src/core/audio/key.ts'
import { keyTemplates } from '../../../../src/core/audio/key-weights.ts'

const rate = 5

/** Rows of a pitch spectrogram in which chords (MIDI notes) sound, so many rows each. */
function rowsOf(chords: readonly (readonly number[])[], each: number): PitchRows {
  return {
    count: chords.length * each,
    read: (index, row) => {
      row.fill(0)
      for (const note of chords[Math.floor(index / each)]!) {
        const pitch = note - lowestPitch
        if (pitch >= 0 && pitch < pitchCount) row[pitch * pitchBins + Math.floor(pitchBins / 2)] = 0.1
      }
    },
  }
}

/** I vi IV V in A, the bass about the place where it goes over into treble, and as low as it gets. */
const song = [
  [33, 45, 57, 61, 64],
  [42, 54, 57, 61, 66],
  [38, 50, 57, 62, 66],
  [40, 52, 56, 59, 64],
]

const raised = (by: number) => song.map(chord => chord.map(note => note + by))

describe('tonality', () => {
  it.each([-5, -3, -2, -1, 1, 2, 3, 5])(
    'of a song raised by %i semitones is the same, as many further',
    by => {
      const before = tonality({ pitches: rowsOf(song, 10), pitchRate: rate })
      const after = tonality({ pitches: rowsOf(raised(by), 10), pitchRate: rate })
      for (const part of ['bass', 'treble'] as const) {
        let apart = 0
        for (let c = 0; c < 12; c++) apart += Math.abs(before[part][c]! - after[part][(c + by + 12) % 12]!)
        // Where a note falls out of one part into the other, or out of hearing, it takes all that it has along: 0.4 and more.
        expect(apart / Math.abs(by)).toBeLessThan(0.12)
      }
      expect(estimateKey(before, keyTemplates)?.key).toBe('A')
      const names = ['C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B']
      expect(estimateKey(after, keyTemplates)?.key).toBe(names[(9 + by + 12) % 12])
    },
  )
  it.each([
    [0.09, 0.1],
    [0.1, 0.3],
    [0.11, 0.1],
  ])(
    'shares the time between two triads that are about as likely (F# of %f beside E of 0.1)',
    (strength, least) => {
      // A, C#, E and F# are A major with a sixth and F# minor with a seventh.
      const both: PitchRows = {
        count: 80,
        read: (_, row) => {
          row.fill(0)
          const put = (note: number, value: number): void => {
            row[(note - lowestPitch) * pitchBins + Math.floor(pitchBins / 2)] = value
          }
          for (const note of [57, 61, 64]) put(note, 0.1)
          put(66, strength)
        },
      }
      const { triads, moves } = tonality({ pitches: both, pitchRate: rate })
      const [major, minor] = [triads[9]!, triads[12 + 6]!]
      expect(major + minor).toBeGreaterThan(0.95)
      expect(Math.min(major, minor)).toBeGreaterThan(least)
      expect(moves.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 3)
    },
  )
  it('is the same between two tunings that differ by a little', () => {
    const tuned = (bin: number, share: number): PitchRows => ({
      count: 40,
      read: (index, row) => {
        row.fill(0)
        for (const note of song[Math.floor(index / 10)]!) {
          const at = (note - lowestPitch) * pitchBins + bin
          row[at] = 0.1 * (1 - share)
          row[at + 1] = 0.1 * share
        }
      },
    })
    // Half a bin sharp, and a hair less and more: where a rounded tuning would move by a whole bin.
    const [less, more] = [0.49, 0.51].map(share => tonality({ pitches: tuned(2, share), pitchRate: rate }))
    expect(less!.tuning).toBeCloseTo(0.1, 1)
    for (const part of ['bass', 'treble', 'triads'] as const)
      for (const [i, value] of less![part].entries()) expect(value).toBeCloseTo(more![part][i]!, 2)
  })
  it('between two times is that of what sounds there', () => {
    // Eight seconds each time: every key of a quarter of a minute has heard the whole progression.
    const eightTimes = (chords: typeof song) => Array.from({ length: 8 }, () => chords).flat()
    const both = tonality({
      pitches: rowsOf([...eightTimes(song), ...eightTimes(raised(3))], 10),
      pitchRate: rate,
    })
    const seconds = (8 * 4 * 10) / rate
    expect(estimateKey(both.between(0, seconds), keyTemplates)?.key).toBe('A')
    expect(estimateKey(both.between(seconds, 2 * seconds), keyTemplates)?.key).toBe('C')
    const keys = keysOverTime(both, keyTemplates, 2 * seconds)
    expect(keys.map(({ key }) => key)).toEqual(keys.map(({ end }) => (end <= seconds + 1 ? 'A' : 'C')))
    expect(keys.at(-1)!.end).toBe(2 * seconds)
    expect(
      keysOverTime(tonality({ pitches: rowsOf([[], []], 40), pitchRate: rate }), keyTemplates, 16),
    ).toEqual([{ start: 0, end: 16, key: undefined, confidence: 0 }])
  })
})
