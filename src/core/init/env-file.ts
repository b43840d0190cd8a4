/** The text of a `.env`, written so that dotenv reads back exactly what was meant. */
import { UsageError } from '../../errors.ts'

/**
 * `NAME=value`, quoted where it must be. dotenv takes single and back quotes literally, and expands `\n` between
 * double quotes only; it has no escape for a quote, so the kind is chosen that the value does not hold.
 *
 * @throws UsageError when the value holds all kinds of quotes, or a NUL
 */
export function envLine(variable: string, value: string): string {
  if (/^[A-Za-z0-9_@%+=:,./~-]*$/.test(value)) return `${variable}=${value}`
  // dotenv takes a backslash before a quote for an escape, so no quoted value ends in one.
  const quote = value.endsWith('\\')
    ? undefined
    : ["'", '`', '"'].find(one => !value.includes(one) && !(one === '"' && /\\[nr]/.test(value)))
  if (quote !== undefined && !/[\0\r]/.test(value)) return `${variable}=${quote}${value}${quote}`
  if (!/[#'"`\r\n\0]/.test(value) && value.trim() === value) return `${variable}=${value}`
  throw new UsageError(`the value of ${variable} cannot be written to a .env`, { code: 'env.value' })
}

/**
 * `existing` with these variables set (or, for `undefined`, taken out): a variable that has lines loses all but one,
 * which is written in its place; a new one is appended. Comments and other variables stay as they are.
 *
 * @param existing text of the file; empty for a new one
 * @throws UsageError as {@link envLine}
 */
export function updateEnv(existing: string, values: Readonly<Record<string, string | undefined>>): string {
  const pending = new Map(Object.entries(values))
  const written = new Set<string>()
  // One match for each assignment, over several lines where a quoted value has them; dotenv's own grammar.
  const assignment =
    /^[ \t]*(?:export[ \t]+)?([\w.-]+)[ \t]*(?:=|:[ \t])[ \t]*(?:'(?:\\'|[^'])*'|"(?:\\"|[^"])*"|`(?:\\`|[^`])*`|[^\r\n]*)[^\r\n]*(?:\r?\n|$)/gm
  let text = existing.replace(assignment, (line, variable: string) => {
    if (!pending.has(variable)) return line
    const value = pending.get(variable)
    if (value === undefined || written.has(variable)) return ''
    written.add(variable)
    return `${envLine(variable, value)}\n`
  })
  if (text !== '' && !text.endsWith('\n')) text += '\n'
  for (const [variable, value] of pending) {
    if (value !== undefined && !written.has(variable)) text += `${envLine(variable, value)}\n`
  }
  return text
}

/** A `.gitignore` that ignores `name`, or `undefined` when it does already. */
export function ignoring(gitignore: string, name: string): string | undefined {
  const lines = gitignore.split(/\r?\n/).map(line => line.trim())
  if (lines.some(line => line === name || line === `/${name}` || line === `${name}*`)) return undefined
  return `${gitignore}${gitignore === '' || gitignore.endsWith('\n') ? '' : '\n'}${name}\n`
}
