import { describe, expect, it } from 'vitest'
import { waveformBuilder } from '../../../../src/core/audio/waveform.ts'

describe('waveformBuilder', () => {
  it('gives a thousand points of low, high and root mean square', () => {
    const builder = waveformBuilder(8000)
    const half = new Float32Array(80_000).fill(0.5)
    const negative = new Float32Array(80_000).fill(-1)
    builder.push(half, half.length)
    builder.push(negative, negative.length)
    const { points, bytes } = builder.finish()
    expect(points).toBe(1000)
    expect([...bytes.subarray(0, 3)]).toEqual([0, 64, 128])
    expect([...bytes.subarray(2997)]).toEqual([128, 0, 255])
  })
  it('has fewer points than a thousand for less than ten seconds, none for nothing', () => {
    const builder = waveformBuilder(8000)
    expect(builder.finish()).toEqual({ points: 0, bytes: new Uint8Array(0) })
    builder.push(new Float32Array(100), 100)
    expect(builder.finish().points).toBe(2)
  })
})
