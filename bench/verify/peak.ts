/** Loaded before the program (`--import`): at its end, the kernel's word on the most memory it ever had resident. */
import { writeFileSync } from 'node:fs'

process.once('exit', () => {
  writeFileSync(process.env['BENCH_PEAK_FILE']!, String(process.resourceUsage().maxRSS / 1024))
})
