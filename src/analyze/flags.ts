/** Flags of `autodj analyze`. */
import { flag, shared, type ValuesOf } from '../cli/flags.ts'

const MiB = 1024 ** 2

export const flags = {
  source: flag.choice(
    '--source <source>',
    'where the audio comes from; auto: as the row says, or a local copy if it is proved to be the same bytes',
    ['auto', 's3', 'cdn', 'local'],
    'auto',
  ),
  missing: flag.boolean('--missing', 'tracks without an analysis (the default)'),
  outdated: flag.boolean('--outdated', 'tracks analysed by an older version'),
  failed: flag.boolean('--failed', 'tracks whose analysis failed or found damage'),
  all: flag.boolean('--all', 'all tracks, even those already analysed'),
  track: flag.list('--track <id>', 'this track, even if already analysed; may be repeated'),
  check: flag.boolean(
    '--check',
    'only decode, and report damaged files; all tracks unless selected otherwise',
  ),
  plot: flag.text(
    '--plot <file.svg>',
    'draw the analysis of one --track: waveform, beats, bars, sections, voices, tempo and key over time',
  ),
  dryRun: shared.dryRun,
  limit: shared.limit,
  concurrency: { ...shared.concurrency, description: 'analysis threads (default: one per core)' },
  tempLimit: flag.bytes(
    '--temp-limit <size>',
    'disk space for downloads, which wait until there is room',
    { min: MiB },
    '2G',
  ),
  bpmRange: {
    ...flag.custom(
      '--bpm-range <low-high>',
      'count a tempo outside this range at its double or half inside',
      'a range of tempos from 30 to 300 (88-176)',
      parseRange,
    ),
  },
  timeLimit: flag.duration(
    '--time-limit <time>',
    'give up on a track after this long, plus 10 s for each MiB',
    '5m',
  ),
  maxDuration: shared.maxDuration,
  bwlimit: shared.bwlimit,
  lockWait: shared.lockWait,
  maxOutage: flag.duration('--max-outage <time>', 'wait up to this long for S3 to come back', '10m'),
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
