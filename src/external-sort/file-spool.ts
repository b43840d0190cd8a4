import type { SortedRecord, Spool, Tags } from '../core/reconcile/records.ts'
import { UnlinkedFile } from './unlinked-file.ts'

/** Bytes written, and read, at a time; a record that is longer has a chunk of its own. */
const chunkBytes = 256 * 1024
/** Three tags, and the lengths of key and value: 32 bits each. */
const header = 20

/** Records in chunks, one after the other in a temporary file; of few enough, all stay in memory. */
export class FileSpool implements Spool {
  readonly #file: UnlinkedFile
  readonly #chunks: { start: number; length: number }[] = []
  #chunk: Buffer = Buffer.alloc(0)
  #used = 0
  #spare: Buffer | undefined
  #writing: Promise<void> = Promise.resolve()

  /** @param folder where the temporary file goes; must exist */
  constructor(folder: string, name: string) {
    this.#file = new UnlinkedFile(folder, `${name}.spool`)
  }

  add(tags: Tags, key: string, value: string): Promise<void> | undefined {
    // A UTF-16 unit is at most three bytes of UTF-8.
    const atMost = header + 3 * (key.length + value.length)
    let written: Promise<void> | undefined
    if (this.#used + atMost > this.#chunk.length) {
      if (this.#used > 0) written = this.#flush()
      if (atMost > this.#chunk.length) this.#chunk = Buffer.allocUnsafeSlow(Math.max(chunkBytes, atMost))
    }
    const chunk = this.#chunk
    const used = this.#used
    const keyLength = chunk.write(key, used + header, 'utf8')
    const valueLength = chunk.write(value, used + header + keyLength, 'utf8')
    chunk.writeUInt32LE(tags[0], used)
    chunk.writeUInt32LE(tags[1], used + 4)
    chunk.writeUInt32LE(tags[2], used + 8)
    chunk.writeUInt32LE(keyLength, used + 12)
    chunk.writeUInt32LE(valueLength, used + 16)
    this.#used = used + header + keyLength + valueLength
    return written
  }

  async *replay(wanted: (...tags: Tags) => boolean): AsyncGenerator<SortedRecord[]> {
    await this.#writing
    let buffer = Buffer.allocUnsafeSlow(chunkBytes)
    for (const { start, length } of this.#chunks) {
      if (length > buffer.length) buffer = Buffer.allocUnsafeSlow(length)
      for (let offset = 0; offset < length; ) {
        const read = await this.#file.read(buffer, offset, length - offset, start + offset)
        if (read === 0) throw new Error('the temporary file is shorter than what was written to it')
        offset += read
      }
      const records = recordsOf(buffer, length, wanted)
      if (records.length > 0) yield records
    }
    const records = recordsOf(this.#chunk, this.#used, wanted)
    if (records.length > 0) yield records
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {})
    await this.#file.close()
  }

  #flush(): Promise<void> {
    const [full, length] = [this.#chunk, this.#used]
    this.#chunk = this.#spare ?? Buffer.alloc(0)
    this.#spare = undefined
    this.#used = 0
    this.#writing = this.#writing.then(async () => {
      this.#chunks.push({ start: this.#file.end, length })
      await this.#file.append(full.subarray(0, length))
      this.#spare = full
    })
    return this.#writing
  }
}

function recordsOf(chunk: Buffer, length: number, wanted: (...tags: Tags) => boolean): SortedRecord[] {
  const records: SortedRecord[] = []
  for (let at = 0; at < length; ) {
    const keyEnd = at + header + chunk.readUInt32LE(at + 12)
    const end = keyEnd + chunk.readUInt32LE(at + 16)
    if (wanted(chunk.readUInt32LE(at), chunk.readUInt32LE(at + 4), chunk.readUInt32LE(at + 8)))
      records.push([chunk.toString('utf8', at + header, keyEnd), chunk.toString('utf8', keyEnd, end)])
    at = end
  }
  return records
}
