import { defineCommand } from '../cli/command.ts'
import { flags } from './flags.ts'

export const cleanup = defineCommand({
  name: 'cleanup',
  summary: 'for cron: remove proved local copies and what dead runs left behind',
  selects: 'tracks',
  settings: ['database', 'store', 'cdn', 'audio'],
  description:
    'Removes local copies unused for --older-than whose object has just been proved (checksum in S3, and a byte range through ' +
    'the CDN if one is configured), and more of them, least recently used first, while the audio folder is over ' +
    'MAX_AUDIO_CACHE_GB; empty folders; temporary folders of dead runs; abandoned multipart uploads; expired ' +
    'quarantine; old run records. A dry run until --apply. Two cleanups never overlap (exit code 11).',
  examples: [
    ['autodj cleanup', 'show what would be removed'],
    ['autodj cleanup --apply --max-duration 1h --healthcheck https://hc-ping.com/UUID', 'from cron'],
  ],
  flags,
  async run(context, flags) {
    const { runCleanup } = await import('./run.ts')
    return runCleanup(context, flags)
  },
})
