/** Loudness of the EBU test signals against their known answers. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { analyzeFile } from '../../src/audio/analyze.ts'
import { npmDecoder } from '../../src/audio/decode.ts'
import { ebuSignals } from './ebu.ts'
import { cacheFolder } from './render.ts'
import { claim, table } from './report.ts'
import { writeWav } from './wav.ts'

export async function loudness(): Promise<void> {
  const folder = join(cacheFolder(), 'ebu')
  mkdirSync(folder, { recursive: true })
  const rows = [['EBU signal', 'expected', 'measured']]
  let worst = 0
  let within = true
  for (const { name, wav, measure, expected, below, above } of ebuSignals) {
    const path = join(folder, `${name.replaceAll(/\W+/g, '-')}.wav`)
    writeWav(path, wav())
    const { analysis } = await analyzeFile(npmDecoder(), path)
    const value =
      measure === 'integrated'
        ? analysis.loudness!
        : measure === 'range'
          ? analysis.loudnessRange
          : analysis.truePeak!
    if (measure === 'integrated') worst = Math.max(worst, Math.abs(value - expected))
    within &&= value - expected <= above && expected - value <= below
    rows.push([name, String(expected), value.toFixed(3)])
  }
  table(rows)
  claim('EBU Tech 3341 integrated loudness, largest error, LU', worst, '<= 0.1')
  claim('EBU Tech 3341 and 3342 signals all within tolerance (1 is yes)', Number(within), '>= 1')
}
