/** Going through a stream frame by frame. */
import { expect, test } from 'vitest'
import { countFrames } from '../../../../src/core/containers/frames.ts'
import { mp3Frames } from '../../../support/audio-bytes.ts'
import { fileOf } from '../../../support/byte-source.ts'

/** Of 417 bytes, 44.1 kHz. */
const frames = (count: number) => mp3Frames(count)
/** Of 384 bytes, 48 kHz. */
const others = (count: number) =>
  Buffer.concat(
    new Array(count).fill(Buffer.concat([Buffer.from([0xff, 0xfb, 0x94, 0x40]), Buffer.alloc(380)])),
  )
const seconds = (count: number, more = 0) => (count * 1152) / 44_100 + (more * 1152) / 48_000
const rubble = (length: number) => Buffer.alloc(length, 0x11)
/** The head of a frame, and none where the next should be. */
const lone = Buffer.concat([Buffer.from([0xff, 0xfb, 0x90, 0x40]), rubble(600)])

test.each<[string, Buffer[], number, number, number]>([
  ['nothing', [], 0, 0, 0],
  ['nothing but rubble', [rubble(1000)], 0, 0, 0],
  ['frames', [frames(10)], seconds(10), 4170, 0],
  ['more than is looked at together', [frames(2000)], seconds(2000), 834_000, 0],
  ['the last one is cut', [frames(10), frames(1).subarray(0, 100)], seconds(10), 4170, 317],
  [
    'its head is all there is of the last one',
    [frames(10), frames(1).subarray(0, 4)],
    seconds(10),
    4170,
    413,
  ],
  ['half a head', [frames(10), frames(1).subarray(0, 3)], seconds(10), 4170, 0],
  ['rubble behind', [frames(10), rubble(100)], seconds(10), 4170, 0],
  ['little rubble behind', [frames(10), rubble(3)], seconds(10), 4170, 0],
  ['rubble between', [frames(10), rubble(100), frames(5)], seconds(15), 4170 + 100 + 2085, 0],
  [
    'rubble between, and one frame at the end',
    [frames(10), rubble(100), frames(1)],
    seconds(11),
    4170 + 517,
    0,
  ],
  [
    'rubble between, and a frame that is cut',
    [frames(10), rubble(100), frames(1).subarray(0, 200)],
    seconds(10),
    4170,
    0,
  ],
  [
    'a head that is none, in rubble',
    [frames(10), rubble(5), lone, frames(5)],
    seconds(15),
    4170 + 609 + 2085,
    0,
  ],
  ['a head that is none, first', [lone, frames(5)], seconds(6), 604 + 2085, 0],
  ['another kind, two of it', [frames(10), others(2)], seconds(10, 2), 4170 + 768, 0],
  ['another kind, one at the end', [frames(10), others(1)], seconds(10), 4170, 0],
  ['another kind, one between', [frames(10), others(1), frames(5)], seconds(15), 4170 + 384 + 2085, 0],
  ['another kind, and back', [frames(10), others(2), frames(2)], seconds(12, 2), 4170 + 768 + 834, 0],
  ['another kind, cut', [frames(10), others(2), others(1).subarray(0, 84)], seconds(10, 2), 4170 + 768, 300],
])('%s', async (_what, parts, duration, end, missing) => {
  for (const before of [0, 1000]) {
    const bytes = Buffer.concat([Buffer.alloc(before), ...parts])
    const found = await countFrames(fileOf(bytes, 256 * 1024), before, bytes.length)
    expect(found).toEqual({ duration: expect.closeTo(duration, 9), end: before + end, missing })
  }
})

test('tags behind it are no part of it', async () => {
  const bytes = Buffer.concat([frames(10), frames(10)])
  expect(await countFrames(fileOf(bytes), 0, 4170 + 17)).toEqual({
    duration: expect.closeTo(seconds(10), 9),
    end: 4170,
    missing: 400,
  })
})

// 628 frames end 268 bytes before what is looked at together does.
test.each(Array.from({ length: 26 }, (_, i) => i - 13))(
  'rubble that ends %i bytes behind it',
  async behind => {
    const bytes = Buffer.concat([frames(628), rubble(268 + behind), frames(3)])
    expect(await countFrames(fileOf(bytes), 0, bytes.length)).toEqual({
      duration: expect.closeTo(seconds(631), 9),
      end: bytes.length,
      missing: 0,
    })
  },
)
test.each(Array.from({ length: 26 }, (_, i) => i - 13))(
  'another kind from %i bytes behind it on',
  async behind => {
    const bytes = Buffer.concat([frames(627), rubble(685 + behind), others(2), rubble(50), frames(2)])
    expect((await countFrames(fileOf(bytes), 0, bytes.length)).duration).toBeCloseTo(seconds(629, 2), 9)
  },
)
test('much rubble', async () => {
  const bytes = Buffer.concat([frames(10), rubble(600_000), frames(10)])
  expect(await countFrames(fileOf(bytes), 0, bytes.length)).toEqual({
    duration: expect.closeTo(seconds(20), 9),
    end: bytes.length,
    missing: 0,
  })
})
