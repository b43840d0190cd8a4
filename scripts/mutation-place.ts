/**
 * What `scripts/mutation.ts` has each mutated source load first. In a thread or a process that a test starts, Stryker's
 * switch and its counts would be ones of its own: the switch would stay as it was at the start of a thread that lives on,
 * and nobody would hear of what was counted.
 */
import { appendFileSync } from 'node:fs'
import { getEnvironmentData, isMainThread } from 'node:worker_threads'

/** What Stryker's instrumented code reads and writes. */
export interface Instrumented {
  activeMutant?: string | undefined
  currentTestId?: string | undefined
  mutantCoverage?: { static: Record<string, number>; perTest: Record<string, Record<string, number>> }
  hitCount?: number | undefined
  hitLimit?: number | undefined
}

/** Under this name threads get the memory that they share with the test: the mutant, then a count for each one. */
export const sharedName = 'autodj mutation'
/** Mutants that there is room for. */
export const mostMutants = 20_000
/** No mutant is on. */
export const none = -1

const place = globalThis as unknown as { __stryker__?: Instrumented }
const shared = getEnvironmentData(sharedName) as SharedArrayBuffer | undefined
if (place.__stryker__ === undefined) {
  if (!isMainThread && shared !== undefined) place.__stryker__ = ofThread(new Int32Array(shared))
  else if (process.env['MUTATION_REACHED'] !== undefined)
    place.__stryker__ = ofProcess(process.env['MUTATION_REACHED'])
}

function ofThread(memory: Int32Array): Instrumented {
  const counts = new Proxy<Record<string, number>>(
    {},
    {
      get: (_, id) => Atomics.load(memory, Number(id) + 1),
      set: (_, id) => Atomics.add(memory, Number(id) + 1, 1) >= 0,
    },
  )
  return {
    get activeMutant() {
      const id = Atomics.load(memory, 0)
      return id === none ? undefined : String(id)
    },
    set activeMutant(_) {},
    mutantCoverage: { static: counts, perTest: {} },
  }
}

/** Of a process that is killed nobody hears. */
function ofProcess(file: string): Instrumented {
  const counts: Record<string, number> = {}
  process.on('exit', () => appendFileSync(file, `${JSON.stringify(counts)}\n`))
  return { mutantCoverage: { static: counts, perTest: {} } }
}
