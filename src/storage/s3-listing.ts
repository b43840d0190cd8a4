/**
 * Listings that are complete or an error, never shorter: every continuation is checked, and so is the order of what
 * comes back. A listing cut short has made well-known tools delete data.
 */
import {
  type _Object,
  type EncodingType,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
  ListPartsCommand,
} from '@aws-sdk/client-s3'
import { type ListedObject, readContents } from '../core/storage/listed-contents.ts'
import { compareUtf8 } from '../core/utf8-order.ts'
import type { S3Connection } from './s3-connection.ts'
import type { RequestContext } from './s3-errors.ts'
import {
  type ListOptions,
  type ObjectEntry,
  type ObjectVersionEntry,
  StoreError,
  type UploadedPart,
  type UploadInProgress,
} from './store.ts'

export async function* listObjects(access: S3Connection, options: ListOptions): AsyncIterable<ObjectEntry[]> {
  const { signal, prefix = '', startAfter } = options
  const context = await access.context('list', { signal })
  let last = startAfter
  const pages = objectPages(access, context, { Prefix: prefix, StartAfter: startAfter }, signal)
  for await (const page of pages) {
    const decode = decoder(page.EncodingType, context)
    const entries: ObjectEntry[] = []
    for (const { key: spelt, size, etag, lastModified, storageClass } of page.Contents ?? []) {
      const key = decode(spelt)
      if (!key.startsWith(prefix)) throw broken(context, `${JSON.stringify(key)} is outside the prefix`)
      if (last !== undefined && compareUtf8(last, key) >= 0) {
        throw broken(context, `${JSON.stringify(key)} came after ${JSON.stringify(last)}: out of order`)
      }
      last = key
      entries.push({ key, size, etag, lastModified: new Date(lastModified), storageClass })
    }
    if (entries.length > 0) yield entries
  }
}

function objectPages(
  access: S3Connection,
  context: RequestContext,
  { StartAfter, ...what }: { Prefix: string; StartAfter?: string | undefined; Delimiter?: string },
  signal: AbortSignal | undefined,
) {
  return paginate(context, async (token: string | undefined) => {
    const page = await askEncoded(access, context, 'objects', async EncodingType => {
      const command = new ListObjectsV2Command({
        Bucket: access.bucket,
        ...what,
        EncodingType,
        // Only the first request may carry it: with a token some stores apply it again.
        StartAfter: token === undefined ? StartAfter : undefined,
        ContinuationToken: token,
      })
      const contents = readingContents(command)
      const { Contents, ...rest } = await access.client.send(command, { abortSignal: signal })
      return { ...rest, Contents: contents() ?? Contents?.map(asListed) }
    })
    return { page, truncated: page.IsTruncated, next: page.NextContinuationToken }
  })
}

/**
 * Has the objects of the answer read by {@link readContents}, and the rest of it by the SDK.
 *
 * @returns the objects of the last answer; undefined if they were left to the SDK
 */
function readingContents(command: ListObjectsV2Command): () => ListedObject[] | undefined {
  let contents: ListedObject[] | undefined
  command.middlewareStack.add(
    next => async args => {
      contents = undefined
      const result = await next(args)
      const response = result.response as { statusCode: number; body: AsyncIterable<Uint8Array> | Uint8Array }
      if (response.statusCode !== 200 || response.body instanceof Uint8Array) return result
      const body = Buffer.concat(await Array.fromAsync(response.body))
      const read = readContents(body)
      contents = read?.contents
      response.body = read?.rest ?? body
      return result
    },
    // Nearest to the wire: what comes after it sees a page without objects.
    { step: 'deserialize', priority: 'low', name: 'readContents' },
  )
  return () => contents
}

function asListed({ Key, Size, ETag, LastModified, StorageClass }: _Object): ListedObject {
  return {
    key: Key,
    size: Size ?? 0,
    etag: unquote(ETag),
    lastModified: LastModified?.getTime() ?? 0,
    storageClass: StorageClass,
  }
}

export async function listPrefixes(
  access: S3Connection,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const context = await access.context('list the prefixes of', { signal })
  const found: string[] = []
  const pages = objectPages(access, context, { Prefix: prefix, Delimiter: '/' }, signal)
  for await (const page of pages) {
    const decode = decoder(page.EncodingType, context)
    for (const common of page.CommonPrefixes ?? []) found.push(decode(common.Prefix))
  }
  return found
}

export async function* listVersions(
  access: S3Connection,
  options: { prefix?: string; signal?: AbortSignal },
): AsyncIterable<ObjectVersionEntry[]> {
  const { signal, prefix: Prefix } = options
  const context = await access.context('list the versions in', { signal })
  const pages = paginate<ListObjectVersionsCommandOutput, KeyMarker>(context, async marker => {
    const page = await askEncoded(access, context, 'versions', EncodingType => {
      const at = { KeyMarker: marker?.key, VersionIdMarker: marker?.id }
      const command = new ListObjectVersionsCommand({ Bucket: access.bucket, Prefix, EncodingType, ...at })
      return access.client.send(command, { abortSignal: signal })
    })
    return { page, truncated: page.IsTruncated, next: nextKey(page, page.NextVersionIdMarker, context) }
  })
  for await (const page of pages) {
    const decode = decoder(page.EncodingType, context)
    const entries: ObjectVersionEntry[] = (page.Versions ?? []).map(version => ({
      key: decode(version.Key),
      size: version.Size ?? 0,
      etag: unquote(version.ETag),
      lastModified: version.LastModified ?? new Date(0),
      storageClass: version.StorageClass,
      versionId: version.VersionId ?? 'null',
      isLatest: version.IsLatest ?? false,
      isDeleteMarker: false,
    }))
    for (const marker of page.DeleteMarkers ?? []) {
      entries.push({
        key: decode(marker.Key),
        size: 0,
        etag: '',
        lastModified: marker.LastModified ?? new Date(0),
        versionId: marker.VersionId ?? 'null',
        isLatest: marker.IsLatest ?? false,
        isDeleteMarker: true,
      })
    }
    // The SDK hands versions and markers over apart; together they were in this order on the wire.
    entries.sort(
      (a, b) =>
        compareUtf8(a.key, b.key) ||
        Number(b.isLatest) - Number(a.isLatest) ||
        b.lastModified.getTime() - a.lastModified.getTime(),
    )
    if (entries.length > 0) yield entries
  }
}

export async function* listUploads(
  access: S3Connection,
  options: { prefix?: string; signal?: AbortSignal },
): AsyncIterable<UploadInProgress[]> {
  const { signal, prefix: Prefix } = options
  const context = await access.context('list the uploads in', { signal })
  const pages = paginate<ListMultipartUploadsCommandOutput, KeyMarker>(context, async marker => {
    const page = await askEncoded(access, context, 'uploads', EncodingType => {
      const at = { KeyMarker: marker?.key, UploadIdMarker: marker?.id }
      const command = new ListMultipartUploadsCommand({ Bucket: access.bucket, Prefix, EncodingType, ...at })
      return access.client.send(command, { abortSignal: signal })
    })
    // rclone's server leaves it out if nothing follows; what says of which bucket it speaks is a listing.
    const isWhole = page.Bucket === access.bucket ? false : undefined
    const next = nextKey(page, page.NextUploadIdMarker, context)
    return { page, truncated: page.IsTruncated ?? isWhole, next }
  })
  // Of the bucket itself nothing is known to be wrong: it is the listing that there is none of.
  const listed = withoutUnsupported(pages, () => access.lacks.found('upload-listing'))
  for await (const page of listed) {
    const decode = decoder(page.EncodingType, context)
    const uploads = (page.Uploads ?? []).map(({ Key, UploadId, Initiated }) => ({
      key: decode(Key),
      uploadId: UploadId ?? '',
      initiated: Initiated ?? new Date(0),
    }))
    if (uploads.length > 0) yield uploads
  }
}

/** Where a listing of more than keys continues: behind this version or upload of this key. */
interface KeyMarker {
  key: string
  id?: string | undefined
}

/** Without a key there is nothing behind which to continue: some say so by an empty one. */
function nextKey(
  { NextKeyMarker: key, EncodingType }: { NextKeyMarker?: string; EncodingType?: string },
  id: string | undefined,
  context: RequestContext,
): KeyMarker | undefined {
  return key ? { key: decoder(EncodingType, context)(key), id } : undefined
}

/** The pages, or none if the store has no such listing: 405, 501, a 404 that is of no bucket (s3rver). */
async function* withoutUnsupported<Page>(pages: AsyncIterable<Page>, tell: () => void): AsyncIterable<Page> {
  try {
    yield* pages
  } catch (thrown) {
    if (!(thrown instanceof StoreError)) throw thrown
    // rclone says so of a bucket in which none is in progress.
    if (thrown.kind === 'no-upload') return
    if (thrown.kind !== 'unsupported' && thrown.kind !== 'missing') throw thrown
    tell()
  }
}

/**
 * Asks for a listing in which keys are URL-encoded: only so can every key be written in XML. A store that does not
 * confirm it in its answer may have encoded the keys all the same (Ceph RGW, of uploads) or not have (moto): nobody
 * can tell, so it is asked for again as it is, and from then on at once.
 */
async function askEncoded<Page extends { EncodingType?: string }>(
  access: S3Connection,
  context: RequestContext,
  listing: string,
  ask: (encoding: EncodingType | undefined) => Promise<Page>,
): Promise<Page> {
  const { plainListings } = access.lacks
  if (!plainListings.has(listing)) {
    const page = await access.run(context, () => ask('url'))
    if (page.EncodingType === 'url' || isEmpty(page)) return page
    plainListings.add(listing)
  }
  return access.run(context, () => ask(undefined))
}

/** Without names there is nothing that could have been encoded. */
function isEmpty(page: object): boolean {
  return ['Contents', 'CommonPrefixes', 'Versions', 'DeleteMarkers', 'Uploads'].every(
    name => !(page as Record<string, readonly unknown[] | undefined>)[name]?.length,
  )
}

/** The parts an upload has so far, in order. Throws kind `no-upload` if there is none. */
export async function listParts(
  access: S3Connection,
  key: string,
  uploadId: string,
  signal: AbortSignal | undefined,
): Promise<UploadedPart[]> {
  const context = await access.context('list the parts of', { key, signal })
  const parts: UploadedPart[] = []
  const pages = paginate<Awaited<ReturnType<typeof request>>, string>(context, async marker => {
    const page = await access.run(context, () => request(marker))
    // What names the upload is its listing; some leave out that it is whole.
    const isWhole = page.UploadId === uploadId ? false : undefined
    return { page, truncated: page.IsTruncated ?? isWhole, next: page.NextPartNumberMarker }
  })
  function request(marker: string | undefined) {
    return access.client.send(
      new ListPartsCommand({ Bucket: access.bucket, Key: key, UploadId: uploadId, PartNumberMarker: marker }),
      { abortSignal: signal },
    )
  }
  for await (const page of pages) {
    for (const { PartNumber = 0, Size = 0, ETag, ChecksumCRC32 } of page.Parts ?? []) {
      if (PartNumber <= (parts.at(-1)?.partNumber ?? 0)) throw broken(context, 'part numbers out of order')
      parts.push({ partNumber: PartNumber, size: Size, etag: unquote(ETag), crc32: ChecksumCRC32 })
    }
  }
  return parts
}

/**
 * Follows continuation markers to the end. Throws if a page says that more follows but not how to get it, or
 * if it leads back to itself.
 */
async function* paginate<Page, Marker = string>(
  context: RequestContext,
  fetch: (marker: Marker | undefined) => Promise<{ page: Page; truncated?: boolean; next?: Marker }>,
): AsyncIterable<Page> {
  let marker: Marker | undefined
  let seen: string | undefined
  for (;;) {
    const { page, truncated, next } = await fetch(marker)
    // S3 always says which. What does not is no listing, though the SDK reads anything as an empty one.
    if (truncated === undefined) throw broken(context, 'the answer is not a listing')
    yield page
    if (!truncated) return
    if (next === undefined) throw broken(context, 'a page says that more follows, but not how to continue')
    const here = JSON.stringify(next)
    if (here === seen) throw broken(context, 'the same continuation came twice')
    seen = here
    marker = next
  }
}

function decoder(
  encodingType: string | undefined,
  context: RequestContext,
): (text: string | undefined) => string {
  return text => {
    if (text === undefined) throw broken(context, 'an entry has no key')
    if (encodingType !== 'url') return text
    if (!text.includes('%') && !text.includes('+')) return text
    try {
      // S3 spells a space as `+` here, and a plus as `%2B`.
      return decodeURIComponent(text.replaceAll('+', '%20'))
    } catch {
      throw broken(context, `${JSON.stringify(text)} is not a URL-encoded key`)
    }
  }
}

/** Whether what was asked for is not known to the store, by its own word. */
export function isNoListing(error: unknown): boolean {
  return error instanceof StoreError && error.kind === 'unsupported'
}

function broken(context: RequestContext, what: string): StoreError {
  return new StoreError(
    'invalid',
    `cannot ${context.operation} bucket ${context.bucket} at ${context.endpoint}: the listing is broken: ${what}`,
    {
      cure: 'Do not trust any listing of this store until its operator has explained this.',
      details: { bucket: context.bucket, endpoint: context.endpoint },
    },
  )
}

/** An ETag without its quotes; empty if there is none. */
export function unquote(etag: string | undefined): string {
  return (etag ?? '').replace(/^"|"$/g, '')
}
