/**
 * Where every setting comes from: flags, then the environment, then files. The only reader of `process.env` is
 * `main`, which hands it in; the result is frozen and says of each value where it came from.
 */

import path from 'node:path'
import type { AudioFolder } from './core/audio-path.ts'
import { type AwsProfile, profileNames, readProfile } from './core/aws-profile.ts'
import { type CdnProvider, cdnProviders, providerOfHost } from './core/cdn-provider.ts'
import { type CdnDomain, parseCdnDomain } from './core/cdn-url.ts'
import { parseDatabaseUrl } from './core/database-url.ts'
import { quarantinePrefix } from './core/prefixes.ts'
import { readProxies } from './core/proxy.ts'
import { hidePassword } from './core/redact.ts'
import { refusedByApplication } from './core/settings-files.ts'
import { parseBytes } from './core/units.ts'
import type { CodeWith } from './error-codes.ts'
import { type ErrorDetails, systemErrorReason, toError, UsageError } from './errors.ts'
import { readNamedFile } from './named-files.ts'
import type { Network } from './network.ts'
import { type Overrides, type Setting, settings, type Variable } from './settings.ts'
import { expandHome, readSettingsFiles, type SettingsFile } from './settings-files.ts'

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
    /** the profiles there are, if one was asked for */
    readonly profiles: readonly string[] | undefined
  }
  readonly cdn:
    | {
        readonly domain: CdnDomain
        /** which CDN it is, as the settings or the domain say; undefined: whichever answers */
        readonly provider: CdnProvider | undefined
        /**
         * a page that plays the audio: requests through the CDN say that they come from there, as a browser's do, so
         * that no cache is filled with answers that such a page may not read
         */
        readonly pageOrigin: { readonly origin: string; readonly isDefault: boolean }
        readonly signer: { readonly keyPairId: string; readonly privateKeyPath: string } | undefined
      }
    | undefined
  /** of CloudFront, with or without a domain */
  readonly distributionId: string | undefined
  readonly network: Network
  /** where the audio folder is on this machine, absolute: `audioFolder.root` */
  readonly audioRoot: string
  /** the audio folder as the application and this machine call it */
  readonly audioFolder: AudioFolder
  /** bytes; what `cleanup` keeps the audio folder under */
  readonly maxAudioCacheBytes: number | undefined
  /** argv template with `{query}` and the like; run without a shell */
  readonly fetchCommand: readonly string[] | undefined
  /** template of URLs to fetch from, unless --url says another */
  readonly fetchUrl: string | undefined
  /** undefined: none are kept */
  readonly records: RecordSettings | undefined
  /** origins whose pages may call `serve`, as the application has them; undefined: not set */
  readonly corsOrigins: readonly string[] | undefined
  /** the files that were read, or looked for, the stronger first */
  readonly files: readonly SettingsFileFacts[]
  /** every setting that has a value, as it was given, secrets among them; for `init` */
  readonly given: Readonly<Partial<Record<Variable, string>>>
}

/** A settings file, without its values. */
export interface SettingsFileFacts {
  /** absolute */
  readonly path: string
  readonly found: boolean
  /** `application`: the application reads it too */
  readonly kind: 'application' | 'own'
  /** variables in it that look like settings and are none */
  readonly unknown: readonly string[]
  /** variables in an application's file that it refuses to start with */
  readonly refused: readonly string[]
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

interface ConfigSources {
  /** the process environment */
  env: Readonly<Record<string, string | undefined>>
  /** what relative paths are relative to */
  cwd: string
  /** `--settings`; must exist when given. null: no file is read */
  envFile?: string | null
  overrides?: Overrides
}

/** The application's own default for the origin of its pages. */
const defaultPageOrigin = 'http://localhost:3000'

interface Source {
  readonly values: Readonly<Partial<Record<string, string>>>
  /** what relative paths are relative to */
  readonly folder: string
  readonly file?: SettingsFile
}

interface Found {
  readonly value: string
  readonly folder: string
  readonly file: SettingsFile | undefined
  /** the larger the stronger */
  readonly rank: number
}

/** Settings whose value may stand in a file of its own, named by `NAME_FILE`: secrets of containers and of systemd. */
const fileSecrets: ReadonlySet<string> = new Set([
  ...settings.filter((one: Setting) => one.secret).map(one => one.variable),
  'AWS_ACCESS_KEY_ID',
])

/** Settings are wrong. Where records of the run go is known anyway: that it failed must be told there. */
export class SettingsError extends UsageError {
  /** what could be read of them */
  readonly config: Pick<Config, 'records' | 'given' | 'network'>

  constructor(
    { records, given, network }: Config,
    message: string,
    details: Partial<ErrorDetails<CodeWith<'usage'>>>,
  ) {
    super(message, details)
    this.config = { records, given, network }
  }
}

/**
 * Reads and validates all settings at once.
 * @throws UsageError naming every variable that is wrong, what is wrong with it, and an example
 */
export function loadConfig(sources: ConfigSources): Config {
  return new SettingsReader(sources).read()
}

class SettingsReader {
  readonly #env: ConfigSources['env']
  readonly #cwd: string
  readonly #overrides: NonNullable<ConfigSources['overrides']>
  readonly #files: ReturnType<typeof readSettingsFiles>
  /** the stronger first; what a relative path is relative to goes with each */
  readonly #sources: readonly Source[]
  readonly #problems: string[] = []
  #knownProfile: AwsProfile | undefined

  constructor({ env, cwd, envFile, overrides = {} }: ConfigSources) {
    this.#env = env
    this.#cwd = cwd
    this.#overrides = overrides
    this.#files = readSettingsFiles({ env, cwd, named: envFile })
    this.#sources = [
      { values: overrides, folder: cwd },
      { values: env, folder: cwd },
      ...this.#files.map(file => ({ values: file.values, folder: path.dirname(file.path), file })),
    ]
  }

  read(): Config {
    const audioFolder = this.#readAudioFolder()
    const config: Config = {
      database: this.#readDatabase(),
      s3: {
        bucket: this.#readBucket(),
        region: this.#readRegion(),
        ...this.#readEndpoint(),
        addressing: this.#readAddressing(),
        requesterPays: this.#readRequestPayer(),
        keyPrefix: this.#readKeyPrefix(),
        ...this.#readAccess(),
      },
      cdn: this.#readCdn(),
      distributionId: this.#read('CLOUDFRONT_DISTRIBUTION_ID'),
      network: this.#readNetwork(),
      audioRoot: audioFolder.root,
      audioFolder,
      maxAudioCacheBytes: this.#readCacheSize(),
      fetchCommand: this.#readFetchCommand(),
      fetchUrl: this.#read('FETCH_URL'),
      records: this.#readRecords(),
      corsOrigins: this.#readOrigins(),
      files: this.#files.map(({ path: place, found, kind, values }) => ({
        path: place,
        found,
        kind,
        unknown: Object.keys(values).filter(isMisspelt),
        refused: kind === 'application' ? refusedByApplication(Object.keys(values)) : [],
      })),
      given: Object.fromEntries(
        settings.flatMap(({ variable }) => {
          const value = this.#read(variable)
          return value === undefined ? [] : [[variable, value]]
        }),
      ),
    }
    if (this.#problems.length > 0) {
      throw new SettingsError(config, this.#problems.join('; '), {
        code: 'config.invalid',
        cure: this.#files.some(file => file.found)
          ? `Correct it in ${this.#files.flatMap(file => (file.found ? [file.path] : [])).join(' or ')}, in the environment or with a flag.`
          : 'Run `autodj init` to write the settings.',
        details: { problems: this.#problems },
      })
    }
    return deepFreeze(config)
  }

  /** Where a setting comes from; an empty value is none. */
  #find(variable: Variable): Found | undefined {
    const canBeFile = fileSecrets.has(variable)
    for (const [index, { values, folder, file }] of this.#sources.entries()) {
      const rank = this.#sources.length - index
      const value = values[variable]?.trim()
      const named = canBeFile ? values[`${variable}_FILE` as Variable]?.trim() : undefined
      if (value && named) {
        this.#reject(
          variable,
          `and ${variable}_FILE are both set${file === undefined ? '' : ` in ${file.path}`}: one of them`,
        )
      }
      if (value) return { value, folder, file, rank }
      if (named) {
        const secret = this.#readSecret(variable, path.resolve(folder, expandHome(named, this.#env)))
        return secret === undefined ? undefined : { value: secret, folder, file, rank }
      }
      // What is said to be empty somewhere stronger is not taken from somewhere weaker.
      if (values[variable] !== undefined) return undefined
    }
    return undefined
  }

  #read(variable: Variable): string | undefined {
    return this.#find(variable)?.value
  }

  /** A path as a setting says it: relative to the file that does, `~` the home of whoever runs this. */
  #readPath(variable: Variable): string | undefined {
    const found = this.#find(variable)
    if (found === undefined) return undefined
    try {
      return path.resolve(found.folder, expandHome(found.value, this.#env))
    } catch (error) {
      return this.#reject(variable, toError(error).message)
    }
  }

  #readSecret(variable: Variable, file: string): string | undefined {
    try {
      const secret = readNamedFile(file)
        .toString()
        .replace(/\r?\n$/, '')
        .trim()
      return secret === '' ? this.#reject(variable, `is empty in ${file} (${variable}_FILE)`) : secret
    } catch (error) {
      return this.#reject(
        variable,
        `cannot be read from ${file} (${variable}_FILE): ${systemErrorReason(error)}`,
      )
    }
  }

  #reject(variable: Variable, problem: string): undefined {
    const setting: Setting | undefined = settings.find(one => one.variable === variable)
    const where =
      this.#overrides[variable] !== undefined ? (setting?.flag?.split(' ')[0] ?? variable) : variable
    const text = `${where} ${problem} (example: ${setting?.example})`
    if (!this.#problems.includes(text)) this.#problems.push(text)
  }

  #readDatabase(): Config['database'] {
    const found = this.#find('DATABASE_URL')
    if (found === undefined)
      return { url: `pglite:${path.resolve(this.#cwd, '.autodj/db')}`, isDefault: true }
    const parsed = parseDatabaseUrl(found.value)
    if (parsed.kind === 'bad') this.#reject('DATABASE_URL', parsed.problem)
    if (parsed.kind !== 'pglite') return { url: found.value, isDefault: false }
    return {
      url: `pglite:${path.resolve(found.folder, expandHome(parsed.folder, this.#env))}`,
      isDefault: false,
    }
  }

  #readBucket(): string | undefined {
    const value = this.#read('S3_BUCKET_NAME')
    if (value === undefined || /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(value)) return value
    if (value.startsWith('s3://'))
      return this.#reject('S3_BUCKET_NAME', 'must be the bare name of the bucket, without s3://')
    if (value.startsWith('arn:'))
      return this.#reject(
        'S3_BUCKET_NAME',
        'must be the name of the bucket, or the alias of an access point (…-s3alias), not an ARN',
      )
    return this.#reject('S3_BUCKET_NAME', `"${value}" is not a bucket name: 3 to 63 of a-z, 0-9, - and .`)
  }

  #readRegion(): string | undefined {
    const value = this.#read('AWS_REGION') ?? this.#plain('AWS_DEFAULT_REGION') ?? this.#profile().region
    if (value === undefined || /^[a-z0-9-]{2,40}$/.test(value)) return value
    return this.#reject('AWS_REGION', `"${value}" is not a region`)
  }

  /** A variable that is nobody's setting but counts: of the environment, else of the file. */
  #plain(variable: string): string | undefined {
    const value = this.#sources.map(({ values }) => values[variable]).find(one => one !== undefined)
    return value === undefined || value.trim() === '' ? undefined : value.trim()
  }

  /** What AWS's own files say of the profile in force. They are read if something of it is asked for. */
  #profile(): AwsProfile {
    if (this.#knownProfile !== undefined) return this.#knownProfile
    const { config: text } = this.#awsFiles()
    this.#knownProfile = readProfile(
      text,
      this.#read('AWS_PROFILE') ?? this.#plain('AWS_DEFAULT_PROFILE') ?? 'default',
    )
    return this.#knownProfile
  }

  #awsFiles(): { config: string; credentials: string } {
    const home = this.#env['HOME'] ?? this.#env['USERPROFILE']
    const text = (variable: string, name: string): string => {
      const place = this.#plain(variable) ?? (home && path.join(home, '.aws', name))
      if (place === undefined || place === '') return ''
      try {
        return readNamedFile(place).toString()
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
  #readEndpoint(): Pick<Config['s3'], 'endpoint' | 'endpointFrom' | 'servicesEndpoint'> {
    const ignored = this.#plain('AWS_IGNORE_CONFIGURED_ENDPOINT_URLS') === 'true'
    const services = ignored ? undefined : this.#plain('AWS_ENDPOINT_URL')
    const candidates: [string, string | undefined][] = [
      ['S3_ENDPOINT', this.#read('S3_ENDPOINT')],
      ['AWS_ENDPOINT_URL_S3', ignored ? undefined : this.#plain('AWS_ENDPOINT_URL_S3')],
      ['AWS_ENDPOINT_URL', services],
    ]
    let [from, value] = candidates.find(([, url]) => url !== undefined) ?? []
    if (value === undefined && !ignored) {
      value = this.#profile().endpoint
      from = value && `endpoint_url of the AWS profile ${this.#read('AWS_PROFILE') ?? 'default'}`
    }
    return {
      endpoint: value && this.#checkEndpoint(from ?? '', value),
      endpointFrom: from,
      servicesEndpoint: services && this.#checkEndpoint('AWS_ENDPOINT_URL', services),
    }
  }

  #checkEndpoint(from: string, value: string): string | undefined {
    const wrong = (problem: string): undefined => {
      this.#problems.push(`${from} ${problem} (example: https://minio.example.net:9000)`)
    }
    const url = URL.canParse(value) ? new URL(value) : undefined
    if (!url || !/^https?:$/.test(url.protocol))
      return wrong(`"${hidePassword(value)}" is not an http(s) URL`)
    if (url.username || url.password) return wrong('must not contain credentials')
    if (url.search || url.hash) return wrong('must consist of scheme, host, port and path only')
    return url.origin + url.pathname.replace(/\/+$/, '')
  }

  #readAddressing(): Config['s3']['addressing'] {
    const value = this.#read('S3_ADDRESSING') ?? 'auto'
    if (value === 'path' || value === 'virtual' || value === 'auto') return value
    return this.#reject('S3_ADDRESSING', `"${value}" is not path, virtual or auto`) ?? 'auto'
  }

  #readRequestPayer(): boolean {
    const value = this.#read('S3_REQUEST_PAYER')
    if (value !== undefined && value !== 'requester')
      this.#reject('S3_REQUEST_PAYER', `"${value}" is not "requester"`)
    return value !== undefined
  }

  #readNetwork(): Network {
    const bundle = this.#readPath('AWS_CA_BUNDLE')
    // Node.js itself has read what the environment names.
    const extra =
      this.#env['NODE_EXTRA_CA_CERTS'] === undefined ? this.#plain('NODE_EXTRA_CA_CERTS') : undefined
    const certificates = [
      ...(bundle === undefined ? [] : [{ variable: 'AWS_CA_BUNDLE', path: bundle }]),
      ...(extra === undefined
        ? []
        : [{ variable: 'NODE_EXTRA_CA_CERTS', path: path.resolve(this.#cwd, extra) }]),
    ]
    return { proxies: readProxies(variable => this.#plain(variable)), certificates }
  }

  #readKeyPrefix(): string {
    const given = this.#sources.map(({ values }) => values.S3_KEY_PREFIX).find(one => one !== undefined)
    const value = given?.trim() ?? 'audio/'
    const special = /[#?%+]/.exec(value)?.[0]
    if (special !== undefined) {
      this.#reject(
        'S3_KEY_PREFIX',
        `must not contain ${special}: the application puts keys into URLs as they are, where ${special === '+' ? 'S3 reads a + as a space' : `a ${special} leads elsewhere`}`,
      )
    }
    if (value.startsWith('/')) this.#reject('S3_KEY_PREFIX', 'must not start with /')
    if (/[\u0000-\u001f\u007f\\]/.test(value) || value.split('/').some(part => part === '..' || part === '.'))
      this.#reject('S3_KEY_PREFIX', 'must not contain control characters, backslashes, . or ..')
    if (Buffer.byteLength(value) > 512) this.#reject('S3_KEY_PREFIX', 'is longer than 512 bytes')
    const prefix = value === '' || value.endsWith('/') ? value : `${value}/`
    if (prefix.startsWith(quarantinePrefix))
      this.#reject('S3_KEY_PREFIX', `lies in ${quarantinePrefix}, where what is removed waits to expire`)
    return prefix
  }

  /** Where a setting comes from, the larger the stronger; -1: it is not set. */
  #rank(variable: Variable): number {
    return this.#find(variable)?.rank ?? -1
  }

  /** Keys or a profile, whichever was given in the stronger place; if both were, the keys, as in the AWS CLI. */
  #readAccess(): Pick<Config['s3'], 'credentials' | 'profile' | 'profiles'> {
    const wanted = this.#read('AWS_PROFILE')
    const keys = Math.max(this.#rank('AWS_ACCESS_KEY_ID'), this.#rank('AWS_SECRET_ACCESS_KEY'))
    return this.#rank('AWS_PROFILE') > keys
      ? { credentials: undefined, profile: wanted, profiles: this.#readProfileNames() }
      : { credentials: this.#readCredentials(), profile: undefined, profiles: undefined }
  }

  #readProfileNames(): string[] {
    const { config: text, credentials } = this.#awsFiles()
    return profileNames(text, credentials)
  }

  #readCredentials(): Config['s3']['credentials'] {
    const accessKeyId = this.#read('AWS_ACCESS_KEY_ID')
    const secretAccessKey = this.#read('AWS_SECRET_ACCESS_KEY')
    // A token in .env does not belong to keys of the environment.
    const sessionToken =
      this.#rank('AWS_SESSION_TOKEN') < this.#rank('AWS_ACCESS_KEY_ID')
        ? undefined
        : this.#read('AWS_SESSION_TOKEN')
    if (accessKeyId === undefined && secretAccessKey === undefined) return undefined
    if (accessKeyId === undefined)
      return this.#reject('AWS_ACCESS_KEY_ID', 'is missing, AWS_SECRET_ACCESS_KEY is set')
    if (secretAccessKey === undefined)
      return this.#reject('AWS_SECRET_ACCESS_KEY', 'is missing, AWS_ACCESS_KEY_ID is set')
    return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) }
  }

  #readCdn(): Config['cdn'] {
    const value = this.#read('CLOUDFRONT_DOMAIN')
    const keyPairId = this.#read('CLOUDFRONT_KEY_PAIR_ID')
    const privateKeyPath = this.#readPath('CLOUDFRONT_PRIVATE_KEY_PATH')
    if (keyPairId !== undefined && privateKeyPath === undefined)
      this.#reject('CLOUDFRONT_PRIVATE_KEY_PATH', 'is missing, CLOUDFRONT_KEY_PAIR_ID is set')
    if (keyPairId === undefined && privateKeyPath !== undefined)
      this.#reject('CLOUDFRONT_KEY_PAIR_ID', 'is missing, CLOUDFRONT_PRIVATE_KEY_PATH is set')
    const named = this.#read('CDN_PROVIDER')?.toLowerCase()
    const provider = cdnProviders.find(one => one === named)
    if (named !== undefined && provider === undefined)
      this.#reject('CDN_PROVIDER', `"${named}" is not one of ${cdnProviders.join(', ')}`)
    if (value === undefined) return undefined
    const isCloudFront = (keyPairId ?? this.#read('CLOUDFRONT_DISTRIBUTION_ID')) !== undefined
    let domain: CdnDomain
    try {
      domain = parseCdnDomain(value, { anyPort: provider !== undefined && provider !== 'cloudfront' })
    } catch (error) {
      return this.#reject('CLOUDFRONT_DOMAIN', toError(error).message)
    }
    const page = this.#readOrigins()?.find(one => URL.parse(one)?.origin === one)
    return {
      domain,
      provider: provider ?? (isCloudFront ? 'cloudfront' : providerOfHost(domain.hostname)),
      pageOrigin: { origin: page ?? defaultPageOrigin, isDefault: page === undefined },
      signer:
        keyPairId !== undefined && privateKeyPath !== undefined ? { keyPairId, privateKeyPath } : undefined,
    }
  }

  #readAudioFolder(): AudioFolder {
    const said = this.#find('AUDIO_STORAGE_PATH')
    const storagePath = said?.value ?? './audio'
    if (storagePath.startsWith('~')) {
      this.#reject(
        'AUDIO_STORAGE_PATH',
        'must not begin with ~: the application takes it for a folder of that name',
      )
    }
    // The application works where its .env is, or where it was told its folder.
    const itsFile = this.#files.find(({ kind, found }) => kind === 'application' && found)
    const beside = itsFile === undefined ? undefined : path.dirname(itsFile.path)
    const isSaidHere = said !== undefined && said.file === undefined && !path.isAbsolute(storagePath)
    const applicationDir =
      this.#readPath('APPLICATION_DIR') ?? (isSaidHere ? this.#cwd : (beside ?? said?.folder ?? this.#cwd))
    return {
      root: this.#readPath('AUDIO_ROOT') ?? path.resolve(applicationDir, storagePath),
      storagePath,
      applicationDir,
    }
  }

  /** As the application reads them: a JSON array, or a list with commas. */
  #readOrigins(): readonly string[] | undefined {
    const value = this.#read('CORS_ORIGINS')
    if (value === undefined) return undefined
    let origins: unknown = value.split(',').map(one => one.trim())
    if (value.startsWith('[')) {
      try {
        origins = JSON.parse(value)
      } catch {
        return this.#reject('CORS_ORIGINS', 'begins like a JSON array but is not one')
      }
    }
    if (!Array.isArray(origins) || !origins.every(one => typeof one === 'string'))
      return this.#reject('CORS_ORIGINS', 'is not an array of strings')
    return origins.filter(one => one !== '')
  }

  #readCacheSize(): number | undefined {
    const value = this.#read('MAX_AUDIO_CACHE_GB')
    if (value === undefined) return undefined
    const bytes = /^\d+(\.\d+)?$/.test(value) ? parseBytes(`${value}G`) : undefined
    return bytes ?? this.#reject('MAX_AUDIO_CACHE_GB', `"${value}" is not a number of gigabytes`)
  }

  #readRecords(): RecordSettings | undefined {
    let healthcheck = this.#read('AUTODJ_HEALTHCHECK')
    let metrics = this.#read('AUTODJ_METRICS')
    const logFile = this.#read('AUTODJ_LOG_FILE')
    const logFormat = this.#read('AUTODJ_LOG_FORMAT') ?? 'text'
    if (healthcheck !== undefined && !isHttpUrl(healthcheck))
      healthcheck = this.#reject('AUTODJ_HEALTHCHECK', 'is not an http(s) URL')
    const isGateway = metrics !== undefined && /^https?:/.test(metrics)
    if (metrics !== undefined && isGateway && !isHttpUrl(metrics))
      metrics = this.#reject('AUTODJ_METRICS', 'is neither a file nor an http(s) URL')
    if (logFormat !== 'text' && logFormat !== 'json')
      this.#reject('AUTODJ_LOG_FORMAT', `"${logFormat}" is not text or json`)
    if (healthcheck === undefined && metrics === undefined && logFile === undefined) return undefined
    return {
      healthcheck,
      metrics: isGateway ? metrics : this.#readPath('AUTODJ_METRICS'),
      logFile: this.#readPath('AUTODJ_LOG_FILE'),
      logFormat: logFormat === 'json' ? 'json' : 'text',
    }
  }

  #readFetchCommand(): readonly string[] | undefined {
    const value = this.#read('FETCH_COMMAND')
    if (value === undefined) return undefined
    const argv = splitCommand(value)
    if (!argv || argv.length === 0) return this.#reject('FETCH_COMMAND', 'has an unclosed quote')
    if (!argv.some(word => word.includes('{output}')))
      return this.#reject('FETCH_COMMAND', 'lacks {output}, the file to write')
    const [program = '', ...words] = argv
    try {
      return [expandHome(program, this.#env), ...words]
    } catch (error) {
      return this.#reject('FETCH_COMMAND', toError(error).message)
    }
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
    /^(S3|CDN|CLOUDFRONT|AUDIO|MAX_AUDIO|FETCH)_/.test(variable) &&
    !settings.some(setting => setting.variable === variable)
  )
}

/** Where settings were looked for. */
export function lookedAt({ files }: Pick<Config, 'files'>): string {
  const places = files.map(({ path: place, found }) => `${place}${found ? '' : ' (not there)'}`)
  return `Looked in the environment${places.length === 0 ? '' : ` and in ${places.join(', ')}`}.`
}

/** The store that is really asked, and what said so: `https://minio.example (profile "music")`. */
export function describeEndpoint({ endpoint, endpointFrom, region }: Config['s3']): string {
  if (endpoint === undefined) return `Amazon S3${region === undefined ? '' : ` in ${region}`}`
  return `${endpoint} (${endpointFrom})`
}

/** The bucket, or what to do about it. @throws UsageError */
export function requireBucket(config: Config): string {
  return config.s3.bucket ?? missing(config, 'S3_BUCKET_NAME')
}

/** The CDN, or what to do about it. @throws UsageError */
export function requireCdn(config: Config): NonNullable<Config['cdn']> {
  return config.cdn ?? missing(config, 'CLOUDFRONT_DOMAIN')
}

function missing(config: Config, variable: Variable): never {
  const { example, flag }: Setting = settings.find(one => one.variable === variable)!
  throw new UsageError(`${variable} is not set (example: ${example})`, {
    code: 'config.missing',
    cure: `Set it in a settings file, in the environment or with ${flag?.split(' ')[0]}, or run \`autodj init\`. ${lookedAt(config)}`,
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

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner)
    Object.freeze(value)
  }
  return value
}
