/** What the CDN stand-in can be told to do wrong. */
import { type CdnAnswer, decodePath } from '../../../src/embedded/cdn-answer.ts'
import type { CdnInterference, ViewerRequest } from '../../../src/embedded/cdn-extension.ts'

type CdnMisbehaviour =
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

/** A misbehaviour as the CDN meets it. */
export function interference(misbehaviour: CdnMisbehaviour, viewer: ViewerRequest): CdnInterference {
  const reset = 'reset' in misbehaviour ? misbehaviour : undefined
  return {
    async before(request, errorPage) {
      if (reset && reset.afterBytes === undefined) {
        request.socket.resetAndDestroy()
        return 'none'
      }
      if ('stall' in misbehaviour) {
        const { stall } = misbehaviour
        if (stall === 'forever') return 'none'
        await new Promise(resolve => setTimeout(resolve, stall).unref())
      }
      if (!('answer' in misbehaviour)) return undefined
      const { status, headers = {}, body } = misbehaviour.answer
      return body === undefined
        ? errorPage(status, 'The request could not be satisfied.', headers)
        : { status, headers, body: Buffer.from(body) }
    },
    ask(request) {
      const { path, region, credentials } = request
      if ('rewriteKey' in misbehaviour) {
        const key = misbehaviour.rewriteKey(decodePath(path).slice(1))
        return { ...request, path: `/${key.split('/').map(encodeURIComponent).join('/')}` }
      }
      if ('originDenied' in misbehaviour) {
        const secretAccessKey = `not ${credentials.secretAccessKey}`
        return { ...request, credentials: { ...credentials, secretAccessKey } }
      }
      return { ...request, region: 'originRegion' in misbehaviour ? misbehaviour.originRegion : region }
    },
    mangle: answer => ('mangle' in misbehaviour && misbehaviour.mangle(answer, viewer)) || answer,
    resetAfter: reset?.afterBytes,
    bypassesCache: !('mangle' in misbehaviour),
    ignoresRange: 'ignoreRange' in misbehaviour,
  }
}
