/** Deleting objects, one or many: versions for good, or a delete marker if the bucket has versioning. */
import { type Call, checkKey, noSuchKey, type Reply } from './call.ts'
import { etagMatches, preconditionFailed } from './conditions.ts'
import { versioned, versionIdFor } from './versions.ts'
import { children, childText, element, malformedXml, parseDocument, S3Error, xmlHead, xmlns } from './xml.ts'

interface Deleted {
  versionId?: string
  deleteMarker?: boolean
  /** of a delete marker that was made */
  markerId?: string
}

/** One delete, of a version or of whatever is current. @throws S3Error on a failed If-Match */
function remove(
  call: Call,
  key: string,
  versionId: string | undefined,
  ifMatch: string | undefined,
): Deleted {
  const { bucket } = call
  const entry = bucket.entries.get(key)
  if (ifMatch !== undefined) {
    const newest = entry?.versions[0]
    if (!newest) throw noSuchKey(key)
    if (newest.deleteMarker || !etagMatches(ifMatch, newest.etag)) throw preconditionFailed('If-Match')
  }
  for (const token of bucket.writers.get(key) ?? []) token.disturbed = true
  if (versionId !== undefined) {
    const version = entry?.versions.find(v => v.id === versionId)
    if (version) call.disk.remove(bucket, key, versionId)
    return { versionId, ...(version?.deleteMarker && { deleteMarker: true, markerId: versionId }) }
  }
  if (!versioned(bucket)) {
    call.disk.remove(bucket, key, 'null')
    return {}
  }
  const id = versionIdFor(bucket)
  call.disk.put(bucket, key, {
    id,
    time: call.seconds,
    deleteMarker: true,
    size: 0,
    etag: '',
    headers: {},
    meta: {},
    segments: [],
  })
  return { deleteMarker: true, markerId: id }
}

export async function deleteObject(call: Call): Promise<Reply> {
  const done = remove(call, call.key, call.query.get('versionId'), call.header('if-match'))
  const id = done.versionId ?? done.markerId
  return {
    status: 204,
    headers: {
      ...(id !== undefined && { 'x-amz-version-id': id }),
      ...(done.deleteMarker && { 'x-amz-delete-marker': 'true' }),
    },
  }
}

export async function deleteObjects(call: Call): Promise<Reply> {
  const root = parseDocument(await call.document(true), 'Delete')
  const objects = children(root, 'Object')
  if (objects.length === 0 || objects.length > 1000) {
    throw malformedXml()
  }
  const quiet = childText(root, 'Quiet') === 'true'
  let out = ''
  for (const object of objects) {
    const key = childText(object, 'Key', false) ?? ''
    const versionId = childText(object, 'VersionId')
    try {
      if (key === '') throw new S3Error(400, 'UserKeyMustBeSpecified', 'A key must be specified.')
      checkKey(key)
      const done = remove(call, key, versionId, childText(object, 'ETag'))
      if (quiet) continue
      out += `<Deleted>${element('Key', key)}${element('VersionId', versionId)}${element('DeleteMarker', done.deleteMarker)}${element('DeleteMarkerVersionId', done.markerId)}</Deleted>`
    } catch (error) {
      if (!(error instanceof S3Error)) throw error
      out += `<Error>${element('Key', key)}${element('VersionId', versionId)}${element('Code', error.code)}${element('Message', error.message)}</Error>`
    }
  }
  return { status: 200, body: `${xmlHead}<DeleteResult${xmlns}>${out}</DeleteResult>` }
}
