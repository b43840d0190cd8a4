/**
 * The build: our own modules and the libraries that most commands load before they do anything go into a few files, as
 * finding and opening four hundred small ones takes Node.js longer than running them (docs/decisions/0111). All other
 * libraries stay in node_modules.
 *
 *     node scripts/bundle.ts [FOLDER]     where to, default `dist`: emptied first
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import path from 'node:path'
import {
  type ChunkingContext,
  type InputOptions,
  type OutputChunk,
  type OutputOptions,
  type Plugin,
  type PreRenderedChunk,
  rolldown,
} from 'rolldown'
import manifest from '../package.json' with { type: 'json' }

const folder = path.resolve(process.argv[2] ?? 'dist')
const root = path.join(import.meta.dirname, '..')
const sources = path.join(root, 'src')
const main = path.join(sources, 'main.ts')

/** What runs in threads and processes of its own: whole, each in a file that the program finds beside its own. */
const alone = ['audio-files/reader-thread.ts', 'audio/worker.ts', 'audio/aac-program.ts']

/** Packages that go together into one file, by name: all that they load, too. */
const libraries: Readonly<Record<string, RegExp>> = {
  // `--help` loads nothing else
  commander: /^commander$/,
  program: /^(chalk|p-limit|yocto-queue|dotenv|ignore|@oxc-project\/runtime)$/,
  database:
    /^(knex(-pglite)?|lodash|pg|pg-(cloudflare|connection-string|int8|pool|protocol|types)|pgpass|postgres-(array|bytea|date|interval)|tarn|split2|xtend|debug|ms|colorette|get-package-type|supports-color|has-flag)$/,
  store:
    /^(@smithy\/.+|@aws\/lambda-invoke-store|bowser|@aws-sdk\/(client-s3|lib-storage|core|checksums|xml-builder|nested-clients|token-providers|signature-v4-multi-region|(middleware|credential-provider|util)-.+))$/,
}

const ours = new Set([...Object.keys(manifest.dependencies), ...Object.keys(manifest.optionalDependencies)])
const nameOf = (specifier: string) => /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier
const libraryOf = (name: string) => Object.keys(libraries).find(one => libraries[one]?.test(name))
const isBundled = (name: string) => libraryOf(name) !== undefined
/** @returns the folder and the name of the package that a file belongs to */
function packageOf(file: string): { root: string; name: string } | undefined {
  const found = /^(.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+))[\\/]/.exec(file)
  return found === null
    ? undefined
    : { root: found[1] as string, name: (found[2] as string).replace('\\', '/') }
}

/**
 * Whether something is left where it is. What a bundled package needs and we do not name ourselves would be looked for
 * from here, where it need not be found.
 */
function isExternal(specifier: string, importer: string | undefined): boolean {
  if (/^[./\\#]/.test(specifier) || path.isAbsolute(specifier)) return false
  const name = nameOf(specifier)
  if (isBundled(name) || isHttp(specifier)) return false
  if (isBuiltin(specifier) || ours.has(name) || importer === undefined) return true
  try {
    createRequire(importer).resolve(specifier)
  } catch {
    return true // it may do without: a driver of another database
  }
  throw new Error(`${packageOf(importer)?.name} needs ${name}: scripts/bundle.ts is to bundle it as well`)
}

/** A module of ours, save the first, which nothing else may import: it ends when the program does. */
const isOurs = (file: string) => file.startsWith(root) && packageOf(file) === undefined && file !== main

/** What a module of ours loads of others' code, itself or by what it imports: bundled libraries, packages of node_modules. */
function loadedBy(id: string, context: ChunkingContext, seen = new Set<string>()): Set<string> {
  seen.add(id)
  const loaded = new Set<string>()
  for (const one of context.getModuleInfo(id)?.importedIds ?? []) {
    if (!isOurs(one)) loaded.add(libraryOf(packageOf(one)?.name ?? '') ?? nameOf(one))
    else if (!seen.has(one)) for (const name of loadedBy(one, context, seen)) loaded.add(name)
  }
  return loaded
}

/**
 * Into which file a module goes that three commands or more load: one for all whose own code is enough, and one for those
 * that bring along the same large library. Whoever needs it then brings along that library anyway.
 */
function nameOfShared(id: string, context: ChunkingContext): string | null {
  const loaded = [...loadedBy(id, context)].filter(name => name !== 'program' && !isBuiltin(name))
  if (loaded.some(name => ours.has(name))) return null
  return ['shared', ...loaded.filter(name => name in libraries).sort()].join('-')
}

/** `src/upload/run.ts` is `program/upload-run.js`: a stack trace says where to look. */
function nameOfChunk({ name, facadeModuleId, moduleIds }: PreRenderedChunk): string {
  const file = facadeModuleId ?? moduleIds.at(-1) ?? ''
  if (name in libraries || !isOurs(file)) return `lib/${name}.js`
  if (isShared(name)) return `program/${name}.js`
  return `program/${path
    .relative(sources, file)
    .replace(/\.\w+$/, '')
    .replaceAll(path.sep, '-')}.js`
}

const isShared = (name: string) => /^(start|shared.*)$/.test(name)

const httpModule = '\0http'
const isHttp = (specifier: string) => /^(node:)?http$/.test(specifier)
/**
 * `import 'node:http'` reads all that it exports, `WebSocket` too, for which Node.js loads the whole of undici: a tenth of
 * a run with nothing to do. This way it is read by name.
 */
const http: Plugin = {
  name: 'http',
  resolveId: id => (isHttp(id) ? httpModule : undefined),
  load: id => (id === httpModule ? 'module.exports = process.getBuiltinModule("node:http")' : undefined),
}

const input: InputOptions = {
  platform: 'node',
  external: isExternal,
  plugins: [http],
  // Syntax that the oldest Node.js does not know (`await using`) is written in what it knows, with @oxc-project/runtime.
  transform: { target: `node${manifest.engines.node.replace('>=', '')}` },
  // Of a package that has ES modules as well, only what is used is taken.
  resolve: { mainFields: ['module', 'main'] },
  // What one command loads when it needs it, another may load at once.
  checks: { ineffectiveDynamicImport: false },
}

async function bundle(input: InputOptions, output: OutputOptions): Promise<OutputChunk[]> {
  const build = await rolldown(input)
  const written = await build.write({ comments: { jsdoc: false }, ...output })
  return written.output.filter(one => one.type === 'chunk')
}

rmSync(folder, { recursive: true, force: true })
mkdirSync(path.join(folder, 'lib'), { recursive: true })
const program = await bundle(
  { ...input, input: { main } },
  {
    dir: folder,
    entryFileNames: 'program/[name].js',
    chunkFileNames: nameOfChunk,
    codeSplitting: {
      groups: [
        { name: 'http', test: (id: string) => id === httpModule, priority: 2 },
        ...Object.entries(libraries).map(([name, names]) => ({
          name,
          test: (id: string) => names.test(packageOf(id)?.name ?? ''),
          priority: 1,
        })),
        // What every start loads, `--help` too, and nothing else.
        { name: 'start', test: isOurs, tags: ['$initial'], priority: 1 },
        {
          debugName: 'shared',
          name: (id, context) => (isOurs(id) ? nameOfShared(id, context) : null),
          minShareCount: 3,
        },
      ],
    },
  },
)
const others = await Promise.all(
  alone.map(file =>
    bundle(
      { ...input, input: path.join(sources, file) },
      { dir: path.join(folder, 'program'), entryFileNames: '[name].js', codeSplitting: false },
    ),
  ),
)

// Files that import each other in a circle run in an order that nobody chose.
const byName = new Map(program.map(chunk => [chunk.fileName, chunk]))
function refuseCircles(name: string, way: readonly string[] = []): void {
  if (way.includes(name))
    throw new Error(`files of the build import each other: ${[...way, name].join(' > ')}`)
  for (const next of byName.get(name)?.imports ?? []) refuseCircles(next, [...way, name])
}
for (const { fileName } of program) refuseCircles(fileName)

// Their licences go where their code goes; many have the same text.
const roots = new Set<string>()
for (const chunk of [...program, ...others.flat()])
  for (const id of chunk.moduleIds) {
    const found = packageOf(id)
    if (found !== undefined) roots.add(found.root)
  }
const notices = new Map<string, string[]>()
for (const one of [...roots].sort()) {
  const { name, version, license } = JSON.parse(readFileSync(path.join(one, 'package.json'), 'utf8'))
  const text = readdirSync(one)
    .filter(file => /^(licen[cs]e|notice|copying)/i.test(file))
    .map(file => readFileSync(path.join(one, file), 'utf8').trim())
    .join('\n\n')
  notices.set(text, [...(notices.get(text) ?? []), `${name} ${version} (${license})`])
}
writeFileSync(
  path.join(folder, 'lib', 'LICENSES.txt'),
  [...notices].map(([text, names]) => `${names.join('\n')}\n\n${text}\n`).join(`\n${'-'.repeat(80)}\n\n`),
)
