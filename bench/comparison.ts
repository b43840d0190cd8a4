/**
 * What the README's table says of autodj, rclone, s5cmd, the AWS CLI and a script made by hand, found out by running
 * them: `npm run bench:comparison` runs each on the same files and the same S3 server and writes docs/comparison.md.
 *
 * A library of eight small files and a large one, behind a link that is cut in the middle of the large one (kill -9),
 * then the same command again; once more with nothing to do; then an object is exchanged for other bytes of the same
 * size, and one is removed, and the program's own comparison is asked. What is counted is what arrives at the server.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import {
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { fakeAudio } from '../test/support/bed.ts'
import { pgliteTestDatabase } from '../test/support/database.ts'
import { NarrowLink } from '../test/support/narrow-link.ts'
import { accessKey, testServer } from '../test/support/s3-server.ts'
import { findPeerPrograms } from './peers.ts'

const mebibyte = 1024 ** 2
const bucket = 'music'
const region = 'us-east-1'
const large = { name: 'Long Set.flac', bytes: 256 * mebibyte }
const small = Array.from({ length: 8 }, (_, index) => ({
  name: `Song ${index}.flac`,
  bytes: 300_000 + index,
}))
const total = [large, ...small].reduce((sum, { bytes }) => sum + bytes, 0)

interface Client {
  readonly name: string
  readonly version: string
  /** brings the folder to the bucket */
  readonly upload: readonly string[]
  /** its own later comparison of objects with files, as exact as it has one; undefined: it has none */
  readonly compare: readonly string[] | undefined
}

interface Outcome {
  /** MiB that the second run sent after the kill; a third of the library had not been sent */
  readonly sentAgain: number
  /** unfinished uploads in the bucket after it */
  readonly leftOver: number
  /** requests that wrote in a run with nothing to do */
  readonly idleWrites: number
  readonly noticedExchange: boolean
  readonly noticedRemoval: boolean
}

const folder = await mkdtemp(path.join(tmpdir(), 'autodj-comparison-'))
const audio = path.join(folder, 'audio')
await mkdir(audio)
for (const [index, { name, bytes }] of [large, ...small].entries())
  await writeFile(path.join(audio, name), fakeAudio(bytes, index))

const program = path.join(import.meta.dirname, '../src/main.ts')
const { s5cmd, aws, rclone } = findPeerPrograms()
const said = (file: string, ...args: string[]): string =>
  /\d+\.\d+\.\d+/.exec(execFileSync(file, args, { encoding: 'utf8' }))?.[0] ?? ''

/** What somebody writes who needs it once: copy, then say so in the database (here: a file of rows). */
const script = path.join(folder, 'migrate.sh')
await writeFile(
  script,
  `#!/bin/sh
set -e
for file in "$1"/*; do
  name=$(basename "$file")
  grep -qxF "$name" "$2" 2>/dev/null && continue
  "$AWS" --endpoint-url "$ENDPOINT" s3 cp --only-show-errors "$file" "s3://${bucket}/audio/$name"
  echo "$name" >>"$2"
done
`,
)
await chmod(script, 0o755)

function clients(endpoint: string, rows: string): Client[] {
  const at = ['--endpoint-url', endpoint]
  const remote = `:s3,provider=Other,env_auth=true,region=${region},endpoint='${endpoint}':${bucket}/audio`
  return [
    {
      name: 'autodj',
      version: '',
      upload: [process.execPath, program, 'upload-local'],
      compare: [process.execPath, program, 'reconcile'],
    },
    ...(rclone
      ? [
          {
            name: 'rclone',
            version: said(rclone, 'version'),
            upload: [rclone, 'copy', audio, remote],
            compare: [rclone, 'check', audio, remote],
          },
        ]
      : []),
    ...(s5cmd
      ? [
          {
            name: 's5cmd',
            version: said(s5cmd, 'version'),
            upload: [s5cmd, ...at, 'sync', `${audio}/`, `s3://${bucket}/audio/`],
            compare: [s5cmd, ...at, '--dry-run', 'sync', `${audio}/`, `s3://${bucket}/audio/`],
          },
        ]
      : []),
    ...(aws
      ? [
          {
            name: 'aws-cli',
            version: said(aws, '--version'),
            upload: [aws, ...at, 's3', 'sync', '--only-show-errors', audio, `s3://${bucket}/audio/`],
            compare: [aws, ...at, 's3', 'sync', '--dryrun', audio, `s3://${bucket}/audio/`],
          },
          {
            name: 'a script',
            version: '',
            upload: [script, audio, rows],
            compare: undefined,
          },
        ]
      : []),
  ]
}

async function run(
  argv: readonly string[],
  env: Record<string, string>,
): Promise<{ kill: () => void; over: Promise<{ code: number | null; text: string }> }> {
  const [file = '', ...args] = argv
  const child = spawn(file, args, {
    env: { PATH: process.env['PATH'] ?? '', HOME: folder, ...env },
    detached: true,
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (text += chunk))
  const over = once(child, 'close').then(([code]) => ({ code: code as number | null, text }))
  return { kill: () => process.kill(-(child.pid as number), 'SIGKILL'), over }
}

async function examine(make: (endpoint: string, rows: string) => Client): Promise<Outcome> {
  await using server = await testServer({ region })
  const link = await NarrowLink.open(server.url)
  const rows = path.join(folder, `rows-${Math.random()}`)
  const client = make(link.url, rows)
  const database = await pgliteTestDatabase()
  const env = {
    AWS_ACCESS_KEY_ID: accessKey.accessKeyId,
    AWS_SECRET_ACCESS_KEY: accessKey.secretAccessKey,
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    DATABASE_URL: database.url,
    S3_BUCKET_NAME: bucket,
    S3_ENDPOINT: link.url,
    AUDIO_STORAGE_PATH: audio,
    ENDPOINT: link.url,
    AWS: aws ?? '',
  }
  const s3 = new S3Client({ endpoint: server.url, region, forcePathStyle: true, credentials: accessKey })
  const must = async (argv: readonly string[]): Promise<string> => {
    const { code, text } = await (await run(argv, env)).over
    if (code !== 0) throw new Error(`${argv.join(' ')}: ${code}\n${text}`)
    return text
  }
  const written = () =>
    server.requests
      .filter(({ method, status }) => method === 'PUT' && status === 200)
      .reduce((sum, { headers }) => sum + Number(headers['content-length'] ?? 0), 0)
  try {
    if (client.name === 'autodj') {
      await must([process.execPath, program, 'migrate'])
      await must([process.execPath, program, 'import'])
    }
    // Killed when two thirds of everything have gone through: in the middle of the large file, whichever is first.
    const cut = link.carry(Math.floor((total * 2) / 3))
    const first = await run(client.upload, env)
    await cut
    first.kill()
    await first.over
    await link.hangUp()
    const confirmed = written()
    link.carry(Number.POSITIVE_INFINITY)
    await must(client.upload)
    const sentAgain = Math.round((written() - confirmed) / mebibyte)

    const { Uploads: unfinished = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
    const leftOver = unfinished.length
    const before = server.requests.length
    await must(client.upload)
    const idleWrites = server.requests
      .slice(before)
      .filter(({ method, status }) => /PUT|POST|DELETE/.test(method) && status === 200).length

    const { Contents: objects = [] } = await s3.send(new ListObjectsV2Command({ Bucket: bucket }))
    const sizes = new Set(objects.map(({ Size }) => Size))
    if (![large, ...small].every(({ bytes }) => sizes.has(bytes)))
      throw new Error(`${client.name}: objects are missing`)

    const notices = async (): Promise<boolean> => {
      if (client.compare === undefined) return false
      const { code, text } = await (await run(client.compare, env)).over
      return code !== 0 || /\b(upload|cp)\b.*Song/.test(text)
    }
    const victim = objects.find(({ Size }) => Size === small[3]!.bytes)!
    await s3.send(
      new PutObjectCommand({ Bucket: bucket, Key: victim.Key, Body: fakeAudio(small[3]!.bytes, 99) }),
    )
    const noticedExchange = await notices()
    await s3.send(
      new PutObjectCommand({
        Bucket: bucket,
        Key: victim.Key,
        Body: await readFile(path.join(audio, small[3]!.name)),
      }),
    )
    const gone = objects.find(({ Size }) => Size === small[5]!.bytes)!
    await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: gone.Key }))
    const noticedRemoval = await notices()
    return { sentAgain, leftOver, idleWrites, noticedExchange, noticedRemoval }
  } finally {
    s3.destroy()
    await link.close()
    await database.drop()
  }
}

/** The page between its markers. */
async function writePage(
  rows: readonly (readonly [name: string, version: string, outcome: Outcome])[],
): Promise<void> {
  const page = path.join(import.meta.dirname, '../docs/comparison.md')
  const yes = (is: boolean) => (is ? 'noticed' : 'not noticed')
  const table = [
    ['', ...rows.map(([name, version]) => `${name} ${version}`.trim())],
    rows.map(() => '---').concat('---'),
    [
      `sent by the second run after a kill; ${Math.round(total / 3 / mebibyte)} MiB were missing`,
      ...rows.map(([, , one]) => `${one.sentAgain} MiB`),
    ],
    ['unfinished uploads left in the bucket', ...rows.map(([, , one]) => String(one.leftOver))],
    ['requests that wrote in a run with nothing to do', ...rows.map(([, , one]) => String(one.idleWrites))],
    [
      'an object exchanged for other bytes of the same size',
      ...rows.map(([, , one]) => yes(one.noticedExchange)),
    ],
    ['an object removed', ...rows.map(([, , one]) => yes(one.noticedRemoval))],
  ].map(cells => `| ${cells.join(' | ')} |`)
  const text = await readFile(page, 'utf8')
  const [start, end] = ['<!-- measured -->', '<!-- /measured -->'] as const
  await writeFile(
    page,
    `${text.slice(0, text.indexOf(start))}${start}\n\n${table.join('\n')}\n\n${text.slice(text.indexOf(end))}`,
  )
}

try {
  const found: [string, string, Outcome][] = []
  for (const [index, { name, version }] of clients('', '').entries()) {
    const outcome = await examine((endpoint, rows) => clients(endpoint, rows)[index]!)
    console.log(name, version, outcome)
    found.push([name, version, outcome])
  }
  await writePage(found)
} finally {
  await rm(folder, { recursive: true, force: true })
}
