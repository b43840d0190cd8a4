/**
 * The files that settings come from. The application's `.env` and our own `autodj.env` beside it, the latter read after
 * the former; then one for this user, and one for this machine.
 */
import { statSync } from 'node:fs'
import path from 'node:path'
import { parse as parseDotenv } from 'dotenv'
import { isApplicationFile, ownFileName } from './core/settings-files.ts'
import { systemErrorCode, systemErrorReason, UsageError } from './errors.ts'
import { readNamedFile } from './named-files.ts'

export interface SettingsFile {
  /** absolute */
  readonly path: string
  readonly found: boolean
  readonly values: Readonly<Record<string, string>>
  /** `application`: read by the application too · `own`: by autodj alone */
  readonly kind: 'application' | 'own'
}

interface FileSources {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** `--settings`; null: no file is read */
  readonly named: string | null | undefined
}

/**
 * All files that are looked at, the stronger first: whether there or not. A file that is named, by `--settings` or
 * AUTODJ_SETTINGS, must be there, brings the one beside it along, and is then all there is.
 *
 * @throws UsageError for a named file that is not there, and for one that cannot be read
 */
export function readSettingsFiles({ env, cwd, named }: FileSources): SettingsFile[] {
  if (named === null) return []
  const given = named ?? (env['AUTODJ_SETTINGS'] || undefined)
  if (given !== undefined) {
    const file = path.resolve(cwd, expandHome(given, env))
    const first = read(file, named === undefined ? 'AUTODJ_SETTINGS' : '--settings')
    const folder = path.dirname(file)
    if (path.basename(file) === ownFileName && !isApplicationFile(Object.keys(first.values))) {
      return [{ ...first, kind: 'own' }, read(path.join(folder, '.env'))]
    }
    return [read(path.join(folder, ownFileName)), { ...first, kind: 'application' }]
  }
  const home = env['HOME']
  const userFolder = env['XDG_CONFIG_HOME'] || (home ? path.join(home, '.config') : undefined)
  const places = [
    path.join(cwd, ownFileName),
    path.join(cwd, '.env'),
    ...(userFolder === undefined ? [] : [path.join(userFolder, 'autodj', ownFileName)]),
    path.join('/etc/autodj', ownFileName),
  ]
  return [...new Set(places.map(place => path.resolve(cwd, place)))].map(place => read(place))
}

/** `~` and `~/…` as a shell reads them. @throws UsageError for another user's home, and if there is none */
export function expandHome(text: string, env: FileSources['env']): string {
  if (!text.startsWith('~')) return text
  const home = env['HOME']
  if (!/^~(\/|$)/.test(text) || !home) {
    throw new UsageError(
      `"${text}": ${home ? '~USER is not supported' : 'HOME is not set, so ~ leads nowhere'}`,
      { code: 'config.home' },
    )
  }
  return path.join(home, text.slice(1))
}

/** @param requiredBy what named it; undefined if it may be absent */
function read(file: string, requiredBy?: string): SettingsFile {
  const kind = path.basename(file) === ownFileName ? 'own' : 'application'
  try {
    if (!statSync(file).isFile()) throw new UsageError(`${file} is not a file`, { code: 'config.env-file' })
    return { path: file, found: true, values: parseDotenv(readNamedFile(file)), kind }
  } catch (error) {
    const code = systemErrorCode(error)
    if ((code === 'ENOENT' || code === 'ENOTDIR') && requiredBy === undefined) {
      return { path: file, found: false, values: {}, kind }
    }
    if (error instanceof UsageError) throw error
    throw new UsageError(`cannot read ${file}: ${systemErrorReason(error)}`, {
      code: 'config.env-file',
      cure:
        requiredBy === undefined
          ? 'Make it readable, or move it away.'
          : `Give the path of a readable file to ${requiredBy}.`,
    })
  }
}
