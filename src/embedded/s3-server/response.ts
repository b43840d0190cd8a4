/** A reply on its way out: headers, then the body piece by piece. */
import type { ServerResponse } from 'node:http'
import type { Reply } from './call.ts'
import type { Disk } from './disk.ts'

/** Bodies up to this size (bytes) are read and sent in one go. */
const small = 256 * 1024

export type SendPieces = (
  response: ServerResponse,
  pieces: Iterable<Buffer> | AsyncIterable<Buffer>,
) => Promise<void>

/**
 * Sends what an operation answered.
 * @param common headers of every answer
 * @param sendPieces how a body goes out
 */
export async function sendReply(
  response: ServerResponse,
  reply: Reply,
  common: Record<string, string>,
  disk: Disk,
  sendPieces: SendPieces,
): Promise<void> {
  const { status, content } = reply
  const headers: Record<string, string> = { ...common, ...reply.headers }
  const head = response.req.method === 'HEAD'
  if (!content) {
    const body = reply.body === undefined ? undefined : Buffer.from(reply.body)
    if (body && headers['content-type'] === undefined) headers['content-type'] = 'application/xml'
    if (status !== 204 && status !== 304 && !(head && body)) {
      headers['content-length'] = String(body?.length ?? 0)
    }
    if (head || !body) response.writeHead(status, headers).end()
    else await sendPieces(response.writeHead(status, headers), [body])
    return
  }
  response.writeHead(status, headers)
  if (head || content.size === 0) response.end()
  else if (content.size <= small) {
    await sendPieces(response, [disk.readSmall(content.segments, content.size)])
  } else await sendPieces(response, disk.read(content.segments))
}

export const sendAll: SendPieces = async (response, pieces) => {
  for await (const piece of pieces) {
    if (response.destroyed) return
    await write(response, piece)
  }
  response.end()
}

/** Resolves once the response takes more; a connection that is gone resolves too. */
export function write(response: ServerResponse, piece: Buffer): Promise<void> | undefined {
  if (piece.length === 0 || response.write(piece) || response.destroyed) return undefined
  return new Promise(resolve => {
    const done = () => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}
