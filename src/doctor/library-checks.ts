/** Database, audio folder and decoder. */
import { stat } from 'node:fs/promises'
import { AppError, LockedError } from '../errors.ts'
import { type Check, failure, ok, skipped, warning } from './check.ts'
import { checkDatabaseWrite, checkLibrary } from './library.ts'
import { checkAudioFolder, checkTempSpace } from './machine.ts'
import type { DoctorState } from './state.ts'

export function libraryChecks(state: DoctorState): Check[] {
  const { resources } = state
  const { config } = resources
  const { s3 } = config
  const { bucket = '' } = s3
  return [
    {
      name: 'database',
      timeoutMs: 8_000,
      async run() {
        if (config.database.url.startsWith('pglite:')) {
          const folder = config.database.url.slice('pglite:'.length)
          if ((await stat(folder).catch(() => undefined)) === undefined) {
            const which = config.database.isDefault ? ' (DATABASE_URL is not set)' : ''
            return warning(
              `the embedded database ${folder} does not exist yet${which}`,
              config.database.isDefault
                ? "Set DATABASE_URL to the application's PostgreSQL, or let `autodj migrate` create it."
                : '`autodj migrate` creates it.',
            )
          }
        }
        try {
          state.database = await resources.openDatabase()
        } catch (error) {
          if (error instanceof LockedError) return warning(error.message, error.cure)
          throw error
        }
        const where = `${state.database.where} (${state.database.dialect})`
        const [{ server_encoding: encoding }] = (await state.database.knex.raw('show server_encoding')).rows
        if (encoding !== 'UTF8' && encoding !== 'SQL_ASCII') {
          return warning(
            `${where}: its encoding ${encoding} lacks characters that names of songs and files may have`,
            'Dump it, and restore it into a database with the encoding UTF8.',
          )
        }
        return ok(where)
      },
    },
    {
      name: 'schema',
      needs: ['database'],
      async run() {
        if (state.database === undefined) return skipped('needs "database"')
        const { requireSchema } = await import('../db/require-schema.ts')
        const { migrateStatus } = await import('../db/migrate.ts')
        await requireSchema(state.database)
        const { migrations, drift, revisions } = await migrateStatus(state.database)
        const pending = migrations.filter(({ appliedAt }) => appliedAt === null)
        if (pending.length > 0) {
          return failure(
            `${pending.length} migrations are pending (${pending[0]!.name})`,
            'Run `autodj migrate`.',
          )
        }
        if (drift.length > 0) {
          return warning(`the schema differs: ${drift[0]}`, 'See all of it with `autodj migrate status`.')
        }
        const { requireCodeForS3 } = await import('../db/application-code.ts')
        try {
          await requireCodeForS3(state.database)
        } catch (error) {
          if (!(error instanceof AppError) || error.code !== 'application.older') throw error
          return warning(error.message, error.cure)
        }
        const revision = revisions.length === 0 ? '' : `, Alembic ${revisions.join(', ')}`
        return ok(`${migrations.at(-1)?.name}${revision}`)
      },
    },
    {
      name: 'database-write',
      needs: ['schema'],
      timeoutMs: 8_000,
      async run() {
        if (state.database === undefined) return skipped('needs "database"')
        // The embedded one cannot be opened twice.
        const isEmbedded = state.database.dialect === 'pglite'
        return checkDatabaseWrite(
          isEmbedded ? state.database : await resources.openDatabase({ readOnly: false }),
        )
      },
    },
    {
      name: 'library',
      needs: ['schema', 'bucket'],
      timeoutMs: 8_000,
      async run(signal) {
        if (state.database === undefined) return skipped('needs "database"')
        return checkLibrary(state.database, state.opened(), { prefix: s3.keyPrefix, bucket, signal })
      },
    },
    { name: 'audio-folder', run: () => checkAudioFolder(config.audioRoot) },
    {
      name: 'paths',
      needs: ['schema', 'audio-folder'],
      timeoutMs: 15_000,
      async run(signal) {
        if (state.database === undefined) return skipped('needs "database"')
        const { describeSurvey, notOpenedByApplication, surveyPaths } = await import(
          '../audio-files/path-survey.ts'
        )
        const survey = await surveyPaths(state.database.knex, config.audioFolder, signal)
        const told = describeSurvey(survey)
        if (survey.rows > 0 && survey.found === 0) {
          return failure(
            told,
            `Set AUDIO_STORAGE_PATH to what the application has (now ${config.audioFolder.storagePath}), and --audio-root to where that folder is on this machine (now ${config.audioRoot}).`,
          )
        }
        if (notOpenedByApplication(survey) > 0) {
          return warning(told, '`autodj import` writes those as the application opens them.')
        }
        return survey.found === survey.rows
          ? ok(told)
          : warning(told, '`autodj import` finds files that moved, `autodj fetch` gets those that are gone.')
      },
    },
    { name: 'temp-space', run: checkTempSpace },
    {
      name: 'decoder',
      timeoutMs: 8_000,
      async run(signal) {
        const { decoder, seconds } = await resources.decodeSample(signal)
        return ok(
          `${seconds.toFixed(1)} s of music decoded by ${decoder === 'npm' ? 'the bundled decoders' : decoder}`,
        )
      },
    },
  ]
}
