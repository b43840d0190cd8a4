/**
 * A link to an S3 server that carries so many bytes and then nothing: what a kill in the middle of an upload is
 * measured out by, since milliseconds are much on one machine and nothing on another. A run behind it cannot end before
 * it is killed, however fast the machine is.
 */
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { listening, urlOf } from './listening.ts'
import { start } from './process.ts'

/** How a link breaks off: in the middle of a body, or with a body wholly arrived and its answer lost. */
type BreakOff = 'in a body' | 'before an answer'

export class NarrowLink {
  readonly #server: http.Server
  readonly #target: URL
  /** Bodies under way at once. Few, so that some are through before the others have begun. */
  readonly #lanes = pLimit(2)
  /** Size of each object and part that the server has confirmed. */
  readonly #stored = new Map<string, number>()
  readonly #requests = new Set<Promise<unknown>>()
  /** bytes that still go through */
  #left = Number.POSITIVE_INFINITY
  #how: BreakOff = 'in a body'
  /** the request whose body used up the link */
  #last: IncomingMessage | undefined
  #brokenOff = Promise.withResolvers<void>()
  #wider = Promise.withResolvers<void>()

  constructor(target: string) {
    this.#target = new URL(target)
    this.#server = http.createServer((request, response) => this.#relay(request, response))
  }

  static async open(target: string): Promise<NarrowLink> {
    const link = new NarrowLink(target)
    await listening(link.#server)
    return link
  }

  get url(): string {
    return urlOf(this.#server)
  }

  /** Bytes of all objects and parts that the server has confirmed, whether or not the answer went on; each counts once. */
  get stored(): number {
    return this.#stored.values().reduce((sum, bytes) => sum + bytes, 0)
  }

  /**
   * Carries so many more bytes of bodies; what was held up goes on. Resolves when they are used up: nothing goes through
   * any more then.
   */
  carry(bytes: number, how: BreakOff = 'in a body'): Promise<void> {
    this.#left = bytes
    this.#how = how
    this.#last = undefined
    this.#brokenOff = Promise.withResolvers()
    this.#wider.resolve()
    this.#wider = Promise.withResolvers()
    return this.#brokenOff.promise
  }

  /**
   * Drops all connections, as is due when their process is dead: one that is held up would not notice. Resolves when all
   * requests are over, those that had arrived being answered.
   */
  async hangUp(): Promise<void> {
    this.#server.closeAllConnections()
    await Promise.all(this.#requests)
  }

  async close(): Promise<void> {
    await this.hangUp()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #relay(request: IncomingMessage, response: ServerResponse): void {
    const forward = http.request(this.#target, {
      method: request.method,
      path: request.url,
      // Host too, as it was signed.
      headers: request.rawHeaders,
    })
    let arrived = false
    let refused = false
    const gone = new Promise<void>(resolve => response.once('close', resolve))
    gone.then(() => {
      // What has arrived whole is answered whether or not anybody listens.
      if (!arrived) forward.destroy()
    })
    const answered = new Promise<void>(resolve => forward.once('close', resolve))
    const over: Promise<unknown> = Promise.all([gone, answered]).finally(() => this.#requests.delete(over))
    this.#requests.add(over)
    forward.on('error', () => response.destroy())
    forward.on('response', answer => {
      this.#note(request, answer.statusCode as number)
      if (request === this.#last && this.#how === 'before an answer') {
        answer.resume()
        this.#brokenOff.resolve()
        return
      }
      refused = !arrived
      response.writeHead(answer.statusCode as number, answer.rawHeaders)
      answer.pipe(response)
      gone.then(() => answer.resume())
    })
    const size = Number(request.headers['content-length'] ?? 0)
    if (request.method !== 'PUT' || size === 0) {
      arrived = true
      request.pipe(forward)
      return
    }
    this.#lanes(async () => {
      const body = async (): Promise<void> => {
        for await (const chunk of request as AsyncIterable<Buffer>) {
          for (let rest = chunk; rest.length > 0; ) {
            const goesOn = request === this.#last && this.#how === 'before an answer'
            const passes = goesOn ? rest.length : Math.min(rest.length, this.#left)
            if (!goesOn) this.#left -= passes
            if (passes > 0 && !forward.write(rest.subarray(0, passes)))
              await new Promise(resolve => forward.once('drain', resolve))
            rest = rest.subarray(passes)
            if (rest.length > 0) await Promise.race([this.#breakOff(request, refused), gone])
            if (response.destroyed) return
          }
        }
        arrived = true
        forward.end()
        await answered
      }
      await Promise.race([body().catch(() => forward.destroy()), gone])
    })
  }

  /**
   * The link is used up in the middle of this body. Resolves when the body may go on.
   *
   * @param refused whether the server has answered before the body was there: no answer can be lost then
   */
  async #breakOff(request: IncomingMessage, refused: boolean): Promise<void> {
    if (this.#last === undefined) {
      this.#last = request
      if (refused) this.#how = 'in a body'
      if (this.#how === 'before an answer') return
      this.#brokenOff.resolve()
    }
    await this.#wider.promise
  }

  #note(request: IncomingMessage, status: number): void {
    if (request.method !== 'PUT' || status !== 200) return
    const { pathname, searchParams } = new URL(request.url as string, this.#target)
    this.#stored.set(
      `${pathname} ${searchParams.get('partNumber')}`,
      Number(request.headers['content-length']),
    )
  }
}

/**
 * Runs the program again and again, each time killed -9 while it uploads. Where: at a random byte, so chosen that the
 * work lasts for all kills; the answer is lost every third time; and a random moment later, so that what the program
 * does meanwhile with what it has heard (its commits) is cut off as well.
 *
 * @param total bytes of everything there is to upload
 * @param largest bytes of the largest body
 * @throws when a run ends by itself
 */
export async function killUploads(
  link: NarrowLink,
  { kills, total, largest }: { kills: number; total: number; largest: number },
  argv: readonly string[],
  env: Record<string, string>,
): Promise<void> {
  for (let kill = 0; kill < kills; kill++) {
    // What goes through is at most the portion and the body that it ends in: never all that is left.
    const left = total - link.stored
    const portion = Math.min((2 * Math.random() * left) / (kills - kill + 1), left - 2 * largest)
    const how: BreakOff = kill % 3 === 1 && portion > 0 ? 'before an answer' : 'in a body'
    const brokenOff = link.carry(Math.max(0, Math.floor(portion)), how)
    const { child, finished } = start(argv, { ...env, S3_ENDPOINT: link.url })
    const ended = await Promise.race([brokenOff, finished])
    if (ended)
      throw new Error(`kill ${kill + 1}: the run ended by itself, with ${ended.code}: ${ended.stderr}`)
    await sleep(Math.random() ** 2 * 200)
    child.kill('SIGKILL')
    const { signal, code, stderr } = await finished
    if (signal !== 'SIGKILL') throw new Error(`kill ${kill + 1}: ended with ${code}: ${stderr}`)
    await link.hangUp()
  }
  link.carry(Number.POSITIVE_INFINITY)
}
