/** Settings files, keys, and the way to the bucket. */
import { openUrlSigner } from '../cdn/sign.ts'
import { describeEndpoint } from '../config.ts'
import { bucketUrl, s3Host } from '../core/cdn-url.ts'
import { networkFault } from '../core/diagnosis/network-fault.ts'
import { type Check, failure, ok, skipped, warning } from './check.ts'
import { checkClock, checkSettingsFiles, openToOthers } from './machine.ts'
import type { DoctorState } from './state.ts'

export function accessChecks(state: DoctorState): Check[] {
  const { resources } = state
  const { config, prober, now } = resources
  const { cdn, s3 } = config
  const { bucket = '' } = s3
  return [
    { name: 'env-file', run: () => checkSettingsFiles(config) },
    {
      name: 'signing-key',
      async run() {
        if (cdn?.signer === undefined) return skipped('no signed URLs configured')
        state.signer = await openUrlSigner(cdn.signer)
        return (
          (await openToOthers(cdn.signer.privateKeyPath)) ??
          ok(`${state.signer.keyType} key for ${state.signer.keyPairId}`)
        )
      },
    },
    {
      name: 'credentials',
      async run(signal) {
        const source = await resources.resolveAws()
        state.region = source.region
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
        if (s3.endpoint === undefined && state.region === undefined) {
          return failure(
            'AWS_REGION is not set: which endpoint of Amazon S3 is meant is unknown',
            'Set it to the region of the bucket, or S3_ENDPOINT for another store; `autodj init` asks for both.',
          )
        }
        const url = s3.endpoint ?? `https://${s3Host(state.region)}`
        const shown = s3.endpoint === undefined ? `Amazon S3 in ${state.region}` : describeEndpoint(s3)
        const result = await prober.request({ url: `${url}/` })
        if ('error' in result) {
          return failure(
            `${shown} cannot be reached: ${networkFault(result.error)}`,
            s3.endpoint === undefined
              ? `Check AWS_REGION (now ${state.region}): there may be no such region. Otherwise check network, DNS and proxy.`
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
          url: `${bucketUrl(state.place())}/`,
        })
        const actual = 'answer' in result ? result.answer.headers['x-amz-bucket-region'] : undefined
        if (actual === undefined) return ok(`${state.region} (the store does not report it)`)
        if (actual !== state.region) {
          return failure(
            `the bucket is in ${actual}, AWS_REGION is ${state.region}`,
            `Set AWS_REGION=${actual}.`,
          )
        }
        return ok(actual)
      },
    },
    {
      name: 'bucket',
      needs: ['credentials', 'endpoint', 'region'],
      async run(signal) {
        await state.opened().checkBucket(signal)
        return ok(bucket)
      },
    },
  ]
}
