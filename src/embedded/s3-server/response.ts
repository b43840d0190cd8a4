/** A reply on its way out: headers, then the body piece by piece, with the faults planted there. */
import type { ServerResponse } from 'node:http'
import type { Reply } from './call.ts'
import type { Disk } from './disk.ts'
import { type Fault, pause } from './faults.ts'

/** Bodies up to this size (bytes) are read and sent in one go. */
const small = 256 * 1024

/**
 * Sends what an operation answered.
 * @param common headers of every answer
 * @param fault that strikes on the way out
 */
export async function sendReply(
  response: ServerResponse,
  reply: Reply,
  common: Record<string, string>,
  disk: Disk,
  fault: Fault | undefined,
  closing: AbortSignal,
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
    else await sendPieces(response.writeHead(status, headers), [body], fault, closing)
    return
  }
  response.writeHead(status, headers)
  if (head || content.size === 0) response.end()
  else if (content.size <= small) {
    await sendPieces(response, [disk.readSmall(content.segments, content.size)], fault, closing)
  } else await sendPieces(response, disk.read(content.segments), fault, closing)
}

async function sendPieces(
  response: ServerResponse,
  pieces: Iterable<Buffer> | AsyncIterable<Buffer>,
  fault: Fault | undefined,
  closing: AbortSignal,
): Promise<void> {
  const strikes = fault && ('truncateBody' in fault || 'reset' in fault || 'stall' in fault)
  let left = Number.POSITIVE_INFINITY
  if (strikes) left = 'truncateBody' in fault ? fault.truncateBody : (fault.afterBytes ?? left)
  let corrupt = fault !== undefined && 'corruptBody' in fault && response.req.method === 'GET'
  for await (const whole of pieces) {
    if (response.destroyed) return
    let piece = whole
    if (corrupt) {
      corrupt = false
      piece = Buffer.from(piece)
      piece[0] = piece[0]! ^ 1
    }
    if (fault && piece.length >= left) {
      await write(response, piece.subarray(0, left))
      if ('stall' in fault && fault.stall !== 'forever') {
        await pause(fault.stall, closing)
        piece = piece.subarray(left)
        left = Number.POSITIVE_INFINITY
      } else {
        if ('reset' in fault) response.req.socket.resetAndDestroy()
        else if ('truncateBody' in fault) response.req.socket.destroySoon()
        return
      }
    }
    left -= piece.length
    await write(response, piece)
  }
  response.end()
}

/** Resolves once the response takes more; a connection that is gone resolves too. */
function write(response: ServerResponse, piece: Buffer): Promise<void> | undefined {
  if (piece.length === 0 || response.write(piece) || response.destroyed) return undefined
  return new Promise(resolve => {
    const done = () => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}
