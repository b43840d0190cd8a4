/** One file under two names: what needs it keeps it, and every command sees the same. */
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { commands } from '../../src/commands.ts'
import { ExitCode } from '../../src/errors.ts'
import { type BedRun, fakeAudio, type TestBed } from '../support/bed.ts'
import { upload } from './upload.ts'

/** How a second row says a file that is `Björk/a song.mp3`, and what has to be there for it. */
const ways: readonly [name: string, say: (bed: TestBed) => string][] = [
  ['the same path', () => 'Björk/a song.mp3'],
  ['a dot', () => './Björk/a song.mp3'],
  ['two dots', () => 'other/../Björk/./a song.mp3'],
  ['doubled slashes', () => 'Björk//a song.mp3'],
  ['the other Unicode form', () => 'Björk/a song.mp3'.normalize('NFD')],
  ['an absolute path', bed => path.join(bed.audioRoot, 'Björk/a song.mp3')],
  ["the folder's own name before it", () => 'audio/Björk/a song.mp3'],
  [
    'a link to it',
    bed => {
      symlinkSync('Björk/a song.mp3', path.join(bed.audioRoot, 'link.mp3'))
      return 'link.mp3'
    },
  ],
  [
    'a link to a link to it',
    bed => {
      symlinkSync('Björk/a song.mp3', path.join(bed.audioRoot, 'first.mp3'))
      symlinkSync('first.mp3', path.join(bed.audioRoot, 'second.mp3'))
      return 'second.mp3'
    },
  ],
  [
    'a folder that is a link',
    bed => {
      symlinkSync('Björk', path.join(bed.audioRoot, 'Bjoerk'))
      return 'Bjoerk/a song.mp3'
    },
  ],
  [
    'a hard link',
    bed => {
      linkSync(path.join(bed.audioRoot, 'Björk/a song.mp3'), path.join(bed.audioRoot, 'twin.mp3'))
      return 'twin.mp3'
    },
  ],
]

const content = fakeAudio(3_000, 1)

export function fileIdentityContract(name: string, openBed: () => Promise<TestBed>): void {
  describe(`one file under two names, on ${name}`, () => {
    let bed: TestBed
    beforeAll(async () => {
      bed = await openBed()
    })
    afterAll(() => bed.close())
    beforeEach(async () => {
      await bed.reset()
      mkdirSync(path.join(bed.audioRoot, 'other'))
    })

    const command = (verb: string, flags: Record<string, unknown> = {}): Promise<BedRun> => {
      const found = commands.find(one => one.name === verb)!
      const defaults = Object.fromEntries(
        Object.entries(found.flags).map(([key, one]) => [key, one.defaultValue]),
      )
      return bed.run(verb, context => found.run(context, { ...defaults, ...flags }, []))
    }
    const cleanup = () => command('cleanup', { apply: true, olderThan: 0 })
    const file = () => path.join(bed.audioRoot, 'Björk/a song.mp3')
    /** The file with its row, and another row that says it in some way and is not in S3. */
    const twoRows = async (say: (bed: TestBed) => string, source = 'UNAVAILABLE') => {
      const first = await bed.addTrack({ path: 'Björk/a song.mp3', content })
      const second = await bed.addTrack({ path: say(bed), source })
      return { first, second }
    }

    test.each(ways)('%s: upload-local --delete-local keeps what another row needs', async (_way, say) => {
      const { first } = await twoRows(say)
      const run = await upload(bed, { deleteLocal: true })
      expect(run.error).toBeUndefined()
      expect(run.summary).toMatchObject({ uploaded: 1, local_deleted: 0, local_kept: 1 })
      expect(run.items.find(item => item['state'] === 'kept')).toMatchObject({
        track_id: first,
        code: 'file.needed',
      })
      expect(readFileSync(file()).equals(content)).toBe(true)
      expect((await bed.tracks()).get(first)).toMatchObject({
        file_source: 'S3',
        file_path: 'Björk/a song.mp3',
      })
    })

    test.each(ways)(
      '%s: cleanup keeps what another row needs, and takes it when none does',
      async (way, say) => {
        const { first, second } = await twoRows(say)
        await upload(bed)
        const run = await cleanup()
        expect(run.error).toBeUndefined()
        expect(run.items).toContainEqual(expect.objectContaining({ state: 'kept', code: 'file.needed' }))
        expect(readFileSync(file()).equals(content)).toBe(true)

        await bed.database.knex('tracks').where({ id: second }).update({ file_path: null })
        await cleanup()
        expect(existsSync(file())).toBe(false)
        expect((await bed.tracks()).get(first)?.file_path).toBeNull()
        if (way === 'a hard link')
          expect(readFileSync(path.join(bed.audioRoot, 'twin.mp3')).equals(content)).toBe(true)
      },
    )

    test.each(ways.filter(([way]) => !/link/.test(way)))(
      '%s: a row that comes just before the file goes is seen',
      async (_way, say) => {
        await bed.addTrack({ path: 'Björk/a song.mp3', content })
        await upload(bed)
        const { head } = bed.store
        let heads = 0
        const run = await bed.run('cleanup', async context => {
          const found = commands.find(one => one.name === 'cleanup')!
          const flags = Object.fromEntries(
            Object.entries(found.flags).map(([key, one]) => [key, one.defaultValue]),
          )
          const store = {
            ...bed.store,
            head: async (...args: Parameters<typeof head>) => {
              if (heads++ === 0) await bed.addTrack({ path: say(bed), source: 'UNAVAILABLE' })
              return head(...args)
            },
          }
          return found.run(
            { ...context, store: async () => store },
            { ...flags, apply: true, olderThan: 0 },
            [],
          )
        })
        expect(run.items).toContainEqual(expect.objectContaining({ state: 'kept', code: 'file.needed' }))
        expect(readFileSync(file()).equals(content)).toBe(true)
      },
    )

    test.each(['link.mp3', 'Bjoerk/a song.mp3'])(
      '%s: what a row reaches through a link is not deleted',
      async linked => {
        mkdirSync(path.join(bed.audioRoot, 'Björk'))
        symlinkSync('Björk', path.join(bed.audioRoot, 'Bjoerk'))
        symlinkSync('Björk/a song.mp3', path.join(bed.audioRoot, 'link.mp3'))
        await bed.addTrack({ path: 'x.mp3', content })
        renameSync(path.join(bed.audioRoot, 'x.mp3'), file())
        await bed.database.knex('tracks').update({ file_path: linked })
        const run = await upload(bed, { deleteLocal: true })
        expect(run.items.find(item => item['state'] === 'kept')).toMatchObject({ code: 'file.linked' })
        const cleaned = await cleanup()
        expect(cleaned.items).toContainEqual(expect.objectContaining({ state: 'kept', code: 'file.linked' }))
        expect(readFileSync(file()).equals(content)).toBe(true)
      },
    )

    test('an audio folder that is itself reached through a link is no link', async () => {
      const real = path.join(bed.dir, 'elsewhere')
      renameSync(bed.audioRoot, real)
      symlinkSync('elsewhere', bed.audioRoot)
      try {
        await bed.addTrack({ path: 'song.mp3', content })
        await bed.addTrack({ path: path.join(real, 'song.mp3'), source: 'UNAVAILABLE' })
        await bed.addTrack({ path: 'alone.mp3', content: fakeAudio(100, 2) })
        const run = await upload(bed, { deleteLocal: true })
        expect(run.summary).toMatchObject({ uploaded: 2, local_deleted: 1, local_kept: 1 })
        expect(existsSync(path.join(real, 'song.mp3'))).toBe(true)
        expect(existsSync(path.join(real, 'alone.mp3'))).toBe(false)
      } finally {
        unlinkSync(bed.audioRoot)
        renameSync(real, bed.audioRoot)
      }
    })

    test.each(ways)(
      '%s: import makes no second row, reconcile --disk finds nothing wrong',
      async (way, say) => {
        await bed.addTrack({ path: 'Björk/a song.mp3', content })
        const spelt = say(bed)
        await bed.database.knex('tracks').update({ file_path: spelt })
        const reconciled = await command('reconcile', { disk: true })
        expect(reconciled.error).toBeUndefined()
        const codes = reconciled.items.flatMap(one => (one['differences'] as { class: string }[]) ?? [])
        // A second name without a row is a copy like any other.
        const expected = way === 'a hard link' ? ['local-file-without-row'] : []
        expect(codes.map(one => one.class).filter(one => one !== 'not-uploaded')).toEqual(expected)
        expect((await command('import')).summary).toMatchObject({ new: 0, failed: 0 })
        expect((await upload(bed)).summary).toMatchObject({ uploaded: 1 })
      },
    )

    test('a linked file that the walk does not meet is imported, and not lost to reconcile', async () => {
      const hidden = path.join(bed.audioRoot, '.annex')
      mkdirSync(hidden)
      await bed.addTrack({ path: 'x.mp3', content })
      renameSync(path.join(bed.audioRoot, 'x.mp3'), path.join(hidden, 'x.mp3'))
      symlinkSync('.annex/x.mp3', path.join(bed.audioRoot, 'song.mp3'))
      await bed.database.knex('tracks').del()
      expect((await command('import')).summary).toMatchObject({ new: 1 })
      const reconciled = await command('reconcile', { disk: true })
      const classes = reconciled.items.flatMap(one => (one['differences'] as { class: string }[]) ?? [])
      expect(classes.map(one => one.class)).not.toContain('no-audio')
      expect(classes.map(one => one.class)).not.toContain('local-file-without-row')
      const run = await upload(bed, { deleteLocal: true })
      expect(run.items.find(item => item['state'] === 'kept')).toMatchObject({ code: 'file.linked' })
    })

    test('an audio folder that goes away in the middle ends the run, and no row loses its path', async () => {
      const id = await bed.addTrack({ path: 'song.mp3', content })
      await upload(bed)
      const away = `${bed.audioRoot}.away`
      const { head } = bed.store
      const run = await bed.run('cleanup', async context => {
        const cleanupCommand = commands.find(one => one.name === 'cleanup')!
        const flags = Object.fromEntries(
          Object.entries(cleanupCommand.flags).map(([key, one]) => [key, one.defaultValue]),
        )
        const store = {
          ...bed.store,
          head: async (...args: Parameters<typeof head>) => {
            if (existsSync(bed.audioRoot)) renameSync(bed.audioRoot, away)
            return head(...args)
          },
        }
        return cleanupCommand.run(
          { ...context, store: async () => store },
          { ...flags, apply: true, olderThan: 0 },
          [],
        )
      })
      rmSync(bed.audioRoot, { recursive: true, force: true })
      renameSync(away, bed.audioRoot)
      expect((await bed.tracks()).get(id)?.file_path).toBe('song.mp3')
      expect(run.exitCode).not.toBe(ExitCode.ok)
    })
  })
}
