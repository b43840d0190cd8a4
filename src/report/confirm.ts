/** A question on the terminal that is answered with yes or no. */
import { createInterface } from 'node:readline/promises'

/** @returns false for anything but yes, and if `signal` ends the question */
export async function confirm(question: string, signal: AbortSignal): Promise<boolean> {
  const readline = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await readline.question(`${question} [y/N] `, { signal })
    return /^y(es)?$/i.test(answer.trim())
  } catch {
    return false
  } finally {
    readline.close()
  }
}
