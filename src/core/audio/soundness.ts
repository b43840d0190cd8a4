/**
 * What no recording holds is taken out of PCM before it is measured: samples that are no numbers, and such as are
 * beyond full scale by more than any programme gets. A damaged MP3 decodes to bursts of them (ten thousand times
 * full scale has been seen), and one burst would be the loudness of the whole track.
 */

/**
 * The largest sample taken for sound, 1 being full scale: 12.04 dB above it, the headroom that ITU-R BS.1770-4,
 * annex 2, gives a true-peak meter. Decoded lossy audio overshoots by a few dB (Nielsen and Lund, "Overload in signal
 * conversion", AES 23rd Conference, 2003).
 */
export const largestSample = 4

/** Samples silenced either side of a bad one: a frame of MPEG-1 Layer III, of which the decoder lost its place. */
const reach = 1152

interface SoundGate {
  /** Silences, in place and in all channels, what is not sound and a frame's length either side of it. */
  readonly pass: (channels: readonly Float32Array[], length: number) => void
  /** Samples a channel that were silenced so far. */
  readonly silenced: () => number
}

// The comparison is false for NaN as well.
const isSound = (value: number): boolean => Math.abs(value) <= largestSample

function allSound(channel: Float32Array, length: number): boolean {
  for (let i = 0; i < length; i++) if (!isSound(channel[i]!)) return false
  return true
}

/**
 * A gate for one stream. What precedes a bad sample is silenced as far back as the window it came in, what follows it
 * in the next windows too.
 */
export function soundGate(): SoundGate {
  let silenced = 0
  /** Samples still to be silenced at the start of the next window. */
  let ahead = 0
  return {
    pass: (channels, length) => {
      if (ahead === 0 && channels.every(channel => allSound(channel, length))) return
      // The span to be silenced that is open; bad samples near it widen it, one further off begins the next.
      let from = 0
      let to = ahead
      const silence = (): void => {
        const end = Math.min(to, length)
        for (const channel of channels) channel.fill(0, from, end)
        silenced += end - from
      }
      for (let i = 0; i < length; i++) {
        if (channels.every(channel => isSound(channel[i]!))) continue
        if (i - reach > to) {
          silence()
          from = i - reach
        }
        to = i + reach
      }
      silence()
      ahead = Math.max(0, to - length)
    },
    silenced: () => silenced,
  }
}
