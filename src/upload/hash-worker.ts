/** The thread behind `hasher.ts`. */
import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { crc32 } from 'node:zlib'
import type { ContentHash } from './hasher.ts'

export interface HashRequest {
  readonly id: number
  readonly task:
    | {
        readonly kind: 'buffer'
        readonly memory: SharedArrayBuffer
        readonly offset: number
        readonly length: number
      }
    | { readonly kind: 'file'; readonly descriptor: number }
}

export interface HashReply {
  readonly id: number
  readonly result?: ContentHash
  readonly error?: { readonly message: string; readonly code: string | undefined }
}

/** Bytes hashed at a time: they fit the second-level cache, where CRC finds what SHA has just read. */
const chunkSize = 256 * 1024
let chunk: Buffer | undefined

function hashFile(descriptor: number): ContentHash {
  chunk ??= Buffer.allocUnsafeSlow(chunkSize)
  const sha = createHash('sha256')
  let crc = 0
  let size = 0
  for (;;) {
    const read = readSync(descriptor, chunk, 0, chunkSize, size)
    if (read === 0) break
    const bytes = chunk.subarray(0, read)
    sha.update(bytes)
    crc = crc32(bytes, crc)
    size += read
  }
  return { sha256: sha.digest('hex'), crc32: crc, size }
}

function hashBytes(bytes: Buffer): ContentHash {
  const sha = createHash('sha256')
  let crc = 0
  for (let offset = 0; offset < bytes.length; offset += chunkSize) {
    const part = bytes.subarray(offset, offset + chunkSize)
    sha.update(part)
    crc = crc32(part, crc)
  }
  return { sha256: sha.digest('hex'), crc32: crc, size: bytes.length }
}

parentPort?.on('message', ({ id, task }: HashRequest) => {
  let reply: HashReply
  try {
    if (task.kind === 'file') {
      reply = { id, result: hashFile(task.descriptor) }
    } else {
      reply = { id, result: hashBytes(Buffer.from(task.memory, task.offset, task.length)) }
    }
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    reply = { id, error: { message, code } }
  }
  parentPort?.postMessage(reply)
})
