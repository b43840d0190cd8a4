import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  bucketUrl,
  cdnUrl,
  decodeKeyPath,
  directUrl,
  encodeKeyPath,
  keyMistake,
  mistakenKeys,
  parseCdnDomain,
  unaddressable,
} from '../../../src/core/cdn-url.ts'
import { UsageError } from '../../../src/errors.ts'

const domain = parseCdnDomain('d111111abcdef8.cloudfront.net')

/** Keys built from what breaks URLs: reserved characters, percent signs, dots, slashes, accents in both forms. */
const hostileKey = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '+',
        '#',
        '%',
        '?',
        '&',
        '=',
        ' ',
        '/',
        '//',
        '..',
        '.',
        '%25',
        '%2F',
        '%',
        ';',
        '"',
        '\\',
      ),
      fc.constantFrom('é', 'e\u0301', '夜', '🎧', '👩‍🎤', '\u200f', 'ß', 'ﬁ', "'", '(', '*', '\t', '\u0000'),
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 6 }),
    ),
    { minLength: 1, maxLength: 12 },
  )
  .map(parts => parts.join(''))
  .filter(key => key.isWellFormed())

describe('encodeKeyPath', () => {
  test('a server that decodes the path has the very bytes of the key', () => {
    fc.assert(
      fc.property(hostileKey, key => {
        const path = encodeKeyPath(key)
        const bytes: number[] = []
        for (let i = 1; i < path.length; i++) {
          if (path[i] === '%') {
            bytes.push(Number.parseInt(path.slice(i + 1, i + 3), 16))
            i += 2
          } else bytes.push(path.charCodeAt(i))
        }
        expect(Buffer.from(bytes).equals(Buffer.from(key, 'utf8'))).toBe(true)
        expect(decodeKeyPath(path)).toBe(key)
      }),
      { numRuns: 1000 },
    )
  })

  test('what goes on the wire has no character that a URL, S3 or a proxy gives a meaning', () => {
    fc.assert(
      fc.property(hostileKey, key => {
        expect(encodeKeyPath(key)).toMatch(/^\/(?:[A-Za-z0-9\-_.!~*'()/]|%[0-9A-F]{2})*$/)
      }),
    )
  })

  test('two keys never share a URL', () => {
    fc.assert(
      fc.property(hostileKey, hostileKey, (a, b) => {
        expect(cdnUrl(domain, a) === cdnUrl(domain, b)).toBe(a === b)
      }),
    )
  })

  test.each([
    ['audio/AC+DC/T.N.T._0a1b2c3d.mp3', '/audio/AC%2BDC/T.N.T._0a1b2c3d.mp3'],
    ['audio/#1/50% off?_1.mp3', '/audio/%231/50%25%20off%3F_1.mp3'],
    ['a/%25.mp3', '/a/%2525.mp3'],
    ['a//b.mp3', '/a//b.mp3'],
    ['a/../b.mp3', '/a/../b.mp3'],
    ['Beyonc\u00e9', '/Beyonc%C3%A9'],
    ['Beyonce\u0301', '/Beyonce%CC%81'],
    ['🎧.flac', '/%F0%9F%8E%A7.flac'],
  ])('%s', (key, path) => {
    expect(encodeKeyPath(key)).toBe(path)
    expect(cdnUrl(domain, key)).toBe(`https://d111111abcdef8.cloudfront.net${path}`)
  })

  test('half a surrogate pair and the empty key have no URL', () => {
    expect(() => encodeKeyPath('a/\ud83c.mp3')).toThrow(UsageError)
    expect(() => encodeKeyPath('')).toThrow(UsageError)
  })

  test('a path that is not UTF-8 decodes to nothing', () => {
    expect(decodeKeyPath('/caf%E9')).toBeUndefined()
  })
})

test('unaddressable keys are those that a URL parser changes', () => {
  fc.assert(
    fc.property(hostileKey, key => {
      const path = encodeKeyPath(key)
      expect(unaddressable(key) === undefined).toBe(
        new URL(`https://cdn.example.com${path}`).pathname === path,
      )
    }),
    { numRuns: 1000 },
  )
})

describe('parseCdnDomain', () => {
  test.each([
    ['d123.cloudfront.net', 'https://d123.cloudfront.net'],
    ['  D123.CloudFront.NET. ', 'https://d123.cloudfront.net'],
    ['müsik.example', 'https://xn--msik-0ra.example'],
    ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
    ['https://localhost:8443/', 'https://localhost:8443'],
    ['http://[::1]:9000', 'http://[::1]:9000'],
  ])('%s', (given, origin) => {
    const parsed = parseCdnDomain(given)
    expect(parsed.origin).toBe(origin)
    expect(parsed.tls).toBe(origin.startsWith('https:'))
    expect(parseCdnDomain(parsed.origin.replace(/^https:\/\/(?!localhost)/, ''))).toEqual(parsed)
  })

  test.each([
    '',
    'https://d123.cloudfront.net',
    'd123.cloudfront.net/',
    'd123.cloudfront.net/audio',
    'https://d123.cloudfront.net/audio/',
    'd123.cloudfront.net//',
    'd123.cloudfront.net?x',
    'd123.cloudfront.net#x',
    'http://d123.cloudfront.net',
    'ftp://d123.cloudfront.net',
    'd123.cloudfront.net:8443',
    'user:secret@d123.cloudfront.net',
    '*.example.com',
    'cloudfront',
    '10.0.0.1',
    'a b.example.com',
    'd123.cloudfront.net, d124.cloudfront.net',
    'E2QWRUHAPOMQZL',
    '-a.example.com',
    // What a URL would be read to mean.
    'cdn%2eexample.com',
    'cdn.example%2ecom',
    'cdn .example.com',
    '*.example.com',
  ])('refuses %j', given => {
    expect(() => parseCdnDomain(given)).toThrow(UsageError)
  })

  const port = 'CloudFront answers on port 443 only; of another CDN say which in CDN_PROVIDER'
  const path = 'it has a path; objects are addressed by their whole key'
  const sign = 'it contains a character not allowed in a host name'
  const partial = 'it is not a fully qualified host name'
  const one = (what: string) =>
    `the application makes https://{CLOUDFRONT_DOMAIN}/{key} of it, so it must not have a ${what}`
  test.each([
    [' ', 'it is empty'],
    ['a.example/x', path],
    ['a.example\\x', path],
    ['a.example?', path],
    ['a.example#', path],
    ['a.example//', path],
    ['u@a.example', 'it has a user name in it'],
    ['a .example', sign],
    ['a%.example', sign],
    ['*.example', sign],
    ['ftp://a.example', 'ftp is not https'],
    ['a.example:99999', 'it is not a valid host name'],
    ['https://', 'it is not a valid host name'],
    ['http://a.example', 'tracks are served over HTTPS only'],
    ['HTTPS://a.example', one('scheme')],
    ['https://a.example/', one('scheme')],
    ['a.example/', one('slash')],
    ['a.example:8443', port],
    ['example', partial],
    ['1.2.3.4', partial],
    ['a.b1', undefined],
    ['a.1b', partial],
    ['a.b', partial],
    ['a-.example', partial],
    ['-a.example', partial],
    ['a..example', partial],
    [`${'a'.repeat(63)}.example`, undefined],
    [`${'a'.repeat(64)}.example`, partial],
    ['a.example:443', undefined],
    ['a1-2.b.example', undefined],
  ])('%j: %s', (given, why) => {
    const parse = () => parseCdnDomain(given)
    if (why === undefined) expect(parse).not.toThrow()
    else
      expect(parse).toThrow(
        expect.objectContaining({
          code: 'cdn.domain',
          message: `"${given}" is not a CDN domain: ${why}`,
          cure: expect.stringContaining('CLOUDFRONT_DOMAIN'),
        }),
      )
  })

  test('with another CDN a port is taken, and nothing else more', () => {
    expect(parseCdnDomain('a.example:8443', { anyPort: true })).toEqual({
      origin: 'https://a.example:8443',
      hostname: 'a.example',
      tls: true,
    })
    expect(() => parseCdnDomain('https://a.example:8443', { anyPort: true })).toThrow(UsageError)
  })

  test('what is refused is shown, up to 200 characters', () => {
    const message = (given: string) => {
      try {
        return parseCdnDomain(given).origin
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(message(`${'x'.repeat(199)}/`)).toContain(`"${'x'.repeat(199)}/"`)
    expect(message(`${'x'.repeat(200)}/`)).toContain(`"${'x'.repeat(200)}…"`)
  })
})

describe('mistaken keys', () => {
  test.each([
    ['a/Beyonc\u00e9', 'a/Beyonce\u0301', 'normalisation'],
    ['a/Beyonce\u0301', 'a/Beyonc\u00e9', 'normalisation'],
    ['a/AC+DC', 'a/AC DC', 'plus'],
    ['a/AC DC', 'a/AC+DC', 'plus'],
    ['a/50%', 'a/50%25', 'encoding'],
    ['a/50%25', 'a/50%', 'encoding'],
    ['a/b', '/a/b', 'slash'],
    ['/a/b', 'a/b', 'slash'],
  ])('%j read as %j is a mistake of %s', (expected, actual, mistake) => {
    expect(keyMistake(expected, actual)).toBe(mistake)
  })

  test('candidates, the most frequent mistake first', () => {
    expect(mistakenKeys('/a+b c%25é').map(({ key, mistake }) => `${mistake} ${key}`)).toEqual([
      'normalisation /a+b c%25e\u0301',
      'plus /a b c%25é',
      'plus /a+b+c%25é',
      'encoding /a%2Bb%20c%2525%C3%A9',
      'encoding /a+b c%é',
      'slash a+b c%25é',
      'slash //a+b c%25é',
    ])
    expect(mistakenKeys('a%')).toEqual([
      { key: 'a%25', mistake: 'encoding' },
      { key: '/a%', mistake: 'slash' },
    ])
    // No key is longer than 1,024 bytes, nor what a mistake makes of one.
    expect(mistakenKeys('é'.repeat(1_536)).length).toBeGreaterThan(0)
    expect(mistakenKeys(`${'é'.repeat(1_536)}a`)).toEqual([])
  })

  test('another key is no mistake, nor is the key itself', () => {
    expect(keyMistake('a/b', 'a/c')).toBeUndefined()
    expect(keyMistake('a/b', 'a/b')).toBeUndefined()
    fc.assert(
      fc.property(hostileKey, key => {
        const others = mistakenKeys(key).map(candidate => candidate.key)
        expect(others).not.toContain(key)
        expect(new Set(others).size).toBe(others.length)
      }),
    )
  })
})

test.each([
  [{ bucket: 'b', region: 'eu-central-1' }, 'https://b.s3.eu-central-1.amazonaws.com/a%2Bb/c'],
  [{ bucket: 'b.c', region: 'eu-central-1' }, 'https://s3.eu-central-1.amazonaws.com/b.c/a%2Bb/c'],
  [{ bucket: 'b', region: 'cn-north-1' }, 'https://b.s3.cn-north-1.amazonaws.com.cn/a%2Bb/c'],
  [{ bucket: 'b', endpoint: 'http://127.0.0.1:9000' }, 'http://127.0.0.1:9000/b/a%2Bb/c'],
  [{ bucket: 'b' }, 'https://b.s3.us-east-1.amazonaws.com/a%2Bb/c'],
])('past the CDN: %j', (place, url) => {
  expect(directUrl(place, 'a+b/c')).toBe(url)
})

test.each([
  [{ bucket: 'b', addressing: 'path' }, 'https://s3.us-east-1.amazonaws.com/b'],
  [{ bucket: 'b', addressing: 'virtual' }, 'https://b.s3.us-east-1.amazonaws.com'],
  [{ bucket: 'b', endpoint: 'https://h:1', addressing: 'virtual' }, 'https://b.h:1'],
  [{ bucket: 'b', endpoint: 'https://h:1', addressing: 'path' }, 'https://h:1/b'],
  [{ bucket: 'b.c', endpoint: 'https://h:1', addressing: 'virtual' }, 'https://b.c.h:1'],
  [{ bucket: 'b', region: 'us-cn-1' }, 'https://b.s3.us-cn-1.amazonaws.com'],
] as const)('the bucket: %j', (place, url) => {
  expect(bucketUrl(place)).toBe(url)
})

test.each([
  ['a/./b', 'its segment "." is removed by every URL parser before the request is sent'],
  ['../b', 'its segment ".." is removed by every URL parser before the request is sent'],
  ['a/.b/c..', undefined],
])('%s cannot be asked for: %s', (key, why) => {
  expect(unaddressable(key)).toBe(why)
})

test('a path need not begin with a slash', () => {
  expect(decodeKeyPath('a%20b')).toBe('a b')
  expect(decodeKeyPath('//a')).toBe('/a')
})
