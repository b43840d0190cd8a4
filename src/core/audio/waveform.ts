/** An overview of the waveform for players, built while samples stream by. */

const waveformPoints = 1000

export interface Waveform {
  readonly points: number
  /**
   * Three bytes a point: lowest and highest sample as signed bytes (-128 to 127 for -1 to 1) and the root mean square
   * as an unsigned byte (255 for 1), of the mono mix; samples beyond full scale are clipped.
   */
  readonly bytes: Uint8Array
}

interface WaveformBuilder {
  readonly push: (mono: Float32Array, length: number) => void
  readonly finish: () => Waveform
}

export function waveformBuilder(sampleRate: number): WaveformBuilder {
  const block = Math.max(1, Math.round(sampleRate / 100))
  let lows = new Float32Array(4096)
  let highs = new Float32Array(4096)
  let squares = new Float32Array(4096)
  let count = 0
  let inBlock = 0
  let low = 0
  let high = 0
  let square = 0
  const larger = (array: Float32Array): Float32Array<ArrayBuffer> => {
    const grown = new Float32Array(2 * array.length)
    grown.set(array)
    return grown
  }
  const close = (): void => {
    if (inBlock === 0) return
    if (count === lows.length) {
      lows = larger(lows)
      highs = larger(highs)
      squares = larger(squares)
    }
    lows[count] = low
    highs[count] = high
    squares[count] = square / inBlock
    count++
    inBlock = 0
    low = 0
    high = 0
    square = 0
  }
  return {
    push: (mono, length) => {
      let from = 0
      while (from < length) {
        const to = Math.min(length, from + block - inBlock)
        // Locals in the loop: numbers that a closure keeps are allocated at each assignment.
        let least = low
        let most = high
        let sum = 0
        for (let i = from; i < to; i++) {
          const value = mono[i]!
          if (value < least) least = value
          else if (value > most) most = value
          sum += value * value
        }
        low = least
        high = most
        square += sum
        inBlock += to - from
        from = to
        if (inBlock === block) close()
      }
    },
    finish: () => {
      close()
      const points = Math.min(waveformPoints, count)
      const bytes = new Uint8Array(3 * points)
      for (let p = 0; p < points; p++) {
        const from = Math.floor((p * count) / points)
        const to = Math.max(from + 1, Math.floor(((p + 1) * count) / points))
        let least = Infinity
        let most = -Infinity
        let sum = 0
        for (let i = from; i < to; i++) {
          least = Math.min(least, lows[i]!)
          most = Math.max(most, highs[i]!)
          sum += squares[i]!
        }
        bytes[3 * p] = Math.max(-128, Math.min(127, Math.round(least * 128))) & 255
        bytes[3 * p + 1] = Math.max(-128, Math.min(127, Math.round(most * 128))) & 255
        bytes[3 * p + 2] = Math.min(255, Math.round(Math.sqrt(sum / (to - from)) * 255))
      }
      return { points, bytes }
    },
  }
}
