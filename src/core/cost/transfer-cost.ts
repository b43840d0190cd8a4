/** What requests and transfer cost, through the CDN and without it. Pure. */
import type { Traffic } from './access-log.ts'
import { billedGB, type Prices } from './prices.ts'

interface TransferCost {
  /** dollars for 30 days at this pace */
  readonly cdn: number
  readonly direct: number
  readonly assumption: string
}

/** Part of the requests that the edge is taken to answer if nobody knows. */
const assumedHitRatio = 0.8

/** @param days that the traffic was counted over */
export function estimateTransfer(
  traffic: Omit<Traffic, 'hits'> & { hits: number | undefined },
  days: number,
  prices: Prices,
): TransferCost {
  const month = 30 / days
  const [gigabytes, requests] = [billedGB(traffic.bytes) * month, traffic.requests * month]
  const missing =
    traffic.hits === undefined ? requests * (1 - assumedHitRatio) : (traffic.requests - traffic.hits) * month
  return {
    cdn:
      gigabytes * prices.cdnPerGB +
      (requests / 10_000) * prices.cdnPer10000 +
      (missing / 1_000) * prices.getPer1000,
    direct: gigabytes * prices.directPerGB + (requests / 1_000) * prices.getPer1000,
    assumption:
      `${days} days counted as a month, no free allowance; S3 sends to CloudFront free of charge` +
      (traffic.hits === undefined ? `; ${assumedHitRatio * 100} % answered by the edge` : ''),
  }
}
