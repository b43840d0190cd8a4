/** What there is to know about the access key of this run. */
import { readFile } from 'node:fs/promises'
import { type Config, programEnvironment } from '../config.ts'
import { awsHost, type KeyFacts } from '../core/bucket/access-key.ts'
import { awsClientOptions } from '../storage/aws-options.ts'
import { resolveAws } from '../storage/identity.ts'

/** @param endpoint of IAM, instead of AWS's (tests) */
export async function accessKeyFacts(
  config: Config,
  { signal, detail, endpoint }: { signal: AbortSignal; detail(text: string): void; endpoint?: string },
): Promise<KeyFacts> {
  const { accessKeyId, temporary, region } = await resolveAws(config)
  if (temporary) return { accessKeyId, temporary }
  const { IAMClient, ListAccessKeysCommand } = await import('@aws-sdk/client-iam')
  const iam = new IAMClient({
    region,
    maxAttempts: 2,
    ...(await awsClientOptions(config)),
    ...(endpoint === undefined ? {} : { endpoint }),
  })
  const assetTag = await readFile('/sys/devices/virtual/dmi/id/board_asset_tag', 'utf8').catch(
    () => undefined,
  )
  const host = awsHost(programEnvironment(), assetTag)
  const known = { accessKeyId, temporary, ...(host === undefined ? {} : { host }) }
  try {
    // Without a user name: those of whoever asks. A user has two at most.
    const { AccessKeyMetadata = [] } = await iam.send(new ListAccessKeysCommand({}), { abortSignal: signal })
    const createdAt = AccessKeyMetadata.find(key => key.AccessKeyId === accessKeyId)?.CreateDate
    return createdAt === undefined ? known : { ...known, createdAt }
  } catch (error) {
    signal.throwIfAborted()
    detail(`the age of the access key is unknown: ${error}`)
    return known
  } finally {
    iam.destroy()
  }
}
