// Health of the container: `autodj serve` answers. Any other command is well for as long as it runs.
import { readFileSync } from 'node:fs'

// Process 1 is tini, and the command line that it was given is autodj's.
const words = readFileSync('/proc/1/cmdline', 'utf8').split('\0')
if (words.includes('serve')) {
  const port = words.includes('--port') ? words[words.indexOf('--port') + 1] : '8000'
  const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined)
  process.exitCode = answer?.ok ? 0 : 1
}
