/** What the ledger holds, as tests read it. */
import type { Knex } from 'knex'
import type { Database } from '../../src/db/database.ts'
import { type FailedItem, recordUpload } from '../../src/db/ledger.ts'
import type { ObjectStore } from '../../src/storage/store.ts'

interface ItemRow extends Omit<FailedItem, 'runId'> {
  runId: string | null
  attempts: number
  firstFailedAt: Date
  updatedAt: Date
}

/** A page of failed and skipped items of a command, after `afterSubject`, in the order of their subjects. */
export async function itemPage(
  knex: Knex,
  page: { command: string; afterSubject?: string; limit: number; state?: 'failed' | 'skipped' },
): Promise<ItemRow[]> {
  const query = knex('autodj_ledger.items')
    .select({
      command: 'command',
      subject: 'subject',
      trackId: 'track_id',
      state: 'state',
      attempts: 'attempts',
      errorCode: 'error_code',
      error: 'error',
      cure: 'cure',
      firstFailedAt: 'first_failed_at',
      updatedAt: 'updated_at',
      runId: 'run_id',
    })
    .where({ command: page.command })
    .where('subject', '>', page.afterSubject ?? '')
  if (page.state !== undefined) query.where({ state: page.state })
  return query.orderBy('subject').limit(page.limit)
}

type UploadRecord = Parameters<typeof recordUpload>[1]

/** What the ledger knows of an upload that is under way: of nobody, and of a file of one byte, unless said otherwise. */
export const ledgerUpload = (
  { database, store }: { database: Database; store: ObjectStore },
  upload: Partial<UploadRecord> & Pick<UploadRecord, 'key' | 'uploadId'>,
): Promise<void> =>
  recordUpload(database.knex, {
    bucket: store.bucket,
    path: 'a',
    inode: null,
    mtimeNs: 1n,
    size: 1,
    sha256: null,
    partSize: 5,
    headers: null,
    runId: null,
    ...upload,
  })
