/** Lists that people and other programs write: one name a line, or, as `find -print0` writes them, with a NUL after each. */

/** UTF-8, or UTF-16 where its byte order mark says so (PowerShell); without the mark. */
export function decodeText(bytes: Uint8Array): string {
  const [first, second] = bytes
  const encoding =
    first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8'
  return new TextDecoder(encoding).decode(bytes)
}

/** The names of a list; lines that are empty or begin with `#` are none. Names between NULs are taken as they are. */
export function listedNames(text: string): string[] {
  if (text.includes('\0')) return text.split('\0').filter(name => name !== '')
  return text.split(/\r?\n/).filter(line => line !== '' && !line.startsWith('#'))
}
