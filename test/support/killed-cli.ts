/** Command lines in processes of their own that can be killed in the middle, with SIGKILL: see `cli-child.ts`. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Job, JobResult } from './cli-child.ts'

/** A start takes as long as many a command: a few wait, so that whoever needs one does not. */
export class WaitingClis {
  readonly #count: number
  readonly #waiting: Promise<ChildProcess>[] = []

  /** @param count how many wait */
  constructor(count: number) {
    this.#count = count
  }

  /** @returns an empty result where the kill came first */
  async run(job: Job): Promise<Partial<JobResult>> {
    while (this.#waiting.length <= this.#count) this.#waiting.push(startChild())
    const child = await (this.#waiting.shift() as Promise<ChildProcess>)
    return new Promise(resolve => {
      let result: Partial<JobResult> = {}
      child.removeAllListeners('exit')
      child.once('message', message => {
        result = message as JobResult
      })
      child.once('exit', () => resolve(result))
      child.send(job)
    })
  }

  async close(): Promise<void> {
    for (const child of this.#waiting.splice(0)) (await child).kill('SIGKILL')
  }
}

function startChild(): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('cli-child.ts', import.meta.url)), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  return new Promise((resolve, reject) => {
    child.once('message', () => resolve(child))
    child.once('exit', code => reject(new Error(`the child ended with ${code} before it was ready`)))
  })
}
