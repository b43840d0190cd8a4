/**
 * S3 servers that others wrote, started for a test where their programs are installed (`scripts/stores.sh` installs
 * them outside the repository). Each has a port and a folder of its own, and ends with the test.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Store {
  endpoint: string
  credentials: { accessKeyId: string; secretAccessKey: string }
  close(): Promise<void>
}

export interface StoreProgram {
  name: string
  /** whether its buckets can keep versions */
  versions: boolean
  /** `scripts/stores.sh` installs it within a minute */
  quickly?: boolean
  /** undefined where it is not installed */
  start: (() => Promise<Store>) | undefined
}

const tools = process.env['AUTODJ_TOOLS'] ?? path.join(homedir(), '.cache/autodj-tools')
const credentials = { accessKeyId: 'autodj', secretAccessKey: 'autodj-secret' }

/** A program that is asked over HTTP at a free port once it answers. */
function server(
  file: string,
  command: (port: number, dir: string) => { argv: string[]; env?: Record<string, string> },
): (() => Promise<Store>) | undefined {
  if (!existsSync(file)) return undefined
  return async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'autodj-store-'))
    await mkdir(path.join(dir, 'data'))
    await mkdir(path.join(dir, 'versions'))
    const port = await freePort()
    const { argv, env = {} } = command(port, dir)
    const [program = '', ...rest] = argv
    const child = spawn(program, rest, {
      cwd: dir,
      env: { ...process.env, ...env },
      stdio: 'ignore',
    })
    const endpoint = `http://127.0.0.1:${port}`
    try {
      await answers(endpoint, child)
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
    return {
      endpoint,
      credentials,
      async close() {
        const ended = new Promise(resolve => child.once('exit', resolve))
        child.kill()
        await Promise.race([ended, sleep(5_000).then(() => child.kill('SIGKILL'))])
        await rm(dir, { recursive: true, force: true })
      },
    }
  }
}

async function answers(endpoint: string, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}`)
    if (
      await fetch(endpoint).then(
        () => true,
        () => false,
      )
    )
      return
    await sleep(100)
  }
  throw new Error(`${child.spawnfile} does not answer`)
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
    probe.on('error', reject)
  })
}

/** One that somebody else started, named by `TEST_S3_ENDPOINT` and its fellows. */
function given(): StoreProgram[] {
  const endpoint = process.env['TEST_STORE_ENDPOINT']
  if (endpoint === undefined) return []
  const [accessKeyId = '', secretAccessKey = ''] = (process.env['TEST_STORE_KEY'] ?? '').split(':')
  return [
    {
      name: process.env['TEST_STORE_NAME'] ?? endpoint,
      versions: true,
      start: async () => ({
        endpoint,
        credentials: { accessKeyId, secretAccessKey },
        close: async () => {},
      }),
    },
  ]
}

export const stores: readonly StoreProgram[] = [
  {
    name: 'versitygw',
    versions: true,
    quickly: true,
    start: server(path.join(tools, 'versitygw-v1.8.0/versitygw'), (port, dir) => ({
      argv: [
        path.join(tools, 'versitygw-v1.8.0/versitygw'),
        ...['--access', credentials.accessKeyId, '--secret', credentials.secretAccessKey],
        ...['--port', `127.0.0.1:${port}`, '--quiet', 'posix'],
        ...['--versioning-dir', path.join(dir, 'versions'), path.join(dir, 'data')],
      ],
    })),
  },
  {
    name: 'moto',
    versions: true,
    quickly: true,
    start: server(path.join(tools, 'moto/bin/moto_server'), port => ({
      argv: [path.join(tools, 'moto/bin/moto_server'), '-H', '127.0.0.1', '-p', String(port)],
    })),
  },
  {
    name: 'Adobe S3Mock',
    // Its listing of versions answers 500 in a bucket with delete markers (4.12.4).
    versions: false,
    quickly: true,
    start: server(path.join(tools, 's3mock/s3mock.jar'), (port, dir) => ({
      argv: [
        'java',
        '-Xmx384m',
        `-Djava.io.tmpdir=${dir}`,
        '-jar',
        path.join(tools, 's3mock/s3mock.jar'),
        '--server.port=0',
        `--com.adobe.testing.s3mock.httpPort=${port}`,
      ],
    })),
  },
  {
    name: 'MinIO',
    versions: true,
    start: server(path.join(tools, 'minio/minio'), (port, dir) => ({
      argv: [
        path.join(tools, 'minio/minio'),
        ...[
          'server',
          '--address',
          `127.0.0.1:${port}`,
          '--console-address',
          '127.0.0.1:0',
          path.join(dir, 'data'),
        ],
      ],
      env: { MINIO_ROOT_USER: credentials.accessKeyId, MINIO_ROOT_PASSWORD: credentials.secretAccessKey },
    })),
  },
  {
    name: 'rclone serve s3',
    versions: false,
    start: server(path.join(tools, 'rclone/rclone'), (port, dir) => ({
      argv: [
        path.join(tools, 'rclone/rclone'),
        ...['serve', 's3', '--auth-key', `${credentials.accessKeyId},${credentials.secretAccessKey}`],
        ...['--addr', `127.0.0.1:${port}`, path.join(dir, 'data')],
      ],
    })),
  },
  ...given(),
]
