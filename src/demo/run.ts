/** `autodj demo`: the journey of a library, with the real commands, on parts that run inside this process. */

import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { openRoot, openSource } from '../audio-files/source.ts'
import type { Context } from '../context.ts'
import { plainFolder } from '../core/audio-path.ts'
import { formatBytes, formatDuration, plural } from '../core/units.ts'
import { openDatabase } from '../db/open.ts'
import { trackPages } from '../db/tracks.ts'
import { startCdn } from '../embedded/cdn.ts'
import { startS3Server } from '../embedded/s3-server/server.ts'
import { AppError, ExitCode, FatalError, UsageError } from '../errors.ts'
import { createS3Store } from '../storage/s3.ts'
import type { ObjectStore } from '../storage/store.ts'
import { copyDemoLibrary } from './library.ts'

const bucket = 'autodj-demo'
const region = 'us-east-1'

interface Stage {
  readonly argv: readonly string[]
  /** why, in words for someone who sees it for the first time */
  readonly why: string
}

const stages: readonly Stage[] = [
  { argv: ['migrate'], why: "the application's tables, and autodj's ledger beside them" },
  { argv: ['import'], why: 'a row for every audio file, recognised by its bytes, not by its name' },
  { argv: ['upload-local', '--dry-run'], why: 'what would be uploaded, before anything is' },
  {
    argv: ['upload-local'],
    why: 'every file to S3; a row changes only once the server has confirmed the checksum',
  },
  { argv: ['verify', '--full'], why: 'every track fetched through the CDN and compared to the last byte' },
  { argv: ['upload-local'], why: 'run again: nothing to do, so it is safe in cron' },
]

/**
 * Runs the whole journey and compares every object with its file at the end.
 * @returns 0; 3 where some files failed; else the exit code of the first command that did not succeed
 */
export async function runDemo(
  context: Context,
  { dir, keep }: { dir: string | undefined; keep: boolean },
): Promise<ExitCode> {
  const { report } = context
  const startedAt = performance.now()
  const home = await mkdtemp(path.join(tmpdir(), 'autodj-demo-'))
  context.onRelease(() => (keep ? undefined : rm(home, { recursive: true, force: true })))
  const audioRoot = await openLibrary(context, dir, home)

  const credentials = { accessKeyId: 'AUTODJDEMO', secretAccessKey: randomBytes(20).toString('hex') }
  const server = await startS3Server({
    dir: path.join(home, 's3'),
    region,
    credentials: [credentials],
    buckets: [bucket],
  })
  context.onRelease(() => server.close())
  const cdn = await startCdn({ origin: { url: server.url, region, bucket, credentials } })
  context.onRelease(() => cdn.close())

  const env: Record<string, string> = {
    DATABASE_URL: `pglite:${path.join(home, 'db')}`,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_REGION: region,
    S3_BUCKET_NAME: bucket,
    S3_ENDPOINT: server.url,
    CLOUDFRONT_DOMAIN: cdn.url,
    AUDIO_STORAGE_PATH: audioRoot,
    // This file, and none of the user's or the machine's.
    AUTODJ_SETTINGS: path.join(home, '.env'),
  }
  const lines = Object.entries(env).map(([name, value]) => `${name}=${value}\n`)
  await writeFile(path.join(home, '.env'), lines.join(''), { mode: 0o600 })

  let outcome: ExitCode = ExitCode.ok
  for (const [index, { argv, why }] of stages.entries()) {
    if (context.stopping.aborted) return context.stopExitCode() ?? ExitCode.sigint
    report.note(
      `\n${report.style.bold(`${index + 1}. autodj ${argv.join(' ')}`)}  ${report.style.dim(why)}`,
      {
        step: index + 1,
        command: argv.join(' '),
      },
    )
    const exitCode = await context.runCommand(report.json ? [...argv, '--json'] : argv, env, home)
    // A folder of one's own may hold a file that fails: the journey of the others continues.
    if (exitCode === ExitCode.someFailed) outcome = exitCode
    else if (exitCode !== ExitCode.ok) {
      report.error(
        new AppError(exitCode, `autodj ${argv.join(' ')} ended with exit code ${exitCode}`, {
          code: 'demo.failed',
          cure: keep ? `Look into ${home}.` : 'Run it again with --keep to look at what is there.',
        }),
      )
      return exitCode
    }
  }

  const store = createS3Store({ bucket, region, endpoint: server.url, credentials })
  context.onRelease(() => store.close())
  const proof = await compareAll(context, env['DATABASE_URL'] as string, store, audioRoot, outcome)
  if (proof.tracks === 0) {
    throw new UsageError(`there is no audio file in ${audioRoot} to move`, { code: 'demo.empty' })
  }
  const seconds = (performance.now() - startedAt) / 1_000
  report.note('')
  report.summary({
    lines: [
      `${plural(proof.tracks, 'track')} (${formatBytes(proof.bytes)}) went from ${dir === undefined ? 'a folder' : audioRoot} into S3 and came back through the CDN, ` +
        `every object byte for byte the same as its file, in ${formatDuration(seconds * 1_000)}.`,
      ...(outcome === ExitCode.ok
        ? []
        : ['Some files failed, as named above; they were left where they are.']),
      keep
        ? `Database, objects and .env are in ${home}; the S3 server and the CDN ended with the demo.`
        : 'Database, bucket and CDN were embedded and are gone again.',
      'Your own library takes the same commands: `autodj init` asks for database, bucket and CDN and checks each;',
      '`autodj migrate` adopts the database, `autodj upload-local --dry-run` says what would happen, `autodj upload-local` does it.',
    ],
    next: '`autodj init`',
    fields: {
      tracks: proof.tracks,
      bytes: proof.bytes,
      identical: proof.tracks,
      seconds: Math.round(seconds * 10) / 10,
      ...(keep ? { kept: home } : {}),
    },
  })
  return outcome
}

async function openLibrary(context: Context, dir: string | undefined, home: string): Promise<string> {
  if (dir === undefined) {
    const audioRoot = path.join(home, 'audio')
    const { files, bytes } = await copyDemoLibrary(audioRoot, { signal: context.signal })
    context.report.note(
      `A library of ${plural(files, 'file')} (${formatBytes(bytes)}), with names as real libraries have them, in ${audioRoot}`,
    )
    return audioRoot
  }
  const audioRoot = path.resolve(context.cwd, dir)
  const found = await stat(audioRoot).catch(() => undefined)
  if (!found?.isDirectory()) {
    throw new UsageError(`${dir} is not a folder`, { code: 'demo.dir' })
  }
  context.report.note(`Your files in ${audioRoot} are only read.`)
  return audioRoot
}

/**
 * Every object against its file, byte for byte by SHA-256.
 *
 * @param outcome of the commands before: where some files failed, their tracks may still be without an object
 * @throws FatalError naming the first that differs
 */
async function compareAll(
  context: Context,
  databaseUrl: string,
  store: ObjectStore,
  audioRoot: string,
  outcome: ExitCode,
): Promise<{ tracks: number; bytes: number }> {
  const root = await openRoot(audioRoot)
  const database = await openDatabase(databaseUrl, { applicationName: 'autodj demo', readOnly: true })
  const proof = { tracks: 0, bytes: 0 }
  try {
    for await (const page of trackPages(database.knex, { signal: context.signal })) {
      for (const { title, fileSource, filePath, s3ObjectKey } of page) {
        const differs = (how: string) => new FatalError(`"${title}" ${how}`, { code: 'demo.differs' })
        if (fileSource !== 'S3' && outcome === ExitCode.someFailed) continue
        if (fileSource !== 'S3' || s3ObjectKey === null || filePath === null) throw differs('is not in S3')
        const content = await store.get(s3ObjectKey, { signal: context.signal })
        if (!content) throw differs(`has no object at ${s3ObjectKey}`)
        const source = await openSource(filePath, plainFolder(audioRoot), root)
        await source.close()
        const [file, object] = [createHash('sha256'), createHash('sha256')]
        await pipeline(createReadStream(source.absolute), file)
        for await (const chunk of content.body) object.update(chunk)
        if (file.digest('hex') !== object.digest('hex')) throw differs('differs from its file')
        proof.tracks++
        proof.bytes += source.size
      }
    }
  } finally {
    await database.close()
  }
  return proof
}
