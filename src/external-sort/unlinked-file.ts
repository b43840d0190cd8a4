import { type FileHandle, open, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { systemErrorCode, TemporaryError } from '../errors.ts'

/**
 * A temporary file that is made by the first write and unlinked as soon as it is open: not even kill -9 leaves it
 * behind. One writer at a time.
 */
export class UnlinkedFile {
  /** bytes written */
  end = 0
  #handle: FileHandle | undefined
  readonly #path: string

  /** @param folder must exist; @param name one that nobody else opens at the same moment */
  constructor(folder: string, name: string) {
    this.#path = path.join(folder, name)
  }

  /** @throws TemporaryError `temp.full` */
  async append(bytes: Uint8Array): Promise<void> {
    try {
      if (this.#handle === undefined) {
        this.#handle = await open(this.#path, 'wx+', 0o600)
        await unlink(this.#path)
      }
      for (let offset = 0; offset < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(bytes, offset, bytes.length - offset, this.end)
        offset += bytesWritten
        this.end += bytesWritten
      }
    } catch (error) {
      const code = systemErrorCode(error)
      if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
      throw new TemporaryError(`the temporary folder ${tmpdir()} is full`, {
        code: 'temp.full',
        cause: error,
      })
    }
  }

  /** Reads into `target`. @returns how many bytes; 0 beyond the end */
  async read(target: Buffer, offset: number, length: number, position: number): Promise<number> {
    if (this.#handle === undefined) return 0
    return (await this.#handle.read(target, offset, length, position)).bytesRead
  }

  async close(): Promise<void> {
    await this.#handle?.close()
    this.#handle = undefined
  }
}
