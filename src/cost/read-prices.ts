/** Prices of one's own: `--prices FILE`, JSON with any of the fields of the list prices. */
import path from 'node:path'
import { listPrices, type Prices } from '../core/cost/prices.ts'
import { systemErrorReason, UsageError } from '../errors.ts'
import { readNamedFile } from '../named-files.ts'

/** @throws UsageError for a file that cannot be read, is no JSON, or holds what is no price */
export async function readPrices(file: string | undefined, cwd: string): Promise<Prices> {
  if (file === undefined) return listPrices
  const refuse = (why: string): UsageError =>
    new UsageError(`--prices: ${file}: ${why}`, {
      code: 'usage.flag',
      cure: `Write a JSON object with any of: ${Object.keys(listPrices).join(', ')}.`,
    })
  let text: Buffer
  try {
    text = readNamedFile(path.resolve(cwd, file))
  } catch (error) {
    throw new UsageError(`--prices: cannot read ${file}: ${systemErrorReason(error)}`, { code: 'usage.flag' })
  }
  let given: Record<string, unknown>
  try {
    given = JSON.parse(text.toString())
  } catch {
    throw refuse('is not JSON')
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw refuse('is not an object')
  const isPrice = (value: unknown): boolean =>
    typeof value === 'number' && value >= 0 && Number.isFinite(value)
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(listPrices, name)) throw refuse(`"${name}" is not a price`)
    const model = listPrices[name as keyof Prices]
    const isRight =
      typeof model === 'number'
        ? isPrice(value)
        : typeof model === 'string'
          ? typeof value === 'string'
          : typeof value === 'object' && value !== null && Object.values(value).every(isPrice)
    if (!isRight) throw refuse(`${name} is wrong (${JSON.stringify(model)})`)
  }
  const { storagePerGBMonth, ...rest } = given as Partial<Prices>
  return {
    ...listPrices,
    source: file,
    ...rest,
    storagePerGBMonth: { ...listPrices.storagePerGBMonth, ...storagePerGBMonth },
  }
}
