/** Keeps secrets out of what leaves the process: whatever a message may hold, configured secrets do not pass. */

/** Shorter ones are words: a database password `autodj` would take the program's name out of every line. */
const leastLength = 12

/**
 * A function that replaces secrets in a text: each value as it is and as JSON and URLs spell it, and the credentials in
 * any URL, configured or not.
 */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const spellings = new Set<string>()
  for (const secret of secrets) {
    if (secret.length < leastLength) continue
    spellings.add(secret).add(encodeURIComponent(secret)).add(JSON.stringify(secret).slice(1, -1))
  }
  // The longest first: one may be a part of another.
  const sorted = [...spellings].sort((a, b) => b.length - a.length)
  return text => {
    let clean = text
    for (const secret of sorted) clean = clean.replaceAll(secret, '***')
    return clean.replaceAll(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi, '$1***@')
  }
}
