/** An object put, looked at and read. */
import { refusesAnyone } from '../core/diagnosis/diagnose.ts'
import { formatCount } from '../core/units.ts'
import { type Check, failure, ok, skipped } from './check.ts'
import { type DoctorState, probeSize } from './state.ts'

export function objectChecks(state: DoctorState): Check[] {
  const { probe } = state
  const { prober } = state.resources
  return [
    {
      name: 'put',
      needs: ['bucket'],
      async run(signal) {
        const cacheControl = 'public, max-age=60'
        const { etag, versionId, checksums } = await state.putBody(probe.key, { cacheControl, signal })
        probe.put = { etag, versionId }
        state.confirmed = checksums.crc32 !== undefined
        return ok(probe.key)
      },
    },
    {
      name: 'head',
      needs: ['put'],
      async run(signal) {
        const head = await state.opened().head(probe.key, { signal })
        if (head === undefined) {
          return failure(
            'the object just uploaded is not there',
            'Look at what deletes objects as they arrive, or use another store: this one is not consistent.',
          )
        }
        if (head.size !== probeSize) {
          return failure(
            `${probeSize} bytes were uploaded, but ${head.size} are there`,
            'Check the store, or the proxy in front of it, which changes bodies.',
          )
        }
        return ok(
          `${formatCount(head.size)} bytes${head.encryption === undefined ? '' : `, encrypted (${head.encryption})`}`,
        )
      },
    },
    {
      name: 'get-range',
      needs: ['put'],
      async run(signal) {
        const range = { start: 1_000, end: 1_999 }
        const content = await state.opened().get(probe.key, { range, signal })
        if (content === undefined)
          return failure('the object just uploaded cannot be read', 'Grant s3:GetObject.')
        const parts: Uint8Array[] = []
        for await (const part of content.body) parts.push(part)
        if (!Buffer.concat(parts).equals(probe.body.subarray(1_000, 2_000))) {
          return failure(
            'a byte range came back with other bytes than were uploaded',
            'Check the store, or the proxy in front of it, which changes bodies or ignores Range.',
          )
        }
        return ok('1,000 bytes from the middle, as they were uploaded')
      },
    },
    {
      name: 'public-access',
      needs: ['put'],
      async run() {
        const result = await prober.request({ url: state.direct(probe.key), range: { start: 0, end: 0 } })
        if ('error' in result) return skipped(`no answer: ${result.error.code}`)
        if (result.answer.status === 200 || result.answer.status === 206) {
          return failure(
            'the bucket serves the object to anyone, bypassing the CDN',
            'Turn on Block Public Access: `autodj bucket plan` prints it.',
          )
        }
        const { status } = result.answer
        return refusesAnyone(result.answer)
          ? ok(`refused without credentials (${status})`)
          : skipped(`S3 gave no clear answer to a request without credentials: HTTP ${status}`)
      },
    },
  ]
}
