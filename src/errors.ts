import { getSystemErrorMap } from 'node:util'
import { type CodeWith, type ErrorCode, type ExitName, usualCure } from './error-codes.ts'

/**
 * Exit codes of the program. The README's table is generated from the descriptions and locked to them by a test.
 */
export const ExitCode = {
  ok: 0,
  fatal: 1,
  usage: 2,
  someFailed: 3,
  drift: 4,
  temporary: 5,
  safetyLimit: 7,
  timeBudget: 10,
  locked: 11,
  sigint: 130,
  sigterm: 143,
} as const satisfies Readonly<Record<ExitName, number>>

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

export const exitCodeMeaning: Readonly<Record<ExitCode, string>> = {
  0: 'done, or nothing to do',
  1: 'fatal: the run could not continue; the message says why',
  2: 'usage: a flag, an argument or a setting is wrong; nothing was started',
  3: 'the run finished, but some items failed; they are in the ledger (retry with `--retry-failed`)',
  4: 'drift found: database, bucket, disk or CDN do not agree',
  5: 'temporary: network, service, disk or database was unavailable; run it again',
  7: 'stopped by a safety limit; nothing was deleted',
  10: 'the time budget (`--max-duration`) is used up; the next run resumes',
  11: 'another run holds the lock',
  130: 'stopped by Ctrl-C (SIGINT)',
  143: 'stopped by SIGTERM, or because nobody was reading the output',
}

/** How a run ended, in a few words for a table. */
export const exitCodeOutcome: Readonly<Record<ExitCode, string>> = {
  0: 'done',
  1: 'failed',
  2: 'wrong setting',
  3: 'some failed',
  4: 'drift found',
  5: 'temporary failure',
  7: 'stopped by a safety limit',
  10: 'time budget used up',
  11: 'locked',
  130: 'interrupted',
  143: 'stopped',
}

const fromHarmless: readonly ExitCode[] = [
  ExitCode.ok,
  ExitCode.timeBudget,
  ExitCode.drift,
  ExitCode.someFailed,
  ExitCode.locked,
  ExitCode.temporary,
  ExitCode.safetyLimit,
  ExitCode.usage,
  ExitCode.fatal,
  ExitCode.sigterm,
  ExitCode.sigint,
]

/** Of several runs' exit codes the one that matters most; 0 for none. */
export function worstExitCode(codes: readonly ExitCode[]): ExitCode {
  return fromHarmless[Math.max(0, ...codes.map(code => fromHarmless.indexOf(code)))] ?? ExitCode.ok
}

/** What an error tells its reader. `message` is the cause, one line; `cure` is what to do about it, one line; default: the usual one of its code. */
export interface ErrorDetails<Code extends ErrorCode = ErrorCode> {
  /** Stable, machine-readable: `config.invalid`, `store.denied`; told of in error-codes.ts. */
  code: Code
  cure?: string
  /** Plain data that says where: a variable, a key, a path. */
  details?: Readonly<Record<string, unknown>>
  cause?: unknown
}

/**
 * Every failure the program foresees. Thrown anywhere, mapped to an exit code in `main` and nowhere else.
 * An error that is not an `AppError` is a bug, and is reported as one.
 */
export class AppError extends Error {
  readonly exitCode: ExitCode
  readonly code: ErrorCode
  readonly cure: string
  readonly details: Readonly<Record<string, unknown>>

  constructor(
    exitCode: ExitCode,
    message: string,
    { code, cure = usualCure(code), details = {}, cause }: ErrorDetails,
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.exitCode = exitCode
    this.code = code
    this.cure = cure
    this.details = details
  }
}

/** A flag, an argument or a setting is wrong; nothing was started. Exit code 2. */
export class UsageError extends AppError {
  constructor(message: string, details: Partial<ErrorDetails<CodeWith<'usage'>>> = {}) {
    super(ExitCode.usage, message, { code: 'usage', ...details })
  }
}

/** Nothing more can be done, and trying again will not help. Exit code 1. */
export class FatalError extends AppError {
  constructor(message: string, details: ErrorDetails<CodeWith<'fatal'>>) {
    super(ExitCode.fatal, message, details)
  }
}

/** The same command may succeed later: network, service, disk space or database was away. Exit code 5. */
export class TemporaryError extends AppError {
  constructor(message: string, details: ErrorDetails<CodeWith<'temporary'>>) {
    super(ExitCode.temporary, message, details)
  }
}

/** Another run holds the lock or lease; the message names the holder and since when. Exit code 11. */
export class LockedError extends AppError {
  constructor(message: string, details: Partial<ErrorDetails<CodeWith<'locked'>>> = {}) {
    super(ExitCode.locked, message, { code: 'locked', ...details })
  }
}

/** A safety limit was hit before anything was deleted. Exit code 7. */
export class SafetyLimitError extends AppError {
  constructor(message: string, details: ErrorDetails<CodeWith<'safetyLimit'>>) {
    super(ExitCode.safetyLimit, message, details)
  }
}

/** Why one item fails, whatever becomes of the others: the run continues. */
export class ItemError extends Error {
  readonly code: ErrorCode
  readonly cure: string

  /** @param cure default: the usual one of its code */
  constructor(code: ErrorCode, reason: string, cure = usualCure(code), cause?: unknown) {
    super(reason, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.code = code
    this.cure = cure
  }
}

/**
 * What the system refuses wherever that happens: no room, no right, no more files. No bug, and no single file's problem.
 *
 * @param where in what; default: the path that the error names
 * @returns undefined for any other error
 */
export function systemRefusal(error: Error, where?: string): AppError | undefined {
  const code = systemErrorCode(error)
  if (code === undefined || error instanceof AppError) return undefined
  const { dest, path } = error as { dest?: string; path?: string }
  // A write knows its descriptor only.
  const named = where ?? dest ?? path
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new TemporaryError(
        `no space is left ${named === undefined ? 'on the disk' : `for ${named}`} (${code})`,
        { code: 'system.full', cause: error },
      )
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new FatalError(`cannot access ${named ?? error.message}: ${systemErrorReason(error)}`, {
        code: 'system.denied',
        cause: error,
      })
    // A disk that fails, or a folder of another machine that has gone.
    case 'EIO':
    case 'ESTALE':
      return new FatalError(
        `the disk ${named === undefined ? '' : `under ${named} `}reports an error: ${systemErrorReason(error)}`,
        { code: 'system.disk', cause: error },
      )
    case 'EMFILE':
    case 'ENFILE':
      return new TemporaryError(`too many files are open (${code})`, { code: 'system.files', cause: error })
    case 'ERR_WORKER_INIT_FAILED': {
      const files = /\bE[MN]FILE\b/.exec(error.message)?.[0]
      if (files === undefined) return undefined
      return new TemporaryError(`too many files are open (${files})`, { code: 'system.files', cause: error })
    }
    // An optional package that was left out: whoever needs one loads it when it does.
    case 'ERR_MODULE_NOT_FOUND': {
      const missing = /Cannot find package '([^']+)'/.exec(error.message)?.[1]
      if (missing === undefined) return undefined
      return new FatalError(`the package ${missing} is not installed, and this needs it`, {
        code: 'install.incomplete',
        details: { package: missing },
        cause: error,
      })
    }
    default:
      return undefined
  }
}

/** Any thrown value as an `Error`. Libraries throw bare numbers, too. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

/** Whether a wait was ended by a signal. */
export const isAbortError = (thrown: unknown): boolean =>
  thrown instanceof Error && thrown.name === 'AbortError'

/** The `code` of a Node.js system error (`ENOENT`, `ECONNRESET`), or undefined. */
export function systemErrorCode(thrown: unknown): Uppercase<string> | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined
  return typeof thrown.code === 'string' ? (thrown.code as Uppercase<string>) : undefined
}

/** Why the system refused, in its own words (`no such file or directory`); what the error says, if the system is not it. */
export function systemErrorReason(thrown: unknown): string {
  const code = systemErrorCode(thrown)
  for (const [name, words] of getSystemErrorMap().values()) if (name === code) return words
  return code ?? toError(thrown).message
}

/** Why a run stops taking new work: a signal, or its time budget. */
export type StopReason = 'sigint' | 'sigterm' | 'time-budget'
