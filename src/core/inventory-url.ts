/** Where an S3 Inventory lies: a manifest.json, or, with a slash at its end, the folder of the dated ones. */
export interface InventoryPlace {
  readonly bucket: string
  readonly key: string
}

/** `s3://bucket/path/manifest.json`, or the folder of the dated ones `s3://bucket/path/` → bucket and key. */
export function parseInventoryUrl(url: string): InventoryPlace | undefined {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.*(?:\.json|\/))$/.exec(url) ?? []
  return bucket === undefined || key === undefined ? undefined : { bucket, key }
}
