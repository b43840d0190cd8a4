/** What the CDN stand-in keeps of its origin's answers, and for how long. */
import { type CdnAnswer, decodePath } from './cdn-answer.ts'

interface Cached extends CdnAnswer {
  storedAt: number
  /** ms since the epoch */
  freshUntil: number
}

export interface EdgeCacheOptions {
  /** bytes of bodies kept; 64 MiB */
  cacheBytes?: number
  /** bytes; larger objects are passed through uncached. 8 MiB */
  maxObjectBytes?: number
  /** s; 10 as CloudFront's default error caching minimum TTL */
  errorTtl?: number
}

/** Seconds that an answer is kept where the object has no Cache-Control: CloudFront's default TTL. */
const defaultTtl = 86_400

export class EdgeCache {
  /** bytes; larger bodies are not kept */
  readonly maxObject: number
  /** bytes of bodies held */
  bytes = 0
  /** Insertion order is the order of use: the first is the one longest unused. */
  readonly #entries = new Map<string, Cached>()
  readonly #clock: () => number
  readonly #limit: number
  readonly #errorTtl: number

  constructor(options: EdgeCacheOptions, clock: () => number) {
    this.#clock = clock
    this.#limit = options.cacheBytes ?? 64 << 20
    this.maxObject = Math.min(options.maxObjectBytes ?? 8 << 20, this.#limit)
    this.#errorTtl = options.errorTtl ?? 10
  }

  /** What is kept under this id and still fresh. */
  find(id: string): Cached | undefined {
    const hit = this.#entries.get(id)
    if (hit === undefined || this.#clock() >= hit.freshUntil) return undefined
    this.#entries.delete(id)
    this.#entries.set(id, hit)
    return hit
  }

  store(id: string, { status, headers, body }: CdnAnswer): void {
    const now = this.#clock()
    let ttl = this.#errorTtl
    if (status < 400) {
      const control = headers['cache-control'] ?? ''
      const age =
        /(?:^|[,\s])s-maxage=(\d+)/.exec(control)?.[1] ?? /(?:^|[,\s])max-age=(\d+)/.exec(control)?.[1]
      ttl = /no-store|no-cache|private/.test(control) ? 0 : age === undefined ? defaultTtl : Number(age)
    }
    if (ttl <= 0) return
    this.#forget(id)
    this.#entries.set(id, { status, headers, body, storedAt: now, freshUntil: now + ttl * 1000 })
    this.bytes += body.length
    for (const oldest of this.#entries.keys()) {
      if (this.bytes <= this.#limit && this.#entries.size <= 100_000) break
      this.#forget(oldest)
    }
  }

  /** Forgets one key, or everything. */
  invalidate(key?: string): void {
    for (const id of [...this.#entries.keys()]) {
      const path = id.slice(id.indexOf(' ') + 1)
      if (key === undefined || decodePath(path).slice(1) === key) this.#forget(id)
    }
  }

  #forget(id: string): void {
    const entry = this.#entries.get(id)
    if (!entry) return
    this.#entries.delete(id)
    this.bytes -= entry.body.length
  }
}
