import { parseXml } from '@rgrove/parse-xml'
import { parseHTML } from 'linkedom'
import { describe, expect, it } from 'vitest'
import { type AnalysisPicture, drawAnalysis } from '../../../src/analyze/plot.ts'

const beats = Array.from({ length: 96 }, (_, i) => i / 2)
const picture: AnalysisPicture = {
  title: 'A & B: <Song> "one"',
  duration: 48,
  waveform: Uint8Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? 200 : 60)),
  beats,
  downbeats: beats.filter((_, i) => i % 4 === 0),
  sections: [
    { start: 0, end: 16, kind: 'intro' },
    { start: 16, end: 48, kind: 'body' },
  ],
  tempoParts: [
    { start: 0, end: 24, bpm: 120, constant: true },
    { start: 24, end: 48, bpm: 131.25, constant: false },
  ],
  keys: [
    { start: 0, end: 16, key: 'F#m', confidence: 0.9 },
    { start: 16, end: 48, confidence: 0 },
  ],
  voices: [{ start: 17, end: 40, confidence: 0.9 }],
  mixIn: 0,
  mixOut: 32,
}

describe('drawAnalysis', () => {
  const svg = drawAnalysis(picture)
  const { document } = parseHTML(`<!doctype html><body>${svg}</body>`)
  it('is a file that stands by itself', () => {
    expect(svg).toMatch(/^<svg[^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/)
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
    expect(svg).not.toMatch(/<script|href="http/)
    expect(parseXml(svg).root?.name).toBe('svg')
  })
  it('escapes what others wrote', () => {
    expect(svg).not.toContain('<Song>')
    expect(document.querySelector('title')!.textContent).toBe(picture.title)
  })
  it('has every beat and bar line, sections, tempi, keys and mix points', () => {
    const lines = document.querySelectorAll('line').length
    expect(lines).toBeGreaterThanOrEqual(beats.length + picture.downbeats.length + 2)
    const text = [...document.querySelectorAll('text')].map(each => each.textContent)
    for (const wanted of [
      'intro',
      'body',
      '120 BPM',
      '131.25 BPM, drifting',
      'F#m',
      'mix in',
      'mix out',
      '0:15',
    ])
      expect(text).toContain(wanted)
  })
  it('has a rectangle for each stretch with a voice', () => {
    const rectangles = (voices: AnalysisPicture['voices']): number =>
      drawAnalysis({ ...picture, voices }).split('<rect').length
    expect(rectangles(picture.voices)).toBe(rectangles([]) + 1)
    expect(document.querySelector('[fill="#7b2cbf"]')).not.toBeNull()
  })
  it('leaves out names that would be written over each other', () => {
    const tempoParts = [0, 2, 4, 6, 30].map(start => ({ start, end: 48, bpm: 150 + start, constant: false }))
    const sections = [
      { start: 0, end: 1, kind: 'intro' },
      { start: 1, end: 48, kind: 'body' },
    ]
    const drawn = parseHTML(
      `<!doctype html><body>${drawAnalysis({ ...picture, tempoParts, sections })}</body>`,
    )
    const text = [...drawn.document.querySelectorAll('text')].map(each => each.textContent)
    expect(text.filter(name => /BPM|intro|body/.test(name!))).toEqual([
      'body',
      '150 BPM, drifting',
      '156 BPM, drifting',
      '180 BPM, drifting',
    ])
  })
  it.each([
    ['nothing was heard', { beats: [], downbeats: [], sections: [], tempoParts: [], keys: [], voices: [] }],
    ['an older version analysed', { tempoParts: [], keys: [], downbeats: [] }],
    ['there is no sound', { waveform: new Uint8Array(0), duration: 0.001, mixOut: 0 }],
  ])('draws where %s', (_, some) => {
    expect(drawAnalysis({ ...picture, ...some })).not.toMatch(/NaN|undefined|Infinity/)
  })
})
