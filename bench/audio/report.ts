/** Figures against their bars, and how they are printed. */

interface Result {
  readonly what: string
  readonly value: number
  readonly bar: string
  readonly holds: boolean
}
export const results: Result[] = []
/** Notes a figure against its bar, `>= 0.92` or `<= 2`. */
export function claim(what: string, value: number, bar: string): void {
  const limit = Number(bar.slice(3))
  const holds = bar.startsWith('>=') ? value >= limit : bar.startsWith('<=') ? value <= limit : value > limit
  results.push({ what, value: Number(value.toFixed(4)), bar, holds })
}

export const table = (rows: readonly (readonly string[])[]): void => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => (row[column] ?? '').length)))
  for (const row of rows)
    console.log(
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
    )
  console.log('')
}

export const mean = (numbers: readonly number[]): number =>
  numbers.length > 0 ? numbers.reduce((a, b) => a + b, 0) / numbers.length : Number.NaN
export const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!
export const share = (flags: readonly boolean[]): number => mean(flags.map(Number))
export const percent = (value: number): string => (Number.isNaN(value) ? '' : value.toFixed(3))
