/** What `autodj init` asks, in the order in which later answers rest on earlier ones. */
import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { distributionNames } from '../bucket/cloudfront.ts'
import { openProber, type ProbeResult } from '../cdn/probe.ts'
import { openUrlSigner } from '../cdn/sign.ts'
import { type Config, describeEndpoint, loadConfig } from '../config.ts'
import { answersTo } from '../core/bucket/distribution.ts'
import { cdnNames, providerOf } from '../core/cdn-provider.ts'
import { parseDatabaseUrl } from '../core/database-url.ts'
import { diagnoseProvider } from '../core/diagnosis/domain.ts'
import { networkFault } from '../core/diagnosis/network-fault.ts'
import { openDatabase } from '../db/open.ts'
import { failure, type Limits, ok, type Verdict, warning } from '../doctor/check.ts'
import { AppError, systemErrorCode, toError } from '../errors.ts'
import type { Network } from '../network.ts'
import type { Variable } from '../settings.ts'
import { asksAws, awsClientOptions, s3Options } from '../storage/aws-options.ts'
import { identify, resolveAws } from '../storage/identity.ts'
import { createS3Store } from '../storage/s3.ts'
import type { Answers, AnswerVerdict, Question } from './interview.ts'

/** What AWS says of one of the two, by its code. */
const blamedByAws: Readonly<Record<string, Variable>> = {
  InvalidAccessKeyId: 'AWS_ACCESS_KEY_ID',
  InvalidClientTokenId: 'AWS_ACCESS_KEY_ID',
  SignatureDoesNotMatch: 'AWS_SECRET_ACCESS_KEY',
}

/** The earlier answer that an error is to blame on; undefined: the one that was tried, or none. */
function blamedFor({ code, details, cause }: AppError, { S3_ENDPOINT, AWS_ACCESS_KEY_ID }: Answers) {
  switch (code) {
    case 'credentials.refused':
    case 'store.credentials':
    case 'store.no-credentials':
    case 'store.expired-token': {
      const variable = blamedByAws[String(details['s3Code'])] ?? 'AWS_ACCESS_KEY_ID'
      // A profile or a role has its secret elsewhere.
      return AWS_ACCESS_KEY_ID === undefined ? 'AWS_ACCESS_KEY_ID' : variable
    }
    case 'store.wrong-region':
      return 'AWS_REGION'
    case 'store.network':
      // Of Amazon's hosts the region is a part; that nobody listens at an endpoint was seen before.
      if (S3_ENDPOINT !== undefined) return 'S3_ENDPOINT'
      return systemErrorCode(toError(cause)) === 'ENOTFOUND' || details['nodeCode'] === 'ENOTFOUND'
        ? 'AWS_REGION'
        : undefined
    default:
      return undefined
  }
}

/** Where the database refuses the password, that alone is wrong. */
function passwordOf(url: string, error: AppError): AnswerVerdict['part'] {
  const cause = toError(error.cause)
  const isPassword = systemErrorCode(cause) === '28P01' || /^SASL/.test(cause.message)
  const parsed = URL.parse(url)
  if (error.code !== 'db.auth' || !isPassword || parsed === null || parsed.username === '') return undefined
  return {
    text: `Password of ${decodeURIComponent(parsed.username)} at ${parsed.host}`,
    complete(password) {
      parsed.password = encodeURIComponent(password)
      return parsed.href
    },
  }
}

/**
 * @param cwd what relative paths in the answers are relative to
 * @param limits how long whoever is asked is waited for
 */
export function questions(cwd: string, limits: Limits, signal: AbortSignal): Question[] {
  /** The answers as settings, or what is wrong with this one. */
  const read = (answers: Answers): Config =>
    loadConfig({ env: { HOME: homedir(), ...answers }, cwd, envFile: null })

  function checked(variable: Variable, check: (config: Config, answers: Answers) => Promise<Verdict>) {
    return async (answers: Answers): Promise<AnswerVerdict> => {
      try {
        return await check(read(answers), answers)
      } catch (thrown) {
        signal.throwIfAborted()
        const error = toError(thrown)
        if (!(error instanceof AppError)) return failure(error.message, `Correct ${variable}.`)
        // What is wrong with settings as such comes with the advice to run `init`.
        const cure = error.code === 'config.invalid' ? undefined : error.cure
        const liesWith = blamedFor(error, answers)
        const part = variable === 'DATABASE_URL' ? passwordOf(answers.DATABASE_URL!, error) : undefined
        return {
          ...failure(error.message, cure ?? `Correct ${variable}.`),
          ...(liesWith === undefined ? {} : { liesWith }),
          ...(part === undefined ? {} : { part }),
        }
      }
    }
  }

  const usesKey = (answers: Answers) => answers.AWS_ACCESS_KEY_ID !== undefined
  const hasCdn = (answers: Answers) => answers.CLOUDFRONT_DOMAIN !== undefined
  const hasKeyPair = (answers: Answers) => hasCdn(answers) && answers.CLOUDFRONT_KEY_PAIR_ID !== undefined

  return [
    {
      variable: 'DATABASE_URL',
      text: "The application's database (postgresql://user:password@host/name; Enter: an embedded one)",
      secret: true,
      shown(url) {
        const parsed = parseDatabaseUrl(url)
        return parsed.kind === 'bad' ? 'set' : parsed.where
      },
      check: checked('DATABASE_URL', checkDatabase),
    },
    {
      variable: 'S3_ENDPOINT',
      text: 'Endpoint of an S3-compatible store (Enter: Amazon S3)',
      check: checked('S3_ENDPOINT', async ({ s3, network }) => {
        const result = await ask(`${s3.endpoint}/`, limits, signal, network)
        return 'answer' in result
          ? ok(s3.endpoint!)
          : failure(
              `${s3.endpoint} cannot be reached: ${networkFault(result.error)}`,
              'Check address and port.',
            )
      }),
    },
    {
      variable: 'AWS_ACCESS_KEY_ID',
      text: "Access key ID (Enter: this machine's AWS profile, SSO session or role)",
    },
    {
      variable: 'AWS_SECRET_ACCESS_KEY',
      text: 'Secret access key',
      secret: true,
      required: true,
      when: usesKey,
    },
    {
      variable: 'AWS_REGION',
      text: 'Region of the bucket (such as eu-central-1)',
      check: checked('AWS_REGION', async config => {
        const source = await resolveAws(config)
        if (config.s3.endpoint !== undefined) return ok(source.region)
        return ok(`${(await identify(config, source.region, signal)).arn} in ${source.region}`)
      }),
    },
    {
      variable: 'S3_BUCKET_NAME',
      text: 'Bucket',
      required: true,
      check: checked('S3_BUCKET_NAME', config => checkBucket(config, limits, signal)),
    },
    {
      variable: 'S3_KEY_PREFIX',
      text: 'Prefix of every key',
      defaultAnswer: 'audio/',
      check: checked('S3_KEY_PREFIX', async ({ s3 }) => ok(s3.keyPrefix)),
    },
    {
      variable: 'CLOUDFRONT_DOMAIN',
      text: 'CloudFront domain or alias (Enter: none)',
      check: checked('CLOUDFRONT_DOMAIN', config => checkCdn(config, limits, signal)),
    },
    {
      variable: 'CLOUDFRONT_DISTRIBUTION_ID',
      text: 'Distribution ID (E…; Enter: none)',
      when: hasCdn,
      check: checked('CLOUDFRONT_DISTRIBUTION_ID', config => checkDistribution(config, signal)),
    },
    {
      variable: 'CLOUDFRONT_KEY_PAIR_ID',
      text: 'Public key ID for signed URLs (K…; Enter: none)',
      when: hasCdn,
    },
    {
      variable: 'CLOUDFRONT_PRIVATE_KEY_PATH',
      text: 'File with the private key (PEM)',
      required: true,
      when: hasKeyPair,
      check: checked('CLOUDFRONT_PRIVATE_KEY_PATH', async ({ cdn }) => {
        const signer = await openUrlSigner(cdn!.signer!)
        return ok(`${signer.keyType} key`)
      }),
    },
    {
      variable: 'AUDIO_STORAGE_PATH',
      text: 'Folder with the local audio',
      defaultAnswer: './audio',
      check: checked('AUDIO_STORAGE_PATH', async ({ audioRoot }) => {
        const found = await stat(audioRoot).catch(() => undefined)
        if (found === undefined)
          return warning(`${audioRoot} does not exist`, 'Nothing to do if all audio is in S3 already.')
        if (!found.isDirectory()) return failure(`${audioRoot} is not a folder`, 'Name a folder.')
        return ok(path.resolve(audioRoot))
      }),
    },
  ]
}

async function checkDatabase({ database: { url } }: Config): Promise<Verdict> {
  // Opening an embedded one would make it; its name is all there is to check.
  if (url.startsWith('pglite:')) return ok(url)
  const database = await openDatabase(url, { applicationName: 'autodj init', readOnly: true, poolSize: 1 })
  try {
    return ok(database.where)
  } finally {
    await database.close()
  }
}

async function checkBucket(
  config: Config,
  { connectMs, idleMs }: Limits,
  signal: AbortSignal,
): Promise<Verdict> {
  const { s3 } = config
  const store = createS3Store({
    ...s3Options(config, s3.bucket!),
    timeouts: { connectMs, idleMs },
  })
  try {
    await store.checkBucket(signal)
    return ok(`${s3.bucket} at ${describeEndpoint(s3)}`)
  } finally {
    store.close()
  }
}

async function checkCdn({ cdn, network }: Config, limits: Limits, signal: AbortSignal): Promise<Verdict> {
  const { domain, provider } = cdn!
  const { origin, hostname } = domain
  const result = await ask(`${origin}/`, limits, signal, network)
  if ('error' in result) {
    return failure(
      `${hostname} does not answer: ${networkFault(result.error)}`,
      'Check the name, and its DNS record.',
    )
  }
  // What it says to a path that is no object does not matter, only who says it.
  const seen = providerOf(result.answer.headers, provider)
  const [strange] = diagnoseProvider(provider, { [seen ?? 'none']: 1 })
  if (strange !== undefined) return warning(`${hostname} answers, but ${strange.title}`, strange.cure)
  return ok(seen === undefined || seen === 'other' ? hostname : `${hostname} (${cdnNames[seen]})`)
}

/** Whether the distribution is there, and answers for the domain. */
async function checkDistribution(config: Config, signal: AbortSignal): Promise<Verdict> {
  const { cdn, s3 } = config
  const id = config.distributionId!
  if (!/^E[A-Z0-9]+$/.test(id)) {
    return failure(
      `"${id}" is not the id of a distribution`,
      'Take the ID (E…) from CloudFront → Distributions.',
    )
  }
  // Beside a store that is not AWS nobody can be asked.
  if (!asksAws(config)) return ok(id)
  const { CloudFrontClient } = await import('@aws-sdk/client-cloudfront')
  const client = new CloudFrontClient({
    region: s3.region,
    ...(await awsClientOptions(config)),
    maxAttempts: 2,
  })
  try {
    const names = await distributionNames(client, id, signal)
    const { hostname } = cdn!.domain
    return answersTo(names, hostname)
      ? ok(`${id} answers to ${hostname}`)
      : failure(
          `${id} answers to ${names.join(', ')}, not to ${hostname}`,
          'Correct the id, or add the alias.',
        )
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'bucket.denied') throw thrown
    return warning(
      `${id} could not be read: these credentials are not allowed to`,
      'Grant cloudfront:GetDistribution to have `autodj bucket check` look at it.',
    )
  } finally {
    client.destroy()
  }
}

async function ask(
  url: string,
  { connectMs, idleMs }: Limits,
  signal: AbortSignal,
  network: Network,
): Promise<ProbeResult> {
  const prober = openProber({ concurrency: 1, idleTimeoutMs: connectMs, deadlineMs: idleMs, signal, network })
  try {
    return await prober.request({ url, range: { start: 0, end: 0 } })
  } finally {
    prober.close()
  }
}
