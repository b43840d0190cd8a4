/** Flags as data: one value says how a flag is written, what it takes, and how it is checked. */
import { parseBandwidth } from '../core/bandwidth.ts'
import { parseDeleteLimit } from '../core/limits.ts'
import { redactUrl } from '../core/redact.ts'
import { formatBytes, parseBytes, parseDuration } from '../core/units.ts'
import { UsageError } from '../errors.ts'

export interface Flag<T> {
  /** as commander spells it: `-c, --concurrency <n>` */
  readonly spec: string
  readonly description: string
  /** Checks one argument. Throws a UsageError's worth of words: what it should be, with an example. */
  parse?(raw: string, previous?: T): T
  readonly defaultValue?: T
  readonly choices?: readonly string[]
  /** how the default reads in `--help` */
  readonly defaultText?: string
  /** what of a value the ledger, logs and errors may hold; default: all of it */
  shown?(raw: string): string
}

export type Flags = Readonly<Record<string, Flag<unknown>>>

/** The values a handler gets: one property a flag. */
export type ValuesOf<F extends Flags> = { readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never }

/** The long name of a flag: `--dry-run`. */
export function longName(spec: string): string {
  return /--[a-z0-9-]+/.exec(spec)?.[0] ?? spec
}

function reject(spec: string, raw: string, expected: string): never {
  throw new UsageError(`${longName(spec)}: "${raw}" is not ${expected}`, {
    code: 'usage.flag',
    details: { flag: longName(spec), value: raw },
  })
}

interface NumberLimits {
  min?: number
  max?: number
}

function boolean(spec: string, description: string): Flag<boolean> {
  return { spec, description, defaultValue: false }
}

function text<D extends string | undefined = undefined>(
  spec: string,
  description: string,
  defaultValue?: D,
): Flag<string | D> {
  return { spec, description, defaultValue }
}

/** A URL whose user, path or query may be a secret. */
function secretUrl(spec: string, description: string): Flag<string | undefined> {
  return { spec, description, shown: redactUrl }
}

function integer<D extends number | undefined = undefined>(
  spec: string,
  description: string,
  { min = 0, max = Number.MAX_SAFE_INTEGER }: NumberLimits = {},
  defaultValue?: D,
): Flag<number | D> {
  const range =
    max === Number.MAX_SAFE_INTEGER
      ? `a whole number of at least ${min}`
      : `a whole number from ${min} to ${max}`
  return {
    spec,
    description,
    defaultValue,
    parse: raw => {
      const value = Number(raw)
      if (!/^\d+$/.test(raw) || value < min || value > max) reject(spec, raw, range)
      return value
    },
  }
}

function bytes(spec: string, description: string, limits: NumberLimits): Flag<number | undefined>
function bytes(spec: string, description: string, limits: NumberLimits, defaultText: string): Flag<number>
function bytes(
  spec: string,
  description: string,
  { min = 0, max = Number.MAX_SAFE_INTEGER }: NumberLimits,
  defaultText?: string,
): Flag<number | undefined> {
  const least = min > 0 ? ` of at least ${formatBytes(min)}` : ''
  const bounds = max === Number.MAX_SAFE_INTEGER ? least : `${least} and at most ${formatBytes(max)}`
  return {
    spec,
    description,
    defaultValue: defaultText === undefined ? undefined : parseBytes(defaultText),
    defaultText,
    parse: raw => {
      const value = parseBytes(raw)
      if (value === undefined || value < min || value > max)
        reject(spec, raw, `a size${bounds} (example: 64M, 1.5G)`)
      return value
    },
  }
}

function duration(spec: string, description: string): Flag<number | undefined>
function duration(spec: string, description: string, defaultText: string): Flag<number>
function duration(spec: string, description: string, defaultText?: string): Flag<number | undefined> {
  return {
    spec,
    description,
    defaultValue: defaultText === undefined ? undefined : parseDuration(defaultText),
    defaultText,
    parse: raw => parseDuration(raw) ?? reject(spec, raw, 'a duration (example: 90s, 10m, 1h30m, 7d)'),
  }
}

function choice<const C extends string, D extends C | undefined = undefined>(
  spec: string,
  description: string,
  choices: readonly C[],
  defaultValue?: D,
): Flag<C | D> {
  return {
    spec,
    description,
    choices,
    defaultValue,
    parse: raw => choices.find(one => one === raw) ?? reject(spec, raw, `one of ${choices.join(', ')}`),
  }
}

/** A flag that may be given several times. @param isOne whether a value is `expected` */
function list(
  spec: string,
  description: string,
  expected = '',
  isOne: (raw: string) => boolean = () => true,
): Flag<readonly string[]> {
  return {
    spec,
    description,
    defaultValue: [],
    parse: (raw, previous = []) => [...previous, isOne(raw) ? raw : reject(spec, raw, expected)],
  }
}

/** Origins of pages, as browsers send them: a slash at the end, and none ever matches. `*` stands for any text. */
function origins(spec: string, description: string): Flag<readonly string[]> {
  return list(spec, description, 'an origin (https://autodj.example), without a path', raw => {
    const example = raw.replaceAll('*', 'any')
    return raw === '*' || URL.parse(example)?.origin === example
  })
}

/** Any other value: `parse` returns undefined when the text is not `expected`. */
function custom<T>(
  spec: string,
  description: string,
  expected: string,
  parse: (raw: string) => T | undefined,
): Flag<T | undefined> {
  return { spec, description, parse: raw => parse(raw) ?? reject(spec, raw, expected) }
}

export const flag = { boolean, text, secretUrl, integer, bytes, duration, choice, list, origins, custom }

/** @throws UsageError for `--job` without `--enqueue`, which would do the work here and count it nowhere */
export function refuseJobAlone({ job, enqueue }: { job: string | undefined; enqueue: boolean }): void {
  if (job !== undefined && !enqueue) {
    throw new UsageError('--job needs --enqueue', { code: 'usage.flag', details: { flag: '--job' } })
  }
}

/** Flags that mean the same wherever they appear. A command takes the ones it honours, and no others. */
export const shared = {
  dryRun: flag.boolean('-n, --dry-run', 'show what would be done and change nothing'),
  yes: flag.boolean('-y, --yes', 'answer yes to every question'),
  concurrency: flag.integer('-c, --concurrency <n>', 'number of transfers at a time', { min: 1, max: 1_024 }),
  limit: flag.integer('--limit <n>', 'stop after this many items', { min: 1 }),
  maxDuration: flag.duration('--max-duration <time>', 'start nothing new after this long (exit code 10)'),
  /** The context's `throttle` is made of it. */
  bwlimit: flag.custom(
    '--bwlimit <rate>',
    'limit all transfers together to bytes per second, or by a timetable: 10M, "08:00,512K 19:00,off"',
    'a rate (10M) or a timetable (08:00,512K 19:00,off)',
    parseBandwidth,
  ),
  rolling: flag.custom(
    '--rolling <period>',
    "only today's share, so that a daily run proves everything within this period",
    'a period of at least a day (30d)',
    raw => {
      const period = parseDuration(raw)
      return period !== undefined && period >= 86_400_000 ? period : undefined
    },
  ),
  retryFailed: flag.boolean('--retry-failed', 'take only what failed in earlier runs'),
  lockWait: flag.duration(
    '--lock-wait <time>',
    'wait up to this long for rows locked by another transaction',
    '15s',
  ),
  filesFrom: flag.text('--files-from <file>', 'take only what this file lists, one per line; - is stdin'),
  timeout: {
    ...flag.custom(
      '--timeout <time>',
      'wait up to this long for an answer; raise it on a slow link',
      'a duration from 1s to 1h (example: 30s)',
      raw => {
        const ms = parseDuration(raw)
        return ms !== undefined && ms >= 1_000 && ms <= 3_600_000 ? ms : undefined
      },
    ),
    defaultText: '5s',
  },
  force: flag.boolean('--force', 'continue even if a safety check would stop'),
  apply: flag.boolean('--apply', 'carry it out (without it: a dry run)'),
  maxDelete: {
    ...flag.custom(
      '--max-delete <n|n%>',
      'refuse if more than this would be deleted (exit code 7)',
      'a count or a per cent (example: 50, 1%, or "1%,50" for whichever is more)',
      parseDeleteLimit,
    ),
    defaultText: '1%,50',
  },
  enqueue: flag.boolean('--enqueue', 'queue the tracks for `autodj worker` instead'),
  job: flag.text(
    '--job <id>',
    'with --enqueue: count them in this row of analysis_jobs (default: a new one)',
  ),
  minAge: flag.duration('--min-age <time>', 'leave alone whatever is younger than this', '48h'),
} satisfies Flags
