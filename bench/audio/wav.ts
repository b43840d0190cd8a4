import { readFileSync, writeFileSync } from 'node:fs'

export interface Wav {
  readonly sampleRate: number
  readonly channels: readonly Float32Array[]
}

/** A 16-bit PCM WAVE file, as the bench's own tools write them. */
export function readWav(path: string): Wav {
  const file = readFileSync(path)
  let sampleRate = 0
  let count = 0
  for (let at = 12; at + 8 <= file.length; ) {
    const id = file.toString('latin1', at, at + 4)
    const size = file.readUInt32LE(at + 4)
    if (id === 'fmt ') {
      count = file.readUInt16LE(at + 10)
      sampleRate = file.readUInt32LE(at + 12)
    }
    if (id === 'data') {
      const length = Math.floor(Math.min(size, file.length - at - 8) / (2 * count))
      const channels = Array.from({ length: count }, () => new Float32Array(length))
      for (let i = 0; i < length; i++)
        for (let c = 0; c < count; c++)
          channels[c]![i] = file.readInt16LE(at + 8 + 2 * (i * count + c)) / 32768
      return { sampleRate, channels }
    }
    at += 8 + size + (size & 1)
  }
  throw new Error(`${path} has no data`)
}

/** Writes WAVE of 32-bit floats, or of 16-bit numbers as `readWav` wants them, with any number of channels. */
export function writeWav(path: string, { sampleRate, channels }: Wav, bits: 16 | 32 = 32): void {
  const count = channels.length
  const length = channels[0]!.length
  const bytes = bits / 8
  const file = Buffer.alloc(44 + bytes * count * length)
  file.write('RIFF', 0)
  file.writeUInt32LE(36 + bytes * count * length, 4)
  file.write('WAVEfmt ', 8)
  file.writeUInt32LE(16, 16)
  file.writeUInt16LE(bits === 32 ? 3 : 1, 20)
  file.writeUInt16LE(count, 22)
  file.writeUInt32LE(sampleRate, 24)
  file.writeUInt32LE(bytes * count * sampleRate, 28)
  file.writeUInt16LE(bytes * count, 32)
  file.writeUInt16LE(bits, 34)
  file.write('data', 36)
  file.writeUInt32LE(bytes * count * length, 40)
  for (let i = 0; i < length; i++)
    for (let c = 0; c < count; c++) {
      const at = 44 + bytes * (i * count + c)
      const value = channels[c]![i]!
      if (bits === 32) file.writeFloatLE(value, at)
      else file.writeInt16LE(Math.round(32767 * Math.max(-1, Math.min(1, value))), at)
    }
  writeFileSync(path, file)
}
