import { defineCommand } from '../cli/command.ts'
import { flag } from '../cli/flags.ts'
import { ExitCode } from '../errors.ts'

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
  flags: {
    host: flag.text('--host <address>', 'address to listen on', '127.0.0.1'),
    port: flag.integer('--port <n>', 'port to listen on; 0 picks a free one', { max: 65_535 }, 8_000),
    corsOrigin: flag.origins(
      '--cors-origin <origin>',
      'origin that browsers may call from; may be repeated (default: CORS_ORIGINS, or else any)',
    ),
    publicUrl: flag.custom(
      '--public-url <url>',
      "URL at which clients reach this server, for URLs of local files (default: the host they used if it is this machine's own name, else relative)",
      'an http(s) URL without a path',
      raw => {
        const url = URL.parse(raw)
        return url && /^https?:$/.test(url.protocol) && url.pathname === '/' ? url.origin : undefined
      },
    ),
    trustProxy: flag.boolean('--trust-proxy', 'trust the X-Forwarded-* headers of the proxy in front'),
    urlLifetime: flag.duration('--url-lifetime <time>', 'how long signed URLs stay valid', '6h'),
    drainTimeout: flag.duration(
      '--drain-timeout <time>',
      'how long to wait for answers under way when it is stopped',
      '30s',
    ),
  },

  async run(context, flags) {
    const { runServer } = await import('./run.ts')
    await runServer(context, flags)
    return ExitCode.ok
  },
})
