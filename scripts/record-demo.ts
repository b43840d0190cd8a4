/**
 * Records `autodj demo` in a real terminal and writes it as an SVG that plays by itself: `node scripts/record-demo.ts`
 * after a build. Every row appears when the program wrote it, and the screen scrolls; colours are the terminal's.
 */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { spawn } from '@lydell/node-pty'
import xterm from '@xterm/headless'

const columns = 104
const rows = 44
const [cellWidth, rowHeight, margin] = [8.4, 19, 16]
/** pixels of the picture */
const height = 440
const root = path.join(import.meta.dirname, '..')
const palette = ['#1c2128', '#ff7b72', '#7ee787', '#e3b341', '#79c0ff', '#d2a8ff', '#76e3ea', '#c9d1d9']

const terminal = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true })
const program = spawn(process.execPath, [path.join(root, 'bin/autodj.js'), 'demo'], {
  cols: columns,
  rows,
  cwd: root,
  env: { ...process.env, TERM: 'xterm-256color', FORCE_COLOR: '1', TZ: 'UTC' } as Record<string, string>,
})
const began = Date.now()
/** when each row of the scrollback had its last text, milliseconds */
const appeared: { text: string; at: number }[] = []
program.onData(data => {
  terminal.write(data, () => {
    const { active } = terminal.buffer
    for (let row = 0; row < active.length; row++) {
      const text = active.getLine(row)?.translateToString(true) ?? ''
      if (text !== '' && appeared[row]?.text !== text) appeared[row] = { text, at: Date.now() - began }
    }
  })
})
await new Promise<void>(resolve => program.onExit(() => setTimeout(resolve, 300)))

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll(/\s/g, ' ')
/** Temporary folders and times differ each time; the recording should not. */
const steady = (text: string) => text.replaceAll(/autodj-demo-\w{6}/g, 'autodj-demo')
const { active } = terminal.buffer
const last = appeared.findLastIndex(Boolean)
const lines: string[] = []
/** how long it plays, whatever it took */
const seconds = 7
const end = Math.max(...appeared.filter(Boolean).map(({ at }) => at))
/** how far it has scrolled by when, pixels by seconds */
const scrolled: { at: number; by: number }[] = []
let y = margin + 12
for (let row = 0; row <= last; row++) {
  const line = active.getLine(row)
  const shown = appeared[row]
  if (line === undefined || shown === undefined) continue
  const runs: { style: string; text: string }[] = []
  for (let column = 0; column < columns; column++) {
    const cell = line.getCell(column)
    if (cell === undefined || cell.getWidth() === 0) continue
    const color = cell.isFgPalette() ? palette[cell.getFgColor() % 8] : undefined
    const style = `${color === undefined ? '' : ` fill="${color}"`}${cell.isBold() ? ' font-weight="bold"' : ''}${cell.isDim() ? ' opacity=".65"' : ''}`
    const text = cell.getChars() || ' '
    const before = runs.at(-1)
    if (before?.style === style) before.text += text
    else runs.push({ style, text })
  }
  const spans = runs
    .map(({ style, text }) => `<tspan${style}>${escaped(steady(text))}</tspan>`)
    .join('')
    .replaceAll(/ +<\/tspan>$/g, '</tspan>')
  // A row without text before it is half a row.
  if (lines.length > 0 && appeared[row - 1] === undefined) y += rowHeight / 2
  y += rowHeight
  const begin = ((seconds * shown.at) / end).toFixed(2)
  const by = y + margin - height
  if (by > 0) scrolled.push({ at: Number(begin), by })
  lines.push(
    `<text x="${margin}" y="${y}" xml:space="preserve" style="animation-delay:${begin}s">${spans}</text>`,
  )
}
const width = Math.round(columns * cellWidth + 2 * margin)
const rest = `transform:translateY(-${scrolled.at(-1)?.by ?? 0}px)`
// Of rows that came together the last counts.
const steps = new Map(scrolled.map(({ at, by }) => [((100 * at) / seconds).toFixed(1), by]))
const scroll = [...steps].map(([percent, by]) => `${percent}%{transform:translateY(-${by}px)}`).join('')
writeFileSync(
  path.join(root, 'docs/demo.svg'),
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="A recording of autodj demo: migrate, import, upload, verify, and a second run that finds nothing to do">
<style>text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#c9d1d9;animation:show .01s both}@keyframes show{from{visibility:hidden}to{visibility:visible}}g{${rest};animation:scroll ${seconds}s step-end both}@keyframes scroll{0%{transform:none}${scroll}}@media (prefers-reduced-motion:reduce){text,g{animation:none}}</style>
<rect width="${width}" height="${height}" rx="10" fill="#0d1117"/>
<g>
<text x="${margin}" y="${margin + 8}" style="fill:#8b949e">$ autodj demo</text>
${lines.join('\n')}
</g>
</svg>
`,
)
console.log(`docs/demo.svg: ${lines.length} rows, ${height} px high`)
