/** Applies a plan of settings: looks again first, changes only what the plan names, keeps what takes it back. */
import type { CloudFrontClient } from '@aws-sdk/client-cloudfront'
import type { S3Client } from '@aws-sdk/client-s3'
import { sameSetting } from '../core/bucket/meaning.ts'
import {
  type ConfigEdit,
  newOac,
  type SettingChange,
  type SettingsPlan,
  sameDocument,
  undoPlan,
  valueAt,
} from '../core/bucket/plan.ts'
import { FatalError } from '../errors.ts'
import { editDistribution, observeDistribution } from './cloudfront.ts'
import { readSetting, writeSetting } from './s3-settings.ts'

interface ApplyOptions {
  s3: S3Client
  cloudFront: CloudFrontClient | undefined
  now: () => Date
  /** Keeps the plan that takes back what is changed so far; called before and after each change. */
  keepUndo(undo: SettingsPlan): Promise<void>
  /** @param reason why a setting was left as it is */
  onChange(change: SettingChange, outcome: 'changed' | 'already' | 'unsupported', reason?: string): void
  /** no further change */
  stopping?: AbortSignal
}

/**
 * @returns how many settings were changed; those that are as the plan wants them already are left alone
 * @throws FatalError `plan.stale`, before anything is changed, when a setting is neither what the plan was made from
 *   nor what it makes
 */
export async function applySettings(plan: SettingsPlan, options: ApplyOptions): Promise<number> {
  const { s3, cloudFront, stopping, onChange } = options
  const due: SettingChange[] = []
  for (const change of plan.changes) {
    const state = await compare(plan, change, options)
    if (state === 'already') onChange(change, 'already')
    else if (typeof state === 'object') onChange(change, 'unsupported', state.unsupported)
    else if (state === 'due') due.push(change)
    else {
      throw new FatalError(`${change.setting} has changed since the plan was made; nothing was changed`, {
        code: 'plan.stale',
        cure: `Make a new plan with \`autodj bucket plan\`, or leave it out (--skip ${change.setting}).`,
      })
    }
  }
  const made: SettingChange[] = []
  const keep = (next?: SettingChange) =>
    options.keepUndo(
      undoPlan({ ...plan, changes: next === undefined ? made : [...made, next] }, options.now()),
    )
  for (const change of due) {
    if (stopping?.aborted) break
    // Kept first: killed between the change and its record, it can still be taken back.
    await keep(change)
    if (change.target === 'bucket') {
      const unsupported = await writeSetting(s3, plan.bucket, change.setting, change.becomes)
      if (unsupported !== undefined) {
        await keep()
        onChange(change, 'unsupported', unsupported)
        continue
      }
      made.push(change)
    } else {
      const { client, id } = distributionOf(plan, cloudFront)
      const seen = await observeDistribution(client, id)
      const edits = await editDistribution(client, id, seen, change.edits, change.create)
      made.push({ ...change, edits })
    }
    await keep()
    onChange(change, 'changed')
  }
  return made.length
}

async function compare(
  plan: SettingsPlan,
  change: SettingChange,
  { s3, cloudFront }: ApplyOptions,
): Promise<'due' | 'already' | 'stale' | { unsupported: string }> {
  if (change.target === 'bucket') {
    const observed = await readSetting(s3, plan.bucket, change.setting)
    if (observed.state === 'unknown' && observed.unsupported) return { unsupported: observed.reason }
    if (observed.state === 'unknown') {
      throw new FatalError(`${change.setting} could not be read: ${observed.reason}`, {
        code: 'bucket.denied',
      })
    }
    const now = observed.state === 'set' ? observed.value : null
    if (sameSetting(change.setting, now, change.becomes)) return 'already'
    return sameSetting(change.setting, now, change.was) ? 'due' : 'stale'
  }
  const { client, id } = distributionOf(plan, cloudFront)
  const { config } = await observeDistribution(client, id)
  const holds = (which: 'was' | 'becomes') =>
    change.edits.every((edit: ConfigEdit) =>
      edit[which] === newOac ? false : sameDocument(valueAt(config, edit.path), edit[which]),
    )
  if (holds('becomes')) return 'already'
  return holds('was') ? 'due' : 'stale'
}

function distributionOf(
  { distribution }: SettingsPlan,
  client: CloudFrontClient | undefined,
): { client: CloudFrontClient; id: string } {
  if (client !== undefined && distribution !== null) return { client, id: distribution }
  throw new FatalError('the plan changes a distribution, but none is configured', {
    code: 'config.missing',
    cure: 'Set CLOUDFRONT_DISTRIBUTION_ID.',
  })
}
