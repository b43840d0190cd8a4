/** Decoded sound on its way from a decoder to whoever wants it. */
import { soundGate } from '../core/audio/soundness.ts'

/** Samples a channel in a window, at most. */
export const windowSamples = 16_384

export interface PcmFormat {
  /** Hz, as in the file. */
  readonly sampleRate: number
  /** In WAVE order: L R C LFE Ls Rs. */
  readonly channels: number
}

/** Takes decoded PCM. Arrays are reused: copy what is to be kept. */
export interface PcmSink {
  /** @param expected seconds of sound that the container promises, if it does */
  readonly start: (format: PcmFormat, expected?: number) => void
  readonly push: (channels: readonly Float32Array[], length: number) => void
}

/** The sink behind a gate that silences what is not sound; `silenced` tells how much that was, seconds. */
export function gated(sink: PcmSink): PcmSink & { silenced: () => number } {
  const gate = soundGate()
  let rate = 1
  return {
    start: (format, expected) => {
      rate = format.sampleRate
      sink.start(format, expected)
    },
    push: (channels, length) => {
      gate.pass(channels, length)
      sink.push(channels, length)
    },
    silenced: () => gate.silenced() / rate,
  }
}
