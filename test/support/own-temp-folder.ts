/** Set-up of each file of tests: a temporary folder of its own, so that no sweep of one meets the runs of another. */
import { mkdtempSync } from 'node:fs'
import path from 'node:path'

// In the folder of the whole run (see temp-folder.ts), and goes away with it. One process may run many files of tests.
process.env['TMPDIR'] = mkdtempSync(path.join(process.env['TEST_RUN_FOLDER'] as string, 'file-'))
