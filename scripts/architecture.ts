/**
 * Holds the imports of src/ against the floors below, and draws them: `node scripts/architecture.ts` is part of
 * `npm run lint`; with `--write` it renews the picture, docs/architecture.svg.
 * What a file exports and no other imports is refused, too.
 *
 * A room is a folder of src/ or a file at its top. It may import from all floors below its own. The features stand above
 * the floors that are listed; they may use each other, in few pairs and never in both directions.
 */
import { existsSync, globSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseSync } from 'oxc-parser'

/** From the bottom up. Rooms that share a line do not know each other. */
const floors: readonly (readonly string[])[] = [
  ['error-codes.ts'],
  ['errors.ts'],
  ['core'],
  ['heap.ts', 'named-files.ts', 'open-files.ts'],
  ['network.ts', 'settings.ts', 'settings-files.ts'],
  ['config.ts', 'file-effects.ts', 'report', 'external-sort', 'audio'],
  ['db', 'storage', 'records'],
  ['cdn', 'cost', 'embedded', 'throttle.ts'],
  ['context.ts'],
  ['audio-files', 'runs', 'cli'],
  ['queue'],
]
const top = ['nightly', 'commands.ts', 'run-command.ts', 'program.ts', 'main.ts']
/** Pairs of features of which one imports files of the other: what is shared belongs on a floor below. */
const mostPairs = 10

const root = path.join(import.meta.dirname, '..')
const picture = path.join(root, 'docs/architecture.svg')

interface Import {
  readonly from: string
  readonly to: string
}

const files = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  .map(file => `src/${file.split(path.sep).join('/')}`)
const imports = files.flatMap(importsOf)
const problems = [...cycles(), ...risingImports(), ...pairProblems(), ...needlessExports()]

if (process.argv.includes('--write')) {
  writeFileSync(picture, drawing())
} else if (!existsSync(picture) || readFileSync(picture, 'utf8') !== drawing()) {
  problems.push('docs/architecture.svg is not of these imports; node scripts/architecture.ts --write')
}
for (const problem of problems) console.error(problem)
process.exitCode = problems.length > 0 ? 1 : 0

/** Imports of types, `export … from` and `import()` count like any other. */
function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(root, file), 'utf8')
  const { module } = parseSync(file, text)
  const named = [
    ...module.staticImports.map(one => one.moduleRequest.value),
    ...module.staticExports.flatMap(one => one.entries.map(entry => entry.moduleRequest?.value ?? '')),
  ]
  const lazy = module.dynamicImports.map(({ moduleRequest: { start, end } }) =>
    text.slice(start + 1, end - 1),
  )
  return [...new Set([...named, ...lazy])]
    .filter(one => one.startsWith('.'))
    .map(one => ({ from: file, to: path.posix.join(path.posix.dirname(file), one) }))
    .filter(({ to }) => to.startsWith('src/') && to.endsWith('.ts'))
}

function room(file: string): string {
  return file.split('/')[1] as string
}

function floorOf(name: string): number {
  const floor = floors.findIndex(rooms => rooms.includes(name))
  if (floor >= 0) return floor
  return top.includes(name) ? floors.length + 1 + top.indexOf(name) : floors.length
}

function isFeature(name: string): boolean {
  return floorOf(name) === floors.length
}

/** Files that import each other in a circle (Tarjan's strongly connected components). */
function cycles(): string[] {
  const next = Map.groupBy(imports, one => one.from)
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: string[] = []
  const found: string[] = []
  const visit = (file: string): void => {
    index.set(file, index.size)
    low.set(file, index.get(file)!)
    stack.push(file)
    for (const { to } of next.get(file) ?? []) {
      if (!index.has(to)) visit(to)
      if (stack.includes(to)) low.set(file, Math.min(low.get(file)!, low.get(to)!))
    }
    if (low.get(file) !== index.get(file)) return
    const circle = stack.splice(stack.indexOf(file))
    if (circle.length > 1) found.push(`import circle: ${circle.toSorted().join(', ')}`)
  }
  for (const file of files) if (!index.has(file)) visit(file)
  return found
}

function risingImports(): string[] {
  return imports.flatMap(({ from, to }) => {
    const [a, b] = [room(from), room(to)]
    if (a === b || floorOf(a) > floorOf(b) || (isFeature(a) && isFeature(b))) return []
    return [`${from} imports ${to}: ${b} is not on a floor below ${a} (see scripts/architecture.ts)`]
  })
}

function featurePairs(): Set<string> {
  return new Set(
    imports
      .map(({ from, to }) => [room(from), room(to)] as const)
      .filter(([a, b]) => a !== b && isFeature(a) && isFeature(b))
      .map(([a, b]) => `${a} ${b}`),
  )
}

function pairProblems(): string[] {
  const pairs = featurePairs()
  const both = [...pairs].filter(pair => pairs.has(pair.split(' ').toReversed().join(' ')))
  return [
    ...(both.length > 0 ? [`features that import each other in both directions: ${both.join(', ')}`] : []),
    ...(pairs.size > mostPairs
      ? [`${pairs.size} pairs of features share files, ${mostPairs} may: ${[...pairs].join(', ')}`]
      : []),
  ]
}

/** Names that a file exports and no other imports. A migration is read by what it exports. */
function needlessExports(): string[] {
  const taken = new Set<string>()
  const exported: { file: string; name: string }[] = []
  /** what a file passes on whole (`export *`), by its own file */
  const doors = new Map<string, string>()
  const everywhere = globSync('{bench,migrations,scripts,src,test,training}/**/*.ts', { cwd: root })
  for (const file of everywhere.map(one => one.split(path.sep).join('/'))) {
    const text = readFileSync(path.join(root, file), 'utf8')
    const { module } = parseSync(file, text)
    const target = (request: string): string => path.posix.join(path.dirname(file), request)
    for (const { moduleRequest, entries } of module.staticImports) {
      for (const { importName } of entries) taken.add(`${target(moduleRequest.value)} ${importName.name}`)
    }
    for (const { moduleRequest, importName, exportName } of module.staticExports.flatMap(
      one => one.entries,
    )) {
      if (moduleRequest !== null && exportName.name === null) doors.set(target(moduleRequest.value), file)
      else if (moduleRequest !== null) taken.add(`${target(moduleRequest.value)} ${importName.name}`)
      if (!file.startsWith('migrations/') && exportName.name !== null)
        exported.push({ file, name: exportName.name })
    }
    // What is taken of a lazy import stands somewhere in the file.
    const words = new Set(text.match(/\w+/g))
    for (const { start, end } of module.dynamicImports.map(one => one.moduleRequest)) {
      for (const word of words) taken.add(`${target(text.slice(start + 1, end - 1))} ${word}`)
    }
  }
  return exported
    .filter(({ file, name }) => ![file, doors.get(file)].some(door => taken.has(`${door} ${name}`)))
    .map(({ file, name }) => `${file} exports ${name}, which no other file imports`)
}

/** Floors as bands, highest first; arrows between features only, since those below may be used by all above. */
function drawing(): string {
  const [width, label, boxWidth, boxHeight, gap, margin] = [880, 110, 140, 30, 10, 14]
  /** room for arrows */
  const rowGap = 26
  const words: string[] = []
  const perRow = Math.floor((width - label - margin) / (boxWidth + gap))
  const places = new Map<string, { x: number; y: number }>()
  let y = margin
  const band = (title: string, names: readonly string[]): string => {
    const [from, inside] = [y, y + gap]
    for (const [index, name] of names.entries()) {
      const [column, row] = [index % perRow, Math.floor(index / perRow)]
      places.set(name, { x: label + column * (boxWidth + gap), y: inside + row * (boxHeight + rowGap) })
    }
    const height = Math.ceil(names.length / perRow) * (boxHeight + rowGap) - rowGap + 2 * gap
    y += height + gap
    const boxes = names.map(name => {
      const { x, y: at } = places.get(name)!
      words.push(`<text x="${x + boxWidth / 2}" y="${at + 20}" text-anchor="middle">${name}</text>`)
      return `<rect class="room" x="${x}" y="${at}" width="${boxWidth}" height="${boxHeight}" rx="4"/>`
    })
    words.push(`<text class="title" x="${margin + 10}" y="${from + height / 2 + 5}">${title}</text>`)
    return `<rect class="floor" x="${margin}" y="${from}" width="${width - 2 * margin}" height="${height}" rx="6"/>\n${boxes.join('\n')}`
  }
  const rooms = [...new Set(files.map(room))].toSorted()
  const bands = [
    band('commands', top),
    band('features', rooms.filter(isFeature)),
    ...floors
      .map((names, floor) => [names, floor] as const)
      .toReversed()
      .map(([names, floor]) => band(`floor ${floor}`, names)),
  ]
  const arrows = [...featurePairs()].toSorted().map(pair => {
    const [from, to] = pair.split(' ').map(name => places.get(name)!) as [
      { x: number; y: number },
      { x: number; y: number },
    ]
    // From side to side within a row, from edge to edge between rows.
    const sameRow = from.y === to.y
    const isRight = to.x > from.x
    const [x1, y1] = sameRow
      ? [from.x + boxWidth / 2, from.y]
      : [from.x + boxWidth / 2 + 12, from.y + (to.y > from.y ? boxHeight : 0)]
    const [x2, y2] = sameRow
      ? [to.x + boxWidth / 2, to.y]
      : [to.x + boxWidth / 2 - 12, to.y + (to.y > from.y ? 0 : boxHeight)]
    const bend = sameRow
      ? ` Q${(x1 + x2) / 2} ${y1 - gap - 6} `
      : ` Q${(x1 + x2) / 2 + (isRight ? 18 : -18)} ${(y1 + y2) / 2} `
    return `<path d="M${x1} ${y1}${bend}${x2} ${y2}" marker-end="url(#end)"/>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img" aria-label="Rooms of src on their floors">
<style>text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;fill:#57606a}.floor{fill:#f6f8fa;stroke:#d0d7de}.room{fill:#fff;stroke:#8c959f}path{fill:none;stroke:#cf222e;stroke-width:1.4}</style>
<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#cf222e;stroke:none"/></marker></defs>
<rect width="${width}" height="${y}" fill="#fff"/>
${bands.join('\n')}
${arrows.join('\n')}
${words.join('\n')}
</svg>
`
}
