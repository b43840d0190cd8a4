import { defineCommand } from '../cli/command.ts'
import { refuseJobAlone } from '../cli/flags.ts'
import { ExitCode } from '../errors.ts'
import { flags } from './flags.ts'

export const analyze = defineCommand({
  name: 'analyze',
  summary: 'tempo, beats, key, loudness, energy and mix points of every track',
  settings: ['database', 'store', 'cdn', 'audio'],
  description:
    'Analyses the audio of tracks, objects in S3 through temporary files and local files where they are, and writes ' +
    'the results to the database. Downloads run ahead of the analysis. Interrupt it, kill it, run it on several ' +
    'machines: each track is committed when it is done. A row that someone changed meanwhile is left alone.',
  examples: [
    ['autodj analyze', 'what has no analysis yet'],
    ['autodj analyze --outdated --max-duration 6h', 'from cron: what an older version analysed'],
    [
      'autodj analyze --track 0d3f… --bpm-range 120-180',
      'one track again, its tempo known to be in that range',
    ],
    ['autodj analyze --enqueue', 'for `autodj worker`, on other machines'],
    ['autodj analyze --check', 'decode everything and report damaged files'],
  ],
  flags,

  async run(context, values) {
    refuseJobAlone(values)
    const { enqueueAnalyze, planAnalyze, runAnalyze } = await import('./run.ts')
    if (values.dryRun) {
      await planAnalyze(context, values)
      return ExitCode.ok
    }
    if (values.enqueue) {
      const { refuseWithEnqueue } = await import('../queue/enqueue.ts')
      refuseWithEnqueue(flags, values, [
        'check',
        'concurrency',
        'tempLimit',
        'maxDuration',
        'maxOutage',
        'lockWait',
      ])
      return enqueueAnalyze(context, values)
    }
    context.limitDuration(values.maxDuration)
    return runAnalyze(context, values)
  },
})
