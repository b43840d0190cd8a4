/** Names of the queue, for those who read it without opening it. */

/** Beside the ledger's schema; what is in it is pg-boss's own. */
export const jobSchema = 'autodj_jobs'

/** One queue a kind of work. */
export const jobKinds = ['fetch', 'upload', 'analyze'] as const
export type JobKind = (typeof jobKinds)[number]

/** The queue of jobs that were given up. */
export const deadLetters = 'dead-letter'

/** The command whose work a job does: its failures are in the ledger under that name. */
export const commandOf: Readonly<Record<JobKind, string>> = {
  fetch: 'fetch',
  upload: 'upload-local',
  analyze: 'analyze',
}
