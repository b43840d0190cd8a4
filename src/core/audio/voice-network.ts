/**
 * The network that hears voices: for every few hundredths of a second, the probabilities that somebody speaks and that
 * somebody sings. It is the audio event detector of FireRedVAD (Xu et al., arXiv 2603.10420, 2026; Apache-2.0), a deep
 * feed-forward sequential memory network (Zhang et al., "Deep-FSMN for large vocabulary continuous speech recognition",
 * ICASSP 2018): layers that look at one frame each, and between them memories, each frame with a weighted sum of the 19
 * before and 20 after it. Its weights are in assets/voice; training/voice/pack.ts made them of the published ones.
 *
 * What it was learned on are logarithms of 80 mel bands of 25 ms of 16 kHz, 100 a second. It gets the spectra of the
 * front end instead, which has them anyway, weighted so that a stationary sound gives the same numbers.
 */

/** What is used of it here; its types come with those of browsers only. */
declare namespace WebAssembly {
  class Memory {
    readonly buffer: ArrayBuffer
    grow(pages: number): number
  }
  class Module {
    constructor(code: Uint8Array)
  }
  class Instance {
    constructor(module: Module)
    readonly exports: unknown
  }
}

/** Frames a second that the network looks at, of the 100 of the front end: its memories are summed over four. */
const stride = 4
export const voiceRate = 100 / stride

const melCount = 80
const hidden = 256
const width = 128
const memories = 8
/** What a memory looks at, frames of 10 ms. */
const back = 19
const ahead = 20

/** Rows that the network works on at once. */
const rows = 128
const floatSize = 4

/** Exports of training/voice/kernel.wat. All but `rows` and the like are addresses of float32 rows, bytes. */
interface Kernel {
  readonly memory: WebAssembly.Memory
  readonly dense: (
    x: number,
    weights: number,
    bias: number,
    y: number,
    rows: number,
    depth: number,
    width: number,
    rectify: number,
  ) => void
  readonly remember: (
    p: number,
    taps: number,
    skip: number,
    y: number,
    rows: number,
    tapCount: number,
    width: number,
  ) => void
}

interface Dense {
  readonly depth: number
  readonly width: number
  /** depth x width. */
  readonly weights: Float32Array
  readonly bias: Float32Array
}

export interface VoiceNetwork {
  readonly kernel: WebAssembly.Module
  /** Engines that no track is heard with at the moment. */
  readonly free: Engine[]
  readonly mean: Float32Array
  /** One over the standard deviation. */
  readonly scale: Float32Array
  /** In and out of the first memory, of the second, and so on; the last two give speech, singing and music. */
  readonly dense: readonly Dense[]
  /** Taps of each memory, one after another, `width` each; the frame itself is one of them. */
  readonly taps: readonly Float32Array[]
}

/** Frames before and after, at the network's own rate. */
const reachBack = Math.ceil(back / stride)
const reachAhead = Math.ceil(ahead / stride)
const tapCount = reachBack + 1 + reachAhead

/**
 * @param file assets/voice/network.bin.
 * @throws Error if it is of another size.
 */
export function readVoiceNetwork(file: Uint8Array): VoiceNetwork {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  let at = 0
  const floats = (count: number): Float32Array => {
    const values = Float32Array.from({ length: count }, (_, i) => view.getFloat32(at + 4 * i, true))
    at += 4 * count
    return values
  }
  /** Rows of signed bytes, each behind its scale; transposed. */
  const matrix = (count: number, depth: number, padded = count): Float32Array => {
    const scales = floats(count)
    const values = new Float32Array(depth * padded)
    for (let row = 0; row < count; row++)
      for (let k = 0; k < depth; k++) values[k * padded + row] = view.getInt8(at++) * scales[row]!
    return values
  }
  const layer = (depth: number, count: number, hasBias = true): Dense => {
    // The kernel's columns come in eights.
    const padded = Math.ceil(count / 8) * 8
    const weights = matrix(count, depth, padded)
    const bias = new Float32Array(padded)
    if (hasBias) bias.set(floats(count))
    return { depth, width: padded, weights, bias }
  }
  const kernelSize = view.getUint32(0, true)
  const kernel = new WebAssembly.Module(file.slice(4, 4 + kernelSize))
  at = 4 + kernelSize
  const mean = floats(melCount)
  const scale = floats(melCount)
  const dense: Dense[] = []
  const taps: Float32Array[] = []
  for (let i = 0; i < memories; i++) {
    dense.push(layer(i === 0 ? melCount : width, hidden), layer(hidden, width, i === 0))
    taps.push(strided(matrix(width, back + 1), matrix(width, ahead)))
  }
  dense.push(layer(width, hidden), layer(hidden, 3))
  if (at !== file.length) throw new Error('the network of the voice is not the one that this program is for')
  return { kernel, free: [], mean, scale, dense, taps }
}

/** Taps for every `stride`-th frame: one that falls between two is shared by them. */
function strided(before: Float32Array, after: Float32Array): Float32Array {
  const taps = new Float32Array(tapCount * width)
  const add = (offset: number, from: Float32Array, row: number): void => {
    const position = offset / stride + reachBack
    const lower = Math.floor(position)
    const share = position - lower
    for (let c = 0; c < width; c++) {
      taps[lower * width + c]! += (1 - share) * from[row * width + c]!
      if (share > 0) taps[(lower + 1) * width + c]! += share * from[row * width + c]!
    }
  }
  for (let j = 0; j <= back; j++) add(j - back, before, j)
  for (let j = 0; j < ahead; j++) add(j + 1, after, j)
  for (let c = 0; c < width; c++) taps[reachBack * width + c]! += 1
  return taps
}

/** Mel of Stevens and Volkmann as HTK and Kaldi count it. */
const mel = (hz: number): number => 1127 * Math.log(1 + hz / 700)

interface MelBand {
  readonly first: number
  readonly weights: Float32Array
}

/**
 * Triangles of Kaldi's filter bank from 20 Hz to 8 kHz, for the power spectrum of a Hann frame of `size` samples, `binHz`
 * apart: with the pre-emphasis of 0.97 that its samples have, and scaled to what its frames would give.
 */
function melBands(size: number, binHz: number): MelBand[] {
  const lowest = mel(20)
  const step = (mel(8000) - lowest) / (melCount + 1)
  const kaldiRate = 16_000
  const kaldiSize = 400
  let kaldiWindow = 0
  for (let i = 0; i < kaldiSize; i++)
    kaldiWindow += (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (kaldiSize - 1))) ** 1.7
  const hannWindow = (3 / 8) * size
  const sampleRate = binHz * size
  const scale =
    32_768 ** 2 * (kaldiRate / sampleRate) * (kaldiWindow / hannWindow) * (binHz / (kaldiRate / 512))
  return Array.from({ length: melCount }, (_, m) => {
    const centre = lowest + (m + 1) * step
    const weights: number[] = []
    let first = 0
    for (let k = 1; k < size / 2; k++) {
      const weight = 1 - Math.abs(mel(k * binHz) - centre) / step
      if (weight <= 0) continue
      if (weights.length === 0) first = k
      const emphasis = 1 + 0.97 ** 2 - 2 * 0.97 * Math.cos((2 * Math.PI * k * binHz) / kaldiRate)
      weights.push(weight * emphasis * scale)
    }
    return { first, weights: Float32Array.from(weights) }
  })
}

/**
 * What the network sees of a power spectrum, into `row`, 80 numbers.
 * @param size of its frame, samples; bins are `binHz` apart.
 */
export function voiceFeatures(
  { mean, scale }: VoiceNetwork,
  size: number,
  binHz: number,
): (power: Float32Array, row: Float32Array) => void {
  const bands = melBands(size, binHz)
  return (power, row) => {
    for (let m = 0; m < melCount; m++) {
      const { first, weights } = bands[m]!
      let sum = 0
      for (let k = 0; k < weights.length; k++) sum += weights[k]! * power[first + k]!
      // Kaldi's floor.
      row[m] = (Math.log(Math.max(sum, 2 ** -23)) - mean[m]!) * scale[m]!
    }
  }
}

export interface VoiceListener {
  /** Takes the power spectrum of the next frame, 100 a second. */
  readonly push: (power: Float32Array) => void
  /** Probability of speech and of singing, `voiceRate` pairs a second, of the first `seconds`. */
  readonly finish: (seconds: number) => Float32Array
}

/** The kernel with the weights in its memory, and where in it the rows lie that are worked on. */
interface Engine {
  readonly kernel: Kernel
  readonly memory: Float32Array
  /** Rows in, of hidden units, of a memory's width, and out; addresses. */
  readonly input: number
  readonly wide: number
  readonly narrow: number
  readonly output: number
  readonly dense: readonly { depth: number; width: number; weights: number; bias: number }[]
  readonly blocks: readonly {
    readonly taps: number
    /** What the memory looks at: rows before, rows it waits for, new rows. */
    readonly recent: number
    /** What goes round it, as far as it is behind. */
    readonly skipped: number
  }[]
}

const history = reachBack + reachAhead

/**
 * Kept and used again: the virtual memory that V8 sets aside for each is ten gigabytes, and it goes only with the garbage.
 */
function makeEngine(network: VoiceNetwork): Engine {
  const kernel = new WebAssembly.Instance(network.kernel).exports as Kernel
  let top = 0
  const place = (count: number): number => {
    const address = top
    top += count * floatSize
    while (top > kernel.memory.buffer.byteLength) kernel.memory.grow(16)
    return address
  }
  const put = (values: Float32Array): number => {
    const address = place(values.length)
    new Float32Array(kernel.memory.buffer, address, values.length).set(values)
    return address
  }
  const dense = network.dense.map(({ depth, width, weights, bias }) => ({
    depth,
    width,
    weights: put(weights),
    bias: put(bias),
  }))
  const blocks = network.taps.map(taps => ({
    taps: put(taps),
    recent: place((history + rows) * width),
    skipped: place((reachAhead + rows) * width),
  }))
  const [input, wide, narrow, output] = [melCount, hidden, width, 8].map(count => place(rows * count)) as [
    number,
    number,
    number,
    number,
  ]
  // From here on the memory stays as large as it is, and so do views of it.
  return {
    kernel,
    memory: new Float32Array(kernel.memory.buffer),
    input,
    wide,
    narrow,
    output,
    dense,
    blocks,
  }
}

/** @param size of the frames whose spectra will be pushed, samples; their bins are `binHz` apart. */
export function voiceListener(network: VoiceNetwork, size: number, binHz: number): VoiceListener {
  const engine = network.free.pop() ?? makeEngine(network)
  const { kernel, memory, input, wide, narrow, output, dense, blocks } = engine
  for (const { recent, skipped } of blocks) {
    memory.fill(0, recent >> 2, (recent >> 2) + history * width)
    memory.fill(0, skipped >> 2, (skipped >> 2) + reachAhead * width)
  }
  const run = (layer: number, x: number, y: number, rectify: boolean): void => {
    const { weights, bias, depth, width } = dense[layer]!
    kernel.dense(x, weights, bias, y, rows, depth, width, rectify ? 1 : 0)
  }
  const features = voiceFeatures(network, size, binHz)

  let heard = new Float32Array(0)
  let heardRows = 0
  /** Index of the first row of the block at hand, in the track. */
  let begin = 0
  let filled = 0
  /** Rows of the track; more are only pushed to hear the end of it. */
  let total = Number.POSITIVE_INFINITY

  /** There is nothing before a track and behind it. */
  const silence = (address: number, first: number): void => {
    for (let r = 0; r < rows; r++)
      if (first + r < 0 || first + r >= total)
        memory.fill(0, address / 4 + r * width, address / 4 + (r + 1) * width)
  }

  const block = (): void => {
    let x = input
    for (const [i, { taps, recent, skipped }] of blocks.entries()) {
      const fresh = recent + history * width * floatSize
      run(2 * i, x, wide, true)
      run(2 * i + 1, wide, fresh, i === 0)
      silence(fresh, begin - i * reachAhead)
      if (i > 0) memory.copyWithin((skipped >> 2) + reachAhead * width, x >> 2, (x >> 2) + rows * width)
      kernel.remember(recent, taps, skipped, narrow, rows, tapCount, width)
      memory.copyWithin(recent >> 2, (recent >> 2) + rows * width, (recent >> 2) + (rows + history) * width)
      memory.copyWithin(
        skipped >> 2,
        (skipped >> 2) + rows * width,
        (skipped >> 2) + (rows + reachAhead) * width,
      )
      x = narrow
    }
    run(2 * memories, x, wide, true)
    run(2 * memories + 1, wide, output, false)
    const late = memories * reachAhead
    if (heard.length < 2 * (heardRows + rows)) {
      const longer = new Float32Array(4 * (heardRows + rows))
      longer.set(heard)
      heard = longer
    }
    for (let r = 0; r < rows; r++) {
      if (begin + r < late) continue
      for (let c = 0; c < 2; c++)
        heard[2 * heardRows + c] = 1 / (1 + Math.exp(-memory[(output >> 2) + r * 8 + c]!))
      heardRows++
    }
    begin += rows
    filled = 0
  }

  let frame = 0
  return {
    push: power => {
      if (frame++ % stride !== 0) return
      const row = (input >> 2) + filled * melCount
      features(power, memory.subarray(row, row + melCount))
      if (++filled === rows) block()
    },
    finish: seconds => {
      total = Math.min(begin + filled, Math.floor(seconds * voiceRate))
      while (heardRows < total) block()
      network.free.push(engine)
      return heard.subarray(0, 2 * total)
    },
  }
}
