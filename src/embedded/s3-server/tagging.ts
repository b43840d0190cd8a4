/** Tags of objects, as they are stored with them. */
import type { Call } from './call.ts'
import { S3Error } from './xml.ts'

/** From the header `x-amz-tagging`, a query string. */
export function tagsFromHeader(call: Call): Record<string, string> | undefined {
  const text = call.header('x-amz-tagging')
  if (text === undefined || text === '') return undefined
  const pairs = [...new URLSearchParams(text)]
  const tags = Object.fromEntries(pairs)
  if (Object.keys(tags).length !== pairs.length) {
    throw new S3Error(
      400,
      'InvalidArgument',
      "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
    )
  }
  if (pairs.length > 10) throw new S3Error(400, 'BadRequest', 'Object tags cannot be greater than 10')
  for (const [name, value] of pairs) {
    if (name.length === 0 || name.length > 128 || value.length > 256)
      throw new S3Error(400, 'InvalidTag', 'The tag that you have provided is invalid')
  }
  return tags
}
