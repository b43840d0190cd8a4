import { toNfc } from '../names.ts'

/** Two names that a reader, or a file system, takes for one. */
export type TwinKind = 'nfc-twin' | 'case-twin'

/**
 * The form under which names that only differ in Unicode normalisation or letter case are equal: NFC, lower case
 * by the simple mappings (as NTFS and APFS fold, so `ß` stays apart from `ss`), final sigma as any sigma.
 */
export function foldCase(name: string): string {
  // The quick way: nearly every key is ASCII, and `normalize` costs more than all the rest.
  if (/^[\u0000-\u007f]*$/.test(name)) return name.toLowerCase()
  return toNfc(toNfc(name).toLowerCase().replaceAll('ς', 'σ'))
}

/** What a key may be written with in a row, beyond the key itself. */
export interface KeyPlace {
  bucket: string
  /** every key of the library begins so */
  prefix: string
}

/**
 * A key as the bucket has it: rows hold it as `s3://…` or `https://…`, with a slash before it, or without the prefix.
 *
 * @returns the key itself if it is none of these
 */
export function plainKey(key: string, { bucket, prefix }: KeyPlace): string {
  if (key.startsWith(prefix) && prefix !== '') return key
  let plain = key
  const url = /^(s3|https?):\/\/([^/]+)\/(.+)$/is.exec(key)
  if (url !== null) {
    const [, scheme = '', host = '', path = ''] = url
    if (scheme.toLowerCase() === 's3') {
      if (host !== bucket) return key
      plain = path
    } else {
      // Virtual-host style and CDNs have the key alone, path style the bucket before it.
      plain = decoded(path.replace(/[?#].*$/s, ''))
      if (plain.startsWith(`${bucket}/`)) plain = plain.slice(bucket.length + 1)
    }
  }
  plain = plain.replace(/^\/+/, '')
  return plain.startsWith(prefix) ? plain : prefix + plain
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** What makes twins of two different names with equal folds; undefined when they are no twins. */
export function twinKind(a: string, b: string): TwinKind | undefined {
  if (a === b) return undefined
  if (toNfc(a) === toNfc(b)) return 'nfc-twin'
  return foldCase(a) === foldCase(b) ? 'case-twin' : undefined
}

/** How a name is written: what tells names apart that look the same. */
export function formOf(name: string): 'NFC' | 'NFD' | 'neither NFC nor NFD' {
  const composed = toNfc(name)
  if (name === composed) return 'NFC'
  return name === composed.normalize('NFD') ? 'NFD' : 'neither NFC nor NFD'
}

const audioExtension =
  /\.(?:mp3|flac|wav|ogg|oga|opus|m4a|m4b|mp4|aac|aif|aiff|aifc|wma|webm|mka|ape|wv|mpc|dsf|dff|caf|au|amr)$/i

/**
 * Whether a file nobody names is worth telling: audio by its name (covers, playlists and cue sheets need no row), and
 * not hidden (macOS leaves `._song.mp3` beside `song.mp3`; downloads under way hide as well).
 */
export function isStrayAudio(path: string): boolean {
  return audioExtension.test(path) && !path.split('/').some(segment => segment.startsWith('.'))
}
