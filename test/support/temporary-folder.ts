import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** A new folder; nobody needs to remove it, as it goes with the folder of the whole run (see temp-folder.ts). */
export function temporaryFolder(name: string): string {
  return mkdtempSync(path.join(tmpdir(), `autodj-${name}-`))
}
