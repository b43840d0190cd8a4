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

function matcher(pattern: string): (path: string) => boolean {
  const one = ignore({ ignorecase: false, allowRelativePaths: true }).add(pattern.normalize('NFC'))
  return path => one.ignores(path)
}
