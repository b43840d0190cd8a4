/** Fenced blocks of a page, in their order. */
export function fencedBlocks(page: string): { language: string; lines: string[] }[] {
  const blocks: { language: string; lines: string[] }[] = []
  let open: (typeof blocks)[number] | undefined
  for (const line of page.split('\n')) {
    const fence = /^ *```(.*)$/.exec(line)
    if (fence === null) open?.lines.push(line)
    else if (open === undefined) {
      open = { language: fence[1]!.trim(), lines: [] }
      blocks.push(open)
    } else open = undefined
  }
  return blocks
}
