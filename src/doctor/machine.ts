/** Checks of this machine: files and their permissions, clock, disk. */
import { access, constants, readFile, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type Config, lookedAt } from '../config.ts'
import { ownFileName } from '../core/settings-files.ts'
import { formatBytes, formatDuration } from '../core/units.ts'
import { systemErrorCode, systemErrorReason } from '../errors.ts'
import { settings } from '../settings.ts'
import { failure, ok, skipped, type Verdict, warning } from './check.ts'

/** ms: S3 refuses requests signed more than 15 minutes off; half a minute is already no clock that NTP keeps */
const clockRefused = 15 * 60_000
const clockSuspect = 30_000
const freeWanted = 2 * 1024 ** 3
const freeNeeded = 100 * 1024 ** 2

/** The worst of what is to be said of the settings files. */
export async function checkSettingsFiles(config: Config): Promise<Verdict> {
  const found = config.files.filter(file => file.found)
  if (found.length === 0)
    return skipped(`no settings file: settings come from the environment. ${lookedAt(config)}`)
  for (const { path: file, refused } of found) {
    if (refused.length === 0) continue
    const own = path.join(path.dirname(file), ownFileName)
    return warning(
      `${file} is the application's, and it refuses ${refused.join(', ')}: it will not start with ${refused.length === 1 ? 'it' : 'them'}`,
      `Move ${refused.length === 1 ? 'that line' : 'those lines'} to ${own}; \`autodj init --yes\` does so for settings of autodj.`,
    )
  }
  for (const { path: file } of found) {
    const open = await openToOthers(file)
    if (open !== undefined) return open
  }
  for (const { path: file, unknown } of found) {
    if (unknown.length === 0) continue
    const begins = new Set(unknown.map(variable => variable.split('_')[0]))
    const alike = settings.map(({ variable }) => variable).filter(one => begins.has(one.split('_')[0]))
    return warning(
      `${unknown.join(', ')} in ${file} ${unknown.length === 1 ? 'is not a setting' : 'are not settings'} of autodj`,
      `If it was meant for autodj, correct it to one of: ${alike.join(', ')}.`,
    )
  }
  for (const { path: file } of found) {
    const folder = path.dirname(file)
    if ((await stat(path.join(folder, '.git')).catch(() => undefined)) === undefined) continue
    const name = path.basename(file)
    const ignored = await readFile(path.join(folder, '.gitignore'), 'utf8').catch(() => '')
    const patterns = ['.env', '.env*', '*.env', name].flatMap(one => [one, `/${one}`])
    const matching = name === '.env' ? patterns : patterns.filter(one => !/^\/?\.env/.test(one))
    if (!ignored.split(/\r?\n/).some(line => matching.includes(line.trim()))) {
      return warning(
        `${file} is not in .gitignore`,
        `Run \`echo ${name} >> .gitignore\`, so that its secrets are never committed.`,
      )
    }
  }
  return ok(found.map(({ path: file }) => file).join(', '))
}

/** A warning when the file can be read by others than its owner; nothing to say on Windows. */
export async function openToOthers(file: string): Promise<Verdict | undefined> {
  const { mode } = await stat(file)
  if (process.platform === 'win32' || (mode & 0o077) === 0) return undefined
  return warning(
    `${file} holds secrets and others may read it (mode ${(mode & 0o777).toString(8)})`,
    `Run \`chmod 600 ${file}\`.`,
  )
}

/** @param date the server's `Date` header */
export function checkClock(date: string | undefined, now: Date): Verdict {
  const server = Date.parse(date ?? '')
  if (Number.isNaN(server)) return ok('reachable; it does not report the time')
  const skew = now.getTime() - server
  const words = `this clock is ${formatDuration(Math.abs(skew))} ${skew > 0 ? 'fast' : 'slow'}`
  // A Date header has whole seconds.
  if (Math.abs(skew) > clockRefused)
    return failure(`${words}: S3 will refuse requests`, 'Set the clock (enable NTP).')
  if (Math.abs(skew) > clockSuspect) return warning(words, 'Set the clock (enable NTP).')
  return ok('reachable, clocks agree')
}

export async function checkAudioFolder(folder: string): Promise<Verdict> {
  const found = await stat(folder).catch((error: unknown) => systemErrorReason(error))
  if (typeof found === 'string') {
    return warning(
      `${folder}: ${found}`,
      'Set AUDIO_STORAGE_PATH to the folder with the local audio, if there is one.',
    )
  }
  if (!found.isDirectory()) return failure(`${folder} is not a folder`, 'Correct AUDIO_STORAGE_PATH.')
  try {
    await access(folder, constants.R_OK | constants.X_OK)
  } catch {
    return failure(
      `${folder} cannot be read by this user`,
      'Grant read access, or run as the user who owns it.',
    )
  }
  return ok(folder)
}

export async function checkTempSpace(): Promise<Verdict> {
  const folder = tmpdir()
  try {
    await access(folder, constants.W_OK)
  } catch (error) {
    return failure(
      `${folder} ${systemErrorCode(error) === 'ENOENT' ? 'does not exist' : 'cannot be written to'}`,
      'Set TMPDIR to a folder that can be written to.',
    )
  }
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  const words = `${formatBytes(free)} free in ${folder}`
  if (free < freeNeeded)
    return failure(words, 'Free some space, or set TMPDIR to a larger disk: fetch and analyze need it.')
  if (free < freeWanted) return warning(words, 'Large files need more: set TMPDIR to a larger disk.')
  return ok(words)
}
