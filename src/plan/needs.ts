/** What a change rests on, looked at again. */
import { contentOf, type FileContent } from '../audio-files/content-proof.ts'
import {
  type FileIdentity,
  isSameFile,
  LocalFileError,
  openRoot,
  openSource,
  statSource,
} from '../audio-files/source.ts'
import type { NeededFile, ObjectState } from '../core/plan.ts'
import type { Checksums, ObjectHead } from '../storage/store.ts'
import { type ExecuteOptions, Skip } from './item-executor.ts'

/** @throws Skip if the object is not as the plan saw it */
export async function needObject({ store, signal }: ExecuteOptions, state: ObjectState): Promise<ObjectHead> {
  const head = await store.head(state.key, { signal })
  if (head === undefined) throw new Skip('the object is gone')
  if (head.etag !== state.etag || head.size !== state.size) throw new Skip('the object has changed since')
  return head
}

/**
 * Whether the two are the same bytes by a checksum that is known of both; undefined if none is.
 */
export function sameSums(a: Checksums, b: Checksums): boolean | undefined {
  for (const name of ['sha256', 'crc64nvme', 'crc32'] as const) {
    const [left, right] = [a[name], b[name]]
    if (left !== undefined && right !== undefined) return left === right
  }
  return undefined
}

/**
 * A file that holds what the plan says; its content is read where the plan, or whoever asks, goes by it.
 *
 * @throws Skip if it is not there, or is another one
 */
export async function needFile(
  { audioFolder, signal }: ExecuteOptions,
  { path, size, sha256 }: NeededFile,
  { read = false }: { read?: boolean } = {},
): Promise<{ identity: FileIdentity; content?: FileContent }> {
  try {
    const source = await openSource(path, audioFolder, await openRoot(audioFolder.root))
    try {
      if (size !== undefined && source.size !== size) throw new Skip('the local file has a different size')
      if (!read && sha256 === undefined) return { identity: source }
      const content = await contentOf(source, signal)
      if (sha256 !== undefined && content.sha256 !== sha256)
        throw new Skip('the local file has different content')
      return { identity: source, content }
    } finally {
      await source.close()
    }
  } catch (error) {
    if (error instanceof LocalFileError) throw new Skip(error.message)
    throw error
  }
}

/** @throws Skip if the file is no longer the one that was looked at */
export async function needSameFile(
  { audioFolder }: ExecuteOptions,
  path: string,
  identity: FileIdentity,
): Promise<void> {
  try {
    const now = await statSource(path, audioFolder, await openRoot(audioFolder.root))
    if (!isSameFile(now, identity)) throw new Skip('the local file has changed since')
  } catch (error) {
    if (error instanceof LocalFileError) throw new Skip(error.message)
    throw error
  }
}
