import { defineCommand } from '../cli/command.ts'
import { refuseJobAlone } from '../cli/flags.ts'
import { ExitCode } from '../errors.ts'
import { flags } from './flags.ts'

export const uploadLocal = defineCommand({
  name: 'upload-local',
  summary: 'upload local audio to S3, with every checksum confirmed',
  selects: 'tracks',
  settings: ['database', 'store', 'cdn', 'audio'],
  description:
    'Takes the tracks whose audio is a local file, uploads it and, once the server has confirmed the checksum, ' +
    'writes key and source to the database. Interrupt it, kill it, run it on several machines: what is done stays ' +
    'done, a large file resumes at the part where it stopped, and running it again uploads nothing twice. A partly ' +
    'uploaded file is restarted if --storage-class, --sse, --tag or --acl have changed.',
  examples: [
    ['autodj upload-local --dry-run', 'show what would be uploaded, how long it takes and what it costs'],
    ['autodj upload-local', 'do it'],
    ['autodj upload-local --bwlimit "08:00,1M 19:00,off" --max-duration 6h', 'from cron, politely'],
    ['autodj upload-local --enqueue', 'for `autodj worker`, on machines that share the audio folder'],
    ['autodj upload-local --retry-failed', 'only what failed before'],
  ],
  flags,

  async run(context, values) {
    refuseJobAlone(values)
    const { enqueueUpload, readUploadRequest, planUpload, runUpload } = await import('./run.ts')
    const request = await readUploadRequest(context, values)
    if (values.dryRun) {
      await planUpload(context, request)
      return ExitCode.ok
    }
    if (values.enqueue) {
      const { refuseWithEnqueue } = await import('../queue/enqueue.ts')
      refuseWithEnqueue(flags, values, [
        'concurrency',
        'maxDuration',
        'maxOutage',
        'lockWait',
        'bwlimit',
        'memory',
        'multipartThreshold',
        'partSize',
      ])
      return enqueueUpload(context, request, values.job)
    }
    context.limitDuration(values.maxDuration)
    return runUpload(context, request)
  },
})
