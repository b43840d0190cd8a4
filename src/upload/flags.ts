/** Flags of `autodj upload-local`. */
import { flag, shared, type ValuesOf } from '../cli/flags.ts'
import { minPartSize } from '../core/upload/multipart.ts'

const MiB = 1024 ** 2

export const flags = {
  dryRun: shared.dryRun,
  concurrency: {
    ...shared.concurrency,
    description: 'number of transfers at a time (default: adapts, up to 256)',
  },
  limit: shared.limit,
  filesFrom: {
    ...shared.filesFrom,
    description:
      'take only the tracks this file lists, one per line: paths as in the database, or track ids; - is stdin',
  },
  retryFailed: shared.retryFailed,
  force: shared.force,
  deleteLocal: flag.boolean(
    '--delete-local',
    'delete each local file once its object is proved, also through the CDN',
  ),
  maxDuration: shared.maxDuration,
  lockWait: shared.lockWait,
  maxOutage: flag.duration('--max-outage <time>', 'wait up to this long for S3 to come back', '10m'),
  bwlimit: shared.bwlimit,
  memory: flag.bytes('--memory <size>', 'memory that the process may use', { min: 64 * MiB }, '256M'),
  multipartThreshold: flag.bytes(
    '--multipart-threshold <size>',
    'upload files larger than this in parts',
    { min: minPartSize, max: 5 * 1024 * MiB },
    '16M',
  ),
  partSize: flag.bytes(
    '--part-size <size>',
    'size of a part; grows for files that would need more than 10,000',
    { min: minPartSize, max: 1024 * MiB },
    '8M',
  ),
  storageClass: flag.choice('--storage-class <class>', 'storage class of the uploaded objects', [
    'STANDARD',
    'STANDARD_IA',
    'INTELLIGENT_TIERING',
    'ONEZONE_IA',
    'GLACIER_IR',
    'REDUCED_REDUNDANCY',
  ]),
  sse: flag.choice('--sse <mode>', 'server-side encryption', ['AES256', 'aws:kms']),
  kmsKeyId: flag.text('--kms-key-id <id>', 'KMS key for --sse aws:kms'),
  tag: flag.list('--tag <key=value>', 'tag every object with this; may be repeated'),
  acl: flag.choice('--acl <acl>', 'canned ACL for every object (default: none; modern buckets refuse them)', [
    'private',
    'bucket-owner-full-control',
    'public-read',
    'authenticated-read',
  ]),
  enqueue: shared.enqueue,
  job: shared.job,
}

export type UploadFlags = ValuesOf<typeof flags>
