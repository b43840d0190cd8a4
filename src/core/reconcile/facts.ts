/** What was observed, as plain data. Sizes are bytes, times milliseconds since 1970, SHA-256 lower-case hex. */

import type { FileSource } from '../audio-source.ts'

/** Checksums of a whole object. CRCs as S3 spells them: base64 of the big-endian bytes. */
export interface ContentSums {
  /** lower-case hex */
  sha256?: string
  crc64nvme?: string
  crc32?: string
}

/** What the ledger recorded when an object was last proved against its content. */
export interface Proof extends ContentSums {
  size: number
  etag: string
  contentType?: string
  cacheControl?: string
  /** when: an object that was written later is not vouched for */
  at: number
}

/** One row of `tracks`, with what the ledger knows of the object under its key. */
export interface RowFacts {
  trackId: string
  key: string | null
  source: FileSource | null
  size: number | null
  path: string | null
  /** artist and title, of rows without key: what a reader knows them by */
  label?: string
  proof?: Proof
}

/** What a HEAD tells beyond a listing. */
export interface HeadFacts {
  contentType?: string
  cacheControl?: string
  /** as computed, or checked on arrival, by the server over the whole object */
  sums?: ContentSums
  /** SHA-256 as declared by whoever uploaded it */
  declaredSha256?: string
  /** the track that it was uploaded for, as its uploader declared */
  trackId?: string
  /** the library that uploaded it, as its uploader declared */
  library?: string
  /** its bytes cannot be read before they are restored */
  archive?: 'archived' | 'restoring'
}

/** A row without other audio that an object belongs to. */
export interface LackingRow {
  readonly row: RowFacts
  /** how the object is known to be its */
  readonly by: 'track' | 'content' | 'name'
  /** whether it has a file nobody can tell: no permission, a folder that is not there */
  readonly isUnseen?: true
}

export interface ObjectFacts {
  key: string
  size: number
  etag: string
  lastModified: number
  head?: HeadFacts
  /** of the bytes themselves, where they were downloaded and hashed */
  contentSha256?: string | undefined
  /** type of the bytes themselves, where their beginning was looked at; empty when they tell nothing */
  sniffedType?: string
  /** of a storage class in which only a HEAD tells whether it can be read */
  mayBeArchived?: true
  /** neither the ledger nor a row ever knew it, and this is why it is nothing of ours to remove */
  foreign?: 'unmarked' | 'deeper' | 'other-library' | 'unnamable'
  /** the row of its track, which has no other audio, and how it is known to be its */
  lacking?: LackingRow | undefined
}

/** One file under the audio folder; `path` is relative to it, with `/`. */
export interface FileFacts {
  path: string
  size: number
  /** when it was last changed, attributes included, milliseconds since 1970 */
  changed?: number
}

/** The local copy of a row whose object is in the bucket. */
export interface LocalCopy {
  row: RowFacts & { key: string }
  file: FileFacts
}

export type DifferenceClass =
  | 'missing-object'
  | 'orphan-object'
  | 'size-differs'
  | 'checksum-differs'
  | 'metadata-differs'
  | 'wrong-source'
  | 'nfc-twin'
  | 'case-twin'
  | 'moved'
  | 'duplicate-content'
  | 'no-audio'
  | 'local-file-without-row'
  | 'misspelt-key'
  | 'unlinked-object'
  | 'foreign-object'
  | 'archived-object'
  | 'local-copy-differs'
  | 'duplicate-file'
  | 'empty-file'
  | 'not-audio'

/** All classes in the order of reports, with what they mean. */
export const differenceClasses: Readonly<Record<DifferenceClass, string>> = {
  'missing-object': 'the row names an object that is not in the bucket',
  'orphan-object': 'no row names the object',
  'size-differs': 'row and object disagree about the size',
  'checksum-differs': 'the object is not the content that was proved, or declared, under its key',
  'metadata-differs': 'Content-Type or Cache-Control is wrong',
  'wrong-source': '`file_source` does not match where the audio is',
  'nfc-twin': 'names that differ only in Unicode normalisation',
  'case-twin': 'names that differ only in letter case',
  moved: 'the content the row names is under another key',
  'duplicate-content': 'two objects hold the same bytes',
  'no-audio': 'the row has neither object nor file',
  'local-file-without-row': 'no row names the file',
  'misspelt-key': 'the row names its object by a URL, encoded, or without the prefix',
  'unlinked-object':
    'no row names the object, and the track that it belongs to has no audio that can be seen',
  'foreign-object': 'no row names the object, and nothing shows that autodj uploaded it',
  'archived-object': 'the object is in an archive storage class and cannot be played',
  'local-copy-differs': 'the local file has changed since it was uploaded',
  'duplicate-file': 'no row names the file; a track has the same content',
  'empty-file': 'no row names the file, and it is empty',
  'not-audio': 'no row names the file, and it is not a recognised audio format',
}

export interface Difference {
  class: DifferenceClass
  /** `drift`: database, bucket and disk contradict each other. `note`: worth knowing, contradicts nothing. */
  severity: 'drift' | 'note'
  /** one line for the reader */
  detail: string
}

/**
 * One line of the result. The sigils are rclone's (`rclone check --combined`), rows being the source and the
 * bucket the destination: `=` agree, `+` only in the source, `-` only in the destination, `*` differ, `!` not read.
 */
export interface Comparison {
  sigil: '=' | '+' | '-' | '*' | '!'
  /** object key; of a local file its path, of a row without key its track id */
  name: string
  differences: readonly Difference[]
  row?: RowFacts
  object?: ObjectFacts
  file?: FileFacts
  /** whether the row's local file is there, where that was looked at */
  fileThere?: boolean
  /** the object that has what this row wants, or that this object repeats */
  other?: ObjectFacts
  /** whether `other` holds the same content, as far as that is known */
  otherContent?: Sameness
  /** what was seen is as old as this, milliseconds since 1970: an inventory said so, and nobody looked since */
  asOf?: number
  /** content of the local file, hex, where it was read */
  fileSha256?: string
  /** the object that a row names, where it was removed: in quarantine (`from`), or hidden by a delete marker */
  removed?: { object: { key: string; size: number; etag: string }; from?: string }
  /** the bucket that a row names with its key, if that is another one: whether its object is there nobody looked */
  elsewhere?: string
  /** what could not be read, on a `!` */
  problem?: string
  /** says more about a name that has its line already */
  addendum?: true
}

/** Whether nothing but that they agree is to be told: of nearly all of a healthy library. */
export function isPlain({ sigil, differences }: Comparison): boolean {
  return sigil === '=' && differences.length === 0
}

export type Sameness = 'same' | 'different' | 'unknown'
