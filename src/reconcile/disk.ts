import type { Dirent } from 'node:fs'
import { opendir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { FileFacts } from '../core/reconcile/facts.ts'
import { FatalError, systemErrorCode, toError } from '../errors.ts'

/** Files to a page. */
const PAGE = 1_000

/**
 * All regular files below the root, in pages; links are not followed. Complete, or it throws: a folder that cannot be
 * read would make all its files look gone.
 *
 * @throws FatalError naming the folder
 */
export async function* walk(root: string, signal?: AbortSignal): AsyncGenerator<FileFacts[]> {
  let page: FileFacts[] = []
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    signal?.throwIfAborted()
    const entries: Dirent[] = []
    try {
      for await (const entry of await opendir(path.join(root, folder))) entries.push(entry)
    } catch (error) {
      // The root itself may be missing: it looks empty, which the canary knows how to judge.
      if (folder === '' && systemErrorCode(error) === 'ENOENT') return
      throw new FatalError(`cannot read the folder ${path.join(root, folder)}: ${toError(error).message}`, {
        code: 'disk.unreadable',
        cure: 'give autodj permission to read it; without it every file in it would look lost',
        cause: error,
      })
    }
    for (const entry of entries) {
      const relative = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory()) folders.push(relative)
      else if (entry.isFile()) {
        const facts = await factsOf(path.join(root, relative))
        if (facts === undefined) continue
        page.push({ path: relative, ...facts })
        if (page.length >= PAGE) {
          yield page
          page = []
        }
      }
    }
  }
  if (page.length > 0) yield page
}

/** Undefined for a file that went since its folder was read. */
async function factsOf(absolute: string): Promise<Omit<FileFacts, 'path'> | undefined> {
  try {
    const { size, ctimeMs } = await stat(absolute)
    return { size, changed: ctimeMs }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
