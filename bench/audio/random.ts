import { createHash } from 'node:crypto'

/** A 32-bit hash of a name: the seed of a clip and what decides the half it belongs to. */
export const hashOf = (name: string): number => createHash('sha256').update(name).digest().readUInt32BE(0)

export interface Random {
  /** Uniform in [0, 1). */
  readonly next: () => number
  readonly between: (low: number, high: number) => number
  readonly pick: <T>(items: readonly T[]) => T
  readonly normal: () => number
}

/** mulberry32: small, and the same on every machine. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return {
    next,
    between: (low, high) => low + (high - low) * next(),
    pick: items => items[Math.floor(next() * items.length)]!,
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
  }
}

/** So many of them, chosen by the hash of their names. */
export const sampleBy = <T>(items: readonly T[], nameOf: (item: T) => string, count: number): T[] =>
  items.toSorted((a, b) => hashOf(`order:${nameOf(a)}`) - hashOf(`order:${nameOf(b)}`)).slice(0, count)
