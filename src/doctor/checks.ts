/** The checks of `autodj doctor`, in the order in which a set-up breaks. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { observeDomain } from '../cdn/domain.ts'
import type { Prober } from '../cdn/probe.ts'
import { openUrlSigner, type UrlSigner } from '../cdn/sign.ts'
import { type Config, describeEndpoint } from '../config.ts'
import { cdnNames, edgeOf, providerOf } from '../core/cdn-provider.ts'
import { bucketUrl, cdnUrl, directUrl, encodeKeyPath, s3Host } from '../core/cdn-url.ts'
import { encodeCrc32 } from '../core/crc32.ts'
import { diagnose, diagnoseContent, refusesAnyone } from '../core/diagnosis/diagnose.ts'
import { describeDomain, diagnoseDomain, diagnoseProvider } from '../core/diagnosis/domain.ts'
import { networkFault } from '../core/diagnosis/network-fault.ts'
import { formatCount } from '../core/units.ts'
import type { Database } from '../db/database.ts'
import { AppError, LockedError } from '../errors.ts'
import type { AwsIdentitySource } from '../storage/identity.ts'
import { isObjectLocked } from '../storage/s3-errors.ts'
import { type ObjectStore, StoreError } from '../storage/store.ts'
import { type Check, failure, ok, skipped, warning } from './check.ts'
import { checkDatabaseWrite, checkLibrary } from './library.ts'
import { checkAudioFolder, checkClock, checkSettingsFiles, checkTempSpace, openToOthers } from './machine.ts'

export interface DoctorResources {
  config: Config
  prober: Prober
  /** opens the store; nothing is sent before its first method */
  /** @param onLack told once of each thing that the store turns out to lack */
  openStore(onLack: (text: string) => void): ObjectStore
  /** the database, for reading only unless said otherwise */
  openDatabase(how?: { readOnly: boolean }): Promise<Database>
  /** resolves what the SDK would use; throws when it finds none */
  resolveAws(): Promise<AwsIdentitySource>
  /** who the credentials belong to; `undefined` where the store is not AWS */
  identify: ((signal: AbortSignal) => Promise<{ arn: string; account: string }>) | undefined
  /** decodes a bundled piece of music; throws when that fails */
  decodeSample(signal: AbortSignal): Promise<{ decoder: string; seconds: number }>
  now: () => Date
}

const probeSize = 4_096
/** The smallest part that S3 takes, bytes; more than proxies take of a body unless told to (nginx: 1 MiB). */
const leastPart = 5 * 1024 ** 2
/**
 * The checks, and what removes the probe object if they end before it is deleted. Checks share what they learn, so
 * they are run in order, once.
 */
export function doctorChecks(resources: DoctorResources): { checks: Check[]; cleanUp(): Promise<void> } {
  const { config, prober, now } = resources
  const { cdn, s3 } = config
  const bucket = s3.bucket ?? ''
  let region = s3.region
  let store: ObjectStore | undefined
  let signer: UrlSigner | undefined
  let database: Database | undefined
  const probe = {
    key: `${s3.keyPrefix}.autodj-doctor/${randomUUID()}`,
    body: randomBytes(probeSize),
    put: undefined as { versionId?: string; etag: string } | undefined,
  }
  const lacks: string[] = []
  /** the store told the checksum of what was put */
  let confirmed = false
  /** Object Lock holds what was put */
  let held = false
  const opened = () => {
    store ??= resources.openStore(text => lacks.push(text))
    return store
  }
  const whole = { start: 0, end: probeSize - 1 }
  const place = () => ({ bucket, region, endpoint: s3.endpoint, addressing: s3.addressing })
  const direct = (key: string) => directUrl(place(), key)

  /** Every version of them: nothing of the checks stays but what Object Lock holds, and that is hidden. */
  async function deleteAll(keys: readonly string[], signal: AbortSignal): Promise<void> {
    const versioned = (await opened().versioning(signal)) !== 'Off'
    const targets: { key: string; versionId?: string }[] = versioned ? [] : keys.map(key => ({ key }))
    for (const key of versioned ? keys : []) {
      for await (const page of opened().listVersions({ prefix: key, signal }))
        targets.push(...page.map(({ key: found, versionId }) => ({ key: found, versionId })))
    }
    await deleteOrHide(targets, signal)
  }

  /** A version that Object Lock holds gets a delete marker instead, as an object has that autodj removes. */
  async function deleteOrHide(
    targets: readonly { key: string; versionId?: string }[],
    signal?: AbortSignal,
  ): Promise<void> {
    const outcomes = await opened().delete(targets, signal)
    const locked = targets.filter((_, index) => isObjectLocked(outcomes[index]?.error))
    const failed = outcomes.find(({ error }) => error !== undefined && !isObjectLocked(error))
    if (failed?.error !== undefined) throw failed.error
    if (locked.length === 0) return
    held = true
    const keys = [...new Set(locked.map(({ key }) => key))]
    const hidden = await opened().delete(
      keys.map(key => ({ key })),
      signal,
    )
    const visible = hidden.find(({ error }) => error !== undefined)
    if (visible?.error !== undefined) throw visible.error
  }

  async function deleteProbe(signal?: AbortSignal): Promise<void> {
    if (probe.put === undefined) return
    await deleteOrHide([{ key: probe.key, versionId: probe.put.versionId }], signal)
    probe.put = undefined
  }

  const checks: Check[] = [
    { name: 'env-file', run: () => checkSettingsFiles(config) },
    {
      name: 'signing-key',
      async run() {
        if (cdn?.signer === undefined) return skipped('no signed URLs configured')
        signer = await openUrlSigner(cdn.signer)
        return (
          (await openToOthers(cdn.signer.privateKeyPath)) ??
          ok(`${signer.keyType} key for ${signer.keyPairId}`)
        )
      },
    },
    {
      name: 'credentials',
      async run(signal) {
        const source = await resources.resolveAws()
        region = source.region
        const key = `${source.accessKeyId.slice(0, 4)}…${source.accessKeyId.slice(-4)}`
        const kind = source.temporary ? 'temporary credentials' : 'access key'
        if (resources.identify === undefined) return ok(`${kind} ${key} for ${s3.endpoint}`)
        const { arn } = await resources.identify(signal)
        if (arn.endsWith(':root')) {
          return warning(
            `${key} is a key of the root user`,
            'Make a user or role with what `autodj policy` prints, and delete the root key.',
          )
        }
        return ok(`${arn}, ${kind} ${key}`)
      },
    },
    {
      name: 'endpoint',
      async run() {
        const url = s3.endpoint ?? `https://${s3Host(region)}`
        const shown = s3.endpoint === undefined ? `Amazon S3 in ${region}` : describeEndpoint(s3)
        const result = await prober.request({ url: `${url}/` })
        if ('error' in result) {
          return failure(
            `${shown} cannot be reached: ${networkFault(result.error)}`,
            s3.endpoint === undefined
              ? `Check AWS_REGION (now ${region}): there may be no such region. Otherwise check network, DNS and proxy.`
              : `Check how ${s3.endpointFrom} spells it, and that the store is running.`,
          )
        }
        const clock = checkClock(result.answer.headers['date'], now())
        return { ...clock, cause: `${shown}: ${clock.cause}` }
      },
    },
    {
      name: 'region',
      needs: ['endpoint'],
      async run() {
        if (s3.bucket === undefined) {
          return failure('S3_BUCKET_NAME is not set', 'Set it in .env, or run `autodj init`.')
        }
        const result = await prober.request({
          url: `${bucketUrl(place())}/`,
        })
        const actual = 'answer' in result ? result.answer.headers['x-amz-bucket-region'] : undefined
        if (actual === undefined) return ok(`${region} (the store does not report it)`)
        if (actual !== region) {
          return failure(`the bucket is in ${actual}, AWS_REGION is ${region}`, `Set AWS_REGION=${actual}.`)
        }
        return ok(actual)
      },
    },
    {
      name: 'bucket',
      needs: ['credentials', 'endpoint', 'region'],
      async run(signal) {
        await opened().checkBucket(signal)
        return ok(bucket)
      },
    },
    {
      name: 'put',
      needs: ['bucket'],
      async run(signal) {
        const { etag, versionId, checksums } = await opened().put(probe.key, probe.body, {
          headers: { contentType: 'audio/mpeg', cacheControl: 'public, max-age=60' },
          checksums: { crc32: encodeCrc32(crc32(probe.body)) },
          signal,
        })
        probe.put = { etag, versionId }
        confirmed = checksums.crc32 !== undefined
        return ok(probe.key)
      },
    },
    {
      name: 'head',
      needs: ['put'],
      async run(signal) {
        const head = await opened().head(probe.key, { signal })
        if (head === undefined) {
          return failure(
            'the object just uploaded is not there',
            'The store is not consistent, or something deletes objects as they arrive.',
          )
        }
        if (head.size !== probeSize) {
          return failure(
            `${probeSize} bytes were uploaded, but ${head.size} are there`,
            'The store, or a proxy in front of it, changes bodies.',
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
        const content = await opened().get(probe.key, { range, signal })
        if (content === undefined)
          return failure('the object just uploaded cannot be read', 'Grant s3:GetObject.')
        const parts: Uint8Array[] = []
        for await (const part of content.body) parts.push(part)
        if (!Buffer.concat(parts).equals(probe.body.subarray(1_000, 2_000))) {
          return failure(
            'a byte range came back with other bytes than were uploaded',
            'The store, or a proxy in front of it, changes bodies or ignores Range.',
          )
        }
        return ok('1,000 bytes from the middle, as they were uploaded')
      },
    },
    {
      name: 'public-access',
      needs: ['put'],
      async run() {
        const result = await prober.request({ url: direct(probe.key), range: { start: 0, end: 0 } })
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
    {
      name: 'cdn-domain',
      async run() {
        if (cdn === undefined) return skipped('CLOUDFRONT_DOMAIN is not set: CDN steps are skipped')
        const seen = {
          ...(await observeDomain(cdn.domain, encodeKeyPath(probe.key), prober)),
          provider: cdn.provider,
        }
        const findings = diagnoseDomain(seen, now())
        if (findings.length > 0) {
          return warning(
            findings.map(({ title, evidence }) => `${title} (${evidence.join('; ')})`).join('; '),
            findings.map(({ cure }) => cure).join(' '),
          )
        }
        const described = describeDomain(seen, now())
        return ok(`${cdn.domain.hostname}${described === undefined ? '' : `: ${described}`}`)
      },
    },
    {
      name: 'cdn-fetch',
      needs: ['put', 'cdn-domain'],
      timeoutMs: 8_000,
      async run() {
        if (cdn === undefined) return skipped('no CDN')
        if (cdn.signer !== undefined && signer === undefined) return skipped('needs "signing-key"')
        const plain = cdnUrl(cdn.domain, probe.key)
        const url = signer === undefined ? plain : signer.sign(plain, new Date(now().getTime() + 60_000))
        const result = await prober.request({ url, range: whole, hash: true })
        const findings = diagnose({
          key: probe.key,
          url,
          range: whole,
          signed: signer !== undefined,
          provider: cdn.provider,
          origin: cdn.pageOrigin.origin,
          cors: cdn.pageOrigin.isDefault ? 'ignored' : 'warning',
          expectedSize: probeSize,
          expectedEtag: probe.put?.etag,
          s3: { state: 'present', size: probeSize, etag: probe.put?.etag, lastModified: now() },
          ...result,
        })
        if (findings.length === 0 && 'sha256' in result) {
          const stored = createHash('sha256').update(probe.body).digest('hex')
          findings.push(...diagnoseContent('SHA-256', result.sha256 ?? '', stored))
        }
        if (!findings.some(({ severity }) => severity === 'failure') && 'answer' in result) {
          const seen = providerOf(result.answer.headers, cdn.provider) ?? 'none'
          findings.unshift(...diagnoseProvider(cdn.provider, { [seen]: 1 }))
        }
        const [first] = findings
        if (first === undefined && 'answer' in result) {
          const { answer, latencyMs } = result
          const seen = providerOf(answer.headers, cdn.provider)
          const edge = edgeOf(answer.headers)
          const through = seen === undefined ? 'the CDN' : cdnNames[seen]
          return ok(
            `the object just uploaded, through ${through}${edge === undefined || edge === through || seen === 'other' ? '' : ` (${edge})`}: first byte after ` +
              `${Math.round(latencyMs)} ms, every byte as uploaded`,
          )
        }
        const cause = `${first!.title} (${first!.evidence.join('; ')})`
        return first!.severity === 'failure' ? failure(cause, first!.cure) : warning(cause, first!.cure)
      },
    },
    {
      name: 'signed-url',
      needs: ['cdn-fetch'],
      async run() {
        if (cdn === undefined || signer === undefined) return skipped('no signed URLs configured')
        const url = cdnUrl(cdn.domain, probe.key)
        const range = { start: 0, end: 0 }
        const result = await prober.request({ url, range })
        if ('answer' in result && (result.answer.status === 200 || result.answer.status === 206)) {
          return warning(
            'the CDN serves the object without a signature too',
            'Turn on "Restrict viewer access" for the cache behaviour, with the key group of this key.',
          )
        }
        const [found] = diagnose({
          key: probe.key,
          url,
          range,
          signed: false,
          provider: cdn.provider,
          ...result,
        })
        if (found?.cause === 'signature-missing') return ok('served with a signature, refused without')
        return warning(
          `served with a signature; without one the answer is not a refusal by CloudFront: ${found?.title} ` +
            `(${found?.evidence.join('; ')})`,
          found?.cure ?? '',
        )
      },
    },
    {
      name: 'delete',
      needs: ['put'],
      async run(signal) {
        await deleteProbe(signal)
        if ((await opened().head(probe.key, { signal })) !== undefined) {
          return failure(
            'the probe object is still there after it was deleted',
            `Delete ${probe.key} by hand; an object lock or a replication rule may hold it.`,
          )
        }
        return held
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
        const refused = await opened()
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
        if (!refused) await deleteAll([key], signal)
        if (refused && confirmed) return ok('compared by the store, and reported')
        return warning(
          refused
            ? 'the store compares checksums but does not report them: uploads are read back'
            : 'the store accepts a body whose checksum is wrong: uploads are read back and compared',
          'It does no harm, but every file is transferred a second time.',
        )
      },
    },
    {
      name: 'conditions',
      needs: ['delete'],
      async run(signal) {
        const key = `${probe.key}-condition`
        const { etag } = await opened().put(key, probe.body, {
          headers: { contentType: 'audio/mpeg' },
          checksums: { crc32: encodeCrc32(crc32(probe.body)) },
          ifNoneMatch: true,
          signal,
        })
        const [outcome] = await opened().delete([{ key, ifMatch: etag }], signal)
        if (outcome?.error !== undefined) throw outcome.error
        // In a versioned bucket a delete marker is left.
        await deleteAll([key], signal)
        const lacking = lacks.filter(text => /If-(None-)?Match/.test(text))
        if (lacking.length === 0) return ok('If-None-Match and If-Match are honoured')
        return warning(lacking.join('; '), 'Run one autodj at a time on this bucket.')
      },
    },
    {
      name: 'multipart',
      needs: ['delete'],
      timeoutMs: 30_000,
      async run(signal) {
        const key = `${probe.key}-parts`
        const noParts = () => lacks.find(text => text.includes('cannot list the parts'))
        const store = opened()
        const bodies = [randomBytes(leastPart), probe.body]
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
              'Files over 16 MiB cannot be resumed on this store.',
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
          await deleteAll([key], signal).catch(() => undefined)
        }
        const second = await store.createUpload(key, { headers, signal })
        let listed = false
        for await (const page of store.listUploads({ prefix: key, signal }))
          listed ||= page.some(({ uploadId: id }) => id === second)
        await store.abortUpload(key, second, signal)
        if ((await store.listParts(key, second, signal)) !== undefined) {
          return failure(
            'an aborted upload is still there',
            'Its parts cost money until somebody removes them.',
          )
        }
        const lacking = noParts()
        if (lacking !== undefined)
          return warning(lacking, 'Nothing to do: it takes longer after an interruption.')
        if (!listed) {
          return warning(
            'uploads in progress are not listed by this store',
            'Nothing to do: autodj looks for its own by their ids.',
          )
        }
        return ok('parts sent, listed and put together, and an upload aborted')
      },
    },
    {
      name: 'copy',
      needs: ['delete'],
      timeoutMs: 8_000,
      async run(signal) {
        const keys = [`${probe.key}-copy-1`, `${probe.key}-copy-2`, `${probe.key}-copy-3`] as const
        try {
          await opened().put(keys[0], probe.body, {
            headers: { contentType: 'audio/mpeg' },
            checksums: { crc32: encodeCrc32(crc32(probe.body)) },
            signal,
          })
          for (const key of keys.slice(1)) await opened().copy(keys[0], key, { signal })
        } finally {
          await deleteAll(keys, signal)
        }
        const lacking = lacks.filter(text => /cannot (copy|delete many)/.test(text))
        if (lacking.length > 0) return warning(lacking.join('; '), 'Nothing to do; it only takes longer.')
        return ok('an object copied within the bucket, copies deleted in one request')
      },
    },
    {
      name: 'database',
      timeoutMs: 8_000,
      async run() {
        if (config.database.url.startsWith('pglite:')) {
          const folder = config.database.url.slice('pglite:'.length)
          if ((await stat(folder).catch(() => undefined)) === undefined) {
            const which = config.database.isDefault ? ' (DATABASE_URL is not set)' : ''
            return warning(
              `the embedded database ${folder} does not exist yet${which}`,
              config.database.isDefault
                ? "Set DATABASE_URL to the application's PostgreSQL, or let `autodj migrate` create it."
                : '`autodj migrate` creates it.',
            )
          }
        }
        try {
          database = await resources.openDatabase()
        } catch (error) {
          if (error instanceof LockedError) return warning(error.message, error.cure ?? 'Wait for it.')
          throw error
        }
        return ok(`${database.where} (${database.dialect})`)
      },
    },
    {
      name: 'schema',
      needs: ['database'],
      async run() {
        if (database === undefined) return skipped('needs "database"')
        const { requireSchema } = await import('../db/require-schema.ts')
        const { migrateStatus } = await import('../db/migrate.ts')
        await requireSchema(database)
        const { migrations, drift, revisions } = await migrateStatus(database)
        const pending = migrations.filter(({ appliedAt }) => appliedAt === null)
        if (pending.length > 0) {
          return failure(
            `${pending.length} migrations are pending (${pending[0]!.name})`,
            'Run `autodj migrate`.',
          )
        }
        if (drift.length > 0) {
          return warning(`the schema differs: ${drift[0]}`, 'See all of it with `autodj migrate status`.')
        }
        const { requireCodeForS3 } = await import('../db/application-code.ts')
        try {
          await requireCodeForS3(database)
        } catch (error) {
          if (!(error instanceof AppError) || error.code !== 'application.older') throw error
          return warning(error.message, error.cure ?? '')
        }
        const revision = revisions.length === 0 ? '' : `, Alembic ${revisions.join(', ')}`
        return ok(`${migrations.at(-1)?.name}${revision}`)
      },
    },
    {
      name: 'database-write',
      needs: ['schema'],
      timeoutMs: 8_000,
      async run() {
        if (database === undefined) return skipped('needs "database"')
        // The embedded one cannot be opened twice.
        const isEmbedded = database.dialect === 'pglite'
        return checkDatabaseWrite(isEmbedded ? database : await resources.openDatabase({ readOnly: false }))
      },
    },
    {
      name: 'library',
      needs: ['schema', 'bucket'],
      timeoutMs: 8_000,
      async run(signal) {
        if (database === undefined) return skipped('needs "database"')
        return checkLibrary(database, opened(), { prefix: s3.keyPrefix, bucket, signal })
      },
    },
    { name: 'audio-folder', run: () => checkAudioFolder(config.audioRoot) },
    {
      name: 'paths',
      needs: ['schema', 'audio-folder'],
      timeoutMs: 15_000,
      async run(signal) {
        if (database === undefined) return skipped('needs "database"')
        const { describeSurvey, notOpenedByApplication, surveyPaths } = await import(
          '../audio-files/path-survey.ts'
        )
        const survey = await surveyPaths(database.knex, config.audioFolder, signal)
        const told = describeSurvey(survey)
        if (survey.rows > 0 && survey.found === 0) {
          return failure(
            told,
            `AUDIO_STORAGE_PATH must be what the application has (now ${config.audioFolder.storagePath}), and --audio-root where that folder is on this machine (now ${config.audioRoot}).`,
          )
        }
        if (notOpenedByApplication(survey) > 0) {
          return warning(told, '`autodj import` writes those as the application opens them.')
        }
        return survey.found === survey.rows
          ? ok(told)
          : warning(told, '`autodj import` finds files that moved, `autodj fetch` gets those that are gone.')
      },
    },
    { name: 'temp-space', run: checkTempSpace },
    {
      name: 'decoder',
      timeoutMs: 8_000,
      async run(signal) {
        const { decoder, seconds } = await resources.decodeSample(signal)
        return ok(
          `${seconds.toFixed(1)} s of music decoded by ${decoder === 'npm' ? 'the bundled decoders' : decoder}`,
        )
      },
    },
  ]
  return { checks, cleanUp: () => deleteProbe() }
}
