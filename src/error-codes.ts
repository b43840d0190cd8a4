/**
 * Every error code there is, and what is usually done about it. Codes are part of the `--json` contract and of the
 * ledger: none changes its name, and none is used that does not stand here (the compiler sees to both). What each means
 * stands in scripts/error-meanings.ts, for the documentation.
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

/**
 * The usual cure of each code, a sentence; an error may bring a more exact one. By the exit codes that the code comes
 * with: `someFailed` if it is of one item, and the run continues without it.
 */
export const usualCures = {
  fatal: {
    'analysis.missing': 'Run `autodj analyze --track ID` and read what it says.',
    'application.older':
      'Update and start the application, or run `autodj migrate --application-updated` if that is done.',
    'assets.missing': 'Reinstall autodj.',
    'audio-root.unreadable':
      'Give this user permission to read it, or name the right folder with --audio-root.',
    'bucket.denied': 'Grant what `autodj policy "bucket apply"` prints, or use other credentials.',
    'bucket.missing': 'Correct S3_BUCKET_NAME.',
    'bucket.setting': 'Read what AWS says in the message.',
    'cdn.signer-rewrote': 'Report it as a bug.',
    'config.temp-folder': 'Set TMPDIR to a folder that only this user can write to.',
    'credentials.refused':
      'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in use.',
    'db.ambiguous': 'Name the right schema in DATABASE_URL (?options=-csearch_path%3DSCHEMA).',
    'db.auth': 'Check user and password in DATABASE_URL, and pg_hba.conf on the server.',
    'db.denied': 'Grant it, or use the owner of the tables in DATABASE_URL.',
    'db.host': 'Check the host in DATABASE_URL.',
    'db.missing': 'Create it (createdb NAME), or correct its name in DATABASE_URL.',
    'db.open': 'Check DATABASE_URL.',
    'db.privilege':
      'Run `autodj migrate` as its owner, which grants it to every user that may change tracks.',
    'db.read-only':
      'Point DATABASE_URL at the primary server, not at a standby; if it is, `autodj doctor` tells what makes it read-only.',
    'db.refused':
      "Look at what the database says in the message: a view, a generated column, a rule or a column's type is in the way.",
    'db.schema': 'Run `autodj migrate` first (`autodj migrate --dry-run` shows what it does).',
    'db.search-path':
      'Name the schema in DATABASE_URL (?options=-csearch_path%3DSCHEMA), or set search_path of the role.',
    'db.tls': 'Check sslmode and sslrootcert in DATABASE_URL.',
    'demo.assets-missing': 'Reinstall autodj, or give the demo a folder of your own (`autodj demo DIR`).',
    'demo.differs': 'This is a bug in autodj: report it.',
    'demo.failed': 'Run it again with --keep to look at what is there.',
    'disk.unreadable': 'Give this user permission to read it; otherwise every file in it would look lost.',
    'ignore-file.unreadable': 'Give this user permission to read it, or remove it.',
    'init.check': 'Correct the setting, or write it anyway with --force.',
    'init.write': 'Check the folder and its permissions.',
    'install.incomplete': 'Install autodj again without --omit=optional (`npm install -g autodj`).',
    'inventory.damaged': 'Use another inventory, or list the bucket (without --inventory).',
    'migrate.empty': 'Run `autodj migrate`, which creates them.',
    'migrate.in-use': 'Bring the tracks back first, as the message says.',
    'migrate.legacy': 'Run `autodj migrate` first.',
    'migrate.mismatch':
      'Compare the differences that the message lists with the migrations of the application.',
    'migrate.newer': 'Use the version of autodj that migrated it, or a newer one.',
    'migrate.two-ledgers': 'Drop the one that is not in use.',
    'plan.damaged': 'Make a new plan; do not edit plans by hand.',
    'plan.schema': 'Apply it with the version that wrote it, or make a new plan.',
    'plan.stale': 'Make a new plan with `autodj bucket plan`, or leave the setting out with --skip.',
    'queue.open': "Let the database user own the queue's schema, or grant it create on the database.",
    'reconcile.order':
      'Use a store and a database that sort by bytes; if it is an inventory, use a complete one.',
    'region.none': 'Set AWS_REGION to the region of the bucket (such as eu-central-1).',
    'restore.unwritable': 'Make the folder writable for this user, or restore with --to into another folder.',
    'serve.listen': 'Choose another --host or --port, or stop what is listening there.',
    'store.aborted': 'Run the same command again; it continues where it stopped.',
    'store.clock-skew': 'Set the clock (enable NTP), then run it again.',
    'store.credentials': 'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in use.',
    'store.no-bucket': 'Create the bucket, or correct S3_BUCKET_NAME.',
    'store.no-credentials':
      'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or attach a role.',
    'store.unsupported': 'Use a store with this feature, or do without it.',
    'store.wrong-region': 'Set AWS_REGION to the region of the bucket.',
    'system.disk':
      'Check the disk (`dmesg`, `smartctl`) or the mount before anything else, then run it again; nothing that rests on what was not written has been changed.',
    'system.denied': 'Give this user permission, or use another folder (TMPDIR for temporary files).',
  },
  temporary: {
    'audio-root.gone':
      'Mount it and run the same command again; the missing files were not held against any track.',
    'bucket.away': 'Run it again.',
    'db.busy': 'Run it again; pg_stat_activity and pg_locks show who holds it.',
    'db.conflict': 'Run it again.',
    'db.connections': 'Try again later, raise max_connections, or lower --concurrency.',
    'db.internal': 'Read the log of the database server.',
    'db.pool': 'Lower --concurrency, or run it again when the database is less busy.',
    'db.resources': 'Free some, then run it again.',
    'db.timeout': 'Run it again; if it persists, look for long transactions in pg_stat_activity.',
    'db.unreachable':
      'Check that it is running and that host and port in DATABASE_URL are right, then run it again.',
    'disk.full':
      'Free some space, or restore with --to into another folder; what has been restored stays restored.',
    'run.lost': 'Run it again; the machine was asleep, or the database away for long.',
    'store.expired-token':
      'Renew the session (`aws sso login`, or fresh temporary credentials), then run it again.',
    'store.outage': 'Run the same command again, nothing is half done; --max-outage makes it wait longer.',
    'system.files':
      'Raise the limit (`ulimit -n 1024`; LimitNOFILE= of a systemd unit), or lower --concurrency if the command takes it.',
    'system.full': 'Free some space, or use another disk (TMPDIR for temporary files), then run it again.',
    'temp.full': 'Free some space in it, or name a larger one in TMPDIR, then run it again.',
  },
  someFailed: {
    'audio.bug': 'Report it as a bug, with the file if possible.',
    'audio.crash': 'Report it as a bug, with the file if possible.',
    'audio.damaged': 'Replace the file with an intact copy.',
    'audio.timeout': 'Run it again when the machine is less busy.',
    'cdn.differs': 'Fix what `autodj verify` names, then run `autodj verify --retry-failed`.',
    'cdn.not-served': 'Run `autodj verify`, which names the cause.',
    'download.corrupt':
      'Compare it with `autodj verify --full`; upload it again if the copy in S3 is damaged.',
    'fetch.changed': 'Run it again.',
    'fetch.command-failed': 'Run the command by hand for this track and read what it prints.',
    'fetch.command-missing': 'Install it, or correct FETCH_COMMAND.',
    'fetch.command-nothing': 'Make it write to {output}; an extension may follow.',
    'fetch.command-timeout': 'Run the command by hand for this track to see what it waits for.',
    'fetch.conflict': 'Compare both with `autodj reconcile --deep`.',
    'fetch.empty': 'Look at what the source has for this track.',
    'fetch.network': 'Run it again.',
    'fetch.normalize': 'Run it without --normalize, or check that ffmpeg has the loudnorm filter.',
    'fetch.not-audio': 'Check what the source returns for this track.',
    'fetch.nowhere':
      'Pass --url or set FETCH_COMMAND, or put the file into the audio folder and run `autodj import`.',
    'fetch.private-address': 'If that is right, pass --private-previews.',
    'fetch.proxy': 'Put user and password into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT.',
    'fetch.too-large': 'Raise --max-size if the size is right.',
    'fetch.url': 'Correct it.',
    'file.changed': 'Run it again when nothing writes to the file.',
    'file.empty': 'Replace the file with an intact copy.',
    'file.exists': 'Move it away, or restore with --to into another folder.',
    'file.linked': 'Delete it by hand if nothing else needs it.',
    'file.loop': 'Remove the link.',
    'file.missing': 'Run `autodj import` to relink files that moved, or `autodj fetch` to get it again.',
    'file.name': 'Rename the file (convmv does whole folders), then run it again.',
    'file.needed': 'Upload the other track first.',
    'file.not-a-file': 'Correct the path of the row.',
    'file.refused': 'Correct the path of the row, or move the file into the audio folder.',
    'file.special': 'Remove it from the audio folder if it does not belong there.',
    'file.unreadable': 'Give this user permission to read it.',
    'folder.unreadable': 'Give this user permission to read and enter it, then run it again.',
    'job.lost': "Look at the track's file, and at the memory of the machine.",
    'link.broken': 'Remove the link, or restore what it leads to.',
    'link.outside': 'Move what it points to into the audio folder.',
    'object.archived': 'Restore it in S3 (aws s3api restore-object), then run the command again.',
    'object.changing': 'Run it again when nothing is writing to the object.',
    'object.differs': 'Run `autodj reconcile --deep`, which shows which of them is damaged.',
    'object.missing': 'Run `autodj reconcile`, which finds what became of it.',
    'removal.locked': 'Run `autodj cleanup` later, which removes it.',
    'restore.corrupt': 'Run it again; `autodj reconcile --deep` shows whether the object itself is damaged.',
    'restore.no-checksum': 'Download it by other means and compare it yourself.',
    'row.ambiguous': 'Leave one: exclude or remove the others, then run it again.',
    'row.changed': 'Run it again.',
    'row.deleted': 'Nothing needs to be done; `autodj reconcile` finds what was left behind.',
    'row.missing': 'Check the ID.',
    'row.no-audio': 'Run `autodj fetch` to get it, or use another source.',
    'row.no-file': 'Run `autodj import` to link a file, or `autodj fetch` to get one.',
    'row.refused': 'Look at the constraints and triggers of the table that the message names.',
    'row.set-back': 'Find what writes to the row, a trigger or the application, and stop it.',
    store: 'Run it again.',
    'upload.conflict': 'Compare both with `autodj reconcile --deep`.',
  },
  'fatal someFailed': {
    'audio.decoder-missing': 'Install ffmpeg, or do not ask for it: the decoders from npm are used instead.',
    'audio.empty': 'Replace the file with an intact copy.',
    'audio.format': 'Replace the file with one sampled at 8 to 192 kHz.',
    'audio.memory': 'Split the file, or leave it without an analysis.',
    'audio.stopped': 'Run the same command again.',
    'audio.undecodable': 'Replace the file with an intact copy.',
    'audio.unknown': 'Replace the file; its content is not what its name says.',
    'audio.unsupported': 'Install ffmpeg and make sure that it is on the PATH.',
    bug: 'This is a bug in autodj: run it again with --verbose and report what it prints.',
    'store.archived': 'Restore it in S3 (aws s3api restore-object), then run the command again.',
    'store.denied': 'Grant what `autodj policy` prints for the command, or use other credentials.',
    'store.exists': 'Compare both with `autodj reconcile --deep`.',
    'store.invalid': 'Read what the store says in the message.',
    'store.missing': 'Run `autodj reconcile`, which finds what became of it.',
    'store.no-upload': 'Run it again, which starts the upload afresh.',
    'store.precondition': 'Run it again, which looks at the object again.',
  },
  'temporary someFailed': {
    'audio.unreadable': 'Check the path and its permissions.',
    'row.locked':
      'Run it again when that transaction has ended; pg_stat_activity and pg_locks show which one it is.',
    'store.bad-digest': 'Run it again; it continues where it stopped.',
    'store.conflict': 'Run it again; it continues where it stopped.',
    'store.network': 'Check network, DNS, TLS and proxy, then run it again.',
    'store.throttled': 'Lower --concurrency, or run it again later.',
    'store.timeout': 'Run it again; it continues where it stopped.',
    'store.unavailable': 'Run it again; it continues where it stopped.',
  },
  'fatal temporary': {
    'db.lock-file': 'Choose a folder that this user can write to and that has space.',
  },
  usage: {
    'cdn.domain': 'Give the domain alone, such as d111111abcdef8.cloudfront.net.',
    'cdn.key': 'Run `autodj reconcile`, which lists rows with unusable keys.',
    'cdn.key-pair-id': 'Take the ID (such as K2JCJMDEHXQW5F) from CloudFront → Key management → Public keys.',
    'cdn.signing-key':
      'Set CLOUDFRONT_PRIVATE_KEY_PATH to an unencrypted PEM private key, RSA of 2048 bits or ECDSA P-256 (`openssl ecparam -name prime256v1 -genkey -noout`).',
    'config.certificates': 'Give the path of a file with certificates in PEM form, or unset it.',
    'config.env-file': 'Make it readable, or name another one.',
    'config.home': 'Write the whole path.',
    'config.invalid': 'Correct it in the settings file, in the environment or with a flag.',
    'db.folder': 'Name an empty folder or that of an embedded database in DATABASE_URL (pglite:DIR).',
    'demo.dir': 'Name a folder with audio in it.',
    'demo.empty': 'Name a folder with audio in it, or none for the bundled library.',
    'doctor.rotate':
      'Set AUTODJ_NEW_ACCESS_KEY_ID and AUTODJ_NEW_SECRET_ACCESS_KEY to a new, working access key.',
    'env.value': 'Set it in the environment instead.',
    'inventory.bucket': 'Give the manifest of an inventory of this bucket, or correct S3_BUCKET_NAME.',
    'inventory.columns': 'Add them to the inventory configuration and wait for the next inventory.',
    'inventory.format': 'Give the manifest.json of an inventory in CSV or Parquet.',
    'inventory.missing': 'Correct the URL of --inventory; the first inventory may take 48 hours to arrive.',
    'plan.applied': 'Give the new plan another name.',
    'plan.bucket': 'Set S3_BUCKET_NAME as it was when the plan was made, or make a new plan.',
    'plan.missing': 'Give the path of a plan that this user can read.',
    'plan.write': 'Name a file in a folder that this user can write to.',
    'records.log-file': 'Name a file that this user can write to with --log-file or AUTODJ_LOG_FILE.',
    'run.migrate': 'Run `autodj migrate`, or pass --yes.',
    usage: 'Run the command with --help to see what it takes.',
    'usage.arguments': 'Run the command with --help to see what it takes.',
    'usage.confirm': 'Pass --yes, or save a plan, read it and apply it.',
    'usage.flag': 'Run the command with --help to see what it takes.',
    'usage.no-folder':
      'Name the audio folder with --audio-root or AUDIO_STORAGE_PATH, or a folder in it by its path from here.',
    'usage.outside-root': 'Set AUDIO_STORAGE_PATH or --audio-root to a folder that holds it.',
  },
  'fatal usage': {
    'config.audio-root': 'Mount it, or set AUDIO_STORAGE_PATH to where the audio is.',
    'config.missing': 'Set it in a settings file, in the environment or with a flag, or run `autodj init`.',
    'plan.journal': 'Give every plan a file name of its own, in a folder that this user can write to.',
    'plan.versioning': 'Switch versioning on again, or make a new plan, which moves objects to quarantine.',
  },
  safetyLimit: {
    'plan.expired': 'Make a new plan: the library may have changed since.',
    'safety.breaker': 'Check what the message names; if it is right, pass --force.',
    'safety.max-delete': 'Read the plan; if it is right, raise --max-delete.',
  },
  locked: {
    locked: 'Wait for the other run to end, then run it again.',
    'locked.unreadable': 'Delete the lock file if no autodj is running on this folder.',
    'migrate.knex-locked': 'Run `autodj migrate unlock` if its holder is dead.',
  },
  sigint: {
    'init.stopped': 'Run it again.',
    stopped: 'Run the same command again; it continues where it stopped.',
  },
  'sigint sigterm timeBudget': {
    interrupted: 'Run the same command again; it continues where it stopped.',
  },
} as const

/** Codes of which there are as many as there are causes or system errors, by how they begin. All are of one item. */
export const familyCures = {
  'fetch.http-': 'Run it again if the status may be temporary, or use another source.',
  'file.E': 'Look at the file, its folder and their permissions, then run it again.',
  'verify.': 'Fix what `autodj verify` names for this cause, then run `autodj verify --retry-failed`.',
} as const

type Cures = typeof usualCures
/** The exit codes in the name of a group, as of `'fatal someFailed'`. */
type ExitsOf<Group> = Group extends `${infer First} ${infer Rest}` ? First | ExitsOf<Rest> : Group
type CodeOf<Group extends keyof Cures> = Group extends unknown ? keyof Cures[Group] : never

export type RegisteredCode = CodeOf<keyof Cures>

/** A code that stands above. */
export type ErrorCode =
  | RegisteredCode
  | `fetch.http-${number}`
  | `file.${Uppercase<string>}`
  | `verify.${string}`

/** The codes that may come with this exit code. */
export type CodeWith<Exit extends ExitName> = {
  [Group in keyof Cures]: Exit extends ExitsOf<Group> ? CodeOf<Group> : never
}[keyof Cures]

const cureOf: Readonly<Record<string, string>> = Object.assign({}, familyCures, ...Object.values(usualCures))

/** What is usually done about an error of this code; empty for what is none. */
export function usualCure(code: ErrorCode): string {
  const family = Object.keys(familyCures).find(start => code.startsWith(start)) ?? ''
  return cureOf[code] ?? cureOf[family] ?? ''
}
