/**
 * Holds the imports of src/ against the floors below, and draws them: `node scripts/architecture.ts` is part of
 * `npm run lint`; with `--write` it renews the picture in docs/architecture.md.
 *
 * A room is a folder of src/ or a file at its top. It may import from all floors below its own. The features stand above
 * the floors that are listed; they may use each other, in few pairs and never in both directions.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseSync } from 'oxc-parser'

/** From the bottom up. Rooms that share a line do not know each other. */
const floors: readonly (readonly string[])[] = [
  ['error-codes.ts'],
  ['errors.ts'],
  ['core'],
  ['network.ts', 'settings-files.ts'],
  ['config.ts', 'heap.ts', 'file-effects.ts', 'report', 'external-sort', 'audio'],
  ['db', 'storage', 'records'],
  ['cdn', 'cost', 'embedded', 'throttle.ts'],
  ['context.ts'],
  ['audio-files', 'runs', 'cli'],
  ['queue'],
]
const top = ['nightly', 'commands.ts', 'program.ts', 'main.ts']
/** Pairs of features of which one imports files of the other: what is shared belongs on a floor below. */
const mostPairs = 10

const root = path.join(import.meta.dirname, '..')
const picture = path.join(root, 'docs/architecture.md')

interface Import {
  readonly from: string
  readonly to: string
}

const files = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  .map(file => `src/${file.split(path.sep).join('/')}`)
const imports = files.flatMap(importsOf)
const problems = [...cycles(), ...risingImports(), ...pairProblems()]

if (process.argv.includes('--write')) {
  const text = readFileSync(picture, 'utf8')
  writeFileSync(picture, text.replace(/```mermaid[\s\S]*?```/, `\`\`\`mermaid\n${mermaid()}\`\`\``))
} else if (!readFileSync(picture, 'utf8').includes(mermaid())) {
  problems.push(
    'docs/architecture.md: its picture is not of these imports; node scripts/architecture.ts --write',
  )
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

/** Floors as boxes, highest first; arrows between features only, since those below may be used by all above. */
function mermaid(): string {
  const rooms = [...new Set(files.map(room))].toSorted()
  const id = (name: string): string => name.replace(/\W/g, '_')
  const box = (title: string, names: readonly string[]): string =>
    `  subgraph ${id(title)}["${title}"]\n${names.map(name => `    ${id(name)}["${name}"]\n`).join('')}  end\n`
  const boxes = [
    box('commands', top),
    box('features', rooms.filter(isFeature)),
    ...floors.map((names, floor) => box(`floor ${floor}`, names)).toReversed(),
  ]
  const chain = ['commands', 'features', ...floors.map((_, floor) => id(`floor ${floor}`)).toReversed()]
  const arrows = [...featurePairs()].toSorted().map(pair => `  ${pair.split(' ').map(id).join(' --> ')}\n`)
  return `flowchart TB\n${boxes.join('')}  ${chain.join(' ==> ')}\n${arrows.join('')}`
}
