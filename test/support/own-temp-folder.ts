/** Set-up of each file of tests: a temporary folder of its own, so that no sweep of one meets the runs of another. */
import { mkdtempSync } from 'node:fs'
import path from 'node:path'

// In the folder of the whole run (see temp-folder.ts), and goes away with it. One process may run many files of tests.
const run = process.env['TEST_RUN_FOLDER'] as string
process.env['TMPDIR'] = mkdtempSync(path.join(run, 'file-'))
// The program is started hundreds of times from its sources: what Node.js made of them once is there for the next. Not
// for this process, which would still write to it when the folder goes away.
process.env['NODE_COMPILE_CACHE'] = path.join(run, 'compiled')
