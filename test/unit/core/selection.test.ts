import { describe, expect, test } from 'vitest'
import {
  describeSelection,
  everything,
  hasPatterns,
  isSelecting,
  parseFilterFile,
  type SelectionRules,
} from '../../../src/core/selection.ts'

describe('filter files', () => {
  const short = (text: string) => {
    const rules = parseFilterFile(text)
    return Array.isArray(rules)
      ? rules.map(({ keep, pattern }) => `${keep ? '+' : '-'} ${pattern}`)
      : `${rules.line}: ${rules.text}`
  }
  test.each<[what: string, string, string[] | string]>([
    ['nothing', '', []],
    ['comments and empty lines', '# a\n\n ; b\r\n \t\n', []],
    [
      'rules of rclone, the first that matches first',
      '+ a b.mp3\n- *.mp3\r\n  -\t *  ',
      ['+ a b.mp3', '- *.mp3', '- *'],
    ],
    [
      'lines of gitignore, the last that matches first',
      '*.wav\n!keep.wav\nx/',
      ['- x/', '+ keep.wav', '- *.wav'],
    ],
    ['both: rclone decides first', '*.wav\n+ a.wav\n!b.wav', ['+ a.wav', '+ b.wav', '- *.wav']],
    ['a fresh start', '+ a\n*.wav\n !\n- b\n*.ogg', ['- b', '- *.ogg']],
    ['a sign and nothing', '# x\n+ a\n\n-', '4: -'],
    ['a sign and no blank', '+a.mp3', '1: +a.mp3'],
    ['a sign within', 'a + b', ['- a + b']],
    ['a sign of another comment within', 'a # b', ['- a # b']],
  ])('%s', (_, text, rules) => {
    expect(short(text)).toEqual(rules)
  })
})

describe('a selection', () => {
  const rule = { keep: true, pattern: 'x' }
  test.each<[Partial<SelectionRules>, said: string, patterns: boolean]>([
    [{ include: ['a', 'b"\n'] }, '--include "a", --include "b"\\n"', true],
    [{ exclude: ['*.wav'] }, '--exclude "*.wav"', true],
    [{ filters: [rule, rule] }, '--filter-from', true],
    [{ artists: ['Björk'] }, '--artist "Björk"', false],
    [{ albums: ['Post'] }, '--album "Post"', false],
    [{ trackIds: ['t'] }, '--track "t"', false],
    [{ listed: [] }, '--files-from', false],
    [{ listed: ['x'], include: ['a'], artists: ['b'] }, '--include "a", --artist "b", --files-from', true],
  ])('by %j', (rules, said, patterns) => {
    expect(describeSelection({ ...everything, ...rules })).toBe(said)
    expect(isSelecting({ ...everything, ...rules })).toBe(true)
    expect(hasPatterns({ ...everything, ...rules })).toBe(patterns)
  })

  test('by nothing is none', () => {
    expect(describeSelection(everything)).toBe('')
    expect([isSelecting(everything), hasPatterns(everything)]).toEqual([false, false])
  })
})
