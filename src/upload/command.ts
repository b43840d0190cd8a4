import { defineCommand } from '../cli/command.ts'
import { flag, refuseJobAlone, shared } from '../cli/flags.ts'
import { parseBandwidth } from '../core/bandwidth.ts'
import { minPartSize } from '../core/upload/multipart.ts'
import { ExitCode } from '../errors.ts'

const MiB = 1024 ** 2

export const uploadLocal = defineCommand({
  name: 'upload-local',
  summary: 'upload local audio to S3, every checksum confirmed',
  settings: ['database', 'store', 'cdn', 'audio'],
  description:
    'Takes the tracks whose audio is a local file, uploads it and, once the server has confirmed the checksum, ' +
    'writes key and source to the database. Interrupt it, kill it, run it on several machines: what is done stays ' +
    'done, a large file goes on at the part where it stopped, and running it again uploads nothing twice. Where ' +
    'other headers are asked for than a half sent file was begun with (--storage-class, --sse, --tag, --acl), it ' +
    'is sent anew.',
  examples: [
    ['autodj upload-local --dry-run', 'what would be uploaded, what it takes and what it costs'],
    ['autodj upload-local', 'do it'],
    ['autodj upload-local --bwlimit "08:00,1M 19:00,off" --max-duration 6h', 'from cron, politely'],
    ['autodj upload-local --enqueue', 'for `autodj worker`, on machines that share the audio folder'],
    ['autodj upload-local --retry-failed', 'only what failed before'],
  ],
  flags: {
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
    deleteLocal: flag.boolean(
      '--delete-local',
      'delete each local file once its object is proved, also through the CDN',
    ),
    maxDuration: shared.maxDuration,
    maxOutage: flag.duration('--max-outage <time>', 'wait this long for S3 to come back', '10m'),
    bwlimit: {
      ...flag.custom(
        '--bwlimit <rate>',
        shared.bwlimit.description,
        'a rate (10M) or a timetable (08:00,512K 19:00,off)',
        parseBandwidth,
      ),
    },
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
  },

  async run(context, flags) {
    refuseJobAlone(flags)
    const { enqueueUpload, readUploadRequest, planUpload, runUpload } = await import('./run.ts')
    const request = await readUploadRequest(context, flags)
    if (flags.dryRun) {
      await planUpload(context, request)
      return ExitCode.ok
    }
    if (flags.enqueue) {
      const { refuseWithEnqueue } = await import('../queue/enqueue.ts')
      refuseWithEnqueue(this.flags, flags, [
        'concurrency',
        'maxDuration',
        'maxOutage',
        'bwlimit',
        'memory',
        'multipartThreshold',
        'partSize',
      ])
      return enqueueUpload(context, request, flags.job)
    }
    context.limitDuration(flags.maxDuration)
    return runUpload(context, request)
  },
})
