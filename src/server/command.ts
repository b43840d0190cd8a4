import { defineCommand } from '../cli/command.ts'
import { ExitCode } from '../errors.ts'
import { flags } from './flags.ts'

export const serve = defineCommand({
  name: 'serve',
  summary: 'the tracks API: redirects to CloudFront, byte ranges of local files',
  settings: ['database', 'store', 'cdn', 'audio', 'serve'],
  description:
    'Answers what the application asks for under /api/v1/tracks, from the same database, before, during and after ' +
    'the migration. /health, /metrics and /openapi.json are beside it. It has no authentication: keep it on ' +
    'localhost or behind a proxy that has. SIGTERM lets answers under way finish; the exit code is then 0.',
  examples: [
    ['autodj serve', 'on http://127.0.0.1:8000'],
    [
      'autodj serve --host 0.0.0.0 --port 80 --public-url https://dj.example.com',
      'for a network, behind a proxy',
    ],
  ],
  flags,

  async run(context, flags) {
    const { runServer } = await import('./run.ts')
    await runServer(context, flags)
    return ExitCode.ok
  },
})
