/** The completion scripts in the shells that load them. A shell that is not installed is skipped aloud. */
import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { atTerminal } from '../support/terminal.ts'

/** What is typed, and what is offered. */
const questions: [typed: string, offered: string[]][] = [
  ['autodj upl', ['upload-local']],
  ['autodj bucket ', ['apply', 'check', 'plan']],
  ['autodj bucket check --tiering ', ['INTELLIGENT_TIERING', 'STANDARD_IA']],
  ['autodj upload-local --dr', ['--dry-run']],
  ['autodj upload-local --storage-class STANDARD', ['STANDARD', 'STANDARD_IA']],
  ['autodj upload-local --files-from li', ['list of tracks.txt']],
  ['autodj restore --to mu', ['music']],
  ['autodj migrate ba', ['baseline']],
  ['autodj apply li', ['list of tracks.txt']],
  ['autodj policy upl', ['upload-local']],
  ['autodj upload-local --limit ', []],
  ['autodj status li', []],
  ['autodj completion ', ['bash', 'fish', 'zsh']],
]

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'exit 0']).status === 0
const missing = ['bash', 'zsh', 'fish'].filter(shell => !has(shell))
if (missing.length > 0) console.warn(`not installed, so not tested: ${missing.join(', ')}`)

let folder: string
beforeAll(async () => {
  folder = temporaryFolder('completion')
  await mkdir(path.join(folder, 'music'))
  await writeFile(path.join(folder, 'list of tracks.txt'), '')
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout, stderr, exitCode } = await cli(['completion', shell])
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 })
    await writeFile(path.join(folder, `autodj.${shell}`), stdout)
  }
})

function ask(shell: string, script: string, ...args: string[]): string[] {
  const { stdout, stderr } = spawnSync(shell, ['-c', script, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] ?? '', HOME: folder },
  })
  expect(stderr).toBe('')
  return stdout.split('\n').filter(Boolean).sort()
}

describe.skipIf(!has('bash'))('bash', () => {
  const script = `source ./autodj.bash; compopt() { :; }
    IFS=$'\\n'; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); unset IFS
    _autodj; printf '%s\\n' "\${COMPREPLY[@]}"`
  test.each(questions)('%s', (typed, offered) => {
    expect(ask('bash', script, 'bash', ...typed.split(' '))).toEqual(offered)
  })

  test('--flag=value, as bash splits it', () => {
    const words = ['autodj', 'upload-local', '--storage-class', '=', 'ONE']
    expect(ask('bash', script, 'bash', ...words)).toEqual(['ONEZONE_IA'])
  })

  test('it may be loaded twice', () => {
    expect(ask('bash', 'set -u; source ./autodj.bash && source ./autodj.bash && complete -p autodj')).toEqual(
      ['complete -F _autodj autodj'],
    )
  })
})

describe.skipIf(!has('fish'))('fish', () => {
  test.each(questions)('%s', (typed, offered) => {
    const found = ask('fish', 'source autodj.fish; complete -C $argv[1]', typed)
    expect(found.map(line => line.split('\t', 1)[0]?.replace(/\/$/, '').replaceAll('\\', ''))).toEqual(
      offered,
    )
  })
})

// zsh completes only at a terminal: a key is pressed, and the screen says what became of the line.
describe.skipIf(!has('zsh'))('zsh', () => {
  test.each([
    ['autodj upl', ['> autodj upload-local']],
    ['autodj bucket ', ['apply  -- ', 'check  -- ', 'plan   -- ']],
    ['autodj upload-local --dr', ['> autodj upload-local --dry-run']],
    ['autodj upload-local --sse a', ['> autodj upload-local --sse aws:kms']],
    ['autodj upload-local --files-from li', ['> autodj upload-local --files-from list\\ of\\ tracks.txt']],
    ['autodj migrate ba', ['> autodj migrate baseline']],
  ] as [string, string[]][])('%s', async (typed, shown) => {
    const screen = atTerminal(['-f', '-i'], { program: 'zsh', cwd: folder, columns: 120, rows: 60 })
    screen.type("PS1='> '; autoload -Uz compinit; compinit -u -D; source ./autodj.zsh; print rea''dy\r")
    await screen.until(lines => lines.includes('ready') && lines.at(-1)?.trim() === '>')
    screen.type(`${typed}\t`)
    await screen.until(lines => shown.every(one => lines.some(line => line.startsWith(one))))
    screen.type('\u0015exit\r')
    await screen.exited
  })
})
