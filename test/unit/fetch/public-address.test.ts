import http from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  guardedLookup,
  isPublicAddress,
  previewGuard,
  refuseInside,
} from '../../../src/fetch/public-address.ts'
import { download } from '../../../src/fetch/url-download.ts'
import { listening, portOf } from '../../support/listening.ts'

describe('addresses of the internet, and those inside', () => {
  test.each([
    '1.1.1.1',
    '93.184.216.34',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.1.1',
    '2606:4700::1111',
    '2606:4700::1111%eth0',
  ])('%s is of the internet', address => expect(isPublicAddress(address)).toBe(true))
  test.each([
    '127.0.0.1',
    '127.8.8.8',
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '2001:0:4136:e378::',
    'fc00::1',
    'fd12:3456::1',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
    'fec0::1',
    'not an address',
  ])('%s is not', address => expect(isPublicAddress(address)).toBe(false))

  test('this machine is one where the store is a stand-in on it', () => {
    expect(previewGuard(undefined)('127.0.0.1')).toBe(false)
    expect(previewGuard('https://s3.example.com')('127.0.0.1')).toBe(false)
    expect(previewGuard('http://127.0.0.1:9000')('127.0.0.1')).toBe(true)
    expect(previewGuard('http://[::1]:9000')('::1')).toBe(true)
    expect(previewGuard('http://localhost:9000')('10.0.0.1')).toBe(false)
  })
})

describe('a download', () => {
  let port = 0
  let other = 0
  const seen: { path: string; authorization: string | undefined }[] = []
  const handle: http.RequestListener = (request, response) => {
    seen.push({ path: request.url!, authorization: request.headers.authorization })
    if (request.url === '/away')
      return void response.writeHead(302, { location: `http://127.0.0.1:${other}/x` }).end()
    if (request.url === '/loop') return void response.writeHead(302, { location: '/loop' }).end()
    if (request.url === '/file') return void response.writeHead(302, { location: 'file:///etc/passwd' }).end()
    response.end('music')
  }
  const servers = [http.createServer(handle), http.createServer(handle)]
  beforeAll(async () => {
    for (const server of servers) await listening(server)
    ;[port, other] = servers.map(server => portOf(server)) as [number, number]
  })
  afterAll(() => {
    for (const server of servers) server.close()
  })
  const get = async (url: string, isAllowed?: (address: string) => boolean) =>
    Buffer.concat(
      await Array.fromAsync(
        download(url, { maxBytes: 1e6, signal: new AbortController().signal, random: () => 0, isAllowed }),
      ),
    ).toString()
  const nothing = previewGuard(undefined)

  test.each([
    ['an address', () => `http://127.0.0.1:${port}/`],
    ['an address in disguise', () => `http://0x7f.1:${port}/`],
    ['a name', () => `http://localhost:${port}/`],
    ['an address of IPv6', () => `http://[::ffff:127.0.0.1]:${port}/`],
  ])('does not go inside by %s', async (_, url) => {
    seen.length = 0
    await expect(get(url(), nothing)).rejects.toMatchObject({
      code: 'fetch.private-address',
      passing: false,
      cure: expect.stringContaining('--private-previews'),
    })
    expect(seen).toEqual([])
  })

  test('nor by a redirect of somebody outside', async () => {
    seen.length = 0
    // "Outside" is whatever is asked first.
    let asked = 0
    await expect(get(`http://localhost:${port}/away`, () => asked++ === 0)).rejects.toMatchObject({
      code: 'fetch.private-address',
    })
    expect(seen.map(({ path }) => path)).toEqual(['/away'])
  })

  test('where it may go it goes, follows redirects, and keeps a password from whom it was not given to', async () => {
    seen.length = 0
    expect(await get(`http://user:pass@localhost:${port}/away`)).toBe('music')
    expect(seen).toEqual([
      { path: '/away', authorization: `Basic ${Buffer.from('user:pass').toString('base64')}` },
      { path: '/x', authorization: undefined },
    ])
    await expect(get(`http://localhost:${port}/loop`)).rejects.toThrow('more than 10 redirects')
    await expect(get(`http://localhost:${port}/file`)).rejects.toThrow('something other than an http(s) URL')
  })

  test('does not repeat what may be a secret', async () => {
    await expect(get('ftp://user:hush@host/token-hush?key=hush')).rejects.toThrow(
      '"ftp://host/…" is not an http(s) URL',
    )
    await expect(get('hush')).rejects.toThrow('"REDACTED" is not')
  })
})

test('of a name that a proxy is to look up: what this machine knows of it, and names that are only inside', async () => {
  const never = () => false
  const always = () => true
  for (const name of ['127.0.0.1', '[::1]', 'localhost'])
    await expect(refuseInside(name, never)).rejects.toThrow()
  for (const name of ['127.0.0.1', '[::1]', 'localhost']) await refuseInside(name, always)
  for (const name of [
    'nas.invalid.local',
    'nowhere.internal',
    'nowhere.home.arpa',
    'nowhere.lan.',
    'nowhere-at-all',
  ])
    await expect(refuseInside(name, always)).rejects.toThrow()
  // Nobody's here: the proxy's affair.
  await refuseInside('nowhere.invalid', never)
})

test('a name that nobody knows is an error of the network, not one of ours', async () => {
  const error = await new Promise<unknown>(resolve =>
    guardedLookup(() => true)('nowhere.invalid', {}, failed => resolve(failed)),
  )
  expect(error).toMatchObject({ syscall: 'getaddrinfo' })
})
