/** `autodj verify`: settings into options, results into reports. */

import { observeDomain } from '../cdn/domain.ts'
import { openProber } from '../cdn/probe.ts'
import { openUrlSigner } from '../cdn/sign.ts'
import { requireBucket, requireCdn } from '../config.ts'
import type { Context } from '../context.ts'
import { type CdnProvider, cdnNames } from '../core/cdn-provider.ts'
import { directUrl, encodeKeyPath } from '../core/cdn-url.ts'
import type { Finding } from '../core/diagnosis/causes.ts'
import {
  type DomainObservation,
  describeDomain,
  diagnoseDomain,
  diagnoseProvider,
  type ProviderCounts,
} from '../core/diagnosis/domain.ts'
import { formatBytes, formatCount, plural, printable } from '../core/units.ts'
import { requireSchema } from '../db/require-schema.ts'
import { ExitCode, UsageError } from '../errors.ts'
import { preferSmallHeap } from '../heap.ts'
import { recordRun } from '../runs/recorded-run.ts'
import { selectedTracks } from '../runs/selected-tracks.ts'
import type { VerifyFlags } from './flags.ts'
import type { CauseCount, VerifySummary } from './tally.ts'
import type { TrackResult, VerifyTrack } from './track-result.ts'
import { recordResults, type Selection, selectTracks, verifyCommand } from './tracks.ts'
import { verify } from './verify.ts'

const defaultConcurrency = 32
/** Failures told one by one; the summary groups them all. */
const failuresTold = 20

/** @returns 0 when every track is served, 4 when one is not */
export async function runVerify(context: Context, flags: VerifyFlags): Promise<ExitCode> {
  const { config, report, now } = context
  const cdn = requireCdn(config)
  const bucket = requireBucket(config)
  const selection = selectionOf(flags, now())
  preferSmallHeap()
  const signer = cdn.signer === undefined ? undefined : await openUrlSigner(cdn.signer)
  const concurrency = flags.concurrency ?? defaultConcurrency
  const page = flags.origin ?? cdn.pageOrigin.origin
  const prober = openProber({ concurrency, signal: context.signal, network: config.network, origin: page })
  context.onRelease(() => prober.close())
  const database = await context.database()
  await requireSchema(database)
  const store = await context.store()

  return recordRun(context, database, async run => {
    const { total, tracks } = await selectTracks(database.knex, bucket, selection, {
      now: now(),
      limit: flags.limit,
      ...(await selectedTracks(context, database)),
    })
    const progress = report.progress({ label: 'verifying', unit: 'tracks' })
    progress.total({ items: total })
    const domain = new DomainCheck(tracks, path => observeDomain(cdn.domain, path, prober))
    let told = 0
    const summary = await verify({
      tracks: domain.tracks(),
      prober,
      domain: cdn.domain,
      signer,
      store,
      throttle: context.throttle,
      provider: cdn.provider,
      origin: page,
      cors: flags.origin !== undefined ? 'failure' : cdn.pageOrigin.isDefault ? 'ignored' : 'warning',
      bytes: flags.bytes,
      full: flags.full,
      directUrl: flags.direct ? key => directUrl({ ...config.s3, bucket }, key) : undefined,
      concurrency,
      record: results => recordResults(database.knex, bucket, run.id, results, now()),
      onResult(result) {
        progress.advance({ items: 1 })
        if (result.served || report.json || report.verbose || told++ < failuresTold) tell(context, result)
      },
      now,
      random: Math.random,
      stopping: AbortSignal.any([context.stopping, run.lost]),
      signal: context.signal,
    }).finally(() => progress.done())

    const seen = await domain.observation()
    const findings = [
      ...diagnoseDomain({ ...seen, provider: cdn.provider ?? mostSeen(summary.providers) }, now()),
      ...diagnoseProvider(cdn.provider, summary.providers),
    ]
    const fields = summaryFields(summary, seen, findings)
    report.summary({
      lines: [
        ...summaryLines(summary, cdn.domain.hostname, selection, total),
        ...proofLines(summary, flags, total, flags.origin ?? (cdn.pageOrigin.isDefault ? undefined : page)),
        ...summary.failures.flatMap(causeLines),
        ...summary.warnings.flatMap(causeLines),
        ...domainLines(seen, findings, now()),
      ],
      next: nextStep(summary, flags, selection, total),
      fields,
    })
    if (context.stopExitCode() === undefined) run.lost.throwIfAborted()
    const failed = summary.failed > 0 || findings.some(({ severity }) => severity === 'failure')
    return { exitCode: context.stopExitCode() ?? (failed ? ExitCode.drift : ExitCode.ok), summary: fields }
  })
}

function selectionOf({ sample, since, rolling, unproved, retryFailed }: VerifyFlags, now: Date): Selection {
  const chosen: Selection[] = []
  if (sample !== undefined) chosen.push({ kind: 'sample', count: sample })
  if (since !== undefined) {
    chosen.push({ kind: 'since', since: since instanceof Date ? since : new Date(now.getTime() - since.ago) })
  }
  if (rolling !== undefined) chosen.push({ kind: 'rolling', periodMs: rolling })
  if (unproved) chosen.push({ kind: 'unproved' })
  if (retryFailed) chosen.push({ kind: 'failed' })
  if (chosen.length > 1) {
    throw new UsageError(
      '--sample, --since, --rolling, --unproved and --retry-failed each select tracks: use only one of them',
    )
  }
  return chosen[0] ?? { kind: 'all' }
}

/** Looks at the domain once, with the path of the first track, while the others are verified. */
class DomainCheck {
  readonly #tracks: AsyncIterable<VerifyTrack>
  readonly #observe: (path: string) => Promise<DomainObservation>
  #observed: Promise<DomainObservation> | undefined

  constructor(tracks: AsyncIterable<VerifyTrack>, observe: (path: string) => Promise<DomainObservation>) {
    this.#tracks = tracks
    this.#observe = observe
  }

  async *tracks(): AsyncGenerator<VerifyTrack> {
    for await (const track of this.#tracks) {
      if (track.key?.isWellFormed() && this.#observed === undefined) {
        this.#observed = this.#observe(encodeKeyPath(track.key))
        // Awaited at the end; a rejection before that must not end the process.
        this.#observed.catch(() => {})
      }
      yield track
    }
  }

  observation(): Promise<DomainObservation> {
    return this.#observed ?? this.#observe('/')
  }
}

function tell({ report }: Context, result: TrackResult): void {
  const { track, served, findings, edge, cacheHit, latencyMs } = result
  const failure = served ? undefined : findings[0]
  report.item({
    subject: track.key ?? track.id,
    state: served ? 'served' : 'failed',
    reason: failure && `${failure.title} (${failure.evidence.join('; ')})`,
    cure: failure?.cure,
    fields: {
      track_id: track.id,
      ...(failure === undefined ? {} : { cause: failure.cause, evidence: failure.evidence }),
      warnings: findings.filter(({ severity }) => severity === 'warning').map(({ cause }) => cause),
      edge,
      cache_hit: cacheHit,
      latency_ms: latencyMs && tenths(latencyMs),
    },
  })
}

function cdnOf(providers: ProviderCounts): string {
  const most = mostSeen(providers)
  return most === undefined || most === 'other' ? '' : ` (${cdnNames[most]})`
}

/** Why there was no track to verify. */
const nothing: Readonly<Record<Selection['kind'], string>> = {
  all: 'no S3 tracks to verify',
  sample: 'no S3 tracks to verify',
  since: 'no S3 track was uploaded or changed since then',
  rolling: 'no S3 track is due today',
  unproved: 'every S3 track has been seen through the CDN since it was uploaded',
  failed: 'no track failed the last time it was verified',
}

function summaryLines(
  summary: VerifySummary,
  hostname: string,
  { kind }: Selection,
  total: number,
): string[] {
  const { tracks, served, failed, hitRatio, p50, p95 } = summary
  if (tracks === 0) return [total > 0 ? 'no track was verified' : nothing[kind]]
  const lines = [
    failed === 0
      ? `${plural(served, 'track')} ${served === 1 ? 'is' : 'are'} served through ${hostname}${cdnOf(summary.providers)}`
      : `${formatCount(failed)} of ${plural(tracks, 'track')} ${failed === 1 ? 'is' : 'are'} not served through ${hostname}`,
  ]
  if (served > 0) {
    lines.push(
      `edge cache ${Math.round(hitRatio! * 100)} % hits, first byte p50 ${p50!.toFixed(0)} ms, p95 ${p95!.toFixed(0)} ms`,
    )
  }
  return lines
}

/** The CDN that most answers came from; undefined: none is known. */
function mostSeen(providers: ProviderCounts): CdnProvider | undefined {
  const [most] = Object.entries(providers).sort(([, a], [, b]) => b - a)
  return most === undefined || most[0] === 'none' ? undefined : (most[0] as CdnProvider)
}

/** What was compared, and of how many of the tracks that were asked for: a proof of some is none of the others. */
function proofLines(
  { served, sized, tracks, checked, warnings }: VerifySummary,
  flags: VerifyFlags,
  total: number,
  /** of whose pages CORS was looked at */
  page: string | undefined,
): string[] {
  const rest =
    tracks < total ? [`not reached before the run was stopped: ${formatCount(total - tracks)}`] : []
  if (served === 0) return rest
  const of = (count: number) =>
    count === tracks ? 'each' : `${formatCount(count)} of the ${formatCount(tracks)}`
  const wanted = [
    ...(flags.bytes === undefined
      ? []
      : [`${formatBytes(flags.bytes)} of ${of(checked.bytes)}, at a random offset: the same bytes as in S3`]),
    ...(flags.full ? [`every byte of ${of(checked.full)}: its checksum is that of the object in S3`] : []),
    ...(flags.direct && checked.direct > 0
      ? [
          checked.direct === tracks
            ? 'the bucket serves none of them directly'
            : `the bucket refuses to serve ${of(checked.direct)} directly, bypassing the CDN`,
        ]
      : []),
  ]
  const looked =
    sized === served
      ? 'status, size, type and caching headers of each'
      : `status, type and caching headers of each, the size of ${of(sized)}`
  return [
    ...(flags.full || flags.bytes !== undefined
      ? []
      : [`checked: ${looked}; --bytes and --full compare content`]),
    ...wanted.map(line => `checked: ${line}`),
    ...(page === undefined || warnings.some(({ cause }) => cause.startsWith('cors-'))
      ? []
      : [`checked: pages of ${page} may read ${served === tracks ? 'them' : of(served)} (CORS)`]),
    ...rest,
  ]
}

function domainLines(seen: DomainObservation, findings: readonly Finding[], now: Date): string[] {
  const described = describeDomain(seen, now)
  return [
    ...(described === undefined ? [] : [`domain: ${described}`]),
    ...findings.flatMap(({ severity, title, evidence, cure }) => [
      `${severity}: ${title} (${evidence.join('; ')})`,
      `  ${cure}`,
    ]),
  ]
}

function causeLines({ cause, title, cure, count, examples }: CauseCount): string[] {
  return [`${formatCount(count)} × ${title} (${cause}), such as ${printable(examples[0] ?? '')}`, `  ${cure}`]
}

function nextStep(
  { failed, failures }: VerifySummary,
  flags: VerifyFlags,
  { kind }: Selection,
  total: number,
): string | undefined {
  if (total === 0 && (kind === 'all' || kind === 'sample'))
    return '`autodj upload-local` moves local tracks to S3'
  if (failed === 0) return undefined
  const same = [
    ...(flags.origin === undefined ? [] : [`--origin ${flags.origin}`]),
    ...(flags.bytes === undefined ? [] : [`--bytes ${flags.bytes}`]),
    ...(flags.full ? ['--full'] : []),
    ...(flags.direct ? ['--direct'] : []),
  ]
  const again = ['autodj', verifyCommand, '--retry-failed', ...same].join(' ')
  return `fix ${failures.length === 1 ? 'that' : 'those, the most frequent first'}, then \`${again}\``
}

function summaryFields(
  summary: VerifySummary,
  { http, tlsVersions, certificate }: DomainObservation,
  domain: readonly Finding[],
): Record<string, unknown> {
  const counts = (causes: readonly CauseCount[]) =>
    causes.map(({ cause, count, cure, examples }) => ({ cause, count, cure, examples }))
  return {
    tracks: summary.tracks,
    served: summary.served,
    failed: summary.failed,
    checked: summary.checked,
    cdn_provider: mostSeen(summary.providers),
    hit_ratio: summary.hitRatio,
    latency_p50_ms: summary.p50 && tenths(summary.p50),
    latency_p95_ms: summary.p95 && tenths(summary.p95),
    failures: counts(summary.failures),
    warnings: counts(summary.warnings),
    domain: domain.map(({ cause, severity, evidence, cure }) => ({ cause, severity, evidence, cure })),
    plain_http_status: http?.status,
    tls_versions: tlsVersions,
    certificate_valid_to: certificate?.validTo.toISOString(),
  }
}

const tenths = (milliseconds: number): number => Math.round(milliseconds * 10) / 10
