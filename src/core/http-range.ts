/**
 * What to answer to a request for a file: whole, a part, nothing new, or a refusal. Pure; RFC 9110, sections 13
 * (conditional requests) and 14 (ranges).
 */

/** The file as it is now. */
interface Representation {
  /** bytes */
  readonly size: number
  /** a strong validator with its quotes: `"1f-18c"` */
  readonly etag: string
  /** as on disk; HTTP knows whole seconds only */
  readonly lastModified: Date
  /** the clock of the server: a `Last-Modified` in the same second is no strong validator yet */
  readonly now: Date
}

/** The headers that decide, as Node.js gives them: lower case, joined. */
export interface ConditionalHeaders {
  readonly range?: string
  readonly 'if-range'?: string
  readonly 'if-match'?: string
  readonly 'if-none-match'?: string
  readonly 'if-modified-since'?: string
  readonly 'if-unmodified-since'?: string
}

type FileAnswer =
  | { readonly status: 200 }
  | { readonly status: 206; readonly start: number /** inclusive */; readonly end: number }
  | { readonly status: 304 }
  | { readonly status: 412 }
  | { readonly status: 416 }

type RangeRequest =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly start: number /** inclusive */; readonly end: number }
  | { readonly kind: 'unsatisfiable' }

/**
 * One `Range` header against a size in bytes. Units other than bytes, malformed sets and sets of several ranges are
 * ignored, as section 14.2 allows: the answer is then the whole file.
 */
export function parseRange(header: string | undefined, size: number): RangeRequest {
  const whole: RangeRequest = { kind: 'whole' }
  const match = /^bytes[ \t]*=[ \t]*(\d*)[ \t]*-[ \t]*(\d*)[ \t,]*$/i.exec(header ?? '')
  if (!match) return whole
  const [, first = '', last = ''] = match
  if (first === '') {
    if (last === '') return whole
    const length = Number(last)
    if (length === 0 || size === 0) return { kind: 'unsatisfiable' }
    return { kind: 'part', start: Math.max(0, size - length), end: size - 1 }
  }
  const start = Number(first)
  const end = last === '' ? Number.POSITIVE_INFINITY : Number(last)
  if (end < start) return whole
  if (start >= size) return { kind: 'unsatisfiable' }
  return { kind: 'part', start, end: Math.min(end, size - 1) }
}

/**
 * The answer to GET or HEAD, in the order of precedence of section 13.2.2. A `Range` on HEAD is ignored: section 14.2
 * defines it for GET only.
 */
export function answerFileRequest(
  method: 'GET' | 'HEAD',
  headers: ConditionalHeaders,
  file: Representation,
): FileAnswer {
  const ifMatch = headers['if-match']
  if (ifMatch !== undefined) {
    if (!listsTag(ifMatch, file.etag, 'strong')) return { status: 412 }
  } else {
    const since = parseHttpDate(headers['if-unmodified-since'])
    if (seconds(file.lastModified) > since) return { status: 412 }
  }
  const ifNoneMatch = headers['if-none-match']
  if (ifNoneMatch !== undefined) {
    if (listsTag(ifNoneMatch, file.etag, 'weak')) return { status: 304 }
  } else {
    const since = parseHttpDate(headers['if-modified-since'])
    if (seconds(file.lastModified) <= since) return { status: 304 }
  }
  if (method === 'HEAD' || !rangeApplies(headers['if-range'], file)) return { status: 200 }
  const range = parseRange(headers.range, file.size)
  if (range.kind === 'unsatisfiable') return { status: 416 }
  return range.kind === 'part' ? { status: 206, start: range.start, end: range.end } : { status: 200 }
}

/** Section 13.1.5: a strong comparison; a date counts only where it is exact and can be trusted as strong. */
function rangeApplies(ifRange: string | undefined, file: Representation): boolean {
  if (ifRange === undefined) return true
  if (ifRange === file.etag) return true
  const date = parseHttpDate(ifRange)
  const modified = seconds(file.lastModified)
  return date === modified && seconds(file.now) - modified >= 1
}

function listsTag(header: string, etag: string, comparison: 'strong' | 'weak'): boolean {
  if (header === '*') return true
  const tags = header.match(/(?:W\/)?"[^"]*"/g)
  return tags?.some(tag => tag === etag || (comparison === 'weak' && tag === `W/${etag}`)) ?? false
}

/** Whole seconds since 1970, or NaN, which compares with nothing, if the text is no HTTP date: that condition is ignored. */
function parseHttpDate(text = ''): number {
  if (!/^[A-Za-z]{3,9},? /.test(text)) return Number.NaN
  // C's form has no zone, and means the same one (RFC 9110, 5.6.7).
  const milliseconds = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Math.floor(milliseconds / 1_000)
}

function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1_000)
}
