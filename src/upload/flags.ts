/** Flags of `autodj upload-local`. */
import { flag, shared, type ValuesOf } from '../cli/flags.ts'
import { minPartSize } from '../core/upload/multipart.ts'

const MiB = 1024 ** 2

export const flags = {
  dryRun: shared.dryRun,
  concurrency: {
    ...shared.concurrency,
    description: 'transfers at a time, fixed (default: found out while running, up to 64)',
  },
  limit: shared.limit,
  filesFrom: {
    ...shared.filesFrom,
    description: 'take only these: file paths as in the database or track ids, one a line; - is stdin',
  },
  retryFailed: shared.retryFailed,
  force: shared.force,
  deleteLocal: flag.boolean(
    '--delete-local',
    'delete each local file once its object is proved, also through the CDN',
  ),
  maxDuration: shared.maxDuration,
  lockWait: shared.lockWait,
  maxOutage: flag.duration('--max-outage <time>', 'wait this long for S3 to come back', '10m'),
  bwlimit: shared.bwlimit,
  memory: flag.bytes('--memory <size>', 'what the process may take', { min: 64 * MiB }, 256 * MiB, '256M'),
  multipartThreshold: flag.bytes(
    '--multipart-threshold <size>',
    'larger files go in parts',
    { min: minPartSize, max: 5 * 1024 * MiB },
    16 * MiB,
    '16M',
  ),
  partSize: flag.bytes(
    '--part-size <size>',
    'of a part; grows where a file would need over 10,000',
    { min: minPartSize, max: 1024 * MiB },
    8 * MiB,
    '8M',
  ),
  storageClass: flag.choice('--storage-class <class>', 'of the objects', [
    'STANDARD',
    'STANDARD_IA',
    'INTELLIGENT_TIERING',
    'ONEZONE_IA',
    'GLACIER_IR',
    'REDUCED_REDUNDANCY',
  ]),
  sse: flag.choice('--sse <mode>', 'server-side encryption', ['AES256', 'aws:kms']),
  kmsKeyId: flag.text('--kms-key-id <id>', 'key for --sse aws:kms'),
  tag: flag.list('--tag <key=value>', 'tag of every object; may be repeated'),
  acl: flag.choice('--acl <acl>', 'canned ACL; off unless given, modern buckets refuse them', [
    'private',
    'bucket-owner-full-control',
    'public-read',
    'authenticated-read',
  ]),
  enqueue: shared.enqueue,
  job: shared.job,
}

export type UploadFlags = ValuesOf<typeof flags>
