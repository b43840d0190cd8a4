import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** @param port 0 for a free one @returns the port @throws Error EADDRINUSE and the like */
export async function listen(server: Server, port: number, host: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return (server.address() as AddressInfo).port
}
