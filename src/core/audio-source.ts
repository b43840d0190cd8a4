/** Where a track's audio is, told from its row: the rule the application itself follows. Pure. */

/** `tracks.file_source`, as SQLAlchemy stores it; null in some deployments. */
export type FileSource = 'LOCAL' | 'YOUTUBE' | 'S3' | 'UNAVAILABLE'

export interface AudioLocation {
  readonly fileSource: FileSource | null
  readonly s3ObjectKey: string | null
  readonly filePath: string | null
}

type AudioSource =
  | { readonly kind: 's3'; readonly key: string }
  | { readonly kind: 'file'; readonly source: 'local' | 'youtube'; readonly filePath: string }
  | { readonly kind: 'none' }

/**
 * | file_source | needs | answer |
 * | --- | --- | --- |
 * | S3 | s3_object_key | the object |
 * | LOCAL, YOUTUBE | file_path | the file |
 * | UNAVAILABLE, NULL, or what is needed is missing | | none |
 */
export function audioSource({ fileSource, s3ObjectKey, filePath }: AudioLocation): AudioSource {
  if (fileSource === 'S3' && s3ObjectKey) return { kind: 's3', key: s3ObjectKey }
  if (fileSource === 'LOCAL' && filePath) return { kind: 'file', source: 'local', filePath }
  if (fileSource === 'YOUTUBE' && filePath) return { kind: 'file', source: 'youtube', filePath }
  return { kind: 'none' }
}
