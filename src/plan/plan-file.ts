import { createHash } from 'node:crypto'
import { access, constants, type FileHandle, open } from 'node:fs/promises'
import path from 'node:path'
import { maxKeyBytes } from '../core/keys.ts'
import {
  actionOrder,
  type PlanAction,
  type PlanHeader,
  type PlanItem,
  PlanWriter,
  planSchema,
  readPlan,
  stakeOf,
} from '../core/plan.ts'
import { quarantinePrefix } from '../core/prefixes.ts'
import { AppError, systemErrorCode, systemErrorReason, UsageError } from '../errors.ts'
import type { ExternalSorter } from '../external-sort/sorter.ts'
import {
  removeIfThere,
  renameOver,
  requireReplaceable,
  syncFile,
  syncFolder,
  writeWhole,
} from '../file-effects.ts'
import { linesOf, NamedFileError, openItself } from '../named-files.ts'

/** Collects actions in any order, for a plan that has them in the order of execution, each object's removal once. */
export class PlanBuilder {
  /** objects that would be removed; one that two rows share counts twice until the plan is written */
  removals = 0
  readonly #sorter: ExternalSorter

  constructor(sorter: ExternalSorter) {
    this.#sorter = sorter
  }

  /** @param worth of two changes of one row, or object, the one of the lower is made; losing audio comes last */
  async add(action: PlanAction, why: string, worth = '0'): Promise<void> {
    const stake = stakeOf(action)
    if (stake === 'removal') this.removals += 1
    const subject = action.action === 'update-row' ? action.trackId : action.object.key
    const phase = actionOrder.indexOf(action.action)
    const rank = stake === 'loss' ? '9' : worth
    await this.#sorter.add(`${phase}\u0000${subject}\u0000${rank}`, JSON.stringify({ action, why }))
  }

  /**
   * Writes the plan, whole or not at all.
   *
   * @param allow asked what is at stake, before it counts; where it throws nothing is written
   * @returns how many items it has
   */
  async write(
    file: string,
    header: PlanHeader,
    allow: (stakes: { removals: number; losses: number }) => void = () => {},
  ): Promise<{ items: number; removals: number; losses: number }> {
    const stakes = { removals: 0, losses: 0 }
    const writer = new PlanWriter()
    const draft = `${file}.${header.id}.tmp`
    const handle = await openForWriting(draft, file)
    const output = { handle, path: draft }
    try {
      await writeWhole(output, writer.header(header))
      let last = ''
      for await (const batch of this.#sorter.sorted()) {
        let lines = ''
        for (const [key, value] of batch) {
          const subject = key.slice(0, key.lastIndexOf('\u0000'))
          if (subject === last) continue
          last = subject
          const { action, why } = JSON.parse(value) as { action: PlanAction; why: string }
          const stake = stakeOf(action)
          if (stake === 'removal') stakes.removals += 1
          if (stake === 'loss') stakes.losses += 1
          lines += writer.item(action, why)
        }
        await writeWhole(output, lines)
      }
      await writeWhole(output, writer.trailer())
      allow(stakes)
      await syncFile(output)
      await handle.close()
      await requireReplaceable(file).catch((error: unknown) => {
        throw cannotWrite(file, error)
      })
      await renameOver(draft, file)
      await syncFolder(path.dirname(file))
    } catch (error) {
      await handle.close().catch(() => {})
      await removeIfThere(draft)
      throw error
    }
    return { items: writer.items, ...stakes }
  }
}

/** The journal of a plan lies beside it. */
export function journalOf(planFile: string): string {
  return `${planFile}.journal`
}

/**
 * Whether a plan may be written to a file: asked before the work, which may take hours.
 *
 * @throws UsageError if the folder cannot be written to, something that is no file has the name, or a plan is there that
 *   was applied: without it, it could not be taken back
 */
export async function refuseUnwritable(file: string): Promise<void> {
  try {
    await access(path.dirname(file), constants.W_OK)
    await requireReplaceable(file)
  } catch (error) {
    throw cannotWrite(file, error)
  }
  const applied = await access(journalOf(file)).then(
    () => true,
    () => false,
  )
  if (!applied) return
  throw new UsageError(`${file} is a plan that has been applied, and is needed to undo it`, {
    code: 'plan.applied',
    cure: `Give the new plan another name, or move ${path.basename(file)} and its journal away.`,
  })
}

/** Where a plan moves an object: its own folder, the key below it; a key too long for that by its hash. */
export function quarantineKey(planId: string, key: string): string {
  const plain = `${quarantinePrefix}${planId}/${key}`
  if (Buffer.byteLength(plain) <= maxKeyBytes) return plain
  return `${quarantinePrefix}${planId}/${createHash('sha256').update(key).digest('hex')}`
}

/** @param options times in milliseconds; `versioned`: whether the bucket keeps versions */
export function makePlanHeader(options: {
  id: string
  command: string
  now: number
  validFor: number
  bucket: string
  versioned: boolean
  seen: PlanHeader['seen']
}): PlanHeader {
  const { id, command, now, validFor, bucket, versioned, seen } = options
  return {
    type: 'autodj-plan',
    schema: planSchema,
    id,
    command,
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(now + validFor).toISOString(),
    bucket,
    quarantine: versioned ? { by: 'delete-marker' } : { by: 'prefix', prefix: quarantinePrefix },
    seen,
  }
}

async function openForWriting(draft: string, file: string) {
  try {
    return await open(draft, 'wx', 0o600)
  } catch (error) {
    throw cannotWrite(file, error)
  }
}

function cannotWrite(file: string, cause: unknown): UsageError {
  const reason = systemErrorCode(cause) === 'EINVAL' ? 'it is not a file' : systemErrorReason(cause)
  return new UsageError(`cannot write ${file}: ${reason}`, { code: 'plan.write', cause })
}

/**
 * Checks a plan whole, digest included, before anything of it is acted upon.
 *
 * @throws UsageError when there is no such file; FatalError when it is not as it was written
 */
export async function checkPlan(
  file: string,
): Promise<{ header: PlanHeader; items: number; removals: number; losses: number }> {
  let header: PlanHeader | undefined
  let items = 0
  let removals = 0
  let losses = 0
  for await (const part of planParts(file)) {
    if ('header' in part) header = part.header
    else {
      items += 1
      const stake = stakeOf(part.item)
      if (stake === 'removal') removals += 1
      if (stake === 'loss') losses += 1
    }
  }
  // readPlan has thrown if there is no header.
  return { header: header as PlanHeader, items, removals, losses }
}

/** The items of a plan, in order. */
export async function* planItems(file: string): AsyncGenerator<PlanItem> {
  for await (const part of planParts(file)) if ('item' in part) yield part.item
}

/** A row's texts may be long; a line of more than this is none of a plan, or of a journal, bytes. */
export const longestLine = 16 * 1024 ** 2

async function* textLines(handle: FileHandle): AsyncGenerator<string> {
  for await (const line of linesOf(handle, longestLine)) yield line.toString()
}

async function* planParts(file: string): AsyncGenerator<{ header: PlanHeader } | { item: PlanItem }> {
  const unreadable = (error: unknown): UsageError =>
    new UsageError(`cannot read the plan ${file}: ${systemErrorReason(error)}`, {
      code: 'plan.missing',
      cause: error,
    })
  const handle = await openItself(file, constants.O_RDONLY).catch(error => {
    throw unreadable(error)
  })
  try {
    yield* readPlan(textLines(handle))
  } catch (error) {
    if (error instanceof NamedFileError) throw unreadable(error)
    if (error instanceof AppError || systemErrorCode(error) === undefined) throw error
    throw unreadable(error)
  } finally {
    await handle.close()
  }
}
