import { expect, test } from 'vitest'
import { parseCdnDomain } from '../../../src/core/cdn-url.ts'
import { createObjectUrls } from '../../../src/server/audio-url.ts'

function signing(lifetimeMs: number) {
  let now = Date.UTC(2026, 0, 1, 0, 0, 7)
  let signatures = 0
  const urls = createObjectUrls({
    domain: parseCdnDomain('cdn.example.com'),
    lifetimeMs,
    now: () => new Date(now),
    signer: {
      keyPairId: 'K1',
      keyType: 'ECDSA',
      sign: (url, expires) => `${url}?Expires=${expires.getTime() / 1_000}&n=${++signatures}`,
    },
  })
  const pass = (milliseconds: number) => {
    now += milliseconds
  }
  return { urls, pass, now: () => now }
}

test('a signed URL works at least for its lifetime, and is the same for a twentieth of it', () => {
  const lifetime = 3_600_000
  const { urls, pass, now } = signing(lifetime)
  const seen = new Map<string, number>()
  for (let minute = 0; minute < 120; minute++) {
    const { url, expiresAt } = urls('a/b c.mp3')
    const left = (expiresAt as Date).getTime() - now()
    expect(left).toBeGreaterThanOrEqual(lifetime)
    expect(left).toBeLessThanOrEqual(lifetime * 1.05)
    expect((expiresAt as Date).getTime() % 1_000).toBe(0)
    seen.set(url, (seen.get(url) ?? 0) + 1)
    pass(60_000)
  }
  expect(seen.size).toBe(40)
  expect(Math.max(...seen.values())).toBe(3)
})

test('each key has its own signature', () => {
  const { urls } = signing(60_000)
  expect(urls('a').url).not.toBe(urls('b').url)
  expect(urls('a')).toBe(urls('a'))
})

test('without a key pair nothing expires', () => {
  const urls = createObjectUrls({
    domain: parseCdnDomain('cdn.example.com'),
    signer: undefined,
    lifetimeMs: 1,
    now: () => new Date(),
  })
  expect(urls('a+b')).toEqual({ url: 'https://cdn.example.com/a%2Bb' })
})
