/**
 * Mutation testing by Stryker: `npm run test:mutation [ROOM…]`, or `sample`, what CI runs; `ROOM:FILE` takes one file of it. A room is a few sources and
 * the tests that are meant to notice a change in them: few enough that a mutant costs seconds, not minutes. Closes
 * with a line a room: mutants killed of those that count, and the survivors one by one. Exit code 1 below the floor.
 *
 * A whole room takes hours where its tests need a database. MUTATION_SAMPLE=N takes one in N passages of a few lines, so
 * that the share killed is an estimate; MUTATION_SHIFT (0 to N-1) takes others. MUTATION_CONCURRENCY: mutants at a time.
 */
import { spawnSync } from 'node:child_process'
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

interface Room {
  readonly mutate: readonly string[]
  readonly tests: readonly string[]
  /** share of mutants that must be killed, 0 to 1 */
  readonly floor: number
}

const rooms: Readonly<Record<string, Room>> = {
  sample: {
    mutate: ['src/core/proof-ranges.ts', 'src/core/retry.ts', 'src/core/limits.ts', 'src/core/redact.ts'],
    tests: ['test/unit/core/{proof-ranges,retry,limits,redact,units}.test.ts'],
    floor: 0.9,
  },
  deciding: {
    mutate: ['src/core/{safety,plan,prefixes,http-range,audio-source}.ts', 'src/core/reconcile/*.ts'],
    tests: [
      'test/unit/core/{safety,plan,prefixes,http-range,audio-source}.test.ts',
      'test/unit/core/reconcile/*.ts',
    ],
    floor: 0.9,
  },
  'audio-files': {
    mutate: ['src/audio-files/{source,content-proof,delete-proved,remove-together}.ts'],
    tests: ['test/unit/audio-files/*.ts', 'test/contract/{file-identity,guards,safety,upload}.test.ts'],
    floor: 0.9,
  },
  cleanup: {
    mutate: ['src/cleanup/{leftovers,local-copies}.ts'],
    tests: ['test/contract/safety.test.ts', 'test/e2e/cleanup.test.ts'],
    floor: 0.9,
  },
  restore: {
    mutate: ['src/restore/restore.ts'],
    tests: ['test/contract/safety.test.ts'],
    floor: 0.9,
  },
  plan: {
    mutate: ['src/plan/{execute,headers,journal,needs,plan-file,removals,rows,item-executor}.ts'],
    tests: ['test/unit/plan/*.ts', 'test/contract/{guards,safety,reconcile}.test.ts'],
    floor: 0.9,
  },
  reconcile: {
    mutate: [
      'src/reconcile/{inventory,comparator,keyed-rows,listing,object-inspector,tally,without-audio}.ts',
    ],
    tests: ['test/contract/{guards,safety,reconcile}.test.ts'],
    floor: 0.9,
  },
  upload: {
    mutate: ['src/upload/{upload-ledger,multipart-upload,verifier,resume,transfer,work}.ts'],
    tests: ['test/unit/upload/*.ts', 'test/contract/upload.test.ts'],
    floor: 0.9,
  },
  storage: {
    mutate: [
      'src/storage/{s3-copy,s3-delete,s3-multipart,s3-read,s3-stream,s3-write,s3-errors,resilience}.ts',
      'src/throttle.ts',
    ],
    tests: ['test/unit/storage/*.ts', 'test/contract/object-store.test.ts'],
    floor: 0.9,
  },
  runs: {
    mutate: ['src/runs/*.ts', 'src/file-effects.ts', 'src/db/lock-file.ts'],
    tests: ['test/unit/runs/*.ts', 'test/contract/{run,lock-file,safety}.test.ts'],
    floor: 0.9,
  },
  fetch: {
    mutate: ['src/fetch/{url-download,http-get,public-address,staged-upload,fetcher}.ts'],
    tests: ['test/unit/fetch/*.ts', 'test/e2e/fetch.test.ts'],
    floor: 0.9,
  },
  worker: {
    mutate: ['src/worker/*.ts'],
    tests: ['test/unit/worker/*.ts', 'test/contract/worker.test.ts'],
    floor: 0.9,
  },
  verify: {
    mutate: ['src/verify/{content,steadily,verify,tally}.ts', 'src/cdn/{probe,served}.ts'],
    tests: ['test/unit/verify/*.ts', 'test/unit/cdn/*.ts'],
    floor: 0.8,
  },
}

/** Where Stryker works and reports; Git ignores it. */
const workFolder = '.stryker-tmp'

interface Mutant {
  readonly mutatorName: string
  readonly replacement?: string
  readonly status: string
  readonly location: { readonly start: { readonly line: number } }
}

/** @returns whether enough mutants were killed */
function mutate(name: string, { mutate, tests, floor }: Room): boolean {
  const report = path.join(workFolder, `${name}.json`)
  const config = path.join(workFolder, `${name}.config.json`)
  mkdirSync(workFolder, { recursive: true })
  writeFileSync(
    config,
    JSON.stringify({
      testRunner: 'vitest-by-full-name',
      plugins: [path.resolve('scripts/mutation-runner.ts')],
      vitest: { configFile: 'vitest.mutation.config.ts', related: false },
      mutate: mutate.flatMap(passagesOf),
      ignorePatterns: ['dist', 'docs', 'bench', 'training'],
      // TypeScript 7 has no API that Stryker could rewrite a tsconfig with; there is nothing to rewrite.
      tsconfigFile: 'none.json',
      tempDirName: path.join(workFolder, name),
      reporters: ['json', 'progress-append-only'],
      jsonReporter: { fileName: report },
      concurrency: Number(process.env['MUTATION_CONCURRENCY'] ?? 2),
      // Words and styles are for readers to judge.
      mutator: { excludedMutations: ['StringLiteral', 'ObjectLiteral'] },
      timeoutMS: 15_000,
      warnings: false,
      allowConsoleColors: false,
    }),
  )
  rmSync(report, { force: true })
  const since = Date.now()
  const { status } = spawnSync('npx', ['stryker', 'run', config], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, MUTATION_TESTS: tests.join(' ') },
  })
  if (status !== 0) throw new Error(`Stryker ended with ${status}`)
  const { files } = JSON.parse(readFileSync(report, 'utf8')) as {
    files: Record<string, { source: string; mutants: Mutant[] }>
  }
  let killed = 0
  let counted = 0
  for (const [file, { source, mutants }] of Object.entries(files)) {
    for (const { status: end, location, mutatorName, replacement } of mutants) {
      if (end === 'Ignored' || end === 'CompileError' || end === 'RuntimeError') continue
      counted++
      if (end === 'Killed' || end === 'Timeout') killed++
      else {
        const { line } = location.start
        const text = source.split('\n')[line - 1]?.trim()
        console.log(`${end} ${file}:${line} ${mutatorName}: ${text} → ${replacement?.replaceAll('\n', ' ')}`)
      }
    }
  }
  const share = counted === 0 ? 0 : killed / counted
  const seconds = Math.round((Date.now() - since) / 1_000)
  console.log(`${name}: ${killed} of ${counted} mutants killed, ${(100 * share).toFixed(1)} %, ${seconds} s`)
  return share >= floor
}

const sample = Number(process.env['MUTATION_SAMPLE'] ?? 1)
const shift = Number(process.env['MUTATION_SHIFT'] ?? 0)
const passageLines = 6

/** What is mutated of a pattern of files: all of it, or, for a sample, passages as Stryker writes them. */
function passagesOf(pattern: string): string[] {
  if (sample <= 1 || /:\d+-\d+$/.test(pattern)) return [pattern]
  return globSync(pattern)
    .sort()
    .flatMap(file => {
      const lines = readFileSync(file, 'utf8').split('\n').length
      const passages = Array.from({ length: Math.ceil(lines / passageLines) }, (_, index) => index)
      return passages
        .filter(index => index % sample === shift % sample)
        .map(index => `${file}:${index * passageLines + 1}-${(index + 1) * passageLines}`)
    })
}

/** `ROOM`, or `ROOM:FILE[:FROM-TO]` for one file of it, or some of its lines. */
function roomOf(asked: string): Room {
  const [, name = '', file] = /^([^:]*)(?::(.+))?$/.exec(asked) ?? []
  const room = rooms[name]
  if (room === undefined) throw new Error(`no room "${name}"; there are ${Object.keys(rooms).join(', ')}`)
  return file === undefined ? room : { ...room, mutate: [file] }
}

/** `a/{b,c}.ts` as `a/b.ts` and `a/c.ts`. */
function alternatives(pattern: string): string[] {
  const [, before, inside, after] = /^(.*?)\{(.*?)\}(.*)$/.exec(pattern) ?? []
  if (inside === undefined) return [pattern]
  return inside.split(',').flatMap(one => alternatives(`${before}${one}${after}`))
}

// A file that was renamed would be left out without a word.
for (const [name, { mutate }] of Object.entries(rooms))
  for (const file of mutate.flatMap(alternatives))
    if (globSync(file).length === 0) throw new Error(`room "${name}": there is no ${file}`)

const asked = process.argv.slice(2)
const names = asked.length > 0 ? asked : Object.keys(rooms)
const low = names.filter(name => !mutate(name.replaceAll(/\W+/g, '-'), roomOf(name)))
if (low.length > 0) console.log(`below their floor: ${low.join(', ')}`)
process.exitCode = low.length > 0 ? 1 : 0
