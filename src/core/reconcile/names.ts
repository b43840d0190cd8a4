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

/**
 * Scheme and host of a URL, whose slashes programs that take it for a path fold into one, or none but two slashes; the bucket
 * in an ARN is as a host.
 */
const start = /^(?:arn:[^:]*:s3:[^:]*:[^:]*:|[a-z][a-z0-9+.-]+:\/+|\/\/)([^/]+)\//i

/**
 * Every key that a row may mean: {@link plainKey} first, then what it is where the URL was written without encoding, or
 * encoded where it is none, with blanks around it, or with the bucket or a host before the prefix. Which it is only the
 * bucket tells.
 */
export function keyReadings(key: string, place: KeyPlace): string[] {
  const { bucket, prefix } = place
  const found = new Set([plainKey(key, place)])
  if (otherBucket(key, bucket) !== undefined) return [...found]
  const said = key.trim().replaceAll('\\', '/')
  for (const text of new Set([key, said, said.replace(/[?#].*$/s, '')])) {
    for (const form of new Set([text, decoded(text)])) {
      let path = form.replace(start, '').replace(/^\/+/, '')
      if (path.startsWith(`${bucket}/`)) path = path.slice(bucket.length + 1)
      if (path === '') continue
      found.add(path.startsWith(prefix) ? path : prefix + path)
      // Stores that keep objects as files take them for one.
      if (dots.test(path)) found.add(withoutDots(path))
      // A host without a scheme.
      const [host = ''] = path.split('/')
      if (host.includes('.') && path.startsWith(`${host}/${prefix}`) && prefix !== '')
        found.add(path.slice(host.length + 1))
    }
  }
  return [...found]
}

/** The bucket that a row names with its key, if that is another one. */
export function otherBucket(key: string, bucket: string): string | undefined {
  const text = key.trim()
  const [, named] =
    /^(?:s3[an]?:\/+|arn:[^:]*:s3:[^:]*:[^:]*:)([^/]+)\//i.exec(text) ??
    /^https?:\/+([^/]+)\.s3(?:[.-][^/]*)?\.amazonaws\.com(?:\.cn)?(?::\d+)?\//i.exec(text) ??
    []
  return named === undefined || named === bucket ? undefined : named
}

/** Segments that are empty, or dots. */
const dots = /(?:^|\/)\.{0,2}\//

function withoutDots(path: string): string {
  const kept: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(segment)
  }
  return kept.join('/')
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
