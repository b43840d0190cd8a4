/** What a run said, as the records of runs keep it: log file, health check, metrics. */
import type { Fields } from './reporter.ts'

export type Level = 'debug' | 'info' | 'warning' | 'error'

export interface Entry {
  readonly level: Level
  readonly message_type: 'status' | 'item' | 'error' | 'summary' | 'exit_error'
  /** for people; several lines are possible */
  readonly text: string
  readonly fields: Fields
}

/** How a run of a command ended. */
export interface RunEnd {
  readonly command: string
  readonly startedAt: Date
  readonly endedAt: Date
  readonly exitCode: number
  /** of the summary; empty if there was none */
  readonly fields: Fields
  /** items that failed, by their code */
  readonly failures: ReadonlyMap<string, number>
  /** items by what became of them */
  readonly outcomes: ReadonlyMap<string, number>
}
