/** Planted misbehaviour: rules that match requests, added and removed while the server runs, and how they strike. */
import type { IncomingMessage } from 'node:http'
import { ClientGone } from '../../../src/embedded/s3-server/body.ts'
import type { Reply, RequestRecord } from '../../../src/embedded/s3-server/call.ts'
import type { Interference } from '../../../src/embedded/s3-server/extension.ts'
import { type SendPieces, write } from '../../../src/embedded/s3-server/response.ts'
import { S3Error } from '../../../src/embedded/s3-server/xml.ts'

type Fault =
  /** Answers an error instead of doing it. `code` is the S3 error code. */
  | { status: number; code: string; message?: string; headers?: Record<string, string> }
  /** Drops the connection (RST): at once, or after that many bytes of the request's or the response's body. */
  | { reset: true; afterBytes?: number }
  /** Says nothing: for ms, then continues; or for ever, after that many bytes of a response body. */
  | { stall: number | 'forever'; afterBytes?: number }
  /** Does it all, then drops the connection instead of answering. */
  | { loseResponse: true }
  /** ms before the request is looked at */
  | { delay: number }
  /** Flips a bit of the body on its way: of the request body before it is verified, else of the response body. */
  | { corruptBody: true }
  /**
   * Is a store that knows less than S3: takes no notice of these request headers, and leaves these headers and XML
   * elements out of what it answers.
   */
  | { ignore?: readonly string[]; withhold?: readonly string[]; corruptBody?: true }

interface FaultMatch {
  /** `PutObject`, `UploadPart`, ... */
  operation?: string | string[]
  /** A whole key, or a pattern. */
  key?: string | RegExp
  method?: string
  bucket?: string
  /** A request header that is there, in lower case. */
  header?: string
}

export interface FaultRule {
  match?: FaultMatch
  /** How often it strikes; unlimited when left out. */
  times?: number
  /** Matching requests let through first. */
  after?: number
  /** 0 to 1, drawn from a generator seeded with `seed` (default 1), so that a run can be repeated. */
  probability?: number
  seed?: number
  fault: Fault
}

/** What is known of a request when the rules are asked. */
type FaultSubject = Pick<RequestRecord, 'operation' | 'method' | 'bucket' | 'key' | 'headers'>

interface Planted {
  rule: FaultRule
  seen: number
  struck: number
  random: () => number
}

/** mulberry32 (Tommy Ettinger, public domain): small, and the same on every machine. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export class FaultRules {
  #planted: Planted[] = []

  /** @returns a handle to take the rule back and to ask how often it struck */
  add(rule: FaultRule): { remove(): void; readonly struck: number } {
    const planted: Planted = { rule, seen: 0, struck: 0, random: randomFrom(rule.seed ?? 1) }
    this.#planted.push(planted)
    return {
      remove: () => {
        this.#planted = this.#planted.filter(p => p !== planted)
      },
      get struck() {
        return planted.struck
      },
    }
  }

  clear(): void {
    this.#planted = []
  }

  /** The fault of the first rule that strikes, if any. */
  next(subject: FaultSubject): Fault | undefined {
    for (const planted of this.#planted) {
      const { rule } = planted
      if (!matches(rule.match, subject)) continue
      planted.seen++
      if (planted.seen <= (rule.after ?? 0)) continue
      if (rule.times !== undefined && planted.struck >= rule.times) continue
      if (rule.probability !== undefined && planted.random() >= rule.probability) continue
      planted.struck++
      return rule.fault
    }
    return undefined
  }
}

function matches(match: FaultMatch | undefined, subject: FaultSubject): boolean {
  if (!match) return true
  const { operation, key, method, bucket, header } = match
  if (header !== undefined && subject.headers[header] === undefined) return false
  if (operation !== undefined && ![operation].flat().includes(subject.operation)) return false
  if (method !== undefined && method !== subject.method) return false
  if (bucket !== undefined && bucket !== subject.bucket) return false
  if (key === undefined) return true
  if (subject.key === undefined) return false
  return typeof key === 'string' ? key === subject.key : subject.key.search(key) !== -1
}

/** Waits this many ms. @throws ClientGone when the server closes in the meantime */
function pause(ms: number, closing: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(new ClientGone('the server closed'))
    }
    const timer = setTimeout(() => {
      closing.removeEventListener('abort', stop)
      resolve()
    }, ms)
    closing.addEventListener('abort', stop, { once: true })
  })
}

/**
 * Faults that strike before the request is looked at.
 * @throws S3Error, the planted one · ClientGone if the connection is dropped
 */
async function strikeEarly(fault: Fault, request: IncomingMessage, closing: AbortSignal): Promise<void> {
  if ('status' in fault) {
    throw new S3Error(fault.status, fault.code, fault.message ?? 'Planted fault.', {}, fault.headers ?? {})
  }
  if ('delay' in fault) await pause(fault.delay, closing)
  if ('reset' in fault && fault.afterBytes === undefined) {
    request.socket.resetAndDestroy()
    throw new ClientGone('reset by a planted fault')
  }
  if ('stall' in fault && fault.afterBytes === undefined) {
    if (fault.stall === 'forever') throw new ClientGone('stalled by a planted fault')
    await pause(fault.stall, closing)
  }
}

/** Sends a body with the fault that strikes on the way out. */
const sendWith =
  (fault: Fault, closing: AbortSignal): SendPieces =>
  async (response, pieces) => {
    let left = Number.POSITIVE_INFINITY
    if ('reset' in fault || 'stall' in fault) left = fault.afterBytes ?? left
    let corrupt = 'corruptBody' in fault && response.req.method === 'GET'
    for await (const whole of pieces) {
      if (response.destroyed) return
      let piece = whole
      if (corrupt) {
        corrupt = false
        piece = Buffer.from(piece)
        piece[0] = piece[0]! ^ 1
      }
      if (piece.length >= left) {
        await write(response, piece.subarray(0, left))
        if ('stall' in fault && fault.stall !== 'forever') {
          await pause(fault.stall, closing)
          piece = piece.subarray(left)
          left = Number.POSITIVE_INFINITY
        } else {
          if ('reset' in fault) response.req.socket.resetAndDestroy()
          return
        }
      }
      left -= piece.length
      await write(response, piece)
    }
    response.end()
  }

/** The reply without these headers and XML elements. */
function without(reply: Reply, names: readonly string[]): Reply {
  const headers = Object.entries(reply.headers ?? {}).filter(([name]) => !names.includes(name))
  const body = names.reduce(
    (text, name) => text?.replaceAll(new RegExp(`<${name}>[^<]*</${name}>`, 'g'), ''),
    reply.body?.toString(),
  )
  return { ...reply, headers: Object.fromEntries(headers), ...(body !== undefined && { body }) }
}

/** A fault as the server meets it. */
export function interference(fault: Fault): Interference {
  return {
    async before(request, closing) {
      await strikeEarly(fault, request, closing)
      // The signature is checked on the headers as they came (`headersDistinct`).
      if ('ignore' in fault) for (const name of fault.ignore ?? []) delete request.headers[name]
    },
    body: {
      ...('corruptBody' in fault && { corrupt: true }),
      ...('reset' in fault && { resetAfter: fault.afterBytes }),
    },
    answer(reply) {
      if ('loseResponse' in fault) return undefined
      return 'withhold' in fault ? without(reply, fault.withhold ?? []) : reply
    },
    sendPieces: closing => sendWith(fault, closing),
  }
}
