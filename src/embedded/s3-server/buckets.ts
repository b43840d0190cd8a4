/** Buckets: how one is made, and what is said of it. */
import type { Call, Reply } from './call.ts'
import type { Bucket, Disk } from './disk.ts'
import { element, S3Error, xmlHead, xmlns } from './xml.ts'

export const xmlDocument = (root: string, content: string): string =>
  `${xmlHead}<${root}${xmlns}>${content}</${root}>`

/** Makes a bucket with the settings S3 gives every new one. @throws S3Error InvalidBucketName */
export function makeBucket(disk: Disk, name: string, region: string, now: number): Bucket {
  if (!/^(?!xn--)(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name)) {
    throw new S3Error(400, 'InvalidBucketName', 'The specified bucket is not valid.', { BucketName: name })
  }
  const bucket = disk.addBucket(name, region, Math.floor(now / 1000) * 1000)
  const yes = ['BlockPublicAcls', 'IgnorePublicAcls', 'BlockPublicPolicy', 'RestrictPublicBuckets']
  bucket.documents.set(
    'publicAccessBlock',
    xmlDocument('PublicAccessBlockConfiguration', yes.map(n => element(n, true)).join('')),
  )
  bucket.documents.set(
    'ownershipControls',
    xmlDocument('OwnershipControls', '<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>'),
  )
  return bucket
}

export const headBucket = async (call: Call): Promise<Reply> => ({
  status: 200,
  headers: { 'x-amz-bucket-region': call.bucket.region, 'x-amz-access-point-alias': 'false' },
})
