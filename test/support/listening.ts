/** Servers of a test's own, on free ports of this machine. */
import type { Server as HttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'

export async function listening<S extends Server>(server: S): Promise<S> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve)
  })
  return server
}

export const portOf = (server: Server): number => (server.address() as AddressInfo).port

export const urlOf = (server: Server): string => `http://127.0.0.1:${portOf(server)}`

/** Ends it at once, with whoever is connected. */
export function end(server: HttpServer): void {
  server.closeAllConnections()
  server.close()
}

/** A port that is free now, for a program that is to be told its port. */
export async function freePort(): Promise<number> {
  const server = await listening(createServer())
  const port = portOf(server)
  await new Promise(resolve => server.close(resolve))
  return port
}
