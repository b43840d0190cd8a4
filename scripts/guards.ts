/**
 * Takes out the guards of `test/mutation/guards.ts`, one at a time, in a copy of the tree, and runs the tests that are to
 * notice: `npm run test:guards [NAME…]`. A test has noticed that fails, and passes once the guard is back. Closes with
 * the guards that nothing noticed, and exit code 1.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Guard, guards } from '../test/mutation/guards.ts'
import { copyTree } from './mutation-tree.ts'

const asked = process.argv.slice(2)
const unknown = asked.filter(name => !guards.some(one => one.name === name))
if (unknown.length > 0) throw new Error(`no guard of the name ${unknown.join(', ')}`)
const tree = path.resolve('.stryker-tmp', process.env['MUTATION_FOLDER'] ?? 'guards', 'tree')
copyTree(tree)

const endless = 'the tests do not end'

/** What may hang is to fail by a limit of its own, milliseconds. */
const patience = 600_000

interface Run {
  readonly passed: number
  /** full name of the test that failed, or what else went wrong */
  readonly failed: string | undefined
  readonly problem: string | undefined
}

function runTests({ tests, needs }: Guard, pattern: string | undefined): Run {
  const report = path.join(tree, '.vitest/guard.json')
  rmSync(report, { force: true })
  const argv = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--bail=1',
    '--maxWorkers=1',
    '--reporter=json',
    `--outputFile=${report}`,
    ...(needs === undefined ? [] : ['--config', 'vitest.integration.config.ts']),
    ...tests,
  ]
  const { status, signal } = spawnSync(
    process.execPath,
    [...argv, ...(pattern === undefined ? [] : [`--testNamePattern=${pattern}`])],
    {
      cwd: tree,
      stdio: 'ignore',
      timeout: patience,
      killSignal: 'SIGKILL',
    },
  )
  if (signal !== null) return { passed: 0, failed: undefined, problem: endless }
  const run = JSON.parse(readFileSync(report, 'utf8')) as {
    numPassedTests: number
    testResults: { message: string; assertionResults: { status: string; fullName: string }[] }[]
  }
  const failed = run.testResults.flatMap(one => one.assertionResults).find(one => one.status === 'failed')
  const messages = run.testResults.map(({ message }) => message).join(' ')
  return {
    passed: run.numPassedTests,
    failed: failed?.fullName,
    problem: failed === undefined && status !== 0 ? messages : undefined,
  }
}

/** @param run with the guard taken out; it is back by now */
function verdictOn({ passed, failed, problem }: Run, entry: Guard): string {
  if (problem === endless) {
    const back = runTests(entry, entry.pattern)
    if (back.passed > 0 && back.failed === undefined && back.problem === undefined)
      return 'noticed: without it the tests do not end'
  }
  if (problem !== undefined) return `NOT NOTICED: ${problem}`
  if (failed === undefined) return `NOT NOTICED by ${passed} tests`
  // Suites and test are joined by a space in the report, by more than that where a pattern is compared.
  const literal = failed.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(' ', '( > | )')
  const again = runTests(entry, `${literal}$`)
  if (again.passed > 0 && again.failed === undefined) return `noticed by "${failed}"`
  return `NOT NOTICED: "${failed}" fails with the guard, too`
}

const unnoticed: string[] = []
for (const entry of guards) {
  const { name, file, guard, instead, pattern, needs, equivalent } = entry
  if (asked.length > 0 && !asked.includes(name)) continue
  if (equivalent !== undefined) {
    console.log(`${name}: nothing can notice: ${equivalent}`)
    continue
  }
  if (needs !== undefined && process.env[needs] === undefined) {
    console.log(`${name}: left out, as ${needs} is not set`)
    continue
  }
  const place = path.join(tree, file)
  const source = readFileSync(place, 'utf8')
  if (source.split(guard).length !== 2) throw new Error(`"${name}" does not stand in ${file} once`)
  writeFileSync(place, source.split(guard).join(instead))
  const since = Date.now()
  const run = runTests(entry, pattern)
  writeFileSync(place, source)
  const verdict = verdictOn(run, entry)
  if (!verdict.startsWith('noticed')) unnoticed.push(name)
  console.log(`${name}: ${verdict}, ${Math.round((Date.now() - since) / 1_000)} s`)
}
rmSync(tree, { recursive: true, force: true })
console.log(unnoticed.length === 0 ? 'all noticed' : `not noticed: ${unnoticed.join(', ')}`)
process.exitCode = unnoticed.length === 0 ? 0 : 1
