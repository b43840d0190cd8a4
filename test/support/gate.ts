/**
 * A TCP proxy that holds each connection once so many bytes have come back through it: downloads stop half-way at the
 * same byte on a slow machine and on a fast one.
 */

import { connect, createServer, type Socket } from 'node:net'
import { listening, urlOf } from './listening.ts'

interface Gate {
  /** As the target's, with this port. */
  readonly endpoint: string
  /** Connections that are held now. */
  readonly held: number
  /** Holds no connection any more. */
  open(): void
  close(): Promise<void>
}

/** @param limit bytes that a connection may bring back before it is held */
export async function startGate(target: string, limit: number): Promise<Gate> {
  const { hostname, port } = new URL(target)
  let opened = false
  const waiting = new Map<Socket, () => void>()
  const sockets = new Set<Socket>()
  const server = createServer(client => {
    const upstream = connect(Number(port), hostname)
    let left = limit
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        waiting.delete(upstream)
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream)
    upstream.on('data', (chunk: Buffer) => {
      if (opened || chunk.length <= left) {
        left -= chunk.length
        client.write(chunk)
        return
      }
      client.write(chunk.subarray(0, Math.max(0, left)))
      const rest = chunk.subarray(Math.max(0, left))
      left = 0
      upstream.pause()
      waiting.set(upstream, () => {
        client.write(rest)
        upstream.resume()
      })
    })
  })
  await listening(server)
  return {
    endpoint: urlOf(server),
    get held() {
      return waiting.size
    },
    open() {
      opened = true
      for (const release of waiting.values()) release()
      waiting.clear()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
