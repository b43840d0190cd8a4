import { defineCommand } from '../cli/command.ts'
import { refuseJobAlone } from '../cli/flags.ts'
import { ExitCode, UsageError } from '../errors.ts'
import { flags } from './flags.ts'

export const analyze = defineCommand({
  name: 'analyze',
  summary: 'tempo, beats, key, loudness, energy and mix points of every track',
  selects: 'tracks',
  settings: ['database', 'store', 'cdn', 'audio'],
  description:
    'Analyses the audio of tracks (objects in S3 through temporary files, local files in place) and writes ' +
    'the results to the database. Downloads run ahead of the analysis. Interrupt it, kill it, run it on several ' +
    'machines: each track is committed when it is done. A row that someone else changed in the meantime is left alone.',
  examples: [
    ['autodj analyze', 'tracks that have no analysis yet'],
    ['autodj analyze --outdated --max-duration 6h', 'from cron: what an older version analysed'],
    [
      'autodj analyze --track 0d3f0000-0000-4000-8000-000000000000 --bpm-range 120-180',
      'one track again, knowing that its tempo is in that range',
    ],
    [
      'autodj analyze --track 0d3f0000-0000-4000-8000-000000000000 --plot track.svg',
      'and look at what was heard',
    ],
    ['autodj analyze --enqueue', 'for `autodj worker`, on other machines'],
    ['autodj analyze --check', 'decode everything and report damaged files'],
  ],
  flags,

  async run(context, values) {
    refuseJobAlone(values)
    if (values.plot !== undefined && (values.track.length !== 1 || values.check || values.dryRun))
      throw new UsageError(
        values.track.length === 1
          ? '--plot draws an analysis: it cannot be combined with --check or --dry-run'
          : '--plot draws one track: name it with a single --track',
        { code: 'usage.flag' },
      )
    const { enqueueAnalyze, planAnalyze, runAnalyze } = await import('./run.ts')
    if (values.dryRun) {
      await planAnalyze(context, values)
      return ExitCode.ok
    }
    if (values.enqueue) {
      const { refuseWithEnqueue } = await import('../queue/enqueue.ts')
      refuseWithEnqueue(flags, values, [
        'check',
        'plot',
        'concurrency',
        'tempLimit',
        'maxDuration',
        'bwlimit',
        'maxOutage',
        'lockWait',
      ])
      return enqueueAnalyze(context, values)
    }
    context.limitDuration(values.maxDuration)
    const exitCode = await runAnalyze(context, values)
    if (values.plot === undefined || exitCode !== ExitCode.ok) return exitCode
    const { plotTrack } = await import('./plot.ts')
    await plotTrack(context, values.track[0]!, values.plot)
    return exitCode
  },
})
