/** Preloaded by a process whose peak of memory is wanted: at its end it writes that, KiB, to the file named by `PEAK_MEMORY`. */
import { writeFileSync } from 'node:fs'

process.on('exit', () => writeFileSync(process.env['PEAK_MEMORY']!, String(process.resourceUsage().maxRSS)))
