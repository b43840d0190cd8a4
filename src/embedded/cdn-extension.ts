/** What makes of the demo's CDN that of the tests (test/support/cdn): what it refuses by itself, and what goes wrong. */
import type { IncomingMessage } from 'node:http'
import type { CdnAnswer } from './cdn-answer.ts'
import type { OriginRequest } from './cdn-origin.ts'

/** What a viewer asked for. */
export interface ViewerRequest {
  method: string
  /** as on the wire, without the query */
  path: string
  /** percent-decoded, without the leading slash */
  key: string
  range: string | undefined
  origin: string | undefined
}

/** CloudFront's error page for this request. */
export type ErrorPage = (status: number, text: string, headers?: Record<string, string>) => CdnAnswer

export interface CdnExtension {
  /** @returns the answer to a request that is not taken: by its protocol, or without a valid signature */
  refuse(request: IncomingMessage, errorPage: ErrorPage): CdnAnswer | undefined
  interfere(viewer: ViewerRequest): CdnInterference | undefined
}

/** What goes wrong with one request. */
export interface CdnInterference {
  /** Before anybody is asked. @returns an answer instead of the origin's; `none` if nothing is to be answered */
  before(request: IncomingMessage, errorPage: ErrorPage): Promise<CdnAnswer | 'none' | undefined>
  /** The request to the origin as it is made. */
  ask(request: OriginRequest): OriginRequest
  /** The answer on its way out. */
  mangle(answer: CdnAnswer): CdnAnswer
  /** bytes of a body after which the connection is dropped */
  readonly resetAfter: number | undefined
  readonly bypassesCache: boolean
  readonly ignoresRange: boolean
}
