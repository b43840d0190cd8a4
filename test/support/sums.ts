/** Checksums as S3 and the database have them, made apart from the program's own. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** In hex, as rows, the ledger and the metadata of objects have it. */
export const sha256 = (content: Uint8Array | string): string =>
  createHash('sha256').update(content).digest('hex')

/** In base64, as `x-amz-checksum-crc32` has it. */
export function crc32Text(content: Uint8Array): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32(content))
  return bytes.toString('base64')
}
