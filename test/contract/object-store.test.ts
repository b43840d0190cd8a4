import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createS3Store } from '../../src/storage/s3.ts'
import { startS3Server } from '../support/s3-server/server.ts'
import { likeAws, objectStoreContract, smallCopies } from './object-store.ts'

const credentials = { accessKeyId: 'AKIDCONTRACT', secretAccessKey: 'contract-secret' }

for (const versions of [false, true]) {
  objectStoreContract(
    `embedded server, versioning ${versions ? 'on' : 'off'}`,
    async () => {
      const dir = await mkdtemp(join(tmpdir(), 'autodj-contract-'))
      const server = await startS3Server({
        dir,
        credentials: [credentials],
        buckets: [versions ? { name: 'music', versioning: 'Enabled' } : 'music'],
      })
      return {
        store: createS3Store({ bucket: 'music', endpoint: server.url, credentials, copy: smallCopies }),
        close: async () => {
          await server.close()
          await rm(dir, { recursive: true })
        },
      }
    },
    { ...likeAws, versions },
  )
}
