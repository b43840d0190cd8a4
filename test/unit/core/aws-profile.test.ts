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

test.for<[what: string, config: string, expected: object]>([
  ['blanks around everything', '[ profile\t p ]\n  \nregion\t=\t eu-west-1 \t', { region: 'eu-west-1' }],
  ['a comment behind a heading', '[profile p] # mine\nregion=a', { region: 'a' }],
  ['comments', '[profile p]\n  ; region = b\n# region = c\nregion=a', { region: 'a' }],
  ['a name of several words', '[profile x p]\nregion=b\n[profile p]\nregion=a', { region: 'a' }],
  ['settings before any heading', 'region=b\n[profile p]\nregion=a', { region: 'a' }],
  ['settings of another section', '[profile p]\nregion=a\n[profile q]\nregion=b', { region: 'a' }],
  ['the last of two', '[profile p]\nregion=b\nregion=a', { region: 'a' }],
  ['what is no setting', '[profile p]\nregion\n=x\nregion = a = b', { region: 'a = b' }],
  ['nothing said', '[profile p]\nregion =\nendpoint_url =  ', {}],
  [
    'settings of S3 in the profile are not those of services',
    '[profile p]\ns3 =\n  endpoint_url = http://x',
    {},
  ],
  [
    'a setting behind those of a setting',
    '[profile p]\ns3 =\n  x = y\nregion = a\n  endpoint_url = http://x',
    { region: 'a', endpoint: 'http://x' },
  ],
  [
    'services that are not there',
    '[profile p]\nservices = s\nendpoint_url = http://x',
    { endpoint: 'http://x' },
  ],
  [
    'services without S3',
    '[profile p]\nservices = s\nendpoint_url = http://x\n[services s]\nsqs =\n  endpoint_url = http://y',
    { endpoint: 'http://x' },
  ],
  [
    'services of another name',
    '[profile p]\nservices = s\n[services t]\ns3 =\n  endpoint_url = http://y',
    {},
  ],
  ['services without a name', '[profile p]\nservices =\n[services]\ns3 =\n  endpoint_url = http://y', {}],
  [
    'an endpoint of services, ignored',
    '[profile p]\nservices = s\nignore_configured_endpoint_urls = true\n[services s]\ns3 =\n  endpoint_url = http://y',
    {},
  ],
  [
    'not ignored',
    '[profile p]\nendpoint_url = http://x\nignore_configured_endpoint_urls = false',
    { endpoint: 'http://x' },
  ],
  ['sections of other kinds', '[p]\nregion=b\n[sso-session p]\nregion=c\n[default p]\nregion=d', {}],
])('%s', ([, config, expected]) => {
  expect(readProfile(config, 'p')).toEqual(expected)
})

test('names are those of profiles, each once', () => {
  expect(
    profileNames(
      '[profile]\n[profile a]\n[services s]\n[default]\n[profile default]',
      '[a]\n[profile b]\n[c d]',
    ),
  ).toEqual(['a', 'b', 'd', 'default'])
})
