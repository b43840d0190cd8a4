/** Other programs: the operator's downloader, and ffmpeg. No shell, a limit on time, and nothing left running. */
import { spawn } from 'node:child_process'
import { programEnvironment } from '../config.ts'
import { systemErrorCode, systemErrorReason } from '../errors.ts'
import { FetchProblem } from './problem.ts'

interface ProgramOptions {
  readonly cwd: string
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** asked twice a second; an error ends the program */
  readonly watch?: () => Promise<void>
}

/** What of a program's words is kept, bytes from the end. */
const keptOutput = 64 * 1024
/** Between SIGTERM and SIGKILL. */
const graceMs = 3_000

/**
 * Runs a program to its end. It gets a process group of its own, so that its children end with it, and an
 * environment without the secrets of this one.
 *
 * @returns the end of what it wrote to standard error
 * @throws FetchProblem `fetch.command-missing`, `fetch.command-failed`, `fetch.command-timeout`; what `watch` threw
 */
export async function runProgram(
  [command, ...args]: readonly [string, ...string[]],
  { cwd, timeoutMs, signal, watch }: ProgramOptions,
): Promise<string> {
  signal.throwIfAborted()
  const child = spawn(command, args, {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: programEnvironment(),
    detached: process.platform !== 'win32',
  })
  let output = Buffer.alloc(0)
  child.stderr.on('data', (chunk: Buffer) => {
    output = Buffer.concat([output, chunk]).subarray(-keptOutput)
  })

  let stopped: unknown
  let killer: NodeJS.Timeout | undefined
  const stop = (why: unknown) => {
    if (stopped !== undefined) return
    stopped = why
    killGroup(child.pid, 'SIGTERM')
    killer = setTimeout(() => killGroup(child.pid, 'SIGKILL'), graceMs)
  }
  const onAbort = () => stop(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const timeout = setTimeout(
    () =>
      stop(new FetchProblem('fetch.command-timeout', `${command} took longer than ${timeoutMs / 1_000} s`)),
    timeoutMs,
  )
  const watcher = watch && setInterval(() => void watch().catch(stop), 500)
  try {
    const { code, killedBy } = await new Promise<{ code: number | null; killedBy: string | null }>(
      (resolve, reject) => {
        child.once('error', reject)
        child.once('close', (code, killedBy) => resolve({ code, killedBy }))
      },
    )
    if (stopped !== undefined) throw stopped
    const said = output.toString('utf8')
    if (code === 0) return said
    const last = said.trim().split('\n').at(-1)?.slice(-300) ?? ''
    throw new FetchProblem(
      'fetch.command-failed',
      `${command} ended with ${killedBy ?? `exit code ${code}`}${last === '' ? '' : `: ${last}`}`,
    )
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'EACCES') {
      throw new FetchProblem('fetch.command-missing', `${command} cannot be run: ${systemErrorReason(error)}`)
    }
    throw error
  } finally {
    clearTimeout(timeout)
    clearTimeout(killer)
    clearInterval(watcher)
    signal.removeEventListener('abort', onAbort)
    // Children that outlived it would write into a folder that is about to go.
    killGroup(child.pid, 'SIGKILL')
  }
}

function killGroup(pid: number | undefined, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal)
  } catch {
    // It is gone, which is what was wanted.
  }
}
