/** Global set-up of all test runs: a temporary folder for the whole run, which goes away with all that is in it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

export default function setup(): () => void {
  const before = process.env['TMPDIR']
  const folder = mkdtempSync(path.join(tmpdir(), 'autodj-test-'))
  // Workers inherit it, and so does what they start.
  process.env['TMPDIR'] = folder
  process.env['TEST_RUN_FOLDER'] = folder
  return () => {
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}
