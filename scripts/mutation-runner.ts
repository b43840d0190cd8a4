/**
 * Stryker's runner for Vitest, running whole files of tests where it would run some of their tests by a pattern of
 * names: Vitest 5 matches such a pattern against other names than Stryker makes it of, and runs none.
 */
import { declareFactoryPlugin, PluginKind } from '@stryker-mutator/api/plugin'
import { strykerPlugins as plugins } from '@stryker-mutator/vitest-runner'

interface Run {
  testIds?: readonly string[]
  testFiles?: readonly string[]
  relatedFiles?: readonly string[]
}
interface Runner {
  run(options?: Run): Promise<unknown>
}

// biome-ignore lint/suspicious/noExplicitAny: the plugin's factory is typed for Stryker's own container
const { factory } = plugins[0] as any

function wholeFiles(injector: unknown): Runner {
  const runner: Runner = factory(injector)
  const run = runner.run.bind(runner)
  runner.run = ({ testIds = [], testFiles, ...rest } = {}) =>
    run({
      ...rest,
      testFiles: testIds.length > 0 ? [...new Set(testIds.map(id => id.split('#')[0] as string))] : testFiles,
    })
  return runner
}
wholeFiles.inject = factory.inject

export const strykerPlugins = [
  declareFactoryPlugin(PluginKind.TestRunner, 'vitest-files', wholeFiles as never),
]
