/** Titles and artists as versions before 0.2 read them: what `import --retag` takes for its own. */
import { openAsBlob } from 'node:fs'
import { detectAudio } from '../core/content-type.ts'
import { type TrackName, trackName } from '../core/names.ts'

/**
 * @param absolute where the file is
 * @param path the same, relative to the audio folder
 * @returns the names that such a version could have written, by tags and by path
 */
export async function formerNames(absolute: string, path: string): Promise<TrackName[]> {
  const byPath = trackName(path)
  try {
    const { parseBlob } = await import('music-metadata')
    const file = await openAsBlob(absolute)
    const type = await detectAudio({
      size: file.size,
      read: async (offset, length) => file.slice(offset, offset + length).bytes(),
    })
    if (!type) return [byPath]
    const media = type.container === 'mp4' ? 'audio/mp4' : type.contentType
    const { common } = await parseBlob(file.slice(0, file.size, media), { skipCovers: true })
    return [trackName(path, { title: common.title, artist: common.artist }), byPath]
  } catch {
    return [byPath]
  }
}
