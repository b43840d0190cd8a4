/** Whether the CDN serves the very bytes of a file, asked for a byte range of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.ts'
import { cdnUrl } from '../core/cdn-url.ts'
import { contentRange } from '../core/diagnosis/observation.ts'
import { printable } from '../core/units.ts'
import { openProber, type ProbeResult } from './probe.ts'
import { openUrlSigner, type UrlSigner } from './sign.ts'

/** Pauses before the second and third try of what may pass by itself, milliseconds. */
const retryPauses = [250, 1_000]

/** How long a URL signed for one request is good for, milliseconds. */
const signedFor = 10 * 60_000

/** The signer that the configuration names, or undefined. @throws UsageError when its key cannot be read or used */
export async function openSigner({ cdn }: Config): Promise<UrlSigner | undefined> {
  return cdn?.signer && openUrlSigner(cdn.signer)
}

/** @returns the check, and how to let its sockets go; undefined when no CDN is configured */
export async function openServedCheck(
  config: Config,
  options: { concurrency: number; signal: AbortSignal; now: () => Date },
): Promise<{ served: ServedCheck; close: () => void } | undefined> {
  if (!config.cdn) return undefined
  const { domain } = config.cdn
  const signer = await openSigner(config)
  const prober = openProber({
    concurrency: options.concurrency,
    signal: options.signal,
    network: config.network,
    origin: config.cdn.pageOrigin.origin,
  })
  return {
    close: () => prober.close(),
    async served(key, range, sha256, size) {
      const plain = cdnUrl(domain, key)
      const ask = () => {
        const url = signer ? signer.sign(plain, new Date(options.now().getTime() + signedFor)) : plain
        return prober.request({ url, range, hash: true })
      }
      let result = await ask()
      for (const pause of retryPauses) {
        if (!mayPass(result)) break
        await sleep(pause, undefined, { signal: options.signal })
        result = await ask()
      }
      if ('error' in result) return { served: false, reason: printable(result.error.message) }
      if (result.answer.status !== 206) return { served: false, reason: `HTTP ${result.answer.status}` }
      // Another object may have the same bytes in the same places.
      const total = contentRange(result.answer.headers['content-range'])?.total
      if (total !== undefined && total !== size)
        return { served: false, reason: `what it serves has ${total} bytes, the file has ${size}` }
      if (result.sha256 !== sha256) return { served: false, reason: 'the bytes differ' }
      return { served: true }
    },
  }
}

function mayPass(result: ProbeResult): boolean {
  if ('error' in result) return result.error.code === 'ECONNRESET'
  return result.answer.status === 429 || result.answer.status >= 500
}

/**
 * Compares a range of the object, as the CDN serves it, with the SHA-256 of the same bytes of the file, and the size that
 * it tells with the file's.
 */
export type ServedCheck = (
  key: string,
  range: { start: number; end: number },
  sha256: string,
  size: number,
) => Promise<{ served: true } | { served: false; reason: string }>
