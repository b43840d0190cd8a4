/** Decoded sound on its way from a decoder to whoever wants it. */
import { soundGate } from '../core/audio/soundness.ts'

/** Samples a channel in a window, at most. */
export const WINDOW = 16_384

export interface PcmFormat {
  /** Hz, as in the file. */
  readonly sampleRate: number
  /** In WAVE order: L R C LFE Ls Rs. */
  readonly channels: number
}

/** Takes decoded PCM. Arrays are reused: copy what is to be kept. */
export interface PcmSink {
  readonly start: (format: PcmFormat) => void
  readonly push: (channels: readonly Float32Array[], length: number) => void
}

/** The sink behind a gate that silences what is no sound; `silenced` tells how much that was, seconds. */
export function gated(sink: PcmSink): PcmSink & { silenced: () => number } {
  const gate = soundGate()
  let rate = 1
  return {
    start: format => {
      rate = format.sampleRate
      sink.start(format)
    },
    push: (channels, length) => {
      gate.pass(channels, length)
      sink.push(channels, length)
    },
    silenced: () => gate.silenced() / rate,
  }
}
