import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { constants, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  linesOf,
  openItself,
  readNamedFile,
  readNamedList,
  readNamedStream,
  refuseUnreadPipe,
  smallFile,
} from '../../src/named-files.ts'

let folder: string
const at = (name: string) => path.join(folder, name)
const pipe = (name: string) => {
  execFileSync('mkfifo', [at(name)])
  return at(name)
}
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'autodj-named-'))
  writeFileSync(at('text'), 'näme\n')
  writeFileSync(at('empty'), '')
  writeFileSync(at('most'), Buffer.alloc(smallFile, 1))
  writeFileSync(at('more'), Buffer.alloc(smallFile + 1, 1))
  mkdirSync(at('folder'))
  symlinkSync('text', at('link'))
  symlinkSync('loop', at('loop'))
  pipe('unwritten')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each([
  ['readNamedFile', async (file: string) => readNamedFile(file)],
  ['readNamedList', (file: string) => readNamedList(file, smallFile)],
])('%s', (_, read) => {
  test.each<[string, string | number]>([
    ['text', 'näme\n'],
    ['link', 'näme\n'],
    ['empty', ''],
    ['/dev/null', ''],
    ['most', smallFile],
  ])('%s is read whole', async (name, expected) => {
    const content = await read(path.resolve(folder, name))
    expect(typeof expected === 'string' ? content.toString() : content.length).toBe(expected)
  })

  test.each([
    ['more', 'it has more than 4 MiB'],
    ['/dev/zero', 'it has more than 4 MiB'],
    ['unwritten', 'it is a pipe to which nobody writes'],
    ['folder', /EISDIR/],
    ['loop', /ELOOP/],
    ['nothing', /ENOENT/],
  ])('%s is refused, and not waited for', async (name, why) => {
    await expect(read(path.resolve(folder, name))).rejects.toThrow(why)
  })

  test('a pipe is read until its writer has ended, however slowly it writes', async () => {
    const name = pipe(`written ${randomName()}`)
    const writer = spawn('sh', [
      '-c',
      'exec 3> "$0"; echo; read go; printf one >&3; sleep 0.1; printf two >&3',
      name,
    ])
    const content = (async () => {
      const reader = await open(name, constants.O_RDONLY | constants.O_NONBLOCK)
      await once(writer.stdout, 'data')
      writer.stdin.write('go\n')
      return read(name).finally(() => reader.close())
    })()
    expect((await content).toString()).toBe('onetwo')
  })
})

const randomName = () => Math.random().toString(36).slice(2)

test('a stream is read up to its limit', async () => {
  const stream = (...chunks: (string | Buffer)[]) => Readable.from(chunks)
  expect((await readNamedStream(stream('a', Buffer.from('b')), 2 * 1024 ** 2)).toString()).toBe('ab')
  await expect(readNamedStream(stream('a'.repeat(1024 ** 2), 'b'), 1024 ** 2)).rejects.toThrow(
    'it has more than 1 MiB',
  )
})

test('what must be a file is one', async () => {
  await expect(openItself(at('folder'), constants.O_RDONLY)).rejects.toMatchObject({ code: 'EISDIR' })
  await expect(openItself(at('unwritten'), constants.O_RDONLY)).rejects.toThrow('it is not a file')
  await expect(openItself('/dev/null', constants.O_RDONLY)).rejects.toThrow('it is not a file')
  await using file = await openItself(at('text'), constants.O_RDONLY)
  expect(await file.readFile('utf8')).toBe('näme\n')
})

test('a pipe that nobody reads is refused', () => {
  expect(() => refuseUnreadPipe(at('unwritten'))).toThrow(/ENXIO/)
  for (const name of ['text', 'nothing', '/dev/null']) refuseUnreadPipe(path.resolve(folder, name))
})

describe('linesOf', () => {
  const linesIn = async (content: Buffer | string, most = 1024 ** 2): Promise<string[]> => {
    writeFileSync(at('lines'), content)
    await using file = await open(at('lines'))
    const lines: string[] = []
    for await (const line of linesOf(file, most)) lines.push(line.toString('latin1'))
    return lines
  }

  test('gives what splitting at line feeds gives, whatever the bytes', async () => {
    const bytes = fc.array(fc.constantFrom(10, 13, 0, 0xc3, 0xa4, 0xe2, 0x80, 0xa8, 97), { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(bytes, fc.nat(70_000), async (some, gap) => {
        const content = Buffer.concat([Buffer.from(some), Buffer.alloc(gap, 98), Buffer.from(some)])
        const expected = content.toString('latin1').split('\n')
        if (expected.at(-1) === '') expected.pop()
        expect(await linesIn(content)).toEqual(expected)
      }),
      { numRuns: 40 },
    )
  })

  test('a line may be as long as the limit, and no longer', async () => {
    const line = 'a'.repeat(1024 ** 2)
    expect(await linesIn(`${line}\n${line}`)).toEqual([line, line])
    await expect(linesIn(`b\n${line}${'a'.repeat(70_000)}\n`)).rejects.toThrow(
      'it has a line of more than 1 MiB',
    )
    await expect(linesIn(`${line}${'a'.repeat(70_000)}`)).rejects.toThrow('it has a line of more than 1 MiB')
  })
})
