/** A proxy as companies have them: tunnels by CONNECT, relays of plain requests, a name and a password if wanted. */
import http from 'node:http'
import { connect, type Socket } from 'node:net'
import { listening, portOf } from './listening.ts'

export interface TestProxy {
  url: string
  /** `CONNECT host:port`, or `PUT http://host/path`, in order */
  readonly asked: string[]
  close(): Promise<void>
}

/**
 * @param names host names that only the proxy knows, and the local port that each leads to
 * @param login `user:password` that it insists on
 */
export async function startProxy(
  names: Readonly<Record<string, number>>,
  login?: string,
): Promise<TestProxy> {
  const asked: string[] = []
  const wanted = login && `Basic ${Buffer.from(login).toString('base64')}`
  const sockets = new Set<Socket>()
  const server = http.createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    if (wanted !== undefined && request.headers['proxy-authorization'] !== wanted) {
      response.writeHead(407, { 'proxy-authenticate': 'Basic' }).end()
      return
    }
    const url = new URL(request.url ?? '')
    const { 'proxy-authorization': _login, ...headers } = request.headers
    const relayed = http.request({
      host: '127.0.0.1',
      port: names[url.hostname] ?? Number(url.port),
      method: request.method,
      path: (request.url ?? '').replace(/^http:\/\/[^/]+/, ''),
      headers,
    })
    relayed.on('response', answer => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    relayed.on('error', () => response.destroy())
    request.pipe(relayed)
  })
  server.on('connect', (request, socket: Socket, head) => {
    asked.push(`CONNECT ${request.url}`)
    if (wanted !== undefined && request.headers['proxy-authorization'] !== wanted) {
      socket.end(
        'HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n',
      )
      return
    }
    const { hostname, port } = new URL(`http://${request.url}`)
    const target = names[hostname] ?? (port === '' ? 80 : Number(port))
    const onward = connect(target, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      onward.write(head)
      onward.pipe(socket)
      socket.pipe(onward)
    })
    for (const one of [onward, socket]) {
      sockets.add(one)
      one.on('error', () => {
        onward.destroy()
        socket.destroy()
      })
      one.on('close', () => sockets.delete(one))
    }
  })
  await listening(server)
  return {
    url: `http://${login === undefined ? '' : `${login}@`}127.0.0.1:${portOf(server)}`,
    asked,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.closeAllConnections()
      await new Promise(done => server.close(done))
    },
  }
}
