import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

interface Child {
  process: ChildProcess
  /** The next line that it prints; rejects when it ends without one. */
  line(): Promise<string>
  /** kill -9, and waits for the end. */
  kill(): Promise<void>
}

/** Runs a script of this folder in a process of its own. */
export function startChild(script: string, ...args: string[]): Child {
  return startVia([], script, ...args)
}

/** The same, begun by another program. */
export function startVia(before: readonly string[], script: string, ...args: string[]): Child {
  const [command, ...rest] = [...before, process.execPath, join(import.meta.dirname, script), ...args]
  const child = spawn(command!, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return {
    process: child,
    async line() {
      const { value, done } = await lines.next()
      if (done) throw new Error(`${script} ended without a word, exit code ${child.exitCode}`)
      return value
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}
