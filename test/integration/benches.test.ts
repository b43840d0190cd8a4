/** Benches that the machine of CI can run, over a few rows: what they measure may have moved on without them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { testPostgres } from '../support/servers.ts'

const postgres = testPostgres()

describe.skipIf(postgres === undefined)('a bench over a few rows', () => {
  test.each([
    ['import', ['20', '40']],
    ['reconcile', ['--rows', '1000,2000', '--only', 'scale']],
    ['scale', ['--rows', '200,400,800']],
  ])('%s runs, and ends with its line of results', async (name, args) => {
    const root = path.join(import.meta.dirname, '..', '..')
    const bench = spawn(process.execPath, [path.join(root, 'bench', `${name}.ts`), ...args], {
      cwd: root,
      env: { ...process.env, TEST_POSTGRES_URL: postgres },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [out, errors, [code]] = await Promise.all([
      text(bench.stdout),
      text(bench.stderr),
      once(bench, 'exit'),
    ])
    expect([code, errors]).toEqual([0, ''])
    const { bench: said, results } = JSON.parse(out.trim().split('\n').at(-1) as string)
    expect(said).toBe(name)
    expect(results.length).toBeGreaterThan(5)
    // What a bench could not run, or did not find, counts at any size.
    const failed = results.filter(
      ({ what, holds }: { what: string; holds: boolean }) => !holds && /: runs$|not found/.test(what),
    )
    expect(failed).toEqual([])
  })
})
