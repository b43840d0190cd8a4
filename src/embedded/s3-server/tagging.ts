/** Tags of objects, as they are stored with them. */
import type { Call } from './call.ts'
import { S3Error } from './xml.ts'

export const invalidTag = (message: string) => new S3Error(400, 'InvalidTag', message)

export function checkTags(tags: Record<string, string>): Record<string, string> {
  if (Object.keys(tags).length > 10) {
    throw new S3Error(400, 'BadRequest', 'Object tags cannot be greater than 10')
  }
  for (const [name, value] of Object.entries(tags)) {
    if (name.length === 0 || name.length > 128) throw invalidTag('The TagKey you have provided is invalid')
    if (value.length > 256) throw invalidTag('The TagValue you have provided is invalid')
  }
  return tags
}

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
  return checkTags(tags)
}
