import { expect, test } from 'vitest'
import { networkFault } from '../../../../src/core/diagnosis/network-fault.ts'

test.each([
  ['ENOTFOUND', 'getaddrinfo ENOTFOUND cdn.example', 'the host name does not resolve (ENOTFOUND)'],
  ['EAI_AGAIN', 'getaddrinfo EAI_AGAIN cdn.example', 'the host name does not resolve (EAI_AGAIN)'],
  ['ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:9', 'nothing is listening there (ECONNREFUSED)'],
  ['ETIMEDOUT', 'no answer in time', 'no answer in time (ETIMEDOUT)'],
  ['ECONNRESET', 'socket hang up', 'the connection was closed (ECONNRESET)'],
  [
    'EPROTO',
    'write EPROTO 40ED:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/openssl/openssl/ssl/record/methods/tlsany_meth.c:77:\n',
    'it does not use TLS (EPROTO)',
  ],
  [
    'EPROTO',
    'write EPROTO 40ED:error:0A000410:SSL routines:ssl3_read_bytes:ssl/tls alert handshake failure:../deps/openssl/openssl/ssl/record/rec_layer_s3.c:916:SSL alert number 40\n',
    'ssl/tls alert handshake failure (EPROTO)',
  ],
  ['CERT_HAS_EXPIRED', 'certificate has expired', 'certificate has expired (CERT_HAS_EXPIRED)'],
  ['HPE_INVALID_CONSTANT', '', 'HPE_INVALID_CONSTANT'],
  ['ECONNREFUSED_X', 'said so', 'said so (ECONNREFUSED_X)'],
  ['X_ECONNRESET', ' said so\n', 'said so (X_ECONNRESET)'],
  ['EWEIRD', 'EWEIRD', 'EWEIRD'],
  ['EHOSTUNREACH', 'x', 'there is no route to it (EHOSTUNREACH)'],
])('%s: %s', (code, message, words) => {
  expect(networkFault({ code, message })).toBe(words)
})
