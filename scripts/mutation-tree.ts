/** A copy of the tree, for changes that nobody is to meet in the tree itself. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** @param to is emptied first */
export function copyTree(to: string): void {
  rmSync(to, { recursive: true, force: true })
  const list = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { encoding: 'utf8' })
  for (const file of list.split('\n').filter(Boolean)) {
    if (/^(docs|bench|training)\//.test(file) || !existsSync(file)) continue
    const copy = path.join(to, file)
    mkdirSync(path.dirname(copy), { recursive: true })
    writeFileSync(copy, readFileSync(file), { mode: statSync(file).mode })
  }
  symlinkSync(path.resolve('node_modules'), path.join(to, 'node_modules'))
}
