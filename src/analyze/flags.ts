/** Flags of `autodj analyze`. */
import { flag, shared, type ValuesOf } from '../cli/flags.ts'

const MiB = 1024 ** 2

export const flags = {
  source: flag.choice(
    '--source <source>',
    'where the audio comes from; auto: as the row says, a local copy where it is proved to be the same bytes',
    ['auto', 's3', 'cdn', 'local'],
    'auto',
  ),
  missing: flag.boolean('--missing', 'tracks without an analysis (the default)'),
  outdated: flag.boolean('--outdated', 'tracks that an older version analysed'),
  failed: flag.boolean('--failed', 'tracks whose analysis failed, or found the file damaged'),
  all: flag.boolean('--all', 'all tracks, again'),
  track: flag.list('--track <id>', 'this track, again; may be repeated'),
  check: flag.boolean('--check', 'decode only and report damage; all tracks unless told otherwise'),
  plot: flag.text(
    '--plot <file.svg>',
    'draw the analysis of one --track: waveform, beats, bars, sections, tempo and key over time',
  ),
  dryRun: shared.dryRun,
  limit: shared.limit,
  concurrency: { ...shared.concurrency, description: 'threads that analyse (default: one a core)' },
  tempLimit: flag.bytes(
    '--temp-limit <size>',
    'for downloads on disk; they wait for room',
    { min: MiB },
    2048 * MiB,
    '2G',
  ),
  bpmRange: {
    ...flag.custom(
      '--bpm-range <low-high>',
      'tempi outside are answered by their double or half inside',
      'a range of tempi from 30 to 300 (88-176)',
      parseRange,
    ),
  },
  timeLimit: flag.duration(
    '--time-limit <time>',
    'a track may take this long, and 10 s more for each MiB',
    '5m',
  ),
  maxDuration: shared.maxDuration,
  bwlimit: shared.bwlimit,
  lockWait: shared.lockWait,
  maxOutage: flag.duration('--max-outage <time>', 'wait this long for S3 to come back', '10m'),
  enqueue: shared.enqueue,
  job: shared.job,
}

export type AnalyzeFlags = ValuesOf<typeof flags>

/** `88-176` */
function parseRange(raw: string): readonly [lowest: number, highest: number] | undefined {
  const [, low, high] = /^(\d{2,3}(?:\.\d+)?)-(\d{2,3}(?:\.\d+)?)$/.exec(raw) ?? []
  const [lowest, highest] = [Number(low), Number(high)]
  return lowest >= 30 && highest <= 300 && lowest < highest ? [lowest, highest] : undefined
}
