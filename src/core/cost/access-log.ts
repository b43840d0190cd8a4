/** CloudFront's standard access logs (W3C, tabs between fields), counted line by line. Pure. */

export interface Traffic {
  requests: number
  /** to viewers */
  bytes: number
  /** answered by the edge without asking the bucket */
  hits: number
  /** HTTP 4xx and 5xx */
  clientErrors: number
  serverErrors: number
}

const noTraffic = (): Traffic => ({ requests: 0, bytes: 0, hits: 0, clientErrors: 0, serverErrors: 0 })

/** `x-edge-result-type`: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html */
const hits: ReadonlySet<string> = new Set(['Hit', 'RefreshHit', 'OriginShieldHit'])

/** Counts the lines of one log file; each file says in its head which fields it has. */
export class AccessLogCounter {
  readonly traffic = noTraffic()
  /** lines that are none of a log */
  unread = 0
  #fields: readonly string[] = []
  readonly #since: string

  /** @param since earlier lines do not count */
  constructor(since: Date) {
    this.#since = since.toISOString().slice(0, 19)
  }

  /** A new file begins. */
  begin(): void {
    this.#fields = []
  }

  line(line: string): void {
    if (line === '') return
    if (line.startsWith('#')) {
      const [, fields] = /^#Fields:\s*(.*)$/.exec(line) ?? []
      if (fields !== undefined) this.#fields = fields.split(/\s+/)
      return
    }
    const values = line.split('\t')
    const of = (name: string): string | undefined => values[this.#fields.indexOf(name)]
    const [date, time, bytes, status] = [
      of('date'),
      of('time'),
      Number(of('sc-bytes')),
      Number(of('sc-status')),
    ]
    if (date === undefined || !Number.isFinite(bytes) || !Number.isFinite(status)) {
      this.unread++
      return
    }
    if (`${date}T${time ?? '00:00:00'}` < this.#since) return
    this.traffic.requests++
    this.traffic.bytes += bytes
    if (hits.has(of('x-edge-result-type') ?? '')) this.traffic.hits++
    // 000: the viewer hung up before there was an answer.
    if (status >= 400 && status < 500) this.traffic.clientErrors++
    else if (status >= 500) this.traffic.serverErrors++
  }
}
