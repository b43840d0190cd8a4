/** Where `import` looks for the rows of a file, while rows get other files as it goes. */
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { plainFolder } from '../../src/core/audio-path.ts'
import { insertTracks } from '../../src/db/tracks.ts'
import { RowIndex } from '../../src/import/row-index.ts'
import { migrated, pgliteTestDatabase } from '../support/database.ts'

test('rows are found by the files that they have got since, few or thousands', async () => {
  await (await migrated(await pgliteTestDatabase())).use(async ({ knex }) => {
    const names = Array.from({ length: 3_000 }, (_, at) => `${at}.mp3`)
    const tracks = names.map(name => ({
      id: randomUUID(),
      spotifyId: name,
      title: name,
      artist: 'A',
      album: null,
      duration: null,
      filePath: `old/${name}`,
      fileSource: 'LOCAL' as const,
      fileSize: 1,
    }))
    await insertTracks(knex, tracks)
    const index = await RowIndex.read(knex, plainFolder('/music'), new AbortController().signal)
    const found = async (paths: string[]): Promise<string[]> =>
      [...(await index.byPath(paths))].flatMap(([path, rows]) => rows.map(({ id }) => `${path} ${id}`))
    const expected = (folder: string) => tracks.map(({ id, title }) => `${folder}/${title} ${id}`).sort()
    expect((await found(names.map(name => `old/${name}`))).sort()).toEqual(expected('old'))
    await knex('tracks').update({ file_path: knex.raw("replace(file_path, 'old/', 'new/')") })
    for (const [at, { id, title }] of tracks.entries()) {
      index.moved(id, `new/${title}`)
      if (at % 500 === 0) expect(await found([`new/${title}`])).toEqual([`new/${title} ${id}`])
    }
    expect((await found(names.map(name => `new/${name}`))).sort()).toEqual(expected('new'))
    expect(await found(names.map(name => `old/${name}`))).toEqual([])
  })
})
