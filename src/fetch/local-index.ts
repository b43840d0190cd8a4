/** Files of the audio folder by the names of the tracks they may belong to. */
import type { Knex } from 'knex'
import { walkAudioFolder } from '../audio-files/walk.ts'
import { type AudioFolder, libraryStyle, type PathStyle, writeStoredPath } from '../core/audio-path.ts'
import { matchKey, matchKeysOfFile } from '../core/names.ts'
import { tracksOfFile } from '../db/content.ts'
import { filePathSample } from '../db/tracks.ts'

/** For how long one look at the folder holds, milliseconds: a worker asks for years. */
const holdMs = 5 * 60_000

export interface LocalIndex {
  /**
   * The one file of that artist and title that no row has, as rows of this library say it; undefined if there is
   * none, or more than one.
   */
  find(track: { artist: string; title: string }): Promise<string | undefined>
}

/** Looks at the folder when first asked. Names come from paths alone: tags are for `import`, which reads files. */
export function createLocalIndex(knex: Knex, audioFolder: AudioFolder, now: () => number): LocalIndex {
  let style: PathStyle | undefined
  let index: { at: number; files: Promise<Map<string, string[]>> } | undefined

  async function walk(): Promise<Map<string, string[]>> {
    const files = new Map<string, string[]>()
    for await (const entry of walkAudioFolder(audioFolder.root, audioFolder.root)) {
      if (entry.kind !== 'file' || entry.size === 0) continue
      for (const key of matchKeysOfFile(entry.path)) {
        const others = files.get(key)
        if (others) others.push(entry.path)
        else files.set(key, [entry.path])
      }
    }
    return files
  }

  return {
    async find(track) {
      if (!index || now() - index.at > holdMs) index = { at: now(), files: walk() }
      const found = (await index.files).get(matchKey(track)) ?? []
      const [file] = found
      if (file === undefined || found.length > 1) return undefined
      if ((await tracksOfFile(knex, file, audioFolder)).length > 0) return undefined
      style ??= libraryStyle(await filePathSample(knex), audioFolder)
      return writeStoredPath(file, style)
    },
  }
}
