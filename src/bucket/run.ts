/** `autodj bucket check | plan | apply`: settings in, checks, differences and changes out. */

import { existsSync } from 'node:fs'
import path from 'node:path'
import type { CloudFrontClient } from '@aws-sdk/client-cloudfront'
import { S3Client } from '@aws-sdk/client-s3'
import { writeOutput } from '../cli/write-output.ts'
import { requireBucket } from '../config.ts'
import type { Context } from '../context.ts'
import { assessAccessKey, type KeyFacts } from '../core/bucket/access-key.ts'
import type { Assessment, SettingCheck, Wishes } from '../core/bucket/assessment.ts'
import { assessBucket } from '../core/bucket/bucket.ts'
import { assessDistribution } from '../core/bucket/distribution.ts'
import {
  differences,
  type Json,
  parseSettingsPlan,
  type SettingChange,
  type SettingsPlan,
  sameDocument,
} from '../core/bucket/plan.ts'
import { quarantinePrefix, stagingPrefix } from '../core/prefixes.ts'
import { plural, printable } from '../core/units.ts'
import { ExitCode, systemErrorReason, UsageError } from '../errors.ts'
import { readNamedFile } from '../named-files.ts'
import { checkLine } from '../report/check-line.ts'
import { asksAws, awsClientOptions } from '../storage/aws-options.ts'
import { accessKeyFacts } from './access-key.ts'
import { applySettings } from './apply.ts'
import { observeDistribution } from './cloudfront.ts'
import type { BucketFlags } from './flags.ts'
import { observeBucket, readSetting } from './s3-settings.ts'

/** Where AWS's APIs are, instead of where they are (tests). */
interface Clients {
  s3: S3Client
  cloudFront: CloudFrontClient | undefined
  /** undefined if the store is not AWS */
  accessKey: (() => Promise<KeyFacts>) | undefined
}

/** S3 moves to Standard-IA after 30 days at the earliest; Intelligent-Tiering watches from the first day. */
const tieringDays = { INTELLIGENT_TIERING: 0, STANDARD_IA: 30 } as const

/** @returns 0 when everything is as it should be, 4 when something is not */
export async function runBucketCheck(
  context: Context,
  flags: BucketFlags,
  clients?: Clients,
): Promise<ExitCode> {
  const { report } = context
  const { checks, changes } = await assess(context, flags, clients ?? (await openClients(context)))
  for (const check of checks) tellCheck(context, check)
  const failures = checks.filter(({ state }) => state === 'failure').length
  const warnings = checks.filter(({ state }) => state === 'warning').length
  report.summary({
    isAnswer: true,
    lines: [
      `${plural(failures, 'failure')}, ${plural(warnings, 'warning')} in ${plural(checks.length, 'check')}`,
    ],
    next: changes.length > 0 ? `\`autodj bucket plan\` shows ${plural(changes.length, 'change')}` : undefined,
    fields: { checks: checks.length, failures, warnings, changes: changes.length },
  })
  return failures > 0 ? ExitCode.drift : ExitCode.ok
}

/** Prints the difference and, with a file, saves it. */
export async function runBucketPlan(
  context: Context,
  flags: BucketFlags,
  output: string | undefined,
  clients?: Clients,
): Promise<ExitCode> {
  const plan = await makePlan(context, flags, clients ?? (await openClients(context)))
  for (const change of plan.changes) tellChange(context, change)
  if (output !== undefined) await save('--output', path.resolve(context.cwd, output), plan)
  context.report.summary({
    isAnswer: true,
    lines: [
      plan.changes.length === 0 ? 'nothing to change' : `${plural(plan.changes.length, 'change')} to make`,
    ],
    next:
      plan.changes.length === 0
        ? undefined
        : output === undefined
          ? '`autodj bucket apply --yes` with the same flags'
          : `\`autodj bucket apply ${output}\``,
    fields: { changes: plan.changes.length, plan: output },
  })
  return ExitCode.ok
}

/** Applies a saved plan, or the one that the flags make; keeps what takes it back in a file. */
export async function runBucketApply(
  context: Context,
  flags: BucketFlags,
  options: { plan: string | undefined; yes: boolean; undoFile: string | undefined; skip: readonly string[] },
  clients?: Clients,
): Promise<ExitCode> {
  const { report, cwd, now } = context
  const { s3, cloudFront, accessKey } = clients ?? (await openClients(context))
  const plan =
    options.plan === undefined
      ? await makePlan(context, flags, { s3, cloudFront, accessKey })
      : parseSettingsPlan(read(path.resolve(cwd, options.plan)))
  const bucket = requireBucket(context.config)
  if (plan.bucket !== bucket) {
    throw new UsageError(`the plan is for the bucket ${plan.bucket}, but the configured one is ${bucket}`)
  }
  if (plan.changes.length === 0) {
    report.summary({ lines: ['nothing to change'], fields: { changed: 0 } })
    return ExitCode.ok
  }
  const wanted = plan.changes.filter(({ setting }) => !options.skip.includes(setting))
  for (const change of wanted) tellChange(context, change)
  // A saved plan was looked at when it was made; one made just now has been seen by nobody.
  const isSeen = options.plan !== undefined || options.yes
  if (!isSeen && !(await context.confirm(`Make ${plural(plan.changes.length, 'change')}?`))) {
    throw new UsageError(`${plural(plan.changes.length, 'change')}, none made`, {
      code: 'usage.confirm',
      cure: 'Pass --yes, or save it with `autodj bucket plan --output FILE` and apply the file.',
    })
  }
  const undoFile = path.resolve(
    cwd,
    options.undoFile ?? `autodj-bucket-undo-${now().toISOString().replace(/[:.]/g, '-')}.json`,
  )
  const left: string[] = []
  const changed = await applySettings(
    { ...plan, changes: wanted },
    {
      s3,
      cloudFront,
      now,
      keepUndo: undo => save('--undo-file', undoFile, undo),
      onChange(change, outcome, reason) {
        const { style } = report
        const paint = outcome === 'unsupported' ? style.yellow : style.green
        if (outcome === 'unsupported') left.push(change.setting)
        report.item({
          subject: change.setting,
          state: outcome,
          reason,
          text: `${paint(outcome)} ${change.setting}${reason === undefined ? '' : `: ${reason}`}`,
          fields: { target: change.target },
        })
      },
      stopping: context.stopping,
    },
  )
  report.summary({
    lines: [
      changed === 0 && left.length === 0
        ? 'everything was already as planned'
        : `${plural(changed, 'setting')} changed${left.length > 0 ? `; the store does not have ${left.join(', ')}` : ''}`,
    ],
    next: changed === 0 ? undefined : `to undo it: \`autodj bucket apply ${path.relative(cwd, undoFile)}\``,
    fields: {
      changed,
      planned: wanted.length,
      unsupported: left,
      undo: changed === 0 ? undefined : undoFile,
    },
  })
  return context.stopExitCode() ?? (left.length > 0 ? ExitCode.someFailed : ExitCode.ok)
}

async function assess(
  context: Context,
  flags: BucketFlags,
  { s3, cloudFront, accessKey }: Clients,
): Promise<Assessment> {
  const { config, signal, now } = context
  const bucket = requireBucket(config)
  const wishes: Wishes = {
    bucket,
    keyPrefix: config.s3.keyPrefix,
    origins: flags.origin,
    versioning: flags.versioning,
    quarantine: { prefix: quarantinePrefix, days: flags.quarantineDays },
    stagingPrefix: stagingPrefix(config.s3.keyPrefix),
    ...(flags.tiering === undefined
      ? {}
      : {
          tiering: {
            storageClass: flags.tiering,
            days: Math.max(flags.tieringDays ?? 0, tieringDays[flags.tiering]),
          },
          library: await librarySize(context),
        }),
    ...(flags.logBucket === undefined ? {} : { logBucket: flags.logBucket }),
  }
  const observed = await observeBucket(s3, bucket, signal)
  const ofBucket = assessBucket(observed, wishes)
  const id = config.distributionId
  const ofDistribution: Assessment =
    id === undefined || cloudFront === undefined
      ? {
          checks: [
            {
              setting: 'distribution',
              state: 'skipped',
              found: 'CLOUDFRONT_DISTRIBUTION_ID is not set: its settings were not checked',
            },
          ],
          changes: [],
        }
      : assessDistribution(
          await observeDistribution(cloudFront, id, signal),
          await readSetting(s3, bucket, 'bucket-policy', signal),
          wishes,
        )
  const key = accessKey === undefined ? [] : [assessAccessKey(await accessKey(), now())]
  return {
    checks: [...ofBucket.checks, ...ofDistribution.checks, ...key],
    // The CDN gets its own way in before public access is taken away.
    changes: [...ofDistribution.changes, ...ofBucket.changes],
  }
}

async function makePlan(context: Context, flags: BucketFlags, clients: Clients): Promise<SettingsPlan> {
  const { changes } = await assess(context, flags, clients)
  return {
    type: 'autodj-settings-plan',
    schema: 1,
    bucket: requireBucket(context.config),
    distribution: context.config.distributionId ?? null,
    createdAt: context.now().toISOString(),
    changes,
  }
}

/** Objects and bytes by the ledger, for the cost of a storage class; unknown if there is no database yet. */
async function librarySize(context: Context): Promise<{ objects: number; bytes: number } | undefined> {
  const { url } = context.config.database
  // Opening an embedded database makes it.
  if (url.startsWith('pglite:') && !existsSync(url.slice('pglite:'.length))) return undefined
  try {
    const { countTracks } = await import('../db/tracks.ts')
    const { tracks, bytes } = await countTracks((await context.database()).knex, { hasKey: true })
    return { objects: tracks, bytes }
  } catch (error) {
    context.report.detail(`the size of the library is unknown: ${error}`)
    return undefined
  }
}

function tellCheck({ report }: Context, { setting, state, found, cure }: SettingCheck): void {
  report.item({
    subject: setting,
    state,
    reason: found,
    cure,
    text: checkLine(report.style, { name: setting, state, found, cure }, 22),
  })
}

function tellChange({ report }: Context, change: SettingChange): void {
  const { style } = report
  const show = (document: Json) => printable(JSON.stringify(document))
  const lines = [`${style.bold(change.setting)}: ${change.why}`]
  for (const [index, clause] of (change.cost?.split('; ') ?? []).entries()) {
    lines.push(index === 0 ? `  cost: ${clause}` : `        ${clause}`)
  }
  if (change.target === 'bucket') {
    for (const { member, removed, added, kept } of differences(change.was, change.becomes)) {
      const name = member === '' ? '' : `${member}: `
      if (kept > 0) lines.push(style.dim(`    ${name}${kept} kept as ${kept === 1 ? 'it is' : 'they are'}`))
      lines.push(...removed.map(value => style.red(`  - ${name}${show(value)}`)))
      lines.push(...added.map(value => style.green(`  + ${name}${show(value)}`)))
    }
  } else {
    for (const { path: at, was, becomes } of change.edits) {
      if (sameDocument(was, becomes)) continue
      lines.push(
        style.red(`  - ${at.join('.')}: ${show(was)}`),
        style.green(`  + ${at.join('.')}: ${show(becomes)}`),
      )
    }
    if (change.create !== undefined) {
      lines.push(
        style.green(`  + origin access control ${change.create.Name}: ${show({ ...change.create })}`),
      )
    }
  }
  report.item({ subject: change.setting, state: 'planned', text: lines.join('\n'), fields: { ...change } })
}

function read(file: string): string {
  try {
    return readNamedFile(file).toString()
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${systemErrorReason(error)}`)
  }
}

function save(flag: string, file: string, plan: SettingsPlan): Promise<void> {
  return writeOutput(flag, file, `${JSON.stringify(plan, undefined, 2)}\n`, { mode: 0o600 })
}

async function openClients(context: Context): Promise<Clients> {
  const { config, signal } = context
  const { region, endpoint, addressing } = config.s3
  const shared = {
    ...(await awsClientOptions(config)),
    ...(region === undefined ? (endpoint === undefined ? {} : { region: 'us-east-1' }) : { region }),
  }
  const s3 = new S3Client({
    ...shared,
    ...(endpoint === undefined ? {} : { endpoint }),
    forcePathStyle: addressing === 'auto' ? endpoint !== undefined : addressing === 'path',
    requestChecksumCalculation: 'WHEN_REQUIRED',
  })
  context.onRelease(() => s3.destroy())
  if (!asksAws(config)) return { s3, cloudFront: undefined, accessKey: undefined }
  const { CloudFrontClient } = await import('@aws-sdk/client-cloudfront')
  const cloudFront = new CloudFrontClient(shared)
  context.onRelease(() => cloudFront.destroy())
  return {
    s3,
    cloudFront,
    accessKey: () => accessKeyFacts(config, { signal, detail: text => context.report.detail(text) }),
  }
}
