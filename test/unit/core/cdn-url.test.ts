import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
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
