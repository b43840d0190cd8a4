/** What a run found, counted as it comes: never lists, so memory does not grow with the number of tracks. */
import type { CdnProvider } from '../core/cdn-provider.ts'
import type { Cause, Finding } from '../core/diagnosis/causes.ts'
import type { ProviderCounts } from '../core/diagnosis/domain.ts'
import { LatencyHistogram } from '../core/verify/latency.ts'
import type { Check, TrackResult } from './track-result.ts'

/** Failures or warnings of one cause. */
export interface CauseCount {
  cause: Cause
  title: string
  cure: string
  count: number
  /** the first keys */
  examples: readonly string[]
}

export interface VerifySummary {
  tracks: number
  served: number
  failed: number
  /** of the tracks that are served: those of which this was compared, too */
  checked: Readonly<Record<Check, number>>
  /** of the tracks that are served: those of which both the CDN and the database tell the size */
  sized: number
  /** of the tracks that are served: through which CDN */
  providers: ProviderCounts
  /** share of served tracks that the edge had already, 0 to 1; undefined when none was served */
  hitRatio: number | undefined
  /** ms to the first byte */
  p50: number | undefined
  p95: number | undefined
  /** most frequent first */
  failures: readonly CauseCount[]
  warnings: readonly CauseCount[]
}

const examplesKept = 3

/** Takes results as they come, and sums them up at the end. */
export class Tally {
  #tracks = 0
  #served = 0
  #hits = 0
  #sized = 0
  readonly #providers: Partial<Record<CdnProvider | 'none', number>> = {}
  readonly #checked = { bytes: 0, full: 0, direct: 0 }
  readonly #latency = new LatencyHistogram()
  readonly #causes = new Map<
    Cause,
    { severity: Finding['severity']; found: Finding; count: number; examples: string[] }
  >()

  add({ track, served, checked = [], findings, provider, cacheHit, latencyMs, size }: TrackResult): void {
    this.#tracks++
    if (served) {
      this.#served++
      for (const one of checked) this.#checked[one]++
      if (cacheHit) this.#hits++
      if (size !== undefined && track.size !== null) this.#sized++
      if (provider !== undefined) this.#providers[provider] = (this.#providers[provider] ?? 0) + 1
      if (latencyMs !== undefined) this.#latency.add(latencyMs)
    }
    for (const found of findings) {
      const entry = this.#causes.get(found.cause) ?? {
        severity: found.severity,
        found,
        count: 0,
        examples: [],
      }
      entry.count++
      if (entry.examples.length < examplesKept) entry.examples.push(track.key ?? track.id)
      this.#causes.set(found.cause, entry)
    }
  }

  summary(): VerifySummary {
    const counts = (severity: Finding['severity']): CauseCount[] =>
      [...this.#causes.values()]
        .filter(entry => entry.severity === severity)
        .sort((a, b) => b.count - a.count)
        .map(({ found, count, examples }) => ({
          cause: found.cause,
          title: found.title,
          cure: found.cure,
          count,
          examples,
        }))
    return {
      tracks: this.#tracks,
      served: this.#served,
      failed: this.#tracks - this.#served,
      checked: { ...this.#checked },
      sized: this.#sized,
      providers: { ...this.#providers },
      hitRatio: this.#served === 0 ? undefined : this.#hits / this.#served,
      p50: this.#latency.quantile(0.5),
      p95: this.#latency.quantile(0.95),
      failures: counts('failure'),
      warnings: counts('warning'),
    }
  }
}
