/** What a change rests on, looked at again. */

import { LocalFileError, openRoot, statSource } from '../audio-files/source.ts'
import type { ObjectState } from '../core/plan.ts'
import type { ObjectHead } from '../storage/store.ts'
import { type ExecuteOptions, Skip } from './settle.ts'

/** @throws Skip where the object is not as the plan saw it */
export async function needObject({ store, signal }: ExecuteOptions, state: ObjectState): Promise<ObjectHead> {
  const head = await store.head(state.key, { signal })
  if (head === undefined) throw new Skip('the object is gone')
  if (head.etag !== state.etag || head.size !== state.size) throw new Skip('the object has changed since')
  return head
}

/** @throws Skip where the file is not there, or has another size */
export async function needFile(
  { audioFolder }: ExecuteOptions,
  { path, size }: { path: string; size?: number },
): Promise<void> {
  try {
    const found = await statSource(path, audioFolder, await openRoot(audioFolder.root))
    if (size !== undefined && found.size !== size) throw new Skip('the local file has another size')
  } catch (error) {
    if (error instanceof LocalFileError) throw new Skip(error.message)
    throw error
  }
}
