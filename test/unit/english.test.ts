/** What users read is natural English, said in one way. The words are those of the sources, by their syntax tree. */
import { globSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type Text, textsOf } from '../support/texts.ts'

const sources = globSync(['src/**/*.ts', 'scripts/error-meanings.ts']).map(file => file.replaceAll('\\', '/'))
const all = sources.map(textsOf)
const cures = all.flatMap(one => one.cures)
const where = ({ file, line, says }: Pick<Text, 'file' | 'line' | 'says'>) => `${file}:${line} ${says}`

describe('a cure', () => {
  test('there are hundreds of them', () => {
    expect(cures.length).toBeGreaterThan(300)
  })

  test('is a sentence: a capital or a command first, a full stop last', () => {
    // What is filled in at either end brings its own.
    const isSentence = /^[A-Z`…].*[.…]$/su
    expect(cures.filter(({ says }) => !isSentence.test(says)).map(where)).toEqual([])
  })

  test('names what to do: as an order, as a command that does it, or that nothing is to be done', () => {
    const order = `(?:^|[.:;,] |\\b(?:or|and|then) )(?:${orders.join('|')})\\b`
    const says = new RegExp(
      `${order}|\`(?:autodj|--)|^Nothing (?:to do|needs to be done)|^Flags come|^\u2026`,
      'i',
    )
    expect(cures.filter(one => !says.test(one.says)).map(where)).toEqual([])
  })

  test('is read wherever it is written: none is put together where this test does not look', () => {
    // `nearest` is what commander takes for the word that was meant.
    expect(all.flatMap(one => one.unread.map(({ says }) => says))).toEqual(['nearest'])
  })
})

/** What a cure may begin with: the verb of an order. */
const orders =
  'add allow analyse apply ask attach bring change check choose close compare connect convert copy correct create delete do download drop empty enable encode export fetch find fix forward free give grant install keep leave let limit list log look lower make mount move name pass point purge put raise read redirect reinstall remove rename renew replace report restore run see send set sign split start store switch take treat try turn type unset update upload use wait write'.split(
    ' ',
  )

/** Kinds of phrases that were in here once, each with what is said instead. */
const refused: readonly (readonly [kind: RegExp, better: string])[] = [
  [/(?<!there |which )\b(is|are|was) no (?!longer\b)/i, '"is not a …"'],
  [/\bany more\b/, '"no longer"'],
  [/\bit stays\b|\bit stays so\b/, '"it persists"'],
  [/\bgo(es)? on\b/, '"continues", "resumes"'],
  [/\bmend/i, '"fix"'],
  [/\bgive --/i, '"pass --…"'],
  [/\b(?<!named |written )by --/, '"with --…"'],
  [/\bfor so long\b|\bso many\b/, '"for this long", "this many"'],
  [/\bmeanwhile\b/, '"in the meantime"'],
  [/\bthe same with(out)? -/, '"run it again without --…"'],
  [/; nothing was\.|\bnothing was\.$/, 'what was not done'],
  [/\bset-ups?\b/, '"setup" (the noun)'],
  [/\b(is|are) none of\b|\band is none\b/, '"is not one of"'],
  [/\bone a (line|core)\b/, '"one per …"'],
  [/\bENTER\b/, '"Enter"'],
  [/\bwaste bin/, '"recycle bin"'],
  [/\bdear\b/, '"costly"'],
  [/\bsound (copy|file)/, '"intact"'],
  [/\bpassed over\b/, '"skipped"'],
  [/\bwhere (there (is|are)|it is not|one is|it has|nothing|somebody)\b/i, '"if", "when"'],
  [/\banew\b/, '"again", "from the start"'],
  [/\bE(NOENT|ACCES|PERM|ISDIR|NOTDIR|ROFS)\b/, 'the words of `systemErrorReason`'],
  [/\bcannot be told\b/, '"is unknown"'],
  [/\ball the same\b/, '"anyway"'],
  [/\btime (is|was) up\b/, '"time budget used up"'],
  [/\btaken? back\b/, '"undo", "undone"'],
  [/(?<!real )\bthings?\b/, 'what they are'],
  [/\S {2,}\S.*[.!?]$/, 'one space'],
]

/** Words for people: more than one, and no SQL, markup or answer that imitates S3's or CloudFront's own words. */
const isProse = ({ file, says }: Text) =>
  /[a-z]{2,} .*[a-z]/.test(says) &&
  !/^src\/(embedded|core\/audio)\//.test(file) &&
  !/\b(select|insert into|update|delete from|from|where) [\s\S]*[=(]|<\w+/.test(says)

describe('no phrase reads as translated', () => {
  const prose = all.flatMap(one => one.texts).filter(isProse)

  test('there are thousands of texts', () => {
    expect(prose.length).toBeGreaterThan(1_500)
  })

  test.each(refused)('%s: %s', kind => {
    expect(prose.filter(({ says }) => kind.test(says)).map(where)).toEqual([])
  })
})

/** The same of comments, where a kind came back most often. */
const refusedInComments: readonly (readonly [kind: RegExp, better: string])[] = [
  [/@(throws|returns) [^.;,]+ where (?!it (is|was|goes|lies)\b)/, '"if"'],
  [/\b(undefined|null|empty|nothing|none) where\b/i, '"if"'],
  [/\bwhere (there (is|are|was)|nothing|nobody|none)\b/, '"if"'],
  [/\bany more\b(?! than)/, '"no longer", "any longer"'],
  [/\bmeanwhile\b/i, '"in the meantime"'],
  [/\ball the same\b(?! )/, '"anyway"'],
  [/\bdear\b/, '"costly"'],
]

describe('no comment reads as translated', () => {
  const comments = sources.flatMap(file =>
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line, index) => {
        const [, says] = /^\s*(?:\*|\/\*\*|\/\/) ?(.*)$/.exec(line) ?? []
        return says === undefined ? [] : [{ file, line: index + 1, says }]
      }),
  )

  test('there are thousands of lines', () => {
    expect(comments.length).toBeGreaterThan(5_000)
  })

  test.each(refusedInComments)('%s: %s', kind => {
    expect(comments.filter(({ says }) => kind.test(says)).map(where)).toEqual([])
  })
})
