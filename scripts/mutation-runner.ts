/**
 * What runs a test in `scripts/mutation.ts`: once to see which mutants it reaches, or once for each mutant that it is
 * meant to notice, in one process that stays open. Reads MUTATION_PLAN and writes a line of JSON for each try to
 * MUTATION_LOG.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { type RunnerTask, type RunnerTestCase, type RunnerTestFile, TestRunner } from 'vitest'

/** Mutants to be tried, by test, by file. `reach`: each test once, with none. `whole`: one mutant from the start. */
export interface MutationPlan {
  readonly mode: 'reach' | 'try' | 'whole'
  readonly mutants: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>
  /** times that a mutant may be passed in one test: more is a loop without end */
  readonly hitLimits: Readonly<Record<string, number>>
}

/** `broken`: after the mutant the same test fails without it, so that its own failure proves nothing. */
type Verdict = 'passed' | 'failed' | 'timed out' | 'broken'

export type LogLine =
  | { kind: 'reach'; file: string; test: string; ms: number; passed: boolean; hits: Record<string, number> }
  | { kind: 'static'; file: string; mutants: string[] }
  | { kind: 'begin'; file: string; test: string; mutant: string }
  | { kind: 'end'; file: string; test: string; mutant: string; verdict: Verdict; message?: string }

/** What Stryker's instrumented code reads and writes. */
interface Instrumented {
  activeMutant?: string | undefined
  currentTestId?: string | undefined
  mutantCoverage?: { static: Record<string, number>; perTest: Record<string, Record<string, number>> }
  hitCount?: number | undefined
  hitLimit?: number | undefined
}

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
  readonly #names = new Map<string, string>()
  readonly #due = new Map<string, string[]>()
  /** the mutant whose failure in the test at hand is to be confirmed by a try without it, and its message */
  #doubted: { mutant: string; message: string } | undefined
  #trying: string | undefined
  #since = 0

  constructor(config: ConstructorParameters<typeof TestRunner>[0]) {
    super(config)
    const place = globalThis as unknown as { __stryker__?: Instrumented }
    place.__stryker__ ??= {}
    this.#instrumented = place.__stryker__
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
    this.#since = performance.now()
    if (this.#plan.mode === 'reach') {
      this.#instrumented.currentTestId = test.id
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
    this.#instrumented.activeMutant = mutant
    // For processes of its own.
    process.env['__STRYKER_ACTIVE_MUTANT__'] = mutant
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
      const hits = this.#instrumented.mutantCoverage?.perTest[test.id] ?? {}
      const ms = performance.now() - this.#since
      say({ kind: 'reach', ...this.#named(test), ms, passed, hits })
      return
    }
    const mutant = this.#trying
    this.#trying = undefined
    if (this.#plan.mode === 'try') {
      this.#instrumented.activeMutant = undefined
      this.#instrumented.hitCount = undefined
      delete process.env['__STRYKER_ACTIVE_MUTANT__']
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
