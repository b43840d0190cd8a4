/** A command as data: what it is called, what it takes, and the function that does it. */

import type { Context } from '../context.ts'
import type { ExitCode } from '../errors.ts'
import type { SettingTopic } from '../settings.ts'
import type { Flags, ValuesOf } from './flags.ts'

interface Argument {
  /** as commander spells it: `<plan>`, `[dir]`, `[files...]` */
  readonly spec: string
  readonly description: string
  readonly choices?: readonly string[]
  readonly defaultValue?: string
}

export interface Command {
  /** `migrate`, or `bucket check` for a command in a group */
  readonly name: string
  /** one line, lower case, no full stop */
  readonly summary: string
  /** a paragraph or two below the usage line */
  readonly description?: string
  /** command line and what it does */
  readonly examples?: readonly (readonly [line: string, does: string])[]
  readonly args: readonly Argument[]
  readonly flags: Flags
  /** it takes the flags that choose tracks, or those of paths alone; its own flag of a name goes before theirs */
  readonly selects?: 'tracks' | 'paths'
  /** the settings that it heeds, besides the records of runs: `--help` lists those (default: all) */
  readonly settings?: readonly SettingTopic[]
  /** Arguments are strings in the order of `args`; a variadic one is the rest. */
  run(context: Context, flags: Readonly<Record<string, unknown>>, args: readonly string[]): Promise<ExitCode>
}

/**
 * Defines a command; `flags` decides the type of what `run` gets.
 *
 * A command file is loaded on every start, so it imports nothing heavy at the top: the work comes in by
 * `await import()` inside `run`.
 */
export function defineCommand<const F extends Flags>(
  definition: Omit<Command, 'flags' | 'args' | 'run'> & {
    readonly args?: readonly Argument[]
    readonly flags: F
    run(context: Context, flags: ValuesOf<F>, args: readonly string[]): Promise<ExitCode>
  },
): Command {
  return {
    args: [],
    ...definition,
    run: (context, flags, args) => definition.run(context, flags as ValuesOf<F>, args),
  }
}
