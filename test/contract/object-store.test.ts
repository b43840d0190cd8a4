import { createS3Store } from '../../src/storage/s3.ts'
import { startS3Server } from '../support/s3-server/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { likeAws, objectStoreContract, smallCopies } from './object-store.ts'

const credentials = { accessKeyId: 'AKIDCONTRACT', secretAccessKey: 'contract-secret' }

for (const versions of [false, true]) {
  objectStoreContract(
    `embedded server, versioning ${versions ? 'on' : 'off'}`,
    async () => {
      const dir = temporaryFolder('contract')
      const server = await startS3Server({
        dir,
        credentials: [credentials],
        buckets: [versions ? { name: 'music', versioning: 'Enabled' } : 'music'],
      })
      return {
        store: createS3Store({ bucket: 'music', endpoint: server.url, credentials, copy: smallCopies }),
        close: async () => {
          await server.close()
        },
      }
    },
    { ...likeAws, versions },
  )
}
