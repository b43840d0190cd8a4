/** Why no answer came, in words: Node.js's error codes and OpenSSL's reasons say little to who reads them once a year. */

const words: readonly (readonly [code: RegExp, message: RegExp, words: string])[] = [
  [/^(ENOTFOUND|EAI_)/, /./, 'the host name does not resolve'],
  [/^ECONNREFUSED$/, /./, 'nothing is listening there'],
  [/^(EHOSTUNREACH|ENETUNREACH)$/, /./, 'there is no route to it'],
  [/TIMEOUT|ETIMEDOUT/, /./, 'no answer in time'],
  [/^(ECONNRESET|EPIPE)$/, /./, 'the connection was closed'],
  [/^(EPROTO|ERR_SSL_)/, /wrong version number|packet length too long|http request/i, 'it does not use TLS'],
]

/** @param code Node.js's error code, such as `ECONNREFUSED` */
export function networkFault({ code, message }: { code: string; message: string }): string {
  const known = words.find(([codes, messages]) => codes.test(code) && messages.test(message))
  if (known !== undefined) return `${known[2]} (${code})`
  // OpenSSL: `40…:error:0A00010B:SSL routines:tls_get_more_records:packet length too long:../deps/…c:84:`
  const reason = /SSL routines:[^:]*:([^:]+)/.exec(message)?.[1] ?? message
  return reason === '' || reason === code ? code : `${reason.trim()} (${code})`
}
