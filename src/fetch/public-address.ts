/** Which addresses a URL that somebody else wrote may lead to: the internet's, none of the networks behind it. */
import dns from 'node:dns'
import { BlockList, isIP, isIPv4, type LookupFunction } from 'node:net'
import { isLoopback } from '../core/loopback.ts'

/** IANA's special-purpose registries, as far as they are not globally reachable, and multicast. */
const inside = new BlockList()
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  inside.addSubnet(network, bits)
/** What of IPv6 is the internet's, and what of that leads back inside: Teredo, 6to4, documentation. */
const global6 = new BlockList()
global6.addSubnet('2000::', 3, 'ipv6')
const inside6 = new BlockList()
for (const [network, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  inside6.addSubnet(network, bits, 'ipv6')

/** @param address IPv4 or IPv6, without brackets */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !inside.check(address)
  const bare = address.replace(/%.*$/, '')
  return isIP(bare) === 6 && global6.check(bare, 'ipv6') && !inside6.check(bare, 'ipv6')
}

/**
 * Where a `preview_url` may lead: the internet; and this machine, if the store is a stand-in on it, too.
 * @param endpoint of the store, undefined for AWS
 */
export function previewGuard(endpoint: string | undefined): (address: string) => boolean {
  const isStandIn = endpoint !== undefined && isLoopback(URL.parse(endpoint)?.hostname ?? '')
  return address => isPublicAddress(address) || (isStandIn && isLoopback(address))
}

/** Thrown if a URL would have led inside. */
export class PrivateAddress extends Error {
  readonly code = 'EPRIVATE'
  readonly address: string

  constructor(address: string) {
    super(
      `${address} is ${isIP(address) === 0 ? 'a name' : 'an address'} inside a network, not one of the internet`,
    )
    this.address = address
  }
}

/** Throws where a host name is an address that is not allowed; names are looked at when they are looked up. */
export function refuseLiteral(hostname: string, isAllowed: (address: string) => boolean): void {
  const address = hostname.replace(/^\[(.*)\]$/, '$1')
  if (isIP(address) !== 0 && !isAllowed(address)) throw new PrivateAddress(address)
}

/** Suffixes of names that are nobody's on the internet (RFC 6761, RFC 8375, and what ICANN keeps free for it). */
const insideName =
  /^[^.]+$|\.(local|localhost|internal|intranet|private|corp|home|lan|localdomain|home\.arpa)\.?$/i

/**
 * Throws if a name leads inside, as far as this machine knows: for requests that a proxy sends, of which only the
 * name can be looked at. A name that is not known here is the proxy's affair, unless it is one of networks' own.
 */
export async function refuseInside(hostname: string, isAllowed: (address: string) => boolean): Promise<void> {
  const name = hostname.replace(/^\[(.*)\]$/, '$1')
  const found = await dns.promises.lookup(name, { all: true }).catch(() => [])
  const refused = found.find(({ address }) => !isAllowed(address))
  if (refused !== undefined) throw new PrivateAddress(refused.address)
  if (found.length === 0 && insideName.test(name)) throw new PrivateAddress(name)
}

/** `dns.lookup` that fails if a name leads to an address that is not allowed: the very one that is connected to. */
export function guardedLookup(isAllowed: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 0)
      const refused = addresses.find(({ address }) => !isAllowed(address))
      if (refused) return callback(new PrivateAddress(refused.address), '', 0)
      if (options.all) return callback(null, addresses)
      const [first] = addresses
      callback(null, first!.address, first!.family)
    })
  }
}
