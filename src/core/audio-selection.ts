/**
 * The one rule of which files of an audio folder are taken for tracks, before anything is read: patterns in gitignore
 * syntax, of our own and of the folder's ignore file. (`--include` and `--exclude` select further, in every command.)
 */
import ignore from 'ignore'

/** The file in the audio folder that says what else is to be left alone, or, by `!`, what is not. */
export const ignoreFileName = '.autodjignore'

/** Files that are not all there yet, and folders of things thrown away or made by machines. */
const defaultIgnores: readonly string[] = [
  // Browsers
  '*.crdownload',
  '*.part',
  '*.partial',
  '*.download',
  '*.opdownload',
  '*.crswap',
  // Download managers, torrents, file sharing
  '*.aria2',
  '*.aria2__temp',
  '*.ytdl',
  '*.part-Frag*',
  '*.f[0-9]*.part',
  '*.temp.*',
  '*.!ut',
  '*.!qB',
  '*.!bt',
  '*.bc!',
  '*.bt!',
  '*.jc!',
  '*.fb!',
  '*.az!',
  '*.td',
  '*.td.cfg',
  '*.xltd',
  '*.dap',
  '*.dtapart',
  '*.fdmdownload',
  '*.filepart',
  '*.downloading',
  '*.uploading',
  '*.inprogress',
  '*.partfile',
  '*.getright',
  '*.ob!',
  '*.dctmp',
  'getxfer.*',
  '_UNPACK_*/',
  '_FAILED_*/',
  '*.lftp-pget-status',
  '*.part.met',
  '*.incomplete',
  '*.unfinished',
  'INCOMPLETE~*',
  `INCOMPLETE${'[0-9a-f]'.repeat(32)}*`,
  '/incomplete/',
  // Sync programs
  '~syncthing~*',
  '*.!sync',
  '*.bts',
  '*.tmp.drivedownload',
  '*.tmp.driveupload',
  '*.gstmp',
  '*.ffs_tmp',
  '*.ocTransferId*',
  '_gsdata_/',
  'Dropbox/.dropbox.cache/',
  // Temporary copies
  '*.tmp',
  '*.temp',
  '*.swp',
  '*~',
  '~$*',
  // NAS systems
  '@eaDir/',
  '@Recycle/',
  '@Recently-Snapshot/',
  '@Transcode/',
  '@sharebin/',
  '@tmp/',
  '@__thumb/',
  '@SynoResource',
  '@SynoEAStream',
  '\\#recycle/',
  '\\#snapshot/',
  '~snapshot/',
  'trashbox/',
  '_NAS_Recycle_*/',
  // Operating systems
  '$RECYCLE.BIN/',
  'RECYCLER/',
  'RECYCLED/',
  'System Volume Information/',
  'FOUND.[0-9][0-9][0-9]/',
  '$WINDOWS.~*/',
  'lost+found/',
  'Network Trash Folder/',
  'Temporary Items/',
  'TheVolumeSettingsFolder/',
  'TheFindByContentFolder/',
  '__MACOSX/',
  'Thumbs.db',
  'desktop.ini',
]

/** What a program writes beside a file of which it has not got all: `NAME` and these. */
const companions = ['.aria2', '.lftp-pget-status', '.td.cfg', '.part.met', '.ytdl', '.st']

export interface AudioSelection {
  /**
   * @param path relative to the audio folder, `/` between folders
   * @param siblings names in the same folder
   */
  takesFile(path: string, siblings: ReadonlySet<string>): boolean
  /** Whether to go into a folder; it is left out with all that is in it. */
  takesFolder(path: string): boolean
}

/**
 * Later patterns win over earlier ones, so that `!*.part` in the ignore file takes what is left out by default; what lies
 * in a folder that is left out cannot be taken back, as with git. Case does not matter.
 *
 * @param ignoreFile the text of the folder's ignore file
 */
export function audioSelection({ ignoreFile }: { ignoreFile?: string | undefined } = {}): AudioSelection {
  const left = ignore({ ignorecase: true })
    .add([...defaultIgnores])
    .add(ignoreFile ?? '')
  return {
    takesFile: (path, siblings) => {
      if (!ignore.isPathValid(path)) return true
      const { ignored, unignored } = left.test(path)
      if (ignored) return false
      const name = path.slice(path.lastIndexOf('/') + 1)
      return unignored || !companions.some(ending => siblings.has(name + ending))
    },
    takesFolder: path => !ignore.isPathValid(`${path}/`) || !left.ignores(`${path}/`),
  }
}
