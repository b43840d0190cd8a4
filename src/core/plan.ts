import { createHash, type Hash } from 'node:crypto'
import { FatalError, SafetyLimitError } from '../errors.ts'
import type { FileSource } from './audio-source.ts'

/**
 * A saved plan: JSON Lines, a header, any number of items, a trailer with the digest over all lines before it.
 * Lines instead of one document, so that a plan over ten million rows is written and read in flat memory.
 */
export const planSchema = 1

export interface PlanHeader {
  type: 'autodj-plan'
  schema: typeof planSchema
  /** identifies the plan: quarantine folder and journal are named after it */
  id: string
  /** the command that made it */
  command: string
  /** ISO 8601, UTC */
  createdAt: string
  /** after this it is no longer applied (it can still be undone) */
  expiresAt: string
  bucket: string
  /** how objects are removed: moved below `prefix`, or by delete markers in a versioned bucket */
  quarantine: { by: 'prefix'; prefix: string } | { by: 'delete-marker' }
  /** what the plan was made from, for the safety limits: rows and objects seen */
  seen: { rows: number; objects: number }
}

/** The columns of a track that plans change. */
export interface RowState {
  key: string | null
  source: FileSource | null
  size: number | null
  path: string | null
}

export interface ObjectState {
  key: string
  size: number
  etag: string
}

interface HeaderState {
  contentType?: string
  cacheControl?: string
}

/** A local file that a change rests on; path as in the row. */
export interface NeededFile {
  path: string
  /** bytes */
  size?: number
  /** of its content, hex; absent: not known, or, for a removal, what the object's content says */
  sha256?: string
}

/** One change, with what everything it rests on looked like. Applied only if it all looks the same still. */
export type PlanAction =
  | {
      action: 'update-row'
      trackId: string
      was: RowState
      becomes: RowState
      /** must be there for the change to be right */
      needsObject?: ObjectState
      /** must be there for the change to be right */
      needsFile?: NeededFile
    }
  | {
      action: 'bring-back-object'
      /** as it is to be again, at the key that a row names */
      object: ObjectState
      /** where it lies in quarantine; absent where delete markers hide it */
      from?: string
    }
  | { action: 'set-headers'; object: ObjectState; was: HeaderState; becomes: HeaderState }
  | {
      action: 'remove-object'
      object: ObjectState
      /** where it is moved to; absent where a delete marker is made instead */
      to?: string
      /** holds the content instead, and must be there: the object's, unless `sha256` says which */
      needsFile?: NeededFile
    }

/** What the safety limits count: an object that goes, or a row that is left without audio. */
export function stakeOf(action: PlanAction): 'removal' | 'loss' | undefined {
  if (action.action === 'remove-object') return 'removal'
  if (action.action !== 'update-row') return undefined
  const { was, becomes } = action
  return becomes.source === 'UNAVAILABLE' && was.source !== 'UNAVAILABLE' ? 'loss' : undefined
}

export type PlanItem = PlanAction & { type: 'item'; seq: number; why: string }

interface PlanTrailer {
  type: 'digest'
  items: number
  /** lower-case hex */
  sha256: string
}

/**
 * Order of execution. Objects that rows want back first, then rows: an object is only removed once no row rests on it; whatever is killed
 * in between leaves too much, never too little.
 */
export const actionOrder: readonly PlanAction['action'][] = [
  'bring-back-object',
  'update-row',
  'set-headers',
  'remove-object',
]

/**
 * JSON with sorted keys and no white space, as RFC 8785 has it (for strings, booleans, null, finite numbers, arrays
 * and plain objects; undefined members are left out). Equal data gives equal text.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(entry => canonicalJson(entry ?? null)).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const named = value as Record<string, unknown>
    const members = Object.keys(named)
      .filter(name => named[name] !== undefined)
      .sort()
      .map(name => `${JSON.stringify(name)}:${canonicalJson(named[name])}`)
    return `{${members.join(',')}}`
  }
  return JSON.stringify(value)
}

/** Digest over lines in their canonical form: re-indenting or another line ending is no change, all else is. */
class Digest {
  readonly #hash: Hash = createHash('sha256')

  add(canonicalLine: string): void {
    this.#hash.update(canonicalLine).update('\n')
  }

  hex(): string {
    return this.#hash.digest('hex')
  }
}

/** Turns header and actions into the lines of a plan, in the order given; numbers the items from 1. */
export class PlanWriter {
  items = 0
  readonly #digest = new Digest()

  header(header: PlanHeader): string {
    return this.#line(header)
  }

  item(action: PlanAction, why: string): string {
    this.items += 1
    return this.#line({ ...action, type: 'item', seq: this.items, why })
  }

  trailer(): string {
    const trailer: PlanTrailer = { type: 'digest', items: this.items, sha256: this.#digest.hex() }
    return `${canonicalJson(trailer)}\n`
  }

  #line(value: unknown): string {
    const text = canonicalJson(value)
    this.#digest.add(text)
    return `${text}\n`
  }
}

/**
 * Reads the lines of a plan: the header first, then the items. Every line counts into the digest, which is compared
 * at the trailer, so nothing read before the end is proved yet: go through a plan once before acting on it.
 *
 * @throws FatalError `plan.damaged` for anything that is not the plan as it was written, a missing end included
 * @throws FatalError `plan.schema` for a plan of another version
 */
export async function* readPlan(
  lines: AsyncIterable<string>,
): AsyncGenerator<{ header: PlanHeader } | { item: PlanItem }> {
  const digest = new Digest()
  let items = 0
  let started = false
  let trailer: PlanTrailer | undefined
  for await (const line of lines) {
    if (line.trim() === '') continue
    if (trailer !== undefined) throw damaged('something follows its end')
    const value = parseLine(line)
    if (!started) {
      if (value['type'] !== 'autodj-plan') throw damaged('it does not start like a plan')
      if (value['schema'] !== planSchema) {
        throw new FatalError(
          `the plan has schema ${String(value['schema'])}, this version of autodj reads schema ${planSchema}`,
          { code: 'plan.schema' },
        )
      }
      started = true
      digest.add(canonicalJson(value))
      yield { header: value as unknown as PlanHeader }
    } else if (value['type'] === 'digest') {
      trailer = value as unknown as PlanTrailer
    } else {
      items += 1
      if (value['type'] !== 'item' || value['seq'] !== items) throw damaged(`item ${items} is out of place`)
      if (!(actionOrder as readonly unknown[]).includes(value['action'])) {
        throw damaged(`item ${items} asks for ${JSON.stringify(value['action'])}, which is unknown`)
      }
      digest.add(canonicalJson(value))
      yield { item: value as unknown as PlanItem }
    }
  }
  if (trailer === undefined) throw damaged('its end is missing')
  if (trailer.items !== items || trailer.sha256 !== digest.hex()) throw damaged('its digest does not match')
}

/** @throws SafetyLimitError `plan.expired` when the plan is older than it may be */
export function refuseIfExpired(header: PlanHeader, now: number): void {
  if (now <= Date.parse(header.expiresAt)) return
  throw new SafetyLimitError(`the plan expired at ${header.expiresAt}`, { code: 'plan.expired' })
}

function parseLine(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
  } catch {
    // falls through to the error below
  }
  throw damaged('one of its lines is not a JSON object')
}

function damaged(how: string): FatalError {
  return new FatalError(`the plan is damaged: ${how}`, { code: 'plan.damaged' })
}
