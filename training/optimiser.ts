/** Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019). */
export function optimiser(
  size: number,
): (weights: Float64Array, gradient: Float64Array, rate: number, decay: number) => void {
  const first = new Float64Array(size)
  const second = new Float64Array(size)
  let step = 0
  return (weights, gradient, rate, decay) => {
    step++
    const c1 = 1 - 0.9 ** step
    const c2 = 1 - 0.999 ** step
    for (let i = 0; i < size; i++) {
      const g = gradient[i]!
      first[i] = 0.9 * first[i]! + 0.1 * g
      second[i] = 0.999 * second[i]! + 0.001 * g * g
      weights[i]! -= rate * (first[i]! / c1 / (Math.sqrt(second[i]! / c2) + 1e-8) + decay * weights[i]!)
    }
  }
}
