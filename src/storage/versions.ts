/** Versions and delete markers of one key. */
import type { ObjectStore, ObjectVersionEntry } from './store.ts'

/** @returns the newest first; empty if the bucket keeps none, or nothing was ever there */
export async function versionsOfKey(
  store: ObjectStore,
  key: string,
  signal?: AbortSignal,
): Promise<ObjectVersionEntry[]> {
  const found: ObjectVersionEntry[] = []
  for await (const page of store.listVersions({ prefix: key, signal })) {
    found.push(...page.filter(version => version.key === key))
    if (page.some(version => version.key > key)) break
  }
  return found
}
