/** Multipart uploads. */
import { createHash, randomBytes } from 'node:crypto'
import { compareUtf8 } from '../../core/utf8-order.ts'
import { type Call, checkKey, invalidArgument, invalidRequest, type Reply } from './call.ts'
import { type Algorithm, algorithms, checksumHeader, isCrc, joinCrcs } from './checksums.ts'
import { checkWriteConditions, conditionally, etagMatches } from './conditions.ts'
import { copySource, digestSegments } from './copy.ts'
import { type Checksum, type Part, sliceSegments, type Upload, type Version } from './disk.ts'
import { firstOf, owner, pageEncoding, refuseDelimiter } from './listing.ts'
import { putReplyHeaders } from './objects.ts'
import { readRange } from './ranges.ts'
import { storedHeaders } from './stored-headers.ts'
import { tagsFromHeader } from './tagging.ts'
import { versionIdFor } from './versions.ts'
import {
  children,
  childText,
  element,
  iso,
  malformedXml,
  parseDocument,
  S3Error,
  xmlHead,
  xmlns,
} from './xml.ts'

const maxParts = 10_000

const noSuchUpload = (id: string) =>
  new S3Error(
    404,
    'NoSuchUpload',
    'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
    { UploadId: id },
  )

function findUpload(call: Call): Upload {
  const id = call.query.get('uploadId') ?? ''
  const upload = call.disk.uploads.get(id)
  if (!upload || upload.bucket !== call.bucketName || upload.key !== call.key) throw noSuchUpload(id)
  return upload
}

export async function createMultipartUpload(call: Call): Promise<Reply> {
  checkKey(call.key)
  const asked = call.header('x-amz-checksum-algorithm')?.toUpperCase()
  const type = call.header('x-amz-checksum-type')?.toUpperCase() ?? (asked === 'CRC64NVME' && 'FULL_OBJECT')
  // A checksum that is made of those of the parts is not kept: each part is held against its own.
  const algorithm = type === 'FULL_OBJECT' ? algorithms.find(a => a === asked) : undefined
  if (algorithm && !isCrc(algorithm)) {
    throw invalidRequest(
      `The FULL_OBJECT checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
    )
  }
  const tags = tagsFromHeader(call)
  const stored = storedHeaders(call)
  const id = randomBytes(48).toString('base64url')
  call.disk.uploads.set(id, {
    id,
    bucket: call.bucketName,
    key: call.key,
    started: call.seconds,
    ...stored,
    ...(tags && { tags }),
    ...(algorithm && { algorithm }),
    parts: new Map(),
  })
  return {
    status: 200,
    headers: {
      'x-amz-server-side-encryption': stored.headers['x-amz-server-side-encryption']!,
      ...(algorithm && { 'x-amz-checksum-algorithm': algorithm, 'x-amz-checksum-type': 'FULL_OBJECT' }),
    },
    body: `${xmlHead}<InitiateMultipartUploadResult${xmlns}>${element('Bucket', call.bucketName)}${element('Key', call.key)}${element('UploadId', id)}</InitiateMultipartUploadResult>`,
  }
}

function partNumber(call: Call): number {
  const text = call.query.get('partNumber') ?? ''
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1 || number > maxParts) {
    throw invalidArgument(
      `Part number must be an integer between 1 and ${maxParts}, inclusive`,
      'partNumber',
      text,
    )
  }
  return number
}

function partChecksum(
  upload: Upload,
  fallback: Algorithm | undefined,
  checksums: Partial<Record<Algorithm, string>>,
): Checksum | undefined {
  const algorithm = upload.algorithm ?? fallback
  const value = algorithm && checksums[algorithm]
  return algorithm && value !== undefined ? { algorithm, value } : undefined
}

export async function uploadPart(call: Call): Promise<Reply> {
  const number = partNumber(call)
  const upload = findUpload(call)
  const sent = algorithms.find(a => call.header(checksumHeader(a)) !== undefined)
  if (upload.algorithm && sent !== undefined && sent !== upload.algorithm) {
    throw invalidRequest(
      `Checksum Type mismatch occurred, expected checksum Type: ${upload.algorithm.toLowerCase()}, actual checksum Type: ${sent.toLowerCase()}`,
    )
  }
  const body = await call.storeBody(upload.algorithm ?? call.settings.defaultChecksum)
  if (!call.disk.uploads.has(upload.id)) {
    call.disk.drop(body.segments)
    throw noSuchUpload(upload.id)
  }
  const checksum = partChecksum(upload, call.settings.defaultChecksum, body.checksums)
  const part: Part = {
    number,
    size: body.size,
    etag: body.md5,
    time: call.seconds,
    ...(checksum && { checksum }),
    segments: body.segments,
  }
  call.disk.addPart(upload, part)
  const shown = body.sent ?? upload.algorithm
  return {
    status: 200,
    headers: {
      etag: `"${part.etag}"`,
      'x-amz-server-side-encryption': upload.headers['x-amz-server-side-encryption']!,
      ...(shown && { [checksumHeader(shown)]: body.checksums[shown]! }),
    },
  }
}

export async function uploadPartCopy(call: Call): Promise<Reply> {
  const number = partNumber(call)
  const upload = findUpload(call)
  const source = copySource(call)
  try {
    const text = call.header('x-amz-copy-source-range')
    const range = readRange(text, source.size) ?? { start: 0, end: source.size }
    if (text !== undefined && text !== `bytes=${range.start}-${range.end - 1}`) {
      throw invalidArgument(
        'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
        'x-amz-copy-source-range',
        text,
      )
    }
    const segments = sliceSegments(source.segments, range.start, range.end)
    const algorithm = upload.algorithm ?? call.settings.defaultChecksum
    const { md5, checksum: value } = await digestSegments(call.disk, segments, algorithm)
    if (!call.disk.uploads.has(upload.id)) throw noSuchUpload(upload.id)
    const checksum = partChecksum(upload, algorithm, algorithm && value ? { [algorithm]: value } : {})
    const part: Part = {
      number,
      size: range.end - range.start,
      etag: md5,
      time: call.seconds,
      ...(checksum && { checksum }),
      segments,
    }
    call.disk.addPart(upload, part)
    return {
      status: 200,
      headers: source.id === 'null' ? {} : { 'x-amz-copy-source-version-id': source.id },
      body: `${xmlHead}<CopyPartResult${xmlns}>${element('LastModified', iso(part.time))}${element('ETag', `"${md5}"`)}${upload.algorithm && value ? element(`Checksum${upload.algorithm}`, value) : ''}</CopyPartResult>`,
    }
  } finally {
    call.disk.release(source.segments)
  }
}

const invalidPart = (id: string, number: number, etag: string) =>
  new S3Error(
    400,
    'InvalidPart',
    "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
    { UploadId: id, PartNumber: String(number), ETag: etag },
  )

interface NamedPart {
  number: number
  etag: string
  checksums: Partial<Record<Algorithm, string>>
}

function namedParts(body: Buffer): NamedPart[] {
  const parts = children(parseDocument(body, 'CompleteMultipartUpload'), 'Part').map(part => {
    const checksums: Partial<Record<Algorithm, string>> = {}
    for (const algorithm of algorithms) {
      const value = childText(part, `Checksum${algorithm}`)
      if (value !== undefined) checksums[algorithm] = value
    }
    return { number: Number(childText(part, 'PartNumber')), etag: childText(part, 'ETag') ?? '', checksums }
  })
  if (parts.length === 0 || parts.length > maxParts || parts.some(p => !Number.isInteger(p.number))) {
    throw malformedXml()
  }
  for (let i = 1; i < parts.length; i++) {
    if (parts[i]!.number <= parts[i - 1]!.number) {
      throw new S3Error(
        400,
        'InvalidPartOrder',
        'The list of parts was not in ascending order. The parts list must be specified in order by part number.',
      )
    }
  }
  return parts
}

/** The parts as they were uploaded, each one checked against what the client believes of it. */
function chooseParts(upload: Upload, named: NamedPart[], minPartSize: number): Part[] {
  const parts = named.map(({ number, etag, checksums }) => {
    const part = upload.parts.get(number)
    if (!part || !etagMatches(etag, part.etag) || etag === '*') throw invalidPart(upload.id, number, etag)
    for (const algorithm of algorithms) {
      const value = checksums[algorithm]
      if (value !== undefined && part.checksum?.algorithm === algorithm && value !== part.checksum.value) {
        throw invalidPart(upload.id, number, etag)
      }
    }
    return part
  })
  for (const part of parts.slice(0, -1)) {
    if (part.size < minPartSize) {
      throw new S3Error(
        400,
        'EntityTooSmall',
        'Your proposed upload is smaller than the minimum allowed size',
        {
          ProposedSize: String(part.size),
          MinSizeAllowed: String(minPartSize),
          PartNumber: String(part.number),
          ETag: part.etag,
        },
      )
    }
  }
  return parts
}

/** Undefined if the parts have none, or not of one kind, or one that cannot be joined. */
function wholeChecksum(parts: Part[]): Checksum | undefined {
  const algorithm = parts[0]?.checksum?.algorithm
  if (!algorithm || !isCrc(algorithm)) return undefined
  const joined = parts.flatMap(({ checksum, size }) =>
    checksum?.algorithm === algorithm ? [{ checksum: checksum.value, size }] : [],
  )
  return joined.length === parts.length ? { algorithm, value: joinCrcs(algorithm, joined) } : undefined
}

export async function completeMultipartUpload(call: Call): Promise<Reply> {
  const id = call.query.get('uploadId') ?? ''
  const named = namedParts(await call.document(false, true))
  const before = call.disk.completed.get(id)
  if (before && before.bucket === call.bucketName && before.key === call.key) {
    return completeReply(call, before.version)
  }
  return conditionally(
    call,
    async () => undefined,
    () => {
      const upload = findUpload(call)
      const parts = chooseParts(upload, named, call.settings.minPartSize)
      const size = parts.reduce((sum, p) => sum + p.size, 0)
      const promisedSize = call.header('x-amz-mp-object-size')
      if (promisedSize !== undefined && promisedSize !== String(size)) {
        throw invalidRequest(
          `The provided 'x-amz-mp-object-size' header value ${promisedSize} does not match what was computed: ${size}`,
        )
      }
      const checksum = wholeChecksum(parts)
      checkPromised(call, checksum)
      const md5 = createHash('md5')
      for (const part of parts) md5.update(part.etag, 'hex')
      const { bucket } = call
      const version: Version = {
        id: versionIdFor(bucket),
        time: call.seconds,
        size,
        etag: `${md5.digest('hex')}-${parts.length}`,
        headers: upload.headers,
        meta: upload.meta,
        ...(upload.tags && { tags: upload.tags }),
        ...(checksum && { checksum }),
        segments: parts.flatMap(p => p.segments),
      }
      checkWriteConditions(call, bucket)
      call.disk.put(bucket, call.key, version, upload)
      return completeReply(call, version)
    },
    () => {},
  )
}

/** The checksum of the whole object, when the client names one. */
function checkPromised(call: Call, checksum: Checksum | undefined): void {
  const type = call.header('x-amz-checksum-type')?.toUpperCase()
  if (type !== undefined && type !== 'FULL_OBJECT') {
    throw invalidRequest(
      'The upload was created using the FULL_OBJECT checksum mode. The complete request must use the same checksum mode.',
    )
  }
  for (const algorithm of algorithms) {
    const promised = call.header(checksumHeader(algorithm))
    if (promised === undefined) continue
    if (algorithm !== checksum?.algorithm) {
      throw invalidRequest(
        `Checksum Type mismatch occurred, expected checksum Type: ${checksum?.algorithm.toLowerCase() ?? 'null'}, actual checksum Type: ${algorithm.toLowerCase()}`,
      )
    }
    if (promised !== checksum.value) {
      throw new S3Error(
        400,
        'BadDigest',
        `The ${algorithm.toLowerCase()} you specified did not match the calculated checksum.`,
      )
    }
  }
}

function completeReply(call: Call, version: Version): Reply {
  const sum = version.checksum
  return {
    status: 200,
    headers: putReplyHeaders(call.bucket, version),
    body: `${xmlHead}<CompleteMultipartUploadResult${xmlns}>${element('Location', `http://${call.header('host')}/${call.bucketName}/${encodeURIComponent(call.key)}`)}${element('Bucket', call.bucketName)}${element('Key', call.key)}${element('ETag', `"${version.etag}"`)}${sum ? element(`Checksum${sum.algorithm}`, sum.value) + element('ChecksumType', 'FULL_OBJECT') : ''}</CompleteMultipartUploadResult>`,
  }
}

export async function abortMultipartUpload(call: Call): Promise<Reply> {
  call.disk.forgetUpload(findUpload(call).id)
  return { status: 204 }
}

export async function listParts(call: Call): Promise<Reply> {
  const upload = findUpload(call)
  const max = call.count('max-parts', 1000, 1000)
  const marker = call.count('part-number-marker', 0, maxParts)
  const after = [...upload.parts.values()].filter(p => p.number > marker).sort((a, b) => a.number - b.number)
  const shown = after.slice(0, max)
  const truncated = after.length > shown.length
  const parts = shown.map(
    p =>
      `<Part>${element('PartNumber', p.number)}${element('LastModified', iso(p.time))}${element('ETag', `"${p.etag}"`)}${element('Size', p.size)}${p.checksum && upload.algorithm ? element(`Checksum${p.checksum.algorithm}`, p.checksum.value) : ''}</Part>`,
  )
  const next = shown.at(-1)?.number ?? marker
  return {
    status: 200,
    body: `${xmlHead}<ListPartsResult${xmlns}>${element('Bucket', call.bucketName)}${element('Key', call.key)}${element('UploadId', upload.id)}${owner('Initiator')}${owner('Owner')}${element('StorageClass', upload.headers['x-amz-storage-class'] ?? 'STANDARD')}${element('PartNumberMarker', marker)}${element('NextPartNumberMarker', next)}${element('MaxParts', max)}${element('IsTruncated', truncated)}${upload.algorithm ? element('ChecksumAlgorithm', upload.algorithm) + element('ChecksumType', 'FULL_OBJECT') : ''}${parts.join('')}</ListPartsResult>`,
  }
}

export async function listMultipartUploads(call: Call): Promise<Reply> {
  refuseDelimiter(call)
  const { text, encodingType } = pageEncoding(call)
  const prefix = call.query.get('prefix') ?? ''
  const keyMarker = call.query.get('key-marker') ?? ''
  const uploadMarker = keyMarker === '' ? '' : (call.query.get('upload-id-marker') ?? '')
  const max = call.count('max-uploads', 1000, 1000)
  const uploads = [...call.disk.uploads.values()]
    .filter(u => u.bucket === call.bucketName && u.key.startsWith(prefix))
    .sort((a, b) => compareUtf8(a.key, b.key) || a.started - b.started || (a.id < b.id ? -1 : 1))
  let from = 0
  if (keyMarker !== '') {
    const at = uploads.findIndex(u => u.key === keyMarker && u.id === uploadMarker)
    const past = uploads.findIndex(u => compareUtf8(u.key, keyMarker) > 0)
    from = uploadMarker !== '' && at !== -1 ? at + 1 : past === -1 ? uploads.length : past
  }
  const { items, truncated } = firstOf(uploads.slice(from), max)
  const last = items.at(-1)
  const rows = items.map(
    u =>
      `<Upload>${element('Key', text(u.key))}${element('UploadId', u.id)}${owner('Initiator')}${owner('Owner')}${element('StorageClass', u.headers['x-amz-storage-class'] ?? 'STANDARD')}${element('Initiated', iso(u.started))}${u.algorithm ? element('ChecksumAlgorithm', u.algorithm) + element('ChecksumType', 'FULL_OBJECT') : ''}</Upload>`,
  )
  const next = truncated
    ? element('NextKeyMarker', text(last?.key ?? '')) + element('NextUploadIdMarker', last?.id)
    : ''
  return {
    status: 200,
    body: `${xmlHead}<ListMultipartUploadsResult${xmlns}>${element('Bucket', call.bucketName)}${element('KeyMarker', text(keyMarker))}${element('UploadIdMarker', uploadMarker)}${next}${element('Prefix', text(prefix))}${element('MaxUploads', max)}${element('EncodingType', encodingType)}${element('IsTruncated', truncated)}${rows.join('')}</ListMultipartUploadsResult>`,
  }
}
