import { readdirSync, readlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { plainFolder } from '../../../src/core/audio-path.ts'
import { createFileOpener } from '../../../src/server/audio-file.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let folder: string
beforeEach(() => {
  folder = temporaryFolder('served')
  writeFileSync(path.join(folder, 'a.flac'), `fLaC${'x'.repeat(1_000_000)}`)
})

/** Files of the folder that this process has open. */
const open = () =>
  readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder)
    } catch {
      return false
    }
  }).length

test.runIf(process.platform === 'linux')(
  'a reader that takes nothing loses the file; one that reads gets all of it',
  async () => {
    const opener = createFileOpener(plainFolder(folder), { slowestChunkMs: 500 })
    const slow = await opener('a.flac')
    const stream = slow.stream(0, slow.size - 1)
    stream.read(0)
    await expect.poll(() => stream.readableLength).toBeGreaterThan(0)
    expect(open()).toBe(1)
    await expect.poll(() => stream.destroyed).toBe(true)
    await expect.poll(open).toBe(0)

    const steady = await createFileOpener(plainFolder(folder))('a.flac')
    let bytes = 0
    for await (const chunk of steady.stream(4, steady.size - 1)) bytes += chunk.length
    expect(bytes).toBe(1_000_000)
    await expect.poll(open).toBe(0)
  },
)
