/** What a run takes of memory when the files it reads have tags of 40 MB, as the kernel counts it for the process. */
import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  aiff,
  apeItem,
  apeTag,
  be,
  box,
  flac,
  id3v2,
  iffChunk,
  latin,
  latin1,
  oggPacket,
  riffChunk,
  tone,
  utf8,
  vorbisComments,
  wave,
} from '../support/audio-bytes.ts'
import { migrated, postgresTestDatabase, type TestDatabase } from '../support/database.ts'
import { bareEnvironment } from '../support/environment.ts'
import { testPostgres } from '../support/servers.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const postgres = testPostgres()
const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const fixture = (name: string): Promise<Buffer> => readFile(source(`../fixtures/audio/${name}`))

const fileSize = 40_000_000
const seconds = 3
const files: Record<string, () => Promise<Buffer>> = {
  'cover.mp3': async () => Buffer.concat([id3(4), await fixture('music.mp3')]),
  'unsynchronised.mp3': async () => Buffer.concat([id3(3, 0x80), await fixture('music.mp3')]),
  'ape.mp3': async () => Buffer.concat([await fixture('music.mp3'), ape()]),
  'cover.wav': async () => wave(sound(), { behind: riffChunk('id3 ', id3(3)) }),
  'cover.aiff': async () => aiff(sound(), { before: iffChunk('ID3 ', id3(3)) }),
  'covers.flac': async () => flac([samples()], { blocks: [...Array(3)].map(() => [6, picture(13_000_000)]) }),
  'lyrics.flac': async () => flac([samples()], { blocks: [[4, comments('LYRICS', 16_000_000)]] }),
  'cover.m4a': async () => withCover(await fixture('music.m4a')),
  'cover.opus': async () => withComments(await fixture('music.opus'), 'OpusTags', ''),
  'cover.ogg': async () => withComments(await fixture('music.ogg'), '\x03vorbis', '\x01'),
}

const samples = (): number[] => tone(8000 * seconds, 16)
const sound = (): Buffer => Buffer.from(Int16Array.from(samples()).buffer)
const text = (version: 3 | 4): Buffer => (version === 4 ? utf8('T') : latin1('T'))
const id3 = (version: 3 | 4, flags = 0): Buffer =>
  id3v2(
    version,
    [
      { id: 'APIC', content: Buffer.concat([latin('\0image/png\0\x03\0'), Buffer.alloc(fileSize, 0x41)]) },
      { id: 'TIT2', content: text(version) },
    ],
    { flags },
  )
const comments = (name: string, size: number): Buffer =>
  vorbisComments(['TITLE=T', Buffer.concat([latin(`${name}=`), Buffer.alloc(size, 0x43)])])
const picture = (size: number): Buffer =>
  Buffer.concat([be(3, 4), be(9, 4), latin('image/png'), be(0, 20), be(size, 4), Buffer.alloc(size, 0x41)])

const ape = (): Buffer => apeTag(apeItem('Cover Art (Front)', Buffer.alloc(fileSize, 0x41), 2))

/** The index comes last in it, and the list of tags last in that. */
function withCover(file: Buffer): Buffer {
  const cover = box('covr', box('data', be(13, 4), be(0, 4), Buffer.alloc(fileSize, 0x41)))
  const grown = Buffer.from(file)
  for (const name of ['moov', 'udta', 'meta', 'ilst']) {
    const at = grown.indexOf(name) - 4
    grown.writeUInt32BE(grown.readUInt32BE(at) + cover.length, at)
  }
  return Buffer.concat([grown, cover])
}

/** The stream with other comments; what shares their last page follows them on one of its own. */
function withComments(file: Buffer, start: string, end: string): Buffer {
  const second = file.indexOf('OggS', 4)
  const segments = file.subarray(second + 27, second + 27 + file[second + 26]!)
  const packets: Buffer[] = []
  let at = second + 27 + segments.length
  let packet = at
  for (const length of segments) {
    at += length
    if (length === 255) continue
    packets.push(file.subarray(packet, at))
    packet = at
  }
  const serial = file.readUInt32LE(14)
  const tags = Buffer.concat([latin(start), comments('METADATA_BLOCK_PICTURE', fileSize), latin(end)])
  return Buffer.concat([
    file.subarray(0, second),
    oggPacket(serial, 1, tags),
    ...packets.slice(1).map((one, i) => oggPacket(serial, 700 + i, one)),
    file.subarray(at),
  ])
}

describe.skipIf(!postgres)('with tags of 40 MB', () => {
  let database: TestDatabase
  let folder: string
  beforeAll(async () => {
    folder = temporaryFolder('memory')
    await mkdir(path.join(folder, 'audio'))
    for (const [name, make] of Object.entries(files))
      await writeFile(path.join(folder, 'audio', name), await make())
    database = await migrated(await postgresTestDatabase(postgres!))
  }, 120_000)
  afterAll(() => database?.drop())

  /** @returns what it wrote, and its peak, MiB */
  async function run(argv: readonly string[], env: Record<string, string> = {}) {
    const peak = path.join(folder, 'peak')
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      ['--import', source('../support/peak-memory.ts'), source('../../src/main.ts'), ...argv, '--json'],
      {
        env: {
          ...bareEnvironment(),
          DATABASE_URL: database.url,
          AUDIO_STORAGE_PATH: path.join(folder, 'audio'),
          PEAK_MEMORY: peak,
          HOME: folder,
          ...env,
        },
        cwd: folder,
        maxBuffer: 2 ** 26,
      },
    )
    const summary = (stdout + stderr).split('\n').find(line => line.includes('"message_type":"summary"'))
    return {
      summary: JSON.parse(summary!) as Record<string, unknown>,
      peak: Number(await readFile(peak, 'utf8')) / 1024,
    }
  }

  const count = Object.keys(files).length
  test('import stays below 250 MiB', async () => {
    const { summary, peak } = await run(['import'])
    expect(summary).toMatchObject({ new: count, failed: 0 })
    expect(peak).toBeLessThan(250)
  }, 120_000)

  test.each([
    ['decoders from npm', ''],
    ['whatever decoder there is', process.env['PATH'] ?? ''],
  ])(
    'analyze stays below 300 MiB: %s',
    async (_, PATH) => {
      const { summary, peak } = await run(['analyze', '--all', '-c', '1'], { PATH })
      expect(summary).toMatchObject({ analysed: count, failed: 0, damaged: 0 })
      expect(peak).toBeLessThan(300)
    },
    240_000,
  )
})
