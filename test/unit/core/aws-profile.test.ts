import { expect, test } from 'vitest'
import { profileNames, readProfile } from '../../../src/core/aws-profile.ts'

const config = `
# as the AWS CLI writes it
[default]
region = eu-central-1

[profile minio]
region=us-east-1
endpoint_url = https://minio.example:9000

[profile "with services"]
services = testing
endpoint_url = https://all.example

[services testing]
s3 =
  endpoint_url = https://s3.example
  signature_version = s3v4
dynamodb =
  endpoint_url = https://dynamodb.example

[profile ignored]
endpoint_url = https://all.example
ignore_configured_endpoint_urls = true

[sso-session work]
sso_region = eu-west-1
`

test.for([
  ['default', { region: 'eu-central-1' }],
  ['minio', { region: 'us-east-1', endpoint: 'https://minio.example:9000' }],
  ['with services', { endpoint: 'https://s3.example' }],
  ['ignored', {}],
  ['work', {}],
  ['nobody', {}],
] as const)('%s', ([profile, expected]) => {
  expect(readProfile(config, profile)).toEqual(expected)
  expect(readProfile(config.replaceAll('\n', '\r\n'), profile)).toEqual(expected)
})

test('the names of both files', () => {
  expect(profileNames(config, '[default]\naws_access_key_id = A\n[keys only]\n[keys]\n')).toEqual([
    'default',
    'ignored',
    'keys',
    'minio',
    'only',
    'with services',
  ])
})
