/** The store against a server that answers as a test says, and remembers what it was asked. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { afterEach } from 'vitest'
import { createS3Store } from '../../src/storage/s3.ts'
import type { S3StoreOptions } from '../../src/storage/s3-connection.ts'
import type { ObjectStore } from '../../src/storage/store.ts'
import { listening, urlOf } from './listening.ts'

export interface Received {
  method: string
  url: string
  headers: IncomingHttpHeaders
  body: string
}

const opened: (() => void)[] = []
afterEach(() => {
  for (const close of opened.splice(0)) close()
})

export async function scripted(
  handle: (request: Received, response: ServerResponse) => void,
  options: Partial<S3StoreOptions> = {},
): Promise<{ store: ObjectStore; received: Received[] }> {
  const received: Received[] = []
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    incoming
      .on('data', chunk => chunks.push(chunk))
      .on('end', () => {
        const { method = '', url = '', headers } = incoming
        const request = { method, url, headers, body: Buffer.concat(chunks).toString() }
        received.push(request)
        handle(request, response)
      })
  })
  await listening(server)
  const endpoint = urlOf(server)
  const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'very-secret-indeed' }
  const store = createS3Store({ bucket: 'music', endpoint, region: 'eu-west-1', credentials, ...options })
  opened.push(
    () => store.close(),
    () => server.close(),
    () => server.closeAllConnections(),
  )
  return { store, received }
}
