/**
 * List prices of AWS as dated data, US dollars, and what follows from them. Every figure is Amazon's for us-east-1,
 * first tier, without free allowances; `--prices FILE` replaces any of them.
 */
export interface Prices {
  /** the day on which they were looked up */
  readonly asOf: string
  readonly region: string
  readonly source: string
  /** a GB (10^9 bytes, as Amazon bills 2^30: see {@link billedGB}) and month, by storage class */
  readonly storagePerGBMonth: Readonly<Record<string, number>>
  /** for each 1,000 objects of Intelligent-Tiering and month */
  readonly monitoringPer1000: number
  /** for each 1,000 PUT, COPY, POST and LIST requests */
  readonly putPer1000: number
  readonly getPer1000: number
  readonly transitionPer1000: number
  /** out of S3 to the internet, a GB */
  readonly directPerGB: number
  /** out of CloudFront, a GB */
  readonly cdnPerGB: number
  /** HTTPS requests to CloudFront */
  readonly cdnPer10000: number
  /** reading a GB from a class of infrequent access */
  readonly infrequentRetrievalPerGB: number
}

export const listPrices: Prices = {
  asOf: '2025-12-01',
  region: 'us-east-1',
  source: 'https://aws.amazon.com/s3/pricing/ and https://aws.amazon.com/cloudfront/pricing/',
  storagePerGBMonth: {
    STANDARD: 0.023,
    INTELLIGENT_TIERING: 0.023,
    STANDARD_IA: 0.0125,
    ONEZONE_IA: 0.01,
    GLACIER_IR: 0.004,
    GLACIER: 0.0036,
    DEEP_ARCHIVE: 0.00099,
    REDUCED_REDUNDANCY: 0.024,
  },
  monitoringPer1000: 0.0025,
  putPer1000: 0.005,
  getPer1000: 0.0004,
  transitionPer1000: 0.01,
  directPerGB: 0.09,
  cdnPerGB: 0.085,
  cdnPer10000: 0.01,
  infrequentRetrievalPerGB: 0.01,
}

/** Amazon's GB is 2^30 bytes. */
export const billedGB = (bytes: number): number => bytes / 1024 ** 3

/** `$0.02`, `under $0.01`, `$1,204` */
export function formatDollars(dollars: number): string {
  if (dollars <= 0) return '$0'
  if (dollars < 0.01) return 'under $0.01'
  if (dollars < 100) return `$${dollars.toFixed(2)}`
  return `$${String(Math.round(dollars)).replace(/\B(?=(\d{3})+$)/g, ',')}`
}
