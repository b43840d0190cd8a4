/** Tags and duration of an audio file, by music-metadata. */
import { openAsBlob } from 'node:fs'
import type { IAudioMetadata, IOptions } from 'music-metadata'
import { type AudioType, detectAudio } from '../core/content-type.ts'
import { toError } from '../errors.ts'

export interface FileTags {
  title?: string
  artist?: string
  album?: string
  /** seconds */
  duration?: number
  /** why there are none, or only some, one line */
  warning?: string
}

/** Longest part of a message of the parser that is worth a line. */
const MESSAGE = 160

/**
 * Reads the tags. The parser is chosen by what the bytes are, not by the file's name. Tags that are broken, or of a
 * format without a parser, are a warning: the file is a track all the same.
 */
export async function readTags(absolute: string): Promise<FileTags> {
  try {
    const { parseBlob } = await import('music-metadata')
    const file = await openAsBlob(absolute)
    const type = await detectAudio({
      size: file.size,
      read: async (offset, length) => file.slice(offset, offset + length).bytes(),
    })
    if (!type) return { warning: 'no tags could be read: it is no audio any more' }
    const blob = file.slice(0, file.size, parserType(type))
    const parse = async (options: IOptions): Promise<IAudioMetadata> =>
      parseBlob(blob, { skipCovers: true, ...options })
    let metadata = await parse({})
    // Ogg, ADTS and some MPEG streams say nowhere how long they are: then the whole file has to be gone through.
    if (metadata.format.duration === undefined) metadata = await parse({ duration: true })
    const { common, format } = metadata
    return {
      title: common.title,
      artist: common.artist,
      album: common.album,
      ...(format.duration !== undefined && Number.isFinite(format.duration) && format.duration > 0
        ? { duration: format.duration }
        : {}),
    }
  } catch (thrown) {
    return { warning: `no tags could be read: ${toError(thrown).message.slice(0, MESSAGE)}` }
  }
}

/** music-metadata finds its parser by media type, and knows one name of each. */
function parserType({ container, contentType }: AudioType): string {
  return container === 'mp4' ? 'audio/mp4' : contentType
}
