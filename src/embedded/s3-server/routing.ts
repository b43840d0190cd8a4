/** What is asked for: bucket, key and query of a request's target, and the operation that answers it. */
import type { IncomingMessage } from 'node:http'
import { headBucket } from './buckets.ts'
import type { Call, Reply } from './call.ts'
import { copyObject } from './copy.ts'
import { deleteObject, deleteObjects } from './delete.ts'
import { listObjects } from './listing.ts'
import {
  abortMultipartUpload,
  completeMultipartUpload,
  createMultipartUpload,
  listMultipartUploads,
  listParts,
  uploadPart,
  uploadPartCopy,
} from './multipart.ts'
import { getObject, putObject } from './objects.ts'
import { S3Error } from './xml.ts'

export interface Operation {
  name: string
  run: (call: Call) => Promise<Reply>
}

/** What can be asked of the service, of a bucket and of an object: by method, sub-resource and `copy`. */
export interface Operations {
  service: Record<string, Operation>
  bucket: Record<string, Operation>
  object: Record<string, Operation>
}

export const operation = (name: string, run: (call: Call) => Promise<Reply>): Operation => ({ name, run })

/** Sub-resources of S3. One that is asked for and not in the table below is refused, never taken for its parent. */
const subresources = new Set([
  'accelerate',
  'acl',
  'analytics',
  'attributes',
  'cors',
  'delete',
  'encryption',
  'intelligent-tiering',
  'inventory',
  'legal-hold',
  'lifecycle',
  'location',
  'logging',
  'metadataConfiguration',
  'metadataTable',
  'metrics',
  'notification',
  'object-lock',
  'ownershipControls',
  'policy',
  'policyStatus',
  'publicAccessBlock',
  'renameObject',
  'replication',
  'requestPayment',
  'restore',
  'retention',
  'select',
  'session',
  'tagging',
  'torrent',
  'uploadId',
  'uploads',
  'versioning',
  'versions',
  'website',
])

export const operations: Operations = {
  service: {},
  bucket: {
    GET: operation('ListObjectsV2', listObjects),
    HEAD: operation('HeadBucket', headBucket),
    'GET uploads': operation('ListMultipartUploads', listMultipartUploads),
    'POST delete': operation('DeleteObjects', deleteObjects),
  },
  object: {
    GET: operation('GetObject', getObject),
    HEAD: operation('HeadObject', getObject),
    PUT: operation('PutObject', putObject),
    DELETE: operation('DeleteObject', deleteObject),
    'PUT copy': operation('CopyObject', copyObject),
    'POST uploads': operation('CreateMultipartUpload', createMultipartUpload),
    'PUT uploadId': operation('UploadPart', uploadPart),
    'PUT uploadId copy': operation('UploadPartCopy', uploadPartCopy),
    'GET uploadId': operation('ListParts', listParts),
    'POST uploadId': operation('CompleteMultipartUpload', completeMultipartUpload),
    'DELETE uploadId': operation('AbortMultipartUpload', abortMultipartUpload),
  },
}

export interface Target {
  bucket: string
  key: string
  path: string
  pairs: [string, string][]
  query: Map<string, string>
}

/** Path and query, percent-decoded. S3 reads `+` as a space in both. @throws S3Error InvalidURI */
export function parseTarget(url: string): Target {
  const at = url.indexOf('?')
  const rawPath = at === -1 ? url : url.slice(0, at)
  const decode = (text: string) => {
    if (!text.includes('%') && !text.includes('+')) return text
    try {
      return decodeURIComponent(text.replace(/\+/g, ' '))
    } catch {
      throw new S3Error(400, 'InvalidURI', "Couldn't parse the specified URI.", { URI: rawPath })
    }
  }
  const path = decode(rawPath)
  const pairs: [string, string][] = []
  if (at !== -1) {
    for (const pair of url.slice(at + 1).split('&')) {
      if (pair === '') continue
      const equals = pair.indexOf('=')
      pairs.push(
        equals === -1 ? [decode(pair), ''] : [decode(pair.slice(0, equals)), decode(pair.slice(equals + 1))],
      )
    }
  }
  const slash = path.indexOf('/', 1)
  return {
    bucket: slash === -1 ? path.slice(1) : path.slice(1, slash),
    key: slash === -1 ? '' : path.slice(slash + 1),
    path,
    pairs,
    query: new Map(pairs),
  }
}

/** The operation that a request asks for; undefined when S3 has none, or this server does not know it. */
export function route(
  request: IncomingMessage,
  target: Target,
  { service, bucket, object }: Operations,
): Operation | undefined {
  const table = target.bucket === '' ? service : target.key === '' ? bucket : object
  const asked = [...target.query.keys()].filter(name => subresources.has(name))
  if (asked.length > 1) return undefined
  const words = [request.method ?? '', ...asked]
  if (request.headers['x-amz-copy-source'] !== undefined) words.push('copy')
  return table[words.join(' ')]
}
