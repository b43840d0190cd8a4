import { describe, expect, it } from 'vitest'
import { describeVoice } from '../../../../src/core/audio/voice.ts'
import { voiceRate } from '../../../../src/core/audio/voice-network.ts'

/** Stretches of [seconds, speech, singing]. */
function heard(...stretches: readonly (readonly [number, number, number])[]): Float32Array {
  return Float32Array.from(
    stretches.flatMap(([seconds, speech, singing]) =>
      Array.from({ length: Math.round(seconds * voiceRate) }, () => [speech, singing]).flat(),
    ),
  )
}

const lengths = (sections: readonly { start: number; end: number }[]): number[][] =>
  sections.map(({ start, end }) => [Math.round(start), Math.round(end)])

describe('describeVoice', () => {
  it('tells verses from the rest, to the end of the track', () => {
    const found = describeVoice(heard([10, 0, 0.02], [20, 0, 0.98], [10, 0, 0.02]), 40.02)
    expect(lengths(found.vocalSections)).toEqual([[10, 30]])
    expect(lengths(found.instrumentalSections)).toEqual([
      [0, 10],
      [30, 40],
    ])
    expect(found.instrumentalSections.at(-1)!.end).toBe(40.02)
    expect(found.vocalSections[0]!.confidence).toBeGreaterThan(0.95)
    expect(found.instrumentalness).toBeCloseTo(0.5, 1)
  })
  it('takes speech, as of a rapper, for a voice', () => {
    const { vocalSections } = describeVoice(heard([10, 0, 0], [10, 0.97, 0.1], [10, 0, 0]), 30)
    expect(lengths(vocalSections)).toEqual([[10, 20]])
  })
  it.each([
    ['a breath belongs to the phrases around it', 1.5, 1],
    ['a longer pause does not', 3, 2],
  ])('%s', (_, pause, sections) => {
    const found = describeVoice(heard([8, 0, 0.97], [pause, 0, 0], [8, 0, 0.97]), 16 + pause)
    expect(found.vocalSections).toHaveLength(sections)
  })
  it('what is shorter than a second is no section', () => {
    const found = describeVoice(heard([10, 0, 0.97], [10, 0, 0], [0.8, 0, 1], [10, 0, 0]), 30.8)
    expect(lengths(found.vocalSections)).toEqual([[0, 10]])
    expect(found.instrumentalSections).toHaveLength(1)
  })
  it('a voice to the end of the track is one to its end, as long as no second follows', () => {
    const { vocalSections, instrumentalSections } = describeVoice(heard([9, 0, 0.97], [0.6, 0, 0]), 9.6)
    expect(vocalSections.at(-1)!.end).toBe(9.6)
    expect(instrumentalSections).toEqual([])
  })
  it('an introduction as short as a breath stays one', () => {
    const found = describeVoice(heard([1.6, 0, 0], [20, 0, 0.97]), 21.6)
    expect(found.instrumentalSections).toHaveLength(1)
  })
  it('says nothing of what is not clear, and no share of a track that is mostly so', () => {
    const some = describeVoice(heard([20, 0, 0.97], [6, 0, 0.4], [20, 0, 0.02]), 46)
    expect(lengths(some.vocalSections)).toEqual([[0, 20]])
    expect(some.instrumentalness).toBeDefined()
    const most = describeVoice(heard([10, 0, 0.97], [30, 0, 0.4]), 40)
    expect(most.instrumentalSections).toEqual([])
    expect(most.instrumentalness).toBeUndefined()
  })
  it('believes a flute that sounds like a voice only where somebody surely sings', () => {
    const alone = describeVoice(heard([20, 0, 0.02], [5, 0, 0.78], [20, 0, 0.02]), 45)
    expect(alone.vocalSections).toEqual([])
    expect(alone.instrumentalness).toBe(1)
    const beside = describeVoice(heard([20, 0, 0.02], [5, 0, 0.78], [5, 0, 0.02], [9, 0, 0.99]), 39)
    expect(beside.vocalSections).toHaveLength(2)
  })
  it('of silence and of nothing it says nothing', () => {
    const nothing = { vocalSections: [], instrumentalSections: [], instrumentalness: undefined }
    expect(describeVoice(heard([20, 0, 0]), 20, true)).toEqual(nothing)
    expect(describeVoice(new Float32Array(0), 0)).toEqual(nothing)
  })
})
