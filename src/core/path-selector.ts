/** Patterns of paths: gitignore's, by the library `ignore`, each on its own; who decides between them is ours. Pure. */
import ignore from 'ignore'
import type { SelectionRules } from './selection.ts'

/** Tells of paths below the audio folder, with `/` between their parts, whether the patterns select them. */
export function pathSelector(rules: SelectionRules): (path: string) => boolean {
  const include = rules.include.map(matcher)
  const exclude = rules.exclude.map(matcher)
  const filters = rules.filters.map(({ keep, pattern }) => ({ keep, matches: matcher(pattern) }))
  return path => {
    const name = path.normalize('NFC').replace(/^(\.?\/)+/, '')
    if (name === '') return false
    if (include.length > 0 && !include.some(matches => matches(name))) return false
    if (exclude.some(matches => matches(name))) return false
    return filters.find(({ matches }) => matches(name))?.keep ?? true
  }
}

/** Paths that one matcher is asked for: the library remembers each, and a library of music has a million. */
const remembered = 10_000

function matcher(pattern: string): (path: string) => boolean {
  const wanted = pattern.normalize('NFC')
  const literal = literalOf(wanted)
  const fresh = () => ignore({ ignorecase: false, allowRelativePaths: true }).add(wanted)
  let one = fresh()
  let asked = 0
  return path => {
    if (!path.includes(literal)) return false
    if (++asked % remembered === 0) one = fresh()
    return one.ignores(path)
  }
}

/** What every path holds that the pattern matches: spares the library most of them. Empty if that is not plain to see. */
function literalOf(pattern: string): string {
  if (/[[\]\\!#]|^\s|\s$/.test(pattern)) return ''
  return pattern.split(/[*?/]+/).toSorted((a, b) => b.length - a.length)[0] ?? ''
}
