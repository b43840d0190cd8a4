/** What makes of the demo's server that of the tests (test/support/s3-server): all else S3 can do, and what goes wrong. */
import type { IncomingMessage } from 'node:http'
import type { BodyOptions } from './body.ts'
import type { Reply, RequestRecord } from './call.ts'
import type { Bucket, Disk } from './disk.ts'
import type { SendPieces } from './response.ts'
import type { Operations, Target } from './routing.ts'

export interface Extension {
  operations: Operations
  /** The answer to OPTIONS. @throws S3Error */
  preflight(request: IncomingMessage, disk: Disk, target: Target): Reply
  /** Headers for a browser that asks from `origin`. */
  corsHeaders(bucket: Bucket, origin: string, method: string): Record<string, string> | undefined
  interfere(record: RequestRecord): Interference | undefined
}

/** What goes wrong with one request. */
export interface Interference {
  /** Before the request is looked at. @throws S3Error to answer, ClientGone if nobody is to be answered */
  before(request: IncomingMessage, closing: AbortSignal): Promise<void>
  body: Pick<BodyOptions, 'corrupt' | 'resetAfter'>
  /** @returns undefined if the connection is dropped instead */
  answer(reply: Reply): Reply | undefined
  sendPieces(closing: AbortSignal): SendPieces
}
