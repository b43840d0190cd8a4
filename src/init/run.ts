/** `autodj init`: asks, checks, writes `.env`. */

import { chmod, chown, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { parse as parseDotenv } from 'dotenv'
import type { SettingsFileFacts } from '../config.ts'
import type { Context } from '../context.ts'
import { ignoring, updateEnv } from '../core/init/env-file.ts'
import { applicationKeys, isApplicationFile, ownFileName } from '../core/settings-files.ts'
import { printable } from '../core/units.ts'
import { limitsOf } from '../doctor/check.ts'
import { ExitCode, FatalError, systemErrorCode, systemErrorReason } from '../errors.ts'
import { replaceFile } from '../file-effects.ts'
import { readNamedFile } from '../named-files.ts'
import { type Setting, settings, type Variable } from '../settings.ts'
import type { InitFlags } from './flags.ts'
import { type Answers, type Interview, interview, type Prompter } from './interview.ts'
import { questions } from './questions.ts'
import { terminalPrompter } from './terminal.ts'

/** @param prompter instead of the terminal (tests) */
export async function runInit(context: Context, flags: InitFlags, prompter?: Prompter): Promise<ExitCode> {
  const { report, signal, cwd } = context
  const [shared, own] = await Promise.all([
    openTarget(context.config.files, 'application', path.join(cwd, '.env')),
    openTarget(context.config.files, 'own', path.join(cwd, ownFileName)),
  ])
  const terminal =
    prompter === undefined && context.interactive && !flags.yes ? terminalPrompter(signal) : undefined
  if (terminal !== undefined) context.onRelease(() => terminal.close())
  const asking = prompter ?? terminal
  if (asking !== undefined) {
    asking.say(
      `Settings for ${shared.path} and ${own.path}. Press Enter to keep the value in [brackets]; type - to clear it, < to go back to the question before. Nothing is saved until the end.`,
    )
  }
  const asked = questions(cwd, limitsOf(flags.timeout), signal)
  const { answers, failures } = await interview(
    asked,
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
    throw new FatalError(
      `${first!.variable}: ${first!.verdict.cause.replace(/\.$/, '')}; nothing was written`,
      {
        code: 'init.check',
        cure: `${first!.verdict.cure} Or write the file anyway with --force.`,
        details: { variables: failures.map(({ variable }) => variable) },
      },
    )
  }

  const moved = Object.keys(shared.values).filter(name => isSetting(name) && !applicationKeys.has(name))
  const written: string[] = []
  const ignored: string[] = []
  /** what nobody was asked for, and the environment has */
  const copied: string[] = []
  for (const target of [shared, own]) {
    const changed = changes(answers, target)
    if (Object.keys(changed).length === 0 && target.text !== undefined) continue
    if (Object.keys(changed).length === 0 && target === own) continue
    await writeEnv(target.path, updateEnv(target.text ?? '', changed))
    written.push(target.path)
    for (const [name, value] of Object.entries(changed))
      if (value !== undefined && !moved.includes(name) && !asked.some(one => one.variable === name))
        copied.push(name)
    const into = await ignoreEnv(target.path)
    if (into !== undefined && !ignored.includes(into)) ignored.push(into)
  }
  report.summary({
    lines: [
      written.length === 0
        ? 'nothing has changed'
        : `${written.join(' and ')} ${written.length === 1 ? 'is' : 'are'} written${ignored.length === 0 ? '' : `, and in ${ignored.join(', ')}`}`,
      ...(moved.length === 0
        ? []
        : [`${moved.join(', ')} moved to ${own.path}: the application refuses keys that it does not know`]),
      ...(copied.length === 0 ? [] : [`${copied.join(', ')} too, as set here: cron has another environment`]),
      ...failures.map(({ variable, verdict }) => `${variable} did not pass its check: ${verdict.cause}`),
    ],
    next: '`autodj doctor` checks all of it together',
    fields: {
      path: shared.path,
      own_path: own.path,
      written,
      moved,
      variables: Object.keys(answers),
      failed: failures.map(({ variable }) => variable),
      gitignore: ignored[0],
    },
  })
  return failures.length > 0 ? ExitCode.someFailed : ExitCode.ok
}

/** A dozen answers are not thrown away for one that does not work yet: whoever gave them decides. */
async function writeAnyway(asking: Prompter | undefined, failures: Interview['failures']): Promise<boolean> {
  const names = failures.map(({ variable }) => variable).join(', ')
  const answer = await asking?.ask(`Not working yet: ${names}. Write the file anyway? [y/N]: `, {
    secret: false,
  })
  return /^y(es)?$/i.test(answer?.trim() ?? '')
}

/** A file that is written, as it is now. */
interface Target {
  readonly kind: SettingsFileFacts['kind']
  readonly path: string
  /** undefined: there is none yet */
  readonly text: string | undefined
  readonly values: Readonly<Record<string, string>>
}

function isSetting(variable: string): boolean {
  return settings.some(setting => setting.variable === variable)
}

async function openTarget(
  files: readonly SettingsFileFacts[],
  kind: Target['kind'],
  fallback: string,
): Promise<Target> {
  const place = files.find(file => file.kind === kind)?.path ?? fallback
  const target = await realpath(place).catch(() => place)
  const text = readExisting(target)
  return { kind, path: target, text, values: parseDotenv(text ?? '') }
}

/** What of the answers the file does not say already: keys that the application knows in its file, ours in the other. */
function changes(answers: Answers, { kind, values }: Target): Record<string, string | undefined> {
  const changed: Record<string, string | undefined> = {}
  for (const { variable } of settings as readonly (Setting & { variable: Variable })[]) {
    const belongs = applicationKeys.has(variable) ? 'application' : 'own'
    const wanted = belongs === kind ? answers[variable] : undefined
    if (wanted !== values[variable] && (wanted !== undefined || variable in values))
      changed[variable] = wanted
  }
  return changed
}

function readExisting(file: string): string | undefined {
  try {
    return readNamedFile(file).toString()
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * The whole file or the old one, never readable by others, not even for a moment. An application's keeps its mode and
 * owner: the application may run as another user.
 */
async function writeEnv(target: string, text: string): Promise<void> {
  try {
    const before = isApplicationFile(Object.keys(parseDotenv(text)))
      ? await stat(target).catch(() => undefined)
      : undefined
    await replaceFile(target, text, {
      mode: 0o600,
      async prepare(draft) {
        await chmod(draft, before === undefined ? 0o600 : before.mode & 0o777)
        if (before !== undefined) await chown(draft, before.uid, before.gid).catch(() => {})
      },
    })
  } catch (error) {
    throw new FatalError(`${target} cannot be written: ${systemErrorReason(error)}`, {
      code: 'init.write',
      cause: error,
    })
  }
}

/** Adds the file to `.gitignore` if there is a repository. @returns the `.gitignore` that now has it */
async function ignoreEnv(target: string): Promise<string | undefined> {
  const folder = path.dirname(target)
  const file = path.join(folder, '.gitignore')
  const before = await readExisting(file)
  if (before === undefined && !(await insideRepository(folder))) return undefined
  const after = ignoring(before ?? '', path.basename(target))
  if (after !== undefined) {
    const mode = (await stat(file).catch(() => undefined))?.mode ?? 0o666
    await replaceFile(file, after, { mode: mode & 0o777 })
  }
  return file
}

async function insideRepository(folder: string): Promise<boolean> {
  for (let at = folder; ; at = path.dirname(at)) {
    if ((await stat(path.join(at, '.git')).catch(() => undefined)) !== undefined) return true
    if (path.dirname(at) === at) return false
  }
}
