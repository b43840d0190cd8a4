/**
 * How work speaks to people and to programs. Commands and engines talk to a {@link Reporter}, never to `console`;
 * every message knows its text and its JSON form.
 *
 * Text: data on stdout, everything else on stderr. JSON lines: `status`, `item` and `summary` on stdout, `error`
 * and `exit_error` on stderr. JSON fields are only ever added.
 */
import type { ErrorCode } from '../error-codes.ts'
import type { AppError, ExitCode } from '../errors.ts'

export const jsonSchemaVersion = 1

export interface Fields {
  readonly code?: ErrorCode
  readonly [field: string]: unknown
}

export interface Item {
  /** what it is about: an object key, a path, a track id */
  subject: string
  /** `uploaded`, `failed`, `skipped`, `missing-object`: what became of it, or what was found */
  state: string
  /** for JSON */
  fields?: Fields
  /** the line for people; without it an item is silent in text mode unless `--verbose` or it failed */
  text?: string
  /** why it failed or was skipped, one line */
  reason?: string
  /** what to do about it, one line; default: the usual cure of its code, if it failed */
  cure?: string | undefined
}

/** States of items that did not go well. */
export const failedStates: ReadonlySet<string> = new Set([
  'failed',
  'damaged',
  'error',
  'refused',
  'conflict',
])

/** States of items that were left as they are: worth a line to whoever watches. */
export const passedOverStates: ReadonlySet<string> = new Set(['skipped', 'duplicate', 'kept'])

/** States that are the same every night, and worth no line under `--quiet`. */
export const usualStates: ReadonlySet<string> = new Set(['skipped', 'duplicate', 'not-audio'])

export interface Summary {
  /** lines for people, the important one first */
  lines: readonly string[]
  /** what to do next, one line */
  next?: string
  fields: Fields
  /** what the command was asked for (a status, a plan), so that --quiet shows it too; default: of dry runs */
  isAnswer?: boolean
  /** a run that was interrupted begins anew, and does not continue where it stopped */
  startsOver?: boolean
}

export interface ProgressState {
  items: number
  bytes: number
  itemsTotal?: number
  bytesTotal?: number
}

export interface Progress {
  /** adds to what is done; sizes in bytes */
  advance(by: { items?: number; bytes?: number }): void
  /** sets or corrects the totals, once they are known */
  total(totals: { items?: number; bytes?: number }): void
  /** a word behind the bar: the concurrency, a pause, the current file */
  note(text: string): void
  /** takes the bar away; calling it twice is harmless */
  done(): void
}

export interface ProgressOptions {
  label: string
  unit: 'files' | 'objects' | 'rows' | 'tracks'
  showBytes?: boolean
}

export interface Reporter {
  readonly json: boolean
  readonly verbose: boolean
  /** paints text for the stream it goes to; plain where colours are off */
  readonly style: Style
  /** What a command prints as its result: text as it is, or one JSON object. */
  data(text: string, json: Fields & { message_type: 'item' | 'summary' | 'status' }): void
  /** What happens now, for people who watch. Silent under `--quiet`. */
  note(text: string, fields?: Fields): void
  /** Only under `--verbose`. */
  detail(text: string, fields?: Fields): void
  /** Something is not right, the run continues. */
  warn(text: string, fields?: Fields): void
  item(item: Item): void
  summary(summary: Summary): void
  /** An error of the run (not of one item), with cause and cure. */
  error(error: AppError): void
  /** The last message of a run that did not succeed. */
  exitError(error: Error, exitCode: ExitCode): void
  progress(options: ProgressOptions): Progress
  /** Ends whatever is still shown. */
  close(): void
}

export interface Style {
  bold(text: string): string
  dim(text: string): string
  red(text: string): string
  green(text: string): string
  yellow(text: string): string
  cyan(text: string): string
}

/** An output stream, as much of it as reporting needs. */
export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}
