/** The checks of `autodj doctor`, in the order in which a set-up breaks. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { access, constants, readFile, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { observeDomain } from '../cdn/domain.ts'
import type { Prober } from '../cdn/probe.ts'
import { openUrlSigner, type UrlSigner } from '../cdn/sign.ts'
import type { Config } from '../config.ts'
import { bucketUrl, cdnUrl, directUrl, encodeKeyPath, s3Host } from '../core/cdn-url.ts'
import { encodeCrc32 } from '../core/crc32.ts'
import { describeDomain, diagnose, diagnoseContent, diagnoseDomain, edgeOf } from '../core/diagnosis.ts'
import { networkFault } from '../core/network-fault.ts'
import { formatBytes, formatCount, formatDuration } from '../core/units.ts'
import type { Database } from '../db/open.ts'
import { FatalError, LockedError, systemErrorCode, toError } from '../errors.ts'
import type { ObjectStore } from '../storage/store.ts'
import { type Check, failure, ok, skipped, type Verdict, warning } from './check.ts'

export interface DoctorResources {
  config: Config
  prober: Prober
  /** opens the store; nothing is sent before its first method */
  openStore(): ObjectStore
  /** the database, read-only */
  openDatabase(): Promise<Database>
  /** resolves what the SDK would use; throws when it finds none */
  resolveAws(): Promise<AwsIdentitySource>
  /** who the credentials belong to; `undefined` where the store is not AWS */
  identify: ((signal: AbortSignal) => Promise<{ arn: string; account: string }>) | undefined
  /** decodes a bundled piece of music; throws when that fails */
  decodeSample(signal: AbortSignal): Promise<{ decoder: string; seconds: number }>
  now: () => Date
}

export interface AwsIdentitySource {
  region: string
  accessKeyId: string
  temporary: boolean
}

/** ms: S3 refuses requests signed more than 15 minutes off; half a minute is already no clock that NTP keeps */
const clockRefused = 15 * 60_000
const clockSuspect = 30_000
const probeSize = 4_096
const freeWanted = 2 * 1024 ** 3
const freeNeeded = 100 * 1024 ** 2

/**
 * The checks, and what removes the probe object if they end before it is deleted. Checks share what they learn, so
 * they are run in order, once.
 */
export function doctorChecks(resources: DoctorResources): { checks: Check[]; cleanUp(): Promise<void> } {
  const { config, prober, now } = resources
  const { cdn, s3 } = config
  const bucket = s3.bucket ?? ''
  let region = s3.region
  let store: ObjectStore | undefined
  let signer: UrlSigner | undefined
  let database: Database | undefined
  const probe = {
    key: `${s3.keyPrefix}.autodj-doctor/${randomUUID()}`,
    body: randomBytes(probeSize),
    put: undefined as { versionId?: string; etag: string } | undefined,
  }
  const opened = () => {
    store ??= resources.openStore()
    return store
  }
  const whole = { start: 0, end: probeSize - 1 }
  const direct = (key: string) => directUrl({ bucket, region, endpoint: s3.endpoint }, key)

  async function deleteProbe(signal?: AbortSignal): Promise<void> {
    if (probe.put === undefined) return
    const [outcome] = await opened().delete([{ key: probe.key, versionId: probe.put.versionId }], signal)
    if (outcome?.error !== undefined) throw outcome.error
    probe.put = undefined
  }

  const checks: Check[] = [
    { name: 'env-file', run: () => checkEnvFile(config.envFile) },
    {
      name: 'signing-key',
      async run() {
        if (cdn?.signer === undefined) return skipped('no signed URLs configured')
        signer = await openUrlSigner(cdn.signer)
        return (
          (await openToOthers(cdn.signer.privateKeyPath)) ??
          ok(`${signer.keyType} key for ${signer.keyPairId}`)
        )
      },
    },
    {
      name: 'credentials',
      async run(signal) {
        const source = await resources.resolveAws()
        region = source.region
        const key = `${source.accessKeyId.slice(0, 4)}…${source.accessKeyId.slice(-4)}`
        const kind = source.temporary ? 'temporary credentials' : 'access key'
        if (resources.identify === undefined) return ok(`${kind} ${key} for ${s3.endpoint}`)
        const { arn } = await resources.identify(signal)
        if (arn.endsWith(':root')) {
          return warning(
            `${key} is a key of the root user`,
            'make a user or role with what `autodj policy` prints, and delete the root key',
          )
        }
        return ok(`${arn}, ${kind} ${key}`)
      },
    },
    {
      name: 'endpoint',
      async run() {
        const url = s3.endpoint ?? `https://${s3Host(region)}`
        const result = await prober.request({ url: `${url}/` })
        if ('error' in result) {
          return failure(
            `${url} cannot be reached: ${networkFault(result.error)}`,
            s3.endpoint === undefined
              ? 'check AWS_REGION, network, DNS and proxy'
              : 'check S3_ENDPOINT, and that the store is running',
          )
        }
        return checkClock(result.answer.headers['date'], now())
      },
    },
    {
      name: 'region',
      needs: ['endpoint'],
      async run() {
        if (s3.bucket === undefined) {
          return failure('S3_BUCKET_NAME is not set', 'set it in .env, or run `autodj init`')
        }
        const result = await prober.request({
          url: `${bucketUrl({ bucket, region, endpoint: s3.endpoint })}/`,
        })
        const actual = 'answer' in result ? result.answer.headers['x-amz-bucket-region'] : undefined
        if (actual === undefined) return ok(`${region} (the store does not tell)`)
        if (actual !== region) {
          return failure(`the bucket is in ${actual}, AWS_REGION is ${region}`, `set AWS_REGION=${actual}`)
        }
        return ok(actual)
      },
    },
    {
      name: 'bucket',
      needs: ['credentials', 'endpoint', 'region'],
      async run(signal) {
        await opened().checkBucket(signal)
        return ok(bucket)
      },
    },
    {
      name: 'put',
      needs: ['bucket'],
      async run(signal) {
        const { etag, versionId } = await opened().put(probe.key, probe.body, {
          headers: { contentType: 'audio/mpeg', cacheControl: 'public, max-age=60' },
          checksums: { crc32: encodeCrc32(crc32(probe.body)) },
          signal,
        })
        probe.put = { etag, versionId }
        return ok(probe.key)
      },
    },
    {
      name: 'head',
      needs: ['put'],
      async run(signal) {
        const head = await opened().head(probe.key, { signal })
        if (head === undefined) {
          return failure(
            'the object just put is not there',
            'the store is not consistent, or something deletes objects as they come',
          )
        }
        if (head.size !== probeSize) {
          return failure(
            `${probeSize} bytes were put, ${head.size} are there`,
            'the store, or a proxy before it, changes bodies',
          )
        }
        return ok(
          `${formatCount(head.size)} bytes${head.encryption === undefined ? '' : `, encrypted (${head.encryption})`}`,
        )
      },
    },
    {
      name: 'get-range',
      needs: ['put'],
      async run(signal) {
        const range = { start: 1_000, end: 1_999 }
        const content = await opened().get(probe.key, { range, signal })
        if (content === undefined) return failure('the object just put cannot be read', 'grant s3:GetObject')
        const parts: Uint8Array[] = []
        for await (const part of content.body) parts.push(part)
        if (!Buffer.concat(parts).equals(probe.body.subarray(1_000, 2_000))) {
          return failure(
            'a byte range came back as other bytes than were put',
            'the store, or a proxy before it, changes bodies or ignores Range',
          )
        }
        return ok('1,000 bytes from the middle, as they were put')
      },
    },
    {
      name: 'public-access',
      needs: ['put'],
      async run() {
        const result = await prober.request({ url: direct(probe.key), range: { start: 0, end: 0 } })
        if ('error' in result) return skipped(`no answer: ${result.error.code}`)
        if (result.answer.status === 200 || result.answer.status === 206) {
          return failure(
            'the bucket serves the object to anyone, past the CDN',
            'turn on Block Public Access: `autodj bucket plan` prints it',
          )
        }
        return ok(`refused without credentials (${result.answer.status})`)
      },
    },
    {
      name: 'cdn-domain',
      async run() {
        if (cdn === undefined) return skipped('CLOUDFRONT_DOMAIN is not set: CDN steps are skipped')
        const seen = await observeDomain(cdn.domain, encodeKeyPath(probe.key), prober)
        const findings = diagnoseDomain(seen, now())
        if (findings.length > 0) {
          return warning(
            findings.map(({ title, evidence }) => `${title} (${evidence.join('; ')})`).join('; '),
            findings.map(({ cure }) => cure).join('; '),
          )
        }
        const described = describeDomain(seen, now())
        return ok(`${cdn.domain.hostname}${described === undefined ? '' : `: ${described}`}`)
      },
    },
    {
      name: 'cdn-fetch',
      needs: ['put', 'cdn-domain'],
      timeoutMs: 8_000,
      async run() {
        if (cdn === undefined) return skipped('no CDN')
        if (cdn.signer !== undefined && signer === undefined) return skipped('needs "signing-key"')
        const plain = cdnUrl(cdn.domain, probe.key)
        const url = signer === undefined ? plain : signer.sign(plain, new Date(now().getTime() + 60_000))
        const result = await prober.request({ url, range: whole, hash: true })
        const findings = diagnose({
          key: probe.key,
          url,
          range: whole,
          signed: signer !== undefined,
          expectedSize: probeSize,
          expectedEtag: probe.put?.etag,
          s3: { state: 'present', size: probeSize, etag: probe.put?.etag, lastModified: now() },
          ...result,
        })
        if (findings.length === 0 && 'sha256' in result) {
          const stored = createHash('sha256').update(probe.body).digest('hex')
          findings.push(...diagnoseContent('SHA-256', result.sha256 ?? '', stored))
        }
        const [first] = findings
        if (first === undefined && 'answer' in result) {
          const { answer, latencyMs } = result
          return ok(
            `the object just put, through ${edgeOf(answer.headers) ?? 'the CDN'}: first byte after ` +
              `${Math.round(latencyMs)} ms, every byte as it was put`,
          )
        }
        const cause = `${first!.title} (${first!.evidence.join('; ')})`
        return first!.severity === 'failure' ? failure(cause, first!.cure) : warning(cause, first!.cure)
      },
    },
    {
      name: 'signed-url',
      needs: ['cdn-fetch'],
      async run() {
        if (cdn === undefined || signer === undefined) return skipped('no signed URLs configured')
        const result = await prober.request({
          url: cdnUrl(cdn.domain, probe.key),
          range: { start: 0, end: 0 },
        })
        if ('answer' in result && (result.answer.status === 200 || result.answer.status === 206)) {
          return warning(
            'the CDN serves the object without a signature too',
            'turn on "Restrict viewer access" for the cache behaviour, with the key group of this key',
          )
        }
        return ok('served with a signature, refused without')
      },
    },
    {
      name: 'delete',
      needs: ['put'],
      async run(signal) {
        await deleteProbe(signal)
        if ((await opened().head(probe.key, { signal })) !== undefined) {
          return failure(
            'the probe object is still there after it was deleted',
            `delete ${probe.key} by hand; an object lock or a replication rule may hold it`,
          )
        }
        return ok('the probe object is gone')
      },
    },
    {
      name: 'database',
      timeoutMs: 8_000,
      async run() {
        if (config.database.url.startsWith('pglite:')) {
          const folder = config.database.url.slice('pglite:'.length)
          if ((await stat(folder).catch(() => undefined)) === undefined) {
            const which = config.database.isDefault ? ' (DATABASE_URL is not set)' : ''
            return warning(
              `the embedded database ${folder} does not exist yet${which}`,
              config.database.isDefault
                ? "set DATABASE_URL to the application's PostgreSQL, or let `autodj migrate` make it"
                : '`autodj migrate` makes it',
            )
          }
        }
        try {
          database = await resources.openDatabase()
        } catch (error) {
          if (error instanceof LockedError) return warning(error.message, error.cure ?? 'wait for it')
          throw error
        }
        return ok(`${database.where} (${database.dialect})`)
      },
    },
    {
      name: 'schema',
      needs: ['database'],
      async run() {
        if (database === undefined) return skipped('needs "database"')
        const { requireSchema } = await import('../db/require-schema.ts')
        const { migrateStatus } = await import('../db/migrate.ts')
        await requireSchema(database)
        const { migrations, drift, revisions } = await migrateStatus(database)
        const pending = migrations.filter(({ appliedAt }) => appliedAt === null)
        if (pending.length > 0) {
          return failure(
            `${pending.length} migrations are pending (${pending[0]!.name})`,
            'run `autodj migrate`',
          )
        }
        if (drift.length > 0) {
          return warning(`the schema differs: ${drift[0]}`, 'see all of it with `autodj migrate status`')
        }
        const revision = revisions.length === 0 ? '' : `, Alembic ${revisions.join(', ')}`
        return ok(`${migrations.at(-1)?.name}${revision}`)
      },
    },
    { name: 'audio-folder', run: () => checkAudioFolder(config.audioRoot) },
    { name: 'temp-space', run: checkTempSpace },
    {
      name: 'decoder',
      timeoutMs: 8_000,
      async run(signal) {
        const { decoder, seconds } = await resources.decodeSample(signal)
        return ok(
          `${seconds.toFixed(1)} s of music decoded by ${decoder === 'npm' ? 'the bundled decoders' : decoder}`,
        )
      },
    },
  ]
  return { checks, cleanUp: () => deleteProbe() }
}

async function checkEnvFile({ path: file, found }: Config['envFile']): Promise<Verdict> {
  if (!found) return skipped(`no ${path.basename(file)}: settings come from the environment`)
  const open = await openToOthers(file)
  if (open !== undefined) return open
  const folder = path.dirname(file)
  if ((await stat(path.join(folder, '.git')).catch(() => undefined)) !== undefined) {
    const ignored = await readFile(path.join(folder, '.gitignore'), 'utf8').catch(() => '')
    if (!ignored.split(/\r?\n/).some(line => /^\/?(\.env|\.env\*|\*\.env)\s*$/.test(line))) {
      return warning(
        `${file} is not in .gitignore`,
        'echo .env >> .gitignore, so that its secrets are never committed',
      )
    }
  }
  return ok(file)
}

/** A warning when the file can be read by others than its owner; nothing to say on Windows. */
async function openToOthers(file: string): Promise<Verdict | undefined> {
  const { mode } = await stat(file)
  if (process.platform === 'win32' || (mode & 0o077) === 0) return undefined
  return warning(
    `${file} holds secrets and others may read it (mode ${(mode & 0o777).toString(8)})`,
    `chmod 600 ${file}`,
  )
}

/** @param date the server's `Date` header */
export function checkClock(date: string | undefined, now: Date): Verdict {
  const server = Date.parse(date ?? '')
  if (Number.isNaN(server)) return ok('reachable; it does not tell the time')
  const skew = now.getTime() - server
  const words = `this clock is ${formatDuration(Math.abs(skew))} ${skew > 0 ? 'fast' : 'slow'}`
  // A Date header has whole seconds.
  if (Math.abs(skew) > clockRefused)
    return failure(`${words}: S3 refuses requests`, 'set the clock (enable NTP)')
  if (Math.abs(skew) > clockSuspect) return warning(words, 'set the clock (enable NTP)')
  return ok('reachable, clocks agree')
}

async function checkAudioFolder(folder: string): Promise<Verdict> {
  const found = await stat(folder).catch((error: unknown) => systemErrorCode(error) ?? 'unreadable')
  if (typeof found === 'string') {
    return warning(
      `${folder}: ${found}`,
      'set AUDIO_STORAGE_PATH to the folder with the local audio, if there is one',
    )
  }
  if (!found.isDirectory()) return failure(`${folder} is not a folder`, 'correct AUDIO_STORAGE_PATH')
  try {
    await access(folder, constants.R_OK | constants.X_OK)
  } catch {
    return failure(
      `${folder} cannot be read by this user`,
      'grant read access, or run as the user who owns it',
    )
  }
  return ok(folder)
}

async function checkTempSpace(): Promise<Verdict> {
  const folder = tmpdir()
  try {
    await access(folder, constants.W_OK)
  } catch {
    return failure(`${folder} cannot be written to`, 'set TMPDIR to a folder that can')
  }
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  const words = `${formatBytes(free)} free in ${folder}`
  if (free < freeNeeded)
    return failure(words, 'free some, or set TMPDIR to a larger disk: fetch and analyze need it')
  if (free < freeWanted) return warning(words, 'large files need more: set TMPDIR to a larger disk')
  return ok(words)
}

/** What credentials and region the SDK finds. @throws FatalError that says which of them is missing */
export async function resolveAws(config: Config): Promise<AwsIdentitySource> {
  const { S3Client } = await import('@aws-sdk/client-s3')
  const { credentials, region, endpoint } = config.s3
  const client = new S3Client({
    ...(credentials === undefined ? {} : { credentials: { ...credentials } }),
    ...(region !== undefined ? { region } : endpoint !== undefined ? { region: 'us-east-1' } : {}),
  })
  try {
    const found = await client.config.credentials().catch((error: unknown) => {
      throw new FatalError(`no AWS credentials: ${toError(error).message}`, {
        code: 'credentials.none',
        cure: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (`aws sso login`), or attach a role',
        cause: error,
      })
    })
    const resolved = await client.config.region().catch((error: unknown) => {
      throw new FatalError('AWS_REGION is not set, and no profile has one', {
        code: 'region.none',
        cure: 'set AWS_REGION to the region of the bucket (such as eu-central-1)',
        cause: error,
      })
    })
    return {
      region: resolved,
      accessKeyId: found.accessKeyId,
      temporary: found.sessionToken !== undefined,
    }
  } finally {
    client.destroy()
  }
}

/** Who the credentials belong to. @throws FatalError that says why AWS does not accept them */
export async function identify(
  config: Config,
  region: string,
  signal: AbortSignal,
  endpoint?: string,
): Promise<{ arn: string; account: string }> {
  const { GetCallerIdentityCommand, STSClient } = await import('@aws-sdk/client-sts')
  const { credentials } = config.s3
  const client = new STSClient({
    region,
    maxAttempts: 2,
    ...(credentials === undefined ? {} : { credentials: { ...credentials } }),
    ...(endpoint === undefined ? {} : { endpoint }),
  })
  try {
    const { Arn = '', Account = '' } = await client.send(new GetCallerIdentityCommand({}), {
      abortSignal: signal,
    })
    return { arn: Arn, account: Account }
  } catch (thrown) {
    const error = toError(thrown)
    const [cause, cure] = refusals[error.name] ?? [
      error.message,
      'check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
    ]
    throw new FatalError(cause, { code: 'credentials.refused', cure, cause: thrown })
  } finally {
    client.destroy()
  }
}

const refusals: Readonly<Record<string, readonly [cause: string, cure: string]>> = {
  InvalidClientTokenId: [
    'AWS does not know this access key',
    'check AWS_ACCESS_KEY_ID: the key may be deleted or of another partition',
  ],
  SignatureDoesNotMatch: [
    'the secret does not belong to the access key',
    'check AWS_SECRET_ACCESS_KEY: nothing cut off, nothing quoted twice',
  ],
  ExpiredToken: ['the session token has expired', 'renew it (`aws sso login`), or unset AWS_SESSION_TOKEN'],
  ExpiredTokenException: [
    'the session token has expired',
    'renew it (`aws sso login`), or unset AWS_SESSION_TOKEN',
  ],
  RequestExpired: ["this machine's clock is off", 'set the clock (enable NTP)'],
}
