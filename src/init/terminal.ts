/** Questions on the terminal: prompts on stderr, answers from stdin, secrets without an echo. */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { AppError, ExitCode } from '../errors.ts'
import { wrapWords } from '../report/cells.ts'
import type { Prompter } from './interview.ts'

const stopped = () => new AppError(ExitCode.sigint, 'stopped; nothing was written', { code: 'init.stopped' })

/**
 * One reader for all questions: between two of them the terminal would echo what is typed, and what is typed ahead
 * would be lost. Ctrl-C and Ctrl-D end it with an error.
 */
export function terminalPrompter(signal: AbortSignal): Prompter & { close(): void } {
  let muted = false
  // As a terminal's stream: readline counts the columns of what it draws.
  const output = Object.assign(
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        if (!muted) process.stderr.write(chunk)
        done()
      },
    }),
    { isTTY: true, columns: process.stderr.columns, rows: process.stderr.rows },
  )
  const resize = () => {
    output.columns = process.stderr.columns
    output.rows = process.stderr.rows
    output.emit('resize')
  }
  process.stderr.on('resize', resize)
  const wrapped = (text: string) => wrapWords(text, process.stderr.columns || 80)
  // No history: the key that brings an answer back would bring a secret back.
  const readline = createInterface({ input: process.stdin, output, terminal: true, historySize: 0 })
  const typedAhead: string[] = []
  let waiting: { resolve(line: string): void; reject(error: Error): void } | undefined
  let ended = false
  readline.on('line', line => {
    if (waiting === undefined) typedAhead.push(line)
    else waiting.resolve(line)
  })
  readline.on('SIGINT', () => readline.close())
  readline.on('close', () => {
    ended = true
    waiting?.reject(stopped())
  })
  const abort = () => readline.close()
  signal.addEventListener('abort', abort, { once: true })
  return {
    async ask(prompt, { secret }) {
      if (ended) throw stopped()
      // The last line alone is the prompt: readline draws it anew with each key.
      const lines = wrapped(prompt.trimEnd()).split('\n')
      const last = lines.pop() as string
      for (const line of lines) process.stderr.write(`${line}\n`)
      readline.setPrompt(`${last} `)
      readline.prompt()
      muted = secret
      try {
        return (
          typedAhead.shift() ??
          (await new Promise<string>((resolve, reject) => {
            waiting = { resolve, reject }
          }))
        )
      } finally {
        waiting = undefined
        muted = false
        if (secret) process.stderr.write('\n')
      }
    },
    say: text => void process.stderr.write(`${wrapped(text)}\n`),
    close() {
      signal.removeEventListener('abort', abort)
      process.stderr.off('resize', resize)
      readline.close()
    },
  }
}
