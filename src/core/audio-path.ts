/** Where a track's `file_path` points, and whether autodj may follow it. Pure: links are checked by whoever opens. */
import path from 'node:path'

export type ResolvedPath =
  | {
      readonly ok: true /** absolute */
      readonly absolute: string /** relative to the root */
      readonly relative: string
    }
  | { readonly ok: false; readonly reason: string; readonly cure: string }

/**
 * A `file_path` from the database as a path under the audio root.
 *
 * @param filePath relative to the root, or absolute inside it, byte for byte as the application wrote it
 * @param root absolute
 */
export function resolveAudioPath(filePath: string, root: string): ResolvedPath {
  const refuse = (reason: string, cure: string): ResolvedPath => ({ ok: false, reason, cure })
  if (filePath === '') return refuse('file_path is empty', 'Run `autodj import` to find the file again.')
  if (filePath.includes('\0')) return refuse('file_path holds a NUL byte', 'Correct the row.')
  const absolute = path.resolve(root, filePath)
  const relative = path.relative(root, absolute)
  if (relative === '') return refuse('file_path is the audio folder itself', 'Correct the row.')
  if (isOutside(relative)) {
    return refuse(
      `file_path is outside the audio folder: ${filePath}`,
      'Move the file under AUDIO_STORAGE_PATH, or set AUDIO_STORAGE_PATH to the folder that holds it.',
    )
  }
  return { ok: true, absolute, relative }
}

/** Whether a path made by `path.relative` leaves its base. */
export function isOutside(relative: string): boolean {
  return relative === '..' || relative.startsWith(`..${path.sep}`) || path.isAbsolute(relative)
}
