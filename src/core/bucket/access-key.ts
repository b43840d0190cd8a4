/** The credentials that a run uses, against good practice. */
import type { SettingCheck } from './bucket.ts'

export interface KeyFacts {
  accessKeyId: string
  /** with a session token: from a role, SSO or STS */
  temporary: boolean
  /** of a long-term key, where IAM tells */
  createdAt?: Date
}

/** Days after which a long-term key should be another: CIS AWS Foundations Benchmark, "rotated every 90 days". */
export const keyMaximumDays = 90

const role =
  'a role needs no secret on disk: an instance profile on EC2, a task role on ECS, IAM Roles Anywhere or `aws sso login` elsewhere'

/** Whether the key is old, and whether a role would do. */
export function assessAccessKey({ accessKeyId, temporary, createdAt }: KeyFacts, now: Date): SettingCheck {
  const setting = 'access-key'
  const shown = `${accessKeyId.slice(0, 4)}…${accessKeyId.slice(-4)}`
  if (temporary) return { setting, state: 'ok', found: `${shown}: temporary credentials` }
  if (createdAt === undefined) {
    return { setting, state: 'warning', found: `${shown}: a long-term key of unknown age`, cure: role }
  }
  const days = Math.floor((now.getTime() - createdAt.getTime()) / 86_400_000)
  return days > keyMaximumDays
    ? {
        setting,
        state: 'failure',
        found: `${shown} is ${days} days old`,
        cure: `make a new one; better, ${role}`,
      }
    : { setting, state: 'warning', found: `${shown}: a long-term key, ${days} days old`, cure: role }
}
