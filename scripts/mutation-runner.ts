/**
 * Stryker's runner for Vitest, taught how Vitest 5 names a test: it matches a pattern against names joined by " > ",
 * Stryker makes one of names joined by a blank, and would run none.
 */
import { declareFactoryPlugin, PluginKind } from '@stryker-mutator/api/plugin'
import { strykerPlugins as plugins } from '@stryker-mutator/vitest-runner'

interface Vitest {
  readonly projects: readonly { readonly config: { testNamePattern?: RegExp } }[]
  start(files?: readonly string[]): Promise<unknown>
}
interface Runner {
  readonly ctx: Vitest
  init(): Promise<void>
}

// biome-ignore lint/suspicious/noExplicitAny: the plugin's factory is typed for Stryker's own container
const { factory } = plugins[0] as any

function byFullName(injector: unknown): Runner {
  const runner: Runner = factory(injector)
  const init = runner.init.bind(runner)
  runner.init = async () => {
    await init()
    const { ctx } = runner
    const start = ctx.start.bind(ctx)
    ctx.start = files => {
      for (const { config } of ctx.projects)
        if (config.testNamePattern !== undefined)
          config.testNamePattern = new RegExp(config.testNamePattern.source.replaceAll(' ', '(?: > | )'))
      return start(files)
    }
  }
  return runner
}
byFullName.inject = factory.inject

export const strykerPlugins = [
  declareFactoryPlugin(PluginKind.TestRunner, 'vitest-by-full-name', byFullName as never),
]
