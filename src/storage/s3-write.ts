/** Writing objects: whole; in parts (s3-multipart.ts); from streams of unknown length (s3-stream.ts). */
import { withoutRefusedChecksum } from './lacks.ts'
import type { Conditions } from './s3-conditions.ts'
import type { S3Connection } from './s3-connection.ts'
import { checksumHeader, checksumsOf, etagOf, insistOn, wireHeaders } from './s3-fields.ts'
import { abortedOnFailure, multipartRequests, type WithUpload } from './s3-multipart.ts'
import { streamObjects } from './s3-stream.ts'
import type { ObjectStore, PutResult } from './store.ts'

type Written = Pick<
  ObjectStore,
  'put' | 'putStream' | 'createUpload' | 'uploadPart' | 'completeUpload' | 'abortUpload'
>

/** @param streamPartSize bytes a part of `putStream` */
export function writeObjects(
  connection: S3Connection,
  {
    streamPartSize,
    head,
    listParts,
    createOnly,
  }: { streamPartSize: number } & Pick<ObjectStore, 'head' | 'listParts'> & Pick<Conditions, 'createOnly'>,
): Written & { withUpload: WithUpload } {
  const { bodies, lacks, context } = connection
  const multipart = multipartRequests(connection, { head, createOnly })
  const { withUpload, abandon } = abortedOnFailure(connection, { ...multipart, listParts })

  async function put(
    key: string,
    body: Uint8Array,
    { headers, checksums, ifNoneMatch, signal }: Parameters<ObjectStore['put']>[2],
  ): Promise<PutResult> {
    const where = await context('put', { key, signal, condition: 'if-none-match' })
    const send = async (condition: boolean): Promise<PutResult> => {
      const response = await withoutRefusedChecksum(lacks, checksumHeader(checksums), checksum =>
        bodies.put(
          {
            key,
            headers: {
              ...wireHeaders(headers, where),
              ...checksum,
              ...(condition && { 'if-none-match': '*' }),
            },
            body,
            sha256: checksums.sha256,
          },
          where,
        ),
      )
      const result = {
        etag: etagOf(response.headers['etag'], where),
        versionId: response.headers['x-amz-version-id'],
        checksums: checksumsOf({
          ChecksumCRC32: response.headers['x-amz-checksum-crc32'],
          ChecksumCRC64NVME: response.headers['x-amz-checksum-crc64nvme'],
          ChecksumSHA256: response.headers['x-amz-checksum-sha256'],
        }),
      }
      insistOn(checksums, result.checksums, where)
      return result
    }
    return ifNoneMatch ? createOnly(where, send, true) : send(false)
  }

  const { putStream } = streamObjects(connection, { put, ...multipart, abandon, streamPartSize })
  return { put, putStream, ...multipart, withUpload }
}
