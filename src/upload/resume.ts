/** What of a multipart upload that an earlier run began still holds: whether its headers do, and which of its parts. */
import { partsOf } from '../core/upload/multipart.ts'
import type { PartRecord } from '../db/ledger.ts'
import type { ObjectHeaders, UploadedPart } from '../storage/store.ts'

/** Headers so that they can be compared; metadata is left out: it says which content, and for which of its tracks. */
export function headersAsText({ metadata: _, ...headers }: ObjectHeaders): string {
  const sorted = (value: object): object =>
    Object.fromEntries(
      Object.entries(value)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, one]) => [name, typeof one === 'object' ? sorted(one) : one]),
    )
  return JSON.stringify(sorted(headers))
}

/** Which headers differ, in words; none if it is not known what an upload was begun with. */
export function differingHeaders(was: string | null, wanted: string): string[] {
  if (was === null) return []
  const [a, b] = [was, wanted].map(text => JSON.parse(text) as Record<string, unknown>)
  return [...new Set([...Object.keys(a!), ...Object.keys(b!)])]
    .filter(name => JSON.stringify(a![name]) !== JSON.stringify(b![name]))
    .map(name => name.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`))
}

/**
 * The parts that the server holds and that are what they should be, by part number. Their checksum is the server's,
 * or, where it gives none, the one recorded when the very same part was confirmed.
 * @param fileSize bytes
 * @param partSize that the upload was begun with, bytes
 */
export function partsHeld(
  fileSize: number,
  partSize: number,
  onServer: readonly UploadedPart[],
  recorded: readonly PartRecord[],
): Map<number, UploadedPart> {
  const parts = new Map<number, UploadedPart>()
  const byNumber = new Map(onServer.map(part => [part.partNumber, part]))
  const ours = new Map(recorded.map(part => [part.partNumber, part]))
  for (const { partNumber, size } of partsOf(fileSize, partSize)) {
    const there = byNumber.get(partNumber)
    if (there?.size !== size) continue
    const record = ours.get(partNumber)
    const checksum = there.crc32 ?? (record?.etag === there.etag ? record.crc32 : undefined)
    if (checksum !== undefined) parts.set(partNumber, { ...there, crc32: checksum })
  }
  return parts
}
