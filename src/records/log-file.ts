/** The log file: each line with its time and level, appended, as text or as JSON. */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import { printable } from '../core/units.ts'
import { systemErrorReason, UsageError } from '../errors.ts'
import { refuseUnreadPipe } from '../named-files.ts'
import type { Entry } from '../report/entry.ts'
import { jsonSchemaVersion } from '../report/reporter.ts'

export class LogFile {
  readonly #descriptor: number
  readonly #format: 'text' | 'json'
  readonly #now: () => Date

  /** @throws UsageError if it cannot be opened */
  constructor(file: string, { format, now }: { format: 'text' | 'json'; now: () => Date }) {
    this.#format = format
    this.#now = now
    try {
      mkdirSync(path.dirname(file), { recursive: true })
      refuseUnreadPipe(file)
      this.#descriptor = openSync(file, 'a', 0o640)
    } catch (error) {
      throw new UsageError(`cannot write the log file ${file}: ${systemErrorReason(error)}`, {
        code: 'records.log-file',
      })
    }
  }

  /** @throws if the disk is full, and the like: for the caller to tell once */
  write({ level, message_type, text, fields }: Entry): void {
    const time = this.#now().toISOString()
    const lines =
      this.#format === 'json'
        ? [JSON.stringify({ time, level, message_type, schema: jsonSchemaVersion, ...fields, message: text })]
        : text.split('\n').map(line => `${time} ${level.toUpperCase().padEnd(7)} ${printable(line)}`)
    writeSync(this.#descriptor, lines.map(line => `${line}\n`).join(''))
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}
