/** Writes what S3 Inventory would write of a bucket, in the form its documentation describes. */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import type { ObjectEntry, ObjectStore } from '../../src/storage/store.ts'

const fileSchema = {
  CSV: 'Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass',
  Parquet:
    'message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); optional boolean is_latest; ' +
    'optional boolean is_delete_marker; optional int64 size; optional int64 last_modified_date (TIMESTAMP_MILLIS); optional binary e_tag (UTF8); }',
}

/**
 * @param damage what happens to the last data file after its checksum was taken
 * @param to where it is put, if not into the bucket itself
 * @returns the URL of its manifest
 */
export async function putInventory(
  store: ObjectStore,
  format: 'CSV' | 'Parquet',
  damage = (bytes: Uint8Array): Uint8Array => bytes,
  to = { store, prefix: `inventory/${format}/` },
): Promise<string> {
  const entries: ObjectEntry[] = []
  for await (const page of store.list({ prefix: 'audio/' })) entries.push(...page)
  // In two files, neither in order: S3 promises none.
  const halves = [
    entries.filter((_, index) => index % 2 === 0).reverse(),
    entries.filter((_, index) => index % 2 === 1),
  ]
  const files = []
  for (const [index, half] of halves.entries()) {
    const bytes = format === 'CSV' ? csv(store.bucket, half) : parquet(store.bucket, half)
    const key = `${to.prefix}${index}`
    files.push({ key, size: bytes.length, MD5checksum: createHash('md5').update(bytes).digest('hex') })
    await put(to.store, key, index === 1 ? damage(bytes) : bytes)
  }
  const manifest = {
    sourceBucket: store.bucket,
    destinationBucket: `arn:aws:s3:::${to.store.bucket}`,
    version: '2016-11-30',
    creationTimestamp: String(Date.now()),
    fileFormat: format,
    fileSchema: fileSchema[format],
    files,
  }
  const key = `${to.prefix}manifest.json`
  await put(to.store, key, Buffer.from(JSON.stringify(manifest)))
  return `s3://${to.store.bucket}/${key}`
}

function csv(bucket: string, entries: readonly ObjectEntry[]): Uint8Array {
  const lines = entries.map(({ key, size, etag, lastModified, storageClass }) =>
    [
      bucket,
      encodeURIComponent(key).replaceAll('%20', '+'),
      '',
      'true',
      'false',
      size,
      lastModified.toISOString(),
      etag,
      storageClass ?? 'STANDARD',
    ]
      .map(field => `"${field}"`)
      .join(','),
  )
  // What a versioned bucket adds: an older version and a delete marker, neither of which is there.
  lines.push(
    `"${bucket}","audio%2Fold.mp3","v1","false","false","5","2020-01-01T00:00:00.000Z","e","STANDARD"`,
  )
  lines.push(`"${bucket}","audio%2Fdeleted.mp3","v2","true","true","","2020-01-01T00:00:00.000Z","",""`)
  return gzipSync(`${lines.join('\n')}\n`)
}

function parquet(bucket: string, entries: readonly ObjectEntry[]): Uint8Array {
  const long = new Date('2020-01-01T00:00:00Z')
  const rows = [
    ...entries.map(entry => ({ ...entry, isLatest: true, isMarker: false })),
    // What a versioned bucket adds: an older version and a delete marker, neither of which is there.
    { key: 'audio/old.mp3', size: 5, lastModified: long, etag: 'e', isLatest: false, isMarker: false },
    { key: 'audio/deleted.mp3', size: 0, lastModified: long, etag: '', isLatest: true, isMarker: true },
  ]
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'bucket', data: rows.map(() => bucket), type: 'STRING' },
        { name: 'key', data: rows.map(({ key }) => key), type: 'STRING' },
        { name: 'is_latest', data: rows.map(({ isLatest }) => isLatest), type: 'BOOLEAN' },
        { name: 'is_delete_marker', data: rows.map(({ isMarker }) => isMarker), type: 'BOOLEAN' },
        { name: 'size', data: rows.map(({ size }) => BigInt(size)), type: 'INT64' },
        { name: 'last_modified_date', data: rows.map(({ lastModified }) => lastModified), type: 'TIMESTAMP' },
        { name: 'e_tag', data: rows.map(({ etag }) => etag), type: 'STRING' },
      ],
      rowGroupSize: 20,
    }),
  )
}

async function put(store: ObjectStore, key: string, bytes: Uint8Array): Promise<void> {
  await store.put(key, bytes, { headers: { contentType: 'application/octet-stream' }, checksums: {} })
}
