import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checksumOf, isCrc, joinCrcs, startChecksum } from '../../../../src/embedded/s3-server/checksums.ts'

describe('checksums', () => {
  // The catalogue of parametrised CRC algorithms gives these check values for "123456789".
  test.each([
    ['CRC32', 'cbf43926'],
    ['CRC64NVME', 'ae8b14860a799888'],
  ] as const)('%s of the check string', (algorithm, hex) => {
    expect(checksumOf(algorithm, Buffer.from('123456789'))).toBe(Buffer.from(hex, 'hex').toString('base64'))
  })

  test('in pieces or at once, the same; joined from parts, the same', () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 8 })
    fc.assert(
      fc.property(fc.constantFrom('CRC32' as const, 'CRC64NVME' as const), pieces, (algorithm, parts) => {
        const whole = checksumOf(algorithm, Buffer.concat(parts))
        const running = startChecksum(algorithm)
        for (const part of parts) running.update(part)
        expect(running.digest()).toBe(whole)
        expect(isCrc(algorithm)).toBe(true)
        const joined = parts.map(part => ({ checksum: checksumOf(algorithm, part), size: part.length }))
        expect(joinCrcs(algorithm, joined)).toBe(whole)
      }),
    )
  })
})
