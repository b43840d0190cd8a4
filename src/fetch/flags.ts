/** Flags of `autodj fetch`. */
import { flag, shared, type ValuesOf } from '../cli/flags.ts'

export const flags = {
  dryRun: shared.dryRun,
  concurrency: { ...shared.concurrency, description: 'number of tracks at a time', defaultText: '4' },
  limit: shared.limit,
  maxDuration: shared.maxDuration,
  bwlimit: shared.bwlimit,
  lockWait: shared.lockWait,
  retryFailed: shared.retryFailed,
  force: shared.force,
  track: flag.list('--track <id>', 'only this track; may be repeated'),
  from: flag.list(
    '--from <source>',
    'look only in s3, local, url, command or preview; may be repeated (default: all)',
  ),
  url: flag.secretUrl(
    '--url <template>',
    'download from this URL; {spotify_id} {id} {artist} {title} {album} are filled in',
  ),
  privatePreviews: flag.boolean(
    '--private-previews',
    'allow preview URLs from the database to point to addresses inside your network',
  ),
  maxSize: flag.bytes('--max-size <size>', 'refuse files larger than this', { min: 1 }, '512M'),
  timeout: flag.duration(
    '--timeout <time>',
    'time limit for FETCH_COMMAND, and for each pass of ffmpeg',
    '10m',
  ),
  rate: flag.integer('--rate <n>', 'start at most this many downloads a minute', { min: 1, max: 6_000 }),
  normalize: flag.boolean('--normalize', 'bring downloads to -16 LUFS, -1.5 dBTP (needs ffmpeg)'),
  enqueue: shared.enqueue,
  job: shared.job,
}

export type FetchFlags = ValuesOf<typeof flags>
