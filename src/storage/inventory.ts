/**
 * S3 Inventory: a list of a bucket's objects that S3 makes once a day or a week.
 *
 * Format: "Locating your inventory list" and "Amazon S3 Inventory list" in the S3 User Guide.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import { brotliDecompressSync, createGunzip, gunzipSync, zstdDecompressSync } from 'node:zlib'
import type { AsyncBuffer } from 'hyparquet'
import { FatalError, toError, UsageError } from '../errors.ts'
import { writeWhole } from '../file-effects.ts'
import type { ObjectStore } from './store.ts'

interface Manifest {
  sourceBucket: string
  fileFormat: string
  fileSchema: string
  /** milliseconds since 1970 */
  creationTimestamp: number
  files: readonly { key: string; size: number; MD5checksum: string }[]
}

/** An object, as an inventory lists it. */
interface InventoryEntry {
  key: string
  size: number
  etag: string
  lastModified: number
  storageClass: string | undefined
}

/** Rows decoded from Parquet at a time. */
const rowsAtOnce = 100_000

/** A manifest of an inventory, and what its files list. */
interface InventoryFiles {
  /** when S3 began to take it */
  readonly takenAt: Date
  /**
   * Current versions, in no order.
   * @throws FatalError if a file is missing or damaged: it never counts as a shorter one
   */
  readonly pages: AsyncIterable<InventoryEntry[]>
}

/**
 * Opens an inventory: a manifest, or the newest one in a folder.
 *
 * @param store the bucket that holds the inventory
 * @param sourceBucket whose inventory it must be
 * @param tempFolder where Parquet files lie while they are read
 * @throws UsageError for another bucket's inventory, or one in a form that is not read
 */
export async function openInventory(
  store: ObjectStore,
  key: string,
  { sourceBucket, tempFolder }: { sourceBucket: string; tempFolder: string },
  signal?: AbortSignal,
): Promise<InventoryFiles> {
  const manifestKey = key.endsWith('/') ? await newestManifest(store, key, signal) : key
  const manifest = await readManifest(store, manifestKey, sourceBucket, signal)
  async function* pages(): AsyncGenerator<InventoryEntry[]> {
    for (const file of manifest.files) {
      yield* manifest.fileFormat === 'CSV'
        ? csvEntries(store, file, manifest, signal)
        : parquetEntries(store, file, manifest, tempFolder, signal)
    }
  }
  return { takenAt: new Date(manifest.creationTimestamp), pages: pages() }
}

/** S3 writes each inventory to a folder that is named after the time; one without a manifest is not finished. */
async function newestManifest(
  store: ObjectStore,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const dated = (await store.listPrefixes(folder, signal))
    .filter(prefix => /^\d{4}-\d{2}-\d{2}T\d{2}-\d{2}Z\/$/.test(prefix.slice(folder.length)))
    .toSorted()
  for (const prefix of dated.toReversed()) {
    if ((await store.head(`${prefix}manifest.json`, { signal })) !== undefined)
      return `${prefix}manifest.json`
  }
  throw new UsageError(`there is no inventory in s3://${store.bucket}/${folder}`, {
    code: 'inventory.missing',
    cure: 'Name the folder with the dated folders of an inventory, or a manifest.json.',
  })
}

async function readManifest(
  store: ObjectStore,
  key: string,
  bucket: string,
  signal: AbortSignal | undefined,
): Promise<Manifest> {
  const content = await store.get(key, { signal })
  if (content === undefined) {
    throw new UsageError(`there is no inventory at s3://${store.bucket}/${key}`, {
      code: 'inventory.missing',
    })
  }
  const manifest = parseManifest(Buffer.concat(await Array.fromAsync(content.body)).toString('utf8'))
  if (manifest.sourceBucket !== bucket) {
    throw new UsageError(`the inventory is of the bucket ${manifest.sourceBucket}, not of ${bucket}`, {
      code: 'inventory.bucket',
    })
  }
  if (manifest.fileFormat !== 'CSV' && manifest.fileFormat !== 'Parquet') {
    throw new UsageError(`the inventory is in ${manifest.fileFormat}; autodj reads CSV and Parquet`, {
      code: 'inventory.format',
      cure: 'Change the output format of the inventory configuration.',
    })
  }
  return manifest
}

/** @throws UsageError naming what is missing, or is not as it should be */
function parseManifest(text: string): Manifest {
  const refuse = (how: string): UsageError =>
    new UsageError(`this is not the manifest of an S3 Inventory: ${how}`, {
      code: 'inventory.format',
      cure: 'Name the manifest.json that S3 wrote, as it is.',
    })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw refuse('it is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse('it is not an object')
  const manifest = value as Record<string, unknown>
  const textOf = (name: string): string => {
    const found = manifest[name]
    if (typeof found !== 'string' || found === '') throw refuse(`it has no ${name}`)
    return found
  }
  const told = manifest['creationTimestamp']
  const creationTimestamp = typeof told === 'number' ? told : Number(textOf('creationTimestamp'))
  // A time that no clock shows: neither a number nor within what Date can hold.
  if (!(creationTimestamp > 0) || Number.isNaN(new Date(creationTimestamp).getTime()))
    throw refuse('its creationTimestamp is not a time')
  const { files } = manifest
  if (!Array.isArray(files)) throw refuse('it has no files')
  const keys = new Set<string>()
  return {
    sourceBucket: textOf('sourceBucket'),
    fileFormat: textOf('fileFormat'),
    fileSchema: textOf('fileSchema'),
    creationTimestamp,
    files: files.map((file: unknown, index) => {
      const { key, size, MD5checksum } = (file ?? {}) as Record<string, unknown>
      const wrong = (what: string): UsageError => refuse(`its file ${index + 1} has no ${what}`)
      if (typeof key !== 'string' || key === '') throw wrong('key')
      if (keys.has(key)) throw refuse(`it names its file ${key} twice`)
      keys.add(key)
      if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw wrong('size')
      if (typeof MD5checksum !== 'string' || !/^[0-9a-f]{32}$/i.test(MD5checksum)) throw wrong('MD5checksum')
      return { key, size, MD5checksum }
    }),
  }
}

function missingColumns(missing: readonly string[]): UsageError {
  return new UsageError(`the inventory has no ${missing.join(', ')}`, { code: 'inventory.columns' })
}

function damaged(key: string, how: string, cause?: unknown): FatalError {
  return new FatalError(`the inventory file ${key} ${how}`, { code: 'inventory.damaged', cause })
}

/** Columns without which nothing can be compared; of versions, only the latest is what the bucket shows. */
function requireColumns(
  has: (name: string) => boolean,
  { needed, version, latest }: { needed: readonly string[]; version: string; latest: string },
): void {
  const missing = [...needed, ...(has(version) ? [latest] : [])].filter(name => !has(name))
  if (missing.length > 0) throw missingColumns(missing)
}

/**
 * An entry, if it is one: a file that is whole, and says what cannot be of one object, was not made by S3.
 *
 * @param bucket the one that the entry says it is in, if it says one
 * @throws Error
 */
function checkedEntry(entry: InventoryEntry, bucket: unknown, { sourceBucket }: Manifest): InventoryEntry {
  const { key, size, etag, lastModified } = entry
  if (bucket !== undefined && bucket !== sourceBucket)
    throw new Error(`it lists the bucket ${bucket}, not ${sourceBucket}`)
  if (key === '') throw new Error('it lists an object without a key')
  const wrong = (what: string): Error => new Error(`of ${JSON.stringify(key)} it tells no ${what}`)
  if (!Number.isSafeInteger(size) || size < 0) throw wrong('size')
  if (Number.isNaN(lastModified)) throw wrong('time')
  if (etag === '') throw wrong('ETag')
  return entry
}

/* ── CSV ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

async function* csvEntries(
  store: ObjectStore,
  file: Manifest['files'][number],
  manifest: Manifest,
  signal: AbortSignal | undefined,
): AsyncGenerator<InventoryEntry[]> {
  const columns = manifest.fileSchema.split(',').map(name => name.trim())
  const at = Object.fromEntries(columns.map((name, index) => [name, index]))
  requireColumns(name => at[name] !== undefined, {
    needed: ['Key', 'Size', 'LastModifiedDate', 'ETag'],
    version: 'VersionId',
    latest: 'IsLatest',
  })

  const content = await store.get(file.key, { signal })
  if (content === undefined) throw damaged(file.key, 'is missing')
  const md5 = createHash('md5')
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of content!.body) {
      md5.update(chunk)
      yield chunk
    }
  }
  const field = (line: string[], name: string): string => line[at[name] ?? -1] ?? ''
  try {
    for await (const lines of csvLines(Readable.from(hashed()).pipe(createGunzip()))) {
      const page: InventoryEntry[] = []
      for (const line of lines) {
        if (line.length !== columns.length) throw new Error(`has a line of ${line.length} fields`)
        if (at['IsLatest'] !== undefined && field(line, 'IsLatest') === 'false') continue
        if (field(line, 'IsDeleteMarker') === 'true') continue
        const entry = {
          // As in listings: form encoding, a space may be a plus sign.
          key: decodeURIComponent(field(line, 'Key').replaceAll('+', ' ')),
          size: /^\d+$/.test(field(line, 'Size')) ? Number(field(line, 'Size')) : Number.NaN,
          etag: field(line, 'ETag'),
          lastModified: Date.parse(field(line, 'LastModifiedDate')),
          storageClass: field(line, 'StorageClass') || undefined,
        }
        page.push(
          checkedEntry(entry, at['Bucket'] === undefined ? undefined : field(line, 'Bucket'), manifest),
        )
      }
      yield page
    }
  } catch (error) {
    throw damaged(file.key, `cannot be read: ${toError(error).message}`, error)
  }
  if (md5.digest('hex') !== file.MD5checksum.toLowerCase()) throw damaged(file.key, 'does not match its MD5')
}

/** Lines of quoted or plain fields, as S3 writes them: keys are URL-encoded, so a line is a line. */
async function* csvLines(text: AsyncIterable<Uint8Array>): AsyncGenerator<string[][]> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest = ''
  for await (const chunk of text) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() as string
    yield lines.filter(line => line.trim() !== '').map(csvFields)
  }
  rest += decoder.decode()
  if (rest.trim() !== '') yield [csvFields(rest)]
}

function csvFields(line: string): string[] {
  const fields: string[] = []
  const trimmed = line.endsWith('\r') ? line.slice(0, -1) : line
  for (const match of trimmed.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)) {
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
  }
  return fields
}

/* ── Parquet ──────────────────────────────────────────────────────────────────────────────────────────────────── */

const parquetColumns = ['key', 'size', 'last_modified_date', 'e_tag']

async function* parquetEntries(
  store: ObjectStore,
  file: Manifest['files'][number],
  manifest: Manifest,
  tempFolder: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<InventoryEntry[]> {
  const { parquetMetadataAsync, parquetReadObjects } = await import('hyparquet')
  const handle = await downloaded(store, file, path.join(tempFolder, 'inventory.parquet'), signal)
  const buffer = rangesOf(handle, file.size)
  try {
    const metadata = await parquetMetadataAsync(buffer)
    const present = new Set(metadata.schema.map(element => element.name))
    requireColumns(name => present.has(name), {
      needed: parquetColumns,
      version: 'version_id',
      latest: 'is_latest',
    })
    const columns = [
      ...parquetColumns,
      ...['bucket', 'is_latest', 'is_delete_marker', 'storage_class'].filter(name => present.has(name)),
    ]
    let rowStart = 0
    for (const group of metadata.row_groups) {
      const end = rowStart + Number(group.num_rows)
      for (; rowStart < end; rowStart = Math.min(end, rowStart + rowsAtOnce)) {
        signal?.throwIfAborted()
        const rows = await parquetReadObjects({
          file: buffer,
          metadata,
          columns,
          rowStart,
          rowEnd: Math.min(end, rowStart + rowsAtOnce),
          compressors: {
            GZIP: input => gunzipSync(input),
            ZSTD: input => zstdDecompressSync(input),
            BROTLI: input => brotliDecompressSync(input),
          },
        })
        yield rows
          .filter(row => row['is_latest'] !== false && row['is_delete_marker'] !== true)
          .map(row => {
            const entry = {
              key: String(row['key'] ?? ''),
              size: Number(row['size'] ?? Number.NaN),
              etag: String(row['e_tag'] ?? ''),
              lastModified: new Date(row['last_modified_date'] ?? Number.NaN).getTime(),
              storageClass: row['storage_class'] == null ? undefined : String(row['storage_class']),
            }
            return checkedEntry(entry, present.has('bucket') ? row['bucket'] : undefined, manifest)
          })
      }
    }
  } catch (error) {
    if (error instanceof UsageError || signal?.aborted) throw error
    throw damaged(file.key, `cannot be read: ${toError(error).message}`, error)
  } finally {
    await handle.close()
  }
}

/** A data file on disk, whole and with its MD5: it is read in any order. Nameless, so that nothing of it is left. */
async function downloaded(
  store: ObjectStore,
  file: Manifest['files'][number],
  target: string,
  signal: AbortSignal | undefined,
): Promise<FileHandle> {
  const content = await store.get(file.key, { signal })
  if (content === undefined) throw damaged(file.key, 'is missing')
  const handle = await open(target, 'w+', 0o600)
  try {
    await unlink(target)
    const md5 = createHash('md5')
    let size = 0
    for await (const chunk of content.body) {
      md5.update(chunk)
      await writeWhole({ handle, path: target }, chunk)
      size += chunk.length
    }
    if (size !== file.size) throw damaged(file.key, 'is missing or has the wrong size')
    if (md5.digest('hex') !== file.MD5checksum.toLowerCase())
      throw damaged(file.key, 'does not match its MD5')
    return handle
  } catch (error) {
    content.body.destroy()
    await handle.close()
    throw error
  }
}

function rangesOf(handle: FileHandle, size: number): AsyncBuffer {
  return {
    byteLength: size,
    async slice(start, end = size) {
      const whole = new ArrayBuffer(end - start)
      const { bytesRead } = await handle.read(new Uint8Array(whole), 0, end - start, start)
      if (bytesRead !== end - start) throw new Error('a range of it was cut short')
      return whole
    },
  }
}
