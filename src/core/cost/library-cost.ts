/** What a library costs to keep, as it is and as it could be kept. Pure: prices are data. */
import { formatBytes } from '../units.ts'
import { billedGB, type Prices } from './prices.ts'

interface ClassTotals {
  readonly name: string
  /** null: not known */
  readonly objects: number | null
  readonly bytes: number
}

interface CostOption {
  readonly name: string
  readonly dollarsAMonth: number
  readonly assumption: string
}

export interface LibraryCost {
  readonly objects: number
  readonly bytes: number
  /** dollars a month, in the order of the classes */
  readonly byClass: readonly number[]
  readonly options: readonly CostOption[]
}

/** Part of a library that nobody asks for in a month: what tiers are for. */
const restingShare = 0.8

/** S3 never bills less than this for an object in a class of infrequent access. */
const leastBilled = 128 * 1024

/** @param resting part of the bytes that is not read for 30 days, 0 to 1 */
export function estimateCost(
  classes: readonly ClassTotals[],
  prices: Prices,
  resting: number = restingShare,
): LibraryCost {
  const bytes = classes.reduce((sum, one) => sum + one.bytes, 0)
  const objects = classes.reduce((sum, one) => sum + (one.objects ?? 0), 0)
  const per = (name: string): number =>
    prices.storagePerGBMonth[name] ?? prices.storagePerGBMonth[name.split(' ')[0] ?? ''] ?? standard
  const standard = prices.storagePerGBMonth['STANDARD'] ?? 0
  const infrequent = prices.storagePerGBMonth['STANDARD_IA'] ?? 0
  const byClass = classes.map(
    one => billedGB(one.bytes) * (/infrequent/.test(one.name) ? infrequent : per(one.name)),
  )
  const gigabytes = billedGB(bytes)
  // Small objects are neither moved nor watched; how many there are is not known, so their average tells.
  const isSmall = objects > 0 && bytes / objects < leastBilled
  const watched = isSmall ? 0 : (objects / 1_000) * prices.monitoringPer1000
  const moved = isSmall ? 0 : resting
  const mixed = gigabytes * (moved * infrequent + (1 - moved) * standard)
  const share = `${Math.round(resting * 100)} % of the bytes`
  return {
    objects,
    bytes,
    byClass,
    options: [
      {
        name: 'as it is now',
        dollarsAMonth: byClass.reduce((sum, one) => sum + one, 0),
        assumption: `${formatBytes(bytes)} in its classes`,
      },
      { name: 'all in S3 Standard', dollarsAMonth: gigabytes * standard, assumption: `$${standard} a GB` },
      {
        name: 'under Intelligent-Tiering',
        dollarsAMonth: mixed + watched,
        assumption: isSmall
          ? 'the objects are under 128 KB on average: none is moved or monitored'
          : `${share} are idle for 30 days and cost $${infrequent} a GB; $${prices.monitoringPer1000} per 1,000 objects monitored`,
      },
      {
        name: 'under a lifecycle to Standard-IA after 30 days',
        dollarsAMonth: gigabytes * infrequent + gigabytes * (1 - moved) * prices.infrequentRetrievalPerGB,
        assumption: `everything is moved; the other ${Math.round((1 - resting) * 100)} % are read once a month at $${prices.infrequentRetrievalPerGB} a GB; moving costs $${prices.transitionPer1000} per 1,000 objects, once`,
      },
    ],
  }
}
