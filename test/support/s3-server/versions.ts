/** What is told of objects beside their content: their versions, who may do what. */
import { type Call, invalidArgument, type Reply } from '../../../src/embedded/s3-server/call.ts'
import type { Entry, Version } from '../../../src/embedded/s3-server/disk.ts'
import {
  firstOf,
  laterOf,
  owner,
  pageEncoding,
  refuseDelimiter,
} from '../../../src/embedded/s3-server/listing.ts'
import { findVersion } from '../../../src/embedded/s3-server/versions.ts'
import { element, iso, xmlHead, xmlns } from '../../../src/embedded/s3-server/xml.ts'

/** The list of every object here: its owner may do everything, as in S3's buckets where access lists are off. */
export async function getObjectAcl(call: Call): Promise<Reply> {
  findVersion(call.bucket, call.key, call.query.get('versionId'))
  const owner = '<ID>autodj</ID>'
  const grantee = `<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">${owner}</Grantee>`
  const grant = `<Grant>${grantee}<Permission>FULL_CONTROL</Permission></Grant>`
  return {
    status: 200,
    headers: { 'content-type': 'application/xml' },
    body: `${xmlHead}<AccessControlPolicy${xmlns}><Owner>${owner}</Owner><AccessControlList>${grant}</AccessControlList></AccessControlPolicy>`,
  }
}

interface VersionRow {
  key: string
  version: Version
  latest: boolean
}

/** All versions in key order, newest first, behind a marker. */
function* versionRows(
  walk: Iterable<Entry>,
  prefix: string,
  keyMarker: string,
  versionMarker: string,
): Generator<VersionRow> {
  for (const { key, versions } of walk) {
    if (!key.startsWith(prefix)) return
    let from = 0
    if (key === keyMarker) {
      const at = versions.findIndex(v => v.id === versionMarker)
      from = versionMarker !== '' && at !== -1 ? at + 1 : versions.length
    }
    for (let i = from; i < versions.length; i++) yield { key, version: versions[i]!, latest: i === 0 }
  }
}

export async function listObjectVersions(call: Call): Promise<Reply> {
  refuseDelimiter(call)
  const { query, bucket } = call
  const { text, encodingType } = pageEncoding(call)
  const prefix = query.get('prefix') ?? ''
  const max = call.count('max-keys', 1000, 1000)
  const keyMarker = query.get('key-marker') ?? ''
  const versionMarker = query.get('version-id-marker') ?? ''
  if (versionMarker !== '' && keyMarker === '') {
    throw invalidArgument(
      'A version-id marker cannot be specified without a key marker.',
      'version-id-marker',
      versionMarker,
    )
  }
  const walk = bucket.entries.walk(laterOf(keyMarker, prefix))
  const { items, truncated } = firstOf(versionRows(walk, prefix, keyMarker, versionMarker), max)
  const rows = items.map(({ key, version, latest }) => {
    const common = `${element('Key', text(key))}${element('VersionId', version.id)}${element('IsLatest', latest)}${element('LastModified', iso(version.time))}`
    if (version.deleteMarker) return `<DeleteMarker>${common}${owner('Owner')}</DeleteMarker>`
    const sum = version.checksum
    return `<Version>${common}${element('ETag', `"${version.etag}"`)}${sum ? element('ChecksumAlgorithm', sum.algorithm) + element('ChecksumType', 'FULL_OBJECT') : ''}${element('Size', version.size)}${owner('Owner')}${element('StorageClass', version.headers['x-amz-storage-class'] ?? 'STANDARD')}</Version>`
  })
  const last = items.at(-1)
  const next = truncated
    ? element('NextKeyMarker', text(last?.key ?? '')) + element('NextVersionIdMarker', last?.version.id)
    : ''
  return {
    status: 200,
    body: `${xmlHead}<ListVersionsResult${xmlns}>${element('Name', bucket.name)}${element('Prefix', text(prefix))}${element('KeyMarker', text(keyMarker))}${element('VersionIdMarker', versionMarker)}${next}${element('MaxKeys', max)}${element('EncodingType', encodingType)}${element('IsTruncated', truncated)}${rows.join('')}</ListVersionsResult>`,
  }
}
