/** An answer about to go out; a rule may change any of it. */
export interface CdnAnswer {
  status: number
  /** lower-case names */
  headers: Record<string, string>
  body: Buffer
}

/** As S3 reads it: percent-decoded, `+` a space; what does not decode stays as it is. */
export function decodePath(path: string): string {
  try {
    return decodeURIComponent(path.replace(/\+/g, ' '))
  } catch {
    return path
  }
}
