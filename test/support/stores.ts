/**
 * S3 servers that others wrote, started for a test where their programs are installed (`scripts/stores.sh` installs
 * them outside the repository). Each has a port and a folder of its own, and ends with the test.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from './listening.ts'
import { temporaryFolder } from './temporary-folder.ts'

export interface Store {
  endpoint: string
  credentials: { accessKeyId: string; secretAccessKey: string }
  close(): Promise<void>
}

interface StoreProgram {
  name: string
  /** what of it is run, as its installation or it itself says */
  version(): string
  /** whether its buckets can keep versions */
  versions: boolean
  /** `scripts/stores.sh` installs it within a minute */
  quickly?: boolean
  /** undefined where it is not installed */
  start: (() => Promise<Store>) | undefined
}

const tools = process.env['AUTODJ_TOOLS'] ?? path.join(homedir(), '.cache/autodj-tools')
const credentials = { accessKeyId: 'autodj', secretAccessKey: 'autodj-secret' }

/** The version that a script of ours installs: `moto=5.2.5`. */
function pinned(name: string, script = 'stores.sh'): () => string {
  return () =>
    new RegExp(`^${name}=(.+)$`, 'm').exec(
      readFileSync(new URL(`../../scripts/${script}`, import.meta.url), 'utf8'),
    )?.[1] ?? 'unknown'
}

/** versitygw's program, for what wants to start it in another way; undefined where it is not installed. */
export function versitygw(): string | undefined {
  const file = path.join(tools, `versitygw-${pinned('versitygw', 'tools.sh')()}/versitygw`)
  return existsSync(file) ? file : undefined
}

/** A program that is asked over HTTP at a free port once it answers. */
function server(
  file: string,
  command: (port: number, dir: string) => { argv: string[]; env?: Record<string, string> },
): (() => Promise<Store>) | undefined {
  if (!existsSync(file)) return undefined
  return async () => {
    const dir = temporaryFolder('store')
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
      },
    }
  }
}

async function answers(endpoint: string, child?: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (child !== undefined && child.exitCode !== null)
      throw new Error(`${child.spawnfile} ended with ${child.exitCode}`)
    if (
      await fetch(endpoint).then(
        () => true,
        () => false,
      )
    )
      return
    await sleep(100)
  }
  throw new Error(`${child?.spawnfile ?? endpoint} does not answer`)
}

/** A cluster in a folder, where Debian's programs for it are installed. */
function ceph(): (() => Promise<Store>) | undefined {
  const script = fileURLToPath(new URL('../../scripts/ceph.sh', import.meta.url))
  const there = ['ceph-mon', 'ceph-osd', 'radosgw'].every(one => existsSync(`/usr/bin/${one}`))
  if (!there || process.getuid?.() !== 0) return undefined
  return async () => {
    const port = await freePort()
    const monitor = await freePort()
    const dir = temporaryFolder('ceph')
    const run = async (...argv: string[]) => {
      const child = spawn('bash', [script, ...argv], { stdio: 'ignore' })
      const code = await new Promise(resolve => child.once('exit', resolve))
      if (code !== 0) throw new Error(`scripts/ceph.sh ${argv[0]} ended with ${code}`)
    }
    const close = async () => {
      await run('stop', dir)
    }
    try {
      await run('start', dir, String(port), String(monitor))
      const endpoint = `http://127.0.0.1:${port}`
      await answers(endpoint)
      return { endpoint, credentials, close }
    } catch (error) {
      await close()
      throw error
    }
  }
}

/** One that somebody else started, named by `TEST_S3_ENDPOINT` and its fellows. */
function given(): StoreProgram[] {
  const endpoint = process.env['TEST_STORE_ENDPOINT']
  if (endpoint === undefined) return []
  const [accessKeyId = '', secretAccessKey = ''] = (process.env['TEST_STORE_KEY'] ?? '').split(':')
  return [
    {
      name: process.env['TEST_STORE_NAME'] ?? endpoint,
      version: () => process.env['TEST_STORE_VERSION'] ?? '(version not told)',
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
    version: pinned('versitygw', 'tools.sh'),
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
    version: pinned('moto'),
    versions: true,
    quickly: true,
    start: server(path.join(tools, 'moto/bin/moto_server'), port => ({
      argv: [path.join(tools, 'moto/bin/moto_server'), '-H', '127.0.0.1', '-p', String(port)],
    })),
  },
  {
    name: 'Adobe S3Mock',
    version: pinned('s3mock'),
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
    version: pinned('minio'),
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
    version: pinned('rclone'),
    versions: false,
    start: server(path.join(tools, 'rclone/rclone'), (port, dir) => ({
      argv: [
        path.join(tools, 'rclone/rclone'),
        ...['serve', 's3', '--auth-key', `${credentials.accessKeyId},${credentials.secretAccessKey}`],
        ...['--addr', `127.0.0.1:${port}`, path.join(dir, 'data')],
      ],
    })),
  },
  {
    name: 'Ceph RGW',
    version: () =>
      /version (\S+)/.exec(execFileSync('radosgw', ['--version'], { encoding: 'utf8' }))?.[1] ?? '',
    versions: true,
    start: ceph(),
  },
  ...given(),
]
