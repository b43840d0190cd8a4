/** One POST that never becomes the job's failure: tried again if that may help, then told in a few words. */
import { setTimeout as sleep } from 'node:timers/promises'
import { printable } from '../core/units.ts'
import { systemErrorCode, toError } from '../errors.ts'

/** Milliseconds that one try may take, and that pass before the next. */
const timeout = 10_000
const pauses = [500, 2_000]

/** @returns undefined if it was taken, else why not; the URL is not in it, for it may be a secret */
export async function post(
  url: URL,
  body: string,
  {
    contentType,
    deadline,
    tries,
    quotes = false,
  }: {
    contentType: string
    deadline: AbortSignal
    tries: 1 | 3
    /** why it was refused in the server's own words; not where the URL is a secret: they may repeat it */
    quotes?: boolean
  },
): Promise<string | undefined> {
  let why = ''
  for (let tried = 1; ; tried++) {
    try {
      const { username, password } = url
      const bare = new URL(url)
      bare.username = ''
      bare.password = ''
      const answer = await fetch(bare, {
        method: 'POST',
        body,
        headers: {
          'content-type': contentType,
          ...(username === ''
            ? {}
            : {
                authorization: `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`,
              }),
        },
        signal: AbortSignal.any([AbortSignal.timeout(timeout), deadline]),
      })
      why = `HTTP ${answer.status}${quotes && !answer.ok ? await wordsOf(answer) : ''}`
      await answer.body?.cancel()
      if (answer.ok) return undefined
      // Anything else will be refused again.
      if (answer.status < 500 && answer.status !== 429) return why
    } catch (error) {
      why = reasonOf(error)
    }
    if (tried >= tries || deadline.aborted) return why
    await sleep(pauses[tried - 1], undefined, { signal: deadline }).catch(() => {})
    if (deadline.aborted) return why
  }
}

/** The first line of an answer in plain text. */
async function wordsOf(answer: Response): Promise<string> {
  if (/html/i.test(answer.headers.get('content-type') ?? '') || answer.body === null) return ''
  const reader = answer.body.getReader()
  const { value } = await reader.read()
  reader.releaseLock()
  const [line = ''] = new TextDecoder().decode(value?.subarray(0, 1_000)).trim().split('\n')
  return line === '' || line.startsWith('<') ? '' : `: ${printable(line.slice(0, 200))}`
}

/** fetch says only that it failed; why is in its cause. */
function reasonOf(error: unknown): string {
  const { name, message, cause } = toError(error)
  if (name === 'TimeoutError' || name === 'AbortError') return 'no answer in time'
  return cause instanceof Error ? systemErrorCode(cause) || cause.message : message
}
