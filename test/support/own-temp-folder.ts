/** Set-up of each file of tests: a temporary folder of its own, so that no sweep of one meets the runs of another. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

// In the folder of the whole run, and goes away with it. What the tests start inherits it.
process.env['TMPDIR'] = mkdtempSync(path.join(tmpdir(), 'file-'))
