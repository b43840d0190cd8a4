import { printable } from '../core/units.ts'
import type { Style } from './reporter.ts'

interface Checked {
  readonly name: string
  readonly state: 'ok' | 'warning' | 'failure' | 'skipped'
  /** one line: what was found, or what is wrong */
  readonly found: string
  readonly cure?: string
}

/** A check for people: its state in colour, its name, what was found, and below what to do. @param width of the names */
export function checkLine(style: Style, { name, state, found, cure }: Checked, width: number): string {
  const paint = { ok: style.green, warning: style.yellow, failure: style.red, skipped: style.dim }[state]
  const line = `${paint(state.padEnd(8))} ${name.padEnd(width)} ${printable(found)}`
  return cure === undefined ? line : `${line}\n${' '.repeat(width + 10)}${style.cyan('→')} ${printable(cure)}`
}
