/**
 * Where every setting comes from: flags, then the environment, then `.env`. The only reader of `process.env` is
 * `main`, which hands it in; the result is frozen and says of each value where it came from.
 */
import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { parse as parseDotenv } from 'dotenv'
import type { AudioFolder } from './core/audio-path.ts'
import { type AwsProfile, profileNames, readProfile } from './core/aws-profile.ts'
import { type CdnDomain, parseCdnDomain } from './core/cdn-url.ts'
import { parseDatabaseUrl } from './core/database-url.ts'
import { quarantinePrefix } from './core/prefixes.ts'
import { readProxies } from './core/proxy.ts'
import { parseBytes } from './core/units.ts'
import { type ErrorDetails, systemErrorCode, toError, UsageError } from './errors.ts'
import type { Network } from './network.ts'

export interface Config {
  readonly database: {
    /** `postgresql://…` or `pglite:/absolute/dir` */
    readonly url: string
    /** not configured: the embedded database is used, and that is said aloud */
    readonly isDefault: boolean
  }
  readonly s3: {
    /** undefined until {@link requireBucket} has been asked */
    readonly bucket: string | undefined
    readonly region: string | undefined
    /** an S3-compatible store, maybe with a path, without a slash at the end; undefined: AWS */
    readonly endpoint: string | undefined
    /** what named the endpoint: a variable, or a profile */
    readonly endpointFrom: string | undefined
    /** the same endpoint, where it answers for all of AWS (`AWS_ENDPOINT_URL`): STS, IAM, CloudFront too */
    readonly servicesEndpoint: string | undefined
    /** where the bucket's name goes: into the path, or before the host */
    readonly addressing: 'path' | 'virtual' | 'auto'
    /** whoever asks pays, not the owner of the bucket */
    readonly requesterPays: boolean
    /** ends in `/` unless empty */
    readonly keyPrefix: string
    /** undefined: the SDK's credentials chain (profiles, SSO, roles) */
    readonly credentials:
      | { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string }
      | undefined
    /** which profile the chain takes them from; undefined: the default one */
    readonly profile: string | undefined
    /** the profiles there are, where one was asked for */
    readonly profiles: readonly string[] | undefined
  }
  readonly cdn:
    | {
        readonly domain: CdnDomain
        readonly distributionId: string | undefined
        readonly signer: { readonly keyPairId: string; readonly privateKeyPath: string } | undefined
      }
    | undefined
  readonly network: Network
  /** where the audio folder is on this machine, absolute: `audioFolder.root` */
  readonly audioRoot: string
  /** the audio folder as the application and this machine call it */
  readonly audioFolder: AudioFolder
  /** bytes; what `cleanup` keeps the audio folder under */
  readonly maxAudioCacheBytes: number | undefined
  /** argv template with `{query}` and the like; run without a shell */
  readonly fetchCommand: readonly string[] | undefined
  /** undefined: none are kept */
  readonly records: RecordSettings | undefined
  /** the `.env` that was read, or would have been; `unknown`: variables in it that look like settings and are none */
  readonly envFile: { readonly path: string; readonly found: boolean; readonly unknown: readonly string[] }
  /** every setting that has a value, as it was given, secrets among them; for `init` */
  readonly given: Readonly<Partial<Record<Variable, string>>>
}

/** Where records of runs go. */
export interface RecordSettings {
  /** URL that is pinged */
  readonly healthcheck: string | undefined
  /** absolute path of a file, or URL of a Pushgateway */
  readonly metrics: string | undefined
  /** absolute */
  readonly logFile: string | undefined
  readonly logFormat: 'text' | 'json'
}

/** What a setting is about: a command says which of them it uses. */
export type SettingTopic = 'database' | 'store' | 'cdn' | 'audio' | 'fetch' | 'records' | 'network'

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
    description: 'PostgreSQL, or pglite:DIR for the embedded database',
    example: 'postgresql://autodj:secret@localhost:5432/autodj',
    secret: true,
  },
  {
    variable: 'AWS_ACCESS_KEY_ID',
    topic: 'store',
    description: 'access key; unset: the credentials chain',
    example: 'AKIAIOSFODNN7EXAMPLE',
  },
  {
    variable: 'AWS_SECRET_ACCESS_KEY',
    topic: 'store',
    description: 'its secret',
    example: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    secret: true,
  },
  {
    variable: 'AWS_SESSION_TOKEN',
    topic: 'store',
    description: 'for temporary credentials',
    example: 'FwoGZXIvYXdzE…',
    secret: true,
  },
  {
    variable: 'AWS_PROFILE',
    topic: 'store',
    description: 'profile of the AWS CLI, instead of keys; its region and endpoint_url count too',
    example: 'autodj',
  },
  {
    variable: 'AWS_REGION',
    topic: 'store',
    flag: '--region <name>',
    description: 'region of the bucket',
    example: 'eu-central-1',
  },
  {
    variable: 'S3_BUCKET_NAME',
    topic: 'store',
    flag: '--bucket <name>',
    description: 'bucket',
    example: 'my-autodj-audio',
  },
  {
    variable: 'S3_ENDPOINT',
    topic: 'store',
    flag: '--endpoint <url>',
    description: 'an S3-compatible store',
    example: 'https://minio.example.net:9000',
  },
  {
    variable: 'S3_ADDRESSING',
    topic: 'store',
    description: "where the bucket's name goes: path, virtual (before the host), auto",
    example: 'virtual',
  },
  {
    variable: 'S3_REQUEST_PAYER',
    topic: 'store',
    description: '"requester": whoever asks pays, as such buckets want it',
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
    description: 'hosts that are asked without it',
    example: 'localhost,.corp.example',
  },
  {
    variable: 'AWS_CA_BUNDLE',
    topic: 'network',
    description: 'certificates (PEM) to trust besides, of a private authority or a proxy',
    example: '/etc/ssl/corp-ca.pem',
  },
  {
    variable: 'CLOUDFRONT_DOMAIN',
    topic: 'cdn',
    flag: '--cdn-domain <domain>',
    description: 'CloudFront domain or alias; unset: CDN steps are skipped',
    example: 'd111111abcdef8.cloudfront.net',
  },
  {
    variable: 'CLOUDFRONT_DISTRIBUTION_ID',
    topic: 'cdn',
    description: 'for settings and metrics',
    example: 'EDFDVBD6EXAMPLE',
  },
  {
    variable: 'CLOUDFRONT_KEY_PAIR_ID',
    topic: 'cdn',
    description: 'public key id for signed URLs',
    example: 'K2JCJMDEHXQW5F',
  },
  {
    variable: 'CLOUDFRONT_PRIVATE_KEY_PATH',
    topic: 'cdn',
    description: 'private key (PEM) for signed URLs',
    example: './cloudfront-private-key.pem',
  },
  {
    variable: 'AUDIO_STORAGE_PATH',
    topic: 'audio',
    description: 'audio folder as the application says it: the first part of every file_path that it writes',
    example: './audio',
  },
  {
    variable: 'AUDIO_ROOT',
    topic: 'audio',
    flag: '--audio-root <dir>',
    description: 'where that folder is on this machine, if elsewhere (mounted, or out of a container)',
    example: '/mnt/autodj/audio',
  },
  {
    variable: 'APPLICATION_DIR',
    topic: 'audio',
    description: "the application's working directory, if not the folder of its .env",
    example: '/srv/autodj',
  },
  {
    variable: 'MAX_AUDIO_CACHE_GB',
    topic: 'audio',
    description: 'what cleanup keeps the audio folder under',
    example: '50',
  },
  {
    variable: 'FETCH_COMMAND',
    topic: 'fetch',
    description: 'downloader, run without a shell; {query} {artist} {title} {output} are filled in',
    example: 'my-downloader --output {output} {query}',
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
    description: 'of the log file: text or json',
    example: 'json',
  },
] as const satisfies readonly Setting[]

export type Variable = (typeof settings)[number]['variable']

/** Values of the flags that win over the environment, by variable. */
export type Overrides = Partial<Record<Variable, string>>

export interface ConfigSources {
  /** the process environment */
  env: Readonly<Record<string, string | undefined>>
  /** what relative paths are relative to */
  cwd: string
  /** `--settings`; must exist when given. null: none is read */
  envFile?: string | null
  overrides?: Overrides
}

/** Settings are wrong. Where records of the run go is known all the same: that it failed must be told there. */
export class SettingsError extends UsageError {
  /** what could be read of them */
  readonly config: Pick<Config, 'records' | 'given'>

  constructor({ records, given }: Config, message: string, details: Partial<ErrorDetails>) {
    super(message, details)
    this.config = { records, given }
  }
}

/**
 * Reads and validates all settings at once.
 * @throws UsageError naming every variable that is wrong, what is wrong with it, and an example
 */
export function loadConfig({ env, cwd, envFile, overrides = {} }: ConfigSources): Config {
  const file =
    envFile === null
      ? { path: path.resolve(cwd, '.env'), found: false, values: {} }
      : readEnvFile(path.resolve(cwd, envFile ?? '.env'), envFile !== undefined)
  const problems: string[] = []
  let knownProfile: AwsProfile | undefined

  function read(variable: Variable): string | undefined {
    const value = overrides[variable] ?? env[variable] ?? file.values[variable]
    return value === undefined || value.trim() === '' ? undefined : value.trim()
  }

  function reject(variable: Variable, problem: string): undefined {
    const setting: Setting | undefined = settings.find(one => one.variable === variable)
    const where = overrides[variable] !== undefined ? (setting?.flag?.split(' ')[0] ?? variable) : variable
    problems.push(`${where} ${problem} (example: ${setting?.example})`)
  }

  const audioFolder = readAudioFolder()
  const config: Config = {
    database: readDatabase(),
    s3: {
      bucket: readBucket(),
      region: readRegion(),
      ...readEndpoint(),
      addressing: readAddressing(),
      requesterPays: readRequestPayer(),
      keyPrefix: readKeyPrefix(),
      ...readAccess(),
    },
    cdn: readCdn(),
    network: readNetwork(),
    audioRoot: audioFolder.root,
    audioFolder,
    maxAudioCacheBytes: readCacheSize(),
    fetchCommand: readFetchCommand(),
    records: readRecords(),
    envFile: { path: file.path, found: file.found, unknown: Object.keys(file.values).filter(isMisspelt) },
    given: Object.fromEntries(
      settings.flatMap(({ variable }) => {
        const value = read(variable)
        return value === undefined ? [] : [[variable, value]]
      }),
    ),
  }
  if (problems.length > 0) {
    throw new SettingsError(config, problems.join('; '), {
      code: 'config.invalid',
      cure: file.found
        ? `Correct it in ${file.path}, in the environment or by flag.`
        : 'Run `autodj init` to write a .env.',
      details: { problems },
    })
  }
  return deepFreeze(config)

  function readDatabase(): Config['database'] {
    const value = read('DATABASE_URL')
    if (value === undefined) return { url: `pglite:${path.resolve(cwd, '.autodj/db')}`, isDefault: true }
    const parsed = parseDatabaseUrl(value)
    if (parsed.kind === 'bad') reject('DATABASE_URL', parsed.problem)
    if (parsed.kind !== 'pglite') return { url: value, isDefault: false }
    return { url: `pglite:${path.resolve(cwd, parsed.folder)}`, isDefault: false }
  }

  function readBucket(): string | undefined {
    const value = read('S3_BUCKET_NAME')
    if (value === undefined || /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(value)) return value
    if (value.startsWith('s3://'))
      return reject('S3_BUCKET_NAME', 'takes the bare name of the bucket, without s3://')
    return reject('S3_BUCKET_NAME', `"${value}" is not a bucket name: 3 to 63 of a-z, 0-9, - and .`)
  }

  function readRegion(): string | undefined {
    const value = read('AWS_REGION') ?? plain('AWS_DEFAULT_REGION') ?? profile().region
    if (value === undefined || /^[a-z0-9-]{2,40}$/.test(value)) return value
    return reject('AWS_REGION', `"${value}" is not a region`)
  }

  /** A variable that is nobody's setting but counts: of the environment, else of the file. */
  function plain(variable: string): string | undefined {
    const value = env[variable] ?? file.values[variable]
    return value === undefined || value.trim() === '' ? undefined : value.trim()
  }

  /** What AWS's own files say of the profile in force. They are read where something of it is asked for. */
  function profile(): AwsProfile {
    if (knownProfile !== undefined) return knownProfile
    const { config: text } = awsFiles()
    knownProfile = readProfile(text, read('AWS_PROFILE') ?? plain('AWS_DEFAULT_PROFILE') ?? 'default')
    return knownProfile
  }

  function awsFiles(): { config: string; credentials: string } {
    const home = env['HOME'] ?? env['USERPROFILE']
    const text = (variable: string, name: string): string => {
      const place = plain(variable) ?? (home && path.join(home, '.aws', name))
      if (place === undefined || place === '') return ''
      try {
        return readFileSync(place, 'utf8')
      } catch {
        // Not there, or not ours to read: what needs it says so when it asks for credentials.
        return ''
      }
    }
    return {
      config: text('AWS_CONFIG_FILE', 'config'),
      credentials: text('AWS_SHARED_CREDENTIALS_FILE', 'credentials'),
    }
  }

  /** The store's own setting, then what AWS's programs heed: variables, then the profile. */
  function readEndpoint(): Pick<Config['s3'], 'endpoint' | 'endpointFrom' | 'servicesEndpoint'> {
    const ignored = plain('AWS_IGNORE_CONFIGURED_ENDPOINT_URLS') === 'true'
    const services = ignored ? undefined : plain('AWS_ENDPOINT_URL')
    const candidates: [string, string | undefined][] = [
      ['S3_ENDPOINT', read('S3_ENDPOINT')],
      ['AWS_ENDPOINT_URL_S3', ignored ? undefined : plain('AWS_ENDPOINT_URL_S3')],
      ['AWS_ENDPOINT_URL', services],
    ]
    let [from, value] = candidates.find(([, url]) => url !== undefined) ?? []
    if (value === undefined && !ignored) {
      value = profile().endpoint
      from = value && `endpoint_url of profile ${read('AWS_PROFILE') ?? 'default'}`
    }
    return {
      endpoint: value && checkEndpoint(from ?? '', value),
      endpointFrom: from,
      servicesEndpoint: services && checkEndpoint('AWS_ENDPOINT_URL', services),
    }
  }

  function checkEndpoint(from: string, value: string): string | undefined {
    const wrong = (problem: string): undefined => {
      problems.push(`${from} ${problem} (example: https://minio.example.net:9000)`)
    }
    const url = URL.canParse(value) ? new URL(value) : undefined
    if (!url || !/^https?:$/.test(url.protocol)) return wrong(`"${value}" is not an http(s) URL`)
    if (url.username || url.password) return wrong('must not hold credentials')
    if (url.search || url.hash) return wrong('takes scheme, host, port and a path only')
    return url.origin + url.pathname.replace(/\/+$/, '')
  }

  function readAddressing(): Config['s3']['addressing'] {
    const value = read('S3_ADDRESSING') ?? 'auto'
    if (value === 'path' || value === 'virtual' || value === 'auto') return value
    return reject('S3_ADDRESSING', `"${value}" is none of path, virtual, auto`) ?? 'auto'
  }

  function readRequestPayer(): boolean {
    const value = read('S3_REQUEST_PAYER')
    if (value !== undefined && value !== 'requester')
      reject('S3_REQUEST_PAYER', `"${value}" is not "requester"`)
    return value !== undefined
  }

  function readNetwork(): Network {
    const certificates = ['AWS_CA_BUNDLE', 'NODE_EXTRA_CA_CERTS'].flatMap(variable => {
      const value = plain(variable)
      // Node.js itself has read what the environment names.
      const known = variable === 'NODE_EXTRA_CA_CERTS' && env[variable] !== undefined
      return value === undefined || known ? [] : [{ variable, path: path.resolve(cwd, value) }]
    })
    return { proxies: readProxies(plain), certificates }
  }

  function readKeyPrefix(): string {
    const given = overrides.S3_KEY_PREFIX ?? env['S3_KEY_PREFIX'] ?? file.values['S3_KEY_PREFIX']
    const value = given?.trim() ?? 'audio/'
    if (value.startsWith('/')) reject('S3_KEY_PREFIX', 'must not start with /')
    if (/[\u0000-\u001f\u007f\\]/.test(value) || value.split('/').some(part => part === '..' || part === '.'))
      reject('S3_KEY_PREFIX', 'must not hold control characters, backslashes, . or ..')
    if (Buffer.byteLength(value) > 512) reject('S3_KEY_PREFIX', 'is longer than 512 bytes')
    const prefix = value === '' || value.endsWith('/') ? value : `${value}/`
    if (prefix.startsWith(quarantinePrefix))
      reject('S3_KEY_PREFIX', `lies in ${quarantinePrefix}, where what is removed waits to expire`)
    return prefix
  }

  /** Where a setting comes from, the larger the stronger; -1: it is not set. */
  function rank(variable: Variable): number {
    if (read(variable) === undefined) return -1
    return overrides[variable] !== undefined ? 2 : env[variable] !== undefined ? 1 : 0
  }

  /** Keys or a profile, whichever was given in the stronger place; where both were, the keys, as in the AWS CLI. */
  function readAccess(): Pick<Config['s3'], 'credentials' | 'profile' | 'profiles'> {
    const wanted = read('AWS_PROFILE')
    const keys = Math.max(rank('AWS_ACCESS_KEY_ID'), rank('AWS_SECRET_ACCESS_KEY'))
    return rank('AWS_PROFILE') > keys
      ? { credentials: undefined, profile: wanted, profiles: readProfileNames() }
      : { credentials: readCredentials(), profile: undefined, profiles: undefined }
  }

  function readProfileNames(): string[] {
    const { config: text, credentials } = awsFiles()
    return profileNames(text, credentials)
  }

  function readCredentials(): Config['s3']['credentials'] {
    const accessKeyId = read('AWS_ACCESS_KEY_ID')
    const secretAccessKey = read('AWS_SECRET_ACCESS_KEY')
    // A token in .env does not belong to keys of the environment.
    const sessionToken =
      rank('AWS_SESSION_TOKEN') < rank('AWS_ACCESS_KEY_ID') ? undefined : read('AWS_SESSION_TOKEN')
    if (accessKeyId === undefined && secretAccessKey === undefined) return undefined
    if (accessKeyId === undefined)
      return reject('AWS_ACCESS_KEY_ID', 'is missing, AWS_SECRET_ACCESS_KEY is set')
    if (secretAccessKey === undefined)
      return reject('AWS_SECRET_ACCESS_KEY', 'is missing, AWS_ACCESS_KEY_ID is set')
    return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) }
  }

  function readCdn(): Config['cdn'] {
    const value = read('CLOUDFRONT_DOMAIN')
    const keyPairId = read('CLOUDFRONT_KEY_PAIR_ID')
    const privateKeyPath = read('CLOUDFRONT_PRIVATE_KEY_PATH')
    if (keyPairId !== undefined && privateKeyPath === undefined)
      reject('CLOUDFRONT_PRIVATE_KEY_PATH', 'is missing, CLOUDFRONT_KEY_PAIR_ID is set')
    if (keyPairId === undefined && privateKeyPath !== undefined)
      reject('CLOUDFRONT_KEY_PAIR_ID', 'is missing, CLOUDFRONT_PRIVATE_KEY_PATH is set')
    if (value === undefined) return undefined
    let domain: CdnDomain
    try {
      domain = parseCdnDomain(value)
    } catch (error) {
      return reject('CLOUDFRONT_DOMAIN', toError(error).message)
    }
    return {
      domain,
      distributionId: read('CLOUDFRONT_DISTRIBUTION_ID'),
      signer:
        keyPairId !== undefined && privateKeyPath !== undefined
          ? { keyPairId, privateKeyPath: path.resolve(cwd, privateKeyPath) }
          : undefined,
    }
  }

  function readAudioFolder(): AudioFolder {
    const storagePath = read('AUDIO_STORAGE_PATH') ?? './audio'
    const applicationDir = path.resolve(cwd, read('APPLICATION_DIR') ?? '.')
    const root = read('AUDIO_ROOT')
    return {
      root: root === undefined ? path.resolve(applicationDir, storagePath) : path.resolve(cwd, root),
      storagePath,
      applicationDir,
    }
  }

  function readCacheSize(): number | undefined {
    const value = read('MAX_AUDIO_CACHE_GB')
    if (value === undefined) return undefined
    const bytes = /^\d+(\.\d+)?$/.test(value) ? parseBytes(`${value}G`) : undefined
    return bytes ?? reject('MAX_AUDIO_CACHE_GB', `"${value}" is not a number of gigabytes`)
  }

  function readRecords(): RecordSettings | undefined {
    let healthcheck = read('AUTODJ_HEALTHCHECK')
    let metrics = read('AUTODJ_METRICS')
    const logFile = read('AUTODJ_LOG_FILE')
    const logFormat = read('AUTODJ_LOG_FORMAT') ?? 'text'
    if (healthcheck !== undefined && !isHttpUrl(healthcheck))
      healthcheck = reject('AUTODJ_HEALTHCHECK', 'is not an http(s) URL')
    const isGateway = metrics !== undefined && /^https?:/.test(metrics)
    if (metrics !== undefined && isGateway && !isHttpUrl(metrics))
      metrics = reject('AUTODJ_METRICS', 'is neither a file nor an http(s) URL')
    if (logFormat !== 'text' && logFormat !== 'json')
      reject('AUTODJ_LOG_FORMAT', `"${logFormat}" is neither text nor json`)
    if (healthcheck === undefined && metrics === undefined && logFile === undefined) return undefined
    return {
      healthcheck,
      metrics: metrics === undefined || isGateway ? metrics : path.resolve(cwd, metrics),
      logFile: logFile === undefined ? undefined : path.resolve(cwd, logFile),
      logFormat: logFormat === 'json' ? 'json' : 'text',
    }
  }

  function readFetchCommand(): readonly string[] | undefined {
    const value = read('FETCH_COMMAND')
    if (value === undefined) return undefined
    const argv = splitCommand(value)
    if (!argv || argv.length === 0) return reject('FETCH_COMMAND', 'has a quote that is not closed')
    if (!argv.some(word => word.includes('{output}')))
      return reject('FETCH_COMMAND', 'does not say {output}, the file to write')
    return argv
  }
}

/** How a client of AWS gets at credentials. Copies: the SDK writes into what it is given, and the configuration is frozen. */
export function awsAccess({ s3: { credentials, profile } }: Pick<Config, 's3'>): {
  credentials?: NonNullable<Config['s3']['credentials']>
  profile?: string
} {
  if (credentials !== undefined) return { credentials: { ...credentials } }
  return profile === undefined ? {} : { profile }
}

/** Whether a variable begins as settings do and is none: `S3_BUCKET`, `CLOUDFRONT_URL`. */
function isMisspelt(variable: string): boolean {
  return (
    /^(S3|CLOUDFRONT|AUDIO|MAX_AUDIO|FETCH)_/.test(variable) &&
    !settings.some(setting => setting.variable === variable)
  )
}

/** The bucket, or what to do about it. @throws UsageError */
export function requireBucket(config: Config): string {
  if (config.s3.bucket !== undefined) return config.s3.bucket
  throw new UsageError('S3_BUCKET_NAME is not set: which bucket? (example: my-autodj-audio)', {
    code: 'config.missing',
    cure: 'Set it in .env or by --bucket, or run `autodj init`.',
  })
}

/** The CDN, or what to do about it. @throws UsageError */
export function requireCdn(config: Config): NonNullable<Config['cdn']> {
  if (config.cdn !== undefined) return config.cdn
  throw new UsageError('CLOUDFRONT_DOMAIN is not set: which CDN? (example: d111111abcdef8.cloudfront.net)', {
    code: 'config.missing',
    cure: 'Set it in .env or by --cdn-domain, or run `autodj init`.',
  })
}

/**
 * The environment for programs that autodj starts: its own, without what they have no business with (secrets, and
 * everything of AWS).
 */
export function programEnvironment(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const secrets = new Set<string>(settings.filter((one: Setting) => one.secret).map(one => one.variable))
  return Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined && !secrets.has(entry[0]) && !/^(AWS|CLOUDFRONT)_/.test(entry[0]),
    ),
  )
}

/** Splits a command line into words as a shell would, quotes and backslashes included, and nothing else of a shell. */
export function splitCommand(line: string): string[] | undefined {
  const words: string[] = []
  let word: string | undefined
  let quote: string | undefined
  for (let index = 0; index < line.length; index++) {
    const character = line[index] as string
    if (quote !== undefined) {
      if (character === quote) quote = undefined
      else if (character === '\\' && quote === '"' && index + 1 < line.length)
        word = (word ?? '') + line[++index]
      else word = (word ?? '') + character
    } else if (character === '"' || character === "'") {
      quote = character
      word ??= ''
    } else if (character === '\\' && index + 1 < line.length) {
      word = (word ?? '') + line[++index]
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else {
      word = (word ?? '') + character
    }
  }
  if (quote !== undefined) return undefined
  if (word !== undefined) words.push(word)
  return words
}

function isHttpUrl(text: string): boolean {
  return /^https?:$/.test(URL.parse(text)?.protocol ?? '')
}

function readEnvFile(
  file: string,
  required: boolean,
): { path: string; found: boolean; values: Record<string, string> } {
  try {
    if (!statSync(file).isFile()) throw new UsageError(`${file} is not a file`, { code: 'config.env-file' })
    return { path: file, found: true, values: parseDotenv(readFileSync(file)) }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' && !required) return { path: file, found: false, values: {} }
    if (error instanceof UsageError) throw error
    throw new UsageError(`cannot read ${file}: ${systemErrorCode(error) ?? error}`, {
      code: 'config.env-file',
      cure: required
        ? 'Give the path of a readable file to --settings.'
        : 'Make it readable, or move it away.',
    })
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner)
    Object.freeze(value)
  }
  return value
}
