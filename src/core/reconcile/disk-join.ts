import { classifyWithoutKey } from './classify.ts'
import type { FileFacts, Finding, RowFacts } from './facts.ts'
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

  constructor(newSorter: () => Sorter) {
    this.byPath = newSorter()
  }

  async file(file: FileFacts): Promise<void> {
    await this.byPath.add(file.path.normalize('NFC') + NUL + FILE + file.path, String(file.size))
  }

  /**
   * @param path `row.path` relative to the audio root
   * @param judge whether the row stands or falls with its file; rows with a key only keep theirs from being unknown
   */
  async row(row: RowFacts, path: string, judge: boolean): Promise<void> {
    const value = judge ? JSON.stringify(row) : ''
    await this.byPath.add(path.normalize('NFC') + NUL + ROW + row.trackId + NUL + path, value)
  }

  async *resolve(): AsyncGenerator<Finding[]> {
    for await (const groups of grouped(this.byPath)) {
      const findings: Finding[] = []
      for (const { members } of groups) {
        const files = members.filter(member => member.rank === FILE)
        const rows = members.filter(member => member.rank === ROW)
        const named = new Set<string>()
        for (const { name, value } of rows) {
          const path = name.slice(name.indexOf(NUL) + 1)
          const file = files.find(candidate => candidate.name === path) ?? files[0]
          if (file !== undefined) named.add(file.name)
          if (value !== '') findings.push(classifyWithoutKey(JSON.parse(value) as RowFacts, lookOf(file)))
        }
        for (const { name, value } of files) {
          if (!named.has(name) && isStrayAudio(name))
            findings.push(strayFile({ path: name, size: Number(value) }))
        }
      }
      if (findings.length > 0) yield findings
    }
  }
}

/** An empty file is no audio: nothing would be applied that takes it for some. */
const lookOf = (file: { value: string } | undefined) =>
  file === undefined ? false : Number(file.value) === 0 ? ('empty' as const) : true

function strayFile(file: FileFacts): Finding {
  return {
    sigil: '-',
    name: file.path,
    differences: [
      {
        class: 'local-file-without-row',
        severity: 'drift',
        detail:
          file.size === 0
            ? 'no row names it, and it is empty: delete it'
            : 'no row names it; `autodj import` makes one, if it is audio',
      },
    ],
    file,
  }
}
