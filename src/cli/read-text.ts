import path from 'node:path'
import { decodeText } from '../core/listed-names.ts'
import { printable } from '../core/units.ts'
import { systemErrorReason, UsageError } from '../errors.ts'
import { readNamedList, readNamedStream } from '../named-files.ts'

/** The text of a file that a flag names; `-` is stdin. @throws UsageError if it cannot be read */
export async function readText(flag: string, file: string, cwd: string): Promise<string> {
  try {
    return decodeText(
      file === '-' ? await readNamedStream(process.stdin) : await readNamedList(path.resolve(cwd, file)),
    )
  } catch (error) {
    throw new UsageError(`${flag}: cannot read ${printable(file)}: ${systemErrorReason(error)}`, {
      code: 'usage.flag',
    })
  }
}
