/** Which rows each of the ways to select tracks takes, alone and together, and what is said of lines that name none. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config.ts'
import { everything, type SelectionRules } from '../../../src/core/selection.ts'
import { keyPath, selectedTracks, strangerSelector } from '../../../src/runs/selected-tracks.ts'
import type { TestBed } from '../../support/bed.ts'
import { embeddedBed } from '../../support/beds.ts'
import { pgliteTestDatabase } from '../../support/database.ts'

let bed: TestBed
const ids: string[] = []
beforeAll(async () => {
  ;({ bed } = await embeddedBed(await pgliteTestDatabase()))
  const rows = [
    // A path as Windows writes it, one of an absolute form, one of a file that is gone and lies in S3 only.
    ['Ann/First/one.mp3', 'Ann', 'First', 'audio/Elsewhere/one.mp3'],
    ['Ann\\Second\\two.mp3', 'ANN', 'Second', null],
    [`${bed.audioRoot}/Bob/Only/three.flac`, 'Bob', 'First', null],
    [null, 'Bob', null, 'audio/Bob/Only/four.flac'],
    ['Åke/fünf.mp3'.normalize('NFD'), 'ÅKE', 'ÖRE', null],
    [null, 'Nobody', null, 'other/six.mp3'],
    // One that leads out of the audio folder is meant as it is written.
    ['../Eve/seven.mp3', 'Eve', null, null],
  ] as const
  for (const [index, [path, artist, album, key]] of rows.entries()) {
    const id = `00000000-0000-4000-8000-00000000000${index}`
    ids.push(id)
    const row = { id, spotify_id: id, title: 't', artist, album, file_path: path, s3_object_key: key }
    await bed.database.knex('tracks').insert({ ...row, file_source: path === null ? 'S3' : 'LOCAL' })
  }
})
afterAll(() => bed.close())

async function select(
  rules: Partial<SelectionRules>,
  signal = new AbortController().signal,
): Promise<{ found: number[] | 'all'; warnings: string[] }> {
  const warnings: string[] = []
  const report = { warn: (text: string) => void warnings.push(text) } as never
  const config = loadConfig({ cwd: bed.dir, env: bed.env })
  const context = { selection: { ...everything, ...rules }, config, report, signal }
  const { selected } = await selectedTracks(context, bed.database)
  return { found: selected?.map(id => ids.indexOf(id)).sort() ?? 'all', warnings }
}

const keep = (pattern: string) => ({ keep: true, pattern })
const drop = (pattern: string) => ({ keep: false, pattern })
test.each<[string, Partial<SelectionRules>, number[] | 'all']>([
  ['nothing asked for', {}, 'all'],
  ['an artist, in any case', { artists: ['ann'] }, [0, 1]],
  ['an artist whose case only the program knows', { artists: ['ÅKE'] }, [4]],
  ['several artists', { artists: ['Ann', 'Bob'] }, [0, 1, 2, 3]],
  ['an album, in any case', { albums: ['FIRST'] }, [0, 2]],
  ['an album whose case only the program knows', { albums: ['ÖRE'] }, [4]],
  ['an artist and an album', { artists: ['Bob'], albums: ['First'] }, [2]],
  ['ids', { trackIds: [1, 3].map(n => `00000000-0000-4000-8000-00000000000${n}`) }, [1, 3]],
  [
    'ids and an artist',
    { trackIds: [1, 3].map(n => `00000000-0000-4000-8000-00000000000${n}`), artists: ['Bob'] },
    [3],
  ],
  // A track is where its file is; its key counts only where it has none.
  ['a pattern of the path', { include: ['/Ann/First/**'] }, [0]],
  ['a pattern of a key of a row with a file', { include: ['Elsewhere/'] }, []],
  ['a pattern of the key of a row without one', { include: ['/Bob/Only/*.flac'] }, [2, 3]],
  ['a path with backslashes', { include: ['/Ann/Second/'] }, [1]],
  ['a pattern in another form', { include: ['fünf.mp3'] }, [4]],
  ['what is left out', { exclude: ['*.mp3'] }, [2, 3]],
  ['filters', { filters: [keep('one.mp3'), drop('*.mp3')] }, [0, 2, 3]],
  ['a key outside the prefix', { include: ['other/'] }, [5]],
  ['a path outside the folder', { include: ['Eve/'] }, [6]],
  ['a pattern and an artist', { include: ['*.flac'], artists: ['Bob'] }, [2, 3]],
])('%s', async (_, rules, expected) => {
  const { found, warnings } = await select(rules)
  expect(found).toEqual(expected)
  expect(warnings.length).toBe(expected.length === 0 ? 1 : 0)
})

test('a list names tracks by path, by what the path is below the folder, by key, with and without prefix, and by id', async () => {
  const lines = [
    'Ann/First/one.mp3',
    'Ann/Second/two.mp3',
    `${bed.audioRoot}/Bob/Only/three.flac`,
    'audio/Bob/Only/four.flac',
    'Åke/fünf.mp3',
    ids[5] as string,
  ]
  for (const [index, line] of lines.entries())
    expect([line, await select({ listed: [line] })]).toEqual([line, { found: [index], warnings: [] }])
  expect((await select({ listed: lines })).found).toEqual([0, 1, 2, 3, 4, 5])
  for (const [line, index] of [
    ['Elsewhere/one.mp3', 0],
    ['audio/Elsewhere/one.mp3', 0],
    ['Ann\\Second\\two.mp3', 1],
    ['Bob/Only/three.flac', 2],
    ['Bob/Only/four.flac', 3],
  ] as const)
    expect([line, (await select({ listed: [line] })).found]).toEqual([line, [index]])
  // Together with a pattern.
  expect((await select({ listed: lines, include: ['*.flac'] })).found).toEqual([2, 3])
})

test('lines that name no track are told, and so is a selection of none', async () => {
  expect(await select({ listed: ['Ann/First/one.mp3', 'x\u0007.mp3'] })).toEqual({
    found: [0],
    warnings: [
      expect.stringMatching(
        /^--files-from: 1 line of 2 is not the file path, key or id of a track, such as "x.*\.mp3"$/,
      ),
    ],
  })
  const { found, warnings } = await select({ listed: ['a', 'b', 'c'] })
  expect(found).toEqual([])
  expect(warnings).toEqual([
    '--files-from: 3 lines of 3 are not the file path, key or id of a track, such as "a"',
    expect.stringMatching(/^no track matches /),
  ])
  expect(JSON.stringify(warnings)).not.toContain('\u0007')
})

test('the table is read once a run, and not after a signal', async () => {
  const selection = { ...everything, artists: ['Ann'] }
  const config = loadConfig({ cwd: bed.dir, env: bed.env })
  const { signal } = new AbortController()
  const context = { selection, config, report: { warn() {} } as never, signal }
  expect(selectedTracks(context, bed.database)).toBe(selectedTracks(context, bed.database))
  await selectedTracks(context, bed.database)
  await expect(select({ artists: ['Ann'] }, AbortSignal.abort(new Error('ended')))).rejects.toThrow('ended')
})

test('of what no row names patterns alone decide', () => {
  const isStranger = (rules: Partial<SelectionRules>) => strangerSelector({ ...everything, ...rules })
  expect(isStranger({})('a.mp3')).toBe(true)
  expect(isStranger({ artists: ['Ann'] })('a.mp3')).toBe(false)
  expect(isStranger({ listed: ['a.mp3'] })('a.mp3')).toBe(false)
  expect(['a.mp3', 'a.flac'].map(isStranger({ include: ['*.mp3'] }))).toEqual([true, false])
  expect([keyPath('audio/a', 'audio/'), keyPath('other/a', 'audio/')]).toEqual(['a', 'other/a'])
})
