import type { CodeWith } from '../error-codes.ts'
import {
  AppError,
  type ErrorDetails,
  FatalError,
  systemErrorCode,
  TemporaryError,
  toError,
} from '../errors.ts'

const tlsCodes = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_HAS_EXPIRED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'EPROTO',
])

const networkCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'ENOENT', // a Unix socket that is not there
])

/** Messages of node-postgres and Knex that carry no code. */
const lostConnection =
  /connection terminated|connection ended|timeout expired|client has encountered a connection error|not queryable|Query read timeout|connection timeout|server closed the connection/i

type Entry =
  | readonly [kind: typeof TemporaryError, code: CodeWith<'temporary'>, cause: string, cure?: string]
  | readonly [kind: typeof FatalError, code: CodeWith<'fatal'>, cause: string, cure?: string]

/** SQLSTATE (or its two-letter class) to what the operator is told. Codes: PostgreSQL manual, appendix A. */
const bySqlstate: Readonly<Record<string, Entry>> = {
  '28P01': [FatalError, 'db.auth', 'the database refused the password'],
  '28': [FatalError, 'db.auth', 'the database refused the login'],
  '3D000': [FatalError, 'db.missing', 'the database does not exist'],
  '53300': [TemporaryError, 'db.connections', 'the database has no connections left'],
  '53': [TemporaryError, 'db.resources', 'the database server is out of disk or memory'],
  '57014': [TemporaryError, 'db.timeout', 'a statement took too long and was cancelled'],
  '57P05': [
    TemporaryError,
    'db.unreachable',
    'the database has closed a connection that was idle (idle_session_timeout)',
    'Run it again. If that happens often: `alter role USER set idle_session_timeout = 0`.',
  ],
  '57P01': [
    TemporaryError,
    'db.unreachable',
    'the database has ended the connection: it shuts down, or its administrator did it',
    'Run it again.',
  ],
  '57': [TemporaryError, 'db.unreachable', 'the database is shutting down or starting up', 'Run it again.'],
  '08': [TemporaryError, 'db.unreachable', 'the connection to the database was lost', 'Run it again.'],
  '40': [TemporaryError, 'db.conflict', 'another transaction got in the way'],
  '55P03': [TemporaryError, 'db.busy', 'another transaction holds a lock on the same rows or table'],
  '25P03': [TemporaryError, 'db.timeout', 'a transaction was idle for too long'],
  '22P05': [
    FatalError,
    'db.refused',
    'the encoding of the database lacks a character of what is to be stored, or looked for',
    'Dump it, and restore it into a database with the encoding UTF8 (`createdb --encoding UTF8 --template template0`).',
  ],
  '25006': [FatalError, 'db.read-only', 'the database (or this run) is read-only'],
  '42501': [FatalError, 'db.denied', 'the database user lacks a privilege'],
  '42P01': [FatalError, 'db.schema', 'a table is missing in the database'],
  '42703': [FatalError, 'db.schema', 'a column is missing in the database'],
  '42704': [FatalError, 'db.schema', 'a type is missing in the database'],
  '3F000': [FatalError, 'db.schema', 'a schema is missing in the database'],
  // Not of a row, and not of its moment: a column that is generated, a view, a table that cannot be replicated.
  '0A': [FatalError, 'db.refused', 'the database refuses the statement'],
  '42': [FatalError, 'db.refused', 'the database refuses the statement'],
  '55': [FatalError, 'db.refused', 'the database refuses the statement'],
  '58': [TemporaryError, 'db.internal', 'the system of the database server reported an error'],
  F0: [TemporaryError, 'db.internal', 'the database reported an error in its configuration'],
  XX: [TemporaryError, 'db.internal', 'the database reported an internal error'],
}

/** What is told by more than a SQLSTATE, in the order in which it is tried. */
const signs: readonly (readonly [says: (error: Error, code: string) => boolean, entry: Entry])[] = [
  [
    (_, code) => tlsCodes.has(code),
    [
      FatalError,
      'db.tls',
      'no trusted TLS connection to the database',
      'Name its CA (sslrootcert=FILE in DATABASE_URL, or NODE_EXTRA_CA_CERTS), or sslmode=no-verify on a network you trust.',
    ],
  ],
  [
    ({ message }) => /server does not support SSL/i.test(message),
    [
      FatalError,
      'db.tls',
      'the database does not use TLS',
      'Set sslmode=disable in DATABASE_URL if that is right.',
    ],
  ],
  [
    ({ message }, code) => /no encryption|SSL (connection|off|required)/i.test(message) && code === '28000',
    [FatalError, 'db.tls', 'the database insists on TLS', 'Add sslmode=require to DATABASE_URL.'],
  ],
  [
    ({ message }) => /^SASL/.test(message),
    [FatalError, 'db.auth', 'the database requires a password', 'Put one into DATABASE_URL.'],
  ],
  [
    (_, code) => code === 'ENOTFOUND',
    [FatalError, 'db.host', 'the host name of the database does not resolve'],
  ],
  [(_, code) => networkCodes.has(code), [TemporaryError, 'db.unreachable', 'the database cannot be reached']],
  [
    ({ name }) => name === 'KnexTimeoutError' || name === 'TimeoutError',
    [TemporaryError, 'db.pool', 'no database connection became free in time'],
  ],
  [
    // What node-postgres says where whoever listens there never answers: a firewall, or no PostgreSQL at all.
    ({ message }) => /^timeout expired$|due to connection timeout/i.test(message),
    [
      TemporaryError,
      'db.unreachable',
      'the database does not answer',
      'Check that PostgreSQL is running and listening there, and that no firewall blocks this machine.',
    ],
  ],
  [
    ({ message }) => lostConnection.test(message),
    [TemporaryError, 'db.unreachable', 'the connection to the database was lost', 'Run it again.'],
  ],
  [
    ({ message }, code) => code === '22P02' && /input value for enum/.test(message),
    [FatalError, 'db.schema', 'an enum value is missing in the database'],
  ],
]

/**
 * A failure of the database as a typed error with cause and cure, or undefined if it is none that an operator
 * can act on (a violated constraint, a syntax error: a bug, or something the caller foresees by its SQLSTATE).
 * The original error stays as `cause`; messages never hold bound values or the password.
 *
 * @param where the database as it may be shown: host, port and name, no password
 */
export function classifyDbError(thrown: unknown, where: string): AppError | undefined {
  if (thrown instanceof AppError) return thrown
  const error = toError(thrown)
  const code = systemErrorCode(error)
  if (code === syntaxError) return undefined
  const entry =
    signs.find(([says]) => says(error, code ?? ''))?.[1] ??
    bySqlstate[code ?? ''] ??
    (/^[0-9A-Z]{5}$/.test(code ?? '') ? bySqlstate[code!.slice(0, 2)] : undefined)
  if (entry === undefined) return undefined
  const [kind, errorCode, cause, cure] = entry
  // An AggregateError (IPv4 and IPv6 tried) has an empty message.
  return new (kind as new (message: string, details: ErrorDetails) => AppError)(
    `${cause} (${where}): ${error.message || code}`,
    { code: errorCode, cure, cause: error },
  )
}

/** A statement that is no SQL is nobody's but ours. */
const syntaxError = '42601'

/** SQLSTATE classes that say nothing of a row: every other one would meet them too. */
const systemic = new Set(['0A', '21', '25', '26', '42', '55', '58', 'F0', 'HV'])

/** Those of a moment, which the same row may survive. */
const passing = new Set(['08', '40', '53', '57', '58', 'XX'])

/** What the database has against one row. */
export interface RowRefusal {
  /** in its own words */
  readonly reason: string
  readonly cure: string
}

/**
 * What the database has against a row that it will not take: a constraint, a trigger, a policy, a value that fits no
 * column. Undefined for whatever another row would meet as well.
 *
 * What a function of the database raises, such as a trigger's, is about the row for which it was called, whatever SQLSTATE
 * it gives itself; so is what goes wrong in it (a table that it misses, a right that it lacks), save what passes.
 */
export function rowRefusal(thrown: unknown): RowRefusal | undefined {
  const error = toError(thrown instanceof AppError ? thrown.cause : thrown) as Error & {
    severity?: string
    detail?: string
    constraint?: string
    where?: string
  }
  const code = systemErrorCode(error)
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || error.severity === undefined) return undefined
  const places = error.where?.split('\n') ?? []
  const isRaised = / at RAISE$/.test(places[0] ?? '')
  const inFunction = places.find(place => /\bfunction\b/.test(place))
  const byPolicy = code === '42501' && /row-level security/.test(error.message)
  const kind = code.slice(0, 2)
  const isPassing = passing.has(kind) || code === '55P03'
  const isOfRow = isRaised || (inFunction !== undefined && !isPassing) || byPolicy
  if (!isOfRow && (thrown instanceof AppError || isPassing || systemic.has(kind))) return undefined
  // Of a violated CHECK the detail is the whole row.
  const detail = error.detail?.startsWith('Failing row') === false ? ` (${error.detail})` : ''
  const rule = error.constraint ? `the constraint ${error.constraint}` : (inFunction ?? places[0])
  return {
    reason: `the database rejected the row: ${error.message}${detail}`,
    cure: `Correct the row, or ${rule ?? 'the rule that rejects it'}, then run it again.`,
  }
}

/**
 * Writes a batch at once. One that the database refuses is split until the row is found that it will not take; all
 * others are written.
 *
 * @param write in one transaction; the result of each, in their order
 * @param refuse what becomes of a row that is refused
 * @returns the result of each, in their order
 * @throws what concerns more than a row
 */
export async function writeInParts<T, R>(
  batch: readonly T[],
  write: (part: readonly T[]) => Promise<readonly R[]>,
  refuse: (one: T, refusal: RowRefusal) => Promise<R>,
): Promise<readonly R[]> {
  try {
    return await write(batch)
  } catch (error) {
    const refusal = rowRefusal(error)
    if (refusal === undefined) throw error
    const [first] = batch
    if (batch.length === 1) return [await refuse(first as T, refusal)]
    const middle = batch.length >> 1
    return [
      ...(await writeInParts(batch.slice(0, middle), write, refuse)),
      ...(await writeInParts(batch.slice(middle), write, refuse)),
    ]
  }
}

/** Not a failure we know: whatever it is, the database cannot be used. */
export function unusable(error: unknown, where: string): AppError {
  const { message } = toError(error)
  return new FatalError(`the database cannot be opened (${where}): ${message}`, {
    code: 'db.open',
    cause: error,
  })
}
