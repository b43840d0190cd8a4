/** What the commands need of a store beyond that; the probe object goes first. */
import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { encodeCrc32 } from '../core/crc32.ts'
import { StoreError } from '../storage/store.ts'
import type { Verdict } from './check.ts'
import { type Check, failure, ok, warning } from './check.ts'
import { type DoctorState, probeSize } from './state.ts'

/** The smallest part that S3 takes, bytes; more than proxies take of a body unless told to (nginx: 1 MiB). */
const leastPart = 5 * 1024 ** 2

export function storeChecks(state: DoctorState): Check[] {
  const { probe } = state
  return [
    {
      name: 'delete',
      needs: ['put'],
      async run(signal) {
        await state.deleteProbe(signal)
        if ((await state.opened().head(probe.key, { signal })) !== undefined) {
          return failure(
            'the probe object is still there after it was deleted',
            `Delete ${probe.key} by hand; an object lock or a replication rule may hold it.`,
          )
        }
        return state.held
          ? warning(
              'Object Lock holds every version that is written: the probe is hidden by a delete marker, its 4 KiB stay until the retention ends',
              'Nothing to do: autodj removes by delete markers here; what is deleted is paid for until the retention ends.',
            )
          : ok('the probe object is gone')
      },
    },
    {
      name: 'checksums',
      needs: ['delete'],
      async run(signal) {
        const key = `${probe.key}-checksum`
        const other = randomBytes(probeSize)
        const refused = await state
          .opened()
          .put(key, probe.body, {
            headers: { contentType: 'audio/mpeg' },
            checksums: { crc32: encodeCrc32(crc32(other)) },
            signal,
          })
          .then(() => false)
          .catch((error: unknown) => {
            if (error instanceof StoreError && error.kind === 'bad-digest') return true
            throw error
          })
        if (!refused) await state.deleteAll([key], signal)
        if (refused && state.confirmed) return ok('compared by the store, and reported')
        return warning(
          refused
            ? 'the store compares checksums but does not report them: uploads are read back'
            : 'the store accepts a body whose checksum is wrong: uploads are read back and compared',
          'Nothing to do, but every file is transferred a second time.',
        )
      },
    },
    {
      name: 'conditions',
      needs: ['delete'],
      async run(signal) {
        const key = `${probe.key}-condition`
        const { etag } = await state.putBody(key, { ifNoneMatch: true, signal })
        const [outcome] = await state.opened().delete([{ key, ifMatch: etag }], signal)
        if (outcome?.error !== undefined) throw outcome.error
        // In a versioned bucket a delete marker is left.
        await state.deleteAll([key], signal)
        const lacking = state.lacks.filter(text => /If-(None-)?Match/.test(text))
        if (lacking.length === 0) return ok('If-None-Match and If-Match are honoured')
        return warning(lacking.join('; '), 'Run one autodj at a time on this bucket.')
      },
    },
    {
      name: 'multipart',
      needs: ['delete'],
      timeoutMs: 30_000,
      run: signal => checkMultipart(state, signal),
    },
    {
      name: 'copy',
      needs: ['delete'],
      timeoutMs: 8_000,
      async run(signal) {
        const keys = [`${probe.key}-copy-1`, `${probe.key}-copy-2`, `${probe.key}-copy-3`] as const
        try {
          await state.putBody(keys[0], { signal })
          for (const key of keys.slice(1)) await state.opened().copy(keys[0], key, { signal })
        } finally {
          await state.deleteAll(keys, signal)
        }
        const lacking = state.lacks.filter(text => /cannot (copy|delete many)/.test(text))
        if (lacking.length > 0) return warning(lacking.join('; '), 'Nothing to do; it only takes longer.')
        return ok('an object copied within the bucket, copies deleted in one request')
      },
    },
    {
      name: 'listing',
      needs: ['delete'],
      timeoutMs: 8_000,
      run: signal => checkListing(state, signal),
    },
  ]
}

/** In the order of UTF-8, where other orders differ: by folders, by letters without case, by UTF-16. */
const listedNames = ['A b/x', 'A-b', 'A/x/y', 'Zoe/x', 'a/x', 'Éa/x', 'Мир/x', '東京/x', '\u{ff5e}/x', '🎧/x']

/** Whether the store lists what was put, in the order of S3: by the bytes of the keys. */
async function checkListing(state: DoctorState, signal: AbortSignal): Promise<Verdict> {
  const prefix = `${state.probe.key}-list/`
  const keys = listedNames.map(name => `${prefix}${name}`)
  const listed: string[] = []
  try {
    await Promise.all(keys.map(key => state.putBody(key, { signal })))
    for await (const page of state.opened().list({ prefix, signal }))
      listed.push(...page.map(({ key }) => key))
  } finally {
    await state.deleteAll(keys, signal).catch(() => undefined)
  }
  const missing = keys.filter(key => !listed.includes(key))
  if (missing.length > 0) {
    return failure(
      `missing from the listing: ${missing.length} of ${keys.length} objects just put, such as ${missing[0]}`,
      'Use a store whose listings are consistent: `reconcile` would take what is not listed for lost.',
    )
  }
  return ok('what was put is listed, in the order of its keys')
}

/** Sends parts, puts them together, and aborts an upload. */
async function checkMultipart(state: DoctorState, signal: AbortSignal): Promise<Verdict> {
  const key = `${state.probe.key}-parts`
  const noParts = () => state.lacks.find(text => text.includes('cannot list the parts'))
  const store = state.opened()
  const bodies = [randomBytes(leastPart), state.probe.body]
  const headers = { contentType: 'audio/mpeg' }
  const uploadId = await store.createUpload(key, { headers, signal })
  try {
    const parts = []
    for (const [index, body] of bodies.entries()) {
      const sum = encodeCrc32(crc32(body))
      parts.push({
        ...(await store.uploadPart(key, uploadId, index + 1, body, { crc32: sum, signal })),
        crc32: sum,
      })
    }
    const held = await store.listParts(key, uploadId, signal)
    if (held?.length !== bodies.length && noParts() === undefined) {
      return failure(
        `${bodies.length} parts were sent, but ${held?.length ?? 0} are listed`,
        'Use another store if files are over 16 MiB: their uploads cannot be resumed on this one.',
      )
    }
    const whole = Buffer.concat(bodies)
    const checksums = { crc32: encodeCrc32(crc32(whole)) }
    await store.completeUpload(key, uploadId, parts, { checksums, size: whole.length, signal })
    const head = await store.head(key, { signal })
    if (head?.size !== whole.length) {
      return failure(
        `${whole.length} bytes in parts became ${head?.size ?? 'no object'}`,
        'Use another store.',
      )
    }
  } finally {
    await store.abortUpload(key, uploadId, signal).catch(() => undefined)
    await state.deleteAll([key], signal).catch(() => undefined)
  }
  const second = await store.createUpload(key, { headers, signal })
  let listed = false
  for await (const page of store.listUploads({ prefix: key, signal }))
    listed ||= page.some(({ uploadId: id }) => id === second)
  await store.abortUpload(key, second, signal)
  if ((await store.listParts(key, second, signal)) !== undefined) {
    return failure(
      'an aborted upload is still there',
      'Remove its parts with another tool: they cost money until somebody does.',
    )
  }
  const lacking = noParts()
  if (lacking !== undefined) return warning(lacking, 'Nothing to do: it takes longer after an interruption.')
  if (!listed) {
    return warning(
      'uploads in progress are not listed by this store',
      'Nothing to do: autodj looks for its own by their ids.',
    )
  }
  return ok('parts sent, listed and put together, and an upload aborted')
}
