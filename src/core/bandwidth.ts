/** Bandwidth limits as rclone writes them: one rate, or a timetable by weekday and time of day. Local time. */
import { parseBytes } from './units.ts'

interface BandwidthSlot {
  /** 0 (Sunday) to 6; undefined: every day */
  readonly day: number | undefined
  /** minutes after midnight */
  readonly minute: number
  /** bytes a second; Infinity: no limit */
  readonly rate: number
}

/** In force from its minute on; sorted as written. Never empty. */
export type BandwidthTable = readonly BandwidthSlot[]

const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const minutesPerDay = 24 * 60
const minutesPerWeek = 7 * minutesPerDay

/**
 * `10M`, `off`, `08:00,512K 12:00,10M 23:00,off`, `Mon-00:00,512K Fri-23:59,10M Sat-10:00,off`.
 * A suffixless number is KiB, as in rclone.
 * @returns undefined when it is neither
 */
export function parseBandwidth(text: string): BandwidthTable | undefined {
  if (!text.includes(',')) {
    const rate = parseRate(text.trim())
    return rate === undefined ? undefined : [{ day: undefined, minute: 0, rate }]
  }
  const slots: BandwidthSlot[] = []
  for (const word of text.trim().split(/\s+/)) {
    const match = /^(?:([a-z]{3})[a-z]*-)?(\d{1,2}):(\d{2}),(\S+)$/i.exec(word)
    if (!match) return undefined
    const day = match[1] === undefined ? undefined : days.indexOf(match[1].toLowerCase())
    const [hour, minute, rate] = [Number(match[2]), Number(match[3]), parseRate(match[4] as string)]
    if (day === -1 || hour > 23 || minute > 59 || rate === undefined) return undefined
    slots.push({ day, minute: hour * 60 + minute, rate })
  }
  return slots
}

function parseRate(text: string): number | undefined {
  if (/^off$/i.test(text)) return Number.POSITIVE_INFINITY
  const rate = /^\d+(\.\d+)?$/.test(text) ? Math.round(Number(text) * 1024) : parseBytes(text)
  return rate === 0 ? Number.POSITIVE_INFINITY : rate
}

/** The rate in force at a moment: that of the slot begun last, going back over midnight and over the week. */
export function bandwidthAt(table: BandwidthTable, at: Date): number {
  const now = at.getDay() * minutesPerDay + at.getHours() * 60 + at.getMinutes()
  let best = { age: Number.POSITIVE_INFINITY, rate: Number.POSITIVE_INFINITY }
  for (const slot of table) {
    const starts = (slot.day === undefined ? days.map((_name, day) => day) : [slot.day]).map(
      day => day * minutesPerDay + slot.minute,
    )
    for (const start of starts) {
      const age = (now - start + minutesPerWeek) % minutesPerWeek
      if (age < best.age) best = { age, rate: slot.rate }
    }
  }
  return best.rate
}
