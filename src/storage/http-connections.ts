/**
 * Connections that lean requests go out on: node:net or node:tls, kept alive, nothing else. node:http's client costs as
 * much CPU for a small file as everything else about it; see docs/decisions/0014-lean-put-path.md.
 */
import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectSecure, type SecureContext } from 'node:tls'
import {
  type HttpAnswer,
  type HttpHead,
  parseHttpAnswer,
  parseHttpHead,
  plainLength,
} from '../core/storage/http-answer.ts'
import { systemErrorCode, toError } from '../errors.ts'
import { openTunnel } from '../network.ts'
import { Pace } from './pace.ts'

interface ConnectionsOptions {
  secure: boolean
  host: string
  port: number
  /** connections at most; further requests wait */
  maxSockets: number
  timeouts: { connectMs: number; idleMs: number }
  secureContext: () => SecureContext
  /** URL of the proxy that leads to a secure host; a plain host's proxy is that host itself */
  proxy?: string
}

interface RawRequest {
  /** request line and headers, with the empty line that ends them; latin1 */
  head: string
  body: Uint8Array
  /**
   * where the body of a 200 or 206 goes; undefined: answers are small and kept whole. The answer then says how many
   * bytes arrived in `received`. What does not fit, or has no length, breaks the exchange off with `ERR_BODY_SIZE`.
   */
  into?: Uint8Array | undefined
  /** it is a HEAD: its answer has no body */
  isHead?: boolean
  /** waits for `100 Continue` before the body, for a second at most: not every server knows it */
  askFirst: boolean
  signal: AbortSignal | undefined
}

/** An answer, with the bytes of its body that went `into` the request's buffer. */
export type ConnectionAnswer = HttpAnswer & { readonly received?: number }

/** A request that got no answer. */
interface Unanswered {
  /** Node.js's error code, or `TimeoutError`, or `AbortError` */
  code: string | undefined
  message: string
  cause: Error
  /** the connection was reset before anything was answered */
  brokenOff: boolean
}

/** Bodies are written in slices of this size, so that a slow link is seen to move and TLS does not copy them whole. */
const sliceBytes = 512 * 1024
/**
 * Sockets read answers into a buffer of this size that is used again, rather than into a new one for every packet. A body
 * that is wanted in memory is read there itself, without a copy, once its head has come this way.
 */
const headBytes = 16 * 1024
/** How long to wait for `100 Continue`, ms. */
const continueWait = 1000

export class Connections {
  readonly #options: ConnectionsOptions
  /** most recently used last: few warm connections rather than many lukewarm ones */
  readonly #free: Connection[] = []
  readonly #all = new Set<Connection>()
  readonly #waiting: ((connection: Connection | Promise<Connection> | undefined) => void)[] = []
  /** tunnels through a proxy that are being made */
  #opening = 0
  #destroyed = false
  #session: Buffer | undefined

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** Sends one request. Never throws for what the network does. */
  async send(request: RawRequest): Promise<ConnectionAnswer | Unanswered> {
    let connection: Connection | undefined
    try {
      connection = await this.#take()
    } catch (error) {
      return unanswered(toError(error), false)
    }
    if (!connection) return unanswered(hangUp(), false)
    const answer = await connection.exchange(request)
    this.#giveBack(connection)
    return answer
  }

  /** Ends the connections that nobody uses now. */
  closeIdle(): void {
    for (const free of this.#free.splice(0)) {
      this.#all.delete(free)
      free.destroy()
    }
  }

  /** Ends all connections; requests under way fail as broken off. */
  destroy(): void {
    this.#destroyed = true
    for (const waiting of this.#waiting.splice(0)) waiting(undefined)
    for (const connection of this.#all) connection.destroy()
  }

  #take(): Connection | undefined | Promise<Connection | undefined> {
    if (this.#destroyed) return undefined
    for (let free = this.#free.pop(); free; free = this.#free.pop()) {
      if (free.usable) return free
      this.#all.delete(free)
    }
    if (this.#all.size + this.#opening < this.#options.maxSockets) return this.#open()
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  #giveBack(connection: Connection): void {
    const next = this.#waiting.shift()
    if (!connection.usable) {
      this.#all.delete(connection)
      next?.(this.#open())
    } else if (next) next(connection)
    else {
      connection.rest()
      this.#free.push(connection)
    }
  }

  #open(): Connection | Promise<Connection> {
    const { secure, host, port, timeouts, proxy } = this.#options
    if (!secure || proxy === undefined) return this.#connect(undefined)
    this.#opening++
    return openTunnel(proxy, `${isIP(host) === 6 ? `[${host}]` : host}:${port}`, timeouts.connectMs)
      .finally(() => {
        this.#opening--
      })
      .then(
        tunnel => this.#connect(tunnel),
        (error: unknown) => {
          // Whoever waits behind this one tries it for himself.
          this.#waiting.shift()?.(this.#destroyed ? undefined : this.#open())
          throw error
        },
      )
  }

  #connect(tunnel: Socket | undefined): Connection {
    const { secure, host, port, secureContext } = this.#options
    const heads = Buffer.allocUnsafeSlow(headBytes)
    let connection: Connection | undefined
    const onread = {
      // Asked for after each read, and once before there is a connection.
      buffer: () => connection?.bodyTarget() ?? heads,
      callback: (bytes: number, buffer: Uint8Array): boolean => {
        if (buffer === heads) connection?.receive(buffer.subarray(0, bytes))
        else connection?.advance(bytes)
        return true
      },
    }
    const way = tunnel === undefined ? { host, port, onread } : { host, socket: tunnel }
    const socket = secure
      ? connectSecure({
          ...way,
          // SNI has no addresses; the certificate is then checked against `host`.
          servername: isIP(host) ? '' : host,
          secureContext: secureContext(),
          ALPNProtocols: ['http/1.1'],
          session: this.#session,
        } as ConnectionOptions)
      : connectPlain({ host, port, onread })
    // Through a tunnel Node.js takes no notice of `onread`.
    if (tunnel !== undefined) socket.on('data', (bytes: Buffer) => connection?.receive(bytes))
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 1000)
    if (secure) socket.on('session', session => (this.#session = session))
    // Without it the end of a stream that nobody reads is not told.
    socket.resume()
    const made = new Connection(socket, secure, this.#options.timeouts, () => {
      const index = this.#free.indexOf(made)
      if (index < 0) return
      this.#free.splice(index, 1)
      this.#all.delete(made)
    })
    connection = made
    this.#all.add(made)
    return made
  }
}

interface Exchange {
  readonly request: RawRequest
  readonly resolve: (answer: ConnectionAnswer | Unanswered) => void
  /** bytes of the body that were handed to the socket */
  written: number
  mayWrite: boolean
  /** set when the last slice has left for the kernel */
  flushed: boolean
  /** why we broke off ourselves; what the socket reports afterwards is only a consequence */
  stopped: Error | undefined
  waitingToContinue: NodeJS.Timeout | undefined
  /** set while the body of the answer goes into the request's buffer */
  filling: Filling | undefined
  /** set once the answer begins */
  pace: Pace | undefined
  /** bytes of the answer */
  answered: number
}

/** The body of an answer on its way into the request's buffer. */
interface Filling {
  readonly head: HttpHead
  readonly target: Uint8Array
  readonly size: number
  at: number
}

/** One socket, one request at a time. */
class Connection {
  readonly #socket: Socket
  readonly #graceMs: number
  #usable = true
  #ended = false
  #received: Buffer | undefined
  #current: Exchange | undefined
  #error: Error | undefined

  constructor(
    socket: Socket,
    secure: boolean,
    timeouts: ConnectionsOptions['timeouts'],
    onClosed: () => void,
  ) {
    this.#socket = socket
    this.#graceMs = timeouts.idleMs
    const connecting = setTimeout(
      () => this.#stop('TimeoutError', `no connection within ${timeouts.connectMs} ms`),
      timeouts.connectMs,
    )
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      clearTimeout(connecting)
    })
    socket.setTimeout(timeouts.idleMs, () => {
      if (this.#current) this.#stop('TimeoutError', `no data moved for ${timeouts.idleMs} ms`)
      else this.destroy()
    })
    socket.on('drain', () => this.#write())
    socket.on('end', () => {
      this.#ended = true
      this.#usable = false
      if (this.#current) this.#read()
    })
    socket.on('error', error => {
      this.#error = error
    })
    socket.on('close', () => {
      clearTimeout(connecting)
      this.#usable = false
      this.#fail(this.#error ?? hangUp())
      onClosed()
    })
  }

  /** Whether another request can go out on it. */
  get usable(): boolean {
    return this.#usable
  }

  /** Idle connections do not keep the process alive. */
  rest(): void {
    this.#socket.unref()
  }

  destroy(): void {
    this.#usable = false
    this.#socket.destroy()
  }

  exchange(request: RawRequest): Promise<ConnectionAnswer | Unanswered> {
    return new Promise(resolve => {
      const current: Exchange = {
        request,
        resolve,
        written: 0,
        mayWrite: !request.askFirst,
        flushed: false,
        stopped: undefined,
        waitingToContinue: undefined,
        filling: undefined,
        pace: undefined,
        answered: 0,
      }
      this.#current = current
      if (this.#socket.destroyed) {
        // Closed by the other side between two requests.
        this.#fail(this.#error ?? hangUp())
        return
      }
      this.#socket.ref()
      request.signal?.addEventListener('abort', this.#onAbort, { once: true })
      if (request.signal?.aborted) {
        this.#onAbort()
        return
      }
      // Together, so that a small request is one packet and one system call.
      this.#socket.cork()
      this.#socket.write(request.head, 'latin1')
      if (request.askFirst) current.waitingToContinue = setTimeout(() => this.#continue(), continueWait)
      this.#write()
      this.#socket.uncork()
    })
  }

  readonly #onAbort = (): void => this.#stop('AbortError', 'aborted')

  #continue(): void {
    const current = this.#current
    if (!current || current.mayWrite) return
    clearTimeout(current.waitingToContinue)
    current.mayWrite = true
    this.#write()
  }

  /** Hands the socket as much of the body as it takes. */
  #write(): void {
    const current = this.#current
    if (!current?.mayWrite) return
    const { body } = current.request
    let more = true
    while (more && current.written < body.byteLength) {
      const slice = body.subarray(current.written, current.written + sliceBytes)
      current.written += slice.byteLength
      if (current.written < body.byteLength) {
        more = this.#socket.write(slice)
      } else {
        this.#socket.write(slice, () => {
          current.flushed = true
        })
      }
    }
    if (body.byteLength === 0) current.flushed = true
  }

  /** The rest of the memory that the body under way goes into, for the socket to read there; undefined: there is none. */
  bodyTarget(): Uint8Array | undefined {
    const filling = this.#current?.filling
    return filling?.target.subarray(filling.at, filling.size)
  }

  /** So many bytes more of the body lie in {@link bodyTarget}: TLS brings 16 KiB at a time, so this is to be short. */
  advance(bytes: number): void {
    const current = this.#current
    const filling = current?.filling
    if (filling === undefined) return
    if (!this.#keepsPace(bytes)) return
    filling.at += bytes
    if (filling.at === filling.size) this.#endFilling(filling, false)
  }

  /** @param chunk is used again by the socket: what is kept of it is copied */
  receive(chunk: Uint8Array): void {
    if (!this.#keepsPace(chunk.byteLength)) return
    const rest = this.#fill(chunk)
    if (rest.length === 0) return
    this.#received = this.#received ? Buffer.concat([this.#received, rest]) : Buffer.from(rest)
    if (this.#current) this.#read()
    // Nobody asked: whatever follows would be taken for the answer to another request.
    else this.destroy()
  }

  /** Whether the answer comes fast enough, with these bytes; if not, it is given up. */
  #keepsPace(bytes: number): boolean {
    const current = this.#current
    if (current === undefined) return true
    current.pace ??= new Pace(this.#graceMs)
    current.answered += bytes
    const problem = current.pace.problem(current.answered)
    if (problem !== undefined) this.#stop('TimeoutError', problem.message)
    return problem === undefined
  }

  #read(): void {
    for (let current = this.#current; current && current === this.#current; ) {
      let answer: HttpAnswer | undefined
      try {
        if (this.#beginFilling(current)) return
        answer = parseHttpAnswer(this.#received ?? Buffer.alloc(0), this.#ended, current.request.isHead)
      } catch (error) {
        current.stopped = toError(error)
        this.destroy()
        return
      }
      if (!answer) return
      const rest = (this.#received as Buffer).subarray(answer.length)
      this.#received = rest.length > 0 ? rest : undefined
      if (answer.status === 100) this.#continue()
      if (answer.status < 200) continue
      if (!answer.keepAlive || this.#received) this.#usable = false
      // Refused before the body was through: what is left of it must not be taken for the next request.
      if (!current.flushed) this.#usable = false
      this.#finish(answer)
    }
  }

  /** @returns whether what has come is, or may yet be, an answer whose body goes into the request's buffer */
  #beginFilling(current: Exchange): boolean {
    const target = current.request.into
    if (target === undefined) return false
    if (current.filling !== undefined) {
      if (this.#ended) this.destroy()
      return true
    }
    const received = this.#received
    const head = received && parseHttpHead(received)
    if (received === undefined || head === undefined) return !this.#ended
    if (head.status !== 200 && head.status !== 206) return false
    const size = plainLength(head.headers)
    if (size === undefined || size > target.byteLength) {
      throw Object.assign(new Error(`a body of ${size ?? 'unknown'} bytes for ${target.byteLength}`), {
        code: 'ERR_BODY_SIZE',
      })
    }
    current.filling = { head, target, size, at: 0 }
    this.#received = undefined
    const rest = this.#fill(received.subarray(head.length))
    if (rest.length > 0) this.destroy()
    return true
  }

  /** Takes of `chunk` what belongs to a body that is being filled in. @returns the rest */
  #fill(chunk: Uint8Array): Uint8Array {
    const current = this.#current
    const filling = current?.filling
    if (filling === undefined) return chunk
    const mine = chunk.subarray(0, filling.size - filling.at)
    filling.target.set(mine, filling.at)
    filling.at += mine.byteLength
    const rest = chunk.subarray(mine.byteLength)
    if (filling.at === filling.size) this.#endFilling(filling, rest.length > 0)
    return rest
  }

  /** @param isFollowed more came than the body has */
  #endFilling({ head, size }: Filling, isFollowed: boolean): void {
    const { status, headers, length, mayFollow } = head
    if (!mayFollow || isFollowed) this.#usable = false
    this.#finish({ status, headers, body: '', keepAlive: mayFollow, length: length + size, received: size })
  }

  #finish(answer: ConnectionAnswer): void {
    const current = this.#settle()
    if (!this.#usable) this.destroy()
    current?.resolve(answer)
  }

  #stop(code: string, message: string): void {
    const stopped = Object.assign(new Error(message), { code })
    if (this.#current) this.#current.stopped ??= stopped
    this.#error ??= stopped
    this.destroy()
  }

  #fail(error: Error): void {
    const current = this.#settle()
    if (!current) return
    current.resolve(unanswered(current.stopped ?? error, !current.filling && this.#received === undefined))
  }

  #settle(): Exchange | undefined {
    const current = this.#current
    if (!current) return undefined
    this.#current = undefined
    clearTimeout(current.waitingToContinue)
    current.request.signal?.removeEventListener('abort', this.#onAbort)
    return current
  }
}

function hangUp(): Error {
  return Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
}

/** @param silent nothing at all was answered */
function unanswered(cause: Error, silent: boolean): Unanswered {
  const code = systemErrorCode(cause)
  const reset = code === 'ECONNRESET' || code === 'EPIPE'
  return { code, message: cause.message, cause, brokenOff: silent && reset }
}
