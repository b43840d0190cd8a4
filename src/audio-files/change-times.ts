/**
 * Whether a file's time of the last change tells every edit. On most file systems the kernel keeps it, and nobody can set
 * it. On others it follows the time of modification, which every tag editor sets back (FAT, exFAT, many on FUSE), or it is
 * so coarse that an edit falls into the same tick as the one before (ext3). Whoever writes through a memory map sets it
 * with the first write only, until the system has written the page to the disk (and without a disk never again).
 */
import { statfs } from 'node:fs/promises'
import path from 'node:path'
import { systemErrorCode } from '../errors.ts'
import type { FileIdentity } from './source.ts'

/** Times that are whole hundredths of a second come from a coarse clock, or one of them in ten million by chance. */
const coarse = 10_000_000n

/**
 * Types of file systems, as Linux tells them, that keep a time of the last change of their own: ext2 to 4, XFS, Btrfs,
 * overlay, ZFS, F2FS, bcachefs, JFS, ReiserFS, NILFS, NFS, CephFS, GFS2, OCFS2. (tmpfs and ramfs have no disk.)
 */
export const keepChangeTimes: Set<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0x794c7630, 0x2fc12fc1, 0xf2f52010, 0xca451a4e, 0x3153464a, 0x52654973,
  0x3434, 0x6969, 0x00c36400, 0x01161970, 0x7461636f,
])

/** A page that was written to is on its way to the disk within 35 s (`vm.dirty_expire_centisecs`), milliseconds. */
const settling = 120_000

/** By device: what is mounted over another has another one. */
const types = new Map<bigint, Promise<number>>()

/**
 * @param file open, or looked at just now; `absolute`: where it is
 * @param readSince when its content was read, or some time before: edits since then are to be told; undefined: unknown
 * @throws the file system's error
 */
export async function tellsEdits(
  { absolute, ctimeNs, device }: Pick<FileIdentity, 'ctimeNs' | 'device'> & { readonly absolute: string },
  readSince: Date | undefined,
): Promise<boolean> {
  if (readSince === undefined || ctimeNs % coarse === 0n) return false
  if (readSince.getTime() - Number(ctimeNs / 1_000_000n) < settling) return false
  // Elsewhere the type is a number that means something else.
  if (process.platform !== 'linux') return true
  let type = types.get(device)
  if (type === undefined) {
    type = statfs(path.dirname(absolute)).then(found => found.type)
    types.set(device, type)
    type.catch(() => types.delete(device))
  }
  try {
    return keepChangeTimes.has(await type)
  } catch (error) {
    // Its folder went away: whoever looks for the file itself tells of it.
    if (systemErrorCode(error) === 'ENOENT') return false
    throw error
  }
}
