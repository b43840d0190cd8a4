/** Migrates the database named by its argument, and says so. */
import { migrateUp } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'

const db = await openDatabase(process.argv[2]!, { applicationName: 'autodj migrate' })
const { migrations } = await migrateUp(db)
process.stdout.write(`${JSON.stringify(migrations)}\n`)
await db.close()
