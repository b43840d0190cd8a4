/** `npm run bench:startup`: wall milliseconds from the shell's word to the end, warm, medians of 20. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const bin = fileURLToPath(new URL('../bin/autodj.js', import.meta.url))
const cases: [what: string, argv: string[], bar: number | undefined][] = [
  ['node -e 0 (the floor)', ['-e', '0'], undefined],
  ['autodj --version', [bin, '--version'], 150],
  ['autodj --help', [bin, '--help'], 150],
  ['autodj upload-local --help', [bin, 'upload-local', '--help'], 150],
]

const results = cases.map(([what, argv, bar]) => {
  const times = Array.from({ length: 22 }, () => {
    const begun = performance.now()
    execFileSync(process.execPath, argv, { stdio: 'ignore' })
    return performance.now() - begun
  })
  // The first two fill the compile cache.
  const sorted = times.slice(2).sort((a, b) => a - b)
  const value = Math.round(sorted[Math.floor(sorted.length / 2)] as number)
  console.log(`${what.padEnd(30)} ${value} ms`)
  return {
    what,
    value,
    bar: bar === undefined ? 'none' : `< ${bar} ms`,
    holds: bar === undefined || value < bar,
  }
})
console.log(JSON.stringify({ bench: 'startup', results }))
