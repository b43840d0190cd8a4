import { systemErrorCode, systemErrorReason, systemRefusal, toError, UsageError } from '../errors.ts'
import { replaceFile } from '../file-effects.ts'

/**
 * Writes the file that a flag names, whole or not at all.
 *
 * @throws TemporaryError if the disk is full; UsageError if it cannot be written otherwise
 */
export async function writeOutput(
  flag: string,
  file: string,
  content: string,
  { mode = 0o666 }: { mode?: number } = {},
): Promise<void> {
  try {
    await replaceFile(file, content, { mode })
  } catch (error) {
    throw cannotWrite(flag, file, error)
  }
}

/** Why the file that a flag names cannot be written. */
export function cannotWrite(flag: string, file: string, error: unknown): Error {
  const refusal = systemRefusal(toError(error), file)
  if (refusal?.code === 'system.full') return refusal
  const reason = systemErrorCode(error) === 'EINVAL' ? 'it is not a file' : systemErrorReason(error)
  return new UsageError(`${flag}: cannot write ${file}: ${reason}`, {
    code: 'usage.flag',
    cure: 'Name a file in a folder that this user can write to.',
    cause: error,
  })
}
