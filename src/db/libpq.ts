/**
 * What libpq takes in a database URL and node-postgres does not, or takes otherwise: `sslmode` with its certificates,
 * and `service`. Source: PostgreSQL 15 documentation, sections 34.1.2 and 34.17.
 */
import { homedir } from 'node:os'
import path from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import { systemErrorReason, UsageError } from '../errors.ts'
import { readNamedFile } from '../named-files.ts'

interface LibpqConnection {
  /** without what is told apart here */
  url: string
  /** undefined: the URL says nothing about it */
  ssl: ConnectionOptions | false | undefined
  /** TLS if the server speaks it, else without */
  mayBePlain: boolean
}

const modes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'] as const

/** @throws UsageError for a mode that is none, a file that cannot be read, a service that is not there */
export function readLibpq(
  text: string,
  // biome-ignore lint/style/noProcessEnv: libpq's own variable, as the driver reads PGPASSFILE
  serviceFile = process.env['PGSERVICEFILE'] ?? path.join(homedir(), '.pg_service.conf'),
): LibpqConnection {
  let url = new URL(text)
  const take = (name: string): string | undefined => {
    const value = url.searchParams.get(name)
    url.searchParams.delete(name)
    return value === null || value === '' ? undefined : value
  }
  const service = take('service')
  if (service !== undefined) url = withService(url, service, serviceFile)
  const mode = take('sslmode')
  const [root, cert, key] = [take('sslrootcert'), take('sslcert'), take('sslkey')]
  if (mode === undefined && root === undefined && cert === undefined && key === undefined)
    return { url: url.href, ssl: undefined, mayBePlain: false }
  if (mode !== undefined && !(modes as readonly string[]).includes(mode)) {
    throw new UsageError(`DATABASE_URL has sslmode=${mode}, which is not one of ${modes.join(', ')}`, {
      code: 'config.invalid',
    })
  }
  if (mode === 'disable') return { url: url.href, ssl: false, mayBePlain: false }
  const mayBePlain = mode === 'allow' || mode === 'prefer'
  return {
    url: url.href,
    mayBePlain,
    ssl: {
      // `system`: the authorities that this machine trusts.
      ...(root !== undefined && root !== 'system' && { ca: certificate('sslrootcert', root) }),
      ...(cert !== undefined && { cert: certificate('sslcert', cert) }),
      ...(key !== undefined && { key: certificate('sslkey', key) }),
      ...((mayBePlain || mode === 'no-verify') && { rejectUnauthorized: false }),
      ...(mode === 'verify-ca' && { checkServerIdentity: () => undefined }),
    },
  }
}

function certificate(name: string, file: string): string {
  try {
    return readNamedFile(file).toString()
  } catch (error) {
    throw new UsageError(
      `DATABASE_URL has ${name}=${file}, which cannot be read: ${systemErrorReason(error)}`,
      {
        code: 'config.certificates',
        cure: 'Correct the path; it is relative to the folder in which autodj is started.',
      },
    )
  }
}

/** What the URL itself says is stronger, as in libpq. */
function withService(url: URL, service: string, file: string): URL {
  let text = ''
  try {
    text = readNamedFile(file).toString()
  } catch {
    // The same as a file without that service.
  }
  const sections = text.split(/^\[/m).slice(1)
  const lines = sections.find(section => section.startsWith(`${service}]`))?.split(/\r?\n/)
  if (lines === undefined) {
    throw new UsageError(`DATABASE_URL has service=${service}, which is not in ${file}`, {
      code: 'config.invalid',
      cure: 'Correct its name, or set PGSERVICEFILE to the file that has it.',
    })
  }
  const said = new Map(
    lines.slice(1).flatMap(line => {
      const [, name, value] = /^\s*([a-z_]+)\s*=\s*(.*?)\s*$/.exec(line) ?? []
      return name === undefined || value === undefined ? [] : [[name, value] as const]
    }),
  )
  const host = said.get('host')
  if (host?.startsWith('/') && !url.searchParams.has('host')) url.searchParams.set('host', host)
  const known = new Set(['host', 'port', 'dbname', 'user', 'password'])
  for (const [name, value] of said) {
    if (!known.has(name) && !url.searchParams.has(name)) url.searchParams.set(name, value)
  }
  // A URL without a host takes neither a user nor a port: put together anew.
  const user = url.username || encodeURIComponent(said.get('user') ?? '')
  const password = url.password || encodeURIComponent(said.get('password') ?? '')
  const access = user === '' ? '' : `${user}${password === '' ? '' : `:${password}`}@`
  const server = url.hostname || (host?.startsWith('/') ? '' : (host ?? ''))
  const port = url.port || (said.get('port') ?? '')
  const database = url.pathname.length > 1 ? url.pathname : `/${said.get('dbname') ?? ''}`
  return new URL(
    `postgresql://${access}${server}${port === '' || server === '' ? '' : `:${port}`}${database}${url.search}`,
  )
}
