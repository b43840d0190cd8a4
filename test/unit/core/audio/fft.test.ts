import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { realFft } from '../../../../src/core/audio/fft.ts'

describe('realFft', () => {
  it('agrees with the definition of the transform', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 8 }).map(bits => 2 ** bits),
        fc.infiniteStream(fc.float({ min: -1, max: 1, noNaN: true })),
        (size, stream) => {
          const frame = Float32Array.from({ length: size }, () => stream.next().value as number)
          const power = new Float32Array(size / 2 + 1)
          realFft(size).power(frame, power)
          for (let bin = 0; bin <= size / 2; bin++) {
            let re = 0
            let im = 0
            for (let i = 0; i < size; i++) {
              re += frame[i]! * Math.cos((2 * Math.PI * bin * i) / size)
              im -= frame[i]! * Math.sin((2 * Math.PI * bin * i) / size)
            }
            expect(power[bin]).toBeCloseTo(re * re + im * im, 2)
          }
        },
      ),
      { numRuns: 30 },
    )
  })
  it('refuses sizes that are not powers of two', () => {
    expect(() => realFft(1000)).toThrow(RangeError)
    expect(() => realFft(4)).toThrow(RangeError)
  })
})
