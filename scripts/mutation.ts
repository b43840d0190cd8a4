/**
 * Mutation testing: `npm run test:mutation [ROOM…]`, or `sample`, what CI runs. A room is a few sources and the tests that
 * are meant to notice a change in them. Closes with a line a room: mutants killed of those that count, and the survivors
 * one by one. Exit code 1 below the floor of 0.90.
 *
 * The mutants are Stryker's, all of a room's in one copy of the tree, each behind a switch. They are run by our own
 * runner (`mutation-runner.ts`): Stryker's starts each test file again for each mutant, which takes hours where that
 * means a database. Here a test file starts once for all mutants that its tests reach, each test runs once a mutant,
 * and a failure counts once the same test has passed in the same process without the mutant. What hangs, or leaves the
 * process so that tests fail without it, is run again alone before it counts.
 *
 * MUTATION_SAMPLE=N takes N mutants of each room, the same for the same source; MUTATION_SEED takes others.
 * MUTATION_AGAIN=1 runs only what survived last time. MUTATION_ROUNDS=2 shows a mutant eleven tests at most: what is killed
 * then is a lower bound, had in a third of the time. MUTATION_PATIENCE=12 takes what stands still for so many seconds for a
 * loop without end (60: databases have to start). MUTATION_ONLY=test/unit asks the tests of such files alone: a lower bound,
 * without the minutes that all others take once. `test/mutation/equivalent.json` names the survivors that no test can tell
 * from the source, and why; an entry that is no mutant of its room any more is an error.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type File, Instrumenter } from '@stryker-mutator/instrumenter'
import { mostMutants } from './mutation-place.ts'
import type { LogLine, MutationPlan } from './mutation-runner.ts'
import { copyTree } from './mutation-tree.ts'

interface Room {
  readonly mutate: readonly string[]
  readonly tests: readonly string[]
}

/** Tests of what PGlite, which has one connection, cannot show. */
const onPostgres = (test: string): string[] => (process.env['TEST_POSTGRES_URL'] ? [test] : [])

const rooms: Readonly<Record<string, Room>> = {
  sample: {
    mutate: ['src/core/{proof-ranges,retry,limits,redact}.ts'],
    tests: ['test/unit/core/{proof-ranges,retry,limits,redact,units}.test.ts'],
  },
  // Pure: nothing but unit tests.
  safety: {
    mutate: ['src/core/{safety,plan,prefixes,http-range,audio-source,proof-ranges,retry,limits}.ts'],
    tests: [
      'test/unit/core/{safety,plan,prefixes,http-range,audio-source,proof-ranges,retry,limits}.test.ts',
    ],
  },
  differences: { mutate: ['src/core/reconcile/*.ts'], tests: ['test/unit/core/reconcile/*.test.ts'] },
  names: {
    mutate: [
      'src/core/{keys,audio-path,audio-selection,names,listed-names,path-selector,selection,utf8-order}.ts',
      'src/core/{content-type,database-url,cdn-url,cdn-provider,loopback,mounts,proxy,aws-profile,settings-files}.ts',
      'src/core/{inventory-url,redact,units}.ts',
    ],
    tests: [
      'test/unit/core/*.test.ts',
      'test/unit/core/import/*.test.ts',
      'test/unit/settings-files.test.ts',
    ],
  },
  answers: {
    mutate: [
      'src/core/storage/*.ts',
      'src/core/server/*.ts',
      'src/core/verify/*.ts',
      'src/core/upload/*.ts',
      'src/core/{crc32,bandwidth}.ts',
    ],
    tests: ['test/unit/core/{storage,server,verify}/*.test.ts', 'test/unit/upload/transfer.test.ts'],
  },
  import: {
    mutate: ['src/core/{import,fetch,init,migrate,cost,policy}/*.ts'],
    tests: ['test/unit/core/{import,fetch,init,migrate,cost,policy}/*.test.ts'],
  },
  bucket: { mutate: ['src/core/bucket/*.ts'], tests: ['test/unit/core/bucket/*.test.ts'] },
  containers: {
    mutate: ['src/core/containers/*.ts'],
    tests: [
      'test/unit/core/containers/*.test.ts',
      'test/unit/core/content-type.test.ts',
      'test/unit/import/tags.test.ts',
    ],
  },
  tags: {
    mutate: ['src/core/tags/*.ts'],
    tests: ['test/unit/core/tags/*.test.ts', 'test/unit/import/tags.test.ts'],
  },
  diagnosis: { mutate: ['src/core/diagnosis/*.ts'], tests: ['test/unit/core/diagnosis/*.test.ts'] },
  'audio-files': {
    mutate: ['src/audio-files/{source,content-proof,delete-proved,remove-together}.ts'],
    tests: [
      'test/unit/audio-files/*.ts',
      'test/contract/{delete-proved,file-identity,guards,meanwhile,safety,upload,track-runs}.test.ts',
    ],
  },
  cleanup: {
    mutate: ['src/cleanup/{leftovers,local-copies}.ts'],
    tests: ['test/contract/{cleanup-states,guards,meanwhile,safety}.test.ts', 'test/e2e/cleanup.test.ts'],
  },
  restore: {
    mutate: ['src/restore/restore.ts'],
    tests: [
      'test/contract/{restore-batch,restore-states,guards,safety}.test.ts',
      'test/e2e/{cleanup,one-object-away,restore}.test.ts',
    ],
  },
  plan: {
    mutate: ['src/plan/{execute,headers,journal,needs,plan-file,removals,rows,item-executor}.ts'],
    tests: [
      'test/unit/plan/*.ts',
      'test/contract/{plan-states,guards,meanwhile,safety,reconcile,plan-lost-answers}.test.ts',
    ],
  },
  reconcile: {
    mutate: [
      'src/reconcile/{inventory,comparator,keyed-rows,listing,object-inspector,tally}.ts',
      'src/audio-files/without-audio.ts',
    ],
    tests: [
      'test/unit/reconcile/*.ts',
      'test/unit/audio-files/without-audio.test.ts',
      'test/contract/{reconcile-looks,reconcile-states,guards,meanwhile,safety,reconcile}.test.ts',
    ],
  },
  upload: {
    mutate: ['src/upload/{upload-ledger,multipart-upload,verifier,resume,transfer,work}.ts'],
    tests: [
      'test/unit/upload/*.ts',
      'test/contract/{upload,track-runs,safety}.test.ts',
      'test/e2e/upload-damaged.test.ts',
    ],
  },
  storage: {
    mutate: [
      'src/storage/{s3-copy,s3-delete,s3-multipart,s3-read,s3-stream,s3-write,s3-errors,resilience,requests}.ts',
      'src/throttle.ts',
    ],
    tests: [
      'test/unit/storage/*.ts',
      'test/unit/throttle.test.ts',
      'test/contract/object-store.test.ts',
      'test/e2e/{bwlimit,one-object-away}.test.ts',
    ],
  },
  runs: {
    mutate: ['src/runs/*.ts', 'src/file-effects.ts', 'src/db/lock-file.ts'],
    tests: [
      'test/unit/runs/*.ts',
      'test/unit/file-effects.test.ts',
      'test/contract/{run,lock-file,row-security,safety,track-runs}.test.ts',
      ...onPostgres('test/integration/track-runs.test.ts'),
    ],
  },
  fetch: {
    mutate: ['src/fetch/{url-download,http-get,public-address,staged-upload,fetcher}.ts'],
    tests: [
      'test/unit/fetch/*.ts',
      'test/contract/{fetch-sources,guards,meanwhile,track-runs}.test.ts',
      'test/e2e/fetch.test.ts',
    ],
  },
  worker: {
    mutate: ['src/worker/{handlers,repeat,run,seats,summary,worker}.ts'],
    tests: ['test/unit/worker/*.ts', 'test/contract/{worker-ends,worker}.test.ts'],
  },
  verify: {
    mutate: ['src/verify/{content,steadily,verify,tally}.ts', 'src/cdn/{probe,served}.ts'],
    tests: [
      'test/unit/verify/*.ts',
      'test/unit/cdn/*.ts',
      'test/contract/verify-ledger.test.ts',
      'test/e2e/verify{,-faults}.test.ts',
    ],
  },
}

/** Where the copy of the tree lies, the log and the report; Git ignores it. */
const folder = path.resolve('.stryker-tmp', process.env['MUTATION_FOLDER'] ?? 'work')
const tree = path.join(folder, 'tree')
const equivalentFile = 'test/mutation/equivalent.json'
const floor = 0.9
/** What starting a file and its tests may take, beside the tests, milliseconds: what takes longer never ends. Pure tests need a fifth. */
const patience = Number(process.env['MUTATION_PATIENCE'] ?? 60) * 1_000
/** Tests a mutant gets to see, in turn, of which each takes at most so long: most die of the first. */
const rounds = [
  { size: 3, mostMs: Number.POSITIVE_INFINITY },
  { size: 8, mostMs: Number.POSITIVE_INFINITY },
  { size: 60, mostMs: Number.POSITIVE_INFINITY },
  { size: 1_000, mostMs: 50 },
].slice(0, Number(process.env['MUTATION_ROUNDS'] ?? 4))
/** Test processes at a time. */
const processes = Number(process.env['MUTATION_PROCESSES'] ?? 2)
/** Where tests have their files if there is such a thing: a third of their time is the disk's. */
const memory = '/dev/shm'

interface Equivalent {
  readonly file: string
  /** the line of the source, without its indent */
  readonly line: string
  readonly mutator: string
  readonly replacement: string
  readonly why: string
}

interface Mutant {
  readonly id: string
  readonly room: string
  readonly file: string
  /** from 1 */
  readonly lineNumber: number
  readonly line: string
  readonly mutator: string
  readonly replacement: string
  /** the same for the same source */
  readonly key: string
  /** `file|test`: the time it takes, and its place in the order */
  reached: Map<string, { ms: number; weight: number }>
  /** files of tests that reach it while they load it */
  loadedBy: string[]
  maxHits: number
  tried: Set<string>
  state: 'alive' | 'killed' | 'unreached' | 'equivalent'
  by: string
}

const asked = process.argv.slice(2)
const names = asked.length > 0 ? asked : Object.keys(rooms).filter(name => name !== 'sample')
const sampleSize = Number(process.env['MUTATION_SAMPLE'] ?? Number.POSITIVE_INFINITY)
const seed = process.env['MUTATION_SEED'] ?? '1'

const hash = (text: string) => createHash('sha256').update(text).digest('hex')

/** `a/{b,c}.ts` as `a/b.ts` and `a/c.ts`. */
function alternatives(pattern: string): string[] {
  const [, before, inside, after] = /^(.*?)\{(.*?)\}(.*)$/.exec(pattern) ?? []
  if (inside === undefined) return [pattern]
  return inside.split(',').flatMap(one => alternatives(`${before}${one}${after}`))
}

/** Of the tests of a room those that are asked: the others are not even started. */
const isAsked = (file: string): boolean => new RegExp(process.env['MUTATION_ONLY'] ?? '').test(file)

/** A file that was renamed would be left out without a word. */
function filesOf(room: string, patterns: readonly string[]): string[] {
  return patterns.flatMap(alternatives).flatMap(pattern => {
    const found = globSync(pattern).sort()
    if (found.length === 0) throw new Error(`room "${room}": there is no ${pattern}`)
    return found
  })
}

/**
 * Every decision of the core has a room. Left out is the analysis of sound: five thousand mutants of arithmetic, most of
 * which move a result by less than the next release of the weights does. What it is worth, its benchmarks measure.
 */
function refuseHomeless(): void {
  for (const [name, { tests }] of Object.entries(rooms)) filesOf(name, tests)
  const housed = new Set(Object.entries(rooms).flatMap(([name, { mutate }]) => filesOf(name, mutate)))
  const homeless = globSync('src/core/**/*.ts').filter(
    file => !housed.has(file) && !file.startsWith('src/core/audio/'),
  )
  if (homeless.length > 0) throw new Error(`in no room: ${homeless.join(', ')}`)
}

function roomOf(name: string): Room {
  const room = rooms[name]
  if (room === undefined) throw new Error(`no room "${name}"; there are ${Object.keys(rooms).join(', ')}`)
  return room
}

/** Puts all mutants of the rooms into the copy. Words and styles are left out: they are for readers to judge. */
async function instrument(): Promise<Mutant[]> {
  const roomOfFile = new Map<string, string>()
  for (const name of names)
    for (const file of filesOf(name, roomOf(name).mutate))
      if (!roomOfFile.has(file)) roomOfFile.set(file, name)
  const quiet = () => {}
  const logger = { debug: quiet, info: quiet, warn: quiet, isDebugEnabled: () => false }
  const { files, mutants } = await new Instrumenter(logger as never).instrument(
    [...roomOfFile.keys()].map(name => ({ name, mutate: true, content: readFileSync(name, 'utf8') })),
    { plugins: null, excludedMutations: ['StringLiteral', 'ObjectLiteral'], ignorers: [] },
  )
  if (mutants.length > mostMutants) throw new Error(`more than ${mostMutants} mutants: name fewer rooms`)
  for (const { name, content } of files as File[]) {
    const place = path.relative(path.dirname(name), 'scripts/mutation-place.ts')
    writeFileSync(path.join(tree, name), `import '${place}'\n${content}`)
  }
  const seen = new Map<string, number>()
  return mutants
    .filter(({ status }) => status !== 'Ignored')
    .map(({ id, fileName: file, location, mutatorName: mutator, replacement }) => {
      const lineNumber = location.start.line + 1
      const line = readFileSync(file, 'utf8').split('\n')[lineNumber - 1]?.trim() ?? ''
      const text = [file, line, mutator, replacement].join('\n')
      const count = (seen.get(text) ?? 0) + 1
      seen.set(text, count)
      return {
        id,
        room: roomOfFile.get(file) as string,
        file,
        lineNumber,
        line,
        mutator,
        replacement: (replacement ?? '').replaceAll(/\s+/g, ' '),
        key: hash(`${text}\n${count}`),
        reached: new Map(),
        loadedBy: [],
        maxHits: 0,
        tried: new Set(),
        state: 'alive',
        by: '',
      }
    })
}

let runs = 0

/** Runs the tests of a plan in the copy. @returns what they logged */
async function run(
  plan: MutationPlan,
  files: readonly string[],
  { timeoutMs = 60_000, env = {} }: { timeoutMs?: number; env?: Record<string, string> } = {},
): Promise<LogLine[]> {
  const log = path.join(folder, `${++runs}.log`)
  const planFile = `${log}.plan`
  writeFileSync(planFile, JSON.stringify(plan))
  writeFileSync(log, '')
  const child = spawn(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--config', 'vitest.mutation.config.ts', ...files],
    {
      cwd: tree,
      stdio: 'ignore',
      detached: true,
      env: {
        ...process.env,
        ...(existsSync(memory) ? { TMPDIR: memory } : {}),
        MUTATION_PLAN: planFile,
        MUTATION_LOG: log,
        MUTATION_TESTS: files.join(' '),
        MUTATION_TIMEOUT_MS: String(
          Math.max(timeoutMs, ...Object.values(plan.timeLimits).flatMap(tests => Object.values(tests))),
        ),
        ...env,
      },
    },
  )
  await ended(child, log, begun => plan.timeLimits[begun.file]?.[begun.test] ?? timeoutMs)
  return readFileSync(log, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as LogLine)
}

/** What a busy machine may take to start a process and load what it tests, milliseconds. */
const patienceMs = 600_000

/** Ends what writes nothing for long: a mutant may block the process, so that no limit of a test strikes. */
function ended(
  child: ChildProcess,
  log: string,
  limitOf: (last: { file: string; test: string }) => number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let size = 0
    let silentSince = Date.now()
    let mostMs = patienceMs
    const timer = setInterval(() => {
      const now = statSync(log).size
      if (now !== size) {
        size = now
        silentSince = Date.now()
        // The test, the test once more without the mutant, and what empties or starts its database.
        mostMs =
          60_000 + 2 * limitOf(JSON.parse(readFileSync(log, 'utf8').trim().split('\n').at(-1) as string))
      } else if (Date.now() - silentSince > mostMs && child.pid) process.kill(-child.pid, 'SIGKILL')
    }, 1_000)
    child.once('error', reject)
    child.once('exit', () => {
      clearInterval(timer)
      resolve()
    })
  })
}

/** What a file of tests reached, and of what: mutants by their keys, as their numbers change with every other file. */
interface Reach {
  /** hash of the tests */
  readonly tests: string
  /** hash of each mutated source */
  readonly sources: Readonly<Record<string, string>>
  /** keys of all mutants there were */
  readonly keys: readonly string[]
  readonly lines: readonly LogLine[]
}

/**
 * Each test once: which mutants it reaches. Kept beside the report, as it takes as long as the tests; a file of tests is
 * asked again once it, the contract beside it, or what is mutated has changed. MUTATION_REACH=kept goes on with what is
 * known of sources that have changed since: a mutant that is new is then tried by all tests that reached its file.
 */
async function reachOf(mutants: ReadonlyMap<string, Mutant>): Promise<Reach[]> {
  const mutated = [...new Set([...mutants.values()].map(({ file }) => file))].sort()
  const sources = Object.fromEntries(mutated.map(file => [file, hash(readFileSync(file, 'utf8'))]))
  const tests = [...new Set(names.flatMap(name => filesOf(name, roomOf(name).tests)))].filter(isAsked)
  // As they are in the copy: whoever writes tests meanwhile writes them for the next run.
  const hashes = new Map(
    tests.map(test => {
      const own = [test, test.replace('.test.ts', '.ts')].filter(file => existsSync(path.join(tree, file)))
      return [test, hash(own.map(file => readFileSync(path.join(tree, file), 'utf8')).join('\0'))]
    }),
  )
  const hashOf = (test: string): string => hashes.get(test) as string
  const cacheFile = path.join(folder, 'reach.json')
  const known: Record<string, Reach> = existsSync(cacheFile)
    ? JSON.parse(readFileSync(cacheFile, 'utf8'))
    : {}
  const isKept = process.env['MUTATION_REACH'] === 'kept'
  const isKnown = (test: string): boolean => {
    const one = known[test]
    const same = (file: string) => one?.sources[file] === sources[file] || (isKept && one?.sources[file])
    return one?.tests === hashOf(test) && mutated.every(same)
  }
  const asked = tests.filter(test => !isKnown(test))
  if (asked.length > 0) {
    const plan: MutationPlan = { mode: 'reach', mutants: {}, hitLimits: {}, timeLimits: {} }
    const dealt = deal(asked, name => name)
    const lines = (await Promise.all(dealt.map(files => run(plan, files, { timeoutMs: 300_000 })))).flat()
    const keyOf = (id: string): string => mutants.get(id)?.key ?? ''
    const keyed = lines.map((line): LogLine => {
      if (line.kind === 'static') return { ...line, mutants: line.mutants.map(keyOf) }
      if (line.kind !== 'reach') return line
      return {
        ...line,
        hits: Object.fromEntries(Object.entries(line.hits).map(([id, hits]) => [keyOf(id), hits])),
      }
    })
    const keys = [...mutants.values()].map(({ key }) => key)
    // A file that said nothing in the end was ended in the middle of it.
    for (const { kind, file } of keyed)
      if (kind === 'static')
        known[file] = { tests: hashOf(file), sources, keys, lines: keyed.filter(one => one.file === file) }
    writeFileSync(cacheFile, JSON.stringify(known))
  }
  const missing = tests.filter(test => !isKnown(test))
  if (missing.length > 0) console.log(`gave no account of what they reach: ${missing.join(', ')}`)
  // A share of none would be no share: it says how busy the machine is.
  if (missing.length === tests.length) throw new Error('no test gave an account: there is no figure')
  return tests.flatMap(test => (isKnown(test) ? (known[test] as Reach) : []))
}

async function reach(mutants: ReadonlyMap<string, Mutant>): Promise<Map<string, string[]>> {
  const testsOf = new Map<string, string[]>()
  const byKey = new Map([...mutants.values()].map(mutant => [mutant.key, mutant]))
  for (const { lines, keys } of await reachOf(mutants)) {
    const knownKeys = new Set(keys)
    const unknown = [...mutants.values()].filter(({ key }) => !knownKeys.has(key))
    for (const line of lines) {
      if (line.kind === 'static') for (const key of line.mutants) byKey.get(key)?.loadedBy.push(line.file)
      if (line.kind !== 'reach') continue
      if (!line.passed) {
        console.log(`left out, as it fails without a mutant: ${line.file} > ${line.test}`)
        continue
      }
      testsOf.set(line.file, [...(testsOf.get(line.file) ?? []), line.test])
      const hit = Object.entries(line.hits).flatMap(([key, hits]) => {
        const mutant = byKey.get(key)
        return mutant === undefined ? [] : [{ mutant, hits }]
      })
      const files = new Set(hit.map(({ mutant }) => mutant.file))
      for (const mutant of unknown) if (files.has(mutant.file)) hit.push({ mutant, hits: 1_000 })
      const weight = hit.length / mutants.size
      for (const { mutant, hits } of hit) {
        // What is quick, and what is about little else, first.
        mutant.reached.set(`${line.file}|${line.test}`, {
          ms: line.cpuMs,
          weight: line.cpuMs * (0.1 + weight),
        })
        mutant.maxHits = Math.max(mutant.maxHits, hits)
      }
    }
  }
  return testsOf
}

type Pair = readonly [Mutant, string]

/** The file of a test and its name. */
function halves(test: string): [string, string] {
  const bar = test.indexOf('|')
  return [test.slice(0, bar), test.slice(bar + 1)]
}

function planOf(pairs: readonly Pair[], mode: 'try' | 'whole'): MutationPlan {
  const mutants: Record<string, Record<string, string[]>> = {}
  for (const [{ id }, test] of pairs) {
    const [file, name] = halves(test)
    mutants[file] ??= {}
    mutants[file][name] = [...(mutants[file][name] ?? []), id]
  }
  const hitLimits = Object.fromEntries(pairs.map(([{ id, maxHits }]) => [id, 10_000 + 100 * maxHits]))
  const timeLimits: Record<string, Record<string, number>> = {}
  for (const [{ reached }, test] of pairs) {
    const [file, name] = halves(test)
    const ms = reached.get(test)?.ms
    if (ms === undefined) continue
    timeLimits[file] ??= {}
    // A busy machine may take many times what a test takes of its own.
    timeLimits[file][name] = patience + 30 * ms
  }
  return { mode, mutants, hitLimits, timeLimits }
}

const filesIn = ({ mutants }: MutationPlan) => Object.keys(mutants)

/** Shares them out to as many processes as there are to be; what goes by one name stays together. */
function deal<T>(all: readonly T[], nameOf: (one: T) => string): T[][] {
  const names = [...new Set(all.map(nameOf))]
  const placeOf = new Map(names.map((name, place) => [name, place % processes]))
  const shares = Array.from({ length: Math.min(processes, names.length) }, (): T[] => [])
  for (const one of all) shares[placeOf.get(nameOf(one)) as number]?.push(one)
  return shares
}

/** Runs pairs until each has a verdict, those that hang or break the process alone. */
async function tryPairs(pairs: readonly Pair[]): Promise<void> {
  const alive = pairs.filter(([mutant]) => mutant.state === 'alive')
  const alone = await Promise.all(deal(alive, ([{ id }]) => id).map(tryTogether))
  await Promise.all(
    deal(alone.flat(), ([{ id }]) => id).map(async share => {
      for (const [mutant, test] of share) if (mutant.state === 'alive') await tryAlone(mutant, test)
    }),
  )
}

/** @returns the pairs that are to be tried alone, in a process of their own */
async function tryTogether(pairs: readonly Pair[]): Promise<Pair[]> {
  const alone: Pair[] = []
  /** those that hung once, or broke the process: the others of this round would cost as much each */
  const struck = new Set<Mutant>()
  let left = [...pairs]
  while (left.length > 0) {
    const plan = planOf(left, 'try')
    const lines = await run(plan, filesIn(plan))
    const before = left.length
    const byId = new Map(left.map(([mutant]) => [mutant.id, mutant]))
    let begun: Pair | undefined
    for (const line of lines) {
      if (line.kind !== 'begin' && line.kind !== 'end') continue
      const mutant = byId.get(line.mutant)
      if (mutant === undefined) continue
      const test = `${line.file}|${line.test}`
      if (line.kind === 'begin') {
        begun = [mutant, test]
        continue
      }
      begun = undefined
      mutant.tried.add(test)
      if (line.verdict === 'failed')
        Object.assign(mutant, { state: 'killed', by: `${line.test}: ${line.message}` })
      else if (line.verdict !== 'passed') {
        alone.push([mutant, test])
        struck.add(mutant)
      }
    }
    // The process was ended in the middle of it.
    if (begun !== undefined && !begun[0].tried.has(begun[1])) {
      begun[0].tried.add(begun[1])
      alone.push(begun)
      struck.add(begun[0])
    }
    left = left.filter(
      ([mutant, test]) => mutant.state === 'alive' && !struck.has(mutant) && !mutant.tried.has(test),
    )
    if (left.length === before) {
      console.log(
        `no verdict on ${left.length} mutants and tests, such as ${left[0]?.[0].id} by ${left[0]?.[1]}`,
      )
      break
    }
  }
  return alone
}

async function tryAlone(mutant: Mutant, test: string): Promise<void> {
  const plan = planOf([[mutant, test]], 'try')
  const lines = await run(plan, filesIn(plan))
  const end = lines.find(line => line.kind === 'end')
  if (end?.kind === 'end' && end.verdict === 'passed') return
  // It left something behind, so that the same test failed without it: another process tells what that proves.
  if (end?.kind === 'end' && end.verdict === 'broken' && !(await passes(mutant, test))) return
  const how = end?.kind === 'end' ? end.message : 'never ends'
  Object.assign(mutant, { state: 'killed', by: `${test}: ${how}` })
}

/** Whether a test passes in a process of its own without any mutant. */
async function passes(mutant: Mutant, test: string): Promise<boolean> {
  const plan = planOf([[{ ...mutant, id: '-1' }, test]], 'try')
  const lines = await run(plan, filesIn(plan))
  return lines.some(line => line.kind === 'end' && line.verdict === 'passed')
}

/** One that is reached while modules are loaded: active from the start of a process, against whole files. */
async function tryWhole(mutant: Mutant, testsOf: ReadonlyMap<string, string[]>): Promise<void> {
  const files = mutant.loadedBy.sort((a, b) => Number(b.includes('/unit/')) - Number(a.includes('/unit/')))
  for (const file of files) {
    const plan = planOf(
      (testsOf.get(file) ?? []).map(test => [mutant, `${file}|${test}`] as const),
      'whole',
    )
    const lines = await run(plan, [file], { env: { __STRYKER_ACTIVE_MUTANT__: mutant.id } })
    const ends = lines.filter(line => line.kind === 'end')
    const killer = ends.find(({ verdict }) => verdict !== 'passed')
    if (killer !== undefined || ends.length === 0) {
      Object.assign(mutant, { state: 'killed', by: `${file}: ${killer?.message ?? 'does not load'}` })
      return
    }
  }
}

/** Wilson's interval of a share, 95 %. */
function interval(killed: number, count: number): [number, number] {
  const z = 1.96
  const share = killed / count
  const middle = share + z ** 2 / (2 * count)
  const half = z * Math.sqrt((share * (1 - share)) / count + z ** 2 / (4 * count ** 2))
  return [(middle - half) / (1 + z ** 2 / count), (middle + half) / (1 + z ** 2 / count)]
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`

refuseHomeless()
mkdirSync(folder, { recursive: true })
copyTree(tree)
const all = await instrument()
const equivalents = JSON.parse(readFileSync(equivalentFile, 'utf8')) as Equivalent[]
const isNamed = (one: Mutant) =>
  equivalents.some(
    ({ file, line, mutator, replacement }) =>
      file === one.file && line === one.line && mutator === one.mutator && replacement === one.replacement,
  )
const mutated = new Set(all.map(({ file }) => file))
const stale = equivalents.filter(
  ({ file, line, mutator, replacement }) =>
    mutated.has(file) &&
    !all.some(
      one =>
        one.file === file && one.line === line && one.mutator === mutator && one.replacement === replacement,
    ),
)
for (const { file, line } of stale)
  console.log(`${equivalentFile} names what is no mutant any more: ${file}: ${line}`)

const reportFile = path.join(folder, 'report.json')
const survivedBefore =
  process.env['MUTATION_AGAIN'] === undefined
    ? undefined
    : new Set(
        JSON.parse(readFileSync(reportFile, 'utf8'))
          .filter(({ state }: Mutant) => state === 'alive' || state === 'unreached')
          .map((one: Mutant) => one.key),
      )
const chosen = names.flatMap(name =>
  all
    .filter(({ room, key }) => room === name && (survivedBefore?.has(key) ?? true))
    .map(mutant => ({ mutant, place: hash(`${seed} ${mutant.key}`) }))
    .sort((a, b) => (a.place < b.place ? -1 : 1))
    .slice(0, sampleSize)
    .map(({ mutant }) => mutant),
)

// What is named is not tried: it would see every test that reaches it.
for (const mutant of chosen) if (isNamed(mutant)) mutant.state = 'equivalent'

const since = Date.now()
const testsOf = await reach(new Map(all.map(one => [one.id, one])))
console.log(
  `${all.length} mutants, ${chosen.length} chosen; reach: ${Math.round((Date.now() - since) / 1_000)} s`,
)
for (const { size, mostMs } of rounds) {
  const pairs = chosen
    .filter(({ state }) => state === 'alive')
    .flatMap(mutant =>
      [...mutant.reached]
        .sort(([, a], [, b]) => a.weight - b.weight)
        .filter(([test, { ms }]) => ms <= mostMs && !mutant.tried.has(test))
        .slice(0, size)
        .map(([test]): Pair => [mutant, test]),
    )
  await tryPairs(pairs)
  const alive = chosen.filter(({ state }) => state === 'alive').length
  console.log(`after ${size} tests more: ${alive} alive; ${Math.round((Date.now() - since) / 1_000)} s`)
}
/** Twice: those reached while modules are loaded take long, as each needs a process. */
const writeReport = () =>
  writeFileSync(
    reportFile,
    JSON.stringify(
      chosen.map(({ reached, tried, ...one }) => ({ ...one, reached: [...reached.keys()] })),
      null,
      1,
    ),
  )
writeReport()
for (const mutant of chosen) {
  if (mutant.state !== 'alive') continue
  if (mutant.loadedBy.length > 0) await tryWhole(mutant, testsOf)
  else if (mutant.reached.size === 0) mutant.state = 'unreached'
}
writeReport()

let isLow = false
for (const name of names) {
  const here = chosen.filter(({ room }) => room === name)
  const counted = here.filter(({ state }) => state !== 'equivalent')
  for (const one of counted.filter(({ state }) => state !== 'killed')) {
    const { state, file, lineNumber, mutator, line, replacement } = one
    console.log(`${state} ${file}:${lineNumber} ${mutator}: ${line} → ${replacement}`)
  }
  const killed = counted.filter(({ state }) => state === 'killed').length
  const share = counted.length === 0 ? 1 : killed / counted.length
  const total = all.filter(({ room }) => room === name).length
  const [low, high] = interval(killed, Math.max(1, counted.length))
  const sampled = here.length < total ? ` (95 %: ${percent(low)} to ${percent(high)})` : ''
  const equivalent = here.length - counted.length
  console.log(
    `${name}: ${killed} of ${counted.length} mutants killed, ${percent(share)}${sampled}; ${equivalent} equivalent; the room has ${total}`,
  )
  if (share < floor) isLow = true
}
console.log(`${Math.round((Date.now() - since) / 1_000)} s`)
rmSync(tree, { recursive: true, force: true })
process.exitCode = isLow || stale.length > 0 ? 1 : 0
