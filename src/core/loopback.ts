/**
 * Whether a host is this machine itself, whatever it listens on: what is sent there passes nobody. As browsers tell it
 * (W3C, Secure Contexts, section 3.1).
 *
 * @param host name or address in lower case; IPv6 with brackets, as in a URL, or without
 */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/.test(host)
}
