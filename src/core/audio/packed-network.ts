/** A network as it is written down: rows are signed bytes in base64, times their scale. */
export interface PackedNetwork {
  readonly rows: readonly (readonly [scale: number, bytes: string])[]
  readonly bias: readonly number[]
  readonly output: readonly number[]
}
