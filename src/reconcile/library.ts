import type { Knex } from 'knex'
import type { AudioFolder } from '../core/audio-path.ts'
import type { Comparison, DifferenceClass } from '../core/reconcile/facts.ts'
import type { ObjectStore } from '../storage/store.ts'
import type { Inventory } from './inventory.ts'

export interface ReconcileOptions {
  /** only keys below it are listed; rows with other keys are looked up one by one */
  prefix: string
  /** keys below it are left out; empty: nothing is */
  quarantinePrefix: string
  audioFolder: AudioFolder
  /** walk the audio folder as well */
  disk: boolean
  /** share of the objects that are downloaded and hashed, 0 to 1 */
  deep: number
  /** `changed`: HEAD what the ledger does not vouch for; `none`: trust the listing; `all`: HEAD every object */
  head: 'changed' | 'none' | 'all'
  /** requests at once */
  concurrency: number
  /** what every object's Cache-Control should be; undefined: not judged */
  cacheControl?: string
  /** an inventory in place of a listing */
  inventory?: Inventory | undefined
  /** told why the bucket is listed after all */
  inventoryInsufficient?: (why: string) => void
  /** classes that are no drift */
  accept?: ReadonlySet<DifferenceClass>
  /** continues even if the bucket or the audio folder looks empty, or the rows have shrunk */
  force: boolean
  /** rows the last finished run saw */
  rowsBefore?: number
  /** what was asked for: the rest is compared, too, and not told or counted; undefined: everything */
  isSelected?: (comparison: Comparison) => boolean
  /** exists, and is this run's own */
  tempFolder: string
  signal: AbortSignal
}

export interface Library {
  knex: Knex
  store: ObjectStore
}
