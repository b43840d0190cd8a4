/** What each error code means, and all that the documentation says of it. */
import { type ExitName, familyCures, type RegisteredCode, usualCures } from '../src/error-codes.ts'

/** What happened, a sentence. */
const meanings: Readonly<Record<RegisteredCode, string>> = {
  'analysis.missing': 'The track has no analysis that could be drawn.',
  'application.older': 'The application that uses the database may be too old to read tracks that are in S3.',
  'assets.missing': 'The bundled audio is not part of this installation.',

  // The audio folder and the analysis
  'audio-root.gone': 'The audio folder was unmounted during the run.',
  'audio-root.unreadable': 'The audio folder cannot be read.',
  'audio.bug': 'The analysis failed unexpectedly.',
  'audio.crash': 'The analysis of this file crashed its thread.',
  'audio.damaged': 'Part of the audio is missing or broken.',
  'audio.decoder-missing': 'The ffmpeg that was named was not found.',
  'audio.empty': 'The file that was to be analysed is empty.',
  'audio.format': 'The sample rate of the audio is outside what can be analysed.',
  'audio.memory': 'The analysis of this file needs more memory than it may have.',
  'audio.stopped': 'The analysis was stopped before it was done.',
  'audio.timeout': 'The analysis took longer than its time limit.',
  'audio.undecodable': 'The file is audio, but nothing in it can be decoded.',
  'audio.unknown': 'The content of the file is not a recognised audio format.',
  'audio.unreadable': 'The file cannot be read.',
  'audio.unsupported': 'The format of the audio needs ffmpeg, or a newer one.',

  // The bucket's settings
  'bucket.away': 'AWS did not answer a request about the settings of the bucket or the distribution.',
  'bucket.denied':
    'A setting of the bucket or the distribution may not be read or changed with these credentials.',
  'bucket.missing': 'The bucket that was to be set up does not exist.',
  'bucket.setting': 'AWS refused a setting of the bucket or the distribution.',
  bug: 'An unexpected failure.',

  // The CDN
  'cdn.differs': '`autodj verify` found other bytes at the CDN than those of the file, which is kept.',
  'cdn.domain': 'CLOUDFRONT_DOMAIN is not the domain of a CDN.',
  'cdn.key': 'The key of a row cannot be the key of an object.',
  'cdn.key-pair-id': 'CLOUDFRONT_KEY_PAIR_ID is not the ID of a public key of CloudFront.',
  'cdn.not-served': 'The CDN does not serve the same bytes, so the local file is kept.',
  'cdn.signer-rewrote': 'Signing a URL changed more than its signature.',
  'cdn.signing-key': 'The private key for signed URLs cannot be read or used.',

  // Settings
  'config.audio-root': 'The audio folder is not there.',
  'config.certificates': 'A file of certificates cannot be read, or holds no certificate in PEM form.',
  'config.env-file': 'A settings file cannot be read.',
  'config.home': 'A path begins with ~, and the home folder that it means is not known.',
  'config.invalid': 'A setting has an invalid value.',
  'config.missing': 'A setting that the command needs is missing.',
  'config.temp-folder': 'The folder for temporary files is not there, or cannot be used.',
  'credentials.refused': 'AWS does not accept the credentials.',

  // The database
  'db.ambiguous': "The application's tables are in more than one schema.",
  'db.auth': 'The database refused the login.',
  'db.busy': 'Another transaction holds a lock on the same rows or table.',
  'db.conflict': 'Another transaction got in the way of this one.',
  'db.connections': 'The database has no free connection.',
  'db.denied': 'The database user lacks a privilege.',
  'db.folder': 'The folder of the embedded database cannot be used.',
  'db.host': 'The host name of the database does not resolve.',
  'db.internal': 'The database reported an internal error.',
  'db.lock-file': 'The lock file of the embedded database cannot be created.',
  'db.missing': 'The database does not exist.',
  'db.open': 'The database cannot be opened.',
  'db.pool': 'No database connection became free in time.',
  'db.privilege': "The database user may not use autodj's schema.",
  'db.read-only': 'The database accepts no writes.',
  'db.refused': 'The database refuses a statement, whatever the row.',
  'db.resources': 'The database server is out of disk space or memory.',
  'db.schema': 'A table, column, type or schema is missing in the database.',
  'db.search-path': "The application's tables are in a schema that this session does not see.",
  'db.timeout': 'A statement took too long and was cancelled.',
  'db.tls': 'There is no TLS connection to the database that both sides accept.',
  'db.unreachable': 'The database cannot be reached, or the connection to it was lost.',

  // The demo
  'demo.assets-missing': 'The audio of the demo is not part of this installation.',
  'demo.differs': 'A track of the demo is not served as it was uploaded.',
  'demo.dir': 'What was given to the demo is not a folder.',
  'demo.empty': 'The folder given to the demo holds no audio file.',
  'demo.failed': 'A command of the demo failed; the demo ends with its exit code.',

  // Disk
  'disk.full': 'The disk is full, or its quota used up.',
  'disk.unreadable': 'Part of the audio folder cannot be read, so nothing can be said of the files in it.',
  'doctor.rotate': 'The access key cannot be replaced.',
  'download.corrupt': 'The object does not arrive as it was uploaded.',
  'env.value': 'A value cannot be written to a settings file.',

  // Sources of audio
  'fetch.changed': 'The source replaced the file during the download, or cannot resume it.',
  'fetch.command-failed': 'FETCH_COMMAND ended with an error.',
  'fetch.command-missing': 'FETCH_COMMAND cannot be run.',
  'fetch.command-nothing': 'FETCH_COMMAND wrote no file.',
  'fetch.command-timeout': 'FETCH_COMMAND took longer than its time limit.',
  'fetch.conflict': 'Another object has the key that the fetched file would get; it was not overwritten.',
  'fetch.empty': 'The source answered with an empty file.',
  'fetch.network': 'The download from the source failed.',
  'fetch.normalize': 'ffmpeg did not normalise the loudness of the file.',
  'fetch.not-audio': 'What the source sent is not audio.',
  'fetch.nowhere': 'No source has the track.',
  'fetch.private-address': 'The URL of the source leads to a private network address.',
  'fetch.proxy': 'The proxy for downloads requires a login.',
  'fetch.too-large': 'The source has more bytes than --max-size allows.',
  'fetch.url': 'The URL of the source is not an http or https URL.',

  // One local file
  'file.changed': 'The file changed while it was read, or is no longer the file that was verified.',
  'file.empty': 'The file is empty.',
  'file.exists': 'Another file, or something that is not a folder, is in the place of the file.',
  'file.linked':
    'The row reaches the file through a link, so it is kept: others may need it by its other name.',
  'file.loop': 'The path is a link that points back to itself.',
  'file.missing': 'The file does not exist.',
  'file.name': 'The name of the file is not UTF-8, so the database cannot hold it.',
  'file.needed': 'Another track that is not in S3 yet has the same file, so it is kept.',
  'file.not-a-file': 'The path is not that of a file.',
  'file.refused': 'The path leads out of the audio folder, or cannot be a path.',
  'file.special': 'The path leads to a pipe, a socket or a device, which was not opened.',
  'file.unreadable': 'The file may not be read by this user.',
  'folder.unreadable': 'A folder below the audio folder may not be read by this user.',
  'ignore-file.unreadable': 'The file of ignore patterns in the audio folder cannot be read.',

  // init
  'init.check': 'A setting did not pass its check, so nothing was written.',
  'init.stopped': 'The questions of `autodj init` were stopped; nothing was written.',
  'init.write': 'The settings file cannot be written.',
  interrupted: 'The track was not finished because the command was stopped.',

  // S3 Inventory
  'inventory.bucket': 'The inventory is of another bucket.',
  'inventory.columns': 'The inventory lacks fields that are needed.',
  'inventory.damaged': 'A file of the inventory is not what its manifest says.',
  'inventory.format': 'The inventory or its manifest has a format that autodj does not read.',
  'inventory.missing': 'There is no inventory at the URL given.',
  'job.lost': 'The worker died at this track each time it was tried.',
  'link.broken': 'A link leads nowhere or in a circle.',
  'link.outside': 'A link leads out of the audio folder, and was not followed.',
  locked: 'Another run holds the lock that this one needs.',
  'locked.unreadable': 'The lock file of the embedded database does not tell who holds it.',

  // migrate
  'migrate.empty': 'The database holds no table of the application that could be adopted.',
  'migrate.in-use': 'Migrating down would lose what only the migrated schema has.',
  'migrate.knex-locked': 'The migration lock of Knex is taken.',
  'migrate.legacy': 'The ledger is still where an earlier version put it.',
  'migrate.mismatch': "The application's tables differ from those that autodj knows.",
  'migrate.newer': 'The database has migrations that this version of autodj does not know.',
  'migrate.two-ledgers': 'The database has two ledgers, an old one and the present one.',

  // One object
  'object.archived': 'The object is in an archive storage class and must be restored before it can be read.',
  'object.changing': 'The object was replaced again and again while it was downloaded.',
  'object.differs': 'The content of the object differs from that of the local file, so the file is kept.',
  'object.missing': 'The object is not in the bucket.',

  // Plans
  'plan.applied': 'The file holds a plan that was applied, which is needed to undo it.',
  'plan.bucket': 'The plan was made for another bucket.',
  'plan.damaged': 'The file is not a plan, or was changed after it was made.',
  'plan.expired': 'The plan is too old to be applied.',
  'plan.journal': 'The journal of the plan cannot be written, or belongs to another plan.',
  'plan.missing': 'The plan cannot be read.',
  'plan.schema': 'The plan was written by a version of autodj with another format.',
  'plan.stale': 'A setting of the bucket changed after the plan was made.',
  'plan.versioning': 'The plan relies on versioning, and the bucket does not keep versions.',
  'plan.write': 'The plan cannot be written.',
  'queue.open': 'The queue of jobs cannot be opened in the database.',
  'reconcile.order': 'Keys did not arrive in the order of their UTF-8 bytes.',
  'records.log-file': 'The log file cannot be written.',
  'region.none': 'No AWS region is set.',
  'removal.locked': 'Another command is removing local files, so this one is kept for now.',
  'restore.corrupt': 'What arrived does not have the checksum of the object.',
  'restore.no-checksum': 'Neither the ledger nor the store knows a checksum of the object.',
  'restore.unwritable': 'The folder that files are restored to cannot be written.',

  // One row of tracks
  'row.ambiguous': 'Several files fit a row whose own file is gone, so none was linked.',
  'row.changed': 'The row changed while its track was being processed, and was left alone.',
  'row.deleted': 'The row was deleted while its track was being processed.',
  'row.locked': 'Another transaction keeps the row locked.',
  'row.missing': 'There is no track with this ID.',
  'row.no-audio': 'The track has no audio from this source.',
  'row.no-file': 'The row names no local file.',
  'row.refused': 'The database refuses to write the row.',
  'row.set-back': 'Something keeps setting the row back.',
  'run.lost': 'Another run took this one for dead because its heartbeat was late.',
  'run.migrate': 'The database needs a migration, which the nightly run does not make without --yes.',
  'safety.breaker':
    'What was found looks like a mistake in the settings rather than a change of the library.',
  'safety.max-delete': 'More would be removed than --max-delete allows.',
  'serve.listen': 'The server cannot listen at this address.',
  stopped: 'A second signal ended the command at once.',

  // The store
  store: 'A request about this object failed; the message names the cause.',
  'store.aborted': 'The request was given up because the command was stopped.',
  'store.archived': 'The store does not read the object because it is in an archive storage class.',
  'store.bad-digest': 'The bytes did not arrive as they were sent.',
  'store.clock-skew': 'The clock of this machine is too far off for signatures to be valid.',
  'store.conflict': 'Another request to the same object was under way.',
  'store.credentials': 'The store does not accept the credentials.',
  'store.denied': 'The store does not allow this request with these credentials.',
  'store.exists': 'The object exists already, and was not overwritten.',
  'store.expired-token': 'The session of the credentials has expired.',
  'store.invalid': 'The store rejected the request as invalid.',
  'store.missing': 'The object does not exist.',
  'store.network': 'The store cannot be reached, or the connection to it broke.',
  'store.no-bucket': 'The bucket does not exist.',
  'store.no-credentials': 'There are no credentials for the store.',
  'store.no-upload': 'The multipart upload no longer exists.',
  'store.outage': 'The store could not be reached for longer than --max-outage.',
  'store.precondition': 'The object changed while it was being processed.',
  'store.throttled': 'The store asked to slow down.',
  'store.timeout': 'The store did not answer in time.',
  'store.unavailable': 'The store failed for the moment.',
  'store.unsupported': 'The store does not have a feature that is needed.',
  'store.wrong-region': 'The bucket is in another region.',

  // The system
  'install.incomplete': 'A package that is optional and was left out of this installation is needed.',
  'system.denied': 'The system refuses access to a file or folder.',
  'system.disk': 'A disk, or a mounted folder, reports an error.',
  'system.files': 'Too many files are open.',
  'system.full': 'No space is left on a disk.',
  'temp.full': 'The folder for temporary files is full.',
  'upload.conflict': 'Another object has the key that the file would get; it was not overwritten.',

  // How the command was called
  usage: 'The command was called incorrectly.',
  'usage.arguments': 'A command, flag or argument is unknown or missing.',
  'usage.confirm': 'The command would change something and was not confirmed.',
  'usage.flag': 'A flag has an invalid value, or cannot be combined with another flag.',
  'usage.no-folder': 'A folder that was named is not there.',
  'usage.outside-root': 'A folder that was named is not inside the audio folder.',
}

const familyMeanings: Readonly<Record<keyof typeof familyCures, string>> = {
  'fetch.http-': 'The source answered with the HTTP status that the code names (`fetch.http-404`).',
  'file.E':
    'The system refused to read, write or delete the file, with the error that the code names (`file.EBUSY`).',
  'verify.':
    'The CDN does not serve the track as it should, for the cause that the code names (`verify.oac-missing`).',
}

interface DocumentedCode {
  /** of a family: how its codes begin */
  readonly code: string
  readonly isFamily: boolean
  readonly meaning: string
  readonly cure: string
  readonly exits: readonly ExitName[]
}

/** Every code, in the order of its topics; then the families. */
export function documentedCodes(): DocumentedCode[] {
  const registered = Object.entries(usualCures).flatMap(([group, codes]) =>
    Object.entries(codes).map(([code, cure]) => ({ code, cure, exits: group.split(' ') as ExitName[] })),
  )
  const families = Object.entries(familyCures).map(([code, cure]) => ({
    code,
    cure,
    exits: ['someFailed'] as const,
  }))
  const order = Object.keys(meanings)
  return [
    ...registered
      .toSorted((a, b) => order.indexOf(a.code) - order.indexOf(b.code))
      .map(one => ({ ...one, isFamily: false, meaning: meanings[one.code as RegisteredCode] })),
    ...families.map(one => ({
      ...one,
      isFamily: true,
      meaning: familyMeanings[one.code as keyof typeof familyCures],
    })),
  ]
}
