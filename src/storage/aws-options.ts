/** What clients of AWS and of stores are opened with, from the settings: one answer for every command. */
import type { NodeHttpHandler } from '@smithy/node-http-handler'
import { awsAccess, type Config } from '../config.ts'
import { openAgents } from '../network.ts'
import type { S3StoreOptions } from './s3-connection.ts'
import { credentialsError } from './s3-errors.ts'

/** For a store of this bucket. @param onLack told once of each thing that the store turns out to lack */
export function s3Options(
  config: Pick<Config, 's3' | 'network'>,
  bucket: string,
  onLack?: (text: string) => void,
): S3StoreOptions {
  const { region, endpoint, endpointFrom, addressing, requesterPays, profiles } = config.s3
  return {
    bucket,
    region,
    endpoint,
    endpointFrom,
    addressing,
    requesterPays,
    profiles,
    network: config.network,
    onLack,
    ...awsAccess(config),
  }
}

/** Whether AWS's other services are there to be asked: beside a store of somebody else they are not. */
export function asksAws({ s3: { endpoint, servicesEndpoint } }: Pick<Config, 's3'>): boolean {
  return endpoint === undefined || endpoint === servicesEndpoint
}

interface AwsClientOptions extends ReturnType<typeof awsAccess> {
  endpoint?: string
  requestHandler: NodeHttpHandler
}

/**
 * For a client of AWS itself: STS, IAM, CloudFront. The region is the caller's affair.
 * @throws StoreError if the profile that is asked for is not there
 */
export async function awsClientOptions(config: Pick<Config, 's3' | 'network'>): Promise<AwsClientOptions> {
  const { profile, profiles, bucket } = config.s3
  if (profile !== undefined && profiles?.includes(profile) === false) {
    const thrown = Object.assign(new Error(''), { name: 'CredentialsProviderError' })
    throw credentialsError(thrown, bucket && `use bucket ${bucket}`, { profile, profiles })
  }
  const { NodeHttpHandler } = await import('@smithy/node-http-handler')
  const { servicesEndpoint } = config.s3
  const { http, https } = await openAgents(config.network, { keepAlive: true })
  return {
    ...awsAccess(config),
    ...(servicesEndpoint !== undefined && { endpoint: servicesEndpoint }),
    requestHandler: new NodeHttpHandler({ httpAgent: http, httpsAgent: https, connectionTimeout: 10_000 }),
  }
}
