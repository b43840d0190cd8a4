/** Temporary folders, each named after its run, so that those of dead runs can be told and removed. */
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

const prefix = 'autodj-run-'

/** Makes the run's own temporary folder; whoever makes it removes it. */
export async function makeTempFolder(runId: string): Promise<string> {
  const folder = path.join(tmpdir(), `${prefix}${runId}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}

/** The run a temporary folder belongs to, by its name; undefined for anything else. */
export function runOfTempFolder(name: string): string | undefined {
  return new RegExp(`^${prefix}([0-9a-f-]{36})$`).exec(name)?.[1]
}
