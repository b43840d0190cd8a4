/**
 * Where in the table of tracks to look for a path, an object or a name. The application has an index on none of them,
 * and each question would read the whole table; so it is read once a run.
 */
import path from 'node:path'
import { crc32 } from 'node:zlib'
import type { Knex } from 'knex'
import { type AudioFolder, portable, readStoredPath } from '../core/audio-path.ts'
import { mayMatchByName } from '../core/import/plan.ts'
import { matchKey } from '../core/names.ts'
import { scanTracks, type Track, tracksById } from '../db/tracks.ts'

/** 32 bits of a text: it may belong to others as well, so whoever is found is looked at again. */
const hash = (text: string): number => crc32(text)

/** From hashes to the numbers of rows, 8 bytes an entry outside the JavaScript heap. */
class HashIndex {
  #entries = new BigUint64Array(1_024)
  #size = 0
  /** What was added since they were sorted: an eighth at most. */
  readonly #late = new Map<number, number[]>()
  #lateSize = 0
  #sorted = false

  add(text: string, row: number): void {
    const key = hash(text)
    if (!this.#sorted) {
      this.#push(key, row)
      return
    }
    const rows = this.#late.get(key)
    if (rows) rows.push(row)
    else this.#late.set(key, [row])
    this.#lateSize += 1
    if (this.#lateSize <= Math.max(1_024, this.#size >> 3)) return
    for (const [late, lateRows] of this.#late) for (const one of lateRows) this.#push(late, one)
    this.#late.clear()
    this.#lateSize = 0
    this.#sorted = false
  }

  #push(key: number, row: number): void {
    if (this.#size === this.#entries.length) {
      const larger = new BigUint64Array(Math.max(1_024, this.#size * 2))
      larger.set(this.#entries)
      this.#entries = larger
    }
    this.#entries[this.#size++] = (BigInt(key) << 32n) | BigInt(row)
  }

  /** @returns numbers of all rows that were added with this text, and perhaps of others */
  find(text: string): number[] {
    if (!this.#sorted) {
      this.#entries = this.#entries.slice(0, this.#size).sort()
      this.#sorted = true
    }
    const wanted = BigInt(hash(text))
    let [low, high] = [0, this.#size]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#entries[middle]! >> 32n < wanted) low = middle + 1
      else high = middle
    }
    const rows: number[] = []
    for (; low < this.#size && this.#entries[low]! >> 32n === wanted; low++) {
      rows.push(Number(this.#entries[low]! & 0xffff_ffffn))
    }
    rows.push(...(this.#late.get(hash(text)) ?? []))
    return rows
  }
}

/** Links below the audio folder, and what each leads to; paths as from `canonical`. */
type Links = ReadonlyMap<string, string>

/** Where a path leads once the links on its way were followed. */
function throughLinks(file: string, links: Links): string {
  let found = file
  for (let hops = 0; hops < 40; hops++) {
    const parts = found.split('/')
    const length = parts.findIndex((_, index) => links.has(parts.slice(0, index + 1).join('/'))) + 1
    if (length === 0) return found
    found = path.posix.join(links.get(parts.slice(0, length).join('/'))!, ...parts.slice(length))
  }
  return found
}

/**
 * The rows as they were when they were read. Each question reads those that it finds anew, so that no answer is older
 * than the question; a row that came since is not found. Takes some 40 bytes a row, however long its texts are.
 */
export class RowIndex {
  readonly #knex: Knex
  readonly #folder: AudioFolder
  readonly #links: Links
  /** 16 bytes each */
  #ids = Buffer.alloc(16 * 1_024)
  #rows = 0
  readonly #byPath = new HashIndex()
  readonly #byKey = new HashIndex()
  readonly #byName = new HashIndex()

  constructor(knex: Knex, folder: AudioFolder, links: Links) {
    this.#knex = knex
    this.#folder = folder
    this.#links = links
  }

  /** Reads the table, page by page. */
  static async read(
    knex: Knex,
    folder: AudioFolder,
    signal: AbortSignal,
    links: Links = new Map(),
  ): Promise<RowIndex> {
    const index = new RowIndex(knex, folder, links)
    for await (const page of scanTracks(knex, { signal })) {
      for (const track of page) index.#add(track)
    }
    return index
  }

  /** Rows by the files that they may point at, however they spell it; paths as from `canonical`. */
  byPath(paths: readonly string[]): Promise<Map<string, Track[]>> {
    return this.#find(this.#byPath, paths, track => this.pathsOf(track))
  }

  /** Rows by the keys of their objects. */
  byKey(keys: readonly string[]): Promise<Map<string, Track[]>> {
    return this.#find(this.#byKey, keys, track => track.s3ObjectKey ?? [])
  }

  /** Rows that may be given a file by their name alone, by that name (see `matchKey`). */
  byName(names: readonly string[]): Promise<Map<string, Track[]>> {
    return this.#find(this.#byName, names, nameOf)
  }

  /** A row has got this file since. @param file below the audio folder */
  moved(id: string, file: string): void {
    this.#byPath.add(canonical(file), this.#number(id))
  }

  /** The files that a row may mean, as from `canonical`: one for each way to read its path. */
  pathsOf({ filePath }: Track): string[] {
    const stored = readStoredPath(filePath ?? '', this.#folder)
    if (!stored.ok) return []
    const said = stored.readings.map(({ relative }) => canonical(relative))
    return [...new Set([...said, ...said.map(file => throughLinks(file, this.#links))])]
  }

  #add(track: Track): void {
    const number = this.#number(track.id)
    for (const file of this.pathsOf(track)) this.#byPath.add(file, number)
    if (track.s3ObjectKey !== null) this.#byKey.add(track.s3ObjectKey, number)
    for (const name of nameOf(track)) this.#byName.add(name, number)
  }

  #number(id: string): number {
    if (this.#ids.length === this.#rows * 16) this.#ids = Buffer.concat([this.#ids], this.#ids.length * 2)
    this.#ids.write(id.replaceAll('-', ''), this.#rows * 16, 'hex')
    return this.#rows++
  }

  #id(number: number): string {
    const hex = this.#ids.toString('hex', number * 16, number * 16 + 16)
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  }

  /** @returns the rows of each text, in the order of their ids */
  async #find(
    index: HashIndex,
    texts: readonly string[],
    textsOf: (track: Track) => string | readonly string[],
  ): Promise<Map<string, Track[]>> {
    const wanted = new Set(texts)
    const numbers = new Set([...wanted].flatMap(text => index.find(text)))
    const found = new Map<string, Track[]>()
    for (const track of await tracksById(
      this.#knex,
      [...numbers].map(number => this.#id(number)),
    )) {
      for (const text of [textsOf(track)].flat()) {
        if (!wanted.has(text)) continue
        const tracks = found.get(text)
        if (tracks) tracks.push(track)
        else found.set(text, [track])
      }
    }
    return found
  }
}

function nameOf(track: Track): string[] {
  return mayMatchByName(track) ? [matchKey(track)] : []
}

/** One spelling for all paths below the audio folder that lead to one name: without dots, composed. */
export function canonical(relative: string): string {
  return path.posix.normalize(portable(relative)).normalize('NFC')
}
