/**
 * Takes out the guards of `test/mutation/guards.ts`, one at a time, in a copy of the tree, and runs the tests that are to
 * notice: `npm run test:guards [NAME…]`. Closes with those that nothing noticed, and exit code 1.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { guards } from '../test/mutation/guards.ts'
import { copyTree } from './mutation-tree.ts'

const asked = process.argv.slice(2)
const unknown = asked.filter(name => !guards.some(one => one.name === name))
if (unknown.length > 0) throw new Error(`no guard of the name ${unknown.join(', ')}`)
const tree = path.resolve('.stryker-tmp', process.env['MUTATION_FOLDER'] ?? 'guards', 'tree')
copyTree(tree)

const unnoticed: string[] = []
for (const { name, file, guard, instead, tests, pattern, needs, equivalent } of guards) {
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
  const report = path.join(tree, '.vitest/guard.json')
  rmSync(report, { force: true })
  const argv = [
    'vitest',
    'run',
    '--bail=1',
    '--maxWorkers=1',
    '--reporter=json',
    `--outputFile=${report}`,
    ...(needs === undefined ? [] : ['--config', 'vitest.integration.config.ts']),
    ...tests,
  ]
  const { status } = spawnSync('npx', [...argv, ...(pattern === undefined ? [] : ['-t', pattern])], {
    cwd: tree,
    stdio: 'ignore',
  })
  writeFileSync(place, source)
  const run = JSON.parse(readFileSync(report, 'utf8')) as {
    numPassedTests: number
    testResults: { message: string; assertionResults: { status: string; fullName: string }[] }[]
  }
  const failed = run.testResults.flatMap(one => one.assertionResults).find(one => one.status === 'failed')
  const end =
    failed !== undefined
      ? `noticed by "${failed.fullName}"`
      : status === 0
        ? `NOT NOTICED by ${run.numPassedTests} tests`
        : `NOT NOTICED: ${run.testResults.map(({ message }) => message).join(' ')}`
  if (failed === undefined) unnoticed.push(name)
  console.log(`${name}: ${end}, ${Math.round((Date.now() - since) / 1_000)} s`)
}
rmSync(tree, { recursive: true, force: true })
console.log(unnoticed.length === 0 ? 'all noticed' : `not noticed: ${unnoticed.join(', ')}`)
process.exitCode = unnoticed.length === 0 ? 0 : 1
