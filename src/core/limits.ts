/** Safety limits on what a run may delete. */

/** `50` or `1%`: how much may be deleted before the run refuses. */
export interface DeleteLimit {
  count?: number
  percent?: number
  /** never more than this share of all, per cent, rounded up: what a count alone would make of a small library */
  most?: number
}

/** `50`, `1%` or `1%,50` (whichever is more) → limit. @returns undefined when it is neither */
export function parseDeleteLimit(text: string): DeleteLimit | undefined {
  const limit: DeleteLimit = {}
  for (const part of text.split(',')) {
    const match = /^\s*(\d+(?:\.\d+)?)\s*(%?)\s*$/.exec(part)
    if (!match) return undefined
    const value = Number(match[1])
    if (match[2] === '%') {
      if (value > 100) return undefined
      limit.percent = value
    } else {
      if (!Number.isInteger(value)) return undefined
      limit.count = value
    }
  }
  return limit
}

/** How many of `total` may be deleted: whichever of count and per cent allows more. No limit given: none. */
export function allowedDeletes(limit: DeleteLimit, total: number): number {
  const allowed = Math.max(
    limit.count ?? 0,
    limit.percent === undefined ? 0 : Math.floor((total * limit.percent) / 100),
  )
  return limit.most === undefined ? allowed : Math.min(allowed, Math.ceil((total * limit.most) / 100))
}
