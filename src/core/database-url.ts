/**
 * What `DATABASE_URL` may look like. The application hands the same setting to SQLAlchemy, so its spellings are
 * understood: `postgresql+psycopg2://…` names a Python driver, which is nobody's business here.
 */

export type DatabaseUrl =
  | {
      readonly kind: 'postgres'
      /** as the driver here takes it: `postgresql://…`, without what is told apart below */
      readonly url: string
      /** session settings of the URL, `-c search_path=music`; undefined if it has none */
      readonly options: string | undefined
      /** the database as it may be shown: no password */
      readonly where: string
    }
  | {
      readonly kind: 'pglite'
      /** as given; relative to whatever the setting is relative to */
      readonly folder: string
      readonly where: string
    }

/** What is wrong with it, one phrase that continues "DATABASE_URL". */
interface BadDatabaseUrl {
  readonly kind: 'bad'
  readonly problem: string
}

/** As SQLAlchemy takes a URL apart: a password may hold whatever but an `@`, encoded or not. */
const spelling = /^postgres(?:ql)?(?:\+[a-z0-9_]+)?:\/\/(?:([^:/@]*)(?::([^@]*))?@)?(.*)$/is

/** Reads a database URL. Never throws: what is wrong is a value, since it may not be shown as it is (a password). */
export function parseDatabaseUrl(text: string): DatabaseUrl | BadDatabaseUrl {
  if (text.startsWith('pglite:')) {
    const folder = text.slice('pglite:'.length)
    if (folder === '')
      return { kind: 'bad', problem: 'lacks a folder after pglite: (as in pglite:.autodj/db)' }
    return { kind: 'pglite', folder, where: text }
  }
  const [, user, password, rest] = spelling.exec(text) ?? []
  const access =
    user === undefined ? '' : `${encode(user)}${password === undefined ? '' : `:${encode(password)}`}@`
  const plain = `postgresql://${access}${rest}`
  if (rest === undefined || !URL.canParse(plain))
    return { kind: 'bad', problem: 'is neither a postgresql:// URL nor pglite:DIR' }
  const url = new URL(plain)
  const options = url.searchParams.get('options')?.trim() || undefined
  if (options !== undefined) url.searchParams.delete('options')
  return { kind: 'postgres', url: url.href, options, where: describe(url) }
}

function encode(text: string): string {
  return encodeURIComponent(decode(text))
}

function describe(url: URL): string {
  const { hostname, port, pathname, username, searchParams } = url
  const user = username === '' ? '' : `${decode(username)}@`
  const host = hostname || searchParams.get('host') || 'local socket'
  return `${user}${host}${port === '' ? '' : `:${port}`}${decode(pathname)}`
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
