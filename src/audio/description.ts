/**
 * What a file says of itself: its container, how long it is and where the sound lies, its tags. Bytes are read here and
 * by `core/containers` and `core/tags`; the tags of ASF and Matroska are music-metadata's, and
 * those of MP4 that are not iTunes'.
 */
import { openAsBlob } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { IAudioMetadata } from 'music-metadata'
import { type ByteSource, inWindows } from '../core/containers/bytes.ts'
import { boxes } from '../core/containers/mp4.ts'
import { readSound } from '../core/containers/read.ts'
import type { Sound } from '../core/containers/sound.ts'
import { type AudioContainer, type AudioLocation, locateAudio } from '../core/content-type.ts'
import { addField, mergeTags, type TagFields, type TagReading } from '../core/tags/fields.ts'
import { readTagFields } from '../core/tags/read.ts'
import { toError } from '../errors.ts'

interface Description {
  readonly location: AudioLocation
  readonly sound: Sound
  readonly fields: TagFields
  /** Seconds; undefined if nothing tells. */
  readonly duration: number | undefined
  /** What could not be read, a clause each. */
  readonly problems: readonly string[]
}

/** The file's bytes; an answer is valid until the next call. */
export async function byteSource(file: FileHandle): Promise<ByteSource> {
  const { size } = await file.stat()
  return {
    size,
    read: async (position, length) => {
      const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(length, size - position)))
      let done = 0
      while (done < buffer.length) {
        const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done)
        if (bytesRead === 0) break
        done += bytesRead
      }
      return buffer.subarray(0, done)
    },
  }
}

/**
 * @returns undefined for what is not audio
 * @throws what reading the file throws; never for what the file holds
 */
export async function readDescription(path: string): Promise<Description | undefined> {
  await using file = await open(path)
  const source = await byteSource(file)
  const location = await locateAudio(source)
  if (!location) return undefined
  const sound = await readSound(source, location)
  const own = await readTagFields(source, location, sound)
  const isTold =
    location.container === 'mp4' && Object.keys(own.fields).length > 0 && sound.duration !== undefined
  const type = isTold ? undefined : mediaTypes[location.container]
  const foreign = type ? await readForeign(path, source, sound, type) : undefined
  const { fields, problems } = mergeTags(foreign ? [foreign, own] : [own])
  return {
    location,
    sound: foreign ? { ...foreign.sound, ...withoutUndefined(sound) } : sound,
    fields,
    duration: sound.duration ?? foreign?.sound.duration,
    problems,
  }
}

/** Containers that music-metadata reads, by the media type under which it knows them. */
const mediaTypes: Partial<Record<AudioContainer, string>> = {
  mp4: 'audio/mp4',
  asf: 'audio/x-ms-asf',
  matroska: 'audio/matroska',
  webm: 'audio/webm',
}

const withoutUndefined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T

/** Longest part of a message of the parser that is worth a line. */
const message = 120

interface Foreign extends TagReading {
  readonly sound: Partial<Sound>
}

/** What music-metadata gets out of the bytes of the sound; what it had when it gave up is kept. */
async function readForeign(path: string, source: ByteSource, sound: Sound, type: string): Promise<Foreign> {
  const { parseBlob } = await import('music-metadata')
  let seen: Partial<IAudioMetadata> | undefined
  const problems: string[] = []
  try {
    seen = await parseBlob(await wholeParts(path, source, sound, type), {
      skipCovers: true,
      duration: false,
      observer: ({ metadata }) => {
        seen = metadata as IAudioMetadata
      },
    })
  } catch (thrown) {
    problems.push(`not all of its tags could be read: ${toError(thrown).message.slice(0, message)}`)
  }
  const fields: TagFields = {}
  const add = (
    name: Parameters<typeof addField>[1],
    values: readonly (string | number | undefined)[],
  ): void =>
    addField(
      fields,
      name,
      values.flatMap(value =>
        value === undefined ? [] : [{ text: String(value), encoding: 'known' as const }],
      ),
    )
  const { common, format } = seen ?? {}
  add('title', [common?.title])
  const display = namesOfArtists(seen?.native)
  add('artists', display.length > 0 ? display : (common?.artists ?? [common?.artist]))
  add('albumArtists', [common?.albumartist])
  add('album', [common?.album])
  add('bpm', [common?.bpm])
  const duration = format?.duration
  return {
    fields,
    problems,
    sound: {
      coding: format?.codec?.toLowerCase(),
      sampleRate: format?.sampleRate,
      channels: format?.numberOfChannels,
      duration: duration !== undefined && Number.isFinite(duration) && duration > 0 ? duration : undefined,
    },
  }
}

/** Names under which the artist of a track stands that is to be shown; a list of each for machines may stand beside. */
const artistTags = new Set(['©ART', 'Author'])

function namesOfArtists(native: IAudioMetadata['native'] | undefined): string[] {
  return Object.values(native ?? {})
    .flat()
    .filter(({ id, value }) => artistTags.has(id) && typeof value === 'string')
    .map(({ value }) => value as string)
}

/** Bytes of a last box that are made up for, so that a parser reads what there is of it. */
const mostPadding = 2 ** 20

/**
 * What a parser is given: of MP4 the type and the index alone, with zeros for what a cut index lacks. It refuses a file
 * of which any box is cut, and goes through all of them.
 */
async function wholeParts(path: string, source: ByteSource, sound: Sound, type: string): Promise<Blob> {
  const file = await openAsBlob(path)
  if (type !== 'audio/mp4') return file.slice(sound.start, sound.end, type)
  const parts: (Blob | Uint8Array<ArrayBuffer>)[] = []
  for await (const { type: name, head, end, claimedEnd } of boxes(
    inWindows(source),
    sound.start,
    sound.end,
  )) {
    if (name !== 'ftyp' && name !== 'moov') continue
    parts.push(file.slice(head, end))
    if (claimedEnd > end) parts.push(new Uint8Array(Math.min(claimedEnd - end, mostPadding)))
  }
  return new Blob(parts, { type })
}
