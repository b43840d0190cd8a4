/** The URL of an object as the API hands it out: plain, or signed for a while. */
import type { UrlSigner } from '../cdn/sign.ts'
import { type CdnDomain, cdnUrl } from '../core/cdn-url.ts'

interface ObjectUrl {
  readonly url: string
  /** undefined: it does not expire */
  readonly expiresAt?: Date
}

export type ObjectUrls = (key: string) => ObjectUrl

/** Signatures kept: RSA costs about half a millisecond each, and a player asks again at every seek. */
const maxSigned = 50_000

/**
 * Signed URLs are the same for everyone until a twentieth of their lifetime has passed, so that caches and players
 * recognise them; each still works for at least `lifetimeMs` when it is handed out.
 */
export function createObjectUrls({
  domain,
  signer,
  lifetimeMs,
  now,
}: {
  domain: CdnDomain
  signer: UrlSigner | undefined
  lifetimeMs: number
  now: () => Date
}): ObjectUrls {
  if (!signer) return key => ({ url: cdnUrl(domain, key) })
  const step = Math.max(1_000, Math.ceil(lifetimeMs / 20 / 1_000) * 1_000)
  const signed = new Map<string, { url: string; expiresAt: Date }>()
  return key => {
    const expires = Math.ceil((now().getTime() + lifetimeMs) / step) * step
    const known = signed.get(key)
    if (known?.expiresAt.getTime() === expires) return known
    const expiresAt = new Date(expires)
    const fresh = { url: signer.sign(cdnUrl(domain, key), expiresAt), expiresAt }
    // Least recently signed goes first: a Map keeps the order of insertion.
    signed.delete(key)
    signed.set(key, fresh)
    if (signed.size > maxSigned) signed.delete(signed.keys().next().value as string)
    return fresh
  }
}
