import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Job, JobResult } from './cli-child.ts'

/** One command line in a process of its own. @returns undefined where it was killed */
export async function runInChild(job: Job): Promise<JobResult | undefined> {
  const child: ChildProcess = fork(fileURLToPath(new URL('./cli-child.ts', import.meta.url)), {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.on('message', message => {
      if (message === 'ready') child.send(job)
      else resolve(message as JobResult)
    })
    child.once('exit', (_code, signal) => {
      if (signal === 'SIGKILL') resolve(undefined)
      else setTimeout(() => reject(new Error('ended without an answer')), 1_000).unref()
    })
  })
}
