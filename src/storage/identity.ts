/** Whose credentials these are, by the SDK's chain and by STS. */
import type { Config } from '../config.ts'
import { networkFault } from '../core/diagnosis/network-fault.ts'
import { FatalError, systemErrorCode, TemporaryError, toError } from '../errors.ts'
import { awsClientOptions } from './aws-options.ts'
import { credentialsError } from './s3-errors.ts'

export interface AwsIdentitySource {
  region: string
  accessKeyId: string
  temporary: boolean
}

/** What credentials and region the SDK finds. @throws AppError that says which of them is missing */
export async function resolveAws(config: Config): Promise<AwsIdentitySource> {
  const { S3Client } = await import('@aws-sdk/client-s3')
  const { region, endpoint } = config.s3
  const client = new S3Client({
    ...(await awsClientOptions(config)),
    ...(region !== undefined ? { region } : endpoint !== undefined ? { region: 'us-east-1' } : {}),
  })
  try {
    const found = await client.config.credentials().catch((error: unknown) => {
      throw credentialsError(error, undefined, config.s3) ?? error
    })
    const resolved = await client.config.region().catch((error: unknown) => {
      throw new FatalError('AWS_REGION is not set, and no profile sets a region', {
        code: 'region.none',
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
  const client = new STSClient({
    region,
    maxAttempts: 2,
    ...(await awsClientOptions(config)),
    ...(endpoint === undefined ? {} : { endpoint }),
  })
  try {
    const { Arn = '', Account = '' } = await client.send(new GetCallerIdentityCommand({}), {
      abortSignal: signal,
    })
    return { arn: Arn, account: Account }
  } catch (thrown) {
    signal.throwIfAborted()
    const error = toError(thrown)
    const code = systemErrorCode(error)
    // Nobody answered: that says nothing of the credentials.
    if (code !== undefined && /^E[A-Z_]+$/.test(code)) throw unreachable(error, code, region)
    const [cause, cure] = refusals[error.name] ?? [
      error.message,
      'check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
    ]
    throw new FatalError(cause, {
      code: 'credentials.refused',
      cure,
      cause: thrown,
      details: { s3Code: error.name },
    })
  } finally {
    client.destroy()
  }
}

/** @param code Node.js's error code */
function unreachable(error: Error, code: string, region: string): TemporaryError {
  const { hostname } = error as Error & { hostname?: string }
  const host = hostname ?? `sts.${region}.amazonaws.com`
  return new TemporaryError(`${host} cannot be reached: ${networkFault({ code, message: error.message })}`, {
    code: 'store.network',
    cure:
      code === 'ENOTFOUND'
        ? `Check AWS_REGION (now ${region}): there may be no such region; otherwise check network and DNS.`
        : 'Check network, firewall and proxy (HTTPS_PROXY).',
    cause: error,
    details: { host, nodeCode: code },
  })
}

const refusals: Readonly<Record<string, readonly [cause: string, cure: string]>> = {
  InvalidClientTokenId: [
    'AWS does not know this access key',
    'Check AWS_ACCESS_KEY_ID: the key may be deleted or of another partition.',
  ],
  SignatureDoesNotMatch: [
    'the secret does not belong to the access key',
    'Check AWS_SECRET_ACCESS_KEY: it must be complete, and not quoted twice.',
  ],
  ExpiredToken: ['the session token has expired', 'Renew it (`aws sso login`), or unset AWS_SESSION_TOKEN.'],
  ExpiredTokenException: [
    'the session token has expired',
    'Renew it (`aws sso login`), or unset AWS_SESSION_TOKEN.',
  ],
  RequestExpired: ["this machine's clock is wrong", 'Set the clock (enable NTP).'],
}
