/**
 * Every error code there is, what it means and what is usually done about it. Codes are part of the `--json` contract
 * and of the ledger: none changes its name, and none is used that does not stand here (the compiler sees to both).
 */
/** The exit codes of the program by name, as `ExitCode` in errors.ts numbers them. */
export type ExitName =
  | 'ok'
  | 'fatal'
  | 'usage'
  | 'someFailed'
  | 'drift'
  | 'temporary'
  | 'safetyLimit'
  | 'timeBudget'
  | 'locked'
  | 'sigint'
  | 'sigterm'

interface ErrorMeaning {
  /** what happened, a sentence */
  readonly meaning: string
  /** what is usually done about it, a sentence; an error may bring a more exact one */
  readonly cure: string
  /** the exit codes it comes with; `someFailed` where it is of one item, and the run continues without it */
  readonly exits: readonly ExitName[]
}

export const errorCodes = {
  'analysis.missing': {
    meaning: 'The track has no analysis that could be drawn.',
    cure: 'Run `autodj analyze --track ID` and read what it says.',
    exits: ['fatal'],
  },
  'application.older': {
    meaning: 'The application that uses the database may be too old to read tracks that are in S3.',
    cure: 'Update and start the application, or run `autodj migrate --application-updated` if that is done.',
    exits: ['fatal'],
  },
  'assets.missing': {
    meaning: 'The bundled audio is not part of this installation.',
    cure: 'Reinstall autodj.',
    exits: ['fatal'],
  },

  // The audio folder and the analysis
  'audio-root.gone': {
    meaning: 'The audio folder was unmounted during the run.',
    cure: 'Mount it and run the same command again; the missing files were not held against any track.',
    exits: ['temporary'],
  },
  'audio-root.unreadable': {
    meaning: 'The audio folder cannot be read.',
    cure: 'Give this user permission to read it, or name the right folder with --audio-root.',
    exits: ['fatal'],
  },
  'audio.bug': {
    meaning: 'The analysis failed unexpectedly.',
    cure: 'Report it as a bug, with the file if possible.',
    exits: ['someFailed'],
  },
  'audio.crash': {
    meaning: 'The analysis of this file crashed its thread.',
    cure: 'Report it as a bug, with the file if possible.',
    exits: ['someFailed'],
  },
  'audio.damaged': {
    meaning: 'Part of the audio is missing or broken.',
    cure: 'Replace the file with an intact copy.',
    exits: ['someFailed'],
  },
  'audio.decoder-missing': {
    meaning: 'The ffmpeg that was named was not found.',
    cure: 'Install ffmpeg, or do not ask for it: the decoders from npm are used instead.',
    exits: ['fatal', 'someFailed'],
  },
  'audio.empty': {
    meaning: 'The file that was to be analysed is empty.',
    cure: 'Replace the file with an intact copy.',
    exits: ['fatal', 'someFailed'],
  },
  'audio.format': {
    meaning: 'The sample rate of the audio is outside what can be analysed.',
    cure: 'Replace the file with one sampled at 8 to 192 kHz.',
    exits: ['fatal', 'someFailed'],
  },
  'audio.memory': {
    meaning: 'The analysis of this file needs more memory than it may have.',
    cure: 'Split the file, or leave it without an analysis.',
    exits: ['fatal', 'someFailed'],
  },
  'audio.stopped': {
    meaning: 'The analysis was stopped before it was done.',
    cure: 'Run the same command again.',
    exits: ['fatal', 'someFailed'],
  },
  'audio.timeout': {
    meaning: 'The analysis took longer than its time limit.',
    cure: 'Run it again when the machine is less busy.',
    exits: ['someFailed'],
  },
  'audio.undecodable': {
    meaning: 'The file is audio, but nothing in it can be decoded.',
    cure: 'Replace the file with an intact copy.',
    exits: ['fatal', 'someFailed'],
  },
  'audio.unknown': {
    meaning: 'The content of the file is not a recognised audio format.',
    cure: 'Replace the file; its content is not what its name says.',
    exits: ['fatal', 'someFailed'],
  },
  'audio.unreadable': {
    meaning: 'The file cannot be read.',
    cure: 'Check the path and its permissions.',
    exits: ['temporary', 'someFailed'],
  },
  'audio.unsupported': {
    meaning: 'The format of the audio needs ffmpeg, or a newer one.',
    cure: 'Install ffmpeg and make sure that it is on the PATH.',
    exits: ['fatal', 'someFailed'],
  },

  // The bucket's settings
  'bucket.away': {
    meaning: 'AWS did not answer a request about the settings of the bucket or the distribution.',
    cure: 'Run it again.',
    exits: ['temporary'],
  },
  'bucket.denied': {
    meaning: 'A setting of the bucket or the distribution may not be read or changed with these credentials.',
    cure: 'Grant what `autodj policy "bucket apply"` prints, or use other credentials.',
    exits: ['fatal'],
  },
  'bucket.missing': {
    meaning: 'The bucket that was to be set up does not exist.',
    cure: 'Correct S3_BUCKET_NAME.',
    exits: ['fatal'],
  },
  'bucket.setting': {
    meaning: 'AWS refused a setting of the bucket or the distribution.',
    cure: 'Read what AWS says in the message.',
    exits: ['fatal'],
  },
  bug: {
    meaning: 'An unexpected failure.',
    cure: 'This is a bug in autodj: run it again with --verbose and report what it prints.',
    exits: ['fatal', 'someFailed'],
  },

  // The CDN
  'cdn.differs': {
    meaning: '`autodj verify` found other bytes at the CDN than those of the file, which is kept.',
    cure: 'Fix what `autodj verify` names, then run `autodj verify --retry-failed`.',
    exits: ['someFailed'],
  },
  'cdn.domain': {
    meaning: 'CLOUDFRONT_DOMAIN is not the domain of a CDN.',
    cure: 'Give the domain alone, such as d111111abcdef8.cloudfront.net.',
    exits: ['usage'],
  },
  'cdn.key': {
    meaning: 'The key of a row cannot be the key of an object.',
    cure: 'Run `autodj reconcile`, which lists rows with unusable keys.',
    exits: ['usage'],
  },
  'cdn.key-pair-id': {
    meaning: 'CLOUDFRONT_KEY_PAIR_ID is not the ID of a public key of CloudFront.',
    cure: 'Take the ID (such as K2JCJMDEHXQW5F) from CloudFront → Key management → Public keys.',
    exits: ['usage'],
  },
  'cdn.not-served': {
    meaning: 'The CDN does not serve the same bytes, so the local file is kept.',
    cure: 'Run `autodj verify`, which names the cause.',
    exits: ['someFailed'],
  },
  'cdn.signer-rewrote': {
    meaning: 'Signing a URL changed more than its signature.',
    cure: 'Report it as a bug.',
    exits: ['fatal'],
  },
  'cdn.signing-key': {
    meaning: 'The private key for signed URLs cannot be read or used.',
    cure: 'Set CLOUDFRONT_PRIVATE_KEY_PATH to an unencrypted PEM private key, RSA of 2048 bits or ECDSA P-256 (`openssl ecparam -name prime256v1 -genkey -noout`).',
    exits: ['usage'],
  },

  // Settings
  'config.audio-root': {
    meaning: 'The audio folder is not there.',
    cure: 'Mount it, or set AUDIO_STORAGE_PATH to where the audio is.',
    exits: ['fatal', 'usage'],
  },
  'config.certificates': {
    meaning: 'A file of certificates cannot be read, or holds no certificate in PEM form.',
    cure: 'Give the path of a file with certificates in PEM form, or unset it.',
    exits: ['usage'],
  },
  'config.env-file': {
    meaning: 'A settings file cannot be read.',
    cure: 'Make it readable, or name another one.',
    exits: ['usage'],
  },
  'config.home': {
    meaning: 'A path begins with ~, and the home folder that it means is not known.',
    cure: 'Write the whole path.',
    exits: ['usage'],
  },
  'config.invalid': {
    meaning: 'A setting has an invalid value.',
    cure: 'Correct it in the settings file, in the environment or with a flag.',
    exits: ['usage'],
  },
  'config.missing': {
    meaning: 'A setting that the command needs is missing.',
    cure: 'Set it in a settings file, in the environment or with a flag, or run `autodj init`.',
    exits: ['fatal', 'usage'],
  },
  'config.temp-folder': {
    meaning: 'The folder for temporary files is not there, or cannot be used.',
    cure: 'Set TMPDIR to a folder that only this user can write to.',
    exits: ['fatal'],
  },
  'credentials.refused': {
    meaning: 'AWS does not accept the credentials.',
    cure: 'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in use.',
    exits: ['fatal'],
  },

  // The database
  'db.ambiguous': {
    meaning: "The application's tables are in more than one schema.",
    cure: 'Name the right schema in DATABASE_URL (?options=-csearch_path%3DSCHEMA).',
    exits: ['fatal'],
  },
  'db.auth': {
    meaning: 'The database refused the login.',
    cure: 'Check user and password in DATABASE_URL, and pg_hba.conf on the server.',
    exits: ['fatal'],
  },
  'db.busy': {
    meaning: 'Another transaction holds a lock on the same rows or table.',
    cure: 'Run it again; pg_stat_activity and pg_locks show who holds it.',
    exits: ['temporary'],
  },
  'db.conflict': {
    meaning: 'Another transaction got in the way of this one.',
    cure: 'Run it again.',
    exits: ['temporary'],
  },
  'db.connections': {
    meaning: 'The database has no free connection.',
    cure: 'Try again later, raise max_connections, or lower --concurrency.',
    exits: ['temporary'],
  },
  'db.denied': {
    meaning: 'The database user lacks a privilege.',
    cure: 'Grant it, or use the owner of the tables in DATABASE_URL.',
    exits: ['fatal'],
  },
  'db.folder': {
    meaning: 'The folder of the embedded database cannot be used.',
    cure: 'Name an empty folder or that of an embedded database in DATABASE_URL (pglite:DIR).',
    exits: ['usage'],
  },
  'db.host': {
    meaning: 'The host name of the database does not resolve.',
    cure: 'Check the host in DATABASE_URL.',
    exits: ['fatal'],
  },
  'db.internal': {
    meaning: 'The database reported an internal error.',
    cure: 'Read the log of the database server.',
    exits: ['temporary'],
  },
  'db.lock-file': {
    meaning: 'The lock file of the embedded database cannot be created.',
    cure: 'Choose a folder that this user can write to and that has space.',
    exits: ['fatal', 'temporary'],
  },
  'db.missing': {
    meaning: 'The database does not exist.',
    cure: 'Create it (createdb NAME), or correct its name in DATABASE_URL.',
    exits: ['fatal'],
  },
  'db.open': {
    meaning: 'The database cannot be opened.',
    cure: 'Check DATABASE_URL.',
    exits: ['fatal'],
  },
  'db.pool': {
    meaning: 'No database connection became free in time.',
    cure: 'Lower --concurrency, or run it again when the database is less busy.',
    exits: ['temporary'],
  },
  'db.privilege': {
    meaning: "The database user may not use autodj's schema.",
    cure: 'Run `autodj migrate` as its owner, which grants it to every user that may change tracks.',
    exits: ['fatal'],
  },
  'db.read-only': {
    meaning: 'The database accepts no writes.',
    cure: 'Point DATABASE_URL at the primary server, not at a standby.',
    exits: ['fatal'],
  },
  'db.resources': {
    meaning: 'The database server is out of disk space or memory.',
    cure: 'Free some, then run it again.',
    exits: ['temporary'],
  },
  'db.schema': {
    meaning: 'A table, column, type or schema is missing in the database.',
    cure: 'Run `autodj migrate` first (`autodj migrate --dry-run` shows what it does).',
    exits: ['fatal'],
  },
  'db.search-path': {
    meaning: "The application's tables are in a schema that this session does not see.",
    cure: 'Name the schema in DATABASE_URL (?options=-csearch_path%3DSCHEMA), or set search_path of the role.',
    exits: ['fatal'],
  },
  'db.timeout': {
    meaning: 'A statement took too long and was cancelled.',
    cure: 'Run it again; if it persists, look for long transactions in pg_stat_activity.',
    exits: ['temporary'],
  },
  'db.tls': {
    meaning: 'There is no TLS connection to the database that both sides accept.',
    cure: 'Check sslmode and sslrootcert in DATABASE_URL.',
    exits: ['fatal'],
  },
  'db.unreachable': {
    meaning: 'The database cannot be reached, or the connection to it was lost.',
    cure: 'Check that it is running and that host and port in DATABASE_URL are right, then run it again.',
    exits: ['temporary'],
  },

  // The demo
  'demo.assets-missing': {
    meaning: 'The audio of the demo is not part of this installation.',
    cure: 'Reinstall autodj, or give the demo a folder of your own (`autodj demo DIR`).',
    exits: ['fatal'],
  },
  'demo.differs': {
    meaning: 'A track of the demo is not served as it was uploaded.',
    cure: 'This is a bug in autodj: report it.',
    exits: ['fatal'],
  },
  'demo.dir': {
    meaning: 'What was given to the demo is not a folder.',
    cure: 'Name a folder with audio in it.',
    exits: ['usage'],
  },
  'demo.empty': {
    meaning: 'The folder given to the demo holds no audio file.',
    cure: 'Name a folder with audio in it, or none for the bundled library.',
    exits: ['usage'],
  },
  'demo.failed': {
    meaning: 'A command of the demo failed; the demo ends with its exit code.',
    cure: 'Run it again with --keep to look at what is there.',
    exits: ['fatal'],
  },

  // Disk
  'disk.full': {
    meaning: 'The disk is full, or its quota used up.',
    cure: 'Free some space, or restore with --to into another folder; what has been restored stays restored.',
    exits: ['temporary'],
  },
  'disk.unreadable': {
    meaning: 'Part of the audio folder cannot be read, so nothing can be said of the files in it.',
    cure: 'Give this user permission to read it; otherwise every file in it would look lost.',
    exits: ['fatal'],
  },
  'doctor.rotate': {
    meaning: 'The access key cannot be replaced.',
    cure: 'Set AUTODJ_NEW_ACCESS_KEY_ID and AUTODJ_NEW_SECRET_ACCESS_KEY to a new, working access key.',
    exits: ['usage'],
  },
  'download.corrupt': {
    meaning: 'The object does not arrive as it was uploaded.',
    cure: 'Compare it with `autodj verify --full`; upload it again if the copy in S3 is damaged.',
    exits: ['someFailed'],
  },
  'env.value': {
    meaning: 'A value cannot be written to a settings file.',
    cure: 'Set it in the environment instead.',
    exits: ['usage'],
  },

  // Sources of audio
  'fetch.changed': {
    meaning: 'The source replaced the file during the download, or cannot resume it.',
    cure: 'Run it again.',
    exits: ['someFailed'],
  },
  'fetch.command-failed': {
    meaning: 'FETCH_COMMAND ended with an error.',
    cure: 'Run the command by hand for this track and read what it prints.',
    exits: ['someFailed'],
  },
  'fetch.command-missing': {
    meaning: 'FETCH_COMMAND cannot be run.',
    cure: 'Install it, or correct FETCH_COMMAND.',
    exits: ['someFailed'],
  },
  'fetch.command-nothing': {
    meaning: 'FETCH_COMMAND wrote no file.',
    cure: 'Make it write to {output}; an extension may follow.',
    exits: ['someFailed'],
  },
  'fetch.command-timeout': {
    meaning: 'FETCH_COMMAND took longer than its time limit.',
    cure: 'Run the command by hand for this track to see what it waits for.',
    exits: ['someFailed'],
  },
  'fetch.conflict': {
    meaning: 'Another object has the key that the fetched file would get; it was not overwritten.',
    cure: 'Compare both with `autodj reconcile --deep`.',
    exits: ['someFailed'],
  },
  'fetch.empty': {
    meaning: 'The source answered with an empty file.',
    cure: 'Look at what the source has for this track.',
    exits: ['someFailed'],
  },
  'fetch.network': {
    meaning: 'The download from the source failed.',
    cure: 'Run it again.',
    exits: ['someFailed'],
  },
  'fetch.normalize': {
    meaning: 'ffmpeg did not normalise the loudness of the file.',
    cure: 'Run it without --normalize, or check that ffmpeg has the loudnorm filter.',
    exits: ['someFailed'],
  },
  'fetch.not-audio': {
    meaning: 'What the source sent is not audio.',
    cure: 'Check what the source returns for this track.',
    exits: ['someFailed'],
  },
  'fetch.nowhere': {
    meaning: 'No source has the track.',
    cure: 'Pass --url or set FETCH_COMMAND, or put the file into the audio folder and run `autodj import`.',
    exits: ['someFailed'],
  },
  'fetch.private-address': {
    meaning: 'The URL of the source leads to a private network address.',
    cure: 'If that is right, pass --private-previews.',
    exits: ['someFailed'],
  },
  'fetch.proxy': {
    meaning: 'The proxy for downloads requires a login.',
    cure: 'Put user and password into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT.',
    exits: ['someFailed'],
  },
  'fetch.too-large': {
    meaning: 'The source has more bytes than --max-size allows.',
    cure: 'Raise --max-size if the size is right.',
    exits: ['someFailed'],
  },
  'fetch.url': {
    meaning: 'The URL of the source is not an http or https URL.',
    cure: 'Correct it.',
    exits: ['someFailed'],
  },

  // One local file
  'file.changed': {
    meaning: 'The file changed while it was read, or is no longer the file that was verified.',
    cure: 'Run it again when nothing writes to the file.',
    exits: ['someFailed'],
  },
  'file.empty': {
    meaning: 'The file is empty.',
    cure: 'Replace the file with an intact copy.',
    exits: ['someFailed'],
  },
  'file.exists': {
    meaning: 'Another file, or something that is not a folder, is in the place of the file.',
    cure: 'Move it away, or restore with --to into another folder.',
    exits: ['someFailed'],
  },
  'file.linked': {
    meaning: 'The row reaches the file through a link, so it is kept: others may need it by its other name.',
    cure: 'Delete it by hand if nothing else needs it.',
    exits: ['someFailed'],
  },
  'file.loop': {
    meaning: 'The path is a link that points back to itself.',
    cure: 'Remove the link.',
    exits: ['someFailed'],
  },
  'file.missing': {
    meaning: 'The file does not exist.',
    cure: 'Run `autodj import` to relink files that moved, or `autodj fetch` to get it again.',
    exits: ['someFailed'],
  },
  'file.name': {
    meaning: 'The name of the file is not UTF-8, so the database cannot hold it.',
    cure: 'Rename the file (convmv does whole folders), then run it again.',
    exits: ['someFailed'],
  },
  'file.needed': {
    meaning: 'Another track that is not in S3 yet has the same file, so it is kept.',
    cure: 'Upload the other track first.',
    exits: ['someFailed'],
  },
  'file.not-a-file': {
    meaning: 'The path is not that of a file.',
    cure: 'Correct the path of the row.',
    exits: ['someFailed'],
  },
  'file.refused': {
    meaning: 'The path leads out of the audio folder, or cannot be a path.',
    cure: 'Correct the path of the row, or move the file into the audio folder.',
    exits: ['someFailed'],
  },
  'file.special': {
    meaning: 'The path leads to a pipe, a socket or a device, which was not opened.',
    cure: 'Remove it from the audio folder if it does not belong there.',
    exits: ['someFailed'],
  },
  'file.unreadable': {
    meaning: 'The file may not be read by this user.',
    cure: 'Give this user permission to read it.',
    exits: ['someFailed'],
  },
  'folder.unreadable': {
    meaning: 'A folder below the audio folder may not be read by this user.',
    cure: 'Give this user permission to read and enter it, then run it again.',
    exits: ['someFailed'],
  },
  'ignore-file.unreadable': {
    meaning: 'The file of ignore patterns in the audio folder cannot be read.',
    cure: 'Give this user permission to read it, or remove it.',
    exits: ['fatal'],
  },

  // init
  'init.check': {
    meaning: 'A setting did not pass its check, so nothing was written.',
    cure: 'Correct the setting, or write it anyway with --force.',
    exits: ['fatal'],
  },
  'init.stopped': {
    meaning: 'The questions of `autodj init` were stopped; nothing was written.',
    cure: 'Run it again.',
    exits: ['sigint'],
  },
  'init.write': {
    meaning: 'The settings file cannot be written.',
    cure: 'Check the folder and its permissions.',
    exits: ['fatal'],
  },
  interrupted: {
    meaning: 'The track was not finished because the command was stopped.',
    cure: 'Run the same command again; it continues where it stopped.',
    exits: ['sigint', 'sigterm', 'timeBudget'],
  },

  // S3 Inventory
  'inventory.bucket': {
    meaning: 'The inventory is of another bucket.',
    cure: 'Give the manifest of an inventory of this bucket, or correct S3_BUCKET_NAME.',
    exits: ['usage'],
  },
  'inventory.columns': {
    meaning: 'The inventory lacks fields that are needed.',
    cure: 'Add them to the inventory configuration and wait for the next inventory.',
    exits: ['usage'],
  },
  'inventory.damaged': {
    meaning: 'A file of the inventory is not what its manifest says.',
    cure: 'Use another inventory, or list the bucket (without --inventory).',
    exits: ['fatal'],
  },
  'inventory.format': {
    meaning: 'The inventory or its manifest has a format that autodj does not read.',
    cure: 'Give the manifest.json of an inventory in CSV or Parquet.',
    exits: ['usage'],
  },
  'inventory.missing': {
    meaning: 'There is no inventory at the URL given.',
    cure: 'Correct the URL of --inventory; the first inventory may take 48 hours to arrive.',
    exits: ['usage'],
  },
  'job.lost': {
    meaning: 'The worker died at this track each time it was tried.',
    cure: "Look at the track's file, and at the memory of the machine.",
    exits: ['someFailed'],
  },
  'link.broken': {
    meaning: 'A link leads nowhere or in a circle.',
    cure: 'Remove the link, or restore what it leads to.',
    exits: ['someFailed'],
  },
  'link.outside': {
    meaning: 'A link leads out of the audio folder, and was not followed.',
    cure: 'Move what it points to into the audio folder.',
    exits: ['someFailed'],
  },
  locked: {
    meaning: 'Another run holds the lock that this one needs.',
    cure: 'Wait for the other run to end, then run it again.',
    exits: ['locked'],
  },
  'locked.unreadable': {
    meaning: 'The lock file of the embedded database does not tell who holds it.',
    cure: 'Delete the lock file if no autodj is running on this folder.',
    exits: ['locked'],
  },

  // migrate
  'migrate.empty': {
    meaning: 'The database holds no table of the application that could be adopted.',
    cure: 'Run `autodj migrate`, which creates them.',
    exits: ['fatal'],
  },
  'migrate.in-use': {
    meaning: 'Migrating down would lose what only the migrated schema has.',
    cure: 'Bring the tracks back first, as the message says.',
    exits: ['fatal'],
  },
  'migrate.knex-locked': {
    meaning: 'The migration lock of Knex is taken.',
    cure: 'Run `autodj migrate unlock` if its holder is dead.',
    exits: ['locked'],
  },
  'migrate.legacy': {
    meaning: 'The ledger is still where an earlier version put it.',
    cure: 'Run `autodj migrate` first.',
    exits: ['fatal'],
  },
  'migrate.mismatch': {
    meaning: "The application's tables differ from those that autodj knows.",
    cure: 'Compare the differences that the message lists with the migrations of the application.',
    exits: ['fatal'],
  },
  'migrate.newer': {
    meaning: 'The database has migrations that this version of autodj does not know.',
    cure: 'Use the version of autodj that migrated it, or a newer one.',
    exits: ['fatal'],
  },
  'migrate.two-ledgers': {
    meaning: 'The database has two ledgers, an old one and the present one.',
    cure: 'Drop the one that is not in use.',
    exits: ['fatal'],
  },

  // One object
  'object.archived': {
    meaning: 'The object is in an archive storage class and must be restored before it can be read.',
    cure: 'Restore it in S3 (aws s3api restore-object), then run the command again.',
    exits: ['someFailed'],
  },
  'object.changing': {
    meaning: 'The object was replaced again and again while it was downloaded.',
    cure: 'Run it again when nothing is writing to the object.',
    exits: ['someFailed'],
  },
  'object.differs': {
    meaning: 'The content of the object differs from that of the local file, so the file is kept.',
    cure: 'Run `autodj reconcile --deep`, which shows which of them is damaged.',
    exits: ['someFailed'],
  },
  'object.missing': {
    meaning: 'The object is not in the bucket.',
    cure: 'Run `autodj reconcile`, which finds what became of it.',
    exits: ['someFailed'],
  },

  // Plans
  'plan.applied': {
    meaning: 'The file holds a plan that was applied, which is needed to undo it.',
    cure: 'Give the new plan another name.',
    exits: ['usage'],
  },
  'plan.bucket': {
    meaning: 'The plan was made for another bucket.',
    cure: 'Set S3_BUCKET_NAME as it was when the plan was made, or make a new plan.',
    exits: ['usage'],
  },
  'plan.damaged': {
    meaning: 'The file is not a plan, or was changed after it was made.',
    cure: 'Make a new plan; do not edit plans by hand.',
    exits: ['fatal'],
  },
  'plan.expired': {
    meaning: 'The plan is too old to be applied.',
    cure: 'Make a new plan: the library may have changed since.',
    exits: ['safetyLimit'],
  },
  'plan.journal': {
    meaning: 'The journal of the plan cannot be written, or belongs to another plan.',
    cure: 'Give every plan a file name of its own, in a folder that this user can write to.',
    exits: ['fatal', 'usage'],
  },
  'plan.missing': {
    meaning: 'The plan cannot be read.',
    cure: 'Give the path of a plan that this user can read.',
    exits: ['usage'],
  },
  'plan.schema': {
    meaning: 'The plan was written by a version of autodj with another format.',
    cure: 'Apply it with the version that wrote it, or make a new plan.',
    exits: ['fatal'],
  },
  'plan.stale': {
    meaning: 'A setting of the bucket changed after the plan was made.',
    cure: 'Make a new plan with `autodj bucket plan`, or leave the setting out with --skip.',
    exits: ['fatal'],
  },
  'plan.versioning': {
    meaning: 'The plan relies on versioning, and the bucket does not keep versions.',
    cure: 'Switch versioning on again, or make a new plan, which moves objects to quarantine.',
    exits: ['fatal', 'usage'],
  },
  'plan.write': {
    meaning: 'The plan cannot be written.',
    cure: 'Name a file in a folder that this user can write to.',
    exits: ['usage'],
  },

  'queue.open': {
    meaning: 'The queue of jobs cannot be opened in the database.',
    cure: "Let the database user own the queue's schema, or grant it create on the database.",
    exits: ['fatal'],
  },
  'reconcile.order': {
    meaning: 'Keys did not arrive in the order of their UTF-8 bytes.',
    cure: 'Use a store and a database that sort by bytes; if it is an inventory, use a complete one.',
    exits: ['fatal'],
  },
  'records.log-file': {
    meaning: 'The log file cannot be written.',
    cure: 'Name a file that this user can write to with --log-file or AUTODJ_LOG_FILE.',
    exits: ['usage'],
  },
  'region.none': {
    meaning: 'No AWS region is set.',
    cure: 'Set AWS_REGION to the region of the bucket (such as eu-central-1).',
    exits: ['fatal'],
  },
  'removal.locked': {
    meaning: 'Another command is removing local files, so this one is kept for now.',
    cure: 'Run `autodj cleanup` later, which removes it.',
    exits: ['someFailed'],
  },
  'restore.corrupt': {
    meaning: 'What arrived does not have the checksum of the object.',
    cure: 'Run it again; `autodj reconcile --deep` shows whether the object itself is damaged.',
    exits: ['someFailed'],
  },
  'restore.no-checksum': {
    meaning: 'Neither the ledger nor the store knows a checksum of the object.',
    cure: 'Download it by other means and compare it yourself.',
    exits: ['someFailed'],
  },
  'restore.unwritable': {
    meaning: 'The folder that files are restored to cannot be written.',
    cure: 'Make the folder writable for this user, or restore with --to into another folder.',
    exits: ['fatal'],
  },

  // One row of tracks
  'row.ambiguous': {
    meaning: 'Several files fit a row whose own file is gone, so none was linked.',
    cure: 'Leave one: exclude or remove the others, then run it again.',
    exits: ['someFailed'],
  },
  'row.changed': {
    meaning: 'The row changed while its track was being processed, and was left alone.',
    cure: 'Run it again.',
    exits: ['someFailed'],
  },
  'row.deleted': {
    meaning: 'The row was deleted while its track was being processed.',
    cure: 'Nothing needs to be done; `autodj reconcile` finds what was left behind.',
    exits: ['someFailed'],
  },
  'row.locked': {
    meaning: 'Another transaction keeps the row locked.',
    cure: 'Run it again when that transaction has ended; pg_stat_activity and pg_locks show which one it is.',
    exits: ['temporary', 'someFailed'],
  },
  'row.missing': {
    meaning: 'There is no track with this ID.',
    cure: 'Check the ID.',
    exits: ['someFailed'],
  },
  'row.no-audio': {
    meaning: 'The track has no audio from this source.',
    cure: 'Run `autodj fetch` to get it, or use another source.',
    exits: ['someFailed'],
  },
  'row.no-file': {
    meaning: 'The row names no local file.',
    cure: 'Run `autodj import` to link a file, or `autodj fetch` to get one.',
    exits: ['someFailed'],
  },
  'row.refused': {
    meaning: 'The database refuses to write the row.',
    cure: 'Look at the constraints and triggers of the table that the message names.',
    exits: ['someFailed'],
  },
  'row.set-back': {
    meaning: 'Something keeps setting the row back.',
    cure: 'Find what writes to the row, a trigger or the application, and stop it.',
    exits: ['someFailed'],
  },
  'run.lost': {
    meaning: 'Another run took this one for dead because its heartbeat was late.',
    cure: 'Run it again; the machine was asleep, or the database away for long.',
    exits: ['temporary'],
  },
  'run.migrate': {
    meaning: 'The database needs a migration, which the nightly run does not make without --yes.',
    cure: 'Run `autodj migrate`, or pass --yes.',
    exits: ['usage'],
  },
  'safety.breaker': {
    meaning: 'What was found looks like a mistake in the settings rather than a change of the library.',
    cure: 'Check what the message names; if it is right, pass --force.',
    exits: ['safetyLimit'],
  },
  'safety.max-delete': {
    meaning: 'More would be removed than --max-delete allows.',
    cure: 'Read the plan; if it is right, raise --max-delete.',
    exits: ['safetyLimit'],
  },
  'serve.listen': {
    meaning: 'The server cannot listen at this address.',
    cure: 'Choose another --host or --port, or stop what is listening there.',
    exits: ['fatal'],
  },
  stopped: {
    meaning: 'A second signal ended the command at once.',
    cure: 'Run the same command again; it continues where it stopped.',
    exits: ['sigint'],
  },

  // The store
  store: {
    meaning: 'A request about this object failed; the message names the cause.',
    cure: 'Run it again.',
    exits: ['someFailed'],
  },
  'store.aborted': {
    meaning: 'The request was given up because the command was stopped.',
    cure: 'Run the same command again; it continues where it stopped.',
    exits: ['fatal'],
  },
  'store.archived': {
    meaning: 'The store does not read the object because it is in an archive storage class.',
    cure: 'Restore it in S3 (aws s3api restore-object), then run the command again.',
    exits: ['fatal', 'someFailed'],
  },
  'store.bad-digest': {
    meaning: 'The bytes did not arrive as they were sent.',
    cure: 'Run it again; it continues where it stopped.',
    exits: ['temporary', 'someFailed'],
  },
  'store.clock-skew': {
    meaning: 'The clock of this machine is too far off for signatures to be valid.',
    cure: 'Set the clock (enable NTP), then run it again.',
    exits: ['fatal'],
  },
  'store.conflict': {
    meaning: 'Another request to the same object was under way.',
    cure: 'Run it again; it continues where it stopped.',
    exits: ['temporary', 'someFailed'],
  },
  'store.credentials': {
    meaning: 'The store does not accept the credentials.',
    cure: 'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in use.',
    exits: ['fatal'],
  },
  'store.denied': {
    meaning: 'The store does not allow this request with these credentials.',
    cure: 'Grant what `autodj policy` prints for the command, or use other credentials.',
    exits: ['fatal', 'someFailed'],
  },
  'store.exists': {
    meaning: 'The object exists already, and was not overwritten.',
    cure: 'Compare both with `autodj reconcile --deep`.',
    exits: ['fatal', 'someFailed'],
  },
  'store.expired-token': {
    meaning: 'The session of the credentials has expired.',
    cure: 'Renew the session (`aws sso login`, or fresh temporary credentials), then run it again.',
    exits: ['temporary'],
  },
  'store.invalid': {
    meaning: 'The store rejected the request as invalid.',
    cure: 'Read what the store says in the message.',
    exits: ['fatal', 'someFailed'],
  },
  'store.missing': {
    meaning: 'The object does not exist.',
    cure: 'Run `autodj reconcile`, which finds what became of it.',
    exits: ['fatal', 'someFailed'],
  },
  'store.network': {
    meaning: 'The store cannot be reached, or the connection to it broke.',
    cure: 'Check network, DNS, TLS and proxy, then run it again.',
    exits: ['temporary', 'someFailed'],
  },
  'store.no-bucket': {
    meaning: 'The bucket does not exist.',
    cure: 'Create the bucket, or correct S3_BUCKET_NAME.',
    exits: ['fatal'],
  },
  'store.no-credentials': {
    meaning: 'There are no credentials for the store.',
    cure: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or attach a role.',
    exits: ['fatal'],
  },
  'store.no-upload': {
    meaning: 'The multipart upload no longer exists.',
    cure: 'Run it again, which starts the upload afresh.',
    exits: ['fatal', 'someFailed'],
  },
  'store.outage': {
    meaning: 'The store could not be reached for longer than --max-outage.',
    cure: 'Run the same command again, nothing is half done; --max-outage makes it wait longer.',
    exits: ['temporary'],
  },
  'store.precondition': {
    meaning: 'The object changed while it was being processed.',
    cure: 'Run it again, which looks at the object again.',
    exits: ['fatal', 'someFailed'],
  },
  'store.throttled': {
    meaning: 'The store asked to slow down.',
    cure: 'Lower --concurrency, or run it again later.',
    exits: ['temporary', 'someFailed'],
  },
  'store.timeout': {
    meaning: 'The store did not answer in time.',
    cure: 'Run it again; it continues where it stopped.',
    exits: ['temporary', 'someFailed'],
  },
  'store.unavailable': {
    meaning: 'The store failed for the moment.',
    cure: 'Run it again; it continues where it stopped.',
    exits: ['temporary', 'someFailed'],
  },
  'store.unsupported': {
    meaning: 'The store does not have a feature that is needed.',
    cure: 'Use a store with this feature, or do without it.',
    exits: ['fatal'],
  },
  'store.wrong-region': {
    meaning: 'The bucket is in another region.',
    cure: 'Set AWS_REGION to the region of the bucket.',
    exits: ['fatal'],
  },

  // The system
  'install.incomplete': {
    meaning: 'A package that is optional and was left out of this installation is needed.',
    cure: 'Install autodj again without --omit=optional (`npm install -g autodj`).',
    exits: ['fatal'],
  },
  'system.denied': {
    meaning: 'The system refuses access to a file or folder.',
    cure: 'Give this user permission, or use another folder (TMPDIR for temporary files).',
    exits: ['fatal'],
  },
  'system.files': {
    meaning: 'Too many files are open.',
    cure: 'Raise the limit (`ulimit -n`), or lower --concurrency.',
    exits: ['temporary'],
  },
  'system.full': {
    meaning: 'No space is left on a disk.',
    cure: 'Free some space, or use another disk (TMPDIR for temporary files), then run it again.',
    exits: ['temporary'],
  },
  'temp.full': {
    meaning: 'The folder for temporary files is full.',
    cure: 'Free some space in it, or name a larger one in TMPDIR, then run it again.',
    exits: ['temporary'],
  },
  'upload.conflict': {
    meaning: 'Another object has the key that the file would get; it was not overwritten.',
    cure: 'Compare both with `autodj reconcile --deep`.',
    exits: ['someFailed'],
  },

  // How the command was called
  usage: {
    meaning: 'The command was called incorrectly.',
    cure: 'Run the command with --help to see what it takes.',
    exits: ['usage'],
  },
  'usage.arguments': {
    meaning: 'A command, flag or argument is unknown or missing.',
    cure: 'Run the command with --help to see what it takes.',
    exits: ['usage'],
  },
  'usage.confirm': {
    meaning: 'The command would change something and was not confirmed.',
    cure: 'Pass --yes, or save a plan, read it and apply it.',
    exits: ['usage'],
  },
  'usage.flag': {
    meaning: 'A flag has an invalid value, or cannot be combined with another flag.',
    cure: 'Run the command with --help to see what it takes.',
    exits: ['usage'],
  },
  'usage.no-folder': {
    meaning: 'A folder that was named is not there.',
    cure: 'Name the audio folder with --audio-root or AUDIO_STORAGE_PATH, or a folder in it by its path from here.',
    exits: ['usage'],
  },
  'usage.outside-root': {
    meaning: 'A folder that was named is not inside the audio folder.',
    cure: 'Set AUDIO_STORAGE_PATH or --audio-root to a folder that holds it.',
    exits: ['usage'],
  },
} as const satisfies Readonly<Record<string, ErrorMeaning>>

/** Codes of which there are as many as there are causes or system errors, by how they begin. */
export const errorCodeFamilies = {
  'fetch.http-': {
    meaning: 'The source answered with the HTTP status that the code names (`fetch.http-404`).',
    cure: 'Run it again if the status may be temporary, or use another source.',
    exits: ['someFailed'],
  },
  'file.E': {
    meaning:
      'The system refused to read, write or delete the file, with the error that the code names (`file.EBUSY`).',
    cure: 'Look at the file, its folder and their permissions, then run it again.',
    exits: ['someFailed'],
  },
  'verify.': {
    meaning:
      'The CDN does not serve the track as it should, for the cause that the code names (`verify.oac-missing`).',
    cure: 'Fix what `autodj verify` names for this cause, then run `autodj verify --retry-failed`.',
    exits: ['someFailed'],
  },
} as const satisfies Readonly<Record<string, ErrorMeaning>>

type Registered = keyof typeof errorCodes

/** A code that stands above. */
export type ErrorCode = Registered | `fetch.http-${number}` | `file.${Uppercase<string>}` | `verify.${string}`

/** The codes that may come with this exit code. */
export type CodeWith<Exit extends ExitName> = {
  [Code in Registered]: Exit extends (typeof errorCodes)[Code]['exits'][number] ? Code : never
}[Registered]

const cures: Readonly<Record<string, ErrorMeaning>> = { ...errorCodes, ...errorCodeFamilies }

/** What is usually done about an error of this code; empty for what is none. */
export function usualCure(code: ErrorCode): string {
  const family = Object.keys(errorCodeFamilies).find(start => code.startsWith(start)) ?? ''
  return (cures[code] ?? cures[family])?.cure ?? ''
}
