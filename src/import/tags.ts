/** Tags and duration of an audio file, as a row gets them. */
import { readDescription } from '../audio/description.ts'
import { tagNames } from '../core/tags/names.ts'
import { toError } from '../errors.ts'

export interface FileTags {
  title?: string
  artist?: string
  album?: string
  /** seconds */
  duration?: number
  /** the file ends before its sound does */
  isCut?: boolean
  /** why there are none, or only some, or others than the tags say; one line */
  warning?: string
}

/**
 * Reads the tags. The parser is chosen by what the bytes are, not by the file's name. Tags that are broken, or of a
 * format without a parser, are a warning: the file is a track anyway, and keeps what could be read.
 *
 * @param absolute where the file is
 * @param path the same, relative to the audio folder: it decides where the tags leave doubt
 */
export async function readTags(absolute: string, path: string): Promise<FileTags> {
  try {
    const description = await readDescription(absolute)
    if (!description) return { warning: 'no tags could be read: it is no longer an audio file' }
    const { fields, duration, problems, sound } = description
    const isCut = sound.cut !== undefined || sound.unusable !== undefined
    const { doubts, ...names } = tagNames(path, fields)
    const warning = [...problems, ...doubts].join('; ')
    return {
      ...names,
      ...(duration !== undefined && { duration }),
      ...(isCut && { isCut }),
      ...(warning && { warning }),
    }
  } catch (thrown) {
    return { warning: `no tags could be read: ${toError(thrown).message.slice(0, 160)}` }
  }
}
