/**
 * Threads that read files and hash what they read, in one pass: opening, checking, reading, SHA-256, CRC-32, checking
 * again. Their file calls block, which costs a tenth of what handing each call to libuv's pool does, and the main
 * thread has sockets and TLS to serve in the meantime.
 */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type {
  NewFile,
  ReaderReply,
  ReaderRequest,
  ReaderTasks,
  Wanted,
  WritableFile,
} from './reader-thread.ts'
import { LocalFileError, localFileError, type Source } from './source.ts'

interface Pending {
  /** that the thread reads, writes or hashes for it */
  readonly bytes: number
  resolve(result: never): void
  reject(error: Error): void
}

interface Thread {
  readonly worker: Worker
  /** whose it is; undefined: nobody's */
  owner: Thread[] | undefined
  readonly pending: Map<number, Pending>
  /** of all that is pending */
  bytes: number
  /** when it answered last, or was asked while it had nothing to do: `performance.now()` */
  since: number
  /** asked for in this turn of the event loop; sent at its end in one message, as waking a thread is what costs */
  readonly outbox: ReaderRequest[]
  /** hashes of pieces that are under way in it */
  hashes: number
}

/** SHA-256 of what comes in pieces. */
interface PiecewiseHash {
  /** The next piece; it is shared memory, which may be used again once this resolves. */
  update(piece: Buffer): Promise<void>
  /** @returns hex */
  end(): Promise<string>
}

/** A thread holds nothing between its tasks; by itself V8 lets each make 32 MB of garbage before it looks. */
const resourceLimits = { maxYoungGenerationSizeMb: 4 }

/**
 * Another thread is started once all have so many bytes before them, or none has answered for so many milliseconds (a slow
 * disk, a network). One keeps up with thousands of small files, and each takes 50 ms of CPU and 17 MiB to learn what it does.
 */
const behind = { bytes: 4 * 1024 ** 2, ms: 50 }

/** Threads of readers that were closed, for the next ones of this process: a thread starts in some 30 ms, of CPU too. */
const idle: Thread[] = []

/** As many as cores: they are most of the work, and the system shares the cores out between them and the main thread. */
export function readerThreads(): number {
  return Math.min(4, availableParallelism())
}

export class Readers {
  readonly threads: number
  readonly #running: Thread[] = []
  #nextId = 1

  /** @param threads at most, at least 1; they start as they are needed, the first with {@link start} */
  constructor(threads: number) {
    this.threads = threads
  }

  /** Starts the first thread ahead of need: that takes some 30 ms. */
  start(): void {
    if (this.#running.length === 0) this.#startThread()
  }

  /**
   * Opens a track's file and, if it fits `memory`, reads it whole and hashes it.
   *
   * @param memory undefined: only opened, checked and closed
   * @param remembered an earlier hash of the file: while it is the same file, CRC-32 (several times as fast as SHA-256)
   *   confirms it
   * @returns the file, and its content's hash if it fitted
   * @throws LocalFileError
   */
  async load(
    request: Omit<ReaderTasks['load']['request'], 'memory'> & { memory: Buffer | undefined },
  ): Promise<ReaderTasks['load']['result']> {
    const { memory } = request
    return this.#ask('load', { ...request, memory: memory && sharedMemory(memory) }, memory?.length)
  }

  /**
   * Fills `target` from `offset` of an open file.
   * @returns the sums that were wanted, and `size`: bytes that were read, fewer only where the file ends
   * @throws the file system's error, with its code
   */
  async read(
    descriptor: number,
    target: Buffer,
    offset: number,
    wanted: Wanted,
  ): Promise<ReaderTasks['read']['result']> {
    return this.#ask('read', { descriptor, memory: sharedMemory(target), offset, ...wanted }, target.length)
  }

  /**
   * Writes `source` into a file at `offset`.
   * @returns the sums of it that were wanted, and the file's descriptor: of a new one it is the caller's to close
   * @throws the file system's error, with its code; a new file is closed then, and may be there
   */
  async write(
    file: WritableFile | NewFile,
    source: Buffer,
    offset: number,
    wanted: Wanted,
  ): Promise<ReaderTasks['write']['result']> {
    // It may wait for the disk, so the next one goes to another thread.
    return this.#ask('write', { file, memory: sharedMemory(source), offset, ...wanted }, behind.bytes)
  }

  /** @returns whether it is known that nothing at all has that name */
  async isFree(path: string): Promise<boolean> {
    return (await this.#ask('look', { path })).isFree
  }

  /**
   * Has what was written to an open file on the disk, then gives the file the name that it is to have, unless there is
   * something of that name; and closes it, whatever happens.
   * @param from its name so far
   * @returns `moved`, or if it has no other name: `taken`; `another` if its name so far is no longer its own; `no-links` if the
   *   file system has no hard links, which this takes
   * @throws the file system's error, with its code
   */
  async finish(
    from: string,
    to: string,
    descriptor: number,
  ): Promise<ReaderTasks['finish']['result']['end']> {
    return (await this.#ask('finish', { from, to, descriptor })).end
  }

  /** Hashes what comes in pieces, in one of the threads; {@link PiecewiseHash.end} has to be called in any case. */
  hashPieces(): PiecewiseHash {
    const hash = this.#nextId++
    const thread = this.#leastHashing()
    thread.hashes++
    let ended = false
    return {
      update: async piece => {
        await this.#tell(thread, 'digest', { hash, memory: sharedMemory(piece) }, piece.length)
      },
      end: async () => {
        if (ended) throw new Error('the hash has ended')
        ended = true
        thread.hashes--
        return (await this.#tell(thread, 'digest', { hash, memory: undefined })).sha256!
      },
    }
  }

  /**
   * Hashes an open file from start to end.
   * @param partSize bytes; the CRC-32 of each part comes along
   * @returns its hash, and `size`: bytes that were read
   * @throws LocalFileError
   */
  async hashSource(
    { descriptor, relative }: Pick<Source, 'descriptor' | 'relative'>,
    partSize?: number,
  ): Promise<ReaderTasks['hash']['result']> {
    return this.hash(descriptor, partSize).catch(error => {
      throw localFileError(error, relative)
    })
  }

  /** The same of what need not be a track's. @throws the file system's error, with its code */
  async hash(
    descriptor: number,
    partSize = Number.POSITIVE_INFINITY,
  ): Promise<ReaderTasks['hash']['result']> {
    // Of whatever size, it is enough for a thread.
    return this.#ask('hash', { descriptor, partSize }, behind.bytes)
  }

  /** Keeps what is idle for the next readers, and ends what is in the middle of something. */
  async close(): Promise<void> {
    await Promise.all(
      this.#running.splice(0).map(async thread => {
        const isIdle = thread.pending.size === 0 && thread.hashes === 0
        thread.owner = isIdle ? idle : undefined
        if (isIdle) idle.push(thread)
        else await thread.worker.terminate()
      }),
    )
  }

  #ask<K extends keyof ReaderTasks>(
    kind: K,
    request: ReaderTasks[K]['request'],
    bytes = 0,
  ): Promise<ReaderTasks[K]['result']> {
    return this.#tell(this.#leastBusy(), kind, request, bytes)
  }

  #tell<K extends keyof ReaderTasks>(
    thread: Thread,
    kind: K,
    request: ReaderTasks[K]['request'],
    bytes = 0,
  ): Promise<ReaderTasks[K]['result']> {
    const { worker, pending, outbox } = thread
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      if (pending.size === 0) thread.since = performance.now()
      pending.set(id, { bytes, resolve, reject })
      thread.bytes += bytes
      worker.ref()
      outbox.push({ id, kind, request } as ReaderRequest)
      if (outbox.length === 1) setImmediate(() => worker.postMessage(outbox.splice(0)))
    })
  }

  #leastBusy(): Thread {
    this.start()
    const least = this.#running.reduce((least, one) => (one.pending.size < least.pending.size ? one : least))
    const late = performance.now() - behind.ms
    const areBehind = this.#running.every(
      ({ pending, bytes, since }) => pending.size > 0 && (bytes >= behind.bytes || since < late),
    )
    return areBehind && this.#running.length < this.threads ? this.#startThread() : least
  }

  #leastHashing(): Thread {
    const free = this.#running.find(one => one.hashes === 0)
    if (free) return free
    if (this.#running.length < this.threads) return this.#startThread()
    return this.#running.reduce((least, one) => (one.hashes < least.hashes ? one : least))
  }

  #startThread(): Thread {
    const thread = idle.pop() ?? newThread()
    thread.owner = this.#running
    this.#running.push(thread)
    return thread
  }
}

function newThread(): Thread {
  // The file has the ending of this one: .ts from the sources, .js when built.
  const ending = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  const thread: Thread = {
    worker: new Worker(new URL(`./reader-thread${ending}`, import.meta.url), {
      resourceLimits,
      // Files are opened in one thread and closed in another.
      trackUnmanagedFds: false,
    }),
    owner: undefined,
    pending: new Map(),
    bytes: 0,
    since: 0,
    outbox: [],
    hashes: 0,
  }
  const { worker, pending } = thread
  worker.on('message', (replies: readonly ReaderReply[]) => {
    for (const reply of replies) {
      const one = pending.get(reply.id)
      pending.delete(reply.id)
      thread.bytes -= one?.bytes ?? 0
      if ('result' in reply) one?.resolve(reply.result as never)
      else one?.reject(errorOf(reply.error))
    }
    thread.since = performance.now()
    if (pending.size === 0) worker.unref()
  })
  worker.on('error', error => {
    thread.owner?.splice(thread.owner.indexOf(thread), 1)
    for (const one of pending.values()) one.reject(error as Error)
  })
  worker.unref()
  return thread
}

/** Errors lose their class and their code between threads. */
function errorOf({ problem, message, cure, code }: Extract<ReaderReply, { error: unknown }>['error']): Error {
  if (problem !== undefined) return new LocalFileError(problem, message, cure ?? '')
  return Object.assign(new Error(message), { code })
}

function sharedMemory(bytes: Buffer): { buffer: SharedArrayBuffer; offset: number; length: number } {
  if (!(bytes.buffer instanceof SharedArrayBuffer)) throw new TypeError('the memory is not shared')
  return { buffer: bytes.buffer, offset: bytes.byteOffset, length: bytes.length }
}
