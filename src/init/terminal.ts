/** Questions on the terminal: prompts on stderr, answers from stdin, secrets without an echo. */
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import type { Prompter } from './interview.ts'

export function terminalPrompter(signal: AbortSignal): Prompter {
  return {
    async ask(prompt, { secret }) {
      let muted = false
      const output = new Writable({
        write(chunk: Buffer, _encoding, done) {
          if (!muted) process.stderr.write(chunk)
          done()
        },
      })
      const readline = createInterface({ input: process.stdin, output, terminal: true })
      try {
        const answer = readline.question(prompt, { signal })
        muted = secret
        return await answer
      } finally {
        readline.close()
        if (secret) process.stderr.write('\n')
      }
    },
    say: text => void process.stderr.write(`${text}\n`),
  }
}
