/** How full the queue is, read without opening it: a look never makes a schema, and works beside any worker. */
import type { Knex } from 'knex'
import { deadLetters, type JobKind, jobKinds, jobSchema } from './names.ts'

export interface QueueCount {
  readonly kind: JobKind
  /** Ready, or not before some time. */
  readonly queued: number
  /** Of those, failed before and to be tried again. */
  readonly retrying: number
  /** In a worker's hands. */
  readonly active: number
  /** Done within the last day. */
  readonly completed: number
  /** In the dead letter queue. */
  readonly givenUp: number
  /** When the oldest of those queued was put there. */
  readonly oldest: Date | null
}

/** One count a kind. All are 0 if nothing was ever queued. */
export async function countJobs(knex: Knex): Promise<QueueCount[]> {
  const { rows: found } = await knex.raw<{ rows: { there: boolean }[] }>(
    `select to_regclass('${jobSchema}.job') is not null as there`,
  )
  const rows = found[0]?.there ? await readCounts(knex) : []
  const byKind = new Map(rows.map(row => [row.kind, row]))
  return jobKinds.map(
    kind =>
      byKind.get(kind) ?? {
        kind,
        queued: 0,
        retrying: 0,
        active: 0,
        completed: 0,
        givenUp: 0,
        oldest: null,
      },
  )
}

async function readCounts(knex: Knex): Promise<QueueCount[]> {
  const { rows } = await knex.raw<{ rows: QueueCount[] }>(
    `select case when name = :dead then source_name else name end as kind,
            count(*) filter (where name <> :dead and state in ('created', 'retry'))::int as queued,
            count(*) filter (where name <> :dead and state = 'retry')::int as retrying,
            count(*) filter (where name <> :dead and state = 'active')::int as active,
            count(*) filter (where name <> :dead and state = 'completed')::int as completed,
            count(*) filter (where name = :dead and state = 'created')::int as "givenUp",
            min(created_on) filter (where name <> :dead and state in ('created', 'retry')) as oldest
     from ${jobSchema}.job where name = any(:names::text[]) group by 1`,
    { dead: deadLetters, names: [...jobKinds, deadLetters] },
  )
  return rows
}

/** Whether nothing of these kinds is queued or in work. */
export function isEmpty(counts: readonly QueueCount[], kinds: readonly JobKind[]): boolean {
  return counts.every(({ kind, queued, active }) => !kinds.includes(kind) || queued + active === 0)
}
