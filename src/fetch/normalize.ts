/** Loudness to EBU R 128 with ffmpeg's loudnorm, in two passes: measured first, then applied as one gain. */
import path from 'node:path'
import { FetchProblem } from './problem.ts'
import { runProgram } from './process.ts'

/** Integrated loudness in LUFS, true peak in dBTP. */
const loudnessTarget = { integrated: -16, truePeak: -1.5 } as const

/** How each container is written again; lossless stays lossless. */
const encoders: Readonly<Record<string, { readonly extension: string; readonly args: readonly string[] }>> = {
  mp3: { extension: 'mp3', args: ['-c:a', 'libmp3lame', '-q:a', '0'] },
  flac: { extension: 'flac', args: ['-c:a', 'flac'] },
  m4a: { extension: 'm4a', args: ['-c:a', 'aac', '-b:a', '256k', '-movflags', '+faststart'] },
  aac: { extension: 'm4a', args: ['-c:a', 'aac', '-b:a', '256k', '-movflags', '+faststart'] },
  ogg: { extension: 'ogg', args: ['-c:a', 'libvorbis', '-q:a', '7'] },
  opus: { extension: 'opus', args: ['-c:a', 'libopus', '-b:a', '192k'] },
  wav: { extension: 'wav', args: ['-c:a', 'pcm_s24le'] },
  aiff: { extension: 'aiff', args: ['-c:a', 'pcm_s24be'] },
}

interface Measured {
  readonly input_i: string
  readonly input_tp: string
  readonly input_lra: string
  readonly input_thresh: string
  readonly target_offset: string
}

/** Whether ffmpeg is there. */
export async function hasFfmpeg(cwd: string, signal: AbortSignal): Promise<boolean> {
  try {
    await runProgram(['ffmpeg', '-version'], { cwd, timeoutMs: 10_000, signal })
    return true
  } catch (error) {
    if (error instanceof FetchProblem) return false
    throw error
  }
}

/**
 * Writes a copy at the target loudness beside `input`. The range of loudness is left alone: only where the gain would
 * push peaks over the limit does loudnorm compress. The sample rate stays: loudnorm works at 192 kHz and would leave it
 * there.
 *
 * @param extension of the content, without a dot; a format without an encoder here becomes FLAC
 * @returns path of the new file
 * @throws FetchProblem
 */
export async function normalize(
  input: string,
  extension: string,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<string> {
  const folder = path.dirname(input)
  const { integrated, truePeak } = loudnessTarget
  const ffmpeg = (...args: string[]) =>
    runProgram(['ffmpeg', '-hide_banner', '-nostdin', '-y', '-i', input, ...args], {
      cwd: folder,
      timeoutMs,
      signal,
    })
  const target = (range: number) => `loudnorm=I=${integrated}:TP=${truePeak}:LRA=${range}`
  const said = await ffmpeg('-map', '0:a:0', '-af', `${target(7)}:print_format=json`, '-f', 'null', '-')
  const measured = parseMeasurement(said)
  if (!measured) {
    throw new FetchProblem('fetch.normalize', 'ffmpeg did not report the loudness')
  }
  // Silence has no loudness to bring anywhere.
  if (!Number.isFinite(Number(measured.input_i))) return input
  const range = Math.min(50, Math.max(7, Math.ceil(Number(measured.input_lra))))
  const encoder = encoders[extension] ?? (encoders['flac'] as { extension: string; args: readonly string[] })
  const output = path.join(folder, `normalized.${encoder.extension}`)
  const rate = sampleRateOf(said)
  await ffmpeg(
    '-map',
    '0:a:0',
    '-map_metadata',
    '0',
    '-af',
    `${target(range)}:linear=true:measured_I=${measured.input_i}:measured_TP=${measured.input_tp}:` +
      `measured_LRA=${measured.input_lra}:measured_thresh=${measured.input_thresh}:offset=${measured.target_offset}`,
    ...(rate === undefined ? [] : ['-ar', String(rate)]),
    ...encoder.args,
    output,
  )
  return output
}

/** The JSON that loudnorm prints at the end. */
export function parseMeasurement(text: string): Measured | undefined {
  const json = /\{[^{}]*"input_i"[^{}]*\}/.exec(text)?.[0]
  try {
    return json === undefined ? undefined : (JSON.parse(json) as Measured)
  } catch {
    return undefined
  }
}

/** Of the first audio stream, from what ffmpeg says about its input, Hz. Opus knows 48,000 only, whatever it says. */
export function sampleRateOf(text: string): number | undefined {
  const match = /Stream #0:\d+.*?Audio:.*?(\d+) Hz/.exec(text)
  return match ? Number(match[1]) : undefined
}
