/**
 * moto's server as AWS: STS, IAM, CloudFront, CloudWatch and S3 in shapes that nobody here wrote. `scripts/stores.sh`
 * installs it; skipped aloud where it is not there.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import {
  CloudFrontClient,
  CreateDistributionCommand,
  GetDistributionCommand,
} from '@aws-sdk/client-cloudfront'
import { CloudWatchClient, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch'
import {
  CreateAccessKeyCommand,
  CreatePolicyCommand,
  CreateUserCommand,
  IAMClient,
} from '@aws-sdk/client-iam'
import { CreateBucketCommand, GetBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { commands } from '../../src/commands.ts'
import { cli } from '../support/cli.ts'
import { pgliteTestDatabase, type TestDatabase } from '../support/database.ts'
import { inEnvironment } from '../support/environment.ts'
import { type Store, stores } from '../support/stores.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const startMoto = stores.find(({ name }) => name === 'moto')?.start
if (startMoto === undefined)
  console.warn('moto is not installed (scripts/stores.sh): tests on it are skipped')

/** Each setting's state. */
const checksOf = (stdout: string) => ({
  checks: stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, unknown>)
    .filter(({ message_type }) => message_type === 'item')
    .map(({ subject, state }) => `${subject}: ${state}`),
})

const region = 'us-east-1'
const bucket = 'autodj-moto'

describe.skipIf(startMoto === undefined)('moto as AWS', () => {
  let moto: Store
  let home: string
  let database: TestDatabase
  let env: Record<string, string>
  let user: { accessKeyId: string; secretAccessKey: string }
  let distributionId: string
  const client = () => ({ endpoint: moto.endpoint, region, credentials: user })

  const run = async (argv: string[], more: Record<string, string> = {}) => {
    const all = { ...env, ...more }
    const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''))
    const aws = Object.fromEntries(Object.entries(given).filter(([name]) => /^(AWS_|HOME$)/.test(name)))
    const {
      exitCode: code,
      stdout,
      stderr,
    } = await inEnvironment(aws, () => cli(argv, { env: given, cwd: home }))
    expect(stderr).not.toContain('bug in autodj')
    return { code, stdout, stderr }
  }
  /** AWS's own file, of another name each time: the SDK reads each once. */
  const profiles = async (text: string): Promise<Record<string, string>> => {
    const file = path.join(home, `aws-${Math.random()}.ini`)
    await writeFile(file, text)
    return { AWS_CONFIG_FILE: file, AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' }
  }

  beforeAll(async () => {
    home = temporaryFolder('moto')
    await mkdir(path.join(home, 'audio'))
    moto = await startMoto!()
    database = await pgliteTestDatabase()
    user = { accessKeyId: 'test', secretAccessKey: 'test' }
    const iam = new IAMClient(client())
    await iam.send(new CreateUserCommand({ UserName: 'dj' }))
    const { AccessKey } = await iam.send(new CreateAccessKeyCommand({ UserName: 'dj' }))
    iam.destroy()
    user = { accessKeyId: AccessKey!.AccessKeyId!, secretAccessKey: AccessKey!.SecretAccessKey! }
    const s3 = new S3Client({ ...client(), forcePathStyle: true })
    await s3.send(new CreateBucketCommand({ Bucket: bucket }))
    s3.destroy()
    const cloudFront = new CloudFrontClient(client())
    const { Distribution } = await cloudFront.send(
      new CreateDistributionCommand({
        DistributionConfig: {
          CallerReference: 'autodj',
          Comment: '',
          Enabled: true,
          Origins: {
            Quantity: 1,
            Items: [
              {
                Id: 's3',
                DomainName: `${bucket}.s3.${region}.amazonaws.com`,
                S3OriginConfig: { OriginAccessIdentity: '' },
              },
            ],
          },
          DefaultCacheBehavior: {
            TargetOriginId: 's3',
            ViewerProtocolPolicy: 'allow-all',
            ForwardedValues: { QueryString: false, Cookies: { Forward: 'none' } },
            MinTTL: 0,
          },
        },
      }),
    )
    cloudFront.destroy()
    distributionId = Distribution!.Id!
    const cloudWatch = new CloudWatchClient(client())
    const day = new Date(Date.now() - 26 * 3_600_000)
    await cloudWatch.send(
      new PutMetricDataCommand({
        Namespace: 'AWS/S3',
        MetricData: [
          {
            MetricName: 'BucketSizeBytes',
            Dimensions: [
              { Name: 'BucketName', Value: bucket },
              { Name: 'StorageType', Value: 'StandardStorage' },
            ],
            Timestamp: day,
            Value: 5 * 1024 ** 3,
          },
        ],
      }),
    )
    const Dimensions = [
      { Name: 'DistributionId', Value: distributionId },
      { Name: 'Region', Value: 'Global' },
    ]
    await cloudWatch.send(
      new PutMetricDataCommand({
        Namespace: 'AWS/CloudFront',
        MetricData: [
          { MetricName: 'Requests', Dimensions, Timestamp: day, Value: 1_000 },
          { MetricName: 'BytesDownloaded', Dimensions, Timestamp: day, Value: 2 * 1024 ** 3 },
          { MetricName: '4xxErrorRate', Dimensions, Timestamp: day, Value: 1 },
        ],
      }),
    )
    cloudWatch.destroy()
    env = {
      HOME: home,
      AWS_ENDPOINT_URL: moto.endpoint,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: user.accessKeyId,
      AWS_SECRET_ACCESS_KEY: user.secretAccessKey,
      AWS_EC2_METADATA_DISABLED: 'true',
      S3_BUCKET_NAME: bucket,
      DATABASE_URL: database.url,
      AUDIO_STORAGE_PATH: path.join(home, 'audio'),
    }
    expect((await run(['migrate'])).code).toBe(0)
  }, 120_000)
  afterAll(async () => {
    await moto?.close()
    await database?.drop()
  })

  test('doctor: whose key it is, by STS; the endpoint in force and what named it', async () => {
    const { stdout, code } = await run(['doctor'])
    expect(stdout).toMatch(/ok +credentials +arn:aws:iam::\d{12}:user\/dj, access key AKIA…/)
    expect(stdout).toContain(`${moto.endpoint} (AWS_ENDPOINT_URL): reachable`)
    expect([code, stdout]).toEqual([0, expect.stringContaining('checks passed')])
  })

  test('every command says where the endpoint comes from that nobody set for it', async () => {
    const { stderr } = await run(['reconcile'])
    expect(stderr).toContain(`store: ${moto.endpoint} (AWS_ENDPOINT_URL)`)
    const key = `aws_access_key_id = ${user.accessKeyId}\naws_secret_access_key = ${user.secretAccessKey}`
    const there = await profiles(
      `[profile there]\n${key}\nendpoint_url = ${moto.endpoint}\nregion = ${region}\n`,
    )
    const found = await run(['reconcile'], { ...there, AWS_ENDPOINT_URL: '', AWS_PROFILE: 'there' })
    expect([found.code, found.stderr]).toEqual([
      0,
      expect.stringContaining(`store: ${moto.endpoint} (endpoint_url of the AWS profile there)`),
    ])
    const misspelt = await run(['reconcile'], { ...there, AWS_ENDPOINT_URL: '', AWS_PROFILE: 'their' })
    expect([misspelt.code, misspelt.stderr]).toEqual([1, expect.stringContaining('have only there')])
  })

  test('a chain of roles, by STS', async () => {
    const chain = await profiles(
      [
        `[profile base]\naws_access_key_id = ${user.accessKeyId}\naws_secret_access_key = ${user.secretAccessKey}`,
        '[profile one]\nrole_arn = arn:aws:iam::123456789012:role/one\nsource_profile = base',
        '[profile two]\nrole_arn = arn:aws:iam::123456789012:role/two\nsource_profile = one\nrole_session_name = dj',
      ].join('\n\n'),
    )
    const { stdout, code } = await run(['doctor'], { ...chain, AWS_PROFILE: 'two' })
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(
        /ok +credentials +arn:aws:sts::123456789012:assumed-role\/two\/dj, temporary credentials/,
      ),
    ])
  })

  test.each(commands.map(({ name }) => name).filter(name => !['demo', 'init', 'policy'].includes(name)))(
    'policy %s is one that IAM takes',
    async command => {
      const { stdout, code, stderr } = await run(['policy', ...command.split(' ')])
      expect(code).toBe(0)
      if (stdout === '') return expect(stderr).toMatch(/no AWS request|reads the database only|--logs needs/)
      const iam = new IAMClient(client())
      const made = await iam.send(
        new CreatePolicyCommand({
          PolicyName: `autodj-${command.replace(' ', '-')}`,
          PolicyDocument: stdout,
        }),
      )
      iam.destroy()
      expect(made.Policy?.Arn).toContain(`autodj-${command.replace(' ', '-')}`)
    },
  )

  test('bucket: check, plan, apply, check, undo; the distribution with it', async () => {
    const more = { CLOUDFRONT_DISTRIBUTION_ID: distributionId }
    const before = await run(['bucket', 'check', '--json'], more)
    expect([before.code, before.stderr]).toEqual([4, expect.anything()])
    const plan = await run(
      ['bucket', 'plan', '--origin', 'https://autodj.example', '--output', path.join(home, 'plan.json')],
      more,
    )
    expect([plan.code, plan.stderr]).toEqual([0, expect.anything()])
    const applied = await run(['bucket', 'apply', path.join(home, 'plan.json')], more)
    expect([applied.code, applied.stdout, applied.stderr]).toEqual([0, expect.anything(), expect.anything()])
    const cloudFront = new CloudFrontClient(client())
    const { Distribution } = await cloudFront.send(new GetDistributionCommand({ Id: distributionId }))
    cloudFront.destroy()
    expect(Distribution?.DistributionConfig?.DefaultCacheBehavior?.ViewerProtocolPolicy).toBe(
      'redirect-to-https',
    )
    const s3 = new S3Client({ ...client(), forcePathStyle: true })
    const { Policy } = await s3.send(new GetBucketPolicyCommand({ Bucket: bucket }))
    s3.destroy()
    expect(Policy).toContain(`distribution/${distributionId}`)
    // moto keeps no OriginAccessControlId of an origin (5.2.5): all else is as it was planned.
    const again = await run(['bucket', 'plan', '--origin', 'https://autodj.example'], more)
    expect([again.code, again.stdout]).toEqual([0, expect.stringContaining('1 change to make')])
    expect(again.stdout).toContain('origin-access-control')
    const [file] = (await readdir(home)).filter(name => name.startsWith('autodj-bucket-undo'))
    const undone = await run(['bucket', 'apply', path.join(home, file!)], more)
    expect([undone.code, undone.stdout, undone.stderr]).toEqual([0, expect.anything(), expect.anything()])
    const { checks: was } = checksOf(before.stdout)
    expect(checksOf((await run(['bucket', 'check', '--json'], more)).stdout).checks).toEqual(was)
  }, 120_000)

  test('status --storage cloudwatch, and cost', async () => {
    const more = { CLOUDFRONT_DISTRIBUTION_ID: distributionId }
    const status = await run(['status', '--storage', 'cloudwatch'], more)
    expect([status.code, status.stdout]).toEqual([0, expect.stringMatching(/by CloudWatch/)])
    expect(status.stdout).toMatch(/STANDARD +.*5(\.0)? GiB/)
    const cost = await run(['cost', '--json'], more)
    expect([cost.code, cost.stderr]).toEqual([0, expect.anything()])
    expect(cost.stdout).toMatch(/"requests":1000\b/)
  })

  test('a key that AWS does not know, a region that is none', async () => {
    const stranger = await run(['doctor'], { AWS_REGION: 'eu central 1' })
    expect([stranger.code, stranger.stderr]).toEqual([2, expect.stringContaining('AWS_REGION')])
  })
})
