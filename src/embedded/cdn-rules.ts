/** What the CDN stand-in can be told to do wrong. */
import type { CdnAnswer } from './cdn-answer.ts'

/** What a viewer asked for, as the rules see it. */
export interface ViewerRequest {
  method: string
  /** as on the wire, without the query */
  path: string
  /** percent-decoded, without the leading slash */
  key: string
  range: string | undefined
  origin: string | undefined
}

export type CdnMisbehaviour =
  /** Answers this instead of asking anybody. `code`-less bodies are CloudFront's HTML page. */
  | { answer: { status: number; headers?: Record<string, string>; body?: string | Buffer } }
  /** Changes the answer on its way out. Bodies over `maxObjectBytes` are passed through and cannot be changed. */
  | { mangle: (answer: CdnAnswer, request: ViewerRequest) => CdnAnswer | undefined }
  /** Asks the origin for another key: a wrong origin path, a `+` read twice. */
  | { rewriteKey: (key: string) => string }
  /** Signs to the origin with a wrong secret: the origin access control is broken. */
  | { originDenied: true }
  /** The origin's addressing is wrong: signs for another region. */
  | { originRegion: string }
  /** Drops the connection: at once, or after this many bytes of the body. */
  | { reset: true; afterBytes?: number }
  /** Says nothing, for ms or for ever. */
  | { stall: number | 'forever' }
  /** Ignores `Range`. */
  | { ignoreRange: true }
  /** Never answers from the cache, never fills it. */
  | { bypassCache: true }

export interface CdnRule {
  match?: { key?: string | RegExp; method?: string }
  /** How often it strikes; unlimited when left out. */
  times?: number
  misbehave: CdnMisbehaviour
}

/** What is planted to go wrong, in the order it was planted. */
export class CdnRules {
  #planted: { rule: CdnRule; struck: number }[]

  constructor(rules: readonly CdnRule[] = []) {
    this.#planted = rules.map(rule => ({ rule, struck: 0 }))
  }

  /** @returns takes the rule back */
  add(rule: CdnRule): () => void {
    const one = { rule, struck: 0 }
    this.#planted.push(one)
    return () => {
      this.#planted = this.#planted.filter(planted => planted !== one)
    }
  }

  clear(): void {
    this.#planted = []
  }

  strike(request: ViewerRequest): CdnMisbehaviour | undefined {
    for (const one of this.#planted) {
      const { match, times } = one.rule
      if (times !== undefined && one.struck >= times) continue
      if (match?.method !== undefined && match.method !== request.method) continue
      const { key } = match ?? {}
      if (typeof key === 'string' ? key !== request.key : key && request.key.search(key) === -1) continue
      one.struck++
      return one.rule.misbehave
    }
    return undefined
  }
}
