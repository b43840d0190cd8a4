/** What an audio file says of itself before anything is decoded, and whether all of it is there. */
import { type FileHandle, open } from 'node:fs/promises'
import type { Sound } from '../core/containers/sound.ts'
import type { AudioContainer } from '../core/content-type.ts'
import { FatalError, systemErrorReason, TemporaryError } from '../errors.ts'
import { readDescription } from './description.ts'

export interface Container {
  /** By the file's bytes, not its name. */
  readonly kind: AudioContainer
  /** As in `mp3`, `vorbis`; empty if the headers are too damaged to say. */
  readonly codec: string
  readonly channels: number | undefined
  /** Seconds that the container promises; undefined if it does not. */
  readonly duration: number | undefined
  /** Tempo tag (ID3 TBPM, Vorbis BPM, MP4 tmpo), beats per minute. */
  readonly tagBpm: number | undefined
  /** Why the file cannot be whole, whatever of it can be decoded: its last part ends beyond the end of the file. */
  readonly cut: string | undefined
  /** Where the sound lies in the file. */
  readonly sound: Sound
  /** bytes of the whole file */
  readonly size: number
}

const lengthOfAll = new Set<AudioContainer>(['asf', 'matroska', 'webm'])

/**
 * Reads headers and tags only, and of streams that do not say how long they are the heads of all frames.
 *
 * @throws FatalError `audio.empty`, `audio.unknown`, or `audio.undecodable` for an MP4 file without its index;
 *   TemporaryError `audio.unreadable` where the file cannot be read
 */
export async function inspect(path: string): Promise<Container> {
  let file: FileHandle | undefined
  let size: number
  try {
    file = await open(path)
    const stat = await file.stat()
    size = stat.size
    if (!stat.isFile()) throw new Error('not a regular file')
  } catch (error) {
    throw new TemporaryError(`the file cannot be read (${systemErrorReason(error)})`, {
      code: 'audio.unreadable',
      details: { path },
      cause: error,
    })
  } finally {
    await file?.close()
  }
  if (size === 0) throw new FatalError('the file is empty', { code: 'audio.empty', details: { path } })
  const description = await readDescription(path)
  if (!description)
    throw new FatalError('not a recognised audio format', { code: 'audio.unknown', details: { path } })
  const { location, sound, duration, fields } = description
  if (sound.unusable !== undefined)
    throw new FatalError(`no audio could be decoded: ${sound.unusable}`, {
      code: 'audio.undecodable',
      details: { path },
    })
  // Of a film in these, the length may well be the picture's.
  const isFilm = location.contentType.startsWith('video/') && lengthOfAll.has(location.container)
  return {
    kind: location.container,
    codec: sound.coding ?? '',
    channels: sound.channels,
    duration: isFilm ? undefined : duration,
    tagBpm: fields.bpm,
    cut: sound.cut,
    sound,
    size,
  }
}
