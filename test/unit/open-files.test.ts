import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { openFilesIn } from '../../src/open-files.ts'

const limits = (soft: string) => `Limit                     Soft Limit           Hard Limit           Units
Max file size             unlimited            unlimited            bytes
Max open files            ${soft.padEnd(20)} 524288               files
Max locked memory         8388608              8388608              bytes
`

test.each<[string, number | undefined]>([
  [limits('1024'), 1024],
  [limits('unlimited'), undefined],
  ['', undefined],
])('the soft limit of open files', (text, expected) => {
  expect(openFilesIn(text)).toBe(expected)
})

test.runIf(process.platform === 'linux').each([
  [64, 256, 16],
  [64, 8, 8],
  [1024, 256, 256],
  [1024, 320, 256],
])('of %i open files, %i wanted: %i', (limit, wanted, expected) => {
  const module = new URL('../../src/open-files.ts', import.meta.url).href
  const script = `
    const { withinOpenFiles } = await import(${JSON.stringify(module)})
    console.log(withinOpenFiles(${wanted}))`
  const command = `ulimit -n ${limit}; exec "$0" --input-type=module -e "$1"`
  const run = spawnSync('sh', ['-c', command, process.execPath, script], { encoding: 'utf8' })
  expect(run.stdout || run.stderr).toBe(`${expected}\n`)
})
