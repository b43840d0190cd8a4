/**
 * CRC-32 (ISO-HDLC, as in zlib and S3's `x-amz-checksum-crc32`) of a whole from the CRCs of its parts, so that parts
 * can be read and sent in any order.
 *
 * Appending n zero bytes to a message multiplies its CRC register by x^(8n) modulo the polynomial; the CRC of A‖B is
 * that of A so shifted, XOR that of B. Source: Mark Adler, zlib's `crc32_combine` (multiplication modulo P(x) over
 * GF(2) by repeated squaring).
 */

/** reflected polynomial */
const polynomial = 0xedb88320

/** a × b modulo P(x), both reflected */
function multiply(a: number, b: number): number {
  let product = 0
  let factor = b
  for (let bit = 0x80000000; bit !== 0; bit >>>= 1) {
    if (a & bit) product ^= factor
    factor = factor & 1 ? (factor >>> 1) ^ polynomial : factor >>> 1
  }
  return product >>> 0
}

/** powers[k] = x^(2^k) modulo P(x) */
const powers = (() => {
  const table = new Uint32Array(64)
  table[0] = 0x40000000 // x^1
  for (let k = 1; k < 64; k++) table[k] = multiply(table[k - 1] as number, table[k - 1] as number)
  return table
})()

/** x^(8 × bytes) modulo P(x) */
function shiftOperator(bytes: number): number {
  let operator = 0x80000000 // x^0
  let rest = bytes
  for (let k = 3; rest > 0; k++) {
    if (rest % 2 === 1) operator = multiply(powers[k] as number, operator)
    rest = Math.floor(rest / 2)
  }
  return operator
}

/** CRC-32 of A‖B from those of A and B. `sizeB` in bytes, up to 2^53. */
export function combineCrc32(crcA: number, crcB: number, sizeB: number): number {
  return (multiply(shiftOperator(sizeB), crcA) ^ crcB) >>> 0
}

/** As S3 spells it: base64 of the four big-endian bytes. */
export function encodeCrc32(crc: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc >>> 0)
  return bytes.toString('base64')
}

/** The number behind S3's spelling. */
export function decodeCrc32(text: string): number {
  return Buffer.from(text, 'base64').readUInt32BE()
}
