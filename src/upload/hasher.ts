/**
 * SHA-256 and CRC-32 off the main thread, which has TLS and sockets to serve. Small content is hashed where it is:
 * handing it over would cost more.
 */
import { hash } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import { crc32 } from 'node:zlib'
import type { HashReply, HashRequest } from './hash-worker.ts'

/** Below this, a message to another thread costs more than the hash (about 1 GB/s on one core). */
const inlineLimit = 128 * 1024

export interface ContentHash {
  /** hex, 64 digits */
  readonly sha256: string
  readonly crc32: number
  /** bytes that were hashed */
  readonly size: number
}

interface Pending {
  resolve(hash: ContentHash): void
  reject(error: Error): void
}

export class Hasher {
  readonly #workers: { worker: Worker; pending: Map<number, Pending> }[] = []
  readonly #threads: number
  #nextId = 1

  /** @param threads at least 1; they start when first needed */
  constructor(threads: number) {
    this.#threads = threads
  }

  /** Content in memory; a Buffer over shared memory is read in place. */
  async buffer(bytes: Buffer): Promise<ContentHash> {
    if (bytes.length <= inlineLimit || !(bytes.buffer instanceof SharedArrayBuffer)) {
      return { sha256: hash('sha256', bytes, 'hex'), crc32: crc32(bytes), size: bytes.length }
    }
    return this.#ask({ kind: 'buffer', memory: bytes.buffer, offset: bytes.byteOffset, length: bytes.length })
  }

  /** A file from start to end, by its descriptor. The thread reads it itself. */
  async file(descriptor: number): Promise<ContentHash> {
    return this.#ask({ kind: 'file', descriptor })
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map(({ worker }) => worker.terminate()))
  }

  #ask(request: HashRequest['task']): Promise<ContentHash> {
    const { worker, pending } = this.#leastBusy()
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      pending.set(id, { resolve, reject })
      worker.ref()
      worker.postMessage({ id, task: request } satisfies HashRequest)
    })
  }

  #leastBusy() {
    const idle = this.#workers.find(one => one.pending.size === 0)
    if (idle) return idle
    if (this.#workers.length < this.#threads) return this.#start()
    return this.#workers.reduce((least, one) => (one.pending.size < least.pending.size ? one : least))
  }

  #start() {
    // The file has the ending of this one: .ts from the sources, .js when built.
    const file = new URL(`./hash-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
    const pending = new Map<number, Pending>()
    const worker = new Worker(file)
    const entry = { worker, pending }
    worker.on('message', ({ id, result, error }: HashReply) => {
      const one = pending.get(id)
      pending.delete(id)
      if (pending.size === 0) worker.unref()
      if (result) one?.resolve(result)
      else one?.reject(Object.assign(new Error(error?.message ?? 'hashing failed'), { code: error?.code }))
    })
    worker.on('error', error => {
      this.#workers.splice(this.#workers.indexOf(entry), 1)
      for (const one of pending.values()) one.reject(error as Error)
    })
    worker.unref()
    this.#workers.push(entry)
    return entry
  }
}
