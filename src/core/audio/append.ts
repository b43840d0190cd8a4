/**
 * A buffer with `length` samples of `input` behind its first `filled`: the same one where they fit, otherwise a longer
 * copy. For streams that look back a little, whose windows may be of any length.
 */
export function append(
  buffer: Float32Array<ArrayBuffer>,
  filled: number,
  input: Float32Array,
  length: number,
): Float32Array<ArrayBuffer> {
  let target = buffer
  if (filled + length > buffer.length) {
    target = new Float32Array(2 * (filled + length))
    target.set(buffer.subarray(0, filled))
  }
  target.set(length === input.length ? input : input.subarray(0, length), filled)
  return target
}
