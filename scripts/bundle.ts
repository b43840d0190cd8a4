/**
 * The build's last step: libraries that most commands load before they do anything go into a few files in `lib/`, as
 * finding and opening four hundred small ones takes Node.js longer than running them (docs/decisions/0111). Modules of our
 * own stay as they were compiled, all other libraries in node_modules.
 *
 *     node scripts/bundle.ts [FOLDER]     the compiled program, default `dist`: changed in place
 */
import { globSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import path from 'node:path'
import { rolldown } from 'rolldown'
import manifest from '../package.json' with { type: 'json' }

const folder = path.resolve(process.argv[2] ?? 'dist')

/** Packages that go together into one file, by name: all that they load, too. */
const bundles: Readonly<Record<string, RegExp>> = {
  // `--help` loads nothing else
  commander: /^commander$/,
  program: /^(chalk|p-limit|yocto-queue|dotenv|ignore)$/,
  database:
    /^(knex(-pglite)?|lodash|pg|pg-(cloudflare|connection-string|int8|pool|protocol|types)|pgpass|postgres-(array|bytea|date|interval)|tarn|split2|xtend|debug|ms|colorette|get-package-type|supports-color|has-flag)$/,
  store:
    /^(@smithy\/.+|@aws\/lambda-invoke-store|bowser|@aws-sdk\/(client-s3|lib-storage|core|checksums|xml-builder|nested-clients|token-providers|signature-v4-multi-region|(middleware|credential-provider|util)-.+))$/,
}

const ours = new Set([...Object.keys(manifest.dependencies), ...Object.keys(manifest.optionalDependencies)])
const nameOf = (specifier: string) => /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier
const isBundled = (name: string) => Object.values(bundles).some(names => names.test(name))
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
  if (/^[./\\#]|^entry:/.test(specifier) || path.isAbsolute(specifier)) return false
  const name = nameOf(specifier)
  if (isBundled(name)) return false
  if (isBuiltin(specifier) || ours.has(name) || importer === undefined) return true
  try {
    createRequire(importer).resolve(specifier)
  } catch {
    return true // it may do without: a driver of another database
  }
  throw new Error(`${packageOf(importer)?.name} needs ${name}: scripts/bundle.ts is to bundle it as well`)
}

/** `from 'x'`, `import 'x'` and `import('x')` of a library, as TypeScript writes them. */
const imports = /(\bfrom |\bimport |\bimport\()(['"])((?:@[^'"/]+\/)?[^'"/.][^'"]*)\2/g
const modules = globSync('{src,migrations}/**/*.js', { cwd: folder }).map(file => path.join(folder, file))
const used = new Set<string>()
for (const file of modules)
  for (const [, , , specifier = ''] of readFileSync(file, 'utf8').matchAll(imports))
    if (isBundled(nameOf(specifier))) used.add(specifier)

/** What a library exports to our modules. Node.js names what CommonJS exports; a bundler sees the default alone. */
async function entryOf(specifier: string): Promise<string> {
  const names = Object.keys(await import(specifier)).filter(name => /^[A-Za-z_$][\w$]*$/.test(name))
  return `export { ${names.join(', ')} } from ${JSON.stringify(specifier)}`
}

const fileOf = (specifier: string) => specifier.replace(/^@/, '').replaceAll('/', '-').replace(/\.js$/, '')
const build = await rolldown({
  input: Object.fromEntries([...used].map(specifier => [fileOf(specifier), `entry:${specifier}`])),
  plugins: [
    {
      name: 'entries',
      resolveId: id => (id.startsWith('entry:') ? id : undefined),
      load: id => (id.startsWith('entry:') ? entryOf(id.slice('entry:'.length)) : undefined),
    },
  ],
  platform: 'node',
  external: isExternal,
  preserveEntrySignatures: 'strict',
})
const { output } = await build.write({
  dir: path.join(folder, 'lib'),
  entryFileNames: '[name].js',
  chunkFileNames: '[name].js',
  codeSplitting: {
    groups: Object.entries(bundles).map(([name, names]) => ({
      name,
      test: (id: string) => names.test(packageOf(id)?.name ?? ''),
    })),
  },
})

for (const file of modules) {
  const code = readFileSync(file, 'utf8')
  const toLib = path.relative(path.dirname(file), path.join(folder, 'lib')).replaceAll('\\', '/')
  const changed = code.replace(imports, (whole, before: string, quote: string, specifier: string) =>
    used.has(specifier) ? `${before}${quote}${toLib}/${fileOf(specifier)}.js${quote}` : whole,
  )
  if (changed !== code) writeFileSync(file, changed)
}

// Their licences go where their code goes; many have the same text.
const roots = new Set<string>()
for (const chunk of output)
  if (chunk.type === 'chunk')
    for (const id of chunk.moduleIds) {
      const root = packageOf(id)?.root
      if (root !== undefined) roots.add(root)
    }
const notices = new Map<string, string[]>()
for (const root of [...roots].sort()) {
  const { name, version, license } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
  const text = readdirSync(root)
    .filter(file => /^(licen[cs]e|notice|copying)/i.test(file))
    .map(file => readFileSync(path.join(root, file), 'utf8').trim())
    .join('\n\n')
  notices.set(text, [...(notices.get(text) ?? []), `${name} ${version} (${license})`])
}
writeFileSync(
  path.join(folder, 'lib', 'LICENSES.txt'),
  [...notices].map(([text, names]) => `${names.join('\n')}\n\n${text}\n`).join(`\n${'-'.repeat(80)}\n\n`),
)
