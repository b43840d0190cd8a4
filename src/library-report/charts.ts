/** Charts as inline SVG, drawn here and not in the browser: the page needs no script. */
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { formatBytes } from '../core/units.ts'

/** Colours are the page's own, so that they follow light and dark. */
export const colors = { first: 'var(--first)', second: 'var(--second)', alarm: 'var(--alarm)' }

const { document } = parseHTML('<!doctype html><html><body></body></html>')
const size = { width: 460, height: 220, marginLeft: 64 }
const style = { fontSize: '12px', background: 'none', overflow: 'visible' }

type Point = Readonly<Record<string, unknown>>

export interface Chart {
  readonly title: string
  /** what it shows, in a sentence: read instead of the picture */
  readonly description: string
}

function draw({ title, description }: Chart, options: Plot.PlotOptions): string {
  const svg = Plot.plot({
    // Plot asks for a browser's; linkedom's has all that it uses.
    document: document as never,
    ...size,
    style,
    ...options,
    ariaLabel: title,
    ariaDescription: description,
  })
  svg.setAttribute('role', 'img')
  // One picture with a name: its parts are in the table below it.
  for (const part of svg.querySelectorAll('[aria-label],[aria-description]')) {
    part.removeAttribute('aria-label')
    part.removeAttribute('aria-description')
  }
  return svg.outerHTML
}

/** Something summed up over days. */
export function area(
  chart: Chart,
  points: readonly Point[],
  x: string,
  y: string,
  label: string,
  asBytes = false,
): string {
  return draw(chart, {
    x: { type: 'utc', label: null, ticks: 5 },
    y: { grid: true, label, zero: true, ticks: 4, ...(asBytes ? { tickFormat: formatBytes } : {}) },
    marks: [
      Plot.areaY(points as Point[], { x, y, fill: colors.first, fillOpacity: 0.25 }),
      Plot.lineY(points as Point[], { x, y, stroke: colors.first, strokeWidth: 2 }),
      Plot.dot(points as Point[], { x, y, fill: colors.first, r: points.length === 1 ? 4 : 0 }),
      Plot.ruleY([0]),
    ],
  })
}

/** Values of runs, each line with a mark of its own: told apart without colour. */
export function lines(
  chart: Chart,
  series: readonly {
    readonly points: readonly Point[]
    readonly y: string
    readonly isDashed?: boolean
    readonly color?: string
  }[],
  label: string,
  { asBytes = false, isPercent = false } = {},
): string {
  return draw(chart, {
    x: { type: 'utc', label: null, ticks: 5 },
    y: {
      grid: true,
      label,
      zero: true,
      ticks: 4,
      ...(asBytes ? { tickFormat: formatBytes } : isPercent ? { tickFormat: '.0%', domain: [0, 1] } : {}),
    },
    marks: [
      ...series.flatMap(({ points, y, isDashed, color = colors.first }) => [
        Plot.lineY(points as Point[], {
          x: 'at',
          y,
          stroke: color,
          strokeWidth: 2,
          ...(isDashed ? { strokeDasharray: '6 4' } : {}),
        }),
        Plot.dot(points as Point[], {
          x: 'at',
          y,
          stroke: color,
          fill: 'var(--card)',
          r: 3,
          symbol: isDashed ? 'square' : 'circle',
        }),
      ]),
      Plot.ruleY([0]),
    ],
  })
}

/** Counts by a number in steps. */
export function histogram(
  chart: Chart,
  bars: readonly Point[],
  from: string,
  step: number,
  y: string,
  label: string,
): string {
  return draw(chart, {
    x: { label: null },
    y: { grid: true, label, ticks: 4 },
    marks: [
      Plot.rectY(bars as Point[], {
        x1: (bar: Point) => Number(bar[from]),
        x2: (bar: Point) => Number(bar[from]) + step,
        y,
        fill: colors.first,
        inset: 0.5,
      }),
      Plot.ruleY([0]),
    ],
  })
}

/** Amounts by name, the largest first. */
export function bars(
  chart: Chart,
  rows: readonly Point[],
  x: string,
  label: string,
  { asBytes = false, color = colors.first } = {},
): string {
  const longest = Math.max(...rows.map(row => String(row['name']).length), 1)
  return draw(chart, {
    marginLeft: Math.min(200, 16 + longest * 7),
    marginRight: 24,
    height: 46 + 24 * rows.length,
    x: { grid: true, label, ticks: 4, ...(asBytes ? { tickFormat: formatBytes } : {}) },
    y: { label: null, domain: rows.map(row => String(row['name'])) },
    marks: [
      Plot.barX(rows as Point[], { x, y: 'name', fill: color, insetTop: 2, insetBottom: 2 }),
      Plot.ruleX([0]),
    ],
  })
}
