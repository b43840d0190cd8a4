/**
 * A Standard MIDI File writer and reader, as much as the bench needs (format 0 and 1, tempo and metre maps).
 * Source: The Complete MIDI 1.0 Detailed Specification, "Standard MIDI Files 1.0" (RP-001).
 */

export interface Note {
  /** Start and length in quarter notes. */
  readonly at: number
  readonly length: number
  readonly channel: number
  readonly pitch: number
  readonly velocity: number
}

export interface TempoChange {
  /** Quarter notes from the start. */
  readonly at: number
  /** Quarter notes per minute. */
  readonly bpm: number
}

interface Song {
  readonly notes: readonly Note[]
  readonly tempi: readonly TempoChange[]
  /** Program (0 to 127) by channel (0 to 15; 9 is the drum kit). */
  readonly programs: ReadonlyMap<number, number>
}

const ticks = 960

const varLength = (value: number): number[] => {
  const bytes = [value & 0x7f]
  for (let rest = value >> 7; rest > 0; rest >>= 7) bytes.unshift((rest & 0x7f) | 0x80)
  return bytes
}

export function writeMidi({ notes, tempi, programs }: Song): Buffer {
  const events: { tick: number; order: number; bytes: number[] }[] = []
  for (const { at, bpm } of tempi) {
    const us = Math.round(60e6 / bpm)
    events.push({
      tick: Math.round(at * ticks),
      order: 0,
      bytes: [0xff, 0x51, 3, (us >> 16) & 255, (us >> 8) & 255, us & 255],
    })
  }
  for (const [channel, program] of programs)
    events.push({ tick: 0, order: 1, bytes: [0xc0 | channel, program] })
  for (const { at, length, channel, pitch, velocity } of notes) {
    const on = Math.max(0, Math.round(at * ticks))
    const off = Math.max(on + 1, Math.round((at + length) * ticks))
    const loudness = Math.max(1, Math.min(127, Math.round(velocity)))
    events.push({ tick: on, order: 3, bytes: [0x90 | channel, pitch, loudness] })
    events.push({ tick: off, order: 2, bytes: [0x80 | channel, pitch, 0] })
  }
  events.sort((a, b) => a.tick - b.tick || a.order - b.order)
  const track: number[] = []
  let last = 0
  for (const { tick, bytes } of events) {
    track.push(...varLength(tick - last), ...bytes)
    last = tick
  }
  track.push(0, 0xff, 0x2f, 0)
  const header = Buffer.alloc(22)
  header.write('MThd', 0)
  header.writeUInt32BE(6, 4)
  header.writeUInt16BE(0, 8)
  header.writeUInt16BE(1, 10)
  header.writeUInt16BE(ticks, 12)
  header.write('MTrk', 14)
  header.writeUInt32BE(track.length, 18)
  return Buffer.concat([header, Buffer.from(track)])
}

interface MidiMaps {
  /** Seconds of a position in quarter notes. */
  readonly seconds: (quarters: number) => number
  readonly tempi: readonly TempoChange[]
  readonly metres: readonly { at: number; numerator: number; denominator: number }[]
  /** Position of the last event, quarter notes. */
  readonly end: number
  readonly hasDrums: boolean
  /** Where notes begin, quarter notes; those of a chord each by itself, in no order. */
  readonly onsets: readonly number[]
}

/** Tempo and metre maps of a MIDI file. Throws on anything that is not one. */
export function readMidi(file: Buffer): MidiMaps {
  if (file.toString('latin1', 0, 4) !== 'MThd') throw new Error('not a MIDI file')
  const division = file.readUInt16BE(12)
  if (division & 0x8000) throw new Error('SMPTE time is not supported')
  const tempi: { at: number; bpm: number }[] = []
  const metres: { at: number; numerator: number; denominator: number }[] = []
  let end = 0
  let hasDrums = false
  const onsets: number[] = []
  let offset = 8 + file.readUInt32BE(4)
  while (offset + 8 <= file.length) {
    const isTrack = file.toString('latin1', offset, offset + 4) === 'MTrk'
    const stop = Math.min(file.length, offset + 8 + file.readUInt32BE(offset + 4))
    let at = offset + 8
    offset = stop
    if (!isTrack) continue
    let tick = 0
    let running = 0
    const variable = (): number => {
      let value = 0
      for (;;) {
        const byte = file[at++] ?? 0
        value = (value << 7) | (byte & 0x7f)
        if (!(byte & 0x80)) return value
      }
    }
    while (at < stop) {
      tick += variable()
      let status = file[at]!
      if (status & 0x80) at++
      else status = running
      if (status === 0xff) {
        const kind = file[at++]!
        const length = variable()
        if (kind === 0x51) tempi.push({ at: tick / division, bpm: 60e6 / file.readUIntBE(at, 3) })
        if (kind === 0x58)
          metres.push({ at: tick / division, numerator: file[at]!, denominator: 2 ** file[at + 1]! })
        at += length
        continue
      }
      if (status === 0xf0 || status === 0xf7) {
        const length = variable()
        at += length
        continue
      }
      running = status
      const kind = status & 0xf0
      if (kind === 0x90 && (file[at + 1] ?? 0) > 0) {
        end = Math.max(end, tick / division)
        onsets.push(tick / division)
        hasDrums ||= (status & 0x0f) === 9
      }
      at += kind === 0xc0 || kind === 0xd0 ? 1 : 2
    }
  }
  tempi.sort((a, b) => a.at - b.at)
  metres.sort((a, b) => a.at - b.at)
  if (tempi[0]?.at !== 0) tempi.unshift({ at: 0, bpm: 120 })
  if (metres[0]?.at !== 0) metres.unshift({ at: 0, numerator: 4, denominator: 4 })
  const starts = [0]
  for (let i = 1; i < tempi.length; i++)
    starts.push(starts[i - 1]! + ((tempi[i]!.at - tempi[i - 1]!.at) * 60) / tempi[i - 1]!.bpm)
  const seconds = (quarters: number): number => {
    let i = tempi.length - 1
    while (i > 0 && tempi[i]!.at > quarters) i--
    return starts[i]! + ((quarters - tempi[i]!.at) * 60) / tempi[i]!.bpm
  }
  return { seconds, tempi, metres, end, hasDrums, onsets }
}
