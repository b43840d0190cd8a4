/** `autodj init`: asks, checks, writes `.env`. */
import { randomUUID } from 'node:crypto'
import { chmod, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { parse as parseDotenv } from 'dotenv'
import { type Setting, settings, type Variable } from '../config.ts'
import type { Context } from '../context.ts'
import { ignoring, updateEnv } from '../core/init/env-file.ts'
import { printable } from '../core/units.ts'
import { limitsOf } from '../doctor/check.ts'
import { ExitCode, FatalError, systemErrorCode } from '../errors.ts'
import { type Answers, type Interview, interview, type Prompter } from './interview.ts'
import { questions } from './questions.ts'
import { terminalPrompter } from './terminal.ts'

export interface InitFlags {
  /** write although a check failed */
  force: boolean
  /** do not ask, take flags, environment and the file as it is */
  yes: boolean
  /** ms that an answer is waited for; default 5,000 */
  timeout?: number
}

/** @param prompter instead of the terminal (tests) */
export async function runInit(context: Context, flags: InitFlags, prompter?: Prompter): Promise<ExitCode> {
  const { report, signal, cwd } = context
  const target = await realpath(context.config.envFile.path).catch(() => context.config.envFile.path)
  const existing = await readExisting(target)
  const inFile = parseDotenv(existing ?? '')
  const terminal =
    prompter === undefined && context.interactive && !flags.yes ? terminalPrompter(signal) : undefined
  if (terminal !== undefined) context.onRelease(() => terminal.close())
  const asking = prompter ?? terminal
  if (asking !== undefined) {
    asking.say(
      `Settings for ${target}. ENTER takes what is in brackets, - unsets it; nothing is written before the end.`,
    )
  }
  const { answers, failures } = await interview(
    questions(cwd, limitsOf(flags.timeout), signal),
    context.config.given,
    asking,
    (variable, { state, cause, cure }) => {
      const text = `${state === 'ok' ? report.style.green('ok') : report.style.yellow(state)} ${variable}: ${printable(cause)}`
      if (asking !== undefined) asking.say(`  ${text}${cure === undefined ? '' : `\n  → ${printable(cure)}`}`)
      else report.item({ subject: variable, state, reason: cause, cure, text })
    },
  )
  const anyway = flags.force || (failures.length > 0 && (await writeAnyway(asking, failures)))
  terminal?.close()
  if (failures.length > 0 && !anyway) {
    const [first] = failures
    throw new FatalError(`${first!.variable}: ${first!.verdict.cause}; nothing was written`, {
      code: 'init.check',
      cure: `${first!.verdict.cure}; or write it all the same with --force`,
      details: { variables: failures.map(({ variable }) => variable) },
    })
  }

  await writeEnv(target, updateEnv(existing ?? '', changes(answers, inFile)))
  const ignored = await ignoreEnv(target)
  report.summary({
    lines: [
      `${target} is written (mode 600)${ignored === undefined ? '' : `, and in ${ignored}`}`,
      ...failures.map(({ variable, verdict }) => `${variable} did not pass its check: ${verdict.cause}`),
    ],
    next: '`autodj doctor` checks all of it together',
    fields: {
      path: target,
      variables: Object.keys(answers),
      failed: failures.map(({ variable }) => variable),
      gitignore: ignored,
    },
  })
  return failures.length > 0 ? ExitCode.someFailed : ExitCode.ok
}

/** A dozen answers are not thrown away for one that does not work yet: whoever gave them decides. */
async function writeAnyway(asking: Prompter | undefined, failures: Interview['failures']): Promise<boolean> {
  const names = failures.map(({ variable }) => variable).join(', ')
  const answer = await asking?.ask(`Not working yet: ${names}. Write the file all the same? [y/N]: `, {
    secret: false,
  })
  return /^y(es)?$/i.test(answer?.trim() ?? '')
}

/** What of the answers the file does not say already. */
function changes(
  answers: Answers,
  inFile: Readonly<Record<string, string>>,
): Record<string, string | undefined> {
  const changed: Record<string, string | undefined> = {}
  for (const { variable } of settings as readonly (Setting & { variable: Variable })[]) {
    const answer = answers[variable]
    if (answer !== inFile[variable] && (answer !== undefined || variable in inFile))
      changed[variable] = answer
  }
  return changed
}

async function readExisting(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The whole file or the old one, never readable by others, not even for a moment. */
async function writeEnv(target: string, text: string): Promise<void> {
  const draft = `${target}.${randomUUID()}`
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await chmod(draft, 0o600)
    await rename(draft, target)
  } catch (error) {
    await rm(draft, { force: true })
    throw new FatalError(`${target} cannot be written: ${systemErrorCode(error) ?? error}`, {
      code: 'init.write',
      cure: 'check the folder and its permissions',
      cause: error,
    })
  }
}

/** Adds the file to `.gitignore` where there is a repository. @returns the `.gitignore` that now has it */
async function ignoreEnv(target: string): Promise<string | undefined> {
  const folder = path.dirname(target)
  const file = path.join(folder, '.gitignore')
  const before = await readExisting(file)
  if (before === undefined && !(await insideRepository(folder))) return undefined
  const after = ignoring(before ?? '', path.basename(target))
  if (after !== undefined) {
    const opened = await open(file, 'w')
    try {
      await opened.writeFile(after)
    } finally {
      await opened.close()
    }
  }
  return file
}

async function insideRepository(folder: string): Promise<boolean> {
  for (let at = folder; ; at = path.dirname(at)) {
    if ((await stat(path.join(at, '.git')).catch(() => undefined)) !== undefined) return true
    if (path.dirname(at) === at) return false
  }
}
