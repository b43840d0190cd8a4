import { defineCommand } from '../cli/command.ts'
import { refuseJobAlone } from '../cli/flags.ts'
import { flags } from './flags.ts'

export const fetch = defineCommand({
  name: 'fetch',
  summary: 'get audio for tracks that have none, into S3',
  selects: 'tracks',
  settings: ['database', 'store', 'audio', 'fetch'],
  description:
    'Takes tracks that are UNAVAILABLE or whose local file is gone, and looks for their audio in this order: ' +
    'an object that is in S3 already, a file of that artist and title in the audio folder, --url, FETCH_COMMAND, and ' +
    'the preview that the row names. A track that cannot be found is marked UNAVAILABLE, with the reason in the ledger.',
  examples: [
    ['autodj fetch --dry-run', 'show which tracks have no audio'],
    ['autodj fetch --from s3 --from local', 'download nothing'],
    [
      'autodj fetch --url "https://music.example.com/{spotify_id}.mp3" --rate 30',
      'from a server of yours, politely',
    ],
    ['autodj fetch --enqueue', 'for `autodj worker`'],
    ['autodj fetch --normalize', 'bring downloads to -16 LUFS'],
  ],
  flags,

  async run(context, values) {
    refuseJobAlone(values)
    const { enqueueFetch, runFetch } = await import('./run.ts')
    if (values.enqueue && !values.dryRun) {
      const { refuseWithEnqueue } = await import('../queue/enqueue.ts')
      refuseWithEnqueue(flags, values, ['concurrency', 'maxDuration', 'bwlimit', 'lockWait', 'rate'])
      return enqueueFetch(context, values)
    }
    return runFetch(context, values)
  },
})
