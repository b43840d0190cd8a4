import { type AudioSelection, audioSelection } from '../audio-selection.ts'
import { classifyWithoutKey } from './classify.ts'
import type { FileFacts, Finding, LocalCopy, RowFacts } from './facts.ts'
import { isStrayAudio } from './names.ts'
import { grouped, NUL, type Sorter } from './records.ts'

// Rank of a member within its group.
const FILE = 'a'
const ROW = 'b'

/**
 * Rows' paths against the files found. Joined by folded path, since a file system may give back another
 * normalisation of a name than the one it was given; an exact name wins, letter case alone is never enough.
 */
export class DiskJoin {
  private readonly byPath: Sorter
  private readonly selection: AudioSelection

  /** @param selection what `import` would take: a file that it leaves alone needs no row */
  constructor(newSorter: () => Sorter, selection: AudioSelection = audioSelection()) {
    this.byPath = newSorter()
    this.selection = selection
  }

  async file(file: FileFacts): Promise<void> {
    const value = `${file.size} ${file.changed ?? ''}`
    await this.byPath.add(file.path.normalize('NFC') + NUL + FILE + file.path, value)
  }

  /**
   * @param path `row.path` relative to the audio root
   * A row without key stands or falls with its file; one with a key has a copy there.
   */
  async row(row: RowFacts, path: string): Promise<void> {
    await this.byPath.add(path.normalize('NFC') + NUL + ROW + row.trackId + NUL + path, JSON.stringify(row))
  }

  /** Findings, and the copies that are worth a look. */
  async *resolve(): AsyncGenerator<{ findings: Finding[]; copies: LocalCopy[] }> {
    for await (const groups of grouped(this.byPath)) {
      const findings: Finding[] = []
      const copies: LocalCopy[] = []
      for (const { members } of groups) {
        const files = members.filter(member => member.rank === FILE)
        const rows = members.filter(member => member.rank === ROW)
        const named = new Set<string>()
        for (const { name, value } of rows) {
          const path = name.slice(name.indexOf(NUL) + 1)
          const file = files.find(candidate => candidate.name === path) ?? files[0]
          if (file !== undefined) named.add(file.name)
          const row = JSON.parse(value) as RowFacts
          if (row.key === null) findings.push(classifyWithoutKey(row, lookOf(file)))
          else if (file !== undefined) copies.push({ row: { ...row, key: row.key }, file: factsOf(file) })
        }
        for (const { name, value } of files) {
          if (!named.has(name) && isStrayAudio(name) && this.selection.takesFile(name, new Set()))
            findings.push(strayFile(factsOf({ name, value })))
        }
      }
      if (findings.length > 0 || copies.length > 0) yield { findings, copies }
    }
  }
}

function factsOf({ name, value }: { name: string; value: string }): FileFacts {
  const [size, changed = ''] = value.split(' ')
  return { path: name, size: Number(size), ...(changed === '' ? {} : { changed: Number(changed) }) }
}

/** An empty file is no audio: nothing would be applied that takes it for some. */
const lookOf = (file: { value: string } | undefined) =>
  file === undefined ? false : Number(file.value.split(' ', 1)[0]) === 0 ? ('empty' as const) : true

function strayFile(file: FileFacts): Finding {
  return {
    sigil: '-',
    name: file.path,
    differences: [
      file.size === 0
        ? { class: 'empty-file', severity: 'note', detail: 'no row names it, and it is empty: delete it' }
        : {
            class: 'local-file-without-row',
            severity: 'drift',
            detail: 'no row names it; `autodj import` makes one',
          },
    ],
    file,
  }
}
