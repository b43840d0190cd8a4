/** A local file as the source of an upload: opened without surprises, and known to be the same from start to end. */
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
} from 'node:fs'
import { open, readdir, realpath } from 'node:fs/promises'
import path from 'node:path'
import { type AudioFolder, isOutside, type PathReading, readStoredPath } from '../core/audio-path.ts'
import { FatalError, ItemError, systemErrorCode, systemRefusal, toError } from '../errors.ts'
import { isTooManyFiles, openInTurn } from '../open-files.ts'

/** Why a file was not taken. `refused` is a row that must be corrected; the rest may be different next time. */
export type LocalFileProblem =
  | 'refused'
  | 'missing'
  | 'empty'
  | 'not-a-file'
  | 'unreadable'
  | 'changed'
  | 'loop'

export class LocalFileError extends ItemError {
  readonly problem: LocalFileProblem

  constructor(problem: LocalFileProblem, reason: string, cure?: string, cause?: unknown) {
    super(`file.${problem}`, reason, cure, cause)
    this.problem = problem
  }
}

/** What tells one state of a file from another. */
export interface FileIdentity {
  /** bytes */
  readonly size: number
  /** nanoseconds since 1970 */
  readonly mtimeNs: bigint
  /** of the last change, attributes included: unlike the other time, nobody sets it. Nanoseconds since 1970 */
  readonly ctimeNs: bigint
  readonly inode: bigint
  readonly device: bigint
}

export interface Source extends FileIdentity {
  /** when it was last read, as far as the file system says; nanoseconds since 1970 */
  readonly atimeNs: bigint
  readonly absolute: string
  /** below the audio folder, as the disk spells it */
  readonly relative: string
  /** a symbolic link below the audio folder led to it: the file has another name, and may be there for others */
  readonly isLinked: boolean
  readonly descriptor: number
  /** Fills `target` from `offset`. @throws LocalFileError `changed` when the file ends before */
  read(target: Buffer, offset: number): Promise<void>
  /** @throws LocalFileError `changed` when it is not the file it was when opened */
  assertUnchanged(): Promise<void>
  close(): Promise<void>
}

type MaybePromise<T> = T | Promise<T>

/** The few calls of the file system that sources need. */
interface Disk {
  realpath(path: string): MaybePromise<string>
  readdir(path: string): MaybePromise<string[]>
  open(path: string, flags: number): MaybePromise<OpenFile>
}

interface OpenFile {
  readonly fd: number
  stat(options: { bigint: true }): MaybePromise<BigIntStats>
  read(target: Buffer, at: number, length: number, position: number): MaybePromise<{ bytesRead: number }>
  close(): MaybePromise<void>
}

/** Calls that never block: for threads that have others to serve. */
const asynchronousDisk: Disk = {
  realpath,
  readdir,
  open: (target, flags) => openInTurn(() => open(target, flags)),
}

/** Calls that block, at a tenth of the cost: for threads that do nothing else. */
export const blockingDisk: Disk = {
  realpath: realpathSync.native,
  readdir: target => readdirSync(target),
  async open(target, flags) {
    const fd = await openInTurn(() => openSync(target, flags))
    return {
      fd,
      stat: options => fstatSync(fd, options),
      read: (bytes, at, length, position) => ({ bytesRead: readSync(fd, bytes, at, length, position) }),
      close: () => closeSync(fd),
    }
  },
}

/** The audio folder with its own links resolved. @throws LocalFileError when there is no such folder */
export async function openRoot(audioRoot: string): Promise<string> {
  try {
    return await realpath(audioRoot)
  } catch (error) {
    throw localFileError(error, `audio folder ${audioRoot}`)
  }
}

/** Whether there is such a folder: without it (not mounted, misspelt) every file below looks gone. */
export async function folderExists(folder: string): Promise<boolean> {
  return openRoot(folder).then(
    () => true,
    () => false,
  )
}

/** A folder that is not there (not mounted, misspelt) is one error, not one for every track. @throws FatalError */
export async function requireAudioRoot(audioRoot: string): Promise<string> {
  try {
    return await openRoot(audioRoot)
  } catch (error) {
    throw new FatalError(toError(error).message, { code: 'config.audio-root' })
  }
}

/** Where a row's file is, and in which form the row says so. */
interface FoundSource {
  readonly reading: PathReading
  /** with its links resolved, absolute */
  readonly real: string
  /** whether there was a link to resolve below the root */
  readonly isLinked: boolean
}

/**
 * Finds a track's file: the first reading of `file_path` that leads to something. Links are followed as long as they
 * stay under the root. A name that is not there is looked for in its other Unicode forms.
 *
 * @param root as {@link openRoot} gave it
 * @throws LocalFileError
 */
export async function findSource(
  filePath: string,
  folder: AudioFolder,
  root: string,
  disk: Pick<Disk, 'realpath' | 'readdir'> = asynchronousDisk,
): Promise<FoundSource> {
  const stored = readStoredPath(filePath, folder)
  for (const file of stored.outside) {
    const found = await findBeside(file, filePath, root, disk)
    if (found !== undefined) return found
  }
  if (!stored.ok) throw new LocalFileError('refused', stored.reason, stored.cure)
  let missing: unknown
  for (const reading of stored.readings) {
    let found: Pick<FoundSource, 'real' | 'isLinked'>
    try {
      found = await findOnDisk(reading.relative, root, disk)
    } catch (error) {
      if (!(error instanceof LocalFileError) || error.problem !== 'missing') throw error
      missing ??= error
      continue
    }
    if (isOutside(path.relative(root, found.real))) {
      throw new LocalFileError(
        'refused',
        `${reading.relative} is a link that points outside the audio folder`,
        'Replace the link with the file, or set AUDIO_STORAGE_PATH to a folder that holds both.',
      )
    }
    return { reading, ...found }
  }
  throw missing
}

/**
 * What the application opens for this row by a path that is not below the audio folder as we know it. Where a link made
 * that so (the root is one), it is the file; where it lies beside the root, no other reading of the row is.
 */
async function findBeside(
  file: string,
  filePath: string,
  root: string,
  disk: Pick<Disk, 'realpath'>,
): Promise<FoundSource | undefined> {
  let real: string
  try {
    real = await disk.realpath(file)
  } catch {
    return undefined
  }
  const relative = path.relative(root, real)
  if (!isOutside(relative) && relative !== '') {
    return { reading: { form: 'absolute', relative, prefix: '' }, real, isLinked: real !== file }
  }
  throw new LocalFileError(
    'refused',
    `file_path is outside the audio folder: ${filePath}`,
    'Move the file under AUDIO_STORAGE_PATH, or set AUDIO_STORAGE_PATH to the folder that holds it.',
  )
}

/**
 * Opens a track's file, as {@link findSource} finds it; pipes and devices are never waited for.
 *
 * @param root as {@link openRoot} gave it
 * @throws LocalFileError
 */
export async function openSource(
  filePath: string,
  folder: AudioFolder,
  root: string,
  disk: Disk = asynchronousDisk,
): Promise<Source> {
  const { reading: resolved, real, isLinked } = await findSource(filePath, folder, root, disk)
  const relative = path.relative(root, real)
  let handle: OpenFile
  try {
    handle = await openUnused(disk, real, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  } catch (error) {
    throw localFileError(error, resolved.relative)
  }
  try {
    const stats = await handle.stat({ bigint: true })
    if (!stats.isFile()) {
      throw new LocalFileError('not-a-file', `${resolved.relative} is ${kindOf(stats)}, not a file`)
    }
    if (stats.size === 0n) {
      throw new LocalFileError('empty', `${resolved.relative} is empty (0 bytes)`)
    }
    return new OpenSource(handle, { absolute: real, relative, isLinked }, stats)
  } catch (error) {
    await handle.close()
    throw error instanceof LocalFileError ? error : localFileError(error, resolved.relative)
  }
}

/**
 * Opens a file so that our reading it is no use of it, if that can be had (Linux, one's own files): `cleanup` goes
 * by the time of last use.
 */
async function openUnused(disk: Disk, file: string, flags: number): Promise<OpenFile> {
  try {
    // A system without such a flag adds none.
    return await disk.open(file, flags | constants.O_NOATIME)
  } catch (error) {
    if (systemErrorCode(error) !== 'EPERM') throw error
    return disk.open(file, flags)
  }
}

/** What {@link openSource} would open, without opening it: for plans. @throws LocalFileError */
export async function statSource(
  filePath: string,
  folder: AudioFolder,
  root: string,
): Promise<FileIdentity & Pick<Source, 'atimeNs' | 'absolute' | 'relative' | 'isLinked'>> {
  const source = await openSource(filePath, folder, root)
  await source.close()
  return source
}

/**
 * `file_path` as a path below the root with `/`; undefined if it leads out of it (such a row is refused wherever
 * its file would be touched).
 */
export async function relativePath(filePath: string, folder: AudioFolder): Promise<string | undefined> {
  const stored = readStoredPath(filePath, folder)
  const readings: readonly PathReading[] = stored.ok ? stored.readings : []
  let relative = readings[0]?.relative
  // A path beside the folder may lead into it by a link.
  if (readings.length > 1 || stored.outside.length > 0) {
    try {
      relative = (await findSource(filePath, folder, await openRoot(folder.root))).reading.relative
    } catch (error) {
      if (!(error instanceof LocalFileError)) throw error
      if (error.problem === 'refused') return undefined
    }
  }
  return relative?.split(path.sep).join('/')
}

/** What was written down of a file; null: an older autodj did not, or could not, and no file is the same then. */
type RememberedIdentity = { readonly [K in keyof FileIdentity]: FileIdentity[K] | null }

/** Whether two observations are of one unchanged file. */
export function isSameFile(a: RememberedIdentity, b: FileIdentity): boolean {
  return (
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs &&
    a.inode === b.inode &&
    a.device === b.device
  )
}

/** What tells this state of a file from another. */
export function identityOf({ size, mtimeNs, ctimeNs, ino, dev }: BigIntStats): FileIdentity {
  return { size: Number(size), mtimeNs, ctimeNs, inode: ino, device: dev }
}

class OpenSource implements Source {
  readonly size: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly inode: bigint
  readonly device: bigint
  readonly atimeNs: bigint
  readonly absolute: string
  readonly relative: string
  readonly isLinked: boolean
  readonly #handle: OpenFile

  constructor(
    handle: OpenFile,
    { absolute, relative, isLinked }: Pick<Source, 'absolute' | 'relative' | 'isLinked'>,
    stats: BigIntStats,
  ) {
    this.#handle = handle
    this.absolute = absolute
    this.relative = relative
    this.isLinked = isLinked
    this.size = Number(stats.size)
    this.mtimeNs = stats.mtimeNs
    this.ctimeNs = stats.ctimeNs
    this.inode = stats.ino
    this.device = stats.dev
    this.atimeNs = stats.atimeNs
  }

  get descriptor(): number {
    return this.#handle.fd
  }

  async read(target: Buffer, offset: number): Promise<void> {
    for (let filled = 0; filled < target.length; ) {
      let bytesRead: number
      try {
        ;({ bytesRead } = await this.#handle.read(target, filled, target.length - filled, offset + filled))
      } catch (error) {
        throw localFileError(error, this.relative)
      }
      if (bytesRead === 0) throw this.#changed('it became shorter')
      filled += bytesRead
    }
  }

  async assertUnchanged(): Promise<void> {
    if (!isSameFile(this, identityOf(await this.#handle.stat({ bigint: true }))))
      throw this.#changed('size or time differ')
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  #changed(how: string): LocalFileError {
    return new LocalFileError('changed', `${this.relative} changed while it was read (${how})`)
  }
}

/** The real path of a file below the root, its name in whatever Unicode form the disk has it. */
async function findOnDisk(
  relative: string,
  root: string,
  disk: Pick<Disk, 'realpath' | 'readdir'>,
): Promise<Pick<FoundSource, 'real' | 'isLinked'>> {
  const resolve = async (spelled: string) => {
    const wanted = path.join(root, spelled)
    const real = await disk.realpath(wanted)
    // Some file systems know a name in any letter case, and tell it in its own.
    return { real, isLinked: sameName(real) !== sameName(wanted) }
  }
  try {
    return await resolve(relative)
  } catch (error) {
    const spelled = await respell(relative, root, disk)
    if (spelled === undefined) throw localFileError(error, relative)
    return resolve(spelled).catch(again => {
      throw localFileError(again, relative)
    })
  }
}

/** A name in the form in which file systems that are not exact about names compare them. */
export function sameName(name: string): string {
  return name.normalize('NFC').toLowerCase()
}

/** ASCII is its own only Unicode form, but for three characters that others decompose to (U+037E, U+1FEF, U+212A). */
const hasOneForm = /^[^;`K\u0080-\uffff]*$/

/** Each segment as the folder spells it, where only the Unicode form differs; undefined when none other is there. */
async function respell(
  relative: string,
  root: string,
  disk: Pick<Disk, 'readdir'>,
): Promise<string | undefined> {
  let found = ''
  for (const segment of relative.split(path.sep)) {
    if (hasOneForm.test(segment)) {
      found = path.join(found, segment)
      continue
    }
    let entries: string[]
    try {
      entries = await disk.readdir(path.join(root, found))
    } catch {
      return undefined
    }
    const wanted = segment.normalize('NFC')
    const match = entries.includes(segment)
      ? segment
      : entries.find(entry => entry.normalize('NFC') === wanted)
    if (match === undefined) return undefined
    found = path.join(found, match)
  }
  return found
}

/** What the file system said, as the problem of a file. @throws TemporaryError if too many files are open: no file's problem */
export function localFileError(error: unknown, subject: string): LocalFileError {
  if (isTooManyFiles(error)) throw systemRefusal(error as Error)
  const code = systemErrorCode(error)
  const because = (problem: LocalFileProblem, reason: string, cure?: string) =>
    new LocalFileError(problem, reason, cure, error)
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return because('missing', `${subject} does not exist`)
    case 'ELOOP':
      return because('loop', `${subject} is a link that points back to itself`)
    case 'ENXIO':
    case 'EISDIR':
      return because('not-a-file', `${subject} is not a file`)
    case 'EACCES':
    case 'EPERM':
      return because('unreadable', `no permission to read ${subject}`)
    case 'ENAMETOOLONG':
      return because('refused', `${subject.slice(0, 80)}… is too long a path`, 'Correct the row.')
    case 'EIO':
      return because(
        'unreadable',
        `${subject} cannot be read: EIO`,
        'The disk reports an error: check the disk before anything else.',
      )
    default:
      return because(
        'unreadable',
        `${subject} cannot be read: ${code ?? toError(error).message}`,
        'Look at the file.',
      )
  }
}

function kindOf(stats: BigIntStats): string {
  if (stats.isDirectory()) return 'a directory'
  if (stats.isFIFO()) return 'a named pipe'
  return 'a device'
}

/** What bytes are told apart by. */
export interface ContentHash {
  /** hex, 64 digits */
  readonly sha256: string
  readonly crc32: number
}

/** A local file as it was when it was read. */
export interface SourceFile extends FileIdentity {
  readonly absolute: string
  /** below the audio folder, as the disk spells it */
  readonly relative: string
}
