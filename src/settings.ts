/** The settings that there are: what `--help`, `init` and the pages are made of, and what config.ts reads. */

/** What a setting is about: a command says which of them it uses. */
export type SettingTopic = 'database' | 'store' | 'cdn' | 'audio' | 'serve' | 'fetch' | 'records' | 'network'

/** A setting: its variable, the flag that wins over it, and how it is told to people. Drives `.env.example` checks and `init`. */
export interface Setting {
  readonly variable: string
  readonly topic: SettingTopic
  readonly flag?: string
  readonly description: string
  readonly example: string
  readonly secret?: boolean
}

export const settings = [
  {
    variable: 'DATABASE_URL',
    topic: 'database',
    flag: '--database-url <url>',
    description: 'PostgreSQL database, or pglite:DIR for the embedded one',
    example: 'postgresql://autodj:secret@localhost:5432/autodj',
    secret: true,
  },
  {
    variable: 'AWS_ACCESS_KEY_ID',
    topic: 'store',
    description: 'AWS access key ID; if unset, the SDK looks for credentials itself (profile, SSO, role)',
    example: 'AKIAIOSFODNN7EXAMPLE',
  },
  {
    variable: 'AWS_SECRET_ACCESS_KEY',
    topic: 'store',
    description: 'its secret access key',
    example: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    secret: true,
  },
  {
    variable: 'AWS_SESSION_TOKEN',
    topic: 'store',
    description: 'session token of temporary credentials',
    example: 'FwoGZXIvYXdzE…',
    secret: true,
  },
  {
    variable: 'AUTODJ_NEW_ACCESS_KEY_ID',
    topic: 'store',
    description: 'the next access key, for `autodj doctor --rotate-check`',
    example: 'AKIAI44QH8DHBEXAMPLE',
  },
  {
    variable: 'AUTODJ_NEW_SECRET_ACCESS_KEY',
    topic: 'store',
    description: 'its secret access key',
    example: 'je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY',
    secret: true,
  },
  {
    variable: 'AWS_PROFILE',
    topic: 'store',
    description: 'AWS CLI profile to use instead of keys; its region and endpoint_url apply too',
    example: 'autodj',
  },
  {
    variable: 'AWS_REGION',
    topic: 'store',
    flag: '--region <name>',
    description: 'AWS region of the bucket',
    example: 'eu-central-1',
  },
  {
    variable: 'S3_BUCKET_NAME',
    topic: 'store',
    flag: '--bucket <name>',
    description: 'name of the bucket',
    example: 'my-autodj-audio',
  },
  {
    variable: 'S3_ENDPOINT',
    topic: 'store',
    flag: '--endpoint <url>',
    description: 'URL of an S3-compatible store, if not Amazon S3',
    example: 'https://minio.example.net:9000',
  },
  {
    variable: 'S3_ADDRESSING',
    topic: 'store',
    description: "where the bucket's name goes in URLs: path, virtual (before the host) or auto",
    example: 'virtual',
  },
  {
    variable: 'S3_REQUEST_PAYER',
    topic: 'store',
    description: '"requester" for buckets whose requesters pay',
    example: 'requester',
  },
  {
    variable: 'S3_KEY_PREFIX',
    topic: 'store',
    flag: '--prefix <prefix>',
    description: 'first part of every key',
    example: 'audio/',
  },
  {
    variable: 'HTTPS_PROXY',
    topic: 'network',
    description: 'proxy for https:// addresses; HTTP_PROXY for http://',
    example: 'http://proxy.example:3128',
    secret: true,
  },
  {
    variable: 'NO_PROXY',
    topic: 'network',
    description: 'hosts to reach without the proxy',
    example: 'localhost,.corp.example',
  },
  {
    variable: 'AWS_CA_BUNDLE',
    topic: 'network',
    description: 'further certificates (PEM) to trust, of a private authority or a proxy',
    example: '/etc/ssl/corp-ca.pem',
  },
  {
    variable: 'CLOUDFRONT_DOMAIN',
    topic: 'cdn',
    flag: '--cdn-domain <domain>',
    description: 'domain of CloudFront or another CDN; if unset, CDN steps are skipped',
    example: 'd111111abcdef8.cloudfront.net',
  },
  {
    variable: 'CDN_PROVIDER',
    topic: 'cdn',
    description: 'cloudfront, cloudflare, fastly, bunny, nginx or other; if unset, detected from its answers',
    example: 'nginx',
  },
  {
    variable: 'CLOUDFRONT_DISTRIBUTION_ID',
    topic: 'cdn',
    description: 'id of the distribution, for its settings and metrics',
    example: 'EDFDVBD6EXAMPLE',
  },
  {
    variable: 'CLOUDFRONT_KEY_PAIR_ID',
    topic: 'cdn',
    description: 'id of the public key for signed URLs',
    example: 'K2JCJMDEHXQW5F',
  },
  {
    variable: 'CLOUDFRONT_PRIVATE_KEY_PATH',
    topic: 'cdn',
    description: 'file with the private key (PEM) for signed URLs',
    example: './cloudfront-private-key.pem',
  },
  {
    variable: 'AUDIO_STORAGE_PATH',
    topic: 'audio',
    description:
      'the audio folder as the application names it: the first part of every file_path that it writes',
    example: './audio',
  },
  {
    variable: 'AUDIO_ROOT',
    topic: 'audio',
    flag: '--audio-root <dir>',
    description: 'path of the audio folder on this machine, if it differs (mounted, or outside a container)',
    example: '/mnt/autodj/audio',
  },
  {
    variable: 'APPLICATION_DIR',
    topic: 'audio',
    description: "the application's working directory, if not the folder of its .env",
    example: '/srv/autodj',
  },
  {
    variable: 'CORS_ORIGINS',
    topic: 'serve',
    description: 'origins whose pages may call `serve`, as in the application: a JSON array',
    example: '["http://localhost:3000"]',
  },
  {
    variable: 'MAX_AUDIO_CACHE_GB',
    topic: 'audio',
    description: 'size in GB that cleanup keeps the audio folder under',
    example: '50',
  },
  {
    variable: 'FETCH_COMMAND',
    topic: 'fetch',
    description:
      'command that downloads audio, run without a shell; {query} {artist} {title} {output} are filled in',
    example: 'my-downloader --output {output} {query}',
  },
  {
    variable: 'FETCH_URL',
    topic: 'fetch',
    description: 'the --url of fetch, for it and for workers: a secret in it is then in no job of the queue',
    example: 'https://audio.example/{id}?token=SECRET',
    secret: true,
  },
  {
    variable: 'AUTODJ_HEALTHCHECK',
    topic: 'records',
    flag: '--healthcheck <url>',
    description: 'ping URL/start, and URL/EXIT-CODE at the end with the summary',
    example: 'https://hc-ping.com/UUID',
    secret: true,
  },
  {
    variable: 'AUTODJ_METRICS',
    topic: 'records',
    flag: '--metrics <where>',
    description: 'write Prometheus metrics of the run to a file, or push them to a Pushgateway',
    example: '/var/lib/node_exporter/autodj.prom',
  },
  {
    variable: 'AUTODJ_LOG_FILE',
    topic: 'records',
    flag: '--log-file <file>',
    description: 'append every line to this file, with time and level',
    example: '/var/log/autodj.log',
  },
  {
    variable: 'AUTODJ_LOG_FORMAT',
    topic: 'records',
    flag: '--log-format <format>',
    description: 'format of the log file: text or json',
    example: 'json',
  },
] as const satisfies readonly Setting[]

export type Variable = (typeof settings)[number]['variable']

/** Values of the flags that win over the environment, by variable. */
export type Overrides = Partial<Record<Variable, string>>
