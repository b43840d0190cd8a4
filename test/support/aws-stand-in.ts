/** A server that answers as IAM or STS would: one answer to whatever is asked, until another is set. */
import http from 'node:http'
import { afterAll, beforeAll } from 'vitest'
import { end, listening, urlOf } from './listening.ts'

interface AwsStandIn {
  /** there once the tests run */
  endpoint: string
  answer: [status: number, body: string]
  /** bodies of the requests so far */
  readonly asked: string[]
}

/** Call it where tests are defined; the server ends with the test file. */
export function awsStandIn(): AwsStandIn {
  const standIn: AwsStandIn = { endpoint: '', answer: [500, ''], asked: [] }
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const [status, body] = standIn.answer
      standIn.asked.push(Buffer.concat(chunks).toString())
      response.writeHead(status, { 'content-type': 'text/xml' }).end(body)
    })
  })
  beforeAll(async () => {
    await listening(server)
    standIn.endpoint = urlOf(server)
  })
  afterAll(() => end(server))
  return standIn
}
