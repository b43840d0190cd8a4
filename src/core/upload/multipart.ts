/** How a file is cut into parts. Limits are S3's: 10,000 parts of 5 MiB to 5 GiB, the last one may be smaller. */

export const maxParts = 10_000
export const minPartSize = 5 * 1024 ** 2
const maxPartSize = 5 * 1024 ** 3
/** 48.8 TiB: 10,000 parts of 5 GiB */
const maxObjectSize = maxParts * maxPartSize

export interface Part {
  /** 1 to 10,000 */
  readonly partNumber: number
  /** bytes from the start of the file */
  readonly offset: number
  /** bytes */
  readonly size: number
}

/**
 * The part size for a file: the one asked for, or the smallest multiple of 1 MiB that needs no more than 10,000 parts.
 * @throws RangeError when no part size fits
 */
export function partSizeFor(fileSize: number, wanted: number): number {
  if (fileSize > maxObjectSize)
    throw new RangeError(`${fileSize} bytes is over S3's limit of ${maxObjectSize}`)
  if (Math.ceil(fileSize / wanted) <= maxParts) return wanted
  const mebibyte = 1024 ** 2
  return Math.ceil(fileSize / maxParts / mebibyte) * mebibyte
}

/** All parts of a file, in order. One at a time: 10,000 parts need no array. */
export function* partsOf(fileSize: number, partSize: number): Generator<Part> {
  for (let offset = 0, partNumber = 1; offset < fileSize; offset += partSize, partNumber++) {
    yield { partNumber, offset, size: Math.min(partSize, fileSize - offset) }
  }
}
