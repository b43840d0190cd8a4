/** Records that may be more than memory holds: sorted, or kept in the order they came. The shell brings the disk. */

export type SortedRecord = readonly [key: string, value: string]

/**
 * Sorts records outside memory. Keys compare by their UTF-8 bytes; records of equal keys come in any order. Both
 * strings may hold any character.
 */
export interface Sorter {
  add(key: string, value: string): Promise<void> | undefined
  /** All records in order, in batches. Called once, after the last `add`. */
  sorted(): AsyncIterable<readonly SortedRecord[]>
}

/** Three fingerprints that a record is found by; see `fingerprint`. */
export type Tags = readonly [number, number, number]

/** Keeps records outside memory in the order they came. */
export interface Spool {
  /** @param tags unsigned, 32 bits each */
  add(tags: Tags, key: string, value: string): Promise<void> | undefined
  /** The records whose tags are wanted, in batches. As often as one likes, after the last `add`. */
  replay(wanted: (...tags: Tags) => boolean): AsyncIterable<readonly SortedRecord[]>
  close(): Promise<void>
}

/** Parts of a sort key are joined with NUL, which neither S3 nor PostgreSQL allows in a key. */
export const nul = '\u0000'

/** One record of a group: its sort key is `group NUL rank name`, the rank one character. */
export interface Member {
  group: string
  rank: string
  name: string
  value: string
}

export function memberOf(key: string, value: string): Member {
  const end = key.indexOf(nul)
  return { group: key.slice(0, end), rank: key.charAt(end + 1), name: key.slice(end + 2), value }
}

/** Batches of whole groups; of each group at most `most` members. */
export async function* grouped(
  sorter: Sorter,
  most = Number.POSITIVE_INFINITY,
): AsyncGenerator<{ group: string; members: Member[] }[]> {
  let open: { group: string; members: Member[] } | undefined
  for await (const batch of sorter.sorted()) {
    const groups: { group: string; members: Member[] }[] = []
    for (const [key, value] of batch) {
      const member = memberOf(key, value)
      if (open?.group !== member.group) {
        if (open !== undefined) groups.push(open)
        open = { group: member.group, members: [] }
      }
      if (open.members.length < most) open.members.push(member)
    }
    if (groups.length > 0) yield groups
  }
  if (open !== undefined) yield [open]
}
