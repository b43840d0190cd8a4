import { type AudioSelection, audioSelection } from '../audio-selection.ts'
import { classifyWithoutKey } from './classify.ts'
import type { Comparison, FileFacts, LocalCopy, RowFacts } from './facts.ts'
import { isStrayAudio } from './names.ts'
import { grouped, nul, type Sorter } from './records.ts'

// Rank of a member within its group.
const fileRank = 'a'
const rowRank = 'b'

/**
 * Rows' paths against the files found. Joined by folded path, since a file system may give back another
 * normalisation of a name than the one it was given; an exact name wins, letter case alone is never enough.
 */
export class DiskJoin {
  readonly #byPath: Sorter
  /** files that no row names by their path */
  readonly #unnamed: Sorter
  readonly #selection: AudioSelection
  readonly #open: (path: string) => Promise<OpenedFile>

  /**
   * @param selection what `import` would take: a file that it leaves alone needs no row
   * @param open what a path leads to that is no file's own: a row may name a file through a link, or a hidden one
   */
  constructor(
    newSorter: () => Sorter,
    selection: AudioSelection = audioSelection(),
    open: (path: string) => Promise<OpenedFile> = async () => gone,
  ) {
    this.#byPath = newSorter()
    this.#unnamed = newSorter()
    this.#selection = selection
    this.#open = open
  }

  async file(file: FileFacts): Promise<void> {
    const value = `${file.size} ${file.changed ?? ''}`
    await this.#byPath.add(file.path.normalize('NFC') + nul + fileRank + file.path, value)
  }

  /**
   * @param path `row.path` relative to the audio folder
   * A row without key stands or falls with its file; one with a key has a copy there.
   */
  async row(row: RowFacts, path: string): Promise<void> {
    await this.#byPath.add(
      path.normalize('NFC') + nul + rowRank + row.trackId + nul + path,
      JSON.stringify(row),
    )
  }

  /** Findings, and the copies that are worth a look. */
  async *resolve(): AsyncGenerator<{ comparisons: Comparison[]; copies: LocalCopy[] }> {
    /** files that rows name through links: few, or the library is made of them */
    const linked = new Set<string>()
    for await (const groups of grouped(this.#byPath)) {
      const comparisons: Comparison[] = []
      const copies: LocalCopy[] = []
      for (const { members } of groups) {
        const files = members.filter(member => member.rank === fileRank)
        const rows = members.filter(member => member.rank === rowRank)
        const named = new Set<string>()
        for (const { name, value } of rows) {
          const path = name.slice(name.indexOf(nul) + 1)
          const file = files.find(candidate => candidate.name === path) ?? files[0]
          if (file !== undefined) named.add(file.name)
          const opened = file === undefined ? await this.#open(path) : openedAs(file)
          if (opened.file !== undefined) linked.add(opened.file.path)
          const row = JSON.parse(value) as RowFacts
          if (row.key === null) comparisons.push(classifyWithoutKey(row, opened.there))
          else if (opened.file !== undefined)
            copies.push({ row: { ...row, key: row.key }, file: opened.file })
        }
        for (const { name, value } of files) {
          if (!named.has(name) && isStrayAudio(name) && this.#selection.takesFile(name, new Set()))
            await this.#unnamed.add(name + nul + fileRank + name, value)
        }
      }
      if (comparisons.length > 0 || copies.length > 0) yield { comparisons, copies }
    }
    for await (const groups of grouped(this.#unnamed)) {
      const strays = groups
        .flatMap(({ members }) => members)
        .filter(({ name }) => !linked.has(name))
        .map(member => strayFile(factsOf(member)))
      if (strays.length > 0) yield { comparisons: strays, copies: [] }
    }
  }
}

function factsOf({ name, value }: { name: string; value: string }): FileFacts {
  const [size, changed = ''] = value.split(' ')
  return { path: name, size: Number(size), ...(changed === '' ? {} : { changed: Number(changed) }) }
}

/** What a path leads to: whether it can be opened, and the file by its own path below the root. */
export interface OpenedFile {
  readonly there: boolean | 'empty' | undefined
  readonly file?: FileFacts
}

const gone: OpenedFile = { there: false }

/** An empty file is not audio: nothing would be applied that takes it for some. */
function openedAs(member: { name: string; value: string }): OpenedFile {
  const file = factsOf(member)
  return { there: file.size === 0 ? 'empty' : true, file }
}

function strayFile(file: FileFacts): Comparison {
  return {
    sigil: '-',
    name: file.path,
    differences: [
      file.size === 0
        ? {
            class: 'empty-file',
            severity: 'note',
            detail: 'no row names it, and it is empty: it can be deleted',
          }
        : {
            class: 'local-file-without-row',
            severity: 'drift',
            detail: 'no row names it; `autodj import` creates one',
          },
    ],
    file,
  }
}
