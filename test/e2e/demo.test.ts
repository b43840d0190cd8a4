/** `autodj demo` on a folder of one's own; the bundled library goes through it in `test/integration/package.test.ts`. */
import { copyFile, cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { ExitCode } from '../../src/errors.ts'
import { cli } from '../support/cli.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const song = new URL('../fixtures/formats/bare.mp3', import.meta.url)
let folder: string
beforeAll(async () => {
  folder = temporaryFolder('own')
})

test('one bad file does not end the journey of the others, and the folder is only read', async () => {
  const music = path.join(folder, 'music')
  await mkdir(path.join(music, 'Zoë'), { recursive: true })
  await cp(song, path.join(music, 'Zoë/100% + #1?.mp3'))
  await writeFile(path.join(music, 'text.mp3'), 'no sound')
  // A name that is not UTF-8 fits no column. Where the file system refuses such names, nothing fails.
  const isPlanted = await copyFile(
    song,
    Buffer.concat([Buffer.from(`${music}/bad`), Buffer.from([0xff])]),
  ).then(
    () => true,
    () => false,
  )
  const before = await readdir(music, { recursive: true })
  const { exitCode, messages } = await cli(['demo', music, '--json', '--keep'], { env: {} })
  const summary = messages.at(-1) as { kept: string }
  try {
    expect(exitCode).toBe(isPlanted ? ExitCode.someFailed : ExitCode.ok)
    expect(messages.filter(one => one['message_type'] === 'exit_error')).toEqual([])
    expect(summary).toMatchObject({
      message_type: 'summary',
      tracks: 1,
      identical: 1,
      kept: expect.any(String),
    })
    expect(await readdir(music, { recursive: true })).toEqual(before)
    expect((await readdir(summary.kept)).sort()).toEqual(['.env', 'db', 's3'])
  } finally {
    await rm(summary.kept, { recursive: true })
  }
})

test.each([
  ['nowhere', /nowhere is not a folder/],
  ['empty', /no audio file in .*empty/],
])('a folder that will not do (%s) is a usage error, and nothing is left behind', async (name, words) => {
  await mkdir(path.join(folder, 'empty'), { recursive: true })
  const left = async (): Promise<string[]> =>
    (await readdir(tmpdir())).filter(one => one.startsWith('autodj-demo-'))
  const before = await left()
  const { exitCode, stderr } = await cli(['demo', path.join(folder, name), '-q'])
  expect(exitCode).toBe(ExitCode.usage)
  expect(stderr).toMatch(words)
  expect(await left()).toEqual(before)
})
