/** A program at a real pseudo terminal, and what a person sees on its screen: a terminal emulator reads every byte. */
import { spawn } from '@lydell/node-pty'
import headless from '@xterm/headless'
import { bareEnvironment } from './environment.ts'

export interface AtTerminal {
  /** every line, scrolled away or not, as it reads: rows that the terminal broke are one line; without empty ones at the end */
  lines(): string[]
  /** what the program wrote, escape sequences and all */
  readonly written: string
  /** Waits until the lines are as `isSo` wants them. */
  until(isSo: (lines: readonly string[]) => boolean): Promise<void>
  /** keys: `\u0003` is Ctrl-C */
  type(keys: string): void
  resize(columns: number, rows?: number): void
  /** The terminal is closed, as by the window's button. */
  hangUp(): void
  readonly exited: Promise<number>
}

export function atTerminal(
  argv: readonly string[],
  {
    columns = 80,
    rows = 24,
    cwd,
    env = {},
    program = process.execPath,
  }: { columns?: number; rows?: number; cwd: string; env?: Record<string, string>; program?: string },
): AtTerminal {
  const terminal = new headless.Terminal({ cols: columns, rows, scrollback: 5_000, allowProposedApi: true })
  const pty = spawn(program, [...argv], {
    cols: columns,
    rows,
    cwd,
    name: 'xterm-256color',
    env: { ...bareEnvironment(), HOME: cwd, TERM: 'xterm-256color', ...env },
  })
  const waiting = new Set<() => void>()
  let written = ''
  let ended = false
  let end: (code: number) => void = () => {}
  const exited = new Promise<number>(resolve => {
    end = resolve
  })
  pty.onData(text => {
    written += text
    terminal.write(text, () => {
      for (const look of waiting) look()
    })
  })
  pty.onExit(({ exitCode }) => {
    // What is still on its way to the screen comes first.
    terminal.write('', () => {
      ended = true
      for (const look of waiting) look()
      end(exitCode)
    })
  })

  function lines(): string[] {
    const buffer = terminal.buffer.active
    const found: string[] = []
    for (let row = 0; row < buffer.length; row++) {
      const line = buffer.getLine(row)
      const isFull = buffer.getLine(row + 1)?.isWrapped === true
      const text = line?.translateToString(!isFull) ?? ''
      if (line?.isWrapped) found[found.length - 1] += text
      else found.push(text)
    }
    while (found.at(-1) === '') found.pop()
    return found
  }

  return {
    lines,
    get written() {
      return written
    },
    until: isSo =>
      new Promise((resolve, reject) => {
        const look = () => {
          const isRight = isSo(lines())
          if (!isRight && !ended) return
          waiting.delete(look)
          if (isRight) resolve()
          else reject(new Error(`the program ended, and the screen is\n${lines().join('\n')}`))
        }
        waiting.add(look)
        look()
      }),
    type: keys => pty.write(keys),
    // Kernels send SIGHUP when the other side closes; node-pty's own way closes it a while later.
    hangUp: () => pty.kill('SIGHUP'),
    resize(newColumns, newRows = rows) {
      terminal.resize(newColumns, newRows)
      pty.resize(newColumns, newRows)
    },
    exited,
  }
}
