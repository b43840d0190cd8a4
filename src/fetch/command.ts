import { defineCommand } from '../cli/command.ts'
import { flag, refuseJobAlone, shared } from '../cli/flags.ts'

const MiB = 1024 ** 2

export const fetch = defineCommand({
  name: 'fetch',
  summary: 'get audio for tracks that have none, into S3',
  description:
    'Takes the tracks that are UNAVAILABLE, or whose local file is gone, and looks for their audio in this order: ' +
    'an object that is in S3 already, a file of that artist and title in the audio folder, --url, FETCH_COMMAND, and ' +
    'the preview that the row names. What cannot be had is marked UNAVAILABLE with the reason in the ledger.',
  examples: [
    ['autodj fetch --dry-run', 'which tracks have no audio'],
    ['autodj fetch --from s3 --from local', 'nothing from outside'],
    [
      'autodj fetch --url "https://music.example.com/{spotify_id}.mp3" --rate 30',
      'from a server of yours, politely',
    ],
    ['autodj fetch --enqueue', 'for `autodj worker`'],
    ['autodj fetch --normalize', 'downloads at -16 LUFS'],
  ],
  flags: {
    dryRun: shared.dryRun,
    concurrency: { ...shared.concurrency, description: 'tracks at a time', defaultText: '4' },
    limit: shared.limit,
    maxDuration: shared.maxDuration,
    retryFailed: shared.retryFailed,
    track: flag.list('--track <id>', 'only this track; may be repeated'),
    from: flag.list('--from <source>', 's3, local, url, command or preview; may be repeated (all)'),
    url: flag.secretUrl(
      '--url <template>',
      'where to download; {spotify_id} {id} {artist} {title} {album} are filled in',
    ),
    privatePreviews: flag.boolean(
      '--private-previews',
      'let preview URLs of the database lead to addresses inside your network',
    ),
    maxSize: flag.bytes('--max-size <size>', 'refuse what is larger', { min: 1 }, 512 * MiB, '512M'),
    timeout: flag.duration('--timeout <time>', 'for FETCH_COMMAND, and for each pass of ffmpeg', '10m'),
    rate: flag.integer('--rate <n>', 'downloads begun a minute at most', { min: 1, max: 6_000 }),
    normalize: flag.boolean('--normalize', 'bring downloads to -16 LUFS, -1.5 dBTP (needs ffmpeg)'),
    enqueue: shared.enqueue,
    job: shared.job,
  },

  async run(context, flags) {
    refuseJobAlone(flags)
    const { enqueueFetch, runFetch } = await import('./run.ts')
    if (flags.enqueue && !flags.dryRun) {
      const { refuseWithEnqueue } = await import('../queue/enqueue.ts')
      refuseWithEnqueue(this.flags, flags, ['concurrency', 'maxDuration', 'rate'])
      return enqueueFetch(context, flags)
    }
    return runFetch(context, flags)
  },
})
