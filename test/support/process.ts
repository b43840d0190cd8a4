/** The program as a process of its own, from the sources: Node.js strips the types. For what needs real signals. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bareEnvironment } from './environment.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

export interface Finished {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export function start(
  argv: readonly string[],
  env: Record<string, string>,
): { child: ChildProcess; finished: Promise<Finished> } {
  const child = spawn(process.execPath, [main, ...argv], {
    env: { ...bareEnvironment(), HOME: process.env['HOME'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  return { child, finished }
}

/** The files below a folder that this process has open; none where the system does not tell. */
export function openBelow(folder: string): string[] {
  const all = '/proc/self/fd'
  if (!existsSync(all)) return []
  return readdirSync(all).flatMap(fd => {
    try {
      const file = readlinkSync(`${all}/${fd}`)
      return file.startsWith(folder) ? [file] : []
    } catch {
      // The one that lists them is closed by now.
      return []
    }
  })
}
