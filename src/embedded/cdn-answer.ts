/** An answer about to go out; a rule may change any of it. */
export interface CdnAnswer {
  status: number
  /** lower-case names */
  headers: Record<string, string>
  body: Buffer
}
