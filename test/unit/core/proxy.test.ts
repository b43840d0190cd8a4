import { expect, test } from 'vitest'
import { describeProxy, proxyFor, readProxies } from '../../../src/core/proxy.ts'

const proxies = { https: 'http://proxy:3128', http: 'http://plain:3128' }

test.for([
  ['https://s3.eu-west-1.amazonaws.com/x', '', 'http://proxy:3128'],
  ['http://minio:9000/x', '', 'http://plain:3128'],
  ['https://minio.corp.example:9000', 'corp.example', undefined],
  ['https://minio.corp.example:9000', '.corp.example', undefined],
  ['https://minio.corp.example:9000', '*.corp.example', undefined],
  ['https://corp.example', 'localhost, corp.example', undefined],
  ['https://MINIO.Corp.Example', 'minio.corp.EXAMPLE', undefined],
  ['https://notcorp.example', 'corp.example', 'http://proxy:3128'],
  ['https://minio:9000', 'minio:9000', undefined],
  ['https://minio:9001', 'minio:9000', 'http://proxy:3128'],
  ['https://minio', 'minio:443', undefined],
  ['https://anything.example', '*', undefined],
  ['https://10.1.2.3', '10.0.0.0/8', undefined],
  ['https://11.1.2.3', '10.0.0.0/8', 'http://proxy:3128'],
  ['https://10.255.255.255', '10.0.0.0/8', undefined],
  ['https://9.255.255.255', '10.0.0.0/8', 'http://proxy:3128'],
  ['https://192.168.4.1', '192.168.4.0/22', undefined],
  ['https://192.168.7.255', '192.168.4.0/22', undefined],
  ['https://192.168.8.0', '192.168.4.0/22', 'http://proxy:3128'],
  ['https://192.168.4.1', '192.168.4.1/32', undefined],
  ['https://192.168.4.2', '192.168.4.1/32', 'http://proxy:3128'],
  // No addresses.
  ['https://10.1.2.3', '10.0.0.999/8', 'http://proxy:3128'],
  ['https://ten.one.two.three', '10.0.0.0/0', 'http://proxy:3128'],
  ['https://ten.example', '10.0.0.0/0', 'http://proxy:3128'],
  ['https://10.1.2.3', '0.0.0.0/0', undefined],
  ['https://[::1]:9000', '::1', undefined],
  ['https://[::1]:9000', '[::1]', undefined],
  ['https://[::1]:9000', '[::1]:9000', undefined],
  ['https://[::1]:9000', '[::1]:9001', 'http://proxy:3128'],
  ['http://minio', 'minio:80', undefined],
  ['http://minio', 'minio:443', 'http://plain:3128'],
  ['https://minio', 'minio:80', 'http://proxy:3128'],
  ['https://10.1.2.3', 'x10.0.0.0/8', 'http://proxy:3128'],
  ['https://10.1.2.3', '10.0.0.0/8x', 'http://proxy:3128'],
  ['https://10.1.2.3', '10.0.0.0.0/8', 'http://proxy:3128'],
  ['https://10.1.2.3', '10.0.0.256/8', 'http://proxy:3128'],
  ['https://255.255.255.255', '255.255.255.255/32', undefined],
  ['https://1.2.3.example', '0.0.0.0/0', 'http://proxy:3128'],
  ['https://a.corp.example', 'x.corp.example', 'http://proxy:3128'],
  ['https://corp.example', '*.corp.example', undefined],
  ['https://a.corp.example', 'b*.corp.example', 'http://proxy:3128'],
  ['https://a.example', 'x,\t a.example ,', undefined],
  ['https://a.example', ' , ', 'http://proxy:3128'],
  ['https://[fd00:ec2::254]/', '', undefined],
  ['https://[fd00:ec2::255]/', '', 'http://proxy:3128'],
  ['https://x169.254.example', '', 'http://proxy:3128'],
  ['https://127.0.0.1:9000', 'localhost 127.0.0.1', undefined],
  ['http://169.254.169.254/latest', '', undefined],
  ['http://169.254.170.2/v2', '', undefined],
] as const)('%s, NO_PROXY=%s', ([url, except, expected]) => {
  expect(proxyFor(url, { ...proxies, except })).toBe(expected)
})

test('without a proxy, none', () => {
  expect(proxyFor('https://example.com', {})).toBeUndefined()
  expect(proxyFor('https://example.com', { http: 'http://plain:3128' })).toBeUndefined()
  expect(proxyFor('http://example.com', { https: 'http://proxy:3128' })).toBeUndefined()
  // Set to nothing: what others would have set is taken back.
  expect(proxyFor('https://example.com', { https: '', http: 'http://plain:3128' })).toBeUndefined()
  expect(proxyFor('https://example.com', { https: 'http://proxy:3128' })).toBe('http://proxy:3128')
})

test('variables in either case, ALL_PROXY for both, a proxy without a scheme', () => {
  const read = (env: Record<string, string>) => readProxies(name => env[name])
  expect(read({ HTTPS_PROXY: 'proxy:3128' })).toEqual({ https: 'http://proxy:3128' })
  expect(read({ https_proxy: 'http://low', HTTPS_PROXY: 'http://up' })).toEqual({ https: 'http://low' })
  expect(read({ all_proxy: 'http://all', no_proxy: 'x' })).toEqual({
    https: 'http://all',
    http: 'http://all',
    except: 'x',
  })
  expect(read({ ALL_PROXY: 'socks5://all', http_proxy: 'plain:1' })).toEqual({
    https: 'socks5://all',
    http: 'http://plain:1',
  })
  expect(read({ HTTP_PROXY: 'http://up', NO_PROXY: '' })).toEqual({ http: 'http://up', except: '' })
  expect(read({})).toEqual({})
})

test('shown without its password', () => {
  expect(describeProxy('http://user:secret@proxy:3128')).toBe('http://proxy:3128')
  expect(describeProxy('http://user:secret@')).toBe('the proxy')
})
