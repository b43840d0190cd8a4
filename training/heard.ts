/**
 * What the front end makes of a clip, kept under AUTODJ_BENCH_CACHE: rendering all that is learned from takes an hour of
 * CPU, and a change of what is made of the spectra should not ask for it again. Sound that was not there before is not kept:
 * it would be fifteen gigabytes.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { Clip } from '../bench/audio/clips.ts'
import { cacheFolder, render } from '../bench/audio/render.ts'
import { readWav } from '../bench/audio/wav.ts'
import { frontEnd, pitchBins, pitchCount, type Spectra } from '../src/core/audio/frontend.ts'
import type { Truth } from './compose.ts'

interface Heard {
  readonly truth: Truth
  readonly spectra: Spectra
}

/** As it is kept; the upper halves of the pitches' magnitudes, row by row. */
interface Kept extends Omit<Spectra, 'pitches'> {
  readonly stamp: string
  readonly truth: Truth
  readonly pitches: Uint16Array
}

const rowSize = pitchCount * pitchBins

const frontEndCode = readFileSync(new URL('../src/core/audio/frontend.ts', import.meta.url))

/** Of all that the spectra depend on, but for the programs that render. */
function stampOf({ source, duration }: Clip): string {
  const hash = createHash('sha256').update(frontEndCode).update(`${duration}`)
  if (source.kind === 'midi') hash.update(source.midi).update(`${source.start ?? 0}`)
  else hash.update(JSON.stringify(source))
  return hash.digest('hex')
}

function heard({ truth, pitches, bands, frames, pitchRate, centroid, duration }: Kept): Heard {
  const read = (index: number, row: Float32Array): void => {
    const bits = new Uint32Array(row.buffer, row.byteOffset, rowSize)
    for (let i = 0, at = index * rowSize; i < rowSize; i++, at++) bits[i] = pitches[at]! << 16
  }
  const rows = { count: pitches.length / rowSize, read }
  return { truth, spectra: { pitches: rows, bands, frames, pitchRate, centroid, duration } }
}

function listen(wav: string): Spectra {
  const { sampleRate, channels } = readWav(wav)
  const [left, right] = channels as [Float32Array, Float32Array]
  const front = frontEnd(sampleRate)
  front.push(
    left.map((value, i) => (value + right[i]!) / 2),
    left.length,
  )
  return front.finish()
}

function pitchesOf({ pitches: { count, read } }: Spectra): Uint16Array {
  const out = new Uint16Array(count * rowSize)
  const row = new Float32Array(rowSize)
  const bits = new Uint32Array(row.buffer)
  for (let t = 0; t < count; t++) {
    read(t, row)
    for (let i = 0; i < rowSize; i++) out[t * rowSize + i] = bits[i]! >>> 16
  }
  return out
}

/** The clip as it sounds; rendered where nobody listened to it before. */
export async function hear(clip: Clip): Promise<Heard | { readonly failed: string }> {
  const folder = join(cacheFolder(), 'spectra')
  const path = join(folder, `${clip.name}.v8`)
  const stamp = stampOf(clip)
  if (existsSync(path)) {
    const kept = deserialize(inflateRawSync(readFileSync(path))) as Kept
    if (kept.stamp === stamp) return heard(kept)
  }
  const sound = join(cacheFolder(), 'clips', `${clip.name}.wav`)
  const wasThere = existsSync(sound)
  const rendered = await render(clip)
  if ('failed' in rendered) return rendered
  const spectra = listen(rendered.wav)
  if (!wasThere) rmSync(sound, { force: true })
  const { bands, frames, pitchRate, centroid, duration } = spectra
  const kept: Kept = {
    stamp,
    truth: rendered.truth,
    pitches: pitchesOf(spectra),
    bands: new Int16Array(bands),
    frames,
    pitchRate,
    centroid,
    duration,
  }
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${path}.part`, deflateRawSync(serialize(kept), { level: 1 }))
  renameSync(`${path}.part`, path)
  return heard(kept)
}
