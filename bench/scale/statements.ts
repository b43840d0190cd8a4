/**
 * What each statement of a run touched, by `auto_explain`: which of them read rows over and over. Its plans are in the
 * server's log, which is read through the server; that of `scripts/postgres.sh` is beside its data.
 */
import type { Knex } from 'knex'

/** What a statement did in all its executions. */
export interface StatementTotals {
  readonly text: string
  executions: number
  /** rows that scans read, and index look-ups fetched */
  touched: number
  /** rows that came of it, or that it counted, wrote or removed */
  returned: number
}

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly 'Rows Removed by Filter'?: number
  readonly 'Rows Removed by Index Recheck'?: number
  readonly Plans?: readonly PlanNode[]
}

/** Has every statement of new sessions of that database explained in the server's log. */
export async function explainStatements(knex: Knex, database: string): Promise<void> {
  const settings = {
    session_preload_libraries: 'auto_explain',
    'auto_explain.log_min_duration': 0,
    'auto_explain.log_analyze': 'on',
    'auto_explain.log_timing': 'off',
    'auto_explain.log_format': 'json',
    'auto_explain.log_parameter_max_length': 0,
  }
  for (const [name, value] of Object.entries(settings))
    await knex.raw(`alter database ${database} set ${name} = '${value}'`)
}

/** The end of the server's log so far, bytes; undefined where it cannot be read. */
export async function endOfLog(knex: Knex): Promise<{ file: string; bytes: number } | undefined> {
  try {
    const { rows } = await knex.raw(
      `select file, (pg_stat_file(file)).size::float8 as bytes
       from (select regexp_replace(current_setting('data_directory'), '/data$', '/log') as file) as f`,
    )
    return rows[0]
  } catch {
    return undefined
  }
}

/** Totals of the statements that were explained since, those that touched most first. */
export async function statementsSince(
  knex: Knex,
  { file, bytes }: { file: string; bytes: number },
): Promise<StatementTotals[]> {
  const { rows } = await knex.raw(
    'select pg_read_file(?, ?::int8, (pg_stat_file(?)).size - ?::int8) as text',
    [file, bytes, file, bytes],
  )
  const totals = new Map<string, StatementTotals>()
  // A message goes on in lines that begin with a tab.
  for (const [, json] of String(rows[0].text).matchAll(/duration: [\d.]+ ms {2}plan:\n((?:\t.*\n)+)/g)) {
    const { 'Query Text': query, Plan: plan } = JSON.parse(json as string) as {
      'Query Text': string
      Plan: PlanNode
    }
    const text = query.replace(/\s+/g, ' ').replace(/\bfetch \d+\b/, 'fetch')
    const found = totals.get(text) ?? { text, executions: 0, touched: 0, returned: 0 }
    totals.set(text, found)
    found.executions += 1
    found.touched += touchedBy(plan)
    found.returned += returnedBy(plan)
  }
  return [...totals.values()].sort((a, b) => b.touched - a.touched)
}

function touchedBy(node: PlanNode): number {
  const { 'Rows Removed by Filter': filtered = 0, 'Rows Removed by Index Recheck': rechecked = 0 } = node
  const own = /^(?:Seq|Index|Index Only|Bitmap Heap|Tid) Scan$/.test(node['Node Type'])
    ? (node['Actual Rows'] + filtered + rechecked) * node['Actual Loops']
    : 0
  return own + (node.Plans ?? []).reduce((sum, below) => sum + touchedBy(below), 0)
}

/** What is counted comes of a statement as well, and so does what it writes. */
function returnedBy(node: PlanNode): number {
  const [below] = node.Plans ?? []
  const passes = /^(?:Aggregate|ModifyTable|Gather|LockRows)/.test(node['Node Type'])
  const own = node['Actual Rows'] * node['Actual Loops']
  return passes && below !== undefined ? Math.max(own, returnedBy(below)) : own
}
