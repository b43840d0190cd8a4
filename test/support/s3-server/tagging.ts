/** Tags of objects, as documents of their own. */
import type { Call, Reply } from '../../../src/embedded/s3-server/call.ts'
import { checkTags, invalidTag } from '../../../src/embedded/s3-server/tagging.ts'
import { findVersion, versioned } from '../../../src/embedded/s3-server/versions.ts'
import {
  children,
  childText,
  element,
  parseDocument,
  xmlHead,
  xmlns,
} from '../../../src/embedded/s3-server/xml.ts'

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
  version.tags = tags
  return { status, headers: versioned(call.bucket) ? { 'x-amz-version-id': version.id } : {} }
}
