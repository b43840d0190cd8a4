/** The embedded S3 server with all else that S3 can do, and with faults to plant. */
import type { Extension } from '../../../src/embedded/s3-server/extension.ts'
import { operation, operations } from '../../../src/embedded/s3-server/routing.ts'
import {
  type S3ServerOptions as PlainOptions,
  type S3Server as PlainServer,
  startS3Server as startPlain,
} from '../../../src/embedded/s3-server/server.ts'
import {
  createBucket,
  deleteBucket,
  deleteDocument,
  documents,
  getBucketLocation,
  getBucketPolicyStatus,
  getBucketVersioning,
  getDocument,
  listBuckets,
  putBucketVersioning,
  putDocument,
} from './buckets.ts'
import { corsHeaders, preflight } from './cors.ts'
import { type FaultRule, FaultRules, interference } from './faults.ts'
import { deleteObjectTagging, getObjectTagging, putObjectTagging } from './tagging.ts'
import { getObjectAcl, listObjectVersions } from './versions.ts'

const everything = {
  service: { ...operations.service, GET: operation('ListBuckets', listBuckets) },
  bucket: {
    ...operations.bucket,
    PUT: operation('CreateBucket', createBucket),
    DELETE: operation('DeleteBucket', deleteBucket),
    'GET location': operation('GetBucketLocation', getBucketLocation),
    'GET versions': operation('ListObjectVersions', listObjectVersions),
    'GET versioning': operation('GetBucketVersioning', getBucketVersioning),
    'PUT versioning': operation('PutBucketVersioning', putBucketVersioning),
    'GET policyStatus': operation('GetBucketPolicyStatus', getBucketPolicyStatus),
    ...Object.fromEntries(
      documents.flatMap(kind => [
        [`GET ${kind.param}`, operation(kind.get, call => getDocument(call, kind))],
        [`PUT ${kind.param}`, operation(kind.put, call => putDocument(call, kind))],
        ...(kind.delete
          ? [[`DELETE ${kind.param}`, operation(kind.delete, call => deleteDocument(call, kind))]]
          : []),
      ]),
    ),
  },
  object: {
    ...operations.object,
    'GET acl': operation('GetObjectAcl', getObjectAcl),
    'GET tagging': operation('GetObjectTagging', getObjectTagging),
    'PUT tagging': operation('PutObjectTagging', putObjectTagging),
    'DELETE tagging': operation('DeleteObjectTagging', deleteObjectTagging),
  },
}

export interface S3ServerOptions extends Omit<PlainOptions, 'extension'> {
  faults?: FaultRule[]
}

export interface S3Server extends PlainServer {
  readonly faults: FaultRules
}

/** As `startS3Server` of the sources. */
export async function startS3Server({
  faults: planted = [],
  ...options
}: S3ServerOptions): Promise<S3Server> {
  const faults = new FaultRules()
  for (const rule of planted) faults.add(rule)
  const extension: Extension = {
    operations: everything,
    preflight,
    corsHeaders: (bucket, origin, method) => corsHeaders(bucket, origin, method, []),
    interfere(record) {
      const fault = faults.next(record)
      return fault && interference(fault)
    },
  }
  return { ...(await startPlain({ ...options, extension })), faults }
}
