/** Flags of `autodj serve`. */

import type { ValuesOf } from '../cli/flags.ts'
import { flag } from '../cli/flags.ts'

export const flags = {
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
}

export type ServeFlags = ValuesOf<typeof flags>
