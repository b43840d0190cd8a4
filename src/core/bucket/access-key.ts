/** The credentials that a run uses, against good practice: how old the key is, and whether a role would do instead. */
import type { SettingCheck } from './assessment.ts'

export interface KeyFacts {
  accessKeyId: string
  /** with a session token: from a role, SSO or STS */
  temporary: boolean
  /** of a long-term key, where IAM tells */
  createdAt?: Date
  /** where the program runs, when that is a place that can have a role of its own */
  host?: AwsHost
}

type AwsHost = 'ec2' | 'ecs' | 'kubernetes' | 'github-actions'

/** Days after which a long-term key should be another: CIS AWS Foundations Benchmark, "rotated every 90 days". */
const keyMaximumDays = 90

const roles: Readonly<Record<AwsHost, readonly [where: string, cure: string]>> = {
  ec2: ['this EC2 instance', 'Attach an instance profile to it, and take the key out of .env.'],
  ecs: ['this ECS task', 'Give its task definition a task role, and take the key out of its environment.'],
  kubernetes: [
    'this pod',
    "Give its service account a role (EKS Pod Identity or IRSA), and delete the key's secret.",
  ],
  'github-actions': [
    'this GitHub Actions job',
    'Let it assume a role through OIDC, and delete the secret with the key.',
  ],
}
const anywhereCure =
  'If people run it, use `aws sso login`; on a machine of your own, IAM Roles Anywhere. Neither leaves a secret on disk.'

/**
 * Where the program runs, from what such places set.
 * @param env the environment
 * @param assetTag the machine's DMI asset tag, if it has one: EC2 writes the instance's id there
 * (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html)
 */
export function awsHost(
  env: Readonly<Record<string, string | undefined>>,
  assetTag: string | undefined,
): AwsHost | undefined {
  if (env['GITHUB_ACTIONS'] === 'true') return 'github-actions'
  // Containers first: they see the tag of the instance that they run on.
  if (env['ECS_CONTAINER_METADATA_URI_V4'] !== undefined) return 'ecs'
  if (env['KUBERNETES_SERVICE_HOST'] !== undefined) return 'kubernetes'
  return /^i-[0-9a-f]+$/.test(assetTag?.trim() ?? '') ? 'ec2' : undefined
}

/** Whether the key is old, and whether a role would do. */
export function assessAccessKey(
  { accessKeyId, temporary, createdAt, host }: KeyFacts,
  now: Date,
): SettingCheck {
  const setting = 'access-key'
  const shown = `${accessKeyId.slice(0, 4)}…${accessKeyId.slice(-4)}`
  if (temporary) return { setting, state: 'ok', found: `${shown}: temporary credentials` }
  const [where, roleCure] = host === undefined ? [undefined, anywhereCure] : roles[host]
  const instead = where === undefined ? '' : `; on ${where} a role would do`
  if (createdAt === undefined) {
    return {
      setting,
      state: 'warning',
      found: `${shown}: a long-term key of unknown age${instead}`,
      cure: roleCure,
    }
  }
  const days = Math.floor((now.getTime() - createdAt.getTime()) / 86_400_000)
  return days > keyMaximumDays
    ? {
        setting,
        state: 'failure',
        found: `${shown} is ${days} days old, ${keyMaximumDays} at most are good practice${instead}`,
        cure: where === undefined ? `${roleCure} Until then, make a new key and delete this one.` : roleCure,
      }
    : {
        setting,
        state: 'warning',
        found: `${shown}: a long-term key, ${days} days old${instead}`,
        cure: roleCure,
      }
}
