/** Samples that lie in a file as they are: WAVE, AIFF, AU, CAF, Wave64 without compression. */
import type { FileHandle } from 'node:fs/promises'
import type { PcmLayout } from '../core/containers/sound.ts'
import { type PcmSink, windowSamples } from './pcm.ts'

/** Expansions of ITU-T G.711, full scale 1. */
const alaw = Float32Array.from({ length: 256 }, (_, byte) => {
  const code = byte ^ 0x55
  const exponent = (code >> 4) & 7
  const mantissa = ((code & 15) << 4) + 8
  const value = exponent === 0 ? mantissa : (mantissa + 256) << (exponent - 1)
  return (code & 0x80 ? value : -value) / 32_768
})
const ulaw = Float32Array.from({ length: 256 }, (_, byte) => {
  const code = ~byte & 0xff
  const value = ((((code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132
  return (code & 0x80 ? -value : value) / 32_768
})

type ReadSample = (view: DataView, at: number) => number

function sampleReader({ encoding, bytes, little }: PcmLayout): ReadSample {
  if (encoding === 'alaw' || encoding === 'ulaw') {
    const table = encoding === 'alaw' ? alaw : ulaw
    return (view, at) => table[view.getUint8(at)]!
  }
  if (encoding === 'float')
    return bytes === 8 ? (view, at) => view.getFloat64(at, little) : (view, at) => view.getFloat32(at, little)
  const shift = encoding === 'unsigned' ? 2 ** (8 * bytes - 1) : 0
  const scale = 2 ** (1 - 8 * bytes)
  switch (bytes) {
    case 1:
      return shift > 0
        ? (view, at) => (view.getUint8(at) - shift) * scale
        : (view, at) => view.getInt8(at) * scale
    case 2:
      return shift > 0
        ? (view, at) => (view.getUint16(at, little) - shift) * scale
        : (view, at) => view.getInt16(at, little) * scale
    case 3:
      return (view, at) => {
        const low = view.getUint8(little ? at : at + 2)
        const high = view.getUint8(little ? at + 2 : at)
        const value = (high << 16) | (view.getUint8(at + 1) << 8) | low
        return (shift > 0 ? value - shift : (value << 8) >> 8) * scale
      }
    default:
      return shift > 0
        ? (view, at) => (view.getUint32(at, little) - shift) * scale
        : (view, at) => view.getInt32(at, little) * scale
  }
}

/**
 * Hands all samples to the sink, exactly: full scale is 1.
 *
 * @returns samples a channel
 * @throws what the sink throws, the signal's reason, or what reading throws
 */
export async function decodePcm(
  file: FileHandle,
  { layout, start, end }: { layout: PcmLayout; start: number; end: number },
  sink: PcmSink,
  expected: number | undefined,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { channels, bytes, sampleRate } = layout
  const read = sampleReader(layout)
  const planes = Array.from({ length: channels }, () => new Float32Array(windowSamples))
  const frame = bytes * channels
  const perWindow = Math.max(1, Math.min(windowSamples, Math.floor(2 ** 20 / frame)))
  const buffer = Buffer.allocUnsafe(perWindow * frame)
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length)
  sink.start({ sampleRate, channels }, expected)
  let samples = 0
  for (let at = start; at + frame <= end; ) {
    signal?.throwIfAborted()
    const wanted = Math.min(buffer.length, Math.floor((end - at) / frame) * frame)
    const { bytesRead } = await file.read(buffer, 0, wanted, at)
    const length = Math.floor(bytesRead / frame)
    if (length === 0) break
    for (let c = 0; c < channels; c++) {
      const plane = planes[c]!
      for (let i = 0, p = c * bytes; i < length; i++, p += frame) plane[i] = read(view, p)
    }
    sink.push(length === windowSamples ? planes : planes.map(plane => plane.subarray(0, length)), length)
    samples += length
    at += length * frame
  }
  return samples
}
