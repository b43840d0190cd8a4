/** Text in the cells of a terminal: how wide it is there, and words wrapped at its edge. Loaded at a terminal only. */
import { createRequire } from 'node:module'

const load = createRequire(import.meta.url)

/** Cells that a text takes: two for a wide character, none for an accent or a colour. */
export function displayWidth(text: string): number {
  return (load('string-width') as typeof import('string-width')).default(text)
}

/**
 * Wraps words so that no line is longer than `columns`; what follows a break is indented as its line began, in rows of a
 * table by four more. A word
 * that is longer than a line (a path, a URL) stays whole, for the terminal to break: so it can be copied.
 */
export function wrapWords(text: string, columns: number): string {
  const wrap = (load('wrap-ansi') as typeof import('wrap-ansi')).default
  return text
    .split('\n')
    .map(line => {
      if (line.length <= columns && /^[\x20-\x7e]*$/.test(line)) return line
      const indent = /^ */.exec(line)?.[0] ?? ''
      // Too narrow for its own indentation: rather flush left than one letter a line.
      const room = columns - indent.length
      if (room < 20) return wrap(line.trimStart(), Math.max(1, columns))
      const [first = '', ...rest] = wrap(line.slice(indent.length), room).split('\n')
      if (rest.length === 0) return line
      // A row of a table: what does not fit stands further in, so that rows can be told apart.
      const hanging = /\S {2,}\S/.test(line.slice(indent.length)) && room >= 28 ? '    ' : ''
      return [
        indent + first,
        ...wrap(rest.join(' '), room - hanging.length)
          .split('\n')
          .map(part => indent + hanging + part),
      ].join('\n')
    })
    .join('\n')
}
