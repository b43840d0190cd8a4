import { sameCaching } from '../keys.ts'
import type { Comparison, ContentSums, Difference, ObjectFacts, RowFacts, Sameness } from './facts.ts'

/** What must be looked at before a row and its object can be judged. */
type NextLook = 'head' | 'content' | 'type'

interface Expectations {
  /** Cache-Control every object should carry; undefined: not judged */
  cacheControl?: string
}

/**
 * The next, dearer look that judging needs, or undefined when what was observed is enough.
 *
 * A listing is enough if the ledger vouches for the object: same ETag as when it was proved, and not written
 * since (rewriting headers keeps the ETag of a single-part object, and moves Last-Modified). Bytes are fetched only
 * where the ETag is another and the server has no checksum of its own; their beginning where the type looks wrong.
 */
export function nextLook(row: RowFacts, object: ObjectFacts): NextLook | undefined {
  const { proof } = row
  const vouched = proof !== undefined && proof.etag === object.etag && object.lastModified <= proof.at
  if (vouched && (object.mayBeArchived !== true || object.head !== undefined)) return undefined
  if (object.head === undefined) return 'head'
  if (object.head.archive !== undefined) return undefined
  const rewritten = proof?.sha256 !== undefined && proof.etag !== object.etag && proof.size === object.size
  if (rewritten && compareSums(row, object) === undefined) return 'content'
  if (object.sniffedType === undefined && proof?.contentType === undefined && typeLooksWrong(object))
    return 'type'
  return undefined
}

/**
 * A row whose key has an object. What a cell leaves open is not judged: no size in the row, no checksum known.
 *
 * | what is compared                                   | differs                          |
 * | -------------------------------------------------- | -------------------------------- |
 * | row.size, object size                              | size-differs                     |
 * | checksum proved (else declared), of the bytes      | checksum-differs                 |
 * |   … none of the bytes: size proved, object size    | checksum-differs                 |
 * | Content-Type proved (else of the bytes), as stored | metadata-differs                 |
 * | Cache-Control wanted, as stored                    | metadata-differs                 |
 * | bytes that can be read, an archive                 | archived-object                  |
 * | file_source, S3                                    | wrong-source                     |
 */
export function classifyMatched(row: RowFacts, object: ObjectFacts, expected: Expectations): Comparison {
  const differences: Difference[] = []
  const drift = (kind: Difference['class'], detail: string): void => {
    differences.push({ class: kind, severity: 'drift', detail })
  }
  if (row.size !== null && row.size !== object.size) {
    drift('size-differs', `row ${row.size} bytes, object ${object.size} bytes`)
  }
  const compared = compareSums(row, object)
  if (compared?.same === false) {
    const [actual, wanted] = [compared.actual, compared.wanted].map(sum => sum.slice(0, 12))
    drift('checksum-differs', `${compared.algorithm} ${actual}…, should be ${wanted}…`)
  } else if (row.proof !== undefined && row.proof.size !== object.size && compared === undefined) {
    drift('checksum-differs', `${object.size} bytes, proved were ${row.proof.size}`)
  }
  if (object.head !== undefined) {
    const { contentType, cacheControl } = object.head
    const type = row.proof?.contentType ?? object.sniffedType
    if (type !== undefined && type !== '' && bareType(contentType) !== bareType(type)) {
      drift('metadata-differs', `Content-Type ${contentType ?? 'none'}, should be ${type}`)
    }
    if (expected.cacheControl !== undefined && !sameCaching(cacheControl, expected.cacheControl)) {
      drift('metadata-differs', `Cache-Control ${cacheControl ?? 'none'}, should be ${expected.cacheControl}`)
    }
  }
  if (object.head?.archive !== undefined) {
    const restoring = object.head.archive === 'restoring' ? 'being restored' : 'nobody can play it'
    drift('archived-object', `its bytes are in an archive, ${restoring}`)
  }
  if (row.source !== 'S3')
    drift('wrong-source', `file_source ${row.source ?? 'null'}, but the object is there`)
  return { sigil: differences.length === 0 ? '=' : '*', name: object.key, differences, row, object }
}

/**
 * A row without key. `look` is undefined if nobody looked, `outside` where the path leads out of the audio folder, and
 * nobody ever looks.
 *
 * | file there | file_source        | finding                                       |
 * | ---------- | ------------------ | --------------------------------------------- |
 * | yes        | LOCAL, YOUTUBE     | agree                                         |
 * | yes        | S3, UNAVAILABLE, – | wrong-source                                  |
 * | no         | UNAVAILABLE, –     | no-audio, a note: the row says so itself      |
 * | no         | LOCAL, YOUTUBE, S3 | no-audio                                      |
 * | outside    | any                | as if it were not there                       |
 * | empty      | any                | as if it were not there                       |
 * | not looked | LOCAL, YOUTUBE     | agree                                         |
 * | not looked | UNAVAILABLE, –     | agree                                         |
 * | not looked | S3                 | wrong-source: an S3 row has a key             |
 *
 * Without `file_path` the file is not there, looked or not.
 */
export function classifyWithoutKey(
  row: RowFacts,
  look: boolean | 'outside' | 'empty' | undefined,
): Comparison {
  const outside = row.path !== null && look === 'outside'
  const there = row.path === null || look === 'outside' || look === 'empty' ? false : look
  const claims = row.source !== null && row.source !== 'UNAVAILABLE'
  const source = `${row.label === undefined ? '' : `${row.label}: `}file_source ${row.source ?? 'null'}`
  const comparison = (sigil: Comparison['sigil'], difference?: Difference): Comparison => ({
    sigil,
    name: row.trackId,
    differences: difference === undefined ? [] : [difference],
    row,
    ...(there === undefined || outside ? {} : { fileThere: there }),
  })
  if (there === false) {
    const file =
      row.path === null
        ? 'no file_path'
        : outside
          ? `file_path is outside the audio folder: ${row.path}`
          : look === 'empty'
            ? `the file is empty: ${row.path}`
            : `no file at ${row.path}`
    return comparison(claims ? '+' : '=', {
      class: 'no-audio',
      severity: claims ? 'drift' : 'note',
      detail: `${source}, no key, ${file}`,
    })
  }
  if (there === true ? row.source === 'LOCAL' || row.source === 'YOUTUBE' : row.source !== 'S3')
    return comparison('=')
  return comparison('*', {
    class: 'wrong-source',
    severity: 'drift',
    detail: `${source}, but ${there === true ? 'the file is there' : 'there is no key'}`,
  })
}

/** Whether an object holds what the row was proved to have; sizes alone can only tell that it does not. */
export function sameContent(row: RowFacts, object: ObjectFacts): Sameness {
  const { proof } = row
  if (proof !== undefined) {
    if (proof.size !== object.size) return 'different'
    if (proof.etag === object.etag) return 'same'
    const compared = compareSums(row, object)
    if (compared !== undefined) return compared.same ? 'same' : 'different'
    const declared = object.head?.declaredSha256
    if (proof.sha256 !== undefined && declared !== undefined)
      return proof.sha256 === declared ? 'same' : 'different'
  }
  return row.size !== null && row.size !== object.size ? 'different' : 'unknown'
}

/** SHA-256 of the bytes as computed by the server or by us; never what an uploader declared. */
export function actualSha256(object: ObjectFacts): string | undefined {
  return object.contentSha256 ?? object.head?.sums?.sha256
}

const algorithms = { sha256: 'SHA-256', crc64nvme: 'CRC-64/NVME', crc32: 'CRC-32' } as const

/**
 * The strongest checksum known both as it should be (proved, else declared by the uploader) and as it is (of the
 * bytes, by us or by the server); undefined when there is none. Two recordings may share size and CRC: of an object
 * written anew, a CRC that agrees tells only beside the SHA-256 that its uploader declared.
 */
export function compareSums(
  row: RowFacts,
  object: ObjectFacts,
): { same: boolean; algorithm: string; wanted: string; actual: string } | undefined {
  // Of a listing's word there is none, and a listing is all there is to most objects.
  if (object.head === undefined && object.contentSha256 === undefined) return undefined
  const wanted: ContentSums = { ...row.proof, sha256: row.proof?.sha256 ?? object.head?.declaredSha256 }
  const actual: ContentSums = { ...object.head?.sums, sha256: actualSha256(object) }
  for (const name of ['sha256', 'crc64nvme', 'crc32'] as const) {
    const [want, is] = [wanted[name], actual[name]]
    if (want !== undefined && is !== undefined) {
      if (want === is && name !== 'sha256' && isDoubtful(row, object)) return undefined
      return { same: want === is, algorithm: algorithms[name], wanted: want, actual: is }
    }
  }
  return undefined
}

/** Whether an object may be another recording than the one that was proved, though size and CRC are the same. */
function isDoubtful({ proof }: RowFacts, { etag, head }: ObjectFacts): boolean {
  return proof?.sha256 !== undefined && proof.etag !== etag && head?.declaredSha256 !== proof.sha256
}

/** Types by extension: only to tell whether the bytes are worth a look, never to judge by. */
const typesByExtension: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    mp3: ['audio/mpeg'],
    flac: ['audio/flac', 'audio/x-flac'],
    wav: ['audio/wav', 'audio/vnd.wave', 'audio/x-wav', 'audio/wave'],
    ogg: ['audio/ogg'],
    oga: ['audio/ogg'],
    opus: ['audio/ogg', 'audio/opus'],
    m4a: ['audio/mp4', 'audio/x-m4a'],
    mp4: ['audio/mp4', 'video/mp4'],
    aac: ['audio/aac'],
    aif: ['audio/aiff', 'audio/x-aiff'],
    aiff: ['audio/aiff', 'audio/x-aiff'],
    webm: ['audio/webm', 'video/webm'],
  }),
)

function typeLooksWrong(object: ObjectFacts): boolean {
  const extension = /\.([^./]+)$/.exec(object.key)?.[1]?.toLowerCase() ?? ''
  return typesByExtension.get(extension)?.includes(bareType(object.head?.contentType)) !== true
}

/** `audio/mpeg; charset=x` without its parameters, lower case. */
function bareType(type: string | undefined): string {
  return (type ?? '').replace(/;.*/s, '').trim().toLowerCase()
}
