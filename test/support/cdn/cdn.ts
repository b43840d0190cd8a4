/** The embedded CDN with what CloudFront can refuse by itself, and with misbehaviour to plant. */
import { createPublicKey } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import {
  type Cdn as PlainCdn,
  type CdnOptions as PlainOptions,
  startCdn as startPlain,
} from '../../../src/embedded/cdn.ts'
import type { CdnAnswer } from '../../../src/embedded/cdn-answer.ts'
import type { ErrorPage } from '../../../src/embedded/cdn-extension.ts'
import { type CdnRule, CdnRules, interference } from './rules.ts'
import { signatureFault, withoutSignature } from './signature.ts'

export interface CdnOptions extends Omit<PlainOptions, 'extension'> {
  /** What plain HTTP meets: `https-only` 403, `redirect-to-https` 301. Needs no TLS here: it tells by the socket. */
  viewerProtocol?: 'allow-all' | 'https-only' | 'redirect-to-https'
  /** Viewers must sign: public keys (PEM) by key pair id. */
  trustedKeys?: Record<string, string>
  rules?: CdnRule[]
}

export interface Cdn extends PlainCdn {
  /** @returns takes the rule back */
  addRule(rule: CdnRule): () => void
  clearRules(): void
}

/** As `startCdn` of the sources. */
export async function startCdn({
  viewerProtocol = 'allow-all',
  trustedKeys = {},
  rules: planted,
  ...options
}: CdnOptions): Promise<Cdn> {
  const keys = new Map(Object.entries(trustedKeys).map(([id, pem]) => [id, createPublicKey(pem)]))
  const clock = options.clock ?? Date.now
  const rules = new CdnRules(planted)

  function refuse(request: IncomingMessage, errorPage: ErrorPage): CdnAnswer | undefined {
    const secure = 'encrypted' in request.socket
    const host = request.headers.host ?? ''
    if (!secure && viewerProtocol === 'https-only') {
      const text = "Bad request.\nWe can't connect to the server for this app or website at this time."
      return errorPage(403, text)
    }
    if (!secure && viewerProtocol === 'redirect-to-https') {
      return {
        status: 301,
        headers: {
          location: `https://${host}${request.url}`,
          'content-type': 'text/html',
          'x-cache': 'Redirect from cloudfront',
        },
        body: Buffer.from('<html><head><title>301 Moved Permanently</title></head></html>'),
      }
    }
    if (keys.size === 0 || !['GET', 'HEAD'].includes(request.method ?? 'GET')) return undefined
    const [, path = '/', rawQuery = ''] = /^([^?]*)\??(.*)$/s.exec(request.url ?? '/') ?? []
    const rest = withoutSignature(rawQuery)
    const resource = `${secure ? 'https' : 'http'}://${host}${path}${rest === '' ? '' : `?${rest}`}`
    return signatureFault(new URLSearchParams(rawQuery), resource, keys, clock())
  }

  const cdn = await startPlain({
    ...options,
    extension: {
      refuse,
      interfere(viewer) {
        const misbehaviour = rules.strike(viewer)
        return misbehaviour && interference(misbehaviour, viewer)
      },
    },
  })
  return Object.assign(cdn, {
    addRule: (rule: CdnRule) => rules.add(rule),
    clearRules: () => rules.clear(),
  })
}
