/**
 * Stryker's runner for Vitest, taught how Vitest 5 names a test: it matches a pattern against names joined by " > ",
 * Stryker makes one of names joined by a blank, and would run none.
 */
import { declareFactoryPlugin, PluginKind } from '@stryker-mutator/api/plugin'
import { strykerPlugins as plugins } from '@stryker-mutator/vitest-runner'

interface Run {
  testIds?: readonly string[]
}
interface Task {
  readonly type: string
  readonly name: string
  readonly fullTestName: string
  readonly suite?: Task
  readonly tasks?: readonly Task[]
}
interface Runner {
  readonly ctx: { readonly state: { getFiles(): readonly Task[] } }
  run(options?: Run): Promise<unknown>
}

// biome-ignore lint/suspicious/noExplicitAny: the plugin's factory is typed for Stryker's own container
const { factory } = plugins[0] as any

function byFullName(injector: unknown): Runner {
  const runner: Runner = factory(injector)
  const run = runner.run.bind(runner)
  /** Vitest's name of a test by Stryker's, as the first run has met them */
  const fullNames = new Map<string, string>()
  runner.run = async ({ testIds = [], ...rest } = {}) => {
    const ids = testIds.map(id => {
      const [file, ...name] = id.split('#')
      return `${file}#${fullNames.get(name.join('#')) ?? name.join('#')}`
    })
    const result = await run({ ...rest, ...(ids.length > 0 && { testIds: ids }) })
    if (testIds.length === 0)
      for (const test of runner.ctx.state.getFiles().flatMap(testsOf))
        fullNames.set(strykersName(test), test.fullTestName)
    return result
  }
  return runner
}
byFullName.inject = factory.inject

function testsOf(task: Task): readonly Task[] {
  return task.type === 'test' ? [task] : (task.tasks ?? []).flatMap(testsOf)
}

function strykersName({ name, suite }: Task): string {
  return (suite === undefined ? name : `${strykersName(suite)} ${name}`).trim()
}

export const strykerPlugins = [
  declareFactoryPlugin(PluginKind.TestRunner, 'vitest-by-full-name', byFullName as never),
]
