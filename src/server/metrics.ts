/** What Prometheus scrapes at `/metrics`. */
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client'

export interface Metrics {
  readonly contentType: string
  text(): Promise<string>
  /** @param seconds from the head of the request to the last byte of the answer */
  request(route: string, method: string, status: number, seconds: number): void
  redirect(source: 's3'): void
  audio(source: 'local' | 'youtube', bytes: number): void
  failure(reason: string): void
}

/** @param process also CPU, memory and event loop of this process; once per process */
export function createMetrics({ process: withProcess }: { process: boolean }): Metrics {
  const registry = new Registry()
  if (withProcess) collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const durations = new Histogram({
    name: 'autodj_http_request_duration_seconds',
    help: 'Time to answer, by route',
    labelNames: ['route', 'method', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers,
  })
  const redirects = new Counter({
    name: 'autodj_audio_redirects_total',
    help: 'Requests for audio sent on, by source',
    labelNames: ['source'],
    registers,
  })
  const served = new Counter({
    name: 'autodj_audio_files_total',
    help: 'Requests for audio answered from a local file, by source',
    labelNames: ['source'],
    registers,
  })
  const bytes = new Counter({
    name: 'autodj_audio_bytes_total',
    help: 'Bytes of local files that answers promised, by source',
    labelNames: ['source'],
    registers,
  })
  const failures = new Counter({
    name: 'autodj_failures_total',
    help: 'Requests that could not be answered as asked, by reason',
    labelNames: ['reason'],
    registers,
  })
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    request: (route, method, status, seconds) => durations.observe({ route, method, status }, seconds),
    redirect: source => redirects.inc({ source }),
    audio(source, count) {
      served.inc({ source })
      bytes.inc({ source }, count)
    },
    failure: reason => failures.inc({ reason }),
  }
}
