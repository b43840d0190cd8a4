/**
 * CloudFront's API as far as `bucket` uses it, in memory. The answers have the shapes that the CloudFront API
 * Reference documents (GetDistribution, UpdateDistribution, …); they were written from it, not recorded from AWS.
 */
import type { CloudFrontClient, DistributionConfig } from '@aws-sdk/client-cloudfront'

export const distributionId = 'EDFDVBD6EXAMPLE'
export const distributionArn = `arn:aws:cloudfront::123456789012:distribution/${distributionId}`

/** A distribution as the console of some years ago makes it: with most of what is found fault with. */
export function oldDistribution(bucket: string): DistributionConfig {
  return {
    CallerReference: '2019-01-01',
    Comment: 'music',
    Enabled: true,
    Aliases: { Quantity: 1, Items: ['cdn.example.com'] },
    Origins: {
      Quantity: 2,
      Items: [
        {
          Id: 'other',
          DomainName: 'www.example.com',
          CustomOriginConfig: { HTTPPort: 80, HTTPSPort: 443, OriginProtocolPolicy: 'https-only' },
        },
        {
          Id: 'S3-music',
          DomainName: `${bucket}.s3.eu-central-1.amazonaws.com`,
          OriginPath: '',
          OriginAccessControlId: '',
          S3OriginConfig: { OriginAccessIdentity: 'origin-access-identity/cloudfront/E127EXAMPLE51Z' },
        },
      ],
    },
    DefaultCacheBehavior: {
      TargetOriginId: 'other',
      ViewerProtocolPolicy: 'redirect-to-https',
      CachePolicyId: '658327ea-f89d-4fab-a63d-7e88639e58f6',
      Compress: true,
    },
    CacheBehaviors: {
      Quantity: 2,
      Items: [
        {
          PathPattern: 'images/*',
          TargetOriginId: 'other',
          ViewerProtocolPolicy: 'allow-all',
          Compress: true,
        },
        {
          PathPattern: 'audio/*',
          TargetOriginId: 'S3-music',
          ViewerProtocolPolicy: 'allow-all',
          Compress: true,
          ForwardedValues: { QueryString: true, Cookies: { Forward: 'all' } },
          MinTTL: 0,
          DefaultTTL: 86_400,
          MaxTTL: 31_536_000,
        },
      ],
    },
    ViewerCertificate: {
      ACMCertificateArn: 'arn:aws:acm:us-east-1:123456789012:certificate/x',
      SSLSupportMethod: 'sni-only',
      MinimumProtocolVersion: 'TLSv1',
    },
    Logging: { Enabled: false, IncludeCookies: false, Bucket: '', Prefix: '' },
    Restrictions: { GeoRestriction: { RestrictionType: 'none', Quantity: 0 } },
  }
}

export interface FakeCloudFront {
  client: CloudFrontClient
  config: DistributionConfig
  oacs: Map<string, Record<string, unknown>>
  /** names of the operations asked for, in order */
  calls: string[]
}

export function fakeCloudFront(config: DistributionConfig): FakeCloudFront {
  const fake: FakeCloudFront = { client: undefined as never, config, oacs: new Map(), calls: [] }
  let version = 1
  const refuse = (name: string, status: number, message: string) =>
    Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } })
  // biome-ignore lint/suspicious/noExplicitAny: each operation has an input of its own
  const operations: Record<string, (input: any) => unknown> = {
    GetDistribution: ({ Id }) => {
      if (Id !== distributionId)
        throw refuse('NoSuchDistribution', 404, 'The specified distribution does not exist.')
      return {
        ETag: `E${version}`,
        Distribution: {
          Id,
          ARN: distributionArn,
          Status: 'Deployed',
          DomainName: 'd111111abcdef8.cloudfront.net',
          DistributionConfig: structuredClone(fake.config),
        },
      }
    },
    UpdateDistribution: ({ IfMatch, DistributionConfig }) => {
      if (IfMatch !== `E${version}`)
        throw refuse('PreconditionFailed', 412, 'The If-Match version is outdated.')
      fake.config = structuredClone(DistributionConfig)
      version++
      return { ETag: `E${version}` }
    },
    CreateOriginAccessControl: ({ OriginAccessControlConfig }) => {
      const Id = `EOAC${fake.oacs.size + 1}`
      fake.oacs.set(Id, OriginAccessControlConfig)
      return { OriginAccessControl: { Id, OriginAccessControlConfig } }
    },
    GetOriginAccessControl: ({ Id }) => {
      const found = fake.oacs.get(Id)
      if (found === undefined) throw refuse('NoSuchOriginAccessControl', 404, 'does not exist')
      return { OriginAccessControl: { Id, OriginAccessControlConfig: found } }
    },
    ListOriginAccessControls: () => ({
      OriginAccessControlList: {
        IsTruncated: false,
        Items: [...fake.oacs].map(([Id, { Name }]) => ({ Id, Name })),
      },
    }),
    GetCachePolicy: ({ Id }) => ({
      CachePolicy: {
        Id,
        CachePolicyConfig: {
          Name: 'custom',
          MinTTL: 1,
          ParametersInCacheKeyAndForwardedToOrigin: {
            EnableAcceptEncodingGzip: true,
            HeadersConfig: { HeaderBehavior: 'none' },
            CookiesConfig: { CookieBehavior: 'none' },
            QueryStringsConfig: { QueryStringBehavior: 'all' },
          },
        },
      },
    }),
  }
  fake.client = {
    async send(command: { constructor: { name: string }; input: unknown }) {
      const name = command.constructor.name.replace(/Command$/, '')
      fake.calls.push(name)
      const operation = operations[name]
      if (operation === undefined) throw new Error(`unexpected ${name}`)
      return operation(command.input)
    },
    destroy() {},
  } as unknown as CloudFrontClient
  return fake
}
