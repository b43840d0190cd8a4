/** What a line of progress says, and what of it if there is little room. */
import { formatBytes, formatCount, percent, wholeSeconds } from '../core/units.ts'
import type { ProgressState } from './reporter.ts'

export interface ProgressView extends ProgressState {
  readonly label: string
  /** in the plural: `files` */
  readonly unit: string
  readonly showBytes: boolean
  /** of the last seconds */
  readonly itemsPerSecond: number
  readonly bytesPerSecond: number
  /** milliseconds since it began */
  readonly elapsed: number
  readonly note: string
}

/** A part of the line. Of the least rank goes first if there is no room; the bar shrinks before that. */
interface Part {
  readonly text: string
  /** what is tried first if there is no room */
  readonly short?: string
  readonly rank: number
}

const widestBar = 24
const narrowestBar = 8

/** The line without a bar, whatever its length: for logs. */
export function plainProgressLine(view: ProgressView): string {
  return partsOf(view)
    .map(part => part.text)
    .join('  ')
}

/**
 * The line with as wide a bar as there is room for. Where it is too long even without one, the note goes, then the label,
 * the bytes and the counts; per cent, rate and time left stay.
 *
 * @param columns cells that it may take
 * @param width cells of a text
 */
export function progressLine(view: ProgressView, columns: number, width: (text: string) => number): string {
  const kept = partsOf(view)
  const length = () => kept.reduce((sum, part) => sum + width(part.text), 2 * (kept.length - 1))
  while (length() > columns && kept.length > 1) {
    const least = kept.reduce((a, b) => (b.rank < a.rank ? b : a))
    const { short, rank: its } = least
    kept.splice(kept.indexOf(least), 1, ...(short === undefined ? [] : [{ text: short, rank: its }]))
  }
  const texts = kept.map(part => part.text)
  const room = Math.min(widestBar, columns - length() - 2)
  const fraction = fractionDone(view)
  if (fraction !== undefined && room >= narrowestBar && kept[0]?.rank === rank.label) {
    const filled = Math.round(fraction * room)
    texts.splice(1, 0, '█'.repeat(filled) + '░'.repeat(room - filled))
  }
  let line = texts.join('  ')
  while (width(line) > columns) line = [...line].slice(0, -1).join('')
  return line
}

const rank = { note: 0, label: 1, bytes: 2, count: 3, eta: 4, rate: 5, percent: 6 }

function partsOf(view: ProgressView): Part[] {
  const { label, unit, showBytes, items, itemsTotal, bytes, bytesTotal, note } = view
  const parts: Part[] = [{ text: label, rank: rank.label }]
  const fraction = fractionDone(view)
  if (fraction !== undefined) parts.push({ text: `${percent(fraction, 1)}%`, rank: rank.percent })
  const count =
    itemsTotal === undefined ? formatCount(items) : `${formatCount(items)}/${formatCount(itemsTotal)}`
  const counted = (itemsTotal ?? items) === 1 ? singular(unit) : unit
  parts.push({ text: `${count} ${counted}`, short: count, rank: rank.count })
  if (showBytes) {
    parts.push({ text: bytesOf(bytes, bytesTotal), rank: rank.bytes })
  }
  const rate = showBytes ? `${formatBytes(view.bytesPerSecond)}/s` : itemRate(view)
  parts.push({ text: rate, rank: rank.rate })
  const left = secondsLeft(view)
  parts.push(
    left === undefined
      ? { text: wholeSeconds(view.elapsed / 1_000), rank: rank.eta }
      : { text: `ETA ${wholeSeconds(left)}`, rank: rank.eta },
  )
  if (note) parts.push({ text: note, rank: rank.note })
  return parts
}

/** `1.2/3.4 GiB`, `512 KiB/3.4 GiB` */
function bytesOf(bytes: number, total: number | undefined): string {
  const done = formatBytes(bytes)
  if (total === undefined) return done
  const whole = formatBytes(total)
  const [number, unit] = done.split(' ')
  return whole.endsWith(` ${unit}`) ? `${number}/${whole}` : `${done}/${whole}`
}

/** By bytes if their total is known, else by items. */
function fractionDone({ showBytes, items, itemsTotal, bytes, bytesTotal }: ProgressView): number | undefined {
  if (showBytes && bytesTotal !== undefined && bytesTotal > 0) return Math.min(1, bytes / bytesTotal)
  return itemsTotal === undefined || itemsTotal <= 0 ? undefined : Math.min(1, items / itemsTotal)
}

function secondsLeft(view: ProgressView): number | undefined {
  const byBytes = view.showBytes && view.bytesTotal !== undefined && view.bytesTotal > 0
  const [done, whole, speed] = byBytes
    ? [view.bytes, view.bytesTotal, view.bytesPerSecond]
    : [view.items, view.itemsTotal, view.itemsPerSecond]
  return whole === undefined || speed <= 0 || done >= whole ? undefined : (whole - done) / speed
}

function itemRate({ itemsPerSecond, unit }: ProgressView): string {
  const number =
    itemsPerSecond > 0 && itemsPerSecond < 9.95 ? itemsPerSecond.toFixed(1) : formatCount(itemsPerSecond)
  return number === '1.0' ? `1 ${singular(unit)}/s` : `${number} ${unit}/s`
}

const singular = (unit: string): string => unit.replace(/s$/, '')
