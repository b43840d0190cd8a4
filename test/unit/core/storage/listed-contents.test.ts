import { parseXml, XmlElement } from '@rgrove/parse-xml'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readContents } from '../../../../src/core/storage/listed-contents.ts'

const head = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult><Name>music</Name>'
const tail = '<IsTruncated>false</IsTruncated></ListBucketResult>'
const time = '<LastModified>2026-01-02T03:04:05.678Z</LastModified>'
const plain = `<Key>a</Key>${time}<ETag>"e"</ETag><Size>7</Size>`
const facts = { key: 'a', size: 7, etag: 'e', lastModified: Date.UTC(2026, 0, 2, 3, 4, 5, 678) }
const read = (...contents: string[]) =>
  readContents(Buffer.from(head + contents.map(one => `<Contents>${one}</Contents>`).join('') + tail))

describe('objects of a page', () => {
  test.each<[string, string, object]>([
    ['in the order of AWS', `${plain}<StorageClass>STANDARD</StorageClass>`, { storageClass: 'STANDARD' }],
    ['without a storage class', plain, { storageClass: undefined }],
    ['in another order', `<Size>7</Size><ETag>"e"</ETag><Key>a</Key>${time}`, {}],
    ['an ETag in entities', plain.replaceAll('"', '&quot;'), {}],
    ['an ETag without quotes', plain.replaceAll('"', ''), {}],
    ['laid out in lines', `\r\n\t${plain.replaceAll('><', '>\n  <')}\n`, {}],
    [
      'elements that nobody asked for',
      `<Owner><ID>1</ID><X/></Owner><ChecksumType>A</ChecksumType>${plain}`,
      {},
    ],
    [
      'elements whose names begin like those, or are as long',
      `<Keys>1</Keys><Foo>1</Foo>${plain}<Keys>1</Keys><Foo>1</Foo><Sizes>1</Sizes><Name>1</Name><ETags>1</ETags><LastModifiedBy>1</LastModifiedBy><ChecksumType>1</ChecksumType><StorageClassX>1</StorageClassX>`,
      {},
    ],
    ['quotes in an ETag', plain.replace('"e"', '"a"b"'), { etag: 'a"b' }],
    ['the last character of Unicode', plain.replace('>a<', '>&#x10FFFF;<'), { key: '\u{10ffff}' }],
    ['nothing in one of them', `<Owner></Owner>${plain}`, {}],
    ['a key in UTF-8', plain.replace('>a<', '>é\u{1F3A7}<'), { key: 'é\u{1F3A7}' }],
    [
      'a key in entities',
      plain.replace('>a<', '>&lt;&amp;amp;&#x1F3A7;&#233;&apos;<'),
      { key: "<&amp;\u{1F3A7}é'" },
    ],
    ['a key that is spaces', plain.replace('>a<', '>  <'), { key: '  ' }],
    ['an empty key', plain.replace('>a<', '><'), { key: '' }],
    ['a time without fractions', plain.replace('.678', ''), { lastModified: facts.lastModified - 678 }],
    ['a time of a zone', plain.replace('Z<', '+01:00<'), { lastModified: facts.lastModified - 3_600_000 }],
  ])('%s', (_, contents, expected) => {
    expect(read(contents)?.contents).toEqual([{ ...facts, storageClass: undefined, ...expected }])
  })

  test('several, of changing storage classes, and what else the page says', () => {
    const classes = ['STANDARD', 'STANDARD', 'STANDARD_IA', 'GLACIER', 'STANDARD']
    const found = read(...classes.map(one => `${plain}<StorageClass>${one}</StorageClass>`))
    expect(found?.contents.map(({ storageClass }) => storageClass)).toEqual(classes)
    expect(found?.rest.toString()).toBe(head + tail)
  })

  test('storage classes that are as long as one another', () => {
    const order = ['GLACIER', 'OUTPOST', 'GLACIER', 'GLACIER', 'OUTPOST']
    const found = read(...order.map(one => `${plain}<StorageClass>${one}</StorageClass>`))
    expect(found?.contents.map(({ storageClass }) => storageClass)).toEqual(order)
  })

  test('storage classes of which one begins like the one before it', () => {
    const names = Array.from({ length: 20 }, (_, length) => 'ABCDEFGHIJKLMNOPQRST'.slice(0, length + 1))
    for (const order of [names, names.toReversed(), names.flatMap(one => [one, one])]) {
      const found = read(...order.map(one => `${plain}<StorageClass>${one}</StorageClass>`))
      expect(found?.contents.map(({ storageClass }) => storageClass)).toEqual(order)
    }
  })

  test('what is between them stays', () => {
    const between = '<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>'
    const body = `${head}<Contents>${plain}</Contents>${between}<Contents>${plain}</Contents>${tail}`
    const found = readContents(Buffer.from(body))
    expect(found?.contents).toHaveLength(2)
    expect(found?.rest.toString()).toBe(head + between + tail)
  })
})

describe('left to a parser of XML', () => {
  test.each<[string, string]>([
    ['no object', head + tail],
    ['no XML', 'Bad gateway'],
    ['CDATA', `${head}<Contents>${plain.replace('>a<', '><![CDATA[a]]><')}</Contents>${tail}`],
    ['a comment', `${head}<!-- <Contents>${plain}</Contents> -->${tail}`],
    ['cut off in an object', `${head}<Contents>${plain}</Contents><Contents><Key>b</Key>`],
    ['cut off in a text', `${head}<Contents><Key>b`],
    ['cut off in a tag', `${head}<Contents><Key`],
    ['no key', `${head}<Contents>${plain.replace('<Key>a</Key>', '')}</Contents>${tail}`],
    ['no ETag at all', `${head}<Contents>${plain.replace('<ETag>"e"</ETag>', '')}</Contents>${tail}`],
    ['another end of an object', `${head}<Contents>${plain}</Contentz>${tail}`],
    ['an end that goes on', `${head}<Contents>${plain.replace('</Key>', '</Keyz>')}</Contents>${tail}`],
    [
      'an end that another element begins in',
      `${head}<Contents>${plain.replace('</Key>', '</Keyx')}</Contents>${tail}`,
    ],
    ['an end that is none', `${head}<Contents>${plain.replace('</Key>', '<xKey>')}</Contents>${tail}`],
    [
      'text before an element that nobody asked for',
      `${head}<Contents>${plain}x<Owner></Owner></Contents>${tail}`,
    ],
    [
      'attributes of an element that nobody asked for',
      `${head}<Contents><Owner a="b"></Owner>${plain}</Contents>${tail}`,
    ],
    ['cut off in an element that nobody asked for', `${head}<Contents>${plain}<Owner>x`],
    ['cut off behind a sign', `${head}<Contents>${plain}<Owner>x>`],
    ['cut off in an element of one', `${head}<Contents>${plain}<Owner><ID`],
    [
      'a storage class that only a parser knows',
      `${head}<Contents>${plain}<StorageClass>&eacute;</StorageClass></Contents>${tail}`,
    ],
    [
      'an ETag that only a parser knows',
      `${head}<Contents>${plain.replace('>"e"<', '>&eacute;<')}</Contents>${tail}`,
    ],
    [
      'a time that only a parser knows',
      `${head}<Contents>${plain.replace('2026', '&eacute;')}</Contents>${tail}`,
    ],
    // What every object in JavaScript has a member of.
    [
      'an entity of JavaScript',
      `${head}<Contents>${plain.replace('>a<', '>&constructor;<')}</Contents>${tail}`,
    ],
    ...['7.5', '-7', '7-', '', '7x/Size>', ' 7'].map((size): [string, string] => [
      `the size ${size}`,
      `${head}<Contents>${plain.replace('>7<', `>${size}<`)}</Contents>${tail}`,
    ]),
    ['attributes', `${head}<Contents>${plain.replace('<Key>', '<Key a="b">')}</Contents>${tail}`],
    [
      'an object with attributes',
      `${head}<Contents>${plain}</Contents><Contents a="b">${plain}</Contents>${tail}`,
    ],
    ['an element without end', `${head}<Contents>${plain.replace('</Key>', '')}</Contents>${tail}`],
    ['another end', `${head}<Contents>${plain.replace('</Key>', '</Kex>')}</Contents>${tail}`],
    ['text between elements', `${head}<Contents>x${plain}</Contents>${tail}`],
    ['an element in a key', `${head}<Contents>${plain.replace('>a<', '><b>a</b><')}</Contents>${tail}`],
    ['a line end in a key', `${head}<Contents>${plain.replace('>a<', '>a\r\nb<')}</Contents>${tail}`],
    [
      'an entity that XML does not know',
      `${head}<Contents>${plain.replace('>a<', '>&eacute;<')}</Contents>${tail}`,
    ],
    ['a lone ampersand', `${head}<Contents>${plain.replace('>a<', '>a & b<')}</Contents>${tail}`],
    [
      'a character beyond Unicode',
      `${head}<Contents>${plain.replace('>a<', '>&#x110000;<')}</Contents>${tail}`,
    ],
    ['no size', `${head}<Contents>${plain.replace('<Size>7</Size>', '')}</Contents>${tail}`],
    ['a size that is no number', `${head}<Contents>${plain.replace('>7<', '>seven<')}</Contents>${tail}`],
    [
      'a size beyond numbers',
      `${head}<Contents>${plain.replace('>7<', '>99999999999999999<')}</Contents>${tail}`,
    ],
    ['no ETag', `${head}<Contents>${plain.replace('<ETag>"e"</ETag>', '<ETag/>')}</Contents>${tail}`],
    ['no time', `${head}<Contents>${plain.replace(time, '')}</Contents>${tail}`],
    ['a time that is none', `${head}<Contents>${plain.replace('2026', 'then')}</Contents>${tail}`],
  ])('%s', (_, body) => {
    expect(readContents(Buffer.from(body))).toBeUndefined()
  })
})

const escaped = (text: string): string => text.replace(/[&<>"'\r]/g, one => `&#${one.charCodeAt(0)};`)

/** Characters that XML may hold. */
const text = fc
  .string({ unit: 'binary' })
  .map(one => one.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ud800-\udfff\ufffe\uffff]/gu, ''))

test('any page of well-formed objects reads as a parser of XML reads it', () => {
  const object = fc.record({ key: text, size: fc.nat(), etag: text, skipped: text })
  fc.assert(
    fc.property(fc.array(object, { minLength: 1 }), objects => {
      const contents = objects.map(
        ({ key, size, etag, skipped }) =>
          `<Contents><Key>${escaped(key)}</Key>${time}<ETag>${escaped(`"${etag}"`)}</ETag><Skipped>${escaped(skipped)}</Skipped><Size>${size}</Size></Contents>`,
      )
      const body = `${head}${contents.join('')}${tail}`
      const found = readContents(Buffer.from(body))
      expect(found?.contents).toEqual(parsed(body))
      expect(found?.rest.toString()).toBe(head + tail)
    }),
  )
})

function parsed(body: string): object[] {
  const page = parseXml(body, { preserveDocumentType: false }).root as XmlElement
  const elements = ({ children }: XmlElement) => children.filter(child => child instanceof XmlElement)
  return elements(page)
    .filter(({ name }) => name === 'Contents')
    .map(one => {
      const of = (name: string) => elements(one).find(child => child.name === name)?.text ?? ''
      return {
        key: of('Key'),
        size: Number(of('Size')),
        etag: of('ETag').slice(1, -1),
        lastModified: Date.parse(of('LastModified')),
        storageClass: undefined,
      }
    })
}
