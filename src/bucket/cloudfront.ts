/** Reads and writes the configuration of a distribution. */
import {
  type CloudFrontClient,
  CreateOriginAccessControlCommand,
  type DistributionConfig,
  GetCachePolicyCommand,
  GetDistributionCommand,
  GetOriginAccessControlCommand,
  ListOriginAccessControlsCommand,
  UpdateDistributionCommand,
} from '@aws-sdk/client-cloudfront'
import type { ObservedDistribution } from '../core/bucket/distribution.ts'
import {
  type ConfigEdit,
  type Json,
  type JsonObject,
  type NewOac,
  newOac,
  valueAt,
  withValueAt,
} from '../core/bucket/plan.ts'
import { toError } from '../errors.ts'
import { settingError } from './s3-settings.ts'

const plain = (value: unknown): JsonObject => JSON.parse(JSON.stringify(value ?? {})) as JsonObject

async function asked<T>(doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    const status = (thrown as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
    throw settingError(toError(thrown), doing, status)
  }
}

/** The distribution with what its configuration names. Policies that may not be read are left out. */
export async function observeDistribution(
  client: CloudFrontClient,
  id: string,
  signal?: AbortSignal,
): Promise<ObservedDistribution & { etag: string }> {
  const { Distribution, ETag = '' } = await asked(`read distribution ${id}`, () =>
    client.send(new GetDistributionCommand({ Id: id }), { abortSignal: signal }),
  )
  const config = plain(Distribution?.DistributionConfig)
  const origins = (valueAt(config, ['Origins', 'Items']) as JsonObject[] | null) ?? []
  const behaviours = [
    valueAt(config, ['DefaultCacheBehavior']),
    ...((valueAt(config, ['CacheBehaviors', 'Items']) as JsonObject[] | null) ?? []),
  ]
  const oacs = await collect(
    origins.map(origin => origin['OriginAccessControlId']),
    async Id =>
      plain(
        (await client.send(new GetOriginAccessControlCommand({ Id }), { abortSignal: signal }))
          .OriginAccessControl?.OriginAccessControlConfig,
      ),
  )
  const cachePolicies = await collect(
    behaviours.map(behaviour => valueAt(behaviour, ['CachePolicyId'])),
    async Id =>
      plain((await client.send(new GetCachePolicyCommand({ Id }), { abortSignal: signal })).CachePolicy),
  )
  return {
    id,
    arn: Distribution?.ARN ?? '',
    status: Distribution?.Status ?? '',
    config,
    oacs,
    cachePolicies,
    etag: ETag,
  }
}

/** The names a distribution answers to: its own, then its aliases (`*.example.com` too). */
export async function distributionNames(
  client: CloudFrontClient,
  id: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const { Distribution } = await asked(`read distribution ${id}`, () =>
    client.send(new GetDistributionCommand({ Id: id }), { abortSignal: signal }),
  )
  return [Distribution?.DomainName ?? '', ...(Distribution?.DistributionConfig?.Aliases?.Items ?? [])]
}

async function collect(
  ids: readonly (Json | undefined)[],
  read: (id: string) => Promise<JsonObject>,
): Promise<Record<string, JsonObject>> {
  const found: Record<string, JsonObject> = {}
  for (const id of new Set(ids)) {
    if (typeof id !== 'string' || id === '') continue
    const document = await read(id).catch(() => undefined)
    if (document !== undefined) found[id] = document
  }
  return found
}

/**
 * Writes edits into the configuration as it is now; CloudFront refuses when it was changed in the meantime (`If-Match`).
 * @returns the edits as made: the id of a new origin access control in the place of its stand-in
 */
export async function editDistribution(
  client: CloudFrontClient,
  id: string,
  { config, etag }: { config: JsonObject; etag: string },
  edits: readonly ConfigEdit[],
  create: NewOac | undefined,
): Promise<ConfigEdit[]> {
  const oacId = create === undefined ? undefined : await makeOac(client, create)
  const made = edits.map(edit =>
    edit.becomes === newOac && oacId !== undefined ? { ...edit, becomes: oacId } : edit,
  )
  const edited = made.reduce<Json>(
    (document, { path, becomes }) => withValueAt(document, path, becomes),
    config,
  )
  await asked(`change distribution ${id}`, () =>
    client.send(
      new UpdateDistributionCommand({
        Id: id,
        IfMatch: etag,
        DistributionConfig: edited as unknown as DistributionConfig,
      }),
    ),
  )
  return made
}

/** Names are unique in an account: one that an interrupted run made is taken up. */
async function makeOac(client: CloudFrontClient, create: NewOac): Promise<string> {
  const existing = await asked('list origin access controls', async () => {
    for (let Marker: string | undefined; ; ) {
      const { OriginAccessControlList: list } = await client.send(
        new ListOriginAccessControlsCommand({ ...(Marker === undefined ? {} : { Marker }) }),
      )
      const found = list?.Items?.find(item => item.Name === create.Name)
      if (found !== undefined) return found.Id
      if (!list?.IsTruncated) return undefined
      Marker = list.NextMarker
    }
  })
  if (existing !== undefined) return existing
  const { OriginAccessControl } = await asked('make an origin access control', () =>
    client.send(new CreateOriginAccessControlCommand({ OriginAccessControlConfig: { ...create } })),
  )
  return OriginAccessControl?.Id ?? ''
}
