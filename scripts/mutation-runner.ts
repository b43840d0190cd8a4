/**
 * What runs a test in `scripts/mutation.ts`: once to see which mutants it reaches, or once for each mutant that it is
 * meant to notice, in one process that stays open. Reads MUTATION_PLAN and writes a line of JSON for each try to
 * MUTATION_LOG.
 */
import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setEnvironmentData } from 'node:worker_threads'
import { type RunnerTask, type RunnerTestCase, type RunnerTestFile, TestRunner } from 'vitest'
import { type Instrumented, mostMutants, none, sharedName } from './mutation-place.ts'

/** Mutants to be tried, by test, by file. `reach`: each test once, with none. `whole`: one mutant from the start. */
export interface MutationPlan {
  readonly mode: 'reach' | 'try' | 'whole'
  readonly mutants: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>
  /** times that a mutant may be passed in one test: more is a loop without end */
  readonly hitLimits: Readonly<Record<string, number>>
  /** milliseconds that a test may take, by file: what takes longer never ends, whatever limit it has of its own */
  readonly timeLimits: Readonly<Record<string, Readonly<Record<string, number>>>>
}

/** `broken`: after the mutant the same test fails without it, so that its own failure proves nothing. */
type Verdict = 'passed' | 'failed' | 'timed out' | 'broken'

export type LogLine =
  | {
      kind: 'reach'
      file: string
      test: string
      ms: number
      /** of the process and its threads: what a busy machine does not change */
      cpuMs: number
      passed: boolean
      hits: Record<string, number>
    }
  | { kind: 'static'; file: string; mutants: string[] }
  | { kind: 'begin'; file: string; test: string; mutant: string }
  | { kind: 'end'; file: string; test: string; mutant: string; verdict: Verdict; message?: string }

const log = process.env['MUTATION_LOG'] as string
const say = (line: LogLine) => appendFileSync(log, `${JSON.stringify(line)}\n`)

function killedSoFar(): Set<string> {
  const lines = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').filter(Boolean) : []
  const found = lines.map(line => JSON.parse(line) as LogLine)
  return new Set(found.flatMap(one => (one.kind === 'end' && one.verdict === 'failed' ? [one.mutant] : [])))
}

class NothingLeft extends Error {}

export default class MutationRunner extends TestRunner {
  readonly #plan = JSON.parse(readFileSync(process.env['MUTATION_PLAN'] as string, 'utf8')) as MutationPlan
  readonly #killed = killedSoFar()
  readonly #instrumented: Instrumented
  /** with threads: the mutant that is on, then the times that they passed each */
  readonly #shared = new Int32Array(new SharedArrayBuffer(4 * (mostMutants + 1)))
  /** where processes say what they passed */
  readonly #reached = `${log}.${process.pid}.reached`
  readonly #names = new Map<string, string>()
  readonly #due = new Map<string, string[]>()
  /** the mutant whose failure in the test at hand is to be confirmed by a try without it, and its message */
  #doubted: { mutant: string; message: string } | undefined
  #trying: string | undefined
  #since = { ms: 0, cpu: process.cpuUsage() }

  constructor(config: ConstructorParameters<typeof TestRunner>[0]) {
    super(config)
    const place = globalThis as unknown as { __stryker__?: Instrumented }
    place.__stryker__ ??= {}
    this.#instrumented = place.__stryker__
    setEnvironmentData(sharedName, this.#shared.buffer)
    this.#activate(process.env['__STRYKER_ACTIVE_MUTANT__'])
    if (this.#plan.mode === 'reach') process.env['MUTATION_REACHED'] = this.#reached
  }

  /** Here, in the threads that there are, and in processes to come. */
  #activate(mutant: string | undefined): void {
    this.#instrumented.activeMutant = mutant
    Atomics.store(this.#shared, 0, mutant === undefined ? none : Number(mutant))
    if (mutant === undefined) delete process.env['__STRYKER_ACTIVE_MUTANT__']
    else process.env['__STRYKER_ACTIVE_MUTANT__'] = mutant
  }

  /** What this test passed: here, in threads, and in processes that have ended. */
  #hits(test: RunnerTestCase): Record<string, number> {
    const hits = { ...this.#instrumented.mutantCoverage?.perTest[test.id] }
    const add = (id: number | string, count: number) => {
      hits[id] = (hits[id] ?? 0) + count
    }
    this.#shared.forEach((count, place) => {
      if (place > 0 && count > 0) add(place - 1, count)
    })
    if (existsSync(this.#reached))
      for (const line of readFileSync(this.#reached, 'utf8').trim().split('\n'))
        for (const [id, count] of Object.entries(JSON.parse(line) as Record<string, number>)) add(id, count)
    return hits
  }

  onCollected(files: RunnerTestFile[]): void {
    for (const file of files) {
      const name = path.relative(this.config.root, file.filepath)
      const counts = new Map<string, number>()
      this.#keep(file, name, [], counts)
    }
  }

  /** Leaves out what is not in the plan. @returns whether anything of it is */
  #keep(task: RunnerTask, file: string, names: readonly string[], counts: Map<string, number>): boolean {
    if (task.mode === 'skip' || task.mode === 'todo') return false
    task.concurrent = false
    if (task.type === 'suite') {
      const isFile = 'filepath' in task
      const kept = task.tasks.map(one => this.#keep(one, file, isFile ? [] : [...names, task.name], counts))
      if (!kept.includes(true)) task.mode = 'skip'
      return kept.includes(true)
    }
    const plain = [...names, task.name].join(' > ')
    const count = counts.get(plain) ?? 0
    counts.set(plain, count + 1)
    const test = count === 0 ? plain : `${plain} #${count + 1}`
    this.#names.set(task.id, test)
    if (this.#plan.mode === 'reach') return true
    const due = this.#plan.mutants[file]?.[test]?.filter(mutant => !this.#killed.has(mutant)) ?? []
    if (due.length === 0) {
      task.mode = 'skip'
      return false
    }
    this.#due.set(task.id, [...due])
    // Each mutant, and after each a try without it, should it fail.
    if (this.#plan.mode === 'try') task.repeats = 2 * due.length - 1
    return true
  }

  override onBeforeTryTask(test: RunnerTestCase, options: { retry: number; repeats: number }): void {
    super.onBeforeTryTask(test, options)
    if (test.result !== undefined) test.result.errors = []
    this.#since = { ms: performance.now(), cpu: process.cpuUsage() }
    if (this.#plan.mode === 'reach') {
      this.#instrumented.currentTestId = test.id
      this.#shared.fill(0, 1)
      rmSync(this.#reached, { force: true })
      return
    }
    if (this.#doubted !== undefined) return
    const due = this.#due.get(test.id) ?? []
    let mutant = due.shift()
    while (mutant !== undefined && this.#killed.has(mutant)) mutant = due.shift()
    if (mutant === undefined) throw new NothingLeft()
    say({ kind: 'begin', ...this.#named(test), mutant })
    this.#trying = mutant
    if (this.#plan.mode === 'whole') return
    this.#instrumented.hitCount = 0
    this.#instrumented.hitLimit = this.#plan.hitLimits[mutant] ?? 1_000_000
    this.#activate(mutant)
  }

  async runTask(test: RunnerTestCase): Promise<void> {
    const { file, test: name } = this.#named(test)
    const limit = this.#plan.timeLimits[file]?.[name]
    const work = TestRunner.getTestFn(test)()
    if (limit === undefined) return work
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`timed out in ${limit}ms`)), limit)
    })
    await Promise.race([work, late]).finally(() => clearTimeout(timer))
  }

  override async onAfterRetryTask(
    test: RunnerTestCase,
    options: { retry: number; repeats: number },
  ): Promise<void> {
    await super.onAfterRetryTask(test, options)
    const passed = test.result?.state !== 'fail'
    const message = test.result?.errors?.[0]?.message ?? ''
    if (this.#plan.mode === 'reach') {
      this.#instrumented.currentTestId = undefined
      const ms = performance.now() - this.#since.ms
      const { user, system } = process.cpuUsage(this.#since.cpu)
      const cpuMs = (user + system) / 1_000
      say({ kind: 'reach', ...this.#named(test), ms, cpuMs, passed, hits: this.#hits(test) })
      return
    }
    const mutant = this.#trying
    this.#trying = undefined
    if (this.#plan.mode === 'try') {
      this.#activate(undefined)
      this.#instrumented.hitCount = undefined
      if (test.result !== undefined) Object.assign(test.result, { state: 'run', errors: [] })
    }
    const doubted = this.#doubted
    this.#doubted = undefined
    if (doubted !== undefined) {
      if (!passed)
        return this.#end(test, doubted.mutant, 'broken', `${doubted.message}; without it: ${message}`)
      this.#killed.add(doubted.mutant)
      say({ kind: 'end', ...this.#named(test), ...doubted, verdict: 'failed' })
    }
    if (mutant === undefined) return
    if (passed) say({ kind: 'end', ...this.#named(test), mutant, verdict: 'passed' })
    else if (/timed out in \d+ms/.test(message)) this.#end(test, mutant, 'timed out', message)
    else if (this.#plan.mode === 'whole') this.#end(test, mutant, 'failed', message)
    else this.#doubted = { mutant, message: message.slice(0, 200) }
  }

  override onAfterRunFiles(files: RunnerTestFile[]): void {
    super.onAfterRunFiles(files)
    if (this.#plan.mode !== 'reach') return
    for (const { filepath } of files) {
      const mutants = Object.keys(this.#instrumented.mutantCoverage?.static ?? {})
      say({ kind: 'static', file: path.relative(this.config.root, filepath), mutants })
    }
  }

  #named(test: RunnerTestCase): { file: string; test: string } {
    const file = path.relative(this.config.root, test.file.filepath)
    return { file, test: this.#names.get(test.id) as string }
  }

  /** What comes after it in this process would prove nothing: the rest is for another. */
  #end(test: RunnerTestCase, mutant: string, verdict: Verdict, message: string): void {
    say({ kind: 'end', ...this.#named(test), mutant, verdict, message: message.slice(0, 200) })
    process.kill(process.pid, 'SIGKILL')
  }
}
