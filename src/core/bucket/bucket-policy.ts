/** The bucket policy that binds bucket and distribution. */
import {
  type Assessment,
  documentOf,
  fine,
  type Observed,
  together,
  told,
  untold,
  wrongInBucket,
} from './assessment.ts'
import { type JsonObject, listOf } from './plan.ts'
import { matchesWildcards } from './wildcards.ts'

const policySid = 'AutodjAllowCloudFrontRead'

/** Checks and changes of the policy that lets the distribution, and nobody else, read. */
export function policyOfBucket(
  seen: { id: string; arn: string },
  observed: Observed,
  bucket: string,
): Assessment {
  const setting = 'bucket-policy'
  if (observed.state === 'unknown') return untold(setting, observed.reason)
  const policy = documentOf(observed)
  const statements = listOf(policy?.['Statement']) as JsonObject[]
  const open = statements.find(isPublicRead)
  const toAll =
    open === undefined
      ? []
      : [
          told(
            'bucket-policy-public',
            'failure',
            `statement ${String(open['Sid'] ?? '(no Sid)')} allows anyone to read`,
            'Remove that statement: it is not one of ours, so it is left to you (Block Public Access overrides it).',
          ),
        ]
  if (statements.some(statement => allowsDistribution(statement, seen.arn)))
    return together([fine(setting, `allows ${seen.id} to read`), ...toAll])
  const partition = seen.arn.split(':')[1] ?? 'aws'
  const ours: JsonObject = {
    Sid: policySid,
    Effect: 'Allow',
    Principal: { Service: 'cloudfront.amazonaws.com' },
    Action: 's3:GetObject',
    Resource: `arn:${partition}:s3:::${bucket}/*`,
    Condition: { StringEquals: { 'AWS:SourceArn': seen.arn } },
  }
  const sameService = statements.some(statement => statement['Sid'] === policySid)
  const found = sameService
    ? 'allows another distribution to read, not this one'
    : `does not allow ${seen.id} to read`
  const toDistribution = wrongInBucket(setting, 'failure', found, {
    was: policy,
    becomes: {
      ...(policy ?? { Version: '2012-10-17' }),
      Statement: [...statements.filter(statement => statement['Sid'] !== policySid), ours],
    },
    why: `the distribution ${seen.id}, and no other, may read objects`,
  })
  return together([toDistribution, ...toAll])
}

/** Whether one of the actions that a statement names, in any case and with wildcards, is to read an object. */
function namesRead(statement: JsonObject): boolean {
  return listOf(statement['Action']).some(action =>
    matchesWildcards(String(action).toLowerCase(), 's3:getobject'),
  )
}

function isPublicRead(statement: JsonObject): boolean {
  const principal = statement['Principal']
  const everyone = principal === '*' || listOf((principal as JsonObject | undefined)?.['AWS']).includes('*')
  return (
    statement['Effect'] === 'Allow' &&
    everyone &&
    statement['Condition'] === undefined &&
    namesRead(statement)
  )
}

function allowsDistribution(statement: JsonObject, arn: string): boolean {
  const service = (statement['Principal'] as JsonObject | undefined)?.['Service']
  const condition = (statement['Condition'] ?? {}) as JsonObject
  const sources = ['StringEquals', 'ArnEquals', 'StringLike', 'ArnLike'].flatMap(operator =>
    Object.entries((condition[operator] ?? {}) as JsonObject)
      .filter(([name]) => name.toLowerCase() === 'aws:sourcearn')
      .flatMap(([, value]) => listOf(value)),
  )
  return (
    statement['Effect'] === 'Allow' &&
    listOf(service).includes('cloudfront.amazonaws.com') &&
    namesRead(statement) &&
    sources.includes(arn)
  )
}
