/** Tags of objects: from a header when they are stored, as a document of their own afterwards. */
import type { Call, Reply } from './call.ts'
import { findVersion, versioned } from './versions.ts'
import { children, childText, element, parseDocument, S3Error, xmlHead, xmlns } from './xml.ts'

const invalidTag = (message: string) => new S3Error(400, 'InvalidTag', message)

function checkTags(tags: Record<string, string>): Record<string, string> {
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

export async function getObjectTagging(call: Call): Promise<Reply> {
  const version = findVersion(call.bucket, call.key, call.query.get('versionId'))
  return {
    status: 200,
    headers: versioned(call.bucket) ? { 'x-amz-version-id': version.id } : {},
    body: taggingDocument(version.tags ?? {}),
  }
}

function taggingDocument(tags: Record<string, string>): string {
  const set = Object.entries(tags).map(
    ([name, value]) => `<Tag>${element('Key', name)}${element('Value', value)}</Tag>`,
  )
  return `${xmlHead}<Tagging${xmlns}><TagSet>${set.join('')}</TagSet></Tagging>`
}

export async function putObjectTagging(call: Call): Promise<Reply> {
  const root = parseDocument(await call.document(true), 'Tagging')
  const tags: Record<string, string> = {}
  for (const tag of children(root, 'TagSet').flatMap(set => children(set, 'Tag'))) {
    const name = childText(tag, 'Key', false) ?? ''
    if (name in tags) throw invalidTag('Cannot provide multiple Tags with the same key')
    tags[name] = childText(tag, 'Value', false) ?? ''
  }
  return setTags(call, checkTags(tags), 200)
}

export const deleteObjectTagging = async (call: Call): Promise<Reply> => setTags(call, {}, 204)

function setTags(call: Call, tags: Record<string, string>, status: number): Reply {
  const version = findVersion(call.bucket, call.key, call.query.get('versionId'))
  call.disk.commit({ do: 'tags', bucket: call.bucketName, key: call.key, version: version.id, tags })
  return { status, headers: versioned(call.bucket) ? { 'x-amz-version-id': version.id } : {} }
}
