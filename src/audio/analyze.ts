import { readFile } from 'node:fs/promises'
import { type TrackAnalysis, trackAnalyzer } from '../core/audio/analysis.ts'
import type { TempoHints } from '../core/audio/readings.ts'
import { readVoiceNetwork, type VoiceNetwork } from '../core/audio/voice-network.ts'
import { FatalError } from '../errors.ts'
import type { Decoded, Decoder } from './decode.ts'

interface AnalyzedFile {
  readonly analysis: TrackAnalysis
  /** What was decoded, and what is wrong with the file. */
  readonly decoded: Decoded
}

interface AnalysisOptions {
  readonly signal?: AbortSignal
  /** The tempo tag is read from the file; what is given here wins over it. */
  readonly hints?: TempoHints
  /** Called now and then while decoding; throws to give up (the worker's memory limit does). */
  readonly onWindow?: () => void
}

/** Seconds of sound that memory is laid out for ahead: 185 MB, touched as it fills; a longer set gets more as it comes. */
const longestLaidOut = 6 * 3600

let voices: Promise<VoiceNetwork> | undefined

/**
 * What hears voices, read once a thread. Assets are as far from the sources as from the files of the build.
 * @throws FatalError `assets.missing` if it is not there.
 */
function voiceNetwork(): Promise<VoiceNetwork> {
  voices ??= readFile(new URL('../../assets/voice/network.bin', import.meta.url)).then(
    readVoiceNetwork,
    cause => {
      throw new FatalError('the network that hears voices is not part of this installation', {
        code: 'assets.missing',
        cause,
      })
    },
  )
  return voices
}

/**
 * Decodes a file and analyses it as it comes, in bounded memory.
 * @throws what `Decoder.decode` throws, and FatalError `audio.format` for a sample rate no analysis is defined for.
 */
export async function analyzeFile(
  decoder: Decoder,
  path: string,
  options: AnalysisOptions = {},
): Promise<AnalyzedFile> {
  const { signal, hints, onWindow } = options
  let analyzer: ReturnType<typeof trackAnalyzer> | undefined
  const network = await voiceNetwork()
  const decoded = await decoder.decode(
    path,
    {
      start: ({ sampleRate, channels }, expected) => {
        if (sampleRate < 4000 || sampleRate > 768_000)
          throw new FatalError(`a sample rate of ${sampleRate} Hz cannot be analysed`, {
            code: 'audio.format',
            details: { path },
          })
        analyzer = trackAnalyzer(
          sampleRate,
          channels,
          // What a damaged file promises is not to be believed without limit.
          expected === undefined ? undefined : Math.min(expected, longestLaidOut),
          network,
        )
      },
      push: (channels, length) => {
        onWindow?.()
        analyzer!.push(channels, length)
      },
    },
    { ...(signal && { signal }) },
  )
  signal?.throwIfAborted()
  const analysis = analyzer!.finish({ tagBpm: decoded.container.tagBpm, ...hints })
  return { analysis, decoded }
}
