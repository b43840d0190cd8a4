/**
 * How a stored `file_path` and a file on this machine belong together. Pure: whether a file is there is asked by whoever
 * opens it.
 *
 * The application writes `Path(AUDIO_STORAGE_PATH) / artist / title` and opens what a row says from its working
 * directory. So `audio/Artist/Title.mp3`, with the folder's own name in it, is what a library usually holds;
 * `/app/audio/…` if the application runs in a container, and what other machines, scripts and an earlier autodj
 * wrote besides. A row is read as the application reads it first, and in every other form only where that leads nowhere.
 */
import path from 'node:path'

/** The audio folder: where it is on this machine, and what the application calls it. */
export interface AudioFolder {
  /** on this machine, absolute */
  readonly root: string
  /** AUDIO_STORAGE_PATH as the application says it: relative to its working directory, or absolute on its machine */
  readonly storagePath: string
  /** the application's working directory on this machine, absolute */
  readonly applicationDir: string
}

/**
 * What a stored path is. `application`: as the application writes it · `absolute`: the whole path on this machine ·
 * `elsewhere`: the whole path on another machine or in a container · `windows`: with backslashes or a drive letter ·
 * `url`: `file://…` · `bare`: below the folder without its name, as an earlier autodj wrote it. The application opens
 * neither of the last two.
 */
export type PathForm = 'application' | 'absolute' | 'elsewhere' | 'windows' | 'url' | 'bare'

/** One way to read a stored path. */
export interface PathReading {
  readonly form: PathForm
  /** below the root, in the spelling of the row, with this machine's separators */
  readonly relative: string
  /** what stands before `relative` in the row, its separator included */
  readonly prefix: string
}

type StoredPath =
  | {
      readonly ok: true
      /** at least one; the first whose file is there is the right one */
      readonly readings: readonly [PathReading, ...PathReading[]]
      /** files beside the audio folder that the application would open for this row, before any of the readings */
      readonly outside: readonly string[]
    }
  | {
      readonly ok: false
      readonly reason: string
      readonly cure: string
      readonly outside: readonly string[]
    }

/** Whether the application opens paths of this form, on whatever machine it runs. */
export function isOpenedByApplication(form: PathForm): boolean {
  return form !== 'bare' && form !== 'url'
}

/** A folder that no application has another name for. @param root absolute */
export function plainFolder(root: string): AudioFolder {
  return { root, storagePath: root, applicationDir: root }
}

/**
 * What a `file_path` may mean.
 *
 * @param filePath byte for byte as the row has it
 */
export function readStoredPath(filePath: string, folder: AudioFolder): StoredPath {
  const outside: string[] = []
  const refuse = (reason: string, cure: string): StoredPath => ({ ok: false, reason, cure, outside })
  if (filePath === '') return refuse('file_path is empty', 'Run `autodj import` to find the file again.')
  if (filePath.includes('\0')) return refuse('file_path contains a NUL byte', 'Correct the row.')

  const readings: PathReading[] = []
  let isRoot = false
  /** @param absolute on this machine @param spelt the row's text, with `/` */
  const add = (form: PathForm, absolute: string, spelt: string): void => {
    const relative = path.relative(folder.root, absolute)
    if (relative === '') isRoot = true
    else if (isOutside(relative)) outside.push(absolute)
    else if (!readings.some(one => one.relative === relative)) {
      readings.push({ form, relative, prefix: prefixOf(spelt, relative) })
    }
  }

  readPosix(filePath, folder, add)
  if (/^file:\/\//i.test(filePath)) {
    const spelt = pathOfUrl(filePath)
    if (spelt !== undefined) readForeign('url', spelt, folder, add)
  } else if (/\\|^[a-z]:\//i.test(filePath)) {
    readForeign('windows', filePath.replaceAll('\\', '/'), folder, add)
  }
  const spelt = path.posix.normalize(filePath)
  if (!path.posix.isAbsolute(spelt)) add('bare', path.resolve(folder.root, spelt), spelt)

  const [first, ...rest] = readings
  if (first !== undefined) return { ok: true, readings: [first, ...rest], outside }
  if (isRoot) return refuse('file_path is the audio folder itself', 'Correct the row.')
  return refuse(
    `file_path is outside the audio folder: ${filePath}`,
    'Move the file under AUDIO_STORAGE_PATH, or set AUDIO_STORAGE_PATH to the folder that holds it; if the folder is mounted elsewhere on this machine, say where with --audio-root.',
  )
}

type Add = (form: PathForm, absolute: string, spelt: string) => void

/** As the application on a POSIX machine reads it, then as others may have meant it. */
function readPosix(filePath: string, folder: AudioFolder, add: Add): void {
  const spelt = path.posix.normalize(filePath)
  const below = afterPrefix(parts(spelt), parts(pythonPath(folder.storagePath)))
  const said = path.posix.isAbsolute(spelt) === path.posix.isAbsolute(folder.storagePath)
  if (below !== undefined && said) add('application', path.join(folder.root, ...below), spelt)

  if (path.posix.isAbsolute(spelt)) {
    add('absolute', path.resolve(spelt), spelt)
    for (const rest of afterFolderName(parts(spelt), folder)) {
      add('elsewhere', path.join(folder.root, ...rest), spelt)
    }
    return
  }
  if (below === undefined || !said) add('application', path.resolve(folder.applicationDir, spelt), spelt)
  if (spelt.startsWith('../')) return
  // Relative to a folder above the audio folder that is not where we think that the application works.
  for (const rest of afterTail(parts(spelt), parts(folder.root))) {
    add('application', path.join(folder.root, ...rest), spelt)
  }
}

/** A path of another kind of machine, with `/` between its parts. */
function readForeign(form: PathForm, spelt: string, folder: AudioFolder, add: Add): void {
  const normal = path.posix.normalize(spelt)
  const all = parts(normal)
  const storage = parts(folder.storagePath.replaceAll('\\', '/'))
  const lower = (words: readonly string[]): string[] => words.map(word => word.toLowerCase())
  if (afterPrefix(lower(all), lower(storage)) !== undefined) {
    add(form, path.join(folder.root, ...all.slice(storage.length)), normal)
  }
  if (path.posix.isAbsolute(normal) && isInside(folder.root, path.resolve(normal))) {
    add(form, path.resolve(normal), normal)
  }
  for (const rest of afterFolderName(all, folder)) add(form, path.join(folder.root, ...rest), normal)
  if (!path.posix.isAbsolute(normal) && !/^[a-z]:/i.test(normal) && !normal.startsWith('../')) {
    add(form, path.join(folder.root, normal), normal)
  }
}

/** What follows the name of the audio folder wherever it occurs, leftmost first: `/app/audio/A/B.mp3` is `A/B.mp3`. */
function afterFolderName(all: readonly string[], folder: AudioFolder): string[][] {
  const names = new Set(
    [parts(folder.storagePath.replaceAll('\\', '/')).at(-1), parts(folder.root).at(-1)].filter(
      name => name !== undefined && name !== '.' && name !== '..',
    ),
  )
  return all.flatMap((part, index) =>
    names.has(part) && index < all.length - 1 ? [all.slice(index + 1)] : [],
  )
}

/** What follows the longest end of the root with which the path begins, then the next longest. */
function afterTail(all: readonly string[], root: readonly string[]): string[][] {
  const rests: string[][] = []
  for (let length = Math.min(root.length, all.length - 1); length > 0; length--) {
    const tail = root.slice(-length)
    if (tail.every((part, index) => all[index] === part)) rests.push(all.slice(length))
  }
  return rests
}

function afterPrefix(all: readonly string[], prefix: readonly string[]): string[] | undefined {
  if (prefix.includes('..') || all.length <= prefix.length) return undefined
  return prefix.every((part, index) => all[index] === part) ? all.slice(prefix.length) : undefined
}

function parts(text: string): string[] {
  return text.split('/').filter(part => part !== '' && part !== '.')
}

/** A path as Python's pathlib writes it: without `.`, empty parts and a slash at the end; `..` stays. */
function pythonPath(text: string): string {
  return (text.startsWith('/') ? '/' : '') + parts(text).join('/')
}

function pathOfUrl(url: string): string | undefined {
  try {
    return decodeURIComponent(new URL(url).pathname)
  } catch {
    return undefined
  }
}

function prefixOf(spelt: string, relative: string): string {
  const tail = portable(relative)
  return spelt.endsWith(tail) ? spelt.slice(0, spelt.length - tail.length) : ''
}

/** Whether a path made by `path.relative` leaves its base. */
export function isOutside(relative: string): boolean {
  return relative === '..' || relative.startsWith(`..${path.sep}`) || path.isAbsolute(relative)
}

function isInside(base: string, target: string): boolean {
  const relative = path.relative(base, target)
  return relative !== '' && !isOutside(relative)
}

/** How new paths are written. */
export interface PathStyle {
  /** what stands before the path below the audio folder, its separator included */
  readonly prefix: string
  readonly separator: '/' | '\\'
}

/** As the application writes a new file's path. */
export function applicationStyle({ storagePath }: Pick<AudioFolder, 'storagePath'>): PathStyle {
  if (/^[a-z]:[\\/]|\\/i.test(storagePath)) {
    return { prefix: `${storagePath.replace(/[\\/]+$/, '').replaceAll('/', '\\')}\\`, separator: '\\' }
  }
  const said = pythonPath(storagePath)
  return { prefix: said === '' || said === '/' ? said : `${said}/`, separator: '/' }
}

/**
 * The style that most of these paths have, of those that an application opens; the application's own if none is.
 *
 * @param filePaths a sample of the library's rows
 */
export function libraryStyle(filePaths: Iterable<string>, folder: AudioFolder): PathStyle {
  const counts = new Map<string, { style: PathStyle; count: number }>()
  for (const filePath of filePaths) {
    const stored = readStoredPath(filePath, folder)
    if (!stored.ok) continue
    const [{ form, prefix }] = stored.readings
    if (!isOpenedByApplication(form)) continue
    const separator = form === 'windows' ? '\\' : '/'
    const style: PathStyle = { prefix: prefix.replaceAll('/', separator), separator }
    const known = counts.get(style.prefix)
    if (known === undefined) counts.set(style.prefix, { style, count: 1 })
    else known.count += 1
  }
  const own = applicationStyle(folder)
  let best = { style: own, count: counts.get(own.prefix)?.count ?? 0 }
  for (const candidate of counts.values()) if (candidate.count > best.count) best = candidate
  return best.style
}

/** A path below the audio folder as the ledger keeps it: `/` between its parts on every machine. */
export function portable(relative: string): string {
  return relative.split(path.sep).join('/')
}

/** @param relative below the audio folder, with this machine's separators or `/` */
export function writeStoredPath(relative: string, { prefix, separator }: PathStyle): string {
  return prefix + portable(relative).replaceAll('/', separator)
}
