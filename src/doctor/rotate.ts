/** `autodj doctor --rotate-check`: a new access key and the old one tried alike, before the old one goes. */
import { randomUUID } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { type Config, requireBucket } from '../config.ts'
import type { Context } from '../context.ts'
import { encodeCrc32 } from '../core/crc32.ts'
import { ExitCode, toError, UsageError } from '../errors.ts'
import { asksAws, s3Options } from '../storage/aws-options.ts'
import { identify } from '../storage/identity.ts'
import { createS3Store } from '../storage/s3.ts'

interface Key {
  readonly name: 'old' | 'new'
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

const makeNew = [
  'Make a second key: `aws iam create-access-key`. A user may have two.',
  'Try both: AUTODJ_NEW_ACCESS_KEY_ID=… AUTODJ_NEW_SECRET_ACCESS_KEY=… autodj doctor --rotate-check',
]
const switchOver = [
  'Put the new key into the settings in place of the old one, here and wherever else it is used.',
  'Switch the old one off, `aws iam update-access-key --status Inactive --access-key-id OLD`, and let a night pass.',
  'If all went well: `aws iam delete-access-key --access-key-id OLD`; if not, switch it on again.',
]

/** @returns 1 if one of the keys cannot do what autodj needs */
export async function runRotateCheck(context: Context): Promise<ExitCode> {
  const { config, report } = context
  const bucket = requireBucket(config)
  const old = config.s3.credentials
  if (old === undefined) {
    throw new UsageError('no long-term access key is configured: there is nothing to rotate', {
      code: 'doctor.rotate',
      cure: 'Nothing to do: a profile, SSO session or role of AWS changes its keys by itself.',
    })
  }
  const { AUTODJ_NEW_ACCESS_KEY_ID: accessKeyId, AUTODJ_NEW_SECRET_ACCESS_KEY: secretAccessKey } =
    config.given
  const fresh =
    accessKeyId !== undefined && secretAccessKey !== undefined ? { accessKeyId, secretAccessKey } : undefined
  if (fresh === undefined && (accessKeyId ?? secretAccessKey) !== undefined) {
    throw new UsageError('AUTODJ_NEW_ACCESS_KEY_ID and AUTODJ_NEW_SECRET_ACCESS_KEY belong together', {
      code: 'doctor.rotate',
    })
  }
  if (fresh?.accessKeyId === old.accessKeyId) {
    throw new UsageError('the new access key is the one that is configured', {
      code: 'doctor.rotate',
      cure: 'Put the other one in AUTODJ_NEW_ACCESS_KEY_ID.',
    })
  }
  const keys: Key[] = [
    { name: 'old', ...old },
    ...(fresh === undefined ? [] : [{ name: 'new', ...fresh } as const]),
  ]
  const failed: string[] = []
  const accounts = new Set<string>()
  for (const key of keys) {
    const problem = await tryKey(context, bucket, key, accounts)
    if (problem !== undefined) failed.push(key.name)
    const shown = `${key.name} key ${key.accessKeyId.slice(0, 4)}…${key.accessKeyId.slice(-4)}`
    const found = problem ?? 'signs in; writes, reads and deletes a probe object'
    report.item({
      subject: key.name,
      state: problem === undefined ? 'ok' : 'failed',
      text: `${report.style.green('ok')} ${shown}: ${found}`,
      ...(problem === undefined
        ? {}
        : { reason: found, cure: 'Give it the policy of `autodj policy`, then try again.' }),
      fields: { code: problem === undefined ? undefined : 'doctor.rotate' },
    })
  }
  if (accounts.size > 1) {
    failed.push('new')
    report.warn(`the keys belong to different accounts: ${[...accounts].join(' and ')}`)
  }
  const steps = fresh === undefined ? [...makeNew, ...switchOver] : failed.length > 0 ? [] : switchOver
  report.summary({
    isAnswer: true,
    lines: [
      failed.length > 0
        ? `The ${failed.includes('new') ? 'new' : 'old'} key does not work: keep the ${failed.includes('new') ? 'old' : 'new'} one.`
        : fresh === undefined
          ? 'The key works. To rotate it:'
          : 'Both keys work. Now:',
      ...steps.map((step, index) => `  ${index + 1}. ${step}`),
    ],
    fields: { keys: keys.map(({ name }) => ({ key: name, ok: !failed.includes(name) })), steps },
  })
  return failed.length > 0 ? ExitCode.fatal : ExitCode.ok
}

/** @returns why the key will not do */
async function tryKey(
  { config, signal }: Context,
  bucket: string,
  { accessKeyId, secretAccessKey }: Key,
  accounts: Set<string>,
): Promise<string | undefined> {
  const { s3 } = config
  const mine: Config = {
    ...config,
    s3: { ...s3, credentials: { accessKeyId, secretAccessKey }, profile: undefined },
  }
  const store = createS3Store(s3Options(mine, bucket))
  const key = `${s3.keyPrefix}.autodj-doctor/rotate-${randomUUID()}`
  const body = Buffer.from('autodj doctor --rotate-check')
  try {
    if (asksAws(mine)) accounts.add((await identify(mine, s3.region ?? 'us-east-1', signal)).account)
    await store.checkBucket(signal)
    await store.put(key, body, {
      headers: { contentType: 'text/plain' },
      checksums: { crc32: encodeCrc32(crc32(body)) },
      signal,
    })
    const found = await store.get(key, { signal })
    for await (const _ of found?.body ?? []) {
      // Read to its end.
    }
    await store.delete([{ key }], signal)
    return found === undefined ? 'the probe object that it wrote cannot be read' : undefined
  } catch (error) {
    signal.throwIfAborted()
    return toError(error).message
  } finally {
    store.close()
  }
}
