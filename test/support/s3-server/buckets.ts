/** Buckets and the settings documents they carry. CORS is the one setting the server itself obeys. */
import { makeBucket, xmlDocument } from '../../../src/embedded/s3-server/buckets.ts'
import type { Call, Reply } from '../../../src/embedded/s3-server/call.ts'
import type { Bucket } from '../../../src/embedded/s3-server/disk.ts'
import { owner } from '../../../src/embedded/s3-server/listing.ts'
import {
  childText,
  element,
  iso,
  parseDocument,
  S3Error,
  xmlHead,
  xmlns,
} from '../../../src/embedded/s3-server/xml.ts'
import { readCors } from './cors.ts'

export async function listBuckets(call: Call): Promise<Reply> {
  const buckets = [...call.disk.buckets.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(
      b =>
        `<Bucket>${element('Name', b.name)}${element('CreationDate', iso(b.created))}${element('BucketRegion', b.region)}</Bucket>`,
    )
  return {
    status: 200,
    body: `${xmlHead}<ListAllMyBucketsResult${xmlns}>${owner('Owner')}<Buckets>${buckets.join('')}</Buckets></ListAllMyBucketsResult>`,
  }
}

export async function createBucket(call: Call): Promise<Reply> {
  const body = call.header('content-length') === undefined ? Buffer.alloc(0) : await call.document(false)
  const asked =
    body.length > 0
      ? childText(parseDocument(body, 'CreateBucketConfiguration'), 'LocationConstraint')
      : undefined
  const region = asked ?? 'us-east-1'
  if (region !== call.settings.region) {
    throw new S3Error(
      400,
      'IllegalLocationConstraintException',
      `The ${asked ?? 'unspecified'} location constraint is incompatible for the region specific endpoint this request was sent to.`,
    )
  }
  if (call.disk.buckets.has(call.bucketName)) {
    // In us-east-1 alone making one's own bucket again is not an error.
    if (region !== 'us-east-1') {
      throw new S3Error(
        409,
        'BucketAlreadyOwnedByYou',
        'Your previous request to create the named bucket succeeded and you already own it.',
        { BucketName: call.bucketName },
      )
    }
  } else makeBucket(call.disk, call.bucketName, region, call.now)
  return { status: 200, headers: { location: `/${call.bucketName}` } }
}

export async function deleteBucket(call: Call): Promise<Reply> {
  if (call.bucket.entries.size > 0) {
    throw new S3Error(409, 'BucketNotEmpty', 'The bucket you tried to delete is not empty', {
      BucketName: call.bucketName,
    })
  }
  call.disk.dropBucket(call.bucketName)
  return { status: 204 }
}

export const getBucketLocation = async (call: Call): Promise<Reply> => ({
  status: 200,
  body: xmlDocument('LocationConstraint', call.bucket.region === 'us-east-1' ? '' : call.bucket.region),
})

export const getBucketVersioning = async (call: Call): Promise<Reply> => ({
  status: 200,
  body: xmlDocument('VersioningConfiguration', element('Status', call.bucket.versioning)),
})

export async function putBucketVersioning(call: Call): Promise<Reply> {
  const status = childText(parseDocument(await call.document(false), 'VersioningConfiguration'), 'Status')
  if (status !== 'Enabled' && status !== 'Suspended') {
    throw new S3Error(
      400,
      'IllegalVersioningConfigurationException',
      'The Versioning element must be specified',
    )
  }
  call.bucket.versioning = status
  return { status: 200 }
}

interface DocumentKind {
  /** the sub-resource in the query */
  param: string
  /** as in the operations' names */
  get: string
  put: string
  delete?: string
  root: string | 'json'
  putStatus: number
  /** what an absent one answers: an error code, or a document */
  absent: { code: string; message: string } | { document: string }
}

const absent = (code: string, message: string) => ({ code, message })

/** Settings that are kept as the documents they came as. */
export const documents: readonly DocumentKind[] = [
  {
    param: 'cors',
    get: 'GetBucketCors',
    put: 'PutBucketCors',
    delete: 'DeleteBucketCors',
    root: 'CORSConfiguration',
    putStatus: 200,
    absent: absent('NoSuchCORSConfiguration', 'The CORS configuration does not exist'),
  },
  {
    param: 'lifecycle',
    get: 'GetBucketLifecycleConfiguration',
    put: 'PutBucketLifecycleConfiguration',
    delete: 'DeleteBucketLifecycle',
    root: 'LifecycleConfiguration',
    putStatus: 200,
    absent: absent('NoSuchLifecycleConfiguration', 'The lifecycle configuration does not exist'),
  },
  {
    param: 'encryption',
    get: 'GetBucketEncryption',
    put: 'PutBucketEncryption',
    delete: 'DeleteBucketEncryption',
    root: 'ServerSideEncryptionConfiguration',
    putStatus: 200,
    absent: {
      document: xmlDocument(
        'ServerSideEncryptionConfiguration',
        '<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>',
      ),
    },
  },
  {
    param: 'publicAccessBlock',
    get: 'GetPublicAccessBlock',
    put: 'PutPublicAccessBlock',
    delete: 'DeletePublicAccessBlock',
    root: 'PublicAccessBlockConfiguration',
    putStatus: 200,
    absent: absent(
      'NoSuchPublicAccessBlockConfiguration',
      'The public access block configuration was not found',
    ),
  },
  {
    param: 'ownershipControls',
    get: 'GetBucketOwnershipControls',
    put: 'PutBucketOwnershipControls',
    delete: 'DeleteBucketOwnershipControls',
    root: 'OwnershipControls',
    putStatus: 200,
    absent: absent('OwnershipControlsNotFoundError', 'The bucket ownership controls were not found'),
  },
  {
    param: 'logging',
    get: 'GetBucketLogging',
    put: 'PutBucketLogging',
    root: 'BucketLoggingStatus',
    putStatus: 200,
    absent: { document: xmlDocument('BucketLoggingStatus', '') },
  },
  {
    param: 'policy',
    get: 'GetBucketPolicy',
    put: 'PutBucketPolicy',
    delete: 'DeleteBucketPolicy',
    root: 'json',
    putStatus: 204,
    absent: absent('NoSuchBucketPolicy', 'The bucket policy does not exist'),
  },
  {
    param: 'tagging',
    get: 'GetBucketTagging',
    put: 'PutBucketTagging',
    delete: 'DeleteBucketTagging',
    root: 'Tagging',
    putStatus: 204,
    absent: absent('NoSuchTagSet', 'The TagSet does not exist'),
  },
]

export async function getDocument(call: Call, kind: DocumentKind): Promise<Reply> {
  const body = call.bucket.documents.get(kind.param)
  if (body !== undefined) {
    return {
      status: 200,
      headers: {
        'content-type': kind.root === 'json' ? 'application/json' : 'application/xml',
        ...(kind.param === 'lifecycle' && {
          'x-amz-transition-default-minimum-object-size': 'all_storage_classes_128K',
        }),
      },
      body: asAnswered(kind.param, body),
    }
  }
  if ('document' in kind.absent) return { status: 200, body: kind.absent.document }
  throw new S3Error(404, kind.absent.code, kind.absent.message, { BucketName: call.bucketName })
}

/** S3 answers another document than it was given: rules sorted by their id, what is the default written out. */
function asAnswered(param: string, body: string): string {
  const rules = body.match(/<Rule>[\s\S]*?<\/Rule>/g)
  if (rules === null) return body
  if (param === 'lifecycle') {
    const id = (rule: string) => /<ID>([^<]*)<\/ID>/.exec(rule)?.[1] ?? ''
    const sorted = rules.toSorted((a, b) => (id(a) < id(b) ? -1 : 1))
    let next = 0
    return body.replace(/<Rule>[\s\S]*?<\/Rule>/g, () => sorted[next++] as string)
  }
  if (param === 'encryption' && !body.includes('<BucketKeyEnabled>'))
    return body.replaceAll('</Rule>', '<BucketKeyEnabled>false</BucketKeyEnabled></Rule>')
  return body
}

export async function putDocument(call: Call, kind: DocumentKind): Promise<Reply> {
  const body = await call.document(kind.root !== 'json')
  if (kind.root === 'json') checkPolicy(body, call.bucket)
  else {
    const root = parseDocument(body, kind.root)
    if (kind.param === 'cors') readCors(root)
  }
  call.bucket.documents.set(kind.param, body.toString('utf8'))
  return { status: kind.putStatus }
}

export async function deleteDocument(call: Call, kind: DocumentKind): Promise<Reply> {
  call.bucket.documents.delete(kind.param)
  return { status: 204 }
}

function checkPolicy(body: Buffer, bucket: Bucket): void {
  let policy: unknown
  try {
    policy = JSON.parse(body.toString('utf8'))
  } catch {
    throw new S3Error(400, 'MalformedPolicy', 'This policy contains invalid Json')
  }
  if (typeof policy !== 'object' || policy === null || !('Statement' in policy)) {
    throw new S3Error(400, 'MalformedPolicy', 'Missing required field Statement')
  }
  const block = bucket.documents.get('publicAccessBlock')
  if (block?.includes('<BlockPublicPolicy>true') && isPublicPolicy(policy)) {
    throw new S3Error(
      403,
      'AccessDenied',
      'User is not authorized to perform: s3:PutBucketPolicy on resource because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.',
    )
  }
}

/** Allows everybody without a condition. (S3 also weighs which conditions are narrow enough; here any one is.) */
function isPublicPolicy(policy: object): boolean {
  const statements: unknown = 'Statement' in policy ? policy.Statement : []
  return [statements].flat().some(statement => {
    if (typeof statement !== 'object' || statement === null) return false
    const { Effect, Principal, Condition } = statement as Record<string, unknown>
    if (Effect !== 'Allow' || (Condition && Object.keys(Condition).length > 0)) return false
    if (Principal === '*') return true
    const aws = typeof Principal === 'object' && Principal !== null && 'AWS' in Principal && Principal.AWS
    return [aws].flat().includes('*')
  })
}

export async function getBucketPolicyStatus(call: Call): Promise<Reply> {
  const policy = call.bucket.documents.get('policy')
  if (policy === undefined) {
    throw new S3Error(404, 'NoSuchBucketPolicy', 'The bucket policy does not exist', {
      BucketName: call.bucketName,
    })
  }
  return {
    status: 200,
    body: xmlDocument('PolicyStatus', element('IsPublic', isPublicPolicy(JSON.parse(policy)))),
  }
}
